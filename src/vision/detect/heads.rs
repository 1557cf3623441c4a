//! The layouts of detector outputs that takt understands, and what their tensors must look like.

use serde::{Deserialize, Serialize};

use super::{DetectError, Detection, Size, Tensor, sparse, yolo};

/// How the outputs of a detector are laid out. N counts images, A anchors, C classes, M mask coefficients, K or Q rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum HeadKind {
    /// `YOLOv8`, YOLO11 and the anchor-free `YOLOv5u` of Ultralytics: predictions [N, 4+C+M, A], each column cx, cy, w, h in pixels, C scores
    /// after the sigmoid, M coefficients; prototypes [N, M, h, w] where M > 0. A detection is the best class of an anchor.
    YoloV8,
    /// `YOLOv5` (and v7) of Ultralytics: predictions [N, A, 5+C+M], each row cx, cy, w, h in pixels, objectness and C scores after the sigmoid, M
    /// coefficients; prototypes as above. The score is objectness times class score.
    YoloV5,
    /// YOLOX without its decode: predictions [N, A, 5+C], each row the centre's offset in its grid cell and the logarithm of the size, both in
    /// strides, objectness and C scores after the sigmoid. Anchors are the cells of strides 8, 16 and 32, row by row (Ge et al. 2021, YOLOX;
    /// `demo_postprocess` of its repository).
    YoloxRaw,
    /// YOLOX exported with its decode: as above, with cx, cy, w, h in pixels.
    YoloxDecoded,
    /// Exports that suppress by themselves (`YOLOv10`, YOLO26, Ultralytics with `nms=True`): rows [N, K, 6+M] of x0, y0, x1, y1 in pixels, score,
    /// class, M coefficients; prototypes as above. Rows that fill up score 0 or less.
    EndToEnd,
    /// RT-DETR and D-FINE as trained (Hugging Face exports): logits [N, Q, C] before the sigmoid and boxes [N, Q, 4] of cx, cy, w, h as shares of the
    /// input. Detections are the best Q of all pairs of query and class (`post_process_object_detection`).
    DetrLogits,
    /// As above, with the sigmoid inside the model: scores [N, Q, C].
    DetrScores,
    /// RT-DETR as Ultralytics exports it: predictions [N, Q, 4+C], each row cx, cy, w, h as shares of the input and C scores after the sigmoid. A
    /// detection is the best class of a query.
    DetrJoined,
    /// RT-DETR and D-FINE as their authors deploy them: labels [N, K], boxes [N, K, 4] of x0, y0, x1, y1 and scores [N, K]. The boxes are in
    /// pixels of the size that the model is given as its second input, which must be that of its first.
    DetrDeploy,
}

impl HeadKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::YoloV8,
        Self::YoloV5,
        Self::YoloxRaw,
        Self::YoloxDecoded,
        Self::EndToEnd,
        Self::DetrLogits,
        Self::DetrScores,
        Self::DetrJoined,
        Self::DetrDeploy,
    ];

    /// The name in manifests, messages and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::YoloV8 => "yolo_v8",
            Self::YoloV5 => "yolo_v5",
            Self::YoloxRaw => "yolox_raw",
            Self::YoloxDecoded => "yolox_decoded",
            Self::EndToEnd => "end_to_end",
            Self::DetrLogits => "detr_logits",
            Self::DetrScores => "detr_scores",
            Self::DetrJoined => "detr_joined",
            Self::DetrDeploy => "detr_deploy",
        }
    }

    /// Whether it reports the same thing more than once, so that overlaps have to be suppressed.
    pub fn overlaps(self) -> bool {
        matches!(self, Self::YoloV8 | Self::YoloV5 | Self::YoloxRaw | Self::YoloxDecoded)
    }

    /// Whether it can come with mask coefficients.
    pub fn has_masks(self) -> bool {
        matches!(self, Self::YoloV8 | Self::YoloV5 | Self::EndToEnd)
    }
}

/// A layout with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// The layout.
    pub kind: HeadKind,
    /// Classes of the model, at least 1.
    pub classes: usize,
    /// Mask coefficients per detection; 0 where the model gives no masks.
    pub coefficients: usize,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} classes", self.kind.name(), self.classes)?;
        match self.coefficients {
            0 => Ok(()),
            coefficients => write!(f, " with {coefficients} mask coefficients"),
        }
    }
}

