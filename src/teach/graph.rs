//! A fitted detector becomes one self-contained ONNX graph: bytes in, `anomaly_map` and `pred_score` out. Run time knows nothing of the method.
//!
//! ```text
//! pixels u8 [N,H,W,3] -> normalise -> backbone -> average, interpolate, concatenate -> patches [N*P,C]
//!   -> distance to good patches [N,1,rows,columns] -> interpolate and blur -> anomaly_map [N,1,H,W]
//!                                                  -> most anomalous patch -> pred_score [N]
//! ```
//! Operators are those of operator set 13 that kept their form up to 22.

use super::backbone::Backbone;
use super::detector::Detector;
use super::features::{Grid, OWN_CONTRAST, OWN_CONTRAST_FLOOR};
use super::padim::Padim;
use super::patchcore::PatchCore;
use super::relative::{self, Relative};
use super::spatial::AxisMap;
use crate::model::onnx::{AttributeProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto, UINT8, ValueInfoProto};

/// Name of the graph's input.
pub const PIXELS: &str = "pixels";
/// Name of the output that holds a score per pixel.
pub const ANOMALY_MAP: &str = "anomaly_map";
/// Name of the output that holds a score per image.
pub const PRED_SCORE: &str = "pred_score";

/// Standard deviation of the blur over the anomaly map, in pixels at an input of 256 (PatchCore, section 3.3: sigma 4).
const BLUR_SIGMA_PX: f64 = 4.0;

/// The oldest IR version that goes with operator set 13.
const IR_VERSION_MIN: i64 = 7;

/// What makes a graph impossible.
#[derive(Debug, thiserror::Error)]
#[error("failed to build the graph: the backbone already has a value called \"{0}\"; rename it")]
pub struct NameTaken(String);

/// How patch scores become a map at the model's input size, per axis: interpolated, then blurred.
pub fn map_axes(grid: &Grid) -> (AxisMap, AxisMap) {
    let axis = |pixels: usize, patches: usize| {
        let sigma = BLUR_SIGMA_PX * pixels as f64 / 256.0;
        AxisMap::linear(pixels, patches).then(&AxisMap::gaussian(pixels, sigma))
    };
    (axis(grid.height, grid.rows), axis(grid.width, grid.columns))
}

/// Writes the model that judges images as `detector` does.
///
/// # Errors
/// When a name that the graph needs is taken by the backbone.
pub fn emit(backbone: &Backbone, grid: &Grid, detector: &Detector) -> Result<ModelProto, NameTaken> {
    let network = backbone.model.graph.clone().unwrap_or_default();
    let taken = network
        .node
        .iter()
        .flat_map(|node| &node.output)
        .chain(network.initializer.iter().map(|tensor| &tensor.name));
    let taken = taken
        .chain(std::iter::once(&backbone.manifest.input))
        .find(|name| [PIXELS, ANOMALY_MAP, PRED_SCORE].contains(&name.as_str()));
    if let Some(name) = taken {
        return Err(NameTaken(name.clone()));
    }
    let mut graph = Builder {
        nodes: Vec::new(),
        constants: network.initializer,
        names: 0,
    };
    normalise(&mut graph, backbone, grid);
    graph.nodes.extend(network.node);
    let patches = embed(&mut graph, backbone, grid);
    let (map, score) = match detector {
        Detector::PatchCore(patchcore) => patchcore_head(&mut graph, patchcore, grid, &patches),
        Detector::Padim(padim) => padim_head(&mut graph, padim, grid, &patches),
        Detector::Relative(both) => relative_head(&mut graph, both, grid, &patches),
    };
    let (vertical, horizontal) = map_axes(grid);
    let map = graph.separable(&vertical, &horizontal, &map);
    graph.rename(&map, ANOMALY_MAP);
    graph.rename(&score, PRED_SCORE);
    Ok(ModelProto {
        ir_version: backbone.model.ir_version.max(IR_VERSION_MIN),
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: backbone.opset(),
        }],
        producer_name: "takt".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(GraphProto {
            name: "takt".into(),
            node: graph.nodes,
            initializer: graph.constants,
            input: vec![ValueInfoProto::tensor(
                PIXELS,
                UINT8,
                &[None, Some(grid.height), Some(grid.width), Some(3)],
            )],
            output: vec![
                ValueInfoProto::tensor(ANOMALY_MAP, FLOAT, &[None, Some(1), Some(grid.height), Some(grid.width)]),
                ValueInfoProto::tensor(PRED_SCORE, FLOAT, &[None]),
            ],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    })
}

