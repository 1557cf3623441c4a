//! Which heads the outputs of a model could be. Shapes say much, not all: where several heads fit, all are listed, and whoever imports the model
//! is asked.

use super::yolo::anchors;
use super::{Head, HeadKind, Size};
use crate::vision::{ElementType, Port};

/// Sets of strides that detectors of the YOLO family predict on, pixels: the usual one, with a finer map (P2), with a coarser one (P6).
const PYRAMIDS: [&[u32]; 3] = [&[8, 16, 32], &[4, 8, 16, 32], &[8, 16, 32, 64]];

/// Boxes per cell of `YOLOv5`.
const SHAPES_PER_CELL: usize = 3;

/// Rows that a head which lists few boxes gives at most; dense heads give more for every input from 160x160 on.
const ROWS_MAX: usize = 1000;

/// A head that the outputs of a model fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Possible {
    /// The layout.
    pub kind: HeadKind,
    /// Classes of the model; `None` where neither the shapes nor anybody said it.
    pub classes: Option<usize>,
    /// Mask coefficients per detection; 0 where the model gives no masks.
    pub coefficients: usize,
    /// Places of its tensors among the model's outputs, in the order of [`Head::tensors`].
    pub outputs: Vec<usize>,
}

impl Possible {
    /// The head, once its classes are known.
    pub fn head(&self) -> Option<Head> {
        self.classes.map(|classes| Head {
            kind: self.kind,
            classes,
            coefficients: self.coefficients,
        })
    }
}

/// The heads that outputs of these shapes can be, in the order of [`HeadKind::ALL`]; none where they are no detector's that takt understands. A head
/// must account for every output of 2, 3 or 4 dimensions; those of 5 are the training outputs that old `YOLOv5` exports carry along.
///
/// `classes` is how many classes the model is said to have; the shapes of heads that store a class as a number do not tell. Without `input` the
/// number of anchors cannot tell the dense heads apart.
pub fn recognise(outputs: &[Port], classes: Option<usize>, input: Option<Size>) -> Vec<Possible> {
    let mut by_rank = [const { Vec::new() }; 6];
    for (index, output) in outputs.iter().enumerate() {
        by_rank[output.shape.len().min(5)].push(index);
    }
    let shape = |index: usize| outputs[index].shape.as_slice();
    let asked = Asked { classes, input };
    let mut possible = match (by_rank[2].as_slice(), by_rank[3].as_slice(), by_rank[4].as_slice()) {
        ([], [predictions], []) => asked.alone(*predictions, shape(*predictions)),
        ([], [predictions], [prototypes]) => asked.with_masks(*predictions, shape(*predictions), *prototypes, shape(*prototypes)),
        ([], [a, b], []) => [
            asked.queries(*a, shape(*a), *b, shape(*b)),
            asked.queries(*b, shape(*b), *a, shape(*a)),
        ]
        .concat(),
        ([a, b], [boxes], []) => asked.deployed(outputs, *a, *b, *boxes),
        _ => Vec::new(),
    };
    possible.sort_by_key(|possible| HeadKind::ALL.iter().position(|kind| *kind == possible.kind));
    possible
}

/// Whether a dimension can have this length.
fn can_be(dim: Option<usize>, length: usize) -> bool {
    dim.is_none_or(|dim| dim == length)
}

/// Whether a dimension can be that of an entry, and how many classes there are then, where that is known.
enum Entry {
    DoesNotFit,
    Fits(Option<usize>),
}

/// What is known beside the shapes.
struct Asked {
    classes: Option<usize>,
    input: Option<Size>,
}

impl Asked {
    /// Heads of one tensor.
    fn alone(&self, index: usize, shape: &[Option<usize>]) -> Vec<Possible> {
        let [_, first, second] = *shape else { return Vec::new() };
        let mut found = Vec::new();
        let mut add = |kind: HeadKind, entry: Entry| {
            if let Entry::Fits(classes) = entry {
                found.push(Possible {
                    kind,
                    classes,
                    coefficients: 0,
                    outputs: vec![index],
                });
            }
        };
        if self.dense(second, 1) {
            add(HeadKind::YoloV8, self.classes_in(first, 4));
        }
        if self.dense(first, SHAPES_PER_CELL) {
            add(HeadKind::YoloV5, self.classes_in(second, 5));
        }
        if self.yolox(first) {
            add(HeadKind::YoloxRaw, self.classes_in(second, 5));
            add(HeadKind::YoloxDecoded, self.classes_in(second, 5));
        }
        if few(first) {
            if can_be(second, 6) {
                add(HeadKind::EndToEnd, Entry::Fits(self.classes));
            }
            // Where the second dimension counts anchors, the first counts values.
            if second.is_none() || !self.dense(second, 1) {
                add(HeadKind::DetrJoined, self.classes_in(second, 4));
            }
        }
        found
    }

