//! Power cuts: the station is killed at a moment drawn by chance, its black box is gone, and on the disk is what it had synced. What its PLC was
//! shown is recorded all the same, or is told to be lost.
//!
//! `TAKT_POWER_CUTS=N` makes N cuts instead of a few, and `TAKT_SEED=N` draws other moments.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use takt::line::image::control;

use crate::cell::Cell;
use crate::program::{run, takt};
use crate::record::records_of;
use crate::station::Plc;

/// What is on the disk after a power cut besides what was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsynced {
    /// Nothing.
    Gone,
    /// Some of it: a coin is thrown for each page and each name.
    Torn,
}

/// What a kernel writes at a time, bytes.
const PAGE: usize = 4096;

/// Scans of a PLC in which parts are shown and recorded.
const LONG: u32 = 400;

/// Time of a scan. A PLC that polls without pause takes the processor that the station needs.
const SCAN: Duration = Duration::from_millis(2);

/// A file or a folder, whatever its names: as `power_loss/synced.c` calls it.
type Identity = String;

#[derive(Debug, Clone)]
enum Object {
    File(Vec<u8>),
    Folder(BTreeMap<String, Identity>),
}

/// A folder of which is known what a power cut leaves in it.
struct Disk {
    root: PathBuf,
    copies: PathBuf,
    preload: PathBuf,
    _folders: [tempfile::TempDir; 2],
}

impl Disk {
    fn new(root: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let preload = folder.path().join("synced.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_loss/synced.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&preload).arg(source);
        assert!(compiler.status().unwrap().success());
        fs::create_dir_all(&root).unwrap();
        // In memory where that can be: a disk that is busy with the copies would stall the station as no disk of its own does.
        let memory = Path::new("/dev/shm");
        let copied = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
        .unwrap();
        let copies = copied.path().join("copies");
        fs::create_dir(&copies).unwrap();
        Self {
            root,
            copies,
            preload,
            _folders: [folder, copied],
        }
    }

    /// For the program that writes here.
    fn environment(&self) -> [(&'static str, &OsStr); 3] {
        [
            ("LD_PRELOAD", self.preload.as_os_str()),
            ("SYNCED_ROOT", self.root.as_os_str()),
            ("SYNCED_COPY", self.copies.as_os_str()),
        ]
    }

    /// Leaves what a power cut leaves. Nobody may be writing any more.
    fn cut(&self, unsynced: Unsynced, chance: &mut ChaCha8Rng) {
        let mut written = HashMap::new();
        let root = look(&self.root, &mut written);
        let synced = self.synced();
        let left = self.root.with_extension("left");
        let mut cut = Cut {
            written,
            synced,
            unsynced,
            chance,
        };
        cut.restore(&root, &left);
        fs::remove_dir_all(&self.root).unwrap();
        fs::remove_dir_all(&self.copies).unwrap();
        fs::rename(&left, &self.root).unwrap();
        // The next life begins with just this on the disk.
        fs::create_dir(&self.copies).unwrap();
        let mut found = HashMap::new();
        look(&self.root, &mut found);
        for (identity, object) in found {
            let bytes = match object {
                Object::File(bytes) => bytes,
                Object::Folder(names) => {
                    let lines: Vec<String> = names.iter().map(|(name, who)| format!("{who} {name}\n")).collect();
                    lines.concat().into()
                }
            };
            fs::write(self.copies.join(identity), bytes).unwrap();
        }
    }

    fn synced(&self) -> HashMap<Identity, Object> {
        let copy = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.unwrap();
            let identity = entry.file_name().into_string().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            let object = if identity.starts_with('d') {
                let lines = String::from_utf8(bytes).unwrap();
                let names = lines.lines().map(|line| line.split_once(' ').unwrap());
                Object::Folder(names.map(|(who, name)| (name.into(), who.into())).collect())
            } else {
                Object::File(bytes)
            };
            (identity, object)
        };
        // Those that begin with a dot were being made.
        fs::read_dir(&self.copies)
            .unwrap()
            .map(copy)
            .filter(|(identity, _)| !identity.starts_with('.'))
            .collect()
    }
}

/// Reads everything below a place. Returns what it is.
fn look(place: &Path, found: &mut HashMap<Identity, Object>) -> Identity {
    let status = place.symlink_metadata().unwrap();
    let born = status.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let kind = if status.is_dir() { 'd' } else { 'f' };
    let identity = format!("{kind}{}-{}.{:09}", status.st_ino(), born.as_secs(), born.subsec_nanos());
    let object = if status.is_dir() {
        let names = fs::read_dir(place).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), look(&entry.path(), found))
        });
        Object::Folder(names.collect())
    } else {
        Object::File(fs::read(place).unwrap())
    };
    found.insert(identity.clone(), object);
    identity
}

/// A power cut while it happens.
struct Cut<'a> {
    written: HashMap<Identity, Object>,
    synced: HashMap<Identity, Object>,
    unsynced: Unsynced,
    chance: &'a mut ChaCha8Rng,
}

