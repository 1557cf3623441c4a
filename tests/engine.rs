//! The runtime library is loaded at run time: what is wrong with it is said, with what to do.

use std::path::Path;

use crate::program::{entries, run, teach};
use crate::{parts, skip::skip};

/// Teaches with `library` as ONNX Runtime and expects to be refused.
fn refused_with(library: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    parts::write(&good, 0, 5, false);
    let outcome = run(teach(&good, &folder.path().join("model")).env("ORT_DYLIB_PATH", library));
    outcome.refused(&[
        "failed to load ONNX Runtime",
        library.to_str().unwrap(),
        "set ORT_DYLIB_PATH",
        "make setup",
    ]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(entries(folder.path()), ["good"]);
}

#[test]
fn a_missing_runtime_library_is_named() {
    let folder = tempfile::tempdir().unwrap();
    refused_with(&folder.path().join("libonnxruntime.so"));
}

#[test]
fn a_file_that_is_no_library_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libonnxruntime.so");
    std::fs::write(&file, "no library").unwrap();
    refused_with(&file);
}

#[test]
fn a_folder_in_place_of_the_library_is_named() {
    let folder = tempfile::tempdir().unwrap();
    refused_with(folder.path());
}

#[test]
fn a_library_that_is_no_onnx_runtime_is_named() {
    // The C library is mapped into this very process.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let library = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.contains("/libc.so"));
    match library {
        Some(library) => refused_with(Path::new(library)),
        None => skip(
            "a_library_that_is_no_onnx_runtime_is_named",
            "this process has no C library as a file of its own",
        ),
    }
}
