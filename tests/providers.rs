//! Providers in order, with a runtime library that has none but the processor: what stands in is told, and what is required is not replaced.

use std::path::Path;

use serde_json::Value;
use takt::vision::Provider;

use crate::cell::{Cell, Running};
use crate::skip::skip;

const ONE_THREAD: &str = "[engine]\nthreads = 1";

/// Whether the library here has GPU providers, so that these tests would prove nothing.
fn has_gpu(test: &str) -> bool {
    let providers = takt::vision::ort::providers().unwrap();
    if providers.len() > 1 {
        skip(test, "this ONNX Runtime was built with GPU providers");
    }
    providers.len() > 1
}

fn state(running: &Running, error: &str) -> Value {
    running
        .wait(|line| line["event"] == "state" && line["error"] == error)
        .pop()
        .unwrap()
}

#[test]
fn a_provider_that_cannot_be_had_is_replaced_by_the_next_and_told() {
    if has_gpu("providers::a_provider_that_cannot_be_had_is_replaced_by_the_next_and_told") {
        return;
    }
    let engine = "[engine]\nproviders = [\"tensorrt\", \"cuda\", \"cpu\"]\nfp16 = true\nthreads = 1";
    let cell = Cell::new(&[(ONE_THREAD, engine)]);
    let running = cell.launch();
    state(&running, "provider_stands_in");
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    for words in ["tensorrt with 16-bit numbers", "cuda", "another provider stands in", "provider=cpu"] {
        assert!(log.contains(words), "\"{words}\" is missing in {log}");
    }
}

#[test]
fn a_provider_that_is_required_is_not_replaced_and_the_plc_is_told_why() {
    if has_gpu("providers::a_provider_that_is_required_is_not_replaced_and_the_plc_is_told_why") {
        return;
    }
    let engine = "[engine]\nproviders = [\"cuda\", \"cpu\"]\nrequired = true\nthreads = 1";
    let cell = Cell::new(&[(ONE_THREAD, engine)]);
    let running = cell.launch();
    let state = state(&running, "provider_missing");
    assert_eq!(state["ready"], false, "{state}");
    let (code, lines, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(lines.iter().all(|line| line["ready"] != true), "{lines:#?}");
    for words in [
        "the provider that [engine] requires does not run the models",
        "failed to load model",
        "cuda",
    ] {
        assert!(log.contains(words), "\"{words}\" is missing in {log}");
    }
}

#[test]
fn the_old_key_names_one_provider_that_nothing_replaces() {
    if has_gpu("providers::the_old_key_names_one_provider_that_nothing_replaces") {
        return;
    }
    let cell = Cell::new(&[(ONE_THREAD, "[engine]\nprovider = \"cuda\"")]);
    let (code, _, log) = cell.launch().ended();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("failed to load model") && log.contains("on cuda"), "{log}");
}

/// A station's file with this table about its engine.
fn configured(engine: &str) -> Result<takt::config::StationConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("station.toml");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/station-1.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let old = "[engine]\nprovider = \"tensorrt\"\nthreads = 2\nworkers = 3";
    assert!(text.contains(old));
    std::fs::write(&file, text.replace(old, engine)).unwrap();
    takt::config::StationConfig::read(&file).map_err(|errors| errors.to_string())
}

#[test]
fn the_order_of_providers_is_read_as_it_is_written() {
    use Provider::{Cpu, Cuda, TensorRt};
    let order = |engine: &str| {
        let engine = configured(engine).unwrap().engine;
        (engine.order.first, engine.order.others, engine.is_required, engine.order.fp16)
    };
    let all = "[engine]\nproviders = [\"tensorrt\", \"cuda\", \"cpu\"]";
    assert_eq!(order(all), (TensorRt, [Some(Cuda), Some(Cpu)], false, false));
    assert_eq!(
        order(&format!("{all}\nrequired = true\nfp16 = true")),
        (TensorRt, [None, None], true, true)
    );
    assert_eq!(
        order("[engine]\nprovider = \"cuda\"\nrequired = true"),
        (Cuda, [None, None], true, false)
    );
    assert_eq!(order("[engine]"), (Cpu, [None, None], false, false));
    for (engine, words) in [
        ("[engine]\nproviders = []", "a list of 1 to 3 values"),
        ("[engine]\nproviders = [\"cpu\", \"cpu\"]", "twice"),
        ("[engine]\nproviders = [\"gpu\"]", "\"tensorrt\""),
        ("[engine]\nproviders = [\"cpu\"]\nprovider = \"cuda\"", "keep providers"),
    ] {
        let refused = configured(engine).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
}