/// Bytes as the backbone wants them: planes of normalised floats.
fn normalise(graph: &mut Builder, backbone: &Backbone, grid: &Grid) {
    let manifest = &backbone.manifest;
    let planes = graph.node("Transpose", &[PIXELS], vec![AttributeProto::ints("perm", &[0, 3, 1, 2])]);
    let floats = graph.node("Cast", &[&planes], vec![AttributeProto::int("to", i64::from(FLOAT))]);
    let floats = if grid.own_contrast { own_contrast(graph, &floats) } else { floats };
    let mean = graph.floats(&[1, 3, 1, 1], &manifest.mean);
    let std = graph.floats(&[1, 3, 1, 1], &manifest.std);
    let centred = graph.node("Sub", &[&floats, &mean], vec![]);
    let normalised = graph.node("Div", &[&centred, &std], vec![]);
    graph.rename(&normalised, &manifest.input);
}

/// Planes of levels brought to one light and contrast, each image by its own.
fn own_contrast(graph: &mut Builder, planes: &str) -> String {
    let third = graph.floats(&[1], &[1.0 / 3.0]);
    let mean_of = |graph: &mut Builder, planes: &str| {
        let by_channel = graph.node("GlobalAveragePool", &[planes], vec![]);
        let sum = graph.sum(&by_channel, 1, true);
        graph.node("Mul", &[&sum, &third], vec![])
    };
    let mean = mean_of(graph, planes);
    let centred = graph.node("Sub", &[planes, &mean], vec![]);
    let squares = graph.node("Mul", &[&centred, &centred], vec![]);
    let square = mean_of(graph, &squares);
    let floor = graph.floats(&[1], &[OWN_CONTRAST_FLOOR]);
    let floored = graph.node("Add", &[&square, &floor], vec![]);
    let deviation = graph.node("Sqrt", &[&floored], vec![]);
    let relative = graph.node("Div", &[&centred, &deviation], vec![]);
    let (level, deviation) = OWN_CONTRAST;
    let scale = graph.floats(&[1], &[deviation]);
    let scaled = graph.node("Mul", &[&relative, &scale], vec![]);
    let level = graph.floats(&[1], &[level]);
    graph.node("Add", &[&scaled, &level], vec![])
}

/// The backbone's feature maps as patches `[N * patches, channels]`.
fn embed(graph: &mut Builder, backbone: &Backbone, grid: &Grid) -> String {
    let names = backbone.manifest.features.iter().map(|feature| feature.output.as_str());
    let maps: Vec<String> = names
        .zip(&grid.features)
        .map(|(name, (_, vertical, horizontal))| graph.separable(vertical, horizontal, name))
        .collect();
    let maps: Vec<&str> = maps.iter().map(String::as_str).collect();
    let joined = graph.node("Concat", &maps, vec![AttributeProto::int("axis", 1)]);
    let last = graph.node("Transpose", &[&joined], vec![AttributeProto::ints("perm", &[0, 2, 3, 1])]);
    graph.reshape(&last, &[-1, grid.channels() as i64])
}

/// Distances to the memory bank; returns the names of the patch map and the image scores.
fn patchcore_head(graph: &mut Builder, patchcore: &PatchCore, grid: &Grid, patches: &str) -> (String, String) {
    let Near {
        queries,
        bank,
        indices,
        mean,
    } = nearest(graph, patchcore, patches);
    let map = graph.reshape(&mean, &[-1, 1, grid.rows as i64, grid.columns as i64]);

    let per_image = graph.reshape(&mean, &[-1, grid.patches() as i64]);
    let one = graph.ints(&[1]);
    let (worst, position) = graph.node2("TopK", &[&per_image, &one], vec![AttributeProto::int("axis", 1)]);
    let worst = graph.reshape(&worst, &[-1]);
    if patchcore.near_count < 2 {
        return (map, worst);
    }
    let weight = patchcore_weight(
        graph,
        patchcore,
        grid,
        &Worst {
            queries,
            indices,
            position,
            bank,
        },
    );
    (map, graph.node("Mul", &[&worst, &weight], vec![]))
}

