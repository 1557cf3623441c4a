//! Weights that lie in files beside a model come into it. Pure.

use std::collections::BTreeMap;

use crate::model::onnx::{ModelProto, StringStringEntry, TensorProto};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Brings all weights of the main graph that lie in `files` into the model.
///
/// # Errors
/// When a file is missing or too short; completes "failed to quantise ...: ...".
pub(super) fn brought_in(model: &mut ModelProto, files: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let tensors = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    for tensor in tensors.filter(|tensor| tensor.data_location == EXTERNAL) {
        let bytes =
            part(tensor, files).ok_or_else(|| format!("the weights \"{}\" are not in its files; restore it from a copy", tensor.name))?;
        tensor.raw_data = bytes.to_vec();
        tensor.external_data.clear();
        tensor.data_location = 0;
    }
    Ok(())
}

/// The bytes of a tensor: `location`, from `offset` (0 unless told) on, `length` of them (all unless told).
fn part<'a>(tensor: &TensorProto, files: &'a BTreeMap<String, Vec<u8>>) -> Option<&'a [u8]> {
    let entry = |key: &str| tensor.external_data.iter().find(|entry: &&StringStringEntry| entry.key == key);
    let number = |key: &str| entry(key).map(|entry| entry.value.parse::<usize>());
    let file = files.get(&entry("location")?.value)?;
    let rest = file.get(number("offset").transpose().ok()?.unwrap_or(0)..)?;
    match number("length").transpose().ok()? {
        Some(length) => rest.get(..length),
        None => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::GraphProto;

    fn model(entries: &[(&str, &str)]) -> ModelProto {
        let external_data = entries.iter().map(|(key, value)| StringStringEntry {
            key: (*key).into(),
            value: (*value).into(),
        });
        let tensor = TensorProto {
            name: "w".into(),
            external_data: external_data.collect(),
            data_location: EXTERNAL,
            ..TensorProto::default()
        };
        ModelProto {
            graph: Some(GraphProto {
                initializer: vec![tensor],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn weights_come_from_their_place_in_the_file() {
        let files = BTreeMap::from([("data".to_owned(), vec![0, 1, 2, 3, 4, 5])]);
        for (entries, expected) in [
            (vec![("location", "data")], &[0, 1, 2, 3, 4, 5][..]),
            (vec![("location", "data"), ("offset", "2"), ("length", "3")], &[2, 3, 4]),
        ] {
            let mut model = model(&entries);
            brought_in(&mut model, &files).unwrap();
            let tensor = &model.graph.unwrap().initializer[0];
            assert_eq!((tensor.raw_data.as_slice(), tensor.data_location), (expected, 0));
        }
    }

    #[test]
    fn weights_that_are_not_there_are_named() {
        let files = BTreeMap::from([("data".to_owned(), vec![0, 1, 2])]);
        for entries in [
            vec![],
            vec![("location", "other")],
            vec![("location", "data"), ("offset", "4")],
            vec![("location", "data"), ("offset", "1"), ("length", "3")],
            vec![("location", "data"), ("offset", "-1")],
            vec![("location", "data"), ("length", "18446744073709551615")],
        ] {
            let error = brought_in(&mut model(&entries), &files).unwrap_err();
            assert!(error.contains("\"w\""), "{error}");
        }
    }
}
