//! Small graphs for tests.

use crate::model::onnx::{AttributeProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto, UINT8, ValueInfoProto};

/// Channels of the sample convolution `w`: as many go in as come out.
pub(super) const CHANNELS: usize = 2;

pub(super) fn node(operator: &str, input: &[&str], output: &str) -> NodeProto {
    let mut attribute = Vec::new();
    if operator == "Conv" {
        attribute.push(AttributeProto::ints("pads", &[1, 1, 1, 1]));
    }
    NodeProto {
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: operator.into(),
        attribute,
        ..NodeProto::default()
    }
}

pub(super) fn cast(input: &str, output: &str) -> NodeProto {
    NodeProto {
        attribute: vec![AttributeProto::int("to", i64::from(FLOAT))],
        ..node("Cast", &[input], output)
    }
}

pub(super) fn gemm(input: &str, output: &str) -> NodeProto {
    NodeProto {
        attribute: vec![AttributeProto::float("alpha", -2.0), AttributeProto::int("transB", 1)],
        ..node("Gemm", &[input, "bank", "squares"], output)
    }
}

pub(super) fn top(input: &str, values: &str, positions: &str) -> NodeProto {
    NodeProto {
        output: vec![values.to_owned(), positions.to_owned()],
        ..node("TopK", &[input, "count"], values)
    }
}

/// A model of these nodes, which gives `y`. There are pictures `x` and `pixels` of 8 x 8, and constants.
pub(super) fn model(nodes: Vec<NodeProto>) -> ModelProto {
    let kernel: Vec<f32> = (0..CHANNELS * CHANNELS * 9)
        .map(|place| ((place * 7 % 11) as f32 - 5.0) / 20.0)
        .collect();
    let scalar = |name: &str, value: f32| TensorProto::floats(name, &[], &[value]);
    let picture = [None, Some(CHANNELS), Some(8), Some(8)];
    let graph = GraphProto {
        name: "sample".into(),
        node: nodes,
        initializer: vec![
            TensorProto::floats("w", &[CHANNELS, CHANNELS, 3, 3], &kernel),
            TensorProto::floats("blur", &[1, CHANNELS, 3, 3], &kernel[..CHANNELS * 9]),
            TensorProto::floats("bias", &[CHANNELS], &[0.3, -0.7]),
            TensorProto::floats("bank", &[2, 1], &[1.0, 2.0]),
            TensorProto::floats("squares", &[1, 2], &[5.0, 6.0]),
            TensorProto::floats("mixed", &[1, CHANNELS, 1, 1], &[1.0, 2.0]),
            TensorProto::ints("count", &[1], &[1]),
            scalar("zero", 0.0),
            scalar("half", 0.5),
            scalar("one", 1.0),
            scalar("six", 6.0),
            scalar("eight", 8.0),
            scalar("minus", -1.0),
        ],
        input: vec![
            ValueInfoProto::tensor("x", FLOAT, &picture),
            ValueInfoProto::tensor("pixels", UINT8, &picture),
        ],
        output: vec![ValueInfoProto::tensor("y", FLOAT, &picture)],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: 13,
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}