/// Names of patches, a bank, which of its entries are nearest to each patch, and the mean distance to them, `[N * P, 1]`.
struct Near {
    queries: String,
    bank: String,
    indices: String,
    mean: String,
}

/// Measures patches `[N * P, C]` by a memory bank.
fn nearest(graph: &mut Builder, patchcore: &PatchCore, patches: &str) -> Near {
    let (channels, size) = (patchcore.channels, patchcore.bank_size());
    let centre = graph.floats(&[1, channels], &patchcore.centre);
    let bank = graph.floats(&[size, channels], &patchcore.bank);
    let squares: Vec<f32> = patchcore
        .bank
        .chunks_exact(channels)
        .map(|patch| patch.iter().map(|value| value * value).sum())
        .collect();
    let squares = graph.floats(&[1, size], &squares);
    let queries = graph.node("Sub", &[patches, &centre], vec![]);

    // |q - b|^2 = |q|^2 + |b|^2 - 2 q.b; |q|^2 is the same for the whole bank and does not matter for which are smallest.
    let product = vec![AttributeProto::float("alpha", -2.0), AttributeProto::int("transB", 1)];
    let relative = graph.node("Gemm", &[&queries, &bank, &squares], product);
    let count = graph.ints(&[patchcore.neighbours as i64]);
    let smallest = vec![
        AttributeProto::int("axis", 1),
        AttributeProto::int("largest", 0),
        AttributeProto::int("sorted", 1),
    ];
    let (_, indices) = graph.node2("TopK", &[&relative, &count], smallest);
    // Products pick the neighbours, differences measure them: near a bank patch the products cancel out to rounding.
    let nearest = graph.node("Gather", &[&bank, &indices], vec![AttributeProto::int("axis", 0)]);
    let query = graph.reshape(&queries, &[-1, 1, channels as i64]);
    let differences = graph.node("Sub", &[&nearest, &query], vec![]);
    let squared = graph.sum_of_squares(&differences, 2, false);
    let distances = graph.root(&squared);
    let mean = graph.sum(&distances, 1, true);
    let scale = graph.floats(&[1], &[1.0 / patchcore.neighbours as f32]);
    let mean = graph.node("Mul", &[&mean, &scale], vec![]);
    Near {
        queries,
        bank,
        indices,
        mean,
    }
}

/// [`Relative::score`] as nodes; returns the names of the patch map and the image scores.
fn relative_head(graph: &mut Builder, both: &Relative, grid: &Grid, patches: &str) -> (String, String) {
    let relative = relative_to_own(graph, both, grid, patches);
    let sides = [(&both.as_is, patches), (&both.relative, relative.as_str())].map(|(side, patches)| {
        let mean = nearest(graph, &side.bank, patches).mean;
        let above = above_own(graph, &mean, both.own_level, grid);
        let scale = graph.floats(&[1], &[1.0 / side.unit]);
        graph.node("Mul", &[&above, &scale], vec![])
    });
    let worse = graph.node("Max", &[&sides[0], &sides[1]], vec![]);
    let zero = graph.floats(&[], &[0.0]);
    let levels = graph.node("Clip", &[&worse, &zero], vec![]);
    let map = graph.reshape(&levels, &[-1, 1, grid.rows as i64, grid.columns as i64]);
    let worst = graph.node("GlobalMaxPool", &[&map], vec![]);
    let score = graph.reshape(&worst, &[-1]);
    (map, score)
}

/// Patches less the mean of their image, by their deviation: `[N * P, C]`.
fn relative_to_own(graph: &mut Builder, both: &Relative, grid: &Grid, patches: &str) -> String {
    let (count, channels) = (grid.patches(), both.as_is.bank.channels);
    let by_image = graph.reshape(patches, &[-1, count as i64, channels as i64]);
    let sum = graph.sum(&by_image, 1, true);
    let share = graph.floats(&[1], &[1.0 / count as f32]);
    let mean = graph.node("Mul", &[&sum, &share], vec![]);
    let centred = graph.node("Sub", &[&by_image, &mean], vec![]);
    let by_patch = graph.sum_of_squares(&centred, 2, true);
    let squares = graph.sum(&by_patch, 1, true);
    let share = graph.floats(&[1], &[1.0 / (count * channels) as f32]);
    let mean_square = graph.node("Mul", &[&squares, &share], vec![]);
    let floor = graph.floats(&[1], &[both.floor]);
    let floored = graph.node("Add", &[&mean_square, &floor], vec![]);
    let deviation = graph.node("Sqrt", &[&floored], vec![]);
    let relative = graph.node("Div", &[&centred, &deviation], vec![]);
    graph.reshape(&relative, &[-1, channels as i64])
}

