//! The machine: what is known of it, and what that means. Pure: facts in, findings out.

use std::path::PathBuf;

use crate::doctor::texts::Tracking;
use crate::doctor::{Check, Finding, Status};

/// Model, kernel, cores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MachineFacts {
    /// What the device tree or the firmware calls it.
    pub model: Option<String>,
    /// Its architecture, as the kernel says it.
    pub architecture: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Time since its start, seconds.
    pub uptime_s: Option<u64>,
}

/// What it is.
pub fn machine(facts: &MachineFacts) -> Finding {
    let model = facts.model.as_deref().unwrap_or("a machine that does not say its model");
    let up = facts.uptime_s.map_or_else(String::new, |seconds| format!(", up {}", span(seconds)));
    let fact = format!("{model}, {}, kernel {}{up}", facts.architecture, facts.kernel);
    let mut finding = Finding::new(Check::Machine, Status::Ok, fact)
        .value("architecture", facts.architecture.as_str())
        .value("kernel", facts.kernel.as_str());
    if let Some(model) = &facts.model {
        finding = finding.value("model", model.as_str());
    }
    match facts.uptime_s {
        Some(seconds) => finding.value("uptime_s", seconds),
        None => finding,
    }
}

/// How far the clock can be trusted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClockFacts {
    /// Its time as people read it.
    pub now: String,
    /// Whether it can be right at all: not before the first takt.
    pub is_plausible: bool,
    /// Whether the kernel says that something disciplines it.
    pub is_synchronised: bool,
    /// What chrony says, where it runs.
    pub tracking: Option<Tracking>,
    /// Programs that run and set clocks.
    pub setters: Vec<String>,
}

/// A clock further off than this is looked at: a record's place among those of other stations is not certain any more.
const CLOCK_OFFSET_S_MAX: f64 = 0.1;

/// Whether the clock says what time it is.
pub fn clock(facts: &ClockFacts) -> Finding {
    let by = match (&facts.tracking, facts.setters.as_slice()) {
        (Some(tracking), _) if tracking.stratum > 0 => format!(
            "{}, stratum {}, {:.3} ms off",
            tracking.source,
            tracking.stratum,
            1e3 * tracking.offset_s.abs()
        ),
        (_, []) => "nothing that sets it runs".into(),
        (_, setters) => format!("{} runs", setters.join(", ")),
    };
    let is_off = facts
        .tracking
        .as_ref()
        .is_some_and(|tracking| tracking.offset_s.abs() > CLOCK_OFFSET_S_MAX);
    let (status, told, remedy) = if !facts.is_plausible {
        let remedy =
            "give the box a time server (chrony) or a battery for its clock: certificates are refused and records carry no time until then";
        (Status::Failed, "cannot be right", remedy)
    } else if !facts.is_synchronised {
        let remedy = "set up chrony (NTP) or linuxptp: times of records cannot be compared with those of other machines";
        (Status::Warning, "not synchronised", remedy)
    } else if is_off {
        (
            Status::Warning,
            "synchronised, but far off",
            "look at chronyc tracking and chronyc sources",
        )
    } else {
        (Status::Ok, "synchronised", "")
    };
    let mut finding = Finding::new(Check::Clock, status, format!("{}, {told} ({by})", facts.now))
        .remedy(remedy)
        .value("plausible", facts.is_plausible)
        .value("synchronised", facts.is_synchronised);
    if let Some(tracking) = &facts.tracking {
        finding = finding
            .value("source", tracking.source.as_str())
            .value("stratum", tracking.stratum)
            .value("offset_s", tracking.offset_s);
    }
    finding
}

