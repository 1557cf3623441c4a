//! Runs the program as its users do.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit status, unless a signal ended the program.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `takt SUBCOMMAND`, to which arguments can be added.
pub(crate) fn takt(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_takt"));
    command.arg(subcommand).stdin(Stdio::null());
    command
}

/// `takt teach` at a size that takes a moment only.
pub(crate) fn teach(good: &Path, out: &Path) -> Command {
    teach_at("64x64", good, out)
}

/// `takt teach` at any size.
pub(crate) fn teach_at(size: &str, good: &Path, out: &Path) -> Command {
    let mut command = takt("teach");
    command.arg("--good").arg(good).arg("--out").arg(out).args(["--size", size]);
    command
}

/// `takt inspect` with results for programs.
pub(crate) fn inspect(model: &Path, image: &Path) -> Command {
    let mut command = takt("inspect");
    command.arg("--model").arg(model).arg(image).args(["--format", "json"]);
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Outcome {
    /// The outcome, if the run did what it was asked to.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.exited(0)
    }

    /// The outcome, if the run ended with `code`.
    #[track_caller]
    pub(crate) fn exited(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Holds if the run was refused in a way that helps: it failed without a panic, gave no result, and its message has all of `words`.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        assert!(matches!(self.code, Some(1 | 2 | 4)), "{self:#?}");
        assert!(self.stdout.is_empty() && !self.stderr.contains("panicked"), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "\"{word}\" is missing in {self:#?}");
        }
    }

    /// The JSON objects that were printed, one a line.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The names of everything directly inside `folder`, in order.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