/// Distances `[N * P, 1]` as `[N, P]`, less a share of each image's calm level.
fn above_own(graph: &mut Builder, distances: &str, own_level: f32, grid: &Grid) -> String {
    let by_image = graph.reshape(distances, &[-1, grid.patches() as i64]);
    if own_level <= 0.0 {
        return by_image;
    }
    let rank = relative::calm_rank(grid.patches()) as i64;
    let count = graph.ints(&[rank + 1]);
    let smallest = vec![
        AttributeProto::int("axis", 1),
        AttributeProto::int("largest", 0),
        AttributeProto::int("sorted", 1),
    ];
    let (calmest, _) = graph.node2("TopK", &[&by_image, &count], smallest);
    let at = graph.ints(&[rank]);
    let calm = graph.node("Gather", &[&calmest, &at], vec![AttributeProto::int("axis", 1)]);
    let share = graph.floats(&[1], &[own_level]);
    let level = graph.node("Mul", &[&calm, &share], vec![]);
    graph.node("Sub", &[&by_image, &level], vec![])
}

/// Names of what the weight of the most anomalous patch is computed from.
struct Worst {
    queries: String,
    indices: String,
    position: String,
    bank: String,
}

/// The re-weighting of [`PatchCore::score`] as nodes.
fn patchcore_weight(graph: &mut Builder, patchcore: &PatchCore, grid: &Grid, worst: &Worst) -> String {
    let (patches, channels) = (grid.patches() as i64, patchcore.channels as i64);
    let batched = || vec![AttributeProto::int("batch_dims", 1)];
    let queries = graph.reshape(&worst.queries, &[-1, patches, channels]);
    let query = graph.node("GatherND", &[&queries, &worst.position], batched());
    let query = graph.reshape(&query, &[-1, 1, channels]);
    let first = graph.scalar(0);
    let nearest = graph.node("Gather", &[&worst.indices, &first], vec![AttributeProto::int("axis", 1)]);
    let nearest = graph.reshape(&nearest, &[-1, patches]);
    let nearest = graph.node("GatherND", &[&nearest, &worst.position], batched());
    let near: Vec<i64> = patchcore.near.iter().map(|&index| index as i64).collect();
    let near = graph.constant(|name| TensorProto::ints(name, &[patchcore.bank_size(), patchcore.near_count], &near));
    let near = graph.node("Gather", &[&near, &nearest], vec![AttributeProto::int("axis", 0)]);
    let near = graph.node("Gather", &[&worst.bank, &near], vec![AttributeProto::int("axis", 0)]);
    let differences = graph.node("Sub", &[&near, &query], vec![]);
    let squared = graph.sum_of_squares(&differences, 2, false);
    let distances = graph.root(&squared);
    let shares = graph.node("Softmax", &[&distances], vec![AttributeProto::int("axis", 1)]);
    let share = graph.node("Gather", &[&shares, &first], vec![AttributeProto::int("axis", 1)]);
    let one = graph.floats(&[1], &[1.0]);
    graph.node("Sub", &[&one, &share], vec![])
}

