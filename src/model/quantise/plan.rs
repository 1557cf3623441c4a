//! Which nodes of a graph are to compute with bytes, and which values become bytes for that. Pure.
//!
//! | node | computes with bytes |
//! |---|---|
//! | `Conv` with constant weights | where another one follows: the last before a head gives the numbers that count |
//! | `Relu`, `Clip` from 0, behind one of these | disappears: a level below zero does not exist |
//! | `Add`, `Mul`, `Sigmoid`, `Concat`, `MaxPool` between convolutions | where all that goes in and all that takes it are bytes |
//! | `Gemm` that only picks: all that is taken of it are the positions that `TopK` finds | always: the distances that count are measured anew |
//! | everything else, the last sums before a head included | never |
//!
//! Bytes from a camera that are centred and scaled alike in all channels are bytes already: their `Cast`, `Sub` and `Div` disappear, and nothing
//! is lost.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::index::{Index, Weights, is};
use super::levels::Activation;
use crate::model::onnx::{GraphProto, ModelProto, NodeProto};

/// What the names of all values that quantisation adds begin with.
pub(super) const PREFIX: &str = "int8/";

/// The operator set that `DequantizeLinear` with a scale for each channel came with.
pub(super) const OPERATOR_SET: i64 = 13;

/// The oldest operator set whose graphs are raised to that one.
const OPERATOR_SET_MIN: i64 = 11;

/// Operators whose form changed between the two.
const CHANGED: &[&str] = &[
    "Dropout",
    "Hardmax",
    "LogSoftmax",
    "ReduceSum",
    "Softmax",
    "Split",
    "Squeeze",
    "Unsqueeze",
];

/// Operators that go along with the convolutions around them.
const JOINING: &[&str] = &["Add", "Concat", "MaxPool", "Mul", "Sigmoid"];

/// Why a graph cannot be quantised; completes "failed to quantise ...: ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotQuantisable {
    /// No graph.
    #[error("its ONNX file holds no graph; restore it from a copy")]
    Empty,
    /// It has nodes for bytes.
    #[error("it computes with bytes already ({0}); give the model that it was made of")]
    Already(String),
    /// An operator set from before scales for each channel.
    #[error(
        "it is written in operator set {found}, which knows no scales for each channel{}; export it with operator set {OPERATOR_SET} or later",
        .because.as_ref().map(|operator| format!(", and uses {operator}, which changed since")).unwrap_or_default()
    )]
    OperatorSet {
        /// The version found.
        found: i64,
        /// An operator that keeps it from being raised.
        because: Option<String>,
    },
    /// Something that takt does not look into.
    #[error("it has {0}, which takt does not look into; export it without")]
    Opaque(&'static str),
    /// Nothing that bytes would help.
    #[error("it has no two convolutions in a row with constant 32-bit weights, so bytes would not make it faster; use it as it is")]
    NoConvolutions,
}

/// What a node does with bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operation {
    /// A convolution; what it gives is bytes.
    Convolution(Weights),
    /// A product that only picks; what it gives are plain numbers.
    Pick(Weights),
    /// Goes along with its neighbours.
    Joining,
}

/// Where the levels of a value come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Levels {
    /// The range that it takes on good parts.
    Observed,
    /// Those of another value, of which it is a choice.
    Of(String),
    /// It is bytes by itself: this value is.
    Are {
        /// The bytes.
        source: String,
        /// What they stand for.
        activation: Activation,
    },
}

/// What of a graph becomes bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// Nodes that compute with bytes, by their place.
    pub(super) operations: BTreeMap<usize, Operation>,
    /// What each of those gives: its own output, or that of the node it absorbs.
    pub(super) results: BTreeMap<usize, String>,
    /// Nodes that disappear into the one before.
    pub(super) absorbed: BTreeSet<usize>,
    /// Values that become bytes.
    pub(super) values: BTreeMap<String, Levels>,
    /// Convolutions of the graph, those that stay as they are included.
    pub(super) convolutions: usize,
}

