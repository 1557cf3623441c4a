//! The file of a model, and what lies beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path};

use prost::Message as _;

use super::ImportError;
use crate::model::onnx::{GraphProto, ModelProto, TensorProto};
use crate::model::package::MODEL;
use crate::vision::ort::OrtEngine;
use crate::vision::{EngineError, EngineOptions};

/// Largest file that is imported, bytes: what ONNX itself allows for one file, its data apart.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// A model as it was read.
pub(super) struct ModelFile<'a> {
    pub(super) path: &'a Path,
    pub(super) model: ModelProto,
    /// Its files by their names in a package: its own, and those of the weights that lie beside it.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl<'a> ModelFile<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self, ImportError> {
        let bytes = read(path)?;
        let model = ModelProto::decode(bytes.as_slice())
            .map_err(|error| failed(path, format!("it is no ONNX model ({error}); export it as ONNX")))?;
        let mut files = BTreeMap::from([(MODEL.to_owned(), bytes)]);
        for name in model.graph.iter().flat_map(data_files).collect::<BTreeSet<_>>() {
            let mut components = Path::new(&name).components();
            let is_plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
            if !is_plain || name == MODEL {
                return Err(failed(
                    path,
                    format!("its weights are in {name:?}, which does not lie beside it; put all into one folder"),
                ));
            }
            let data = read(&path.parent().unwrap_or(Path::new("")).join(&name))?;
            files.insert(name, data);
        }
        Ok(Self { path, model, files })
    }

    /// Whether an output has this name.
    pub(super) fn has_output(&self, name: &str) -> bool {
        let mut outputs = self.model.graph.iter().flat_map(|graph| &graph.output);
        outputs.any(|output| output.name == name)
    }

    /// What the file says of itself under this key.
    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        let entry = self.model.metadata_props.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.as_str())
    }

    /// What takes a value first.
    pub(super) fn first_operators(&self, value: &str) -> impl Iterator<Item = &str> {
        let nodes = self.model.graph.iter().flat_map(|graph| &graph.node);
        nodes
            .filter(move |node| node.input.iter().any(|input| input == value))
            .map(|node| node.op_type.as_str())
    }

    /// Makes an input a constant, so that nobody has to give it. What follows in a protobuf file is merged into what came before, so the file as it
    /// was stays whole, with all that this takt does not understand; and an initialiser of an input's name is its value unless another is given
    /// (ONNX IR, "Graphs").
    pub(super) fn pin_input(&mut self, constant: TensorProto) {
        let pinned = ModelProto {
            graph: Some(GraphProto {
                initializer: vec![constant],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        if let Some(bytes) = self.files.get_mut(MODEL) {
            bytes.extend(pinned.encode_to_vec());
        }
    }

    /// The model, loaded on the processor.
    pub(super) fn engine(&self) -> Result<OrtEngine, EngineError> {
        let options = EngineOptions::default();
        match self.files.get(MODEL) {
            Some(bytes) if self.files.len() == 1 => OrtEngine::from_bytes(&self.path.display().to_string(), bytes, options),
            // The runtime finds the weights beside the file.
            _ => OrtEngine::from_file(self.path, options),
        }
    }

    /// Whether all of it is in one file.
    pub(super) fn is_alone(&self) -> bool {
        self.files.len() == 1
    }
}

fn failed(path: &Path, reason: String) -> ImportError {
    ImportError::File { path: path.into(), reason }
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let told = |error: std::io::Error| failed(path, format!("{error}; check the path"));
    let size = fs::metadata(path).map_err(told)?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(path, format!("it has {size} bytes; give one of at most {FILE_BYTES_MAX}")));
    }
    fs::read(path).map_err(told)
}

/// Names of the files that hold weights of a graph.
fn data_files(graph: &GraphProto) -> impl Iterator<Item = String> {
    let places = graph.initializer.iter().flat_map(|tensor| &tensor.external_data);
    places.filter(|entry| entry.key == "location").map(|entry| entry.value.clone())
}