/// Mahalanobis distances; returns the names of the patch map and the image scores.
fn padim_head(graph: &mut Builder, padim: &Padim, grid: &Grid, patches: &str) -> (String, String) {
    let (count, used) = (grid.patches(), padim.used.len());
    let patches = graph.reshape(patches, &[-1, count as i64, padim.channels as i64]);
    let channels: Vec<i64> = padim.used.iter().map(|&channel| channel as i64).collect();
    let channels = graph.ints(&channels);
    let kept = graph.node("Gather", &[&patches, &channels], vec![AttributeProto::int("axis", 2)]);
    let by_position = graph.node("Transpose", &[&kept], vec![AttributeProto::ints("perm", &[1, 0, 2])]);
    let means = graph.floats(&[count, 1, used], &padim.means);
    let centred = graph.node("Sub", &[&by_position, &means], vec![]);
    let columns: Vec<f32> = padim
        .whitening
        .chunks_exact(used * used)
        .flat_map(|matrix| (0..used * used).map(move |i| matrix[(i % used) * used + i / used]))
        .collect();
    let whitening = graph.floats(&[count, used, used], &columns);
    let whitened = graph.node("MatMul", &[&centred, &whitening], vec![]);
    let squared = graph.sum_of_squares(&whitened, 2, false);
    let distances = graph.root(&squared);
    let by_image = graph.node("Transpose", &[&distances], vec![AttributeProto::ints("perm", &[1, 0])]);
    let map = graph.reshape(&by_image, &[-1, 1, grid.rows as i64, grid.columns as i64]);
    let worst = graph.node("GlobalMaxPool", &[&map], vec![]);
    let score = graph.reshape(&worst, &[-1]);
    (map, score)
}

/// Collects nodes and constants and hands out names that no backbone has.
struct Builder {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    names: usize,
}

impl Builder {
    fn fresh(&mut self, what: &str) -> String {
        self.names += 1;
        format!("takt/{what}_{}", self.names)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = self.fresh(op);
        self.push(op, inputs, vec![output.clone()], attribute);
        output
    }

    fn node2(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> (String, String) {
        let outputs = (self.fresh(op), self.fresh(op));
        self.push(op, inputs, vec![outputs.0.clone(), outputs.1.clone()], attribute);
        outputs
    }

    fn push(&mut self, op: &str, inputs: &[&str], output: Vec<String>, attribute: Vec<AttributeProto>) {
        let input = inputs.iter().map(|name| (*name).to_owned()).collect();
        self.nodes.push(NodeProto {
            input,
            name: output[0].clone(),
            output,
            op_type: op.into(),
            domain: String::new(),
            attribute,
        });
    }

    fn constant(&mut self, tensor: impl FnOnce(&str) -> TensorProto) -> String {
        let name = self.fresh("constant");
        self.constants.push(tensor(&name));
        name
    }

    fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        self.constant(|name| TensorProto::floats(name, dims, values))
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.constant(|name| TensorProto::ints(name, &[values.len()], values))
    }

    fn scalar(&mut self, value: i64) -> String {
        self.constant(|name| TensorProto::ints(name, &[], &[value]))
    }

    fn reshape(&mut self, input: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.node("Reshape", &[input, &shape], vec![])
    }

    /// Sum along one axis. `ReduceSum` takes its axes as an input from operator set 13 on, other reductions only from 18 on.
    fn sum(&mut self, input: &str, axis: i64, keep: bool) -> String {
        let axes = self.ints(&[axis]);
        self.node("ReduceSum", &[input, &axes], vec![AttributeProto::int("keepdims", i64::from(keep))])
    }

    fn sum_of_squares(&mut self, input: &str, axis: i64, keep: bool) -> String {
        let squares = self.node("Mul", &[input, input], vec![]);
        self.sum(&squares, axis, keep)
    }

    /// Square root of what rounding may have pushed below zero.
    fn root(&mut self, input: &str) -> String {
        let zero = self.constant(|name| TensorProto::floats(name, &[], &[0.0]));
        let clipped = self.node("Clip", &[input, &zero], vec![]);
        self.node("Sqrt", &[&clipped], vec![])
    }

    /// One matrix per axis over the planes of `[N, channels, height, width]`.
    fn separable(&mut self, vertical: &AxisMap, horizontal: &AxisMap, input: &str) -> String {
        let across = self.floats(&[horizontal.columns, horizontal.rows], &horizontal.transposed());
        let down = self.floats(&[vertical.rows, vertical.columns], &vertical.weights);
        let half = self.node("MatMul", &[input, &across], vec![]);
        self.node("MatMul", &[&down, &half], vec![])
    }

    /// Gives the value that the last node put out a name of the graph's contract.
    fn rename(&mut self, value: &str, name: &str) {
        for node in &mut self.nodes {
            node.output
                .iter_mut()
                .chain(&mut node.input)
                .filter(|existing| *existing == value)
                .for_each(|existing| name.clone_into(existing));
        }
    }
}
