//! Reads the machine's facts from sysfs and procfs below any root, so that a test can bring a machine of its own. Needs no root user; what is
//! not there, or may not be read, is not known.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::findings::cameras::VideoDevice;
use super::findings::machine::{ClockFacts, FlashFacts, FolderFacts, HeatFacts, MachineFacts, PowerFacts, ResetFacts, Sensor};
use super::texts::{self, Mount, Socket};
use crate::flow;
use crate::part::ClockQuality;
use crate::rpc::certificate::date;

/// Most bytes that are read of a file; the longest are tables of connections and mounts.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 65_536;

/// Trip points of a thermal zone, at most (`THERMAL_MAX_TRIPS` of the kernel).
const TRIPS_MAX: usize = 12;

/// Programs that set clocks, as the kernel shortens their names.
const CLOCK_SETTERS: [&str; 6] = ["chronyd", "ntpd", "systemd-timesyn", "ptp4l", "phc2sys", "timemaster"];

/// A machine's sysfs, procfs and a few of its files.
#[derive(Debug, Clone)]
pub struct SystemTree {
    root: PathBuf,
}

impl SystemTree {
    /// That of this machine is below `/`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A small text file without the blanks and zeros at its end; `None` if it cannot be read or is empty.
    fn text(&self, path: &str) -> Option<String> {
        read(&self.at(path)).ok().filter(|text| !text.is_empty())
    }

