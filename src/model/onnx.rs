//! The ONNX messages takt reads and writes, as far as it needs them. Field numbers are those of `onnx.proto3` (ONNX IR version 8 to 11,
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>). Fields left out here are dropped when a model is read and written again; those that
//! would change what a model computes (functions, sparse initialisers, external data) are kept, so that readers can refuse them.

use prost::Message;

/// A whole model.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    /// Version of the file format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Operator sets used.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetId>,
    /// The program that wrote the model.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// What the model is for.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The computation.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Free text by key.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntry>,
    /// Functions of the model's own, undecoded.
    #[prost(bytes = "vec", repeated, tag = "25")]
    pub functions: Vec<Vec<u8>>,
}

/// An operator set and its version.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetId {
    /// Empty for ONNX's own operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Version of the set.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// One entry of a map from string to string.
#[derive(Clone, PartialEq, Message)]
pub struct StringStringEntry {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A computation: nodes in topological order.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    /// The operations.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constants.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// What goes in.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// What comes out.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Sparse constants, undecoded.
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub sparse_initializer: Vec<Vec<u8>>,
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    /// Names of the values it takes; empty for one left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values it gives.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Operator set.
    #[prost(string, tag = "7")]
    pub domain: String,
    /// Constant parameters.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
}

/// A constant parameter of a node.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    /// Name of the parameter.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Reference to an attribute of a function.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
    /// Which of the fields below holds the value: `AttributeProto.AttributeType`.
    #[prost(int32, tag = "20")]
    pub r#type: i32,
    /// FLOAT (1).
    #[prost(float, tag = "2")]
    pub f: f32,
    /// INT (2).
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// STRING (3).
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    /// TENSOR (4).
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// GRAPH (5).
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    /// FLOATS (6).
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    /// INTS (7).
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// STRINGS (8).
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    /// TENSORS (9).
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// GRAPHS (10).
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
}

/// A constant tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// Length of each dimension.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Element type: `TensorProto.DataType`.
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Values of FLOAT and COMPLEX64 tensors.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Values of the small integer types, BOOL and FLOAT16.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Values of STRING tensors.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    /// Values of INT64 tensors.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Name of the value.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Values of any fixed-width type, little endian, row-major.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    /// Values of DOUBLE and COMPLEX128 tensors.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Values of UINT32 and UINT64 tensors.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Where the values are if they are in another file.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntry>,
    /// 1 if the values are in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// Name and type of a value.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    /// Name of the value.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// Type of a value; only tensors are described.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    /// Element type and shape.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
}

/// Type of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    /// Element type: `TensorProto.DataType`.
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Its shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// Shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// Its dimensions.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One dimension of a shape.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    /// Its length or its name.
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
}

/// A length, or the name of a length that is known only later.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum DimensionValue {
    /// A fixed length.
    #[prost(int64, tag = "1")]
    Length(i64),
    /// A name for it.
    #[prost(string, tag = "2")]
    Symbol(String),
}

/// `TensorProto.DataType.FLOAT`.
pub const FLOAT: i32 = 1;
/// `TensorProto.DataType.UINT8`.
pub const UINT8: i32 = 2;
/// `TensorProto.DataType.INT64`.
pub const INT64: i32 = 7;

/// `AttributeProto.AttributeType.FLOAT`.
const ATTRIBUTE_FLOAT: i32 = 1;
/// `AttributeProto.AttributeType.INT`.
const ATTRIBUTE_INT: i32 = 2;
/// `AttributeProto.AttributeType.INTS`.
const ATTRIBUTE_INTS: i32 = 7;

