//! The tables of `station.toml` that say how a station and its PLC speak: `[plc]`, `[trigger]`, `[result]`, `[serial]`, `[timing]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::reader::{Answer, Table};
use super::station::{CycleSource, PlcConfig, PolledPlc, ResultConfig, TimingConfig, TriggerConfig, is_loopback};
use super::timing::ms;
use super::value::{also, flag, machine, millis, one_of, socket, whole_u32};
use crate::line::config::{ResultMode, SerialMode, TriggerSource};

/// Most addresses that may write.
const WRITERS_MAX: usize = 16;

/// Longest time that any key gives: ten minutes.
const MILLIS_MAX: u64 = 600_000;

/// Where frames of cameras that are not wired to a sensor belong to a part, unless said otherwise.
pub(super) const FRAME_WINDOW: Duration = Duration::from_millis(100);

pub(super) fn read_serial(table: &mut Table<'_>) -> Answer<SerialMode> {
    let is_latched = table.or("mode", false, one_of([("with_trigger", false), ("latched", true)]));
    let required = table.optional("required", flag);
    match (is_latched?, required?) {
        (true, required) => Ok(SerialMode::Latched {
            required: required.unwrap_or(false),
        }),
        (false, None) => Ok(SerialMode::WithTrigger),
        (false, Some(_)) => Err(table.refuse("required", "required is for the mode \"latched\"; remove it")),
    }
}

pub(super) fn read_plc(table: &mut Table<'_>) -> Answer<PlcConfig> {
    let cycle_source = read_cycle_source(table);
    let poll = table.or("poll_ms", Duration::from_millis(10), millis(5..=1000));
    let scan = table.required("scan_ms", millis(1..=1000));
    let heartbeat_timeout = table.or("heartbeat_timeout_ms", Duration::from_secs(1), millis(300..=10_000));
    let torn = table.or("torn_ms", Duration::from_millis(200), millis(1..=10_000));
    let trigger_grace = table.optional("trigger_grace_ms", millis(0..=10_000));
    if let (Ok(poll), Ok(scan), Ok(timeout)) = (poll, scan, heartbeat_timeout) {
        let least = 3 * (poll + scan);
        if timeout < least {
            let (timeout, least) = (ms(timeout), ms(least));
            let reason = format!(
                "heartbeat_timeout_ms {timeout} is shorter than 3 x (poll_ms + scan_ms), and a PLC that is well would be lost; give at least {least}"
            );
            table.refuse("heartbeat_timeout_ms", reason);
        }
    }
    Ok(PlcConfig {
        cycle_source: cycle_source?,
        poll: poll?,
        scan: scan?,
        heartbeat_timeout: heartbeat_timeout?,
        torn: torn?,
        trigger_grace: trigger_grace?.unwrap_or(2 * poll?),
    })
}

/// Who gives the cycles, and what belongs to that alone.
fn read_cycle_source(table: &mut Table<'_>) -> Answer<CycleSource> {
    let kinds = also(one_of([("modbus", false), ("grpc", true)]), &["s7", "opcua", "ethernet_ip"]);
    let is_grpc = table.or("cycle_source", false, kinds)?;
    if is_grpc {
        let of_modbus = ["role"].iter().chain(&OF_SERVER).chain(&OF_CLIENT);
        refuse_keys(table, of_modbus, "the cycle_source \"modbus\"")?;
        return Ok(CycleSource::Grpc);
    }
    let role = table.or("role", false, one_of([("server", false), ("client", true)]));
    if role == Ok(true) {
        let foreign = refuse_keys(table, &OF_SERVER, "the role \"server\"");
        let polled = read_polled(table);
        foreign?;
        return Ok(CycleSource::PolledModbus(polled?));
    }
    let foreign = refuse_keys(table, &OF_CLIENT, "the role \"client\"");
    let listen = read_listen(table, "Modbus cannot be secured");
    let writers = table.list("writers", WRITERS_MAX, machine);
    role?;
    foreign?;
    Ok(CycleSource::Modbus {
        listen: listen?,
        writers: writers?,
    })
}

/// Keys of `[plc]` for a station that is the Modbus server, and for one that is the client.
const OF_SERVER: [&str; 3] = ["listen", "insecure", "writers"];
const OF_CLIENT: [&str; 6] = [
    "connect",
    "unit_id",
    "read_base",
    "write_base",
    "response_timeout_ms",
    "plc_write_ms_max",
];

fn refuse_keys<'a>(table: &mut Table<'_>, keys: impl IntoIterator<Item = &'a &'static str>, whose: &str) -> Answer<()> {
    let mut answer = Ok(());
    for key in keys {
        if table.has(key) {
            answer = Err(table.refuse_key(key, format!("{key} is for {whose}; remove it")));
        }
    }
    answer
}