/// Hardware clocks of network cards.
pub fn ptp(clocks: &[String], setters: &[String]) -> Finding {
    let runs = |program: &str| setters.iter().any(|setter| setter == program);
    let names = clocks.join(", ");
    let (status, fact, remedy) = match clocks {
        [] => (Status::Unknown, "no network card here has a hardware clock".to_owned(), ""),
        _ if !runs("ptp4l") => (Status::Unknown, format!("{names}; ptp4l does not run, so none is used"), ""),
        _ if !runs("phc2sys") && !runs("chronyd") => (
            Status::Warning,
            format!("{names}; ptp4l runs, but nothing sets the system's clock by it"),
            "run phc2sys, or give chrony a refclock PHC",
        ),
        _ => (Status::Ok, format!("{names}; ptp4l runs"), ""),
    };
    Finding::new(Check::Ptp, status, fact)
        .remedy(remedy)
        .value("clocks", clocks.to_vec())
        .value("ptp4l", runs("ptp4l"))
}

/// A folder that the station writes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderFacts {
    /// Where.
    pub path: PathBuf,
    /// What it is for, as the configuration calls it.
    pub role: &'static str,
    /// Whether it is there; `false`: space is that of the folder it will be made in.
    pub exists: bool,
    /// Whether something is there that is no folder.
    pub is_something_else: bool,
    /// Permissions, the last twelve bits.
    pub mode: u32,
    /// Type of its file system.
    pub file_system: String,
    /// What is mounted there.
    pub source: String,
    /// Whether its file system takes nothing.
    pub is_read_only: bool,
    /// Bytes that users may still take.
    pub free_bytes: u64,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// Files that can still be made; `None` where the file system does not count.
    pub free_files: Option<u64>,
    /// What the journal may take in all, and what it has; 0 where no journal is here.
    pub quota_bytes: u64,
    /// What it has.
    pub used_bytes: u64,
    /// What is needed now, at least.
    pub needed_bytes: u64,
}

/// Less is too little for the numbers, the journal's next commits and a log.
const DISK_FREE_BYTES_MIN: u64 = 64 << 20;

/// Below this share a disk is nearly full.
const DISK_FREE_SHARE_MIN: f64 = 0.05;

/// Files that have to be left: evidence is a file each.
const DISK_FREE_FILES_MIN: u64 = 1000;

/// File systems that are gone with the power.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// File systems of other machines: when the network fails, whoever writes there waits.
const REMOTE: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"];

/// Whether the station can write there, and for how long.
pub fn disk(facts: &FolderFacts) -> Finding {
    let space = format!(
        "{} free of {}, {} on {}",
        bytes(facts.free_bytes),
        bytes(facts.total_bytes),
        facts.file_system,
        facts.source
    );
    let (status, fact, remedy) = disk_state(facts, &space);
    Finding::new(Check::Disk, status, format!("{fact} ({})", facts.role))
        .remedy(remedy)
        .of(facts.path.display().to_string())
        .value("role", facts.role)
        .value("free_bytes", facts.free_bytes)
        .value("total_bytes", facts.total_bytes)
        .value("file_system", facts.file_system.as_str())
        .value("read_only", facts.is_read_only)
        .value("quota_bytes", facts.quota_bytes)
        .value("used_bytes", facts.used_bytes)
}

