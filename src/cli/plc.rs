//! `takt plc`: what whoever programs the PLC needs, from the definitions that the station runs by.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};

use super::{Exit, print, print_json};
use crate::line::config::ResultMode;
use crate::plc::code::{self, Codes, Target};
use crate::plc::map;

#[derive(Debug, Args)]
pub(super) struct PlcArgs {
    #[command(subcommand)]
    command: PlcCommand,
}

#[derive(Debug, Subcommand)]
enum PlcCommand {
    /// Print the register map
    Map(MapArgs),
    /// Print what the numbers on the wire mean: verdicts, reasons, errors, commands, modes
    Codes(CodesArgs),
    /// Write the PLC's side of the handshake as source for its engineering tool
    Code(CodeArgs),
}

#[derive(Debug, Args)]
struct MapArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = MapFormat::Md)]
    format: MapFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MapFormat {
    /// Tables for people
    Md,
    /// A line for each signal, for spreadsheets
    Csv,
    /// One object, for programs
    Json,
}

#[derive(Debug, Args)]
struct CodesArgs {
    /// How to print them
    #[arg(long, value_enum, default_value_t = CodesFormat::Md)]
    format: CodesFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CodesFormat {
    /// Tables for people
    Md,
    /// An array of tables, for programs
    Json,
    /// Enumerations for readers of the gRPC contract: proto/takt/v1/codes.proto
    Proto,
}

#[derive(Debug, Args)]
struct CodeArgs {
    /// Which engineering tool
    #[arg(long, value_enum)]
    target: CodeTarget,
    /// How the station shows results, as in `result.mode` of its configuration
    #[arg(long, value_enum, default_value_t = CodeMode::Single)]
    mode: CodeMode,
    /// The folder to write the files to; without it they are printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CodeTarget {
    /// IEC 61131-3 structured text, over Modbus TCP
    IecSt,
    /// Structured text for Logix 5000 (Studio 5000), over EtherNet/IP
    RockwellSt,
    /// SCL for S7-1200 and S7-1500 (TIA Portal), over S7 or Modbus TCP
    SiemensScl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CodeMode {
    /// One result at a time; with BufferEnable up to eight wait at the station (buffered mode)
    Single,
    /// Sixteen results side by side, found by their cycle ID
    Window,
}

pub(super) fn run(args: &PlcArgs) -> anyhow::Result<Exit> {
    match &args.command {
        PlcCommand::Map(args) => match args.format {
            MapFormat::Md => print(&map::markdown())?,
            MapFormat::Csv => print(&map::csv())?,
            MapFormat::Json => print_json(&map::map())?,
        },
        PlcCommand::Codes(args) => match args.format {
            CodesFormat::Md => print(&code::codes_markdown())?,
            CodesFormat::Proto => print(&code::codes_proto())?,
            CodesFormat::Json => print_json(&Codes::all())?,
        },
        PlcCommand::Code(args) => write_code(args)?,
    }
    Ok(Exit::Done)
}

fn write_code(args: &CodeArgs) -> anyhow::Result<()> {
    let target = match args.target {
        CodeTarget::IecSt => Target::IecSt,
        CodeTarget::RockwellSt => Target::RockwellSt,
        CodeTarget::SiemensScl => Target::SiemensScl,
    };
    let mode = match args.mode {
        CodeMode::Single => ResultMode::Single,
        CodeMode::Window => ResultMode::Window,
    };
    let files = code::sources(target, mode);
    let Some(folder) = &args.out else {
        return files.iter().try_for_each(|file| print(&file.text));
    };
    fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    for file in files {
        let path = folder.join(file.name);
        fs::write(&path, &file.text).with_context(|| format!("failed to write {}", path.display()))?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}