/// A PLC that the station polls. Its registers are where the station's own would be, unless said otherwise: 0 and up, 1000 and up.
fn read_polled(table: &mut Table<'_>) -> Answer<PolledPlc> {
    let connect = table.required("connect", socket);
    let unit_id = table.or("unit_id", 1, whole_u32(0..=255)).map(|unit| unit as u8);
    let read_base = table.or("read_base", 0, whole_u32(0..=65_535)).map(|base| base as u16);
    let write_base = table.or("write_base", 1000, whole_u32(0..=65_535)).map(|base| base as u16);
    let response_timeout = table.or("response_timeout_ms", Duration::from_millis(300), millis(10..=10_000));
    let write_max = table.or("plc_write_ms_max", Duration::from_millis(50), millis(1..=1000));
    Ok(PolledPlc {
        connect: connect?,
        unit_id: unit_id?,
        read_base: read_base?,
        write_base: write_base?,
        response_timeout: response_timeout?,
        write_max: write_max?,
    })
}

/// An address to listen on. One that other machines reach must be wanted: what is said there is not secured, as `why` says.
pub(super) fn read_listen(table: &mut Table<'_>, why: &str) -> Answer<SocketAddr> {
    let listen = table.required("listen", socket);
    let insecure = table.or("insecure", false, flag);
    let (listen, insecure) = (listen?, insecure?);
    if is_loopback(listen) || insecure {
        return Ok(listen);
    }
    let reason = format!("{why}, and other machines reach {listen}; listen on 127.0.0.1, or accept it with insecure = true");
    Err(table.refuse("listen", reason))
}

pub(super) fn read_trigger(table: &mut Table<'_>) -> Answer<TriggerConfig> {
    #[derive(Clone, Copy)]
    enum Source {
        Plc,
        Hardware,
        FreeRun,
    }
    let source = table.required(
        "source",
        one_of([("plc", Source::Plc), ("hardware", Source::Hardware), ("free_run", Source::FreeRun)]),
    );
    let interval = table.required("part_interval_ms_min", millis(1..=MILLIS_MAX));
    let arm_window = table.optional("arm_window_ms", millis(1..=10_000));
    let frame_window = table.optional("frame_window_ms", millis(1..=10_000));
    let gate_sees_parts = table.or("gate_sees_parts", true, flag);
    let (source, part_interval_min, frame_window) = (source?, interval?, frame_window?);
    let source = match (source, arm_window?) {
        (Source::Plc, None) => TriggerSource::Plc {
            frame_window: frame_window.unwrap_or(FRAME_WINDOW),
        },
        (Source::FreeRun, None) => TriggerSource::FreeRun {
            frame_window: frame_window.unwrap_or(FRAME_WINDOW),
        },
        (Source::Plc | Source::FreeRun, Some(_)) => {
            return Err(table.refuse("arm_window_ms", "arm_window_ms is for the source \"hardware\"; remove it"));
        }
        (Source::Hardware, None) => {
            let reason = "arm_window_ms is missing; give the longest time from the trigger to the exposure";
            return Err(table.refuse("arm_window_ms", reason));
        }
        (Source::Hardware, Some(arm_window)) => TriggerSource::Hardware {
            arm_window: check_arm_window(table, arm_window, part_interval_min)?,
        },
    };
    if matches!(source, TriggerSource::Hardware { .. }) && frame_window.is_some() {
        let reason = "frame_window_ms is for the sources \"plc\" and \"free_run\"; remove it";
        table.refuse("frame_window_ms", reason);
    }
    Ok(TriggerConfig {
        source,
        part_interval_min,
        gate_sees_parts: gate_sees_parts?,
    })
}

/// Two parts never lie in one window.
fn check_arm_window(table: &Table<'_>, arm_window: Duration, part_interval_min: Duration) -> Answer<Duration> {
    if arm_window < part_interval_min {
        return Ok(arm_window);
    }
    let (window, interval) = (ms(arm_window), ms(part_interval_min));
    let reason = format!(
        "arm_window_ms {window} is not shorter than part_interval_ms_min {interval}, and two parts could lie in one window; shorten it"
    );
    Err(table.refuse("arm_window_ms", reason))
}

pub(super) fn read_result(table: &mut Table<'_>) -> Answer<ResultConfig> {
    let modes = [("single", ResultMode::Single), ("window", ResultMode::Window)];
    let mode = table.or("mode", ResultMode::Single, one_of(modes));
    let accept_hold = table.or("accept_hold_ms", Duration::from_secs(1), millis(1..=60_000));
    Ok(ResultConfig {
        mode: mode?,
        accept_hold: accept_hold?,
    })
}

pub(super) fn read_timing(table: &mut Table<'_>) -> Answer<TimingConfig> {
    let deadline = table.required("deadline_ms", millis(1..=60_000));
    let trigger_to_gate = table.required("trigger_to_gate_ms", millis(1..=MILLIS_MAX));
    let gate_actuation = table.required("gate_actuation_ms", millis(0..=60_000));
    let margin = table.or("margin_ms", Duration::from_millis(10), millis(0..=60_000));
    Ok(TimingConfig {
        deadline: deadline?,
        trigger_to_gate: trigger_to_gate?,
        gate_actuation: gate_actuation?,
        margin: margin?,
    })
}