impl Plan {
    /// What of a model's graph becomes bytes.
    ///
    /// # Errors
    /// When nothing can.
    pub(super) fn of(model: &ModelProto) -> Result<Self, NotQuantisable> {
        let graph = model.graph.as_ref().ok_or(NotQuantisable::Empty)?;
        check(model, graph)?;
        let index = Index::new(graph);
        let mut plan = Self {
            operations: BTreeMap::new(),
            results: BTreeMap::new(),
            absorbed: BTreeSet::new(),
            values: BTreeMap::new(),
            convolutions: graph.node.iter().filter(|node| is(node, "Conv")).count(),
        };
        let leading = index.leading();
        for (place, node) in graph.node.iter().enumerate() {
            let is_followed = node.output.first().is_some_and(|output| leading.contains(output.as_str()));
            if let Some(weights) = index.convolution(node).filter(|_| is_followed) {
                plan.add(&index, place, Operation::Convolution(weights));
            } else if let Some(weights) = index.pick(node) {
                plan.operations.insert(place, Operation::Pick(weights));
            }
        }
        if plan.results.is_empty() {
            return Err(NotQuantisable::NoConvolutions);
        }
        plan.join(&index);
        plan.collect(&index);
        Ok(plan)
    }

    /// Convolutions that will compute with bytes.
    pub(super) fn quantised(&self) -> usize {
        let is_convolution = |operation: &&Operation| matches!(operation, Operation::Convolution(_));
        self.operations.values().filter(is_convolution).count()
    }

    /// Values whose ranges have to be known.
    pub(super) fn observed(&self) -> impl Iterator<Item = &str> {
        let observed = self.values.iter().filter(|(_, levels)| **levels == Levels::Observed);
        observed.map(|(value, _)| value.as_str())
    }

    /// Whether a value comes out of a node that computes with bytes.
    pub(super) fn is_result(&self, value: &str) -> bool {
        self.results.values().any(|result| result == value)
    }

    fn add(&mut self, index: &Index<'_>, place: usize, operation: Operation) {
        let output = index.graph.node[place].output[0].as_str();
        let result = match index.cut_at_zero(output) {
            Some(cut) => {
                self.absorbed.insert(cut);
                index.graph.node[cut].output[0].clone()
            }
            None => output.to_owned(),
        };
        self.operations.insert(place, operation);
        self.results.insert(place, result);
    }

    /// Adds the nodes between convolutions.
    fn join(&mut self, index: &Index<'_>) {
        let nodes = &index.graph.node;
        let is_joining = |node: &NodeProto| JOINING.iter().any(|operator| is(node, operator)) && node.output.len() == 1;
        // Values that only convolutions take in the end.
        let mut inner: HashSet<&str> = HashSet::new();
        for (value, takers) in &index.consumers {
            let by_bytes =
                |taker: &usize| self.operations.contains_key(taker) || is_joining(&nodes[*taker]) || self.absorbed.contains(taker);
            if !index.kept.contains(value) && takers.iter().all(by_bytes) {
                inner.insert(value);
            }
        }
        let mut bytes: HashSet<String> = HashSet::new();
        for (place, node) in nodes.iter().enumerate() {
            if let Some(result) = self.results.get(&place) {
                bytes.insert(result.clone());
            } else if is_joining(node) && node.input.iter().all(|input| bytes.contains(input)) {
                let output = node.output[0].as_str();
                let result = index
                    .cut_at_zero(output)
                    .map_or(output, |cut| index.graph.node[cut].output[0].as_str());
                if inner.contains(result) {
                    bytes.insert(result.to_owned());
                    self.add(index, place, Operation::Joining);
                }
            }
        }
        self.leave_what_leads_nowhere(index);
    }

    /// A joining node that no convolution follows makes nothing faster, and a head less exact.
    fn leave_what_leads_nowhere(&mut self, index: &Index<'_>) {
        let mut leads: HashSet<String> = HashSet::new();
        for (place, node) in index.graph.node.iter().enumerate().rev() {
            match self.operations.get(&place) {
                Some(Operation::Convolution(_) | Operation::Pick(_)) => {
                    leads.insert(node.input[0].clone());
                }
                Some(Operation::Joining) if self.results.get(&place).is_some_and(|result| leads.contains(result)) => {
                    leads.extend(node.input.iter().cloned());
                }
                Some(Operation::Joining) => {
                    let output = node.output[0].as_str();
                    if let Some(cut) = index.cut_at_zero(output) {
                        self.absorbed.remove(&cut);
                    }
                    self.operations.remove(&place);
                    self.results.remove(&place);
                }
                None => {}
            }
        }
    }

