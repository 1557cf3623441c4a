use super::*;
use proptest::prelude::*;

const INPUT: Size = Size { width: 64, height: 32 };
const LIMITS: Limits = Limits {
    score_min: 0.25,
    iou_max: 0.45,
    scope: Scope::PerClass,
};

fn head(kind: HeadKind, classes: usize) -> Head {
    Head {
        kind,
        classes,
        coefficients: 0,
    }
}

fn tensor<'a>(name: &'a str, shape: &'a [usize], values: &'a [f32]) -> Tensor<'a> {
    Tensor { name, shape, values }
}

fn decode(head: Head, outputs: &[Tensor<'_>]) -> Result<Vec<Detection>, DetectError> {
    detect(&head, outputs, 0, INPUT, &LIMITS).map(|detections| detections.kept)
}

fn message(result: Result<Vec<Detection>, DetectError>) -> String {
    result.unwrap_err().to_string()
}

fn found(class: usize, score: f32, [x0, y0, x1, y1]: [f32; 4], anchor: usize) -> Detection {
    Detection {
        class,
        score,
        x0,
        y0,
        x1,
        y1,
        anchor,
    }
}

/// Rows become columns.
fn transposed(rows: &[f32], entry: usize) -> Vec<f32> {
    let anchors = rows.len() / entry;
    (0..rows.len())
        .map(|index| rows[index % anchors * entry + index / anchors])
        .collect()
}

#[test]
fn yolo_v8_takes_the_best_class_of_each_anchor() {
    let rows = [
        10.0, 8.0, 4.0, 2.0, 0.1, 0.9, 0.3, //
        30.0, 8.0, 4.0, 2.0, 0.2, 0.2, 0.1, //
        30.0, 20.0, 4.0, 6.0, 0.5, 0.5, 0.4,
    ];
    let values = transposed(&rows, 7);
    let kept = decode(head(HeadKind::YoloV8, 3), &[tensor("output0", &[1, 7, 3], &values)]).unwrap();
    assert_eq!(
        kept,
        [found(1, 0.9, [8.0, 7.0, 12.0, 9.0], 0), found(0, 0.5, [28.0, 17.0, 32.0, 23.0], 2)]
    );
}

#[test]
fn yolo_v5_scores_are_objectness_times_class() {
    let rows = [
        10.0, 8.0, 4.0, 2.0, 0.5, 0.25, 0.75, //
        30.0, 8.0, 4.0, 2.0, 0.3, 0.7, 0.1,
    ];
    let kept = decode(head(HeadKind::YoloV5, 2), &[tensor("output0", &[1, 2, 7], &rows)]).unwrap();
    assert_eq!(kept, [found(1, 0.375, [8.0, 7.0, 12.0, 9.0], 0)]);
    let kept = decode(head(HeadKind::YoloxDecoded, 2), &[tensor("output", &[1, 2, 7], &rows)]).unwrap();
    assert_eq!(kept.len(), 1);
}

#[test]
fn yolox_cells_are_counted_row_by_row_and_stride_by_stride() {
    // 64x32: 8x4 cells of 8, 4x2 of 16, 2x1 of 32.
    let mut rows = vec![0.0; 42 * 6];
    for (anchor, score) in [(9, 0.9), (32 + 6, 0.8), (41, 0.7)] {
        rows[anchor * 6..anchor * 6 + 6].copy_from_slice(&[0.5, 0.25, 0.0, 2.0_f32.ln(), 1.0, score]);
    }
    let kept = decode(head(HeadKind::YoloxRaw, 1), &[tensor("output", &[1, 42, 6], &rows)]).unwrap();
    assert_eq!(
        kept,
        [
            found(0, 0.9, [8.0, 2.0, 16.0, 18.0], 9),
            found(0, 0.8, [32.0, 4.0, 48.0, 36.0], 38),
            found(0, 0.7, [32.0, -24.0, 64.0, 40.0], 41),
        ]
    );
    assert_eq!(
        message(decode(head(HeadKind::YoloxRaw, 1), &[tensor("output", &[1, 40, 6], &rows[..240])])),
        "failed to decode output \"output\" as yolox_raw of 1 classes: found shape [1, 40, 6], expected [N, 42, 6]"
    );
}

#[test]
fn yolox_sizes_that_overflow_are_errors_where_they_count() {
    let mut rows = vec![0.0; 42 * 6];
    rows[2..6].copy_from_slice(&[200.0, 0.0, 1.0, 0.1]);
    let output = [1, 42, 6];
    assert_eq!(decode(head(HeadKind::YoloxRaw, 1), &[tensor("output", &output, &rows)]), Ok(vec![]));
    rows[5] = 0.9;
    assert_eq!(
        message(decode(head(HeadKind::YoloxRaw, 1), &[tensor("output", &output, &rows)])),
        "failed to decode output \"output\": the box of entry 0 is not a finite number"
    );
}

#[test]
fn end_to_end_rows_are_taken_as_they_are() {
    // The same box twice: what the model kept stays. Edges the wrong way round span the same box.
    let rows = [
        8.0, 7.0, 12.0, 9.0, 0.5, 2.0, //
        8.0, 7.0, 12.0, 9.0, 0.9, 2.0, //
        12.0, 9.0, 8.0, 7.0, 0.4, 0.0, //
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, //
        -1.0, -1.0, -1.0, -1.0, -1.0, -1.0,
    ];
    let kept = decode(head(HeadKind::EndToEnd, 3), &[tensor("output0", &[1, 5, 6], &rows)]).unwrap();
    let edges = [8.0, 7.0, 12.0, 9.0];
    assert_eq!(kept, [found(2, 0.9, edges, 1), found(2, 0.5, edges, 0), found(0, 0.4, edges, 2)]);
    for class in [3.0, 1.5, -1.0, f32::NAN] {
        let rows = [0.0, 0.0, 1.0, 1.0, 0.9, class];
        assert_eq!(
            message(decode(head(HeadKind::EndToEnd, 3), &[tensor("output0", &[1, 1, 6], &rows)])),
            format!("failed to decode output \"output0\": the class of entry 0 is {class}, expected a whole number below 3")
        );
    }
}

#[test]
fn detr_takes_the_best_pairs_of_query_and_class() {
    // Two queries, so two detections, both of the first query; 0 is a score of a half.
    let logits = [2.0, 1.0, -9.0, -9.0, -9.0, 0.0];
    let boxes = [0.5, 0.5, 0.25, 0.5, 0.25, 0.25, 0.5, 0.5];
    let shapes = ([1, 2, 3], [1, 2, 4]);
    let outputs = [tensor("logits", &shapes.0, &logits), tensor("pred_boxes", &shapes.1, &boxes)];
    let kept = decode(head(HeadKind::DetrLogits, 3), &outputs).unwrap();
    let edges = [24.0, 8.0, 40.0, 24.0];
    assert_eq!(kept, [found(0, 0.880_797, edges, 0), found(1, 0.731_058_6, edges, 0)]);

    let scores = [0.1, 0.7, 0.0, 0.0, 0.3, 0.0];
    let outputs = [tensor("scores", &shapes.0, &scores), outputs[1]];
    let kept = decode(head(HeadKind::DetrScores, 3), &outputs).unwrap();
    assert_eq!(kept, [found(1, 0.7, edges, 0), found(1, 0.3, [0.0, 0.0, 32.0, 16.0], 1)]);

    let pixels = [32.0, 16.0, 16.0, 16.0, 0.25, 0.25, 0.5, 0.5];
    let outputs = [outputs[0], tensor("pred_boxes", &shapes.1, &pixels)];
    assert_eq!(
        message(decode(head(HeadKind::DetrScores, 3), &outputs)),
        "failed to decode output \"pred_boxes\": the box of entry 0 is 32, expected 0 to 1; is it another head?"
    );
}

#[test]
fn detr_joined_and_deployed() {
    let rows = [0.5, 0.5, 0.25, 0.5, 0.2, 0.7, 0.25, 0.25, 0.5, 0.5, 0.1, 0.2];
    let edges = [24.0, 8.0, 40.0, 24.0];
    let kept = decode(head(HeadKind::DetrJoined, 2), &[tensor("output0", &[1, 2, 6], &rows)]).unwrap();
    assert_eq!(kept, [found(1, 0.7, edges, 0)]);

    let boxes = [24.0, 8.0, 40.0, 24.0, 0.0, 0.0, 1.0, 1.0];
    let outputs = [
        tensor("labels", &[1, 2], &[1.0, 0.0]),
        tensor("boxes", &[1, 2, 4], &boxes),
        tensor("scores", &[1, 2], &[0.7, 0.2]),
    ];
    assert_eq!(decode(head(HeadKind::DetrDeploy, 2), &outputs), Ok(vec![found(1, 0.7, edges, 0)]));
    assert_eq!(
        message(decode(head(HeadKind::DetrDeploy, 2), &outputs[..2])),
        "failed to decode outputs as detr_deploy of 2 classes: found 2 tensors, expected 3 (labels, boxes, scores)"
    );
}

#[test]
fn images_of_a_batch_are_read_by_themselves() {
    let rows = [0.0, 0.0, 1.0, 1.0, 0.9, 0.0, 2.0, 0.0, 3.0, 1.0, 0.8, 1.0];
    let output = [tensor("output0", &[2, 1, 6], &rows)];
    let at = |image| detect(&head(HeadKind::EndToEnd, 2), &output, image, INPUT, &LIMITS);
    assert_eq!(at(0).unwrap().kept, [found(0, 0.9, [0.0, 0.0, 1.0, 1.0], 0)]);
    assert_eq!(at(1).unwrap().kept, [found(1, 0.8, [2.0, 0.0, 3.0, 1.0], 0)]);
    assert_eq!(
        at(2).unwrap_err().to_string(),
        "failed to read output \"output0\": image 2 of a batch of 2"
    );
}

#[test]
fn scores_that_are_no_numbers_are_errors_wherever_they_stand() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in [4, 5, 11, 12] {
            let mut rows = vec![0.1; 13 * 3];
            rows[13 + index] = odd;
            let values = transposed(&rows, 13);
            assert_eq!(
                message(decode(head(HeadKind::YoloV8, 9), &[tensor("output0", &[1, 13, 3], &values)])),
                "failed to decode output \"output0\": the score of entry 1 is not a finite number"
            );
            for kind in [HeadKind::YoloV5, HeadKind::YoloxDecoded] {
                assert_eq!(
                    message(decode(head(kind, 8), &[tensor("output0", &[1, 3, 13], &rows)])),
                    "failed to decode output \"output0\": the score of entry 1 is not a finite number"
                );
            }
            assert!(decode(head(HeadKind::DetrJoined, 9), &[tensor("output0", &[1, 3, 13], &rows)]).is_err());
        }
    }
}

