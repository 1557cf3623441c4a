//! What the adapter does without a GPU, and what it would do with one.

use super::*;
use crate::model::onnx::{FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetId, ValueInfoProto};

#[test]
fn versions_of_tensorrt_are_read_as_they_are_written() {
    assert_eq!(tensorrt_version_of(8_601), "8.6.1");
    assert_eq!(tensorrt_version_of(100_300), "10.3.0");
    assert_eq!(tensorrt_version_of(101_305), "10.13.5");
}

#[test]
fn the_library_is_looked_for_where_packages_and_builds_put_it() {
    let expected = ["/usr/bin/libonnxruntime.so", "/usr/lib/takt/libonnxruntime.so"].map(PathBuf::from);
    assert_eq!(with_program(Path::new("/usr/bin/takt")), expected);
}

/// Twice `x`, its square, and its largest value, of `batch` rows or of any number of them, `N`.
fn doubling(batch: Option<usize>) -> Vec<u8> {
    let node = |op_type: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op_type.into(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: "doubling".into(),
        node: vec![
            node("Add", &["x", "x"], "sum"),
            node("Mul", &["x", "x"], "square"),
            node("ReduceMax", &["x"], "largest"),
        ],
        input: vec![ValueInfoProto::tensor("x", FLOAT, &[batch, Some(3)])],
        output: vec![
            ValueInfoProto::tensor("sum", FLOAT, &[batch, Some(3)]),
            ValueInfoProto::tensor("square", FLOAT, &[batch, Some(3)]),
            ValueInfoProto::tensor("largest", FLOAT, &[Some(1), Some(1)]),
        ],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: 13,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    prost::Message::encode_to_vec(&model)
}

const ONE_THREAD: EngineOptions = EngineOptions {
    provider: Provider::Cpu,
    threads: 1,
};

fn engine(batch: Option<usize>, bind_in: Option<Memory>) -> OrtEngine {
    let mut engine = OrtEngine::from_bytes("doubling", &doubling(batch), ONE_THREAD).unwrap();
    engine.bind_in = bind_in;
    engine
}

#[test]
fn what_is_bound_says_the_same_part_for_part_and_is_bound_once() {
    for batch in [Some(2), None] {
        let (mut bound, mut plain) = (engine(batch, Some(Memory::Ordinary)), engine(batch, None));
        for engine in [&mut bound, &mut plain] {
            engine.ask_only_for(&["sum", "largest"]).unwrap();
        }
        for part in 0..20 {
            // Where the model takes any number, a group of tiles may be smaller than the one before.
            let rows = if batch.is_none() && part % 5 == 4 { 1 } else { 2 };
            let values: Vec<f32> = (0..rows * 3).map(|value| (value * part) as f32).collect();
            let run = |engine: &mut OrtEngine| engine.run(&[rows, 3], TensorValues::F32(&values)).unwrap();
            let (told, expected) = (run(&mut bound), run(&mut plain));
            assert_eq!(told, expected);
            assert_eq!(told[0].values, values.iter().map(|value| 2.0 * value).collect::<Vec<_>>());
            let binding = bound.binding.as_ref().unwrap();
            assert!(binding.fits(&[rows, 3], TensorValues::F32(&values)));
            assert!(!binding.fits(&[rows, 3], TensorValues::U8(&[])) && !binding.fits(&[9, 3], TensorValues::F32(&values)));
        }
        assert!(plain.binding.is_none());
        assert!(bound.run(&[2, 3], TensorValues::F32(&[1.0])).is_err(), "too few values");
    }
}

#[test]
fn without_a_gpu_nothing_is_pinned_and_what_cannot_be_pinned_is_allocated() {
    assert_eq!(memory_of(Provider::Cpu), None);
    assert_eq!([Provider::Cuda, Provider::TensorRt].map(memory_of), [Some(Memory::Pinned); 2]);
    let mut engine = engine(Some(2), Some(Memory::Pinned));
    let outputs = engine.run(&[2, 3], TensorValues::F32(&[1.0; 6])).unwrap();
    assert_eq!(outputs[0].values, [2.0; 6]);
    assert!(engine.bind_in.is_none() && engine.binding.is_none());
}

#[test]
fn a_dimension_that_is_pinned_is_known_and_no_other_number_is_taken() {
    let pinned = [("N".to_owned(), 2)];
    let bytes = doubling(None);
    let setup = Setup {
        pinned: &pinned,
        ..Setup::plain(ONE_THREAD)
    };
    let mut engine = OrtEngine::load("doubling".into(), &setup, |builder| builder.commit_from_memory(&bytes)).unwrap();
    assert_eq!(engine.inputs()[0].shape, [Some(2), Some(3)]);
    assert_eq!(fixed_shape(&engine.outputs()[0]), Some(vec![2, 3]));
    assert!(engine.run(&[2, 3], TensorValues::F32(&[1.0; 6])).is_ok());
    assert!(engine.run(&[1, 3], TensorValues::F32(&[1.0; 3])).is_err());
}
