//! `takt bench plc`: from a decided verdict to a PLC that can read it, beside what the same peer takes without takt.
//!
//! The line is the real one, cameras and engines are played (`cell.rs`). Each round measures both, one after the other, so that both suffer what the machine
//! does to everybody.

mod cell;
mod grpc;
mod modbus;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::grpc::Controller;
use self::modbus::{Polled, Reads};
use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::evaluate::metrics::percentile;
use crate::part::Nanos;

#[derive(Debug, Args)]
pub(super) struct PlcArgs {
    /// Parts of each role
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    parts: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Limit of what takt may add, p99, on loopback.
const OVERHEAD_US_MAX: u64 = 1000;

/// Parts that are not counted: caches fill, clocks rise.
const WARM_UP: u32 = 20;

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(10);

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, Serialize)]
struct PlcBench {
    /// Who is at the other end over Modbus.
    peer: &'static str,
    /// The PLC reads the station.
    server: RoleBench,
    /// The station writes to the PLC.
    client: RoleBench,
    /// A line controller is told; its bare round trip is a call of `grpc.health.v1` to a service without takt.
    grpc: RoleBench,
    overhead_us_p99_max: u64,
    within_limit: bool,
}

/// One role.
#[derive(Debug, Serialize)]
struct RoleBench {
    parts: usize,
    /// From the decision to the moment at which the peer has it.
    decided_to_readable_us_p50: u64,
    decided_to_readable_us_p99: u64,
    /// The same exchange of the peer with one of its own make.
    bare_us_p50: u64,
    bare_us_p99: u64,
    /// What is left, part by part.
    overhead_us_p50: u64,
    overhead_us_p99: u64,
}

impl RoleBench {
    fn of(rounds: &[Round]) -> Self {
        let at = |of: &dyn Fn(&Round) -> Duration, percent| {
            let times: Vec<u64> = rounds.iter().map(|round| of(round).as_micros() as u64).collect();
            percentile(&times, percent).unwrap_or_default()
        };
        let (whole, bare) = (|round: &Round| round.readable, |round: &Round| round.bare);
        let overhead = |round: &Round| round.readable.saturating_sub(round.bare);
        Self {
            parts: rounds.len(),
            decided_to_readable_us_p50: at(&whole, 50.0),
            decided_to_readable_us_p99: at(&whole, 99.0),
            bare_us_p50: at(&bare, 50.0),
            bare_us_p99: at(&bare, 99.0),
            overhead_us_p50: at(&overhead, 50.0),
            overhead_us_p99: at(&overhead, 99.0),
        }
    }
}

/// One part.
struct Round {
    readable: Duration,
    bare: Duration,
}

pub(super) fn run(args: &PlcArgs) -> anyhow::Result<Exit> {
    let server = RoleBench::of(&measure(&mut Reads::start()?, args.parts)?);
    let client = RoleBench::of(&measure(&mut Polled::start()?, args.parts)?);
    let grpc = RoleBench::of(&measure(&mut Controller::start()?, args.parts)?);
    let overheads = [&server, &client, &grpc].map(|role| role.overhead_us_p99);
    let within_limit = overheads.iter().all(|overhead| *overhead <= OVERHEAD_US_MAX);
    let bench = PlcBench {
        peer: "tokio-modbus 0.17",
        server,
        client,
        grpc,
        overhead_us_p99_max: OVERHEAD_US_MAX,
        within_limit,
    };
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&told(&bench))?,
    }
    Ok(if within_limit { Exit::Done } else { Exit::Failed })
}

/// A way in which a PLC has its results, with the peer at the other end.
trait Role {
    /// Until the station is ready for parts.
    fn begin(&mut self) -> anyhow::Result<()>;
    /// One part: when it was decided, and when the peer had it.
    fn part(&mut self, cycle_id: u32) -> anyhow::Result<(Nanos, Nanos)>;
    /// How long the peer takes for the same without takt.
    fn bare(&mut self) -> anyhow::Result<Duration>;
}

fn measure(role: &mut dyn Role, parts: u32) -> anyhow::Result<Vec<Round>> {
    role.begin()?;
    let mut rounds = Vec::new();
    for cycle_id in 1..=parts + WARM_UP {
        let (decided, readable) = role.part(cycle_id)?;
        let bare = role.bare()?;
        if cycle_id > WARM_UP {
            rounds.push(Round {
                readable: readable.since(decided),
                bare,
            });
        }
    }
    Ok(rounds)
}

fn told(bench: &PlcBench) -> String {
    let ms = |us: u64| format!("{:.3} ms", us as f64 / 1e3);
    let row = |name: &str, p50, p99| vec![name.to_owned(), ms(p50), ms(p99)];
    let rows = [
        ("PLC reads", &bench.server),
        ("station writes", &bench.client),
        ("line controller", &bench.grpc),
    ]
    .into_iter()
    .flat_map(|(role, bench)| {
        [
            row(
                &format!("{role}: decided to readable"),
                bench.decided_to_readable_us_p50,
                bench.decided_to_readable_us_p99,
            ),
            row(&format!("{role}: bare round trip"), bench.bare_us_p50, bench.bare_us_p99),
            row(&format!("{role}: what takt adds"), bench.overhead_us_p50, bench.overhead_us_p99),
        ]
    });
    format!(
        "{}\nPeer over Modbus: {}. Limit of what takt adds: {} (p99).\n",
        table(&["", "p50", "p99"], rows),
        bench.peer,
        ms(bench.overhead_us_p99_max)
    )
}