#[test]
fn scores_above_one_are_another_head() {
    let values = transposed(&[10.0, 8.0, 4.0, 2.0, 3.5], 5);
    assert_eq!(
        message(decode(head(HeadKind::YoloV8, 1), &[tensor("output0", &[1, 5, 1], &values)])),
        "failed to decode output \"output0\": the score of entry 0 is 3.5, expected 0 to 1; is it another head?"
    );
    // Two wrongs make no score: -2 times -0.4.
    let rows = [10.0, 8.0, 4.0, 2.0, -2.0, -0.4];
    assert!(decode(head(HeadKind::YoloV5, 1), &[tensor("output0", &[1, 1, 6], &rows)]).is_err());
}

#[test]
fn shapes_and_limits_that_are_impossible_are_errors() {
    let values = [0.0; 12];
    let v8 = head(HeadKind::YoloV8, 2);
    assert_eq!(
        message(decode(v8, &[tensor("output0", &[1, 4, 3], &values)])),
        "failed to decode output \"output0\" as yolo_v8 of 2 classes: found shape [1, 4, 3], expected [N, 6, anchors]"
    );
    assert_eq!(
        message(decode(v8, &[tensor("output0", &[1, 6, 3], &values)])),
        "failed to read output \"output0\": shape [1, 6, 3] does not fit its 12 values"
    );
    assert!(decode(v8, &[tensor("output0", &[usize::MAX, 6, usize::MAX], &values)]).is_err());
    assert!(decode(v8, &[tensor("output0", &[0, 6, 2], &[])]).is_err());
    assert_eq!(decode(v8, &[tensor("output0", &[1, 6, 0], &[])]), Ok(vec![]));
    let none = decode(head(HeadKind::YoloV8, 0), &[tensor("output0", &[1, 4, 3], &values)]);
    assert_eq!(
        message(none),
        "failed to use head yolo_v8 of 0 classes: expected at least one class, and mask coefficients only where the layout has them"
    );
    for (score_min, iou_max) in [(0.0, 0.5), (1.5, 0.5), (f32::NAN, 0.5), (0.5, -0.1), (0.5, f32::NAN)] {
        let limits = Limits {
            score_min,
            iou_max,
            ..LIMITS
        };
        let result = detect(&v8, &[tensor("output0", &[1, 6, 2], &values)], 0, INPUT, &limits);
        assert!(matches!(result, Err(DetectError::Limits { .. })), "{score_min} {iou_max}");
    }
}