    /// Heads of predictions with prototypes.
    fn with_masks(&self, index: usize, shape: &[Option<usize>], prototypes: usize, planes: &[Option<usize>]) -> Vec<Possible> {
        let ([_, first, second], [_, Some(coefficients), _, _]) = (shape, planes) else {
            return Vec::new();
        };
        let coefficients = *coefficients;
        let mut found = Vec::new();
        let mut add = |kind: HeadKind, entry: Entry| {
            if let Entry::Fits(classes) = entry {
                found.push(Possible {
                    kind,
                    classes,
                    coefficients,
                    outputs: vec![index, prototypes],
                });
            }
        };
        if self.dense(*second, 1) {
            add(HeadKind::YoloV8, self.classes_in(*first, 4 + coefficients));
        }
        if self.dense(*first, SHAPES_PER_CELL) {
            add(HeadKind::YoloV5, self.classes_in(*second, 5 + coefficients));
        }
        if few(*first) && can_be(*second, 6 + coefficients) {
            add(HeadKind::EndToEnd, Entry::Fits(self.classes));
        }
        found
    }

    /// RT-DETR and D-FINE as trained, with these scores and boxes.
    fn queries(&self, scores: usize, scores_shape: &[Option<usize>], boxes: usize, boxes_shape: &[Option<usize>]) -> Vec<Possible> {
        let ([_, queries, width], [_, rows, four]) = (scores_shape, boxes_shape) else {
            return Vec::new();
        };
        let same = queries.is_none_or(|queries| can_be(*rows, queries));
        let Entry::Fits(classes) = self.classes_in(*width, 0) else {
            return Vec::new();
        };
        if !same || !few(*queries) || !can_be(*four, 4) {
            return Vec::new();
        }
        let possible = |kind| Possible {
            kind,
            classes,
            coefficients: 0,
            outputs: vec![scores, boxes],
        };
        vec![possible(HeadKind::DetrLogits), possible(HeadKind::DetrScores)]
    }

    /// RT-DETR and D-FINE as deployed: which of the two flat outputs holds the labels is said by its type, else by its name, else by neither.
    fn deployed(&self, outputs: &[Port], a: usize, b: usize, boxes: usize) -> Vec<Possible> {
        let ([_, rows, four], [_, rows_a], [_, rows_b]) = (
            outputs[boxes].shape.as_slice(),
            outputs[a].shape.as_slice(),
            outputs[b].shape.as_slice(),
        ) else {
            return Vec::new();
        };
        let known: Vec<usize> = [*rows, *rows_a, *rows_b].into_iter().flatten().collect();
        if known.windows(2).any(|pair| pair[0] != pair[1]) || !few(*rows) || !can_be(*four, 4) {
            return Vec::new();
        }
        let float = |index: usize| outputs[index].element.is_some_and(|element| !ElementType::is_whole(element));
        let named = |index: usize, word: &str| outputs[index].name.to_lowercase().contains(word);
        let labels_first = |labels: usize, scores: usize| {
            if float(labels) == float(scores) {
                named(labels, "label") || named(scores, "score")
            } else {
                float(scores)
            }
        };
        let orders = match (labels_first(a, b), labels_first(b, a)) {
            (true, false) => vec![(a, b)],
            (false, true) => vec![(b, a)],
            _ => vec![(a, b), (b, a)],
        };
        let possible = |(labels, scores)| Possible {
            kind: HeadKind::DetrDeploy,
            classes: self.classes,
            coefficients: 0,
            outputs: vec![labels, boxes, scores],
        };
        orders.into_iter().map(possible).collect()
    }

    /// The classes of an entry of `dim` values of which `others` are something else.
    fn classes_in(&self, dim: Option<usize>, others: usize) -> Entry {
        let counted = dim.map(|dim| dim.saturating_sub(others));
        match (counted, self.classes) {
            (Some(counted), Some(said)) if counted != said => Entry::DoesNotFit,
            (Some(0), _) | (_, Some(0)) => Entry::DoesNotFit,
            (counted, said) => Entry::Fits(counted.or(said)),
        }
    }

    /// Whether a dimension can count the anchors of a dense head.
    fn dense(&self, dim: Option<usize>, boxes_per_cell: usize) -> bool {
        match (dim, self.input) {
            (Some(dim), Some(input)) => PYRAMIDS.iter().any(|strides| dim == boxes_per_cell * anchors(input, strides)),
            (Some(dim), None) => dim > ROWS_MAX,
            (None, _) => true,
        }
    }

    fn yolox(&self, dim: Option<usize>) -> bool {
        match (dim, self.input) {
            (Some(dim), Some(input)) => dim == anchors(input, PYRAMIDS[0]),
            (Some(dim), None) => dim > ROWS_MAX,
            (None, _) => true,
        }
    }
}

