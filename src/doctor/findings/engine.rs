//! What judges: ONNX Runtime, model packages, their golden gate.

use std::path::{Path, PathBuf};

use crate::doctor::{Check, Finding, Status};
use crate::vision::Provider;

/// ONNX Runtime on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LibraryFacts {
    /// The file that was loaded.
    pub file: Option<PathBuf>,
    /// Its version.
    pub version: Option<String>,
    /// The providers it was built with.
    pub providers: Vec<Provider>,
    /// The provider that the configuration asks for.
    pub wanted: Option<Provider>,
    /// Why it was not loaded.
    pub error: Option<String>,
    /// Files in the places where it is looked for that are for another machine, and for which.
    pub foreign: Vec<(PathBuf, String)>,
    /// This program's machine.
    pub architecture: String,
}

/// Whether models can run at all.
pub fn library(facts: &LibraryFacts) -> Finding {
    let here = &facts.architecture;
    if let Some(error) = &facts.error {
        return match facts.foreign.first() {
            Some((file, machine)) => Finding::new(
                Check::Library,
                Status::Failed,
                format!("{} is for {machine}, this machine and this takt are {here}", file.display()),
            )
            .remedy(format!(
                "install the package takt for {here}, or set ORT_DYLIB_PATH to a libonnxruntime.so for {here}"
            ))
            .value("file", file.display().to_string())
            .value("architecture", machine.as_str()),
            None => Finding::failed(Check::Library, error),
        };
    }
    let file = facts
        .file
        .as_ref()
        .map_or_else(|| "a file that is not known".into(), |file| file.display().to_string());
    let version = facts.version.as_deref().unwrap_or("of an unknown version");
    let providers: Vec<&str> = facts.providers.iter().map(|provider| provider.name()).collect();
    let fact = format!("ONNX Runtime {version}, built with {}, {file}", providers.join(", "));
    let finding = match facts.wanted.filter(|wanted| !facts.providers.contains(wanted)) {
        Some(wanted) => Finding::new(
            Check::Library,
            Status::Failed,
            format!("{fact}: the configuration asks for {wanted}"),
        )
        .remedy(format!(
            "set ORT_DYLIB_PATH to a libonnxruntime.so that was built with {wanted}, or engine.provider = \"cpu\""
        )),
        None => Finding::new(Check::Library, Status::Ok, fact),
    };
    finding
        .value("version", facts.version.clone())
        .value("file", file)
        .value("providers", providers)
        .value("architecture", here.as_str())
}

/// A model package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its folder.
    pub package: PathBuf,
    /// Name, version, and the number of its golden images; or what is wrong with it.
    pub found: Result<(String, String, usize), String>,
}

/// Whether it is whole.
pub fn model(facts: &ModelFacts) -> Finding {
    let package = facts.package.display().to_string();
    let finding = match &facts.found {
        Ok((name, version, golden)) => Finding::new(
            Check::Model,
            Status::Ok,
            format!("{name} {version}, its seal is whole, {golden} golden images"),
        )
        .value("name", name.as_str())
        .value("version", version.as_str()),
        Err(error) => Finding::not_looked_at(Check::Model, error),
    };
    finding.of(package)
}

/// How a golden gate is known to be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It was tried: how many images gave what they should, and on which provider; or why not.
    Tried(Result<(usize, Provider), String>),
    /// The station that runs came through it.
    Running,
    /// It was not tried.
    NotTried,
}

/// Whether a model computes here what it was taught.
pub fn golden_gate(package: Option<&Path>, gate: &Gate) -> Finding {
    let finding = match gate {
        Gate::Tried(Ok((images, provider))) => Finding::new(
            Check::GoldenGate,
            Status::Ok,
            format!("{images} golden images gave what they should on {provider}"),
        )
        .value("images", *images)
        .value("provider", provider.name()),
        Gate::Tried(Err(error)) => Finding::failed(Check::GoldenGate, error),
        Gate::Running => Finding::new(Check::GoldenGate, Status::Ok, "the running station came through it at its start"),
        Gate::NotTried => Finding::new(
            Check::GoldenGate,
            Status::Unknown,
            "not tried: it takes the processor for seconds; takt doctor --boot tries it",
        ),
    };
    match package {
        Some(package) => finding.of(package.display().to_string()),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::is;

    fn loaded() -> LibraryFacts {
        LibraryFacts {
            file: Some("/usr/lib/takt/libonnxruntime.so".into()),
            version: Some("1.24.2".into()),
            providers: vec![Provider::Cpu],
            wanted: Some(Provider::Cpu),
            architecture: "x86_64".into(),
            ..LibraryFacts::default()
        }
    }

    #[test]
    fn a_library_runs_what_is_asked_or_says_why_not() {
        is(
            &library(&loaded()),
            Status::Ok,
            &["ONNX Runtime 1.24.2, built with cpu, /usr/lib/takt"],
        );
        let wanted = LibraryFacts {
            wanted: Some(Provider::TensorRt),
            ..loaded()
        };
        is(&library(&wanted), Status::Failed, &["asks for tensorrt", "ORT_DYLIB_PATH"]);
        let missing = LibraryFacts {
            error: Some("failed to load ONNX Runtime: nowhere; set ORT_DYLIB_PATH".into()),
            ..loaded()
        };
        is(&library(&missing), Status::Failed, &["nowhere", "set ORT_DYLIB_PATH"]);
        let foreign = LibraryFacts {
            foreign: vec![("/usr/lib/takt/libonnxruntime.so".into(), "aarch64".into())],
            ..missing
        };
        is(
            &library(&foreign),
            Status::Failed,
            &["is for aarch64, this machine and this takt are x86_64"],
        );
    }

    #[test]
    fn models_and_their_gates_are_told() {
        let of = |found| ModelFacts {
            package: "/m".into(),
            found,
        };
        is(
            &model(&of(Ok(("cap".into(), "3".into(), 7)))),
            Status::Ok,
            &["cap 3", "7 golden images"],
        );
        is(
            &model(&of(Err("failed to open it: changed; restore it".into()))),
            Status::Failed,
            &["changed", "restore it"],
        );
        is(
            &model(&of(Err("failed to read it: Permission denied (os error 13); x".into()))),
            Status::Unknown,
            &["may not look", "sudo"],
        );
        is(&golden_gate(None, &Gate::NotTried), Status::Unknown, &["--boot"]);
        is(&golden_gate(None, &Gate::Running), Status::Ok, &["running station"]);
        is(
            &golden_gate(Some(Path::new("/m")), &Gate::Tried(Ok((7, Provider::Cpu)))),
            Status::Ok,
            &["7 golden images", "cpu"],
        );
        is(
            &golden_gate(None, &Gate::Tried(Err("scored 1; teach again".into()))),
            Status::Failed,
            &["scored 1", "teach again"],
        );
    }
}
