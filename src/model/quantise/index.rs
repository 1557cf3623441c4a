//! A graph seen from its values: who makes each, who takes it, and which patterns of nodes stand behind it. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::levels::Activation;
use super::plan::{Levels, Operation};
use crate::model::onnx::{FLOAT, GraphProto, NodeProto, TensorProto, UINT8};

/// A constant matrix or kernel, its output channels first, and what is added for each channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub(super) dims: Vec<i64>,
    pub(super) values: Vec<f32>,
    /// Empty without one.
    pub(super) bias: Vec<f32>,
}

pub(super) fn is(node: &NodeProto, operator: &str) -> bool {
    node.domain.is_empty() && node.op_type == operator
}

/// Who makes and who takes each value of a graph.
pub(super) struct Index<'a> {
    pub(super) graph: &'a GraphProto,
    pub(super) producers: HashMap<&'a str, usize>,
    pub(super) consumers: HashMap<&'a str, Vec<usize>>,
    /// Values that go out of the graph, or into a graph inside of it.
    pub(super) kept: HashSet<&'a str>,
    pub(super) constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Index<'a> {
    pub(super) fn new(graph: &'a GraphProto) -> Self {
        let mut index = Self {
            graph,
            producers: HashMap::new(),
            consumers: HashMap::new(),
            kept: graph.output.iter().map(|output| output.name.as_str()).collect(),
            constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        };
        for (place, node) in graph.node.iter().enumerate() {
            for output in &node.output {
                index.producers.insert(output, place);
            }
            for input in &node.input {
                index.consumers.entry(input).or_default().push(place);
            }
            for inner in node
                .attribute
                .iter()
                .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
            {
                index.kept.extend(names(inner));
            }
            let value = node.attribute.iter().find(|attribute| attribute.name == "value");
            if let (true, Some(tensor), Some(output)) =
                (is(node, "Constant"), value.and_then(|value| value.t.as_ref()), node.output.first())
            {
                index.constants.insert(output, tensor);
            }
        }
        // A constant that may be given from outside is none.
        for input in &graph.input {
            index.constants.remove(input.name.as_str());
        }
        index
    }

    /// The node that a value comes from, if it has this operator.
    fn made_by(&self, value: &str, operator: &str) -> Option<&'a NodeProto> {
        let node = &self.graph.node[*self.producers.get(value)?];
        is(node, operator).then_some(node)
    }

    fn floats(&self, value: &str) -> Option<(Vec<i64>, Vec<f32>)> {
        let tensor = self.constants.get(value)?;
        let values = floats(tensor)?;
        let count: i64 = tensor.dims.iter().product();
        (usize::try_from(count).ok()? == values.len()).then(|| (tensor.dims.clone(), values))
    }

    /// A constant whose values are all the same.
    fn one_float(&self, value: &str) -> Option<f32> {
        let (_, values) = self.floats(value)?;
        let first = *values.first()?;
        values.iter().all(|value| value.to_bits() == first.to_bits()).then_some(first)
    }

    /// The constant weights of a convolution. One to a single channel is none: it sums up or blurs what was found, which costs little as it is.
    pub(super) fn convolution(&self, node: &NodeProto) -> Option<Weights> {
        if !is(node, "Conv") || node.output.len() != 1 {
            return None;
        }
        let (dims, values) = self.floats(node.input.get(1)?)?;
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => self.floats(name)?.1,
            None => Vec::new(),
        };
        let channels = usize::try_from(*dims.first()?).ok()?;
        let is_whole = dims.len() >= 3 && channels > 1 && !values.is_empty() && (bias.is_empty() || bias.len() == channels);
        is_whole.then_some(Weights { dims, values, bias })
    }

    /// The constant matrix of a product that only picks, its factor included.
    pub(super) fn pick(&self, node: &NodeProto) -> Option<Weights> {
        let number = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let is_plain = is(node, "Gemm")
            && number("transB").is_some_and(|attribute| attribute.i == 1)
            && number("transA").is_none_or(|attribute| attribute.i == 0)
            && number("beta").is_none_or(|attribute| (attribute.f - 1.0).abs() < f32::EPSILON);
        let output = node.output.first().filter(|_| is_plain)?;
        let [taker] = self.consumers.get(output.as_str())?.as_slice() else {
            return None;
        };
        let taker = &self.graph.node[*taker];
        let scores = taker.output.first().filter(|_| is(taker, "TopK"))?.as_str();
        if self.kept.contains(output.as_str()) || self.kept.contains(scores) || self.consumers.contains_key(scores) {
            return None;
        }
        let (dims, values) = self.floats(node.input.get(1)?)?;
        let (_, bias) = self.floats(node.input.get(2)?)?;
        let factor = number("alpha").map_or(1.0, |attribute| attribute.f);
        let is_whole = dims.len() == 2 && usize::try_from(dims[0]).ok()? == bias.len() && !values.is_empty();
        is_whole.then(|| Weights {
            dims,
            values: values.iter().map(|value| factor * value).collect(),
            bias,
        })
    }

    /// Values that a convolution follows, sooner or later.
    pub(super) fn leading(&self) -> HashSet<&'a str> {
        let mut leading = HashSet::new();
        for node in self.graph.node.iter().rev() {
            if self.convolution(node).is_some() {
                leading.insert(node.input[0].as_str());
            } else if node.output.iter().any(|output| leading.contains(output.as_str())) {
                leading.extend(node.input.iter().map(String::as_str));
            }
        }
        leading
    }

    /// The node that cuts a value off at zero, if nothing else takes it: with a zero point of 0, bytes do the same.
    pub(super) fn cut_at_zero(&self, value: &str) -> Option<usize> {
        let [taker] = self.consumers.get(value)?.as_slice() else {
            return None;
        };
        let node = &self.graph.node[*taker];
        let constant = |place: usize| node.input.get(place).filter(|name| !name.is_empty());
        let cuts = match node.op_type.as_str() {
            "Relu" => true,
            // Above, too, bytes end where the values did that were observed.
            "Clip" => {
                constant(1).and_then(|low| self.one_float(low)) == Some(0.0)
                    && constant(2).is_none_or(|high| self.one_float(high).is_some_and(|high| high > 0.0))
            }
            _ => false,
        };
        (cuts && node.domain.is_empty() && !self.kept.contains(value) && node.output.len() == 1).then_some(*taker)
    }

    /// The bytes of a picture that a value is made of by one centre and one scale, if nothing but nodes that compute with bytes takes it.
    pub(super) fn bytes_behind(&self, value: &str, operations: &BTreeMap<usize, Operation>) -> Option<Levels> {
        let takers = self.consumers.get(value)?;
        if self.kept.contains(value) || !takers.iter().all(|taker| operations.contains_key(taker)) {
            return None;
        }
        let scaled = self.made_by(value, "Div")?;
        let divisor = self.one_float(scaled.input.get(1)?)?;
        let centred = self.made_by(scaled.input.first()?, "Sub")?;
        let centre = self.one_float(centred.input.get(1)?)?;
        let cast = self.made_by(centred.input.first()?, "Cast")?;
        let to_floats = cast
            .attribute
            .iter()
            .any(|attribute| attribute.name == "to" && attribute.i == i64::from(FLOAT));
        let source = cast.input.first().filter(|source| to_floats && self.is_picture(source))?;
        let is_level = centre.fract() == 0.0 && (0.0..=255.0).contains(&centre);
        let scale = divisor.recip();
        (is_level && scale.is_normal() && scale > 0.0).then(|| Levels::Are {
            source: source.clone(),
            activation: Activation {
                scale,
                zero_point: centre as u8,
            },
        })
    }

    /// Whether a value is an input of bytes, in whatever order of dimensions.
    fn is_picture(&self, value: &str) -> bool {
        if let Some(turned) = self.made_by(value, "Transpose") {
            return turned.input.first().is_some_and(|input| self.is_input_of_bytes(input));
        }
        self.is_input_of_bytes(value)
    }

    fn is_input_of_bytes(&self, value: &str) -> bool {
        let element = |name: &str| {
            let input = self.graph.input.iter().find(|input| input.name == name)?;
            Some(input.r#type.as_ref()?.tensor_type.as_ref()?.elem_type)
        };
        element(value) == Some(UINT8)
    }
}

/// All names that a graph inside of a graph uses; its own among them, which does no harm.
pub(super) fn names(graph: &GraphProto) -> Vec<&str> {
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    let inputs = graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str));
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let inner = attributes
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
        .flat_map(names);
    outputs.chain(inputs).chain(inner).collect()
}

/// The values of a tensor of 32-bit floats.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != FLOAT || tensor.data_location != 0 {
        return None;
    }
    if tensor.raw_data.is_empty() {
        return Some(tensor.float_data.clone());
    }
    let values = tensor.raw_data.chunks_exact(4);
    Some(
        values
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect(),
    )
}