fn disk_state(facts: &FolderFacts, space: &str) -> (Status, String, String) {
    let path = facts.path.display();
    let in_memory = IN_MEMORY.contains(&facts.file_system.as_str());
    let free_min = if in_memory { 0 } else { DISK_FREE_BYTES_MIN };
    let share = facts.free_bytes as f64 / facts.total_bytes.max(1) as f64;
    let quota_left = facts.quota_bytes.saturating_sub(facts.used_bytes);
    let failed = |fact: String, remedy: String| (Status::Failed, fact, remedy);
    let warning = |fact: String, remedy: String| (Status::Warning, fact, remedy);
    if facts.is_something_else {
        return failed("it is no folder".into(), format!("move {path} away, or name another folder"));
    }
    if facts.is_read_only {
        let remedy = "mount it for writing (a file system with errors is mounted read-only: see dmesg, then fsck), or name another folder";
        return failed(format!("nothing can be written, it is mounted read-only; {space}"), remedy.into());
    }
    if facts.exists && facts.mode & 0o200 == 0 {
        let fact = format!("its owner may not write, its mode is {:04o}; {space}", facts.mode);
        return failed(fact, format!("chmod u+w {path}"));
    }
    if facts.free_bytes < facts.needed_bytes.max(free_min) {
        let needed = bytes(facts.needed_bytes.max(free_min));
        return failed(
            format!("too little space, {needed} are needed; {space}"),
            "remove files, or lower journal.quota_mib".into(),
        );
    }
    if facts.free_files.is_some_and(|files| files < DISK_FREE_FILES_MIN) {
        let files = facts.free_files.unwrap_or_default();
        return failed(
            format!("no more than {files} files can be made; {space}"),
            "remove files: evidence is a file each".into(),
        );
    }
    if quota_left > facts.free_bytes {
        let (quota, used) = (bytes(facts.quota_bytes), bytes(facts.used_bytes));
        let fact = format!("the journal's quota of {quota} does not fit, it has {used}; {space}");
        let fits = (facts.used_bytes + facts.free_bytes / 10 * 9) >> 20;
        return warning(fact, format!("set journal.quota_mib to {fits} at most, or give it a larger disk"));
    }
    if REMOTE.contains(&facts.file_system.as_str()) {
        return warning(
            format!("it is on another machine; {space}"),
            "keep it on a disk of this machine: records wait while the network is away".into(),
        );
    }
    if share < DISK_FREE_SHARE_MIN && !in_memory {
        return warning(format!("nearly full; {space}"), "remove files, or give it a larger disk".into());
    }
    let quota = match facts.quota_bytes {
        0 => String::new(),
        quota => format!("; the journal has {} of its quota of {}", bytes(facts.used_bytes), bytes(quota)),
    };
    let made = if facts.exists { "" } else { "; it will be made at the first start" };
    (Status::Ok, format!("{space}{quota}{made}"), String::new())
}

/// How worn a flash memory is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlashFacts {
    /// Its name: mmcblk0, nvme0n1.
    pub device: String,
    /// What it is called by its maker.
    pub model: String,
    /// eMMC: used life of each kind of its cells in steps of 10 %: 1 is up to 10 %, 11 is beyond. `None`: it does not say.
    pub life_steps: Option<(u8, u8)>,
    /// eMMC: reserve blocks: 1 normal, 2 80 % used, 3 90 % used.
    pub reserve: Option<u8>,
}

/// From this much of its life on, a flash memory is to be exchanged soon.
const WORN_PERCENT: u8 = 80;

/// How worn it is.
pub fn wear(flash: &FlashFacts) -> Finding {
    let model = if flash.model.is_empty() {
        String::new()
    } else {
        format!("{}, ", flash.model)
    };
    // A kind of cells that the memory does not have is 0.
    let Some(steps) = flash.life_steps.map(|(first, second)| first.max(second)).filter(|steps| *steps > 0) else {
        let fact = format!("{model}it tells its wear to root only, or not at all");
        return Finding::new(Check::Wear, Status::Unknown, fact)
            .remedy(format!("sudo smartctl -a /dev/{}, where smartmontools is installed", flash.device))
            .of(flash.device.as_str());
    };
    let used = steps.saturating_mul(10).min(110);
    let remedy = "exchange the memory: plan it now, and copy /var/lib/takt and /etc/takt before";
    let (status, remedy) = match (used, flash.reserve) {
        (110.., _) | (_, Some(3..)) => (Status::Failed, remedy),
        (WORN_PERCENT.., _) | (_, Some(2)) => (Status::Warning, remedy),
        _ => (Status::Ok, ""),
    };
    let life = match used {
        110.. => "its rated life is over".to_owned(),
        used => format!("{} to {used} % of its rated life used", used - 10),
    };
    let reserve = match flash.reserve {
        Some(1) => ", reserve blocks normal",
        Some(2) => ", 80 % of its reserve blocks used",
        Some(3) => ", 90 % of its reserve blocks used",
        _ => "",
    };
    Finding::new(Check::Wear, status, format!("{model}{life}{reserve}"))
        .remedy(remedy)
        .of(flash.device.as_str())
        .value("life_used_percent_max", used)
}