/// Whether a dimension can count the rows of a head that lists few boxes.
fn few(dim: Option<usize>) -> bool {
    dim.is_none_or(|dim| dim <= ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, shape: &[usize]) -> Port {
        Port {
            name: name.into(),
            element: Some(ElementType::F32),
            // 0 stands for a dimension that is left open.
            shape: shape.iter().map(|dim| (*dim > 0).then_some(*dim)).collect(),
        }
    }

    fn names(outputs: &[Port], classes: Option<usize>, side: u32) -> Vec<String> {
        let input = (side > 0).then_some(Size { width: side, height: side });
        let possible = recognise(outputs, classes, input);
        let said = |possible: &Possible| match possible.head() {
            Some(head) => format!("{head} from {:?}", possible.outputs),
            None => format!("{} from {:?}", possible.kind.name(), possible.outputs),
        };
        possible.iter().map(said).collect()
    }

    #[test]
    fn heads_that_only_one_layout_fits() {
        let only = |shapes: &[&[usize]], side: u32| {
            let ports: Vec<Port> = shapes.iter().map(|shape| port("output", shape)).collect();
            names(&ports, None, side)
        };
        assert_eq!(only(&[&[1, 22, 2100]], 320), ["yolo_v8 of 18 classes from [0]"]);
        assert_eq!(only(&[&[0, 84, 8400]], 640), ["yolo_v8 of 80 classes from [0]"]);
        assert_eq!(only(&[&[1, 25_200, 85]], 640), ["yolo_v5 of 80 classes from [0]"]);
        assert_eq!(
            only(
                &[&[1, 25_200, 85], &[1, 3, 80, 80, 85], &[1, 3, 40, 40, 85], &[1, 3, 20, 20, 85]],
                640
            ),
            ["yolo_v5 of 80 classes from [0]"]
        );
        assert_eq!(
            only(&[&[1, 116, 8400], &[1, 32, 160, 160]], 640),
            ["yolo_v8 of 80 classes with 32 mask coefficients from [0, 1]"]
        );
        assert_eq!(
            only(&[&[1, 32, 160, 160], &[1, 25_200, 117]], 640),
            ["yolo_v5 of 80 classes with 32 mask coefficients from [1, 0]"]
        );
        assert_eq!(only(&[&[1, 300, 84]], 640), ["detr_joined of 80 classes from [0]"]);
    }

    #[test]
    fn heads_that_shapes_do_not_tell_apart_are_all_listed() {
        assert_eq!(
            names(&[port("output", &[1, 3549, 6])], None, 416),
            ["yolox_raw of 1 classes from [0]", "yolox_decoded of 1 classes from [0]"]
        );
        assert_eq!(
            names(&[port("output0", &[1, 300, 6])], None, 640),
            ["end_to_end from [0]", "detr_joined of 2 classes from [0]"]
        );
        assert_eq!(
            names(&[port("output0", &[1, 300, 6])], Some(5), 640),
            ["end_to_end of 5 classes from [0]"]
        );
        assert_eq!(
            names(&[port("logits", &[0, 300, 80]), port("pred_boxes", &[0, 300, 4])], None, 640),
            ["detr_logits of 80 classes from [0, 1]", "detr_scores of 80 classes from [0, 1]"]
        );
        // Four classes: either may be the boxes.
        assert_eq!(names(&[port("a", &[1, 300, 4]), port("b", &[1, 300, 4])], None, 640).len(), 4);
        // Without the size of the input, anchors say less.
        assert_eq!(names(&[port("output", &[1, 8400, 85])], None, 0).len(), 3);
    }

    #[test]
    fn labels_are_told_from_scores_by_type_then_by_name() {
        let (labels, boxes, scores) = (port("labels", &[0, 300]), port("boxes", &[0, 300, 4]), port("scores", &[0, 300]));
        assert_eq!(
            names(&[scores.clone(), labels.clone(), boxes.clone()], Some(3), 640),
            ["detr_deploy of 3 classes from [1, 2, 0]"]
        );
        let integer = Port {
            element: None,
            ..port("a", &[0, 300])
        };
        assert_eq!(
            names(&[integer, boxes.clone(), port("b", &[0, 300])], Some(3), 640),
            ["detr_deploy of 3 classes from [0, 1, 2]"]
        );
        assert_eq!(names(&[port("a", &[0, 300]), boxes, port("b", &[0, 300])], Some(3), 640).len(), 2);
    }

    #[test]
    fn what_is_no_detector_is_not_listed() {
        assert!(names(&[port("logits", &[1, 1000])], None, 224).is_empty());
        assert!(names(&[port("anomaly_map", &[1, 1, 256, 256]), port("pred_score", &[1])], None, 256).is_empty());
        // Not the classes that it is said to have.
        assert!(names(&[port("output0", &[1, 84, 8400])], Some(3), 640).is_empty());
        assert!(names(&[port("output0", &[1, 84, 8400]), port("more", &[1, 7])], None, 640).is_empty());
        assert!(names(&[], None, 640).is_empty());
    }
}
