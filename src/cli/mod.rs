//! The command line: one file per subcommand, thin.

mod bench;
mod bench_cameras;
mod bench_gpio;
mod bench_offline;
mod bench_plc;
mod bench_record;
mod bench_station;
mod calibrate;
mod commission;
mod demo;
mod doctor;
mod evaluate;
mod evidence_page;
mod failsafe;
mod historian;
mod import;
mod inspect;
mod journal;
mod line_page;
mod model;
mod model_activation;
mod model_history;
mod page;
mod pki;
mod plc;
mod progress;
mod quantise;
mod query;
mod run;
mod table;
mod teach;
mod twin;
mod validate;
mod virtual_cell;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::ConfigErrors;
use crate::model::package::{ActiveModel, Package};
use crate::teach::TeachError;
use crate::telemetry::log::Log;
use crate::vision::{EngineOptions, Provider};

/// Edge vision inspection in takt time.
#[derive(Debug, Parser)]
#[command(name = "takt", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Teach a model from a folder of good parts
    Teach(teach::TeachArgs),
    /// Judge images with a model
    Inspect(inspect::InspectArgs),
    /// Measure how good a model is on labelled images
    Evaluate(evaluate::EvaluateArgs),
    /// Find what a camera's pixels mean in millimetres, from pictures of a target
    Calibrate(calibrate::CalibrateArgs),
    /// List, show and verify model packages
    Model(model::ModelArgs),
    /// Teach and judge example parts, and write a page about it
    Demo(demo::DemoArgs),
    /// Inspect parts at a station: cameras in, verdicts to the PLC
    Run(run::RunArgs),
    /// Drive a station's outputs safe, or answer the PLC while the station is down
    Failsafe(failsafe::FailsafeArgs),
    /// Keep the records of stations in one place, and answer questions about them
    Historian(historian::HistorianArgs),
    /// Measure how fast this machine is
    Bench(bench::BenchArgs),
    /// Make certificates for a plant that has no authority of its own
    Pki(pki::PkiArgs),
    /// What a PLC needs to know: register map, codes, source of its side of the handshake
    Plc(plc::PlcArgs),
    /// Run a virtual line around a station, and judge whether the station keeps its promises
    Twin(twin::TwinArgs),
    /// Prove what a station recorded
    Journal(journal::JournalArgs),
    /// Look at this box: what is wrong with it, and what to do about it
    Doctor(doctor::DoctorArgs),
    /// Check a station's configuration: its file, its models, its timing
    Validate(validate::ValidateArgs),
    /// Ask a historian or a journal: records, Pareto, yield
    Query(Box<query::QueryArgs>),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one object per line for streams, one object for summaries.
    Json,
}

/// Where and how a model runs.
#[derive(Debug, Clone, Copy, Args)]
struct EngineArgs {
    /// Execution provider the model must run on
    #[arg(long, value_enum, default_value_t = Provider::Cpu)]
    provider: Provider,
    /// Threads inside one inference; 0 means one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

impl From<EngineArgs> for EngineOptions {
    fn from(args: EngineArgs) -> Self {
        Self {
            provider: args.provider,
            threads: args.threads,
        }
    }
}

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Something is NotOk or NotDecidable, and `--fail-on-reject` asked to be told.
    Rejected = 3,
    /// The disk takes nothing of what a station must keep.
    StateUnavailable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the program with the process's own arguments.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; they are no misuse.
            let misuse = error.use_stderr();
            let _ = error.print();
            return if misuse { Exit::Usage } else { Exit::Done };
        }
    };
    let log = Log::start();
    let outcome = run(cli.command, &log);
    let dropped = log.end();
    if dropped > 0 {
        let _ = writeln!(io::stderr(), "{dropped} lines of the log were dropped: its reader was too slow");
    }
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", told(&error));
            if is_usage(&error) { Exit::Usage } else { Exit::Failed }
        }
    }
}

fn run(command: Command, log: &Log) -> anyhow::Result<Exit> {
    match command {
        Command::Teach(args) => teach::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args, log),
        Command::Failsafe(args) => failsafe::run(&args),
        Command::Historian(args) => historian::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Pki(args) => pki::run(&args),
        Command::Plc(args) => plc::run(&args),
        Command::Twin(args) => twin::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Query(args) => query::run(&args),
    }
}

/// The error and what caused it; a cause that is part of the message already is not told again.
fn told(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .reduce(|told, cause| if told.contains(&cause) { told } else { format!("{told}: {cause}") })
        .unwrap_or_default()
}

/// Whether the user asked for something that cannot be, rather than something that went wrong.
fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<ConfigErrors>() || matches!(error.downcast_ref(), Some(TeachError::Size { .. } | TeachError::Calibration(_)))
}

/// Opens a package, proves it and returns it ready to run.
fn activate(model: &Path, engine: EngineArgs) -> anyhow::Result<ActiveModel> {
    Ok(Package::open(model)?.activate(EngineOptions::from(engine))?)
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to standard output"),
    }
}

/// A 32-bit float as JSON should show it: the shortest decimal that means the same; null if it is no finite number.
fn shortest(value: f32) -> Option<f64> {
    value.to_string().parse().ok().filter(|value: &f64| value.is_finite())
}

/// One JSON object on a line of its own.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}