#[test]
fn what_is_too_much_is_counted() {
    let anchors = CANDIDATES_MAX + 10;
    let rows: Vec<f32> = (0..anchors)
        .flat_map(|anchor| [anchor as f32 * 2.0, 1.0, 1.0, 1.0, 0.5 + anchor as f32 / 20_000.0])
        .collect();
    let values = transposed(&rows, 5);
    let found = detect(
        &head(HeadKind::YoloV8, 1),
        &[tensor("output0", &[1, 5, anchors], &values)],
        0,
        INPUT,
        &LIMITS,
    )
    .unwrap();
    assert_eq!((found.candidates, found.candidates_dropped), (anchors, 10));
    assert_eq!(
        (found.kept.len(), found.unexamined),
        (DETECTIONS_MAX, CANDIDATES_MAX - DETECTIONS_MAX)
    );
    assert_eq!(
        (found.kept[0].anchor, found.kept[DETECTIONS_MAX - 1].anchor),
        (anchors - 1, anchors - DETECTIONS_MAX)
    );
}

#[test]
fn names_are_those_of_manifests() {
    for kind in HeadKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        assert_eq!(clap::ValueEnum::to_possible_value(&kind).unwrap().get_name(), kind.name());
    }
}

proptest! {
    /// The block-wise scan of class-major scores against the obvious one, across the ends of blocks.
    #[test]
    fn yolo_v8_equals_the_definition(anchors in 1_usize..1200, classes in 1_usize..6, seed: u64) {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few levels, so that classes are equal at times.
            (state >> 60) as f32 / 40.0
        };
        let rows: Vec<f32> = (0..anchors * (4 + classes)).map(|_| random()).collect();
        let values = transposed(&rows, 4 + classes);
        let expected: Vec<Detection> = rows.chunks(4 + classes).enumerate().filter_map(|(anchor, row)| {
            let class = (0..classes).rev().max_by(|a, b| row[4 + a].total_cmp(&row[4 + b])).unwrap();
            let [x0, y0, x1, y1] = [row[0] - row[2] / 2.0, row[1] - row[3] / 2.0, row[0] + row[2] / 2.0, row[1] + row[3] / 2.0];
            (row[4 + class] >= 0.25).then(|| found(class, row[4 + class], [x0, y0, x1, y1], anchor))
        }).collect();
        let shape = [1, 4 + classes, anchors];
        let candidates = head(HeadKind::YoloV8, classes).candidates(&[tensor("output0", &shape, &values)], 0, INPUT, 0.25).unwrap();
        prop_assert_eq!(candidates, expected);
    }

    /// Whatever bits a model gives, there is an answer, and every number in it is one.
    #[test]
    fn no_output_panics(bits in prop::collection::vec(any::<u32>(), 42 * 7), kind in prop::sample::select(HeadKind::ALL.to_vec()), tame: bool) {
        let values: Vec<f32> = bits.iter().map(|bits| if tame { (*bits >> 8) as f32 / (1 << 24) as f32 } else { f32::from_bits(*bits) }).collect();
        let (classes, shapes): (usize, Vec<Vec<usize>>) = match kind {
            HeadKind::YoloV8 => (3, vec![vec![1, 7, 42]]),
            HeadKind::YoloV5 | HeadKind::YoloxRaw | HeadKind::YoloxDecoded => (2, vec![vec![1, 42, 7]]),
            HeadKind::EndToEnd => (1, vec![vec![1, 49, 6]]),
            HeadKind::DetrJoined => (3, vec![vec![1, 42, 7]]),
            HeadKind::DetrLogits | HeadKind::DetrScores => (7, vec![vec![1, 42, 7], vec![1, 42, 4]]),
            HeadKind::DetrDeploy => (1, vec![vec![1, 42], vec![1, 42, 4], vec![1, 42]]),
        };
        let outputs: Vec<Tensor<'_>> = shapes.iter().map(|shape| tensor("output", shape, &values[..shape.iter().product()])).collect();
        if let Ok(found) = detect(&head(kind, classes), &outputs, 0, INPUT, &LIMITS) {
            for detection in found.kept {
                prop_assert!(detection.is_finite() && detection.score >= LIMITS.score_min && detection.class < classes);
                prop_assert!(detection.x0 <= detection.x1 && detection.y0 <= detection.y1);
            }
        }
    }
}