/// A place where temperature is measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sensor {
    /// What the kernel calls it.
    pub name: String,
    /// Degrees Celsius.
    pub celsius: f64,
    /// Where the machine begins to slow down; degrees Celsius.
    pub throttles_at: Option<f64>,
    /// Where it is switched off; degrees Celsius.
    pub critical_at: Option<f64>,
}

/// Heat, and what the machine does about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeatFacts {
    /// Every sensor that answers.
    pub sensors: Vec<Sensor>,
    /// What slows the machine down now; no fans.
    pub throttles: Vec<String>,
    /// How often cores were slowed down since the start.
    pub throttle_count: u64,
    /// How often the power supply was not enough since the start.
    pub overcurrent_count: u64,
}

/// Where a sensor without a limit of its own is too hot, degrees Celsius.
const HOT_CELSIUS: f64 = 85.0;

/// So near to being switched off is too near, degrees.
const CRITICAL_MARGIN: f64 = 5.0;

/// How hot it is, and whether that slows it down.
pub fn temperature(facts: &HeatFacts) -> Finding {
    // The nearest to its limit counts, not the hottest: limits differ.
    let limit = |sensor: &Sensor| sensor.throttles_at.or(sensor.critical_at).unwrap_or(HOT_CELSIUS);
    let margin = |sensor: &Sensor| limit(sensor) - sensor.celsius;
    let nearest = facts.sensors.iter().min_by(|one, other| margin(one).total_cmp(&margin(other)));
    let Some(sensor) = nearest else {
        return Finding::new(
            Check::Temperature,
            Status::Unknown,
            "this machine shows no temperature, as virtual machines do not",
        );
    };
    let is_critical = sensor
        .critical_at
        .is_some_and(|critical| sensor.celsius > critical - CRITICAL_MARGIN);
    let mut told = vec![format!("{} {:.0} °C, limit {:.0} °C", sensor.name, sensor.celsius, limit(sensor))];
    if !facts.throttles.is_empty() {
        told.push(format!("slowed down by {}", facts.throttles.join(", ")));
    }
    if facts.throttle_count > 0 {
        told.push(format!("slowed down {} times since the start", facts.throttle_count));
    }
    if facts.overcurrent_count > 0 {
        told.push(format!(
            "the power supply was too weak {} times since the start",
            facts.overcurrent_count
        ));
    }
    let (status, remedy) = if is_critical {
        (Status::Failed, "cool the box now: it is about to be switched off")
    } else if facts.overcurrent_count > 0 {
        (
            Status::Warning,
            "use the power supply that the power mode needs, or a lower power mode",
        )
    } else if margin(sensor) <= 0.0 || !facts.throttles.is_empty() {
        (
            Status::Warning,
            "clean filters and fan, check the cabinet's temperature: verdicts come later while the machine is slowed down",
        )
    } else {
        (Status::Ok, "")
    };
    Finding::new(Check::Temperature, status, told.join("; "))
        .remedy(remedy)
        .value("sensor", sensor.name.as_str())
        .value("celsius", sensor.celsius)
        .value("limit_celsius", limit(sensor))
        .value("throttled", !facts.throttles.is_empty())
        .value("throttle_count", facts.throttle_count)
        .value("overcurrent_count", facts.overcurrent_count)
}

/// How much the machine is allowed to give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PowerFacts {
    /// Number and name of a Jetson's power mode.
    pub mode: Option<(u32, Option<String>)>,
    /// Whether this is a Jetson, which should have one.
    pub is_jetson: bool,
    /// Cores in use, and cores there are.
    pub cores: Option<(usize, usize)>,
    /// How the clocks of the cores are chosen.
    pub governor: Option<String>,
}

