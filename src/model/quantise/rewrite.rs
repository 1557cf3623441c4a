//! A graph that tells the ranges of its values, and the graph that computes with bytes. Pure.
//!
//! Bytes are written as pairs of `QuantizeLinear` and `DequantizeLinear` around plain operators, which every runtime reads in its own way: ONNX Runtime
//! on a processor makes `QLinearConv`, `QLinearAdd` and `QGemm` of them, TensorRT its own kernels.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::index::{Weights, names};
use super::levels::{Activation, Range, weights};
use super::plan::{Levels, OPERATOR_SET, Operation, PREFIX, Plan};
use crate::model::onnx::{AttributeProto, FLOAT, GraphProto, ModelProto, NodeProto, TensorProto, UINT8, ValueInfoProto};

/// `TensorProto.DataType.INT8`.
const INT8: i32 = 3;
/// `TensorProto.DataType.INT32`.
const INT32: i32 = 6;

/// Why a graph cannot be rewritten; completes "failed to quantise ...: ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RewriteError {
    /// No finite range was seen.
    #[error("its value \"{0}\" was not a finite number on every image; check the model and its input range")]
    Range(String),
    /// Weights that are no numbers.
    #[error("the weights of its node \"{0}\" are not all finite numbers; restore the model from a copy, or export it again")]
    Weights(String),
}

/// The model with the lowest and the highest of each value that `plan` has to know as two more outputs, and their names, value by value.
pub(super) fn observing(model: &ModelProto, plan: &Plan) -> (ModelProto, Vec<Observed>) {
    let mut model = raised(model);
    let mut observed = Vec::new();
    if let Some(graph) = &mut model.graph {
        for value in plan.observed() {
            let extremes = ["ReduceMin", "ReduceMax"].map(|operator| {
                let output = format!("{PREFIX}{value}/{operator}");
                let attribute = vec![AttributeProto::int("keepdims", 0)];
                graph.node.push(node(operator, vec![value.into()], &output, attribute));
                graph.output.push(ValueInfoProto::tensor(&output, FLOAT, &[]));
                output
            });
            let [low, high] = extremes;
            observed.push(Observed {
                value: value.to_owned(),
                low,
                high,
            });
        }
    }
    (model, observed)
}

/// A value and the outputs that tell its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observed {
    /// Its name.
    pub(super) value: String,
    /// The output with its lowest number.
    pub(super) low: String,
    /// The output with its highest.
    pub(super) high: String,
}

/// The model that computes with bytes, given the ranges of all values that `plan` has to know.
///
/// # Errors
/// When a range or a weight is not made of finite numbers.
pub(super) fn rewritten(model: &ModelProto, plan: &Plan, ranges: &BTreeMap<String, Range>) -> Result<ModelProto, RewriteError> {
    let mut model = raised(model);
    let Some(graph) = model.graph.take() else { return Ok(model) };
    let mut writer = Writer {
        plan,
        activations: activations(plan, ranges)?,
        nodes: Vec::with_capacity(4 * graph.node.len()),
        constants: Vec::new(),
    };
    for input in &graph.input {
        writer.enter_bytes(&input.name);
    }
    for (place, node) in graph.node.iter().enumerate() {
        writer.write(place, node)?;
    }
    let mut graph = GraphProto {
        node: writer.nodes,
        initializer: graph.initializer.into_iter().chain(writer.constants).collect(),
        ..graph
    };
    prune(&mut graph);
    model.graph = Some(graph);
    Ok(model)
}

fn raised(model: &ModelProto) -> ModelProto {
    let mut model = model.clone();
    for set in model.opset_import.iter_mut().filter(|set| set.domain.is_empty()) {
        set.version = set.version.max(OPERATOR_SET);
    }
    model
}