impl Head {
    /// The meanings of its tensors, in the order in which they are to be given.
    pub fn tensors(&self) -> &'static [&'static str] {
        match (self.kind, self.coefficients) {
            (HeadKind::YoloV8 | HeadKind::YoloV5 | HeadKind::EndToEnd, 1..) => &["predictions", "prototypes"],
            (HeadKind::DetrLogits, _) => &["logits", "boxes"],
            (HeadKind::DetrScores, _) => &["scores", "boxes"],
            (HeadKind::DetrDeploy, _) => &["labels", "boxes", "scores"],
            _ => &["predictions"],
        }
    }

    /// Values of one entry of the predictions.
    pub(super) fn entry(&self) -> usize {
        let scores = match self.kind {
            HeadKind::YoloV8 | HeadKind::DetrJoined => 4 + self.classes,
            HeadKind::YoloV5 | HeadKind::YoloxRaw | HeadKind::YoloxDecoded => 5 + self.classes,
            HeadKind::EndToEnd => 6,
            HeadKind::DetrLogits | HeadKind::DetrScores => self.classes,
            HeadKind::DetrDeploy => 1,
        };
        scores + self.coefficients
    }

    /// Every box of image `image` that scores at least `score_min`, in the order of the output.
    ///
    /// # Errors
    /// As [`super::detect`].
    pub fn candidates(&self, outputs: &[Tensor<'_>], image: usize, input: Size, score_min: f32) -> Result<Vec<Detection>, DetectError> {
        if self.classes == 0 || (self.coefficients > 0 && !self.kind.has_masks()) {
            return Err(DetectError::Head { head: *self });
        }
        if outputs.len() != self.tensors().len() {
            return Err(DetectError::Outputs {
                head: *self,
                found: outputs.len(),
                expected: format!("{} ({})", self.tensors().len(), self.tensors().join(", ")),
            });
        }
        match self.kind {
            HeadKind::YoloV8 => yolo::class_major(self, &outputs[0], image, score_min),
            HeadKind::YoloV5 | HeadKind::YoloxDecoded => yolo::anchor_major(self, &outputs[0], image, score_min, yolo::centred),
            HeadKind::YoloxRaw => yolo::grid(self, &outputs[0], image, input, score_min),
            HeadKind::EndToEnd => sparse::rows(self, &outputs[0], image, score_min),
            HeadKind::DetrLogits | HeadKind::DetrScores => sparse::queries(self, &outputs[0], &outputs[1], image, input, score_min),
            HeadKind::DetrJoined => sparse::joined(self, &outputs[0], image, input, score_min),
            HeadKind::DetrDeploy => sparse::deployed(self, &outputs[0], &outputs[1], &outputs[2], image, score_min),
        }
    }

    /// The lengths of a tensor's dimensions, where it has as many as `expected` says and they are equal to those that are fixed there.
    pub(super) fn dims<const RANK: usize>(&self, tensor: &Tensor<'_>, expected: [Dim; RANK]) -> Result<[usize; RANK], DetectError> {
        let fits = |found: &[usize; RANK]| found.iter().zip(&expected).all(|(found, expected)| expected.admits(*found));
        match <[usize; RANK]>::try_from(tensor.shape) {
            Ok(found) if fits(&found) => Ok(found),
            _ => Err(DetectError::Shape {
                tensor: tensor.name.into(),
                head: *self,
                found: tensor.shape.to_vec(),
                expected: format!("[{}]", expected.map(|dim| dim.to_string()).join(", ")),
            }),
        }
    }
}

/// What the length of a dimension must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dim {
    /// This length.
    Fixed(usize),
    /// Any length, with the word for it.
    Any(&'static str),
    /// Any length but 0.
    Some(&'static str),
}

impl Dim {
    fn admits(self, found: usize) -> bool {
        match self {
            Self::Fixed(length) => found == length,
            Self::Any(_) => true,
            Self::Some(_) => found > 0,
        }
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Any(word) | Self::Some(word) => f.write_str(word),
        }
    }
}