/// Dimensions that a model leaves open in one of its inputs, by name, with the lengths that they have in `shape`; without those that would have
/// two lengths at once.
pub fn open_dimensions(model: &[u8], input: &str, shape: &[usize]) -> Vec<(String, usize)> {
    let inputs = ModelProto::decode(model)
        .ok()
        .and_then(|model| model.graph)
        .map(|graph| graph.input);
    let input = inputs.unwrap_or_default().into_iter().find(|value| value.name == input);
    let dims = input
        .and_then(|input| input.r#type?.tensor_type?.shape)
        .map(|shape| shape.dim)
        .unwrap_or_default();
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut torn = Vec::new();
    for (dim, length) in dims.into_iter().zip(shape) {
        let Some(DimensionValue::Symbol(name)) = dim.value else { continue };
        match open.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if known != length => torn.push(name),
            Some(_) => {}
            None => open.push((name, *length)),
        }
    }
    open.retain(|(name, _)| !torn.contains(name));
    open
}

impl TensorProto {
    /// A constant of 32-bit floats.
    pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> Self {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self {
            name: name.into(),
            dims: lengths(dims),
            data_type: FLOAT,
            raw_data,
            ..Self::default()
        }
    }

    /// A constant of 64-bit integers.
    pub fn ints(name: &str, dims: &[usize], values: &[i64]) -> Self {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self {
            name: name.into(),
            dims: lengths(dims),
            data_type: INT64,
            raw_data,
            ..Self::default()
        }
    }
}

fn lengths(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|d| *d as i64).collect()
}

impl AttributeProto {
    /// An integer parameter.
    pub fn int(name: &str, i: i64) -> Self {
        Self {
            name: name.into(),
            r#type: ATTRIBUTE_INT,
            i,
            ..Self::default()
        }
    }

    /// A list of integers.
    pub fn ints(name: &str, ints: &[i64]) -> Self {
        Self {
            name: name.into(),
            r#type: ATTRIBUTE_INTS,
            ints: ints.to_vec(),
            ..Self::default()
        }
    }

    /// A float parameter.
    pub fn float(name: &str, f: f32) -> Self {
        Self {
            name: name.into(),
            r#type: ATTRIBUTE_FLOAT,
            f,
            ..Self::default()
        }
    }
}

impl ValueInfoProto {
    /// A tensor value; `None` is the batch dimension, called `N`.
    pub fn tensor(name: &str, elem_type: i32, dims: &[Option<usize>]) -> Self {
        let dim = dims
            .iter()
            .map(|d| Dimension {
                value: Some(d.map_or_else(|| DimensionValue::Symbol("N".into()), |d| DimensionValue::Length(d as i64))),
            })
            .collect();
        let tensor_type = Some(TensorTypeProto {
            elem_type,
            shape: Some(TensorShapeProto { dim }),
        });
        Self {
            name: name.into(),
            r#type: Some(TypeProto { tensor_type }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_dimensions_get_the_lengths_of_the_tensor_unless_they_contradict() {
        let symbol = |name: &str| Dimension {
            value: Some(DimensionValue::Symbol(name.into())),
        };
        let length = |length| Dimension {
            value: Some(DimensionValue::Length(length)),
        };
        let model = |dim| {
            let mut input = ValueInfoProto::tensor("images", FLOAT, &[]);
            input.r#type = Some(TypeProto {
                tensor_type: Some(TensorTypeProto {
                    elem_type: FLOAT,
                    shape: Some(TensorShapeProto { dim }),
                }),
            });
            let graph = GraphProto {
                input: vec![input],
                ..GraphProto::default()
            };
            let graph = Some(graph);
            ModelProto {
                graph,
                ..ModelProto::default()
            }
            .encode_to_vec()
        };
        let open = model(vec![symbol("batch"), length(3), symbol("height"), symbol("width")]);
        let expected = [("batch".to_owned(), 1), ("height".to_owned(), 320), ("width".to_owned(), 640)];
        assert_eq!(open_dimensions(&open, "images", &[1, 3, 320, 640]), expected);
        let torn = model(vec![symbol("n"), length(3), symbol("side"), symbol("side")]);
        assert_eq!(open_dimensions(&torn, "images", &[1, 3, 320, 640]), [("n".to_owned(), 1)]);
        assert_eq!(open_dimensions(&torn, "images", &[1, 3, 320, 320]).len(), 2);
        assert_eq!(open_dimensions(&torn, "other", &[1, 3, 320, 320]), []);
        assert_eq!(open_dimensions(b"no model", "images", &[1]), []);
    }
}