/// How much the machine may give.
pub fn power_mode(facts: &PowerFacts) -> Finding {
    let mut told = Vec::new();
    match &facts.mode {
        Some((number, Some(name))) => told.push(format!("{name} (mode {number})")),
        Some((number, None)) => told.push(format!("mode {number}")),
        None if facts.is_jetson => told.push("nvpmodel has not said its mode".into()),
        None => {}
    }
    if let Some((online, present)) = facts.cores {
        told.push(format!("{online} of {present} cores in use"));
    }
    if let Some(governor) = &facts.governor {
        told.push(format!("governor {governor}"));
    }
    if told.is_empty() {
        return Finding::new(Check::PowerMode, Status::Unknown, "the kernel says nothing of it here");
    }
    let is_slow = facts.is_jetson && facts.governor.as_deref() == Some("powersave");
    let (status, remedy) = match (is_slow, facts.is_jetson && facts.mode.is_none()) {
        (true, _) => (
            Status::Warning,
            "set another governor, or run jetson_clocks: powersave keeps the lowest clock",
        ),
        (false, true) => (Status::Unknown, ""),
        (false, false) => (Status::Ok, ""),
    };
    let mut finding = Finding::new(Check::PowerMode, status, told.join(", ")).remedy(remedy);
    if let Some((number, name)) = &facts.mode {
        finding = finding.value("mode", *number).value("mode_name", name.clone());
    }
    if let Some((online, present)) = facts.cores {
        finding = finding.value("cores_online", online).value("cores_present", present);
    }
    match &facts.governor {
        Some(governor) => finding.value("governor", governor.as_str()),
        None => finding,
    }
}

/// Less memory than this share of all can be had: the next part may find none.
const MEMORY_FREE_SHARE_MIN: f64 = 0.1;

/// Memory that programs can still have, and all of it; bytes.
pub fn memory(available_bytes: Option<u64>, total_bytes: Option<u64>) -> Finding {
    let (Some(available), Some(total)) = (available_bytes, total_bytes) else {
        return Finding::new(Check::Memory, Status::Unknown, "the kernel does not say (/proc/meminfo)");
    };
    let fact = format!("{} can be had of {}", bytes(available), bytes(total));
    let is_short = (available as f64) < MEMORY_FREE_SHARE_MIN * total as f64;
    let (status, remedy) = if is_short {
        (
            Status::Warning,
            "end other programs, or use a smaller model or fewer workers: short of memory, the kernel ends programs",
        )
    } else {
        (Status::Ok, "")
    };
    Finding::new(Check::Memory, status, fact)
        .remedy(remedy)
        .value("available_bytes", available)
        .value("total_bytes", total)
}

/// What is left of the last reset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResetFacts {
    /// What a Jetson's power management says: `SYS_RESET_N`, `LCCPLEXWDT`.
    pub reason: Option<String>,
    /// Flags of each watchdog about the last reset (`WDIOF_` in the kernel).
    pub watchdog_flags: Vec<u32>,
    /// Crashes of the kernel that were kept: how many files; `None`: it cannot be known without root.
    pub crashes: Option<usize>,
}

/// `WDIOF_CARDRESET`, `WDIOF_OVERHEAT`, `WDIOF_POWERUNDER` of linux/watchdog.h.
const WATCHDOG: [(u32, &str); 3] = [(0x20, "its watchdog"), (0x01, "heat"), (0x10, "too little voltage")];

/// Why the machine was reset.
pub fn reset(facts: &ResetFacts) -> Finding {
    let mut causes: Vec<(Status, String)> = Vec::new();
    if let Some(reason) = &facts.reason {
        causes.push(match jetson_reset(reason) {
            (status, Some(meaning)) => (status, format!("{meaning} ({reason})")),
            (status, None) => (status, reason.clone()),
        });
    }
    let flags = facts.watchdog_flags.iter().fold(0, |all, flags| all | flags);
    causes.extend(
        WATCHDOG
            .iter()
            .filter(|(flag, _)| flags & flag != 0)
            .map(|(_, cause)| (Status::Warning, format!("reset by {cause}"))),
    );
    if let Some(count) = facts.crashes.filter(|count| *count > 0) {
        causes.push((
            Status::Warning,
            format!("the kernel crashed and left {count} files (/sys/fs/pstore, /var/lib/systemd/pstore)"),
        ));
    }
    let status = causes.iter().map(|(status, _)| *status).max();
    let finding = match status {
        None if facts.watchdog_flags.is_empty() => {
            Finding::new(Check::Reset, Status::Unknown, "this machine does not keep why it was reset")
        }
        None => Finding::new(Check::Reset, Status::Ok, "neither its watchdog nor a crash"),
        Some(status) => {
            let told: Vec<String> = causes.into_iter().map(|(_, told)| told).collect();
            let remedy = if status == Status::Warning {
                "see the log of the life before (journalctl --boot=-1) and report it"
            } else {
                ""
            };
            Finding::new(Check::Reset, status, told.join("; ")).remedy(remedy)
        }
    };
    let finding = match &facts.reason {
        Some(reason) => finding.value("reason", reason.as_str()),
        None => finding,
    };
    finding.value("watchdog_flags", flags).value("kernel_crashes", facts.crashes)
}