    /// Collects the values that go in and come out.
    fn collect(&mut self, index: &Index<'_>) {
        for (place, operation) in &self.operations {
            let node = &index.graph.node[*place];
            let is_choice = is(node, "MaxPool");
            let inputs = match operation {
                Operation::Joining => node.input.as_slice(),
                Operation::Convolution(_) | Operation::Pick(_) => &node.input[..1],
            };
            for input in inputs {
                let levels = index.bytes_behind(input, &self.operations);
                self.values.entry(input.clone()).or_insert(levels.unwrap_or(Levels::Observed));
            }
            if let Some(result) = self.results.get(place) {
                let levels = if is_choice {
                    Levels::Of(inputs[0].clone())
                } else {
                    Levels::Observed
                };
                self.values.insert(result.clone(), levels);
            }
        }
    }
}

fn check(model: &ModelProto, graph: &GraphProto) -> Result<(), NotQuantisable> {
    if !model.functions.is_empty() {
        return Err(NotQuantisable::Opaque("functions of its own"));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(NotQuantisable::Opaque("sparse constants"));
    }
    let is_quantised = |node: &&NodeProto| {
        node.op_type.ends_with("uantizeLinear") || node.op_type.starts_with("QLinear") || node.op_type.ends_with("Integer")
    };
    if let Some(node) = graph.node.iter().find(is_quantised) {
        return Err(NotQuantisable::Already(node.op_type.clone()));
    }
    let found = model
        .opset_import
        .iter()
        .find(|set| set.domain.is_empty())
        .map_or(1, |set| set.version);
    if found >= OPERATOR_SET {
        return Ok(());
    }
    let changed = graph.node.iter().find(|node| CHANGED.contains(&node.op_type.as_str()));
    let because = changed.map(|node| node.op_type.clone());
    if found >= OPERATOR_SET_MIN && because.is_none() {
        return Ok(());
    }
    Err(NotQuantisable::OperatorSet { found, because })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, node};
    use super::*;

    fn planned(nodes: Vec<NodeProto>) -> Result<Plan, NotQuantisable> {
        Plan::of(&samples::model(nodes))
    }

    fn joined(plan: &Plan) -> Vec<usize> {
        let is_joining = |(place, operation): (&usize, &Operation)| (*operation == Operation::Joining).then_some(*place);
        plan.operations.iter().filter_map(is_joining).collect()
    }

    #[test]
    fn a_cut_at_zero_disappears_into_the_convolution_before_it() {
        for cut in [
            node("Relu", &["a"], "b"),
            node("Clip", &["a", "zero", "six"], "b"),
            node("Clip", &["a", "zero"], "b"),
        ] {
            let plan = planned(vec![node("Conv", &["x", "w"], "a"), cut, node("Conv", &["b", "w"], "y")]).unwrap();
            // The last one gives what counts, and stays as it is.
            assert_eq!(
                (plan.absorbed.clone(), plan.quantised(), plan.convolutions),
                (BTreeSet::from([1]), 1, 2)
            );
            assert_eq!(plan.observed().collect::<Vec<_>>(), ["b", "x"]);
        }
    }

    #[test]
    fn a_cut_that_bytes_would_not_make_stays() {
        // Above one, with both signs, and where the value before it is taken as well.
        for (cut, more) in [
            (node("Clip", &["a", "one", "six"], "b"), None),
            (node("Clip", &["a", "x", "six"], "b"), None),
            (node("Relu", &["a"], "b"), Some(node("Neg", &["a"], "y2"))),
        ] {
            let mut nodes = vec![node("Conv", &["x", "w"], "a"), cut, node("Conv", &["b", "w"], "y")];
            nodes.extend(more);
            assert!(planned(nodes).unwrap().absorbed.is_empty());
        }
    }

    #[test]
    fn sums_between_convolutions_join_and_the_last_before_a_head_does_not() {
        let inner = planned(vec![
            node("Conv", &["x", "w"], "a"),
            node("Conv", &["a", "w"], "b"),
            node("Add", &["a", "b"], "c"),
            node("Relu", &["c"], "d"),
            node("Conv", &["d", "w"], "e"),
            node("Conv", &["e", "w"], "y"),
        ])
        .unwrap();
        assert_eq!((joined(&inner), inner.absorbed.clone()), (vec![2], BTreeSet::from([3])));
        let last = planned(vec![
            node("Conv", &["x", "w"], "a"),
            node("Conv", &["a", "w"], "b"),
            node("Add", &["a", "b"], "c"),
            node("Relu", &["c"], "y"),
        ])
        .unwrap();
        assert_eq!((joined(&last), last.absorbed.clone()), (vec![], BTreeSet::new()));
        let shared = planned(vec![
            node("Conv", &["x", "w"], "a"),
            node("Conv", &["a", "w"], "b"),
            node("Add", &["a", "b"], "c"),
            node("Conv", &["c", "w"], "d"),
            node("Conv", &["d", "w"], "y"),
            node("Neg", &["c"], "feature"),
        ])
        .unwrap();
        assert_eq!(joined(&shared), [0; 0], "what is a feature too stays exact");
    }

    #[test]
    fn a_product_that_only_picks_is_told_from_one_whose_numbers_count() {
        let conv = node("Conv", &["x", "w"], "a");
        let last = node("Conv", &["a", "w"], "y");
        let gemm = samples::gemm("q", "r");
        let top = |values: &str| samples::top("r", values, "picked");
        let plan = planned(vec![conv.clone(), gemm.clone(), top("unused"), last.clone()]).unwrap();
        let Some(Operation::Pick(weights)) = plan.operations.get(&1) else {
            panic!("{plan:?}");
        };
        // The factor of -2 is among the weights.
        assert_eq!(
            (weights.values.as_slice(), weights.bias.as_slice()),
            (&[-2.0, -4.0][..], &[5.0, 6.0][..])
        );
        let counted = planned(vec![
            conv.clone(),
            gemm.clone(),
            top("used"),
            node("Neg", &["used"], "n"),
            last.clone(),
        ])
        .unwrap();
        assert!(!counted.operations.contains_key(&1));
        let taken = planned(vec![conv, gemm, top("unused"), node("Neg", &["r"], "n"), last]).unwrap();
        assert!(!taken.operations.contains_key(&1));
    }

    #[test]
    fn pixels_that_are_centred_and_scaled_alike_are_bytes_already() {
        let plan = |divisor: &str, centre: &str| {
            planned(vec![
                node("Transpose", &["pixels"], "planes"),
                samples::cast("planes", "floats"),
                node("Sub", &["floats", centre], "centred"),
                node("Div", &["centred", divisor], "scaled"),
                node("Conv", &["scaled", "w"], "a"),
                node("Conv", &["a", "w"], "y"),
            ])
            .unwrap()
        };
        let levels = plan("eight", "six").values.get("scaled").cloned();
        let activation = Activation {
            scale: 0.125,
            zero_point: 6,
        };
        let source = "planes".to_owned();
        assert_eq!(levels, Some(Levels::Are { source, activation }));
        for (divisor, centre) in [("eight", "half"), ("zero", "six"), ("eight", "mixed"), ("eight", "minus")] {
            assert_eq!(
                plan(divisor, centre).values.get("scaled"),
                Some(&Levels::Observed),
                "{divisor}, {centre}"
            );
        }
    }

    #[test]
    fn what_cannot_be_quantised_is_named() {
        let convs = || [node("Conv", &["x", "w"], "a"), node("Conv", &["a", "w"], "y")];
        let with = |more: NodeProto| planned(convs().into_iter().chain([more]).collect());
        assert_eq!(planned(vec![node("Neg", &["x"], "y")]), Err(NotQuantisable::NoConvolutions));
        assert_eq!(planned(vec![node("Conv", &["x", "w"], "y")]), Err(NotQuantisable::NoConvolutions));
        let weighed = planned(vec![node("Conv", &["x", "x"], "a"), node("Conv", &["a", "w"], "y")]);
        assert_eq!(weighed, Err(NotQuantisable::NoConvolutions));
        let blurred = planned(vec![node("Conv", &["x", "w"], "a"), node("Conv", &["a", "blur"], "y")]);
        assert_eq!(blurred, Err(NotQuantisable::NoConvolutions));
        let already = with(node("DequantizeLinear", &["x"], "z"));
        assert_eq!(already, Err(NotQuantisable::Already("DequantizeLinear".into())));
        let older = |version, more: Option<NodeProto>| {
            let mut model = samples::model(convs().into_iter().chain(more).collect());
            model.opset_import[0].version = version;
            Plan::of(&model)
        };
        assert!(older(11, None).is_ok());
        let found = |found, because: Option<&str>| {
            let because = because.map(str::to_owned);
            Err(NotQuantisable::OperatorSet { found, because })
        };
        assert_eq!(older(10, None), found(10, None));
        assert_eq!(older(12, Some(node("Softmax", &["y"], "z"))), found(12, Some("Softmax")));
        assert_eq!(Plan::of(&ModelProto::default()), Err(NotQuantisable::Empty));
    }
}