    /// Names in a folder, sorted.
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.at(folder))?.take(ENTRIES_MAX);
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        Ok(names)
    }

    /// Paths of what begins with a word in a folder.
    fn entries(&self, folder: &str, prefix: &str) -> Vec<String> {
        let names = self.names(folder).unwrap_or_default().into_iter();
        names
            .filter(|name| name.starts_with(prefix))
            .map(|name| format!("{folder}/{name}"))
            .collect()
    }

    fn number<N: std::str::FromStr>(&self, path: &str) -> Option<N> {
        self.text(path)?.parse().ok()
    }

    /// Model, kernel, cores.
    pub fn machine(&self) -> MachineFacts {
        let firmware = || {
            let words = ["sys_vendor", "product_name"].map(|name| self.text(&format!("sys/class/dmi/id/{name}")));
            let words: Vec<String> = words.into_iter().flatten().collect();
            (!words.is_empty()).then(|| words.join(" "))
        };
        let uptime = self.text("proc/uptime");
        MachineFacts {
            model: self.text("proc/device-tree/model").or_else(firmware),
            architecture: self.text("proc/sys/kernel/arch").unwrap_or_else(|| std::env::consts::ARCH.into()),
            kernel: self.text("proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
            uptime_s: uptime.and_then(|uptime| uptime.split(['.', ' ']).next()?.parse().ok()),
        }
    }

    /// This machine's clock, and who sets it.
    pub fn clock(&self) -> ClockFacts {
        let quality = flow::clock_quality();
        ClockFacts {
            now: date(flow::unix_now_ns().div_euclid(1_000_000_000)),
            is_plausible: quality != ClockQuality::Implausible,
            is_synchronised: quality == ClockQuality::Synchronised,
            tracking: None,
            setters: self.clock_setters(),
        }
    }

    /// Programs that run and set clocks.
    pub fn clock_setters(&self) -> Vec<String> {
        let processes = self.names("proc").unwrap_or_default().into_iter();
        let processes = processes.filter(|name| name.bytes().all(|sign| sign.is_ascii_digit()));
        let mut setters: Vec<String> = processes
            .filter_map(|process| self.text(&format!("proc/{process}/comm")))
            .filter(|program| CLOCK_SETTERS.contains(&program.as_str()))
            .collect();
        setters.sort();
        setters.dedup();
        setters
    }

    /// Hardware clocks of network cards.
    pub fn ptp_clocks(&self) -> Vec<String> {
        let clocks = self.entries("sys/class/ptp", "ptp").into_iter();
        let named = clocks.map(|clock| {
            let name = clock.rsplit('/').next().unwrap_or_default();
            match self.text(&format!("{clock}/clock_name")) {
                Some(of) => format!("{name} ({of})"),
                None => name.to_owned(),
            }
        });
        named.collect()
    }

    /// Flash memories: soldered ones, cards, solid-state disks.
    pub fn flash(&self) -> Vec<FlashFacts> {
        let devices = self.names("sys/block").unwrap_or_default().into_iter();
        let devices = devices.filter(|name| {
            let is_flash = ["mmcblk", "nvme", "sd"].iter().any(|prefix| name.starts_with(prefix));
            // Boot partitions of an eMMC are devices of their own.
            is_flash && !name.contains("boot") && !name.contains("rpmb")
        });
        let facts = devices.map(|device| {
            let of = |name: &str| self.text(&format!("sys/block/{device}/device/{name}"));
            let step = |text: &str| u8::from_str_radix(text.strip_prefix("0x")?, 16).ok();
            let life_steps = of("life_time").and_then(|life| {
                let mut steps = life.split_whitespace().filter_map(step);
                Some((steps.next()?, steps.next().unwrap_or_default()))
            });
            FlashFacts {
                model: of("model").or_else(|| of("name")).unwrap_or_default(),
                life_steps,
                reserve: of("pre_eol_info").as_deref().and_then(step),
                device,
            }
        });
        facts.collect()
    }

    /// Heat, and what is done about it.
    pub fn heat(&self) -> HeatFacts {
        let zones: Vec<Sensor> = self
            .entries("sys/class/thermal", "thermal_zone")
            .iter()
            .filter_map(|zone| self.zone(zone))
            .collect();
        let monitors = self.entries("sys/class/hwmon", "hwmon");
        // Some zones are shown a second time as a monitor.
        let is_zone = |name: &str| zones.iter().any(|zone| zone.name.replace('-', "_") == name.replace('-', "_"));
        let mut sensors = Vec::new();
        for monitor in &monitors {
            let name = self.text(&format!("{monitor}/name")).unwrap_or_default();
            if !is_zone(&name) {
                sensors.extend(self.monitor(monitor, &name));
            }
        }
        sensors.extend(zones);
        HeatFacts {
            sensors,
            throttles: self.throttles(),
            throttle_count: self.throttle_count(),
            overcurrent_count: monitors.iter().map(|monitor| self.overcurrent_count(monitor)).sum(),
        }
    }

    /// A thermal zone; `None` while its part of the machine is switched off.
    fn zone(&self, zone: &str) -> Option<Sensor> {
        let celsius = self.celsius(&format!("{zone}/temp"))?;
        let trips = (0..TRIPS_MAX).filter_map(|trip| {
            let kind = self.text(&format!("{zone}/trip_point_{trip}_type"))?;
            Some((kind, self.celsius(&format!("{zone}/trip_point_{trip}_temp"))?))
        });
        let trips: Vec<(String, f64)> = trips.filter(|(_, celsius)| *celsius > 0.0).collect();
        let lowest = |kinds: &[&str]| {
            let fits = trips.iter().filter(|(kind, _)| kinds.contains(&kind.as_str()));
            fits.map(|(_, celsius)| *celsius).reduce(f64::min)
        };
        Some(Sensor {
            name: self.text(&format!("{zone}/type"))?,
            celsius,
            throttles_at: lowest(&["passive", "hot"]),
            critical_at: lowest(&["critical"]),
        })
    }

    /// The sensors of a hardware monitor.
    fn monitor(&self, monitor: &str, name: &str) -> Vec<Sensor> {
        // Cores slow down at what their drivers call critical.
        let is_core = ["coretemp", "k10temp"].contains(&name);
        let inputs = self.entries(monitor, "temp").into_iter();
        let inputs = inputs.filter_map(|input| input.strip_suffix("_input").map(str::to_owned));
        let sensors = inputs.filter_map(|input| {
            let of = |what: &str| self.celsius(&format!("{input}_{what}")).filter(|celsius| *celsius > 0.0);
            let label = self.text(&format!("{input}_label")).unwrap_or_default();
            Some(Sensor {
                name: format!("{name} {label}").trim().to_owned(),
                celsius: self.celsius(&format!("{input}_input"))?,
                throttles_at: if is_core { of("crit") } else { of("max") },
                critical_at: of("crit").filter(|_| !is_core),
            })
        });
        sensors.collect()
    }

    /// Millidegrees of a file as degrees; what no silicon survives is no temperature.
    fn celsius(&self, path: &str) -> Option<f64> {
        let celsius = self.number::<i64>(path)? as f64 / 1e3;
        (-100.0..200.0).contains(&celsius).then_some(celsius)
    }

    /// What slows the machine down now; no fans and no displays.
    fn throttles(&self) -> Vec<String> {
        let devices = self.entries("sys/class/thermal", "cooling_device").into_iter();
        let mut active: Vec<String> = devices
            .filter(|device| self.number::<u64>(&format!("{device}/cur_state")).unwrap_or_default() > 0)
            .filter_map(|device| self.text(&format!("{device}/type")))
            .filter(|kind| {
                let kind = kind.to_lowercase();
                ["processor", "cpufreq", "devfreq", "throttle", "hot-surface"]
                    .iter()
                    .any(|word| kind.contains(word))
            })
            .collect();
        active.sort();
        active.dedup();
        active
    }

    fn throttle_count(&self) -> u64 {
        let cores = self.entries("sys/devices/system/cpu", "cpu").into_iter();
        let counts = cores.flat_map(|core| {
            ["core_throttle_count", "package_throttle_count"].map(|count| self.number::<u64>(&format!("{core}/thermal_throttle/{count}")))
        });
        counts.flatten().max().unwrap_or_default()
    }

    /// A Jetson counts how often its supply could not follow.
    fn overcurrent_count(&self, monitor: &str) -> u64 {
        let counts = self.entries(monitor, "oc").into_iter();
        let counts = counts.filter(|count| count.ends_with("_event_cnt"));
        counts.filter_map(|count| self.number::<u64>(&count)).sum()
    }

    /// How much the machine may give.
    pub fn power(&self) -> PowerFacts {
        let number = self.text("var/lib/nvpmodel/status").as_deref().and_then(texts::power_mode);
        let names = self.text("etc/nvpmodel.conf");
        let cores = |which: &str| texts::cores(&self.text(&format!("sys/devices/system/cpu/{which}"))?);
        let governor = |core: &String| self.text(&format!("{core}/cpufreq/scaling_governor"));
        PowerFacts {
            mode: number.map(|number| (number, names.as_deref().and_then(|names| texts::power_mode_name(names, number)))),
            is_jetson: self
                .text("proc/device-tree/compatible")
                .is_some_and(|compatible| compatible.contains("nvidia,tegra")),
            cores: cores("online").zip(cores("present")),
            governor: self.entries("sys/devices/system/cpu", "cpu").iter().find_map(governor),
        }
    }

    /// Memory that can be had, and all of it; bytes.
    pub fn memory_bytes(&self) -> (Option<u64>, Option<u64>) {
        let text = self.text("proc/meminfo").unwrap_or_default();
        (texts::meminfo_bytes(&text, "MemAvailable"), texts::meminfo_bytes(&text, "MemTotal"))
    }

    /// What is left of the last reset.
    pub fn reset(&self) -> ResetFacts {
        let platforms = ["sys/devices/platform", "sys/devices/platform/bus@0"];
        let devices = platforms.iter().flat_map(|platform| self.entries(platform, ""));
        let mut reasons = devices
            .filter(|device| Path::new(device).extension().is_some_and(|kind| kind == "pmc"))
            .filter_map(|device| self.text(&format!("{device}/reset_reason")));
        let watchdogs = self.entries("sys/class/watchdog", "watchdog").into_iter();
        let stores = ["sys/fs/pstore", "var/lib/systemd/pstore"].map(|store| self.names(store).ok().map(|names| names.len()));
        ResetFacts {
            reason: reasons.next(),
            watchdog_flags: watchdogs
                .filter_map(|watchdog| self.number(&format!("{watchdog}/bootstatus")))
                .collect(),
            crashes: stores.into_iter().flatten().reduce(|sum, count| sum + count),
        }
    }

    /// Video devices that the kernel knows.
    pub fn video_devices(&self) -> Vec<VideoDevice> {
        let devices = self.entries("sys/class/video4linux", "video").into_iter();
        let devices = devices.map(|device| {
            let node = format!("/dev/{}", device.rsplit('/').next().unwrap_or_default());
            VideoDevice {
                name: self.text(&format!("{device}/name")).unwrap_or_default(),
                // One camera may have several: the first gives pictures, the others what goes with them.
                index: self.number(&format!("{device}/index")).unwrap_or_default(),
                has_node: fs::metadata(self.at(node.trim_start_matches('/'))).is_ok_and(|node| node.file_type().is_char_device()),
                node,
            }
        });
        devices.collect()
    }

    /// What is mounted.
    pub fn mounts(&self) -> Vec<Mount> {
        texts::mounts(&self.text("proc/self/mountinfo").unwrap_or_default())
    }

    /// Connections, and sockets that listen.
    pub fn sockets(&self) -> Vec<Socket> {
        let tables = ["proc/net/tcp", "proc/net/tcp6"].iter().filter_map(|table| self.text(table));
        tables.flat_map(|table| texts::sockets(&table)).collect()
    }

    /// The process that holds a lock on a file; 0 where it is not visible from here.
    pub fn lock_holder(&self, file: &Path) -> Option<u32> {
        let metadata = fs::metadata(file).ok()?;
        let mounts = self.mounts();
        let place = file.canonicalize().ok()?;
        // These show another device to programs than to the kernel itself.
        let is_mapped = texts::mount_of(&mounts, &place).is_some_and(|mount| ["overlay", "btrfs"].contains(&mount.kind.as_str()));
        let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        let locks = self.text("proc/locks").unwrap_or_default();
        let holders = texts::lock_holders(&locks, metadata.ino(), (!is_mapped).then_some(device));
        holders.first().copied()
    }

    /// The program that a process runs, if this user may know; `/usr/bin/takt (deleted)` if it was replaced since.
    pub fn program_of(&self, process: u32) -> Option<PathBuf> {
        fs::read_link(self.at(&format!("proc/{process}/exe"))).ok()
    }

    /// The files that this process has mapped.
    pub fn mapped_files(&self, stem: &str) -> Vec<PathBuf> {
        texts::mapped_files(&self.text("proc/self/maps").unwrap_or_default(), stem)
    }

    /// A folder that the station writes to.
    ///
    /// # Errors
    /// When neither it nor any folder above can be looked at.
    pub fn folder(&self, path: &Path, role: &'static str) -> io::Result<FolderFacts> {
        let found = fs::metadata(path);
        let (exists, metadata) = match found {
            Ok(metadata) => (true, Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (false, None),
            Err(error) => return Err(error),
        };
        // Where it is not, it will be made in the nearest folder above that is.
        let place = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
        let place = place.canonicalize()?;
        let space = rustix::fs::statvfs(&place)?;
        let mounts = self.mounts();
        let mount = texts::mount_of(&mounts, &place);
        let read_only = space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) || mount.is_some_and(|mount| mount.is_read_only);
        Ok(FolderFacts {
            path: path.to_owned(),
            role,
            exists,
            is_something_else: metadata.as_ref().is_some_and(|metadata| !metadata.is_dir()),
            mode: metadata.map_or(0, |metadata| metadata.mode() & 0o7777),
            file_system: mount.map_or_else(|| "unknown file system".into(), |mount| mount.kind.clone()),
            source: mount.map_or_else(|| "unknown device".into(), |mount| mount.source.clone()),
            is_read_only: read_only,
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
            free_files: (space.f_files > 0).then_some(space.f_favail),
            ..FolderFacts::default()
        })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_matches(|sign: char| sign.is_whitespace() || sign == '\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;
    use crate::doctor::findings::machine;

    /// A machine as a text: `== PATH`, then the lines of that file.
    fn tree(text: &str) -> (tempfile::TempDir, SystemTree) {
        let folder = tempfile::tempdir().unwrap();
        for file in text.split("== ").skip(1) {
            let (path, content) = file.split_once('\n').unwrap();
            let path = folder.path().join(path.trim());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let tree = SystemTree::new(folder.path());
        (folder, tree)
    }

    #[test]
    fn a_jetson_orin_is_read() {
        let (_folder, tree) = tree(include_str!("../../tests/fixtures/doctor/jetson_orin.txt"));
        let machine = machine::machine(&tree.machine());
        assert!(
            machine.fact.starts_with("NVIDIA Jetson AGX Orin Developer Kit, ") && machine.fact.contains("kernel 5.15.148-tegra, up 26 h"),
            "{machine:#?}"
        );
        let heat = machine::temperature(&tree.heat());
        assert_eq!(heat.status, Status::Warning, "{heat:#?}");
        assert!(heat.fact.contains("tj-thermal 97 °C, limit 95 °C"), "{heat:#?}");
        assert!(
            heat.fact.contains("slowed down by cpu-throttle-alert") && heat.fact.contains("too weak 3 times"),
            "{heat:#?}"
        );
        let power = machine::power_mode(&tree.power());
        assert_eq!(
            (power.status, power.fact.as_str()),
            (Status::Ok, "MODE_30W (mode 2), 8 of 12 cores in use, governor schedutil")
        );
        let reset = machine::reset(&tree.reset());
        assert_eq!(
            (reset.status, reset.fact.as_str()),
            (Status::Warning, "reset by a watchdog (LCCPLEXWDT); reset by its watchdog")
        );
        let flash = tree.flash();
        assert_eq!(
            flash.iter().map(|flash| flash.device.as_str()).collect::<Vec<_>>(),
            ["mmcblk0", "nvme0n1"]
        );
        assert_eq!(
            machine::wear(&flash[0]).fact,
            "G1M15L, 10 to 20 % of its rated life used, reserve blocks normal"
        );
        assert_eq!(machine::wear(&flash[1]).status, Status::Unknown);
        let ptp = machine::ptp(&tree.ptp_clocks(), &tree.clock_setters());
        assert_eq!((ptp.status, ptp.fact.as_str()), (Status::Ok, "ptp0 (mgbe-ptp); ptp4l runs"));
        assert_eq!(tree.memory_bytes(), (Some(26_000_000 << 10), Some(31_318_216 << 10)));
        let cameras = tree.video_devices();
        assert_eq!(
            (cameras[0].node.as_str(), cameras[0].name.as_str()),
            ("/dev/video0", "vi-output, imx219 9-0010")
        );
    }

    #[test]
    fn an_industrial_pc_is_read() {
        let (_folder, tree) = tree(include_str!("../../tests/fixtures/doctor/x86_pc.txt"));
        let machine = machine::machine(&tree.machine());
        assert!(
            machine
                .fact
                .starts_with("Example Industrial BoxPC 42, x86_64, kernel 6.1.0-40-amd64"),
            "{machine:#?}"
        );
        let heat = machine::temperature(&tree.heat());
        // The disk is nearer to its limit than the cores are to theirs; a limit of 65261 degrees is none.
        assert_eq!(
            (heat.status, heat.fact.as_str()),
            (
                Status::Ok,
                "nvme Composite 62 °C, limit 80 °C; slowed down 12 times since the start"
            )
        );
        let power = machine::power_mode(&tree.power());
        assert_eq!(
            (power.status, power.fact.as_str()),
            (Status::Ok, "4 of 4 cores in use, governor powersave")
        );
        assert_eq!(machine::reset(&tree.reset()).status, Status::Ok);
        let ptp = machine::ptp(&tree.ptp_clocks(), &tree.clock_setters());
        assert_eq!(ptp.status, Status::Unknown);
        assert_eq!(tree.clock_setters(), ["chronyd"]);
        let sockets = tree.sockets();
        assert!(
            sockets.iter().any(|socket| socket.listens && socket.local.port() == 502),
            "{sockets:#?}"
        );
        let devices: Vec<(String, u32)> = tree.video_devices().into_iter().map(|device| (device.name, device.index)).collect();
        assert_eq!(devices, [("UVC Camera".to_owned(), 0), ("UVC Camera".to_owned(), 1)]);
    }

    #[test]
    fn a_machine_that_shows_nothing_is_no_failure() {
        let (_folder, tree) = tree("");
        for finding in [
            machine::machine(&tree.machine()),
            machine::temperature(&tree.heat()),
            machine::power_mode(&tree.power()),
            machine::memory(tree.memory_bytes().0, tree.memory_bytes().1),
            machine::reset(&tree.reset()),
            machine::ptp(&tree.ptp_clocks(), &tree.clock_setters()),
        ] {
            assert!(finding.status <= Status::Unknown, "{finding:#?}");
        }
        assert!(tree.flash().is_empty() && tree.video_devices().is_empty() && tree.sockets().is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_has_the_space_of_the_one_above() {
        let tree = SystemTree::new(Path::new("/"));
        let folder = tempfile::tempdir().unwrap();
        let facts = tree.folder(&folder.path().join("a/b"), "state_directory").unwrap();
        assert!(
            !facts.exists && facts.total_bytes > 0 && facts.file_system != "unknown file system",
            "{facts:#?}"
        );
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(tree.folder(&file, "state_directory").unwrap().is_something_else);
    }
}