/// What the words of a Jetson's power management mean; they are those of `drivers/soc/tegra/pmc.c`.
fn jetson_reset(reason: &str) -> (Status, Option<&'static str>) {
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&["WDT"]) {
        (Status::Warning, Some("reset by a watchdog"))
    } else if has(&["SENSOR", "THERM"]) {
        (Status::Warning, Some("switched off by heat"))
    } else if has(&["POWERBAD", "VMON", "AOTAG"]) {
        (Status::Warning, Some("reset by too little voltage"))
    } else if has(&["SWRST", "SWREST", "SC7"]) {
        (Status::Ok, Some("restarted by its software"))
    } else if has(&["SYS_RESET", "POWER_ON"]) {
        (Status::Ok, Some("switched on, or its reset button"))
    } else {
        (Status::Ok, None)
    }
}

/// Bytes as people read them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A time as people read it.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::is;

    fn clock_facts() -> ClockFacts {
        ClockFacts {
            now: "2026-11-22T06:00:00Z".into(),
            is_plausible: true,
            is_synchronised: true,
            ..ClockFacts::default()
        }
    }

    #[test]
    fn a_clock_is_right_or_says_what_is_wrong() {
        let tracked = |offset_s| {
            Some(Tracking {
                source: "ntp.plant".into(),
                stratum: 3,
                offset_s,
            })
        };
        is(&clock(&clock_facts()), Status::Ok, &["synchronised", "nothing that sets it runs"]);
        let good = ClockFacts {
            tracking: tracked(-0.000_02),
            ..clock_facts()
        };
        is(&clock(&good), Status::Ok, &["ntp.plant, stratum 3, 0.020 ms off"]);
        let off = ClockFacts {
            tracking: tracked(-2.0),
            ..clock_facts()
        };
        is(&clock(&off), Status::Warning, &["far off", "2000.000 ms"]);
        let lost = ClockFacts {
            now: "1970-01-01T00:03:20Z".into(),
            is_plausible: false,
            is_synchronised: false,
            ..ClockFacts::default()
        };
        is(&clock(&lost), Status::Failed, &["1970-01-01T00:03:20Z, cannot be right", "battery"]);
        let alone = ClockFacts {
            is_synchronised: false,
            setters: vec!["systemd-timesyn".into()],
            ..clock_facts()
        };
        is(
            &clock(&alone),
            Status::Warning,
            &["not synchronised (systemd-timesyn runs)", "chrony"],
        );
    }

    #[test]
    fn a_ptp_clock_that_nobody_reads_is_told() {
        let (clocks, of) = (["ptp0 (nvethernet)".to_owned()], |names: &[&str]| {
            names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()
        });
        is(&ptp(&[], &[]), Status::Unknown, &["no network card"]);
        is(&ptp(&clocks, &[]), Status::Unknown, &["ptp0", "none is used"]);
        is(&ptp(&clocks, &of(&["ptp4l"])), Status::Warning, &["nothing sets", "phc2sys"]);
        is(&ptp(&clocks, &of(&["ptp4l", "phc2sys"])), Status::Ok, &["ptp4l runs"]);
    }

    fn folder() -> FolderFacts {
        FolderFacts {
            path: "/var/lib/takt".into(),
            role: "state_directory",
            exists: true,
            mode: 0o750,
            file_system: "ext4".into(),
            source: "/dev/mmcblk0p3".into(),
            free_bytes: 20 << 30,
            total_bytes: 50 << 30,
            free_files: Some(1 << 20),
            quota_bytes: 16 << 30,
            used_bytes: 1 << 30,
            ..FolderFacts::default()
        }
    }

    #[test]
    fn a_folder_can_be_written_or_says_why_not() {
        is(
            &disk(&folder()),
            Status::Ok,
            &["20.0 GiB free of 50.0 GiB, ext4 on /dev/mmcblk0p3", "quota of 16.0 GiB"],
        );
        let read_only = FolderFacts {
            is_read_only: true,
            ..folder()
        };
        is(&disk(&read_only), Status::Failed, &["mounted read-only", "fsck"]);
        let closed = FolderFacts { mode: 0o555, ..folder() };
        is(&disk(&closed), Status::Failed, &["mode is 0555", "chmod u+w /var/lib/takt"]);
        let full = FolderFacts {
            free_bytes: 1 << 20,
            ..folder()
        };
        is(&disk(&full), Status::Failed, &["too little space, 64.0 MiB are needed"]);
        let crowded = FolderFacts {
            free_files: Some(3),
            ..folder()
        };
        is(&disk(&crowded), Status::Failed, &["no more than 3 files"]);
        let promised = FolderFacts {
            quota_bytes: 40 << 30,
            ..folder()
        };
        is(
            &disk(&promised),
            Status::Warning,
            &["quota of 40.0 GiB does not fit", "journal.quota_mib to 19456 at most"],
        );
        let far = FolderFacts {
            file_system: "nfs4".into(),
            ..folder()
        };
        is(&disk(&far), Status::Warning, &["another machine"]);
        let file = FolderFacts {
            is_something_else: true,
            ..folder()
        };
        is(&disk(&file), Status::Failed, &["no folder"]);
        let new = FolderFacts {
            exists: false,
            mode: 0,
            ..folder()
        };
        is(&disk(&new), Status::Ok, &["will be made"]);
    }

    #[test]
    fn a_runtime_folder_in_memory_needs_room_for_the_black_box_only() {
        let run = FolderFacts {
            file_system: "tmpfs".into(),
            free_bytes: 20 << 20,
            total_bytes: 800 << 20,
            quota_bytes: 0,
            needed_bytes: 9 << 20,
            ..folder()
        };
        is(&disk(&run), Status::Ok, &["tmpfs"]);
        let full = FolderFacts {
            free_bytes: 5 << 20,
            ..run
        };
        is(&disk(&full), Status::Failed, &["9.0 MiB are needed"]);
    }

    #[test]
    fn flash_says_its_wear_in_tenths() {
        let emmc = |first, second, reserve| FlashFacts {
            device: "mmcblk0".into(),
            model: "DG4064".into(),
            life_steps: Some((first, second)),
            reserve: Some(reserve),
        };
        is(
            &wear(&emmc(1, 2, 1)),
            Status::Ok,
            &["DG4064, 10 to 20 % of its rated life used", "reserve blocks normal"],
        );
        is(&wear(&emmc(8, 1, 1)), Status::Warning, &["70 to 80 %", "exchange"]);
        is(&wear(&emmc(1, 1, 3)), Status::Failed, &["90 % of its reserve"]);
        is(&wear(&emmc(11, 1, 1)), Status::Failed, &["life is over"]);
        let silent = FlashFacts {
            device: "nvme0n1".into(),
            ..FlashFacts::default()
        };
        assert_eq!(wear(&silent).status, Status::Unknown);
        assert!(wear(&silent).remedy.contains("/dev/nvme0n1"));
        assert_eq!(wear(&emmc(0, 0, 0)).status, Status::Unknown);
    }

    fn sensor(name: &str, celsius: f64, throttles_at: Option<f64>) -> Sensor {
        Sensor {
            name: name.into(),
            celsius,
            throttles_at,
            critical_at: Some(105.0),
        }
    }

    #[test]
    fn the_sensor_nearest_to_its_limit_counts() {
        let facts = |sensors: Vec<Sensor>| HeatFacts {
            sensors,
            ..HeatFacts::default()
        };
        is(&temperature(&facts(vec![])), Status::Unknown, &["virtual machines"]);
        let cool = facts(vec![sensor("gpu", 70.0, Some(99.0)), sensor("nvme", 65.0, Some(80.0))]);
        is(&temperature(&cool), Status::Ok, &["nvme 65 °C, limit 80 °C"]);
        is(
            &temperature(&facts(vec![sensor("tj", 99.5, Some(99.0))])),
            Status::Warning,
            &["clean filters"],
        );
        is(
            &temperature(&facts(vec![sensor("tj", 101.0, None)])),
            Status::Failed,
            &["switched off"],
        );
        let slow = HeatFacts {
            throttles: vec!["cpu-throttle-alert".into()],
            ..cool.clone()
        };
        is(&temperature(&slow), Status::Warning, &["slowed down by cpu-throttle-alert"]);
        let weak = HeatFacts {
            overcurrent_count: 4,
            ..cool
        };
        is(&temperature(&weak), Status::Warning, &["too weak 4 times", "power supply"]);
    }

    #[test]
    fn power_is_what_the_kernel_says_of_it() {
        is(&power_mode(&PowerFacts::default()), Status::Unknown, &["nothing"]);
        let jetson = PowerFacts {
            mode: Some((2, Some("MODE_30W".into()))),
            is_jetson: true,
            cores: Some((8, 12)),
            governor: Some("schedutil".into()),
        };
        is(
            &power_mode(&jetson),
            Status::Ok,
            &["MODE_30W (mode 2), 8 of 12 cores in use, governor schedutil"],
        );
        let slow = PowerFacts {
            governor: Some("powersave".into()),
            ..jetson.clone()
        };
        is(&power_mode(&slow), Status::Warning, &["jetson_clocks"]);
        let silent = PowerFacts { mode: None, ..jetson };
        is(&power_mode(&silent), Status::Unknown, &["nvpmodel has not said"]);
    }

    #[test]
    fn little_memory_is_told() {
        is(
            &memory(Some(6 << 30), Some(8 << 30)),
            Status::Ok,
            &["6.0 GiB can be had of 8.0 GiB"],
        );
        is(&memory(Some(1 << 28), Some(8 << 30)), Status::Warning, &["256 MiB"]);
        is(&memory(None, Some(1)), Status::Unknown, &["meminfo"]);
    }

    #[test]
    fn a_reset_is_explained_where_the_machine_remembers() {
        let facts = |reason: Option<&str>, flags: &[u32], crashes| ResetFacts {
            reason: reason.map(str::to_owned),
            watchdog_flags: flags.to_vec(),
            crashes,
        };
        is(&reset(&facts(None, &[], None)), Status::Unknown, &["does not keep"]);
        is(&reset(&facts(None, &[0], Some(0))), Status::Ok, &["neither"]);
        is(&reset(&facts(None, &[0, 0x20], None)), Status::Warning, &["reset by its watchdog"]);
        is(
            &reset(&facts(Some("LCCPLEXWDT"), &[], None)),
            Status::Warning,
            &["by a watchdog (LCCPLEXWDT)"],
        );
        is(&reset(&facts(Some("VREFRO_POWERBAD"), &[], None)), Status::Warning, &["voltage"]);
        is(&reset(&facts(Some("MAINSWRST"), &[0], None)), Status::Ok, &["by its software"]);
        is(&reset(&facts(Some("SYS_RESET_N"), &[], None)), Status::Ok, &["switched on"]);
        is(&reset(&facts(Some("HSM"), &[], Some(2))), Status::Warning, &["HSM", "left 2 files"]);
    }

    #[test]
    fn sizes_and_times_are_readable() {
        assert_eq!(
            [0, 1023, 1 << 20, 150 << 30, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.0 MiB", "150 GiB", "16777216 TiB"]
        );
        assert_eq!([5, 600, 36_000, 864_000].map(span), ["5 s", "10 min", "10 h", "10 days"]);
    }
}
