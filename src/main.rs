//! The takt program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    takt::cli::main().into()
}
