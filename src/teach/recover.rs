//! What a taught graph holds, read back out of it: memory banks and Gaussians, so that a package can be extended. The counterpart of `graph.rs`.
//! Pure.

use std::collections::HashMap;

use super::detector::{Detector, Method};
use super::padim::Padim;
use super::patchcore::PatchCore;
use super::record::Balance;
use super::relative::{Relative, Side};
use crate::model::onnx::{FLOAT, GraphProto, INT64, NodeProto, TensorProto};

/// What is not in the graph, but beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Nearest bank patches averaged.
    pub neighbours: usize,
    /// Share of a part's own calm level that is taken off.
    pub own_level: f32,
    /// The units of two banks.
    pub balance: Option<Balance>,
    /// Values per patch.
    pub channels: usize,
}

/// The detector that `graph` was written from; `None` where it does not look like one that this takt writes.
pub fn detector(graph: &GraphProto, method: Method, settings: Settings) -> Option<Detector> {
    let graph = Reading::of(graph);
    match method {
        Method::Patchcore => {
            let [bank] = <[PatchCore; 1]>::try_from(graph.banks(settings)?).ok()?;
            Some(Detector::PatchCore(bank))
        }
        Method::Relative => {
            let [as_is, relative] = <[PatchCore; 2]>::try_from(graph.banks(settings)?).ok()?;
            let Balance { units, floor } = settings.balance?;
            let side = |bank, unit| Side { bank, unit };
            Some(Detector::Relative(Box::new(Relative {
                as_is: side(as_is, units[0]),
                relative: side(relative, units[1]),
                own_level: settings.own_level,
                floor,
            })))
        }
        Method::Padim => graph.gaussians(settings.channels).map(Detector::Padim),
    }
}

/// A graph by the names of its values.
struct Reading<'a> {
    nodes: Vec<&'a NodeProto>,
    makers: HashMap<&'a str, &'a NodeProto>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Reading<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let makers = graph
            .node
            .iter()
            .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)));
        Self {
            nodes: graph.node.iter().filter(|node| node.name.starts_with("takt/")).collect(),
            makers: makers.collect(),
            constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        }
    }

    /// The node that makes an input of another one, if it is of that kind.
    fn maker(&self, node: &NodeProto, input: usize, op: &str) -> Option<&'a NodeProto> {
        let maker = self.makers.get(node.input.get(input)?.as_str())?;
        (maker.op_type == op).then_some(*maker)
    }

    fn constant(&self, node: &NodeProto, input: usize) -> Option<&'a TensorProto> {
        self.constants.get(node.input.get(input)?.as_str()).copied()
    }

    /// The memory banks, in the order in which they were written: each is multiplied with patches less its centre.
    fn banks(&self, settings: Settings) -> Option<Vec<PatchCore>> {
        let products = self.nodes.iter().filter(|node| node.op_type == "Gemm");
        let bank = |node: &&NodeProto| {
            let (bank, bank_dims) = floats(self.constant(node, 1)?)?;
            let (centre, _) = floats(self.constant(self.maker(node, 0, "Sub")?, 1)?)?;
            let fits =
                centre.len() == settings.channels && matches!(bank_dims[..], [size, channels] if size > 0 && channels == settings.channels);
            fits.then(|| PatchCore::of_bank(bank, centre, settings.neighbours))
        };
        products.map(bank).collect()
    }

    /// A Gaussian per position: whitening matrices are multiplied with patches less the means.
    fn gaussians(&self, channels: usize) -> Option<Padim> {
        let is_whitening = |node: &&&NodeProto| node.op_type == "MatMul" && self.maker(node, 0, "Sub").is_some();
        let product = self.nodes.iter().find(is_whitening)?;
        let (columns, dims) = floats(self.constant(product, 1)?)?;
        let centred = self.maker(product, 0, "Sub")?;
        let (means, _) = floats(self.constant(centred, 1)?)?;
        let kept = self.maker(self.maker(centred, 0, "Transpose")?, 0, "Gather")?;
        let used = integers(self.constant(kept, 1)?)?;
        let size = used.len();
        let [positions, rows, width] = dims[..] else { return None };
        let is_whole = size > 0 && rows == size && width == size && means.len() == positions * size;
        if !is_whole || used.iter().any(|channel| *channel >= channels) {
            return None;
        }
        let matrices = columns.chunks_exact(size * size);
        let whitening = matrices.flat_map(|matrix| (0..size * size).map(move |at| matrix[(at % size) * size + at / size]));
        Some(Padim {
            channels,
            whitening: whitening.collect(),
            used,
            means,
        })
    }
}

/// The values and the lengths of a constant of floats, all of them finite.
fn floats(tensor: &TensorProto) -> Option<(Vec<f32>, Vec<usize>)> {
    let values: Vec<f32> = tensor
        .raw_data
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let dims = lengths(tensor)?;
    let is_sound =
        tensor.data_type == FLOAT && values.len() == dims.iter().product::<usize>() && values.iter().all(|value| value.is_finite());
    is_sound.then_some((values, dims))
}

fn integers(tensor: &TensorProto) -> Option<Vec<usize>> {
    let values = tensor.raw_data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    let values: Option<Vec<usize>> = values.map(|value| usize::try_from(value).ok()).collect();
    values.filter(|_| tensor.data_type == INT64)
}

fn lengths(tensor: &TensorProto) -> Option<Vec<usize>> {
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|length| usize::try_from(*length).ok()).collect();
    // What is written by others may claim any lengths.
    dims.filter(|dims| dims.iter().try_fold(1_usize, |all, length| all.checked_mul(*length)).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teach::backbone::{BUILT_IN, Backbone};
    use crate::teach::features::{Embeddings, Grid};
    use crate::teach::graph;
    use crate::teach::patchcore::PatchCoreOptions;

    #[test]
    fn what_was_written_comes_back_whatever_the_method() {
        let backbone = Backbone::open(BUILT_IN).unwrap();
        let grid = Grid::new(&backbone, 64, 64);
        let (patches, channels) = (grid.patches(), grid.channels());
        let values = (0..6 * patches * channels).map(|at| ((at * 7919 + at / 13) % 1009) as f32 / 1009.0);
        let good = Embeddings::new(patches, channels, values.collect());
        let options = PatchCoreOptions {
            bank: 40,
            ..PatchCoreOptions::default()
        };
        for method in [Method::Patchcore, Method::Padim, Method::Relative] {
            let fitted = method.fit(&good, options);
            let graph = graph::emit(&backbone, &grid, &fitted).unwrap().graph.unwrap();
            let settings = Settings {
                neighbours: options.neighbours,
                own_level: options.own_level,
                balance: Balance::of(&fitted),
                channels,
            };
            assert!(detector(&graph, method, settings).as_ref() == Some(&fitted), "{method:?}");
            assert!(detector(&GraphProto::default(), method, settings).is_none());
        }
    }
}