/// How each value becomes bytes.
fn activations(plan: &Plan, ranges: &BTreeMap<String, Range>) -> Result<HashMap<String, Activation>, RewriteError> {
    let mut activations = HashMap::new();
    for value in plan.values.keys() {
        // A choice of a choice is a choice; each step goes back in the graph, so that there is an end.
        let mut source = value;
        let activation = loop {
            match plan.values.get(source) {
                Some(Levels::Of(other)) => source = other,
                Some(Levels::Are { activation, .. }) => break Some(*activation),
                Some(Levels::Observed) | None => break ranges.get(source).copied().and_then(Activation::over),
            }
        };
        let activation = activation.ok_or_else(|| RewriteError::Range(source.clone()))?;
        activations.insert(value.clone(), activation);
    }
    Ok(activations)
}

struct Writer<'a> {
    plan: &'a Plan,
    activations: HashMap<String, Activation>,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Writer<'_> {
    fn write(&mut self, place: usize, node: &NodeProto) -> Result<(), RewriteError> {
        if self.plan.absorbed.contains(&place) {
            return Ok(());
        }
        let mut written = node.clone();
        let Some(operation) = self.plan.operations.get(&place) else {
            self.nodes.push(written);
            for output in &node.output {
                self.enter_bytes(output);
            }
            return Ok(());
        };
        for input in &mut written.input {
            *input = self.near(input);
        }
        match operation {
            Operation::Convolution(weights) => self.weigh(&mut written, &node.input[0], weights)?,
            Operation::Pick(weights) => {
                written.attribute.retain(|attribute| attribute.name != "alpha");
                self.weigh(&mut written, &node.input[0], weights)?;
            }
            Operation::Joining => {}
        }
        let result = self.plan.results.get(&place);
        if let Some(result) = result {
            written.output = vec![format!("{PREFIX}{result}/real")];
        }
        let real = written.output.first().cloned().unwrap_or_default();
        self.nodes.push(written);
        if let Some(result) = result {
            self.pair(result, &real, result);
        }
        Ok(())
    }

    /// The name under which nodes that compute with bytes find a value.
    fn near(&self, value: &str) -> String {
        if !self.plan.values.contains_key(value) || self.plan.is_result(value) {
            return value.to_owned();
        }
        format!("{PREFIX}{value}/near")
    }

    /// Makes bytes of a value that plain nodes give, and of bytes that the camera gives; others that take it find it as it was.
    fn enter_bytes(&mut self, value: &str) {
        let near = format!("{PREFIX}{value}/near");
        match self.plan.values.get(value) {
            Some(Levels::Are { source, .. }) => {
                let source = source.clone();
                let [scale, zero_point] = self.parameters(value);
                self.nodes
                    .push(node("DequantizeLinear", vec![source, scale, zero_point], &near, vec![]));
            }
            Some(_) if !self.plan.is_result(value) => self.pair(value, value, &near),
            _ => {}
        }
    }

    /// From numbers to bytes and back.
    fn pair(&mut self, value: &str, from: &str, to: &str) {
        let levels = format!("{PREFIX}{value}/levels");
        let [scale, zero_point] = self.parameters(value);
        let there = vec![from.to_owned(), scale.clone(), zero_point.clone()];
        self.nodes.push(node("QuantizeLinear", there, &levels, vec![]));
        self.nodes
            .push(node("DequantizeLinear", vec![levels, scale, zero_point], to, vec![]));
    }

    /// Names of a value's scale and zero point.
    fn parameters(&mut self, value: &str) -> [String; 2] {
        let names = ["scale", "zero"].map(|what| format!("{PREFIX}{value}/{what}"));
        if let Some(activation) = self.activations.get(value) {
            self.constants.push(TensorProto::floats(&names[0], &[], &[activation.scale]));
            self.constants.push(bytes(&names[1], &[], UINT8, vec![activation.zero_point]));
        }
        names
    }

    /// Gives a node its weights as bytes.
    fn weigh(&mut self, node: &mut NodeProto, input: &str, plain: &Weights) -> Result<(), RewriteError> {
        let unusable = || RewriteError::Weights(node.name.clone());
        let channels = plain
            .dims
            .first()
            .and_then(|channels| usize::try_from(*channels).ok())
            .unwrap_or_default();
        let input_scale = self.activations.get(input).map(|activation| activation.scale).unwrap_or_default();
        let quantised = weights(&plain.values, &plain.bias, channels, input_scale).ok_or_else(unusable)?;
        let steps: Vec<f32> = quantised.scales.iter().map(|scale| input_scale * scale).collect();
        let prefix = format!("{PREFIX}{}/", node.output.first().map_or("", String::as_str));
        let levels = quantised.levels.iter().map(|level| level.to_le_bytes()[0]).collect();
        let mut inputs = vec![node.input[0].clone()];
        inputs.push(self.constant_of(&format!("{prefix}weights"), &plain.dims, (INT8, 1), levels, &quantised.scales));
        if !plain.bias.is_empty() {
            let levels = quantised.bias.iter().flat_map(|level| level.to_le_bytes()).collect();
            inputs.push(self.constant_of(&format!("{prefix}bias"), &plain.dims[..1], (INT32, 4), levels, &steps));
        }
        node.input = inputs;
        Ok(())
    }

    /// A constant of whole numbers with a scale for each of the first dimension, as the numbers that they stand for.
    fn constant_of(&mut self, name: &str, dims: &[i64], (data_type, size): (i32, usize), raw: Vec<u8>, scales: &[f32]) -> String {
        let [levels, scale, zero] = ["levels", "scale", "zero"].map(|what| format!("{name}/{what}"));
        self.constants.push(bytes(&levels, dims, data_type, raw));
        self.constants.push(TensorProto::floats(&scale, &[scales.len()], scales));
        self.constants
            .push(bytes(&zero, &dims[..1], data_type, vec![0; size * scales.len()]));
        let attribute = vec![AttributeProto::int("axis", 0)];
        self.nodes
            .push(node("DequantizeLinear", vec![levels, scale, zero], name, attribute));
        name.to_owned()
    }
}