impl Cut<'_> {
    fn restore(&mut self, identity: &str, target: &Path) {
        let (written, synced) = (self.written.get(identity).cloned(), self.synced.get(identity).cloned());
        if identity.starts_with('d') {
            let names = |object| match object {
                Some(Object::Folder(names)) => names,
                _ => BTreeMap::new(),
            };
            fs::create_dir(target).unwrap();
            for (name, identity) in self.names(&names(synced), &names(written)) {
                self.restore(&identity, &target.join(name));
            }
        } else {
            let bytes = |object| match object {
                Some(Object::File(bytes)) => bytes,
                _ => Vec::new(),
            };
            fs::write(target, self.pages(bytes(synced), &bytes(written))).unwrap();
        }
    }

    fn is_there(&mut self) -> bool {
        self.unsynced == Unsynced::Torn && self.chance.random()
    }

    fn names(&mut self, synced: &BTreeMap<String, Identity>, written: &BTreeMap<String, Identity>) -> BTreeMap<String, Identity> {
        let mut names = synced.clone();
        for name in synced.keys().chain(written.keys()) {
            if synced.get(name) != written.get(name) && self.is_there() {
                match written.get(name) {
                    Some(identity) => names.insert(name.clone(), identity.clone()),
                    None => names.remove(name),
                };
            }
        }
        names
    }

    fn pages(&mut self, mut left: Vec<u8>, written: &[u8]) -> Vec<u8> {
        if left != written && self.is_there() {
            // Its length is a write of its own; what was not written is zeros.
            left.resize(written.len(), 0);
        }
        for (left, written) in left.chunks_mut(PAGE).zip(written.chunks(PAGE)) {
            if left.len() <= written.len() && left != &written[..left.len()] && self.is_there() {
                left.copy_from_slice(&written[..left.len()]);
            }
        }
        left
    }
}

/// A PLC that gives parts, remembers what it was shown of each and when, and knows nothing of power cuts.
struct Line {
    cycle_id: u32,
    plc_session: u16,
    shown: BTreeMap<u32, (String, Instant)>,
}

impl Line {
    /// Runs parts for as many scans as are given.
    fn run(&mut self, cell: &Cell, scans: u32) {
        let mut plc = Plc::connect(cell);
        if self.plc_session != 0 {
            plc.image.plc_session = self.plc_session;
        }
        self.plc_session = plc.image.plc_session;
        let mut is_given = false;
        let mut plc = plc.ready();
        for _ in 0..scans {
            std::thread::sleep(SCAN);
            plc.write();
            let image = plc.shown();
            if is_given && image.trigger_ack && image.echo_trigger_id == self.cycle_id {
                plc.image.control &= !control::TRIGGER;
            }
            if is_given && image.result_valid && image.echo_cycle_id == self.cycle_id {
                let verdict = image.verdict.unwrap().name().into();
                self.shown.insert(self.cycle_id, (verdict, Instant::now()));
                is_given = false;
            }
            if !is_given && image.trigger_ready && !image.trigger_ack {
                self.cycle_id += 1;
                plc.image.cycle_id = self.cycle_id;
                plc.image.cycle_id_tail = self.cycle_id;
                plc.write();
                plc.image.control |= control::TRIGGER;
                is_given = true;
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn after_a_power_cut_the_journal_is_whole_and_what_it_lost_is_told() {
    let (cuts, seed) = (number("TAKT_POWER_CUTS", 8), number("TAKT_SEED", 1));
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let cell = Cell::new(&[]);
    let disk = Disk::new(cell.path().join("state"));
    let journal = cell.path().join("state/journal");
    let mut line = Line {
        cycle_id: 0,
        plc_session: 0,
        shown: BTreeMap::new(),
    };
    // When the power went, and what the PLC had been told by then.
    let mut went = Vec::new();
    for cut in 0..cuts {
        let station = cell.start_with(&disk.environment());
        // The first life is long enough for a record: before one, nobody can know what a cut took.
        line.run(&cell, if cut == 0 { LONG } else { chance.random_range(1..LONG) });
        went.push((line.cycle_id, Instant::now()));
        station.kill();
        fs::remove_dir_all(cell.path().join("run")).unwrap();
        disk.cut(if cut % 2 == 0 { Unsynced::Gone } else { Unsynced::Torn }, &mut chance);
        let verified = run(takt("journal").arg("verify").arg(&journal));
        assert_eq!(verified.code, Some(0), "cut {cut} of seed {seed}: {verified:#?}");
    }
    let station = cell.start_with(&disk.environment());
    line.run(&cell, LONG);
    let (code, _, log) = station.stop();
    assert_eq!(code, Some(0), "{log}");

    let mut recorded: BTreeMap<u32, Vec<(String, String)>> = BTreeMap::new();
    for record in records_of(&["--journal", journal.to_str().unwrap()], &[]) {
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let cycle_id = record["cycle_id"].as_u64().unwrap() as u32;
        recorded.entry(cycle_id).or_default().push((text("verdict"), text("reason")));
    }
    // The last may have been triggered when the scans ended.
    let given: Vec<u32> = (1..line.cycle_id).collect();
    let told: Vec<u32> = recorded.keys().copied().filter(|cycle_id| *cycle_id < line.cycle_id).collect();
    assert_eq!(told, given, "every cycle is recorded");
    let (mut lost, mut oldest_ms) = (0, 0.0_f64);
    for (cycle_id, records) in &recorded {
        let [(verdict, reason)] = &records[..] else {
            panic!("cycle {cycle_id} is recorded as {records:?}");
        };
        let Some((shown, at)) = line.shown.get(cycle_id) else { continue };
        if reason == "power_loss" {
            let (_, end) = went.iter().find(|(last, _)| cycle_id <= last).unwrap();
            lost += 1;
            oldest_ms = oldest_ms.max(end.duration_since(*at).as_secs_f64() * 1e3);
        } else {
            assert_eq!(verdict, shown, "cycle {cycle_id} of seed {seed}");
        }
    }
    println!(
        "{cuts} power cuts, seed {seed}: {} parts shown, {lost} of them lost, the oldest {oldest_ms:.1} ms old",
        line.shown.len()
    );
}