fn node(operator: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input,
        output: vec![output.to_owned()],
        // Many a model names its nodes by what they give, and a name may be there once.
        name: format!("{PREFIX}{output}"),
        op_type: operator.into(),
        domain: String::new(),
        attribute,
    }
}

fn bytes(name: &str, dims: &[i64], data_type: i32, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type,
        raw_data,
        ..TensorProto::default()
    }
}

/// Drops what nobody takes any more: nodes and constants that bytes have replaced.
fn prune(graph: &mut GraphProto) {
    let mut taken: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in graph.node.drain(..).rev() {
        if !node.output.iter().any(|output| taken.contains(output)) {
            continue;
        }
        taken.extend(node.input.iter().cloned());
        taken.extend(inner_names(&node));
        kept.push(node);
    }
    kept.reverse();
    graph.node = kept;
    let mut seen = HashSet::new();
    graph
        .initializer
        .retain(|tensor| taken.contains(&tensor.name) && seen.insert(tensor.name.clone()));
}

/// Names that graphs inside of a node take from outside.
fn inner_names(node: &NodeProto) -> Vec<String> {
    let graphs = node
        .attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    graphs
        .flat_map(|graph| names(graph).into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, node};
    use super::*;

    fn bytes_of(nodes: Vec<NodeProto>) -> GraphProto {
        let model = samples::model(nodes);
        let plan = Plan::of(&model).unwrap();
        let range = Range { low: -1.0, high: 3.0 };
        let ranges = plan.observed().map(|value| (value.to_owned(), range)).collect();
        rewritten(&model, &plan, &ranges).unwrap().graph.unwrap()
    }

    fn operators(graph: &GraphProto) -> Vec<&str> {
        graph.node.iter().map(|node| node.op_type.as_str()).collect()
    }

    /// Every value is made once, before it is taken.
    fn assert_sound(graph: &GraphProto) {
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        let mut known: HashSet<&str> = inputs.chain(graph.initializer.iter().map(|tensor| tensor.name.as_str())).collect();
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{input} is taken before it is made");
            }
            for output in &node.output {
                assert!(known.insert(output), "{output} is made twice");
            }
        }
        assert!(graph.output.iter().all(|output| known.contains(output.name.as_str())));
    }

    #[test]
    fn bytes_stand_around_each_convolution_and_nothing_else_stays_of_what_they_replace() {
        let graph = bytes_of(vec![
            node("Conv", &["x", "w", "bias"], "a"),
            node("Relu", &["a"], "b"),
            node("Conv", &["b", "w"], "c"),
            node("Conv", &["c", "w"], "y"),
        ]);
        assert_sound(&graph);
        let (q, dq) = ("QuantizeLinear", "DequantizeLinear");
        assert_eq!(operators(&graph), [q, dq, dq, dq, "Conv", q, dq, dq, "Conv", q, dq, "Conv"]);
        let names = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        let plain: Vec<&str> = names.filter(|name| !name.starts_with(PREFIX)).collect();
        assert_eq!(plain, ["w"], "the last convolution's");
        assert_eq!(graph.output[0].name, "y");
    }

    #[test]
    fn plain_nodes_find_a_value_as_it_was() {
        let graph = bytes_of(vec![
            node("Neg", &["x"], "a"),
            node("Conv", &["a", "w"], "b"),
            node("Conv", &["b", "w"], "c"),
            node("Add", &["a", "c"], "y"),
        ]);
        assert_sound(&graph);
        let add = graph.node.iter().find(|node| node.op_type == "Add").unwrap();
        assert_eq!(add.input, ["a", "c"]);
        let conv = graph.node.iter().find(|node| node.op_type == "Conv").unwrap();
        assert_eq!(conv.input[0], "int8/a/near");
    }

    #[test]
    fn a_choice_of_bytes_keeps_their_levels() {
        let model = samples::model(vec![
            node("Conv", &["x", "w"], "a"),
            node("MaxPool", &["a"], "b"),
            node("Conv", &["b", "w"], "c"),
            node("Conv", &["c", "w"], "y"),
        ]);
        let plan = Plan::of(&model).unwrap();
        assert_eq!(plan.observed().collect::<Vec<_>>(), ["a", "c", "x"]);
        let range = |high| Range { low: 0.0, high };
        let ranges = [("a", 3.0), ("x", 1.0), ("c", 2.0)].map(|(value, high)| (value.to_owned(), range(high)));
        let graph = rewritten(&model, &plan, &BTreeMap::from(ranges)).unwrap().graph.unwrap();
        assert_sound(&graph);
        let scale = |value: &str| {
            let name = format!("{PREFIX}{value}/scale");
            graph
                .initializer
                .iter()
                .find(|tensor| tensor.name == name)
                .unwrap()
                .raw_data
                .clone()
        };
        assert_eq!(scale("a"), scale("b"));
        assert_ne!(scale("a"), scale("c"));
    }

    #[test]
    fn a_range_that_was_not_seen_is_named() {
        let model = samples::model(vec![node("Conv", &["x", "w"], "a"), node("Conv", &["a", "w"], "y")]);
        let plan = Plan::of(&model).unwrap();
        let ranges = BTreeMap::from([("x".to_owned(), Range { low: 0.0, high: 1.0 })]);
        assert_eq!(rewritten(&model, &plan, &ranges), Err(RewriteError::Range("a".into())));
    }

    #[test]
    fn each_value_that_has_to_be_known_is_an_output_twice() {
        let model = samples::model(vec![
            node("Conv", &["x", "w"], "a"),
            node("Relu", &["a"], "b"),
            node("Conv", &["b", "w"], "y"),
        ]);
        let (observing, observed) = observing(&model, &Plan::of(&model).unwrap());
        assert_eq!(
            observed.iter().map(|observed| observed.value.as_str()).collect::<Vec<_>>(),
            ["b", "x"]
        );
        let graph = observing.graph.unwrap();
        assert_sound(&graph);
        assert_eq!(graph.output.len(), 1 + 2 * observed.len());
    }
}
