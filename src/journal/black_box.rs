//! The black box: every part that was opened and every outcome, written before the PLC sees either. Survives kill -9 exactly as shown.
//!
//! A file of fixed size on tmpfs, mapped into memory and written with plain stores, so that the line never waits for a disk.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic `TAKTBBOX` |
//! | 8..12 | format version, [`VERSION`] |
//! | 12..16 | number of slots, [`SLOTS`] |
//! | 16..24 | epoch |
//! | 24..28 | CRC-32 of the bytes above |
//! | 32..40 | sequence below which every record has left the station |
//! | 40..44 | duplicates counted |
//! | 48..72, 72..76 | counters when the PLC cleared them last, CRC-32 of these; 0 where it never did |
//! | 4096.. | slots of [`SLOT_BYTES`] bytes; a part is in slot `sequence % SLOTS` |
//!
//! A slot has two halves, each with a CRC-32 of its own: *opened*, then *decided*. A kill between two stores can only lose the half that was
//! being written, and neither is visible to the PLC before it is whole. All numbers are little endian.
//!
//! At start a slot that is decided stands as it is, one that is only opened becomes `NotDecidable(restart)`.

#![allow(unsafe_code, reason = "mapping a file")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::MmapMut;
use rustix::fs::{FlockOperation, flock};

use crate::line::event::{Opened, Sequence};
use crate::line::history::{Fingerprint, UsedCycle};
use crate::line::image::Counts;
use crate::part::{CycleId, Nanos, Outcome, PartRecord, Reason, Severity, StageTimes, Verdict};

/// Version of the file's format.
pub const VERSION: u32 = 1;

/// Parts the black box holds: as many as the line remembers cycle IDs of.
pub const SLOTS: u64 = 65_536;

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 128;

const MAGIC: &[u8; 8] = b"TAKTBBOX";
const HEADER_BYTES: usize = 4096;
const FILE_BYTES: usize = HEADER_BYTES + SLOTS as usize * SLOT_BYTES;
const REPORTED_AT: usize = 32;
const DUPLICATES_AT: usize = 40;
const COUNTS_BASE_AT: usize = 48;
const COUNTS_BASE_BYTES: usize = 24;
const OPENED_BYTES: usize = 76;
const DECIDED_BYTES: usize = SLOT_BYTES - OPENED_BYTES;

/// Why there is no black box.
#[derive(Debug, thiserror::Error)]
pub enum BlackBoxError {
    /// The file cannot be made or mapped.
    #[error("failed to open black box {path}: {source}; check runtime_directory, it belongs on a tmpfs with 9 MiB to spare")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error("failed to open black box {path}: another station runs with this runtime_directory; stop it, or give this one its own")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a later takt.
    #[error(
        "failed to open black box {path}: its format version is {version}, this takt knows {VERSION}; \
         run the takt that wrote it once more, or remove the file and with it the outcomes of the parts in it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// What a black box holds of one part.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The part as it was opened.
    pub opened: Opened,
    /// Unix time of the trigger, nanoseconds.
    pub triggered_unix_ns: i64,
    /// Its outcome, if it had one.
    pub decided: Option<Decided>,
}

/// An outcome as a black box holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decided {
    /// The decision.
    pub outcome: Outcome,
    /// Number of the result shown, 0 if none was.
    pub result_id: u32,
    /// Time from the trigger to the image, microseconds.
    pub total_us: u32,
    /// Deadline after the trigger, microseconds.
    pub deadline_us: u32,
    /// What the counters stood at with this outcome.
    pub counts: Counts,
    /// Checksum of configuration, recipe and models.
    pub config_checksum: u32,
    /// Number of the defect as the recipe assigns it; 0 for none, and where a takt wrote it that did not keep it.
    pub defect_code: u16,
    /// How bad the worst defect is; `None` also where a takt wrote it that did not keep it.
    pub severity: Option<Severity>,
}

/// What an earlier life of the station left.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recovered {
    /// Parts, by sequence.
    pub parts: Vec<Kept>,
    /// Sequence below which every record had left the station.
    pub reported_below: u64,
    /// Duplicates counted.
    pub duplicates: u32,
    /// How the counters stood when the PLC cleared them last, if it ever did in this black box.
    pub counts_base: Option<Counts>,
    /// Whether there was none of this epoch, or it was damaged: the first start, or one after the machine was off.
    pub is_new: bool,
}

/// The black box, open for writing. One process at a time.
pub struct BlackBox {
    map: MmapMut,
    /// Keeps the lock.
    _file: File,
}

impl BlackBox {
    /// Opens the black box of an epoch and reads what is in it. A file of another epoch, or one that is damaged, is started anew.
    ///
    /// # Errors
    /// When the file cannot be used, another process has it, or a later takt wrote it.
    pub fn open(path: &Path, epoch: u64) -> Result<(Self, Recovered), BlackBoxError> {
        let io_error = |source: io::Error| BlackBoxError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io_error)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_error)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| BlackBoxError::InUse { path: path.to_owned() })?;
        let is_new = file.metadata().map_err(io_error)?.len() != FILE_BYTES as u64;
        if is_new {
            // Length first to nothing: what is left of a file of another size is no record.
            file.set_len(0).map_err(io_error)?;
            // Real pages now: on a full tmpfs a store into a hole would end the process.
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES as u64)
                .map_err(|error| io_error(error.into()))?;
        }
        // SAFETY: the file is locked against other stations and is not truncated while it is mapped; whoever changes it behind our back
        // changes bytes that are checked by CRC before they mean anything.
        let map = unsafe { MmapMut::map_mut(&file) }.map_err(io_error)?;
        let mut black_box = Self { map, _file: file };
        let header = black_box.header();
        if let Some((version, _)) = header.filter(|(version, _)| *version > VERSION) {
            return Err(BlackBoxError::Newer {
                path: path.to_owned(),
                version,
            });
        }
        let recovered = if header == Some((VERSION, epoch)) {
            black_box.read_all()
        } else {
            black_box.start_anew(epoch);
            Recovered {
                is_new: true,
                ..Recovered::default()
            }
        };
        Ok((black_box, recovered))
    }

    /// Keeps a part that is being opened. Call before its trigger is answered.
    pub fn write_opened(&mut self, opened: &Opened, triggered_unix_ns: i64) {
        let mut bytes = [0; OPENED_BYTES];
        let mut at = Cursor::new(&mut bytes);
        at.put(&opened.part.0.to_le_bytes());
        at.put(&triggered_unix_ns.to_le_bytes());
        at.put(&opened.cycle_id.map_or(0, CycleId::get).to_le_bytes());
        at.put(&opened.acquisition_id.to_le_bytes());
        at.put(&opened.encoder.to_le_bytes());
        at.put(&opened.serial);
        at.put(&opened.plc_session.to_le_bytes());
        at.put(&opened.boot_id.to_le_bytes());
        at.put(&opened.recipe.to_le_bytes());
        at.put(&opened.recipe_asked.to_le_bytes());
        let flags = u16::from(opened.test_part) | u16::from(opened.owns_id) << 1;
        at.put(&flags.to_le_bytes());
        self.store(slot_at(opened.part.0), sealed(bytes, 0));
    }

    /// Keeps an outcome. Call before it is shown. Late findings change no outcome and are not kept.
    pub fn write_decided(&mut self, record: &PartRecord, counts: &Counts) {
        if record.late_findings {
            return;
        }
        let mut bytes = [0; DECIDED_BYTES];
        let mut at = Cursor::new(&mut bytes);
        at.put(&record.verdict.code().to_le_bytes());
        at.put(&record.reason.map_or(0, Reason::code).to_le_bytes());
        at.put(&record.result_id.to_le_bytes());
        at.put(&u32::try_from(record.stages.total_us).unwrap_or(u32::MAX).to_le_bytes());
        let deadline_us = record.deadline_ns.since(record.triggered_ns).as_micros();
        at.put(&u32::try_from(deadline_us).unwrap_or(u32::MAX).to_le_bytes());
        for count in counts.to_array() {
            at.put(&count.to_le_bytes());
        }
        at.put(&record.config_checksum.to_le_bytes());
        at.put(&record.defect_code.to_le_bytes());
        at.put(&severity_code(record.severity).to_le_bytes());
        self.store(slot_at(record.sequence) + OPENED_BYTES, sealed(bytes, record.sequence));
    }

    /// Notes that every record below this sequence has left the station.
    pub fn write_reported_below(&mut self, sequence: u64) {
        self.store(REPORTED_AT, sequence.to_le_bytes());
    }

    /// Notes how many duplicates were counted.
    pub fn write_duplicates(&mut self, count: u32) {
        self.store(DUPLICATES_AT, count.to_le_bytes());
    }

    /// Notes how the counters stand as the PLC clears them.
    pub fn write_counts_base(&mut self, base: &Counts) {
        let mut bytes = [0; COUNTS_BASE_BYTES + 4];
        for (place, count) in bytes.chunks_exact_mut(4).zip(base.to_array()) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..COUNTS_BASE_BYTES]);
        bytes[COUNTS_BASE_BYTES..].copy_from_slice(&crc.to_le_bytes());
        self.store(COUNTS_BASE_AT, bytes);
    }

    /// How the counters stood when they were cleared last; `None` if that is not known here.
    fn counts_base(&self) -> Option<Counts> {
        let bytes = &self.map[COUNTS_BASE_AT..COUNTS_BASE_AT + COUNTS_BASE_BYTES];
        let is_whole = crc32fast::hash(bytes) == u32_at(&self.map, COUNTS_BASE_AT + COUNTS_BASE_BYTES);
        is_whole.then(|| Counts::from_array(std::array::from_fn(|at| u32_at(bytes, 4 * at))))
    }

    /// Stores whole bytes; what is stored earlier in the program is in memory earlier.
    fn store<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.map.get_mut(at..at + N) {
            place.copy_from_slice(&bytes);
        }
        compiler_fence(Ordering::Release);
    }

    /// Version and epoch, if the header is whole.
    fn header(&self) -> Option<(u32, u64)> {
        header_of(&self.map)
    }

    fn start_anew(&mut self, epoch: u64) {
        self.map.fill(0);
        self.map[8..12].copy_from_slice(&VERSION.to_le_bytes());
        self.map[12..16].copy_from_slice(&(SLOTS as u32).to_le_bytes());
        self.map[16..24].copy_from_slice(&epoch.to_le_bytes());
        self.map[..8].copy_from_slice(MAGIC);
        let crc = crc32fast::hash(&self.map[..24]);
        self.map[24..28].copy_from_slice(&crc.to_le_bytes());
    }

    fn read_all(&self) -> Recovered {
        let mut parts: Vec<Kept> = self.map[HEADER_BYTES..].chunks_exact(SLOT_BYTES).filter_map(read_slot).collect();
        parts.sort_by_key(|kept| kept.opened.part);
        Recovered {
            parts,
            reported_below: u64_at(&self.map, REPORTED_AT),
            duplicates: u32_at(&self.map, DUPLICATES_AT),
            counts_base: self.counts_base(),
            is_new: false,
        }
    }
}

/// How a black box stands, read beside whoever writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Its epoch.
    pub epoch: u64,
    /// Parts in it.
    pub parts: u64,
    /// Parts that were opened and not decided.
    pub open: u64,
    /// Parts that have not left the station, the open ones among them.
    pub unreported: u64,
    /// When the last part was triggered, Unix nanoseconds.
    pub last_unix_ns: Option<i64>,
}

/// Looks at a black box without taking or changing it; `None` if there is none, or none that is whole.
///
/// # Errors
/// When it cannot be read, or a later takt wrote it.
pub fn look(path: &Path) -> Result<Option<Glance>, BlackBoxError> {
    let io_error = |source: io::Error| BlackBoxError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_error)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let header = (bytes.len() >= HEADER_BYTES).then(|| header_of(&bytes)).flatten();
    let Some((version, epoch)) = header else { return Ok(None) };
    if version > VERSION {
        return Err(BlackBoxError::Newer {
            path: path.to_owned(),
            version,
        });
    }
    let reported_below = u64_at(&bytes, REPORTED_AT);
    let parts = || bytes[HEADER_BYTES..].chunks_exact(SLOT_BYTES).filter_map(read_slot);
    Ok(Some(Glance {
        epoch,
        parts: parts().count() as u64,
        open: parts().filter(|kept| kept.decided.is_none()).count() as u64,
        unreported: parts().filter(|kept| kept.opened.part.0 >= reported_below).count() as u64,
        last_unix_ns: parts().max_by_key(|kept| kept.opened.part).map(|kept| kept.triggered_unix_ns),
    }))
}

/// Version and epoch, if the header is whole. Needs its bytes to be there.
fn header_of(map: &[u8]) -> Option<(u32, u64)> {
    let whole = &map[..8] == MAGIC && crc32fast::hash(&map[..24]) == u32_at(map, 24);
    let fits = || u32_at(map, 8) != VERSION || u64::from(u32_at(map, 12)) == SLOTS;
    (whole && fits()).then(|| (u32_at(map, 8), u64_at(map, 16)))
}

fn slot_at(sequence: u64) -> usize {
    HEADER_BYTES + (sequence % SLOTS) as usize * SLOT_BYTES
}

/// The bytes with their CRC-32 in the last four. The key binds the second half of a slot to the first.
fn sealed<const N: usize>(mut bytes: [u8; N], key: u64) -> [u8; N] {
    let crc = crc_of(&bytes[..N - 4], key);
    bytes[N - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn crc_of(bytes: &[u8], key: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn is_whole(bytes: &[u8], key: u64) -> bool {
    let (bytes, crc) = bytes.split_at(bytes.len() - 4);
    crc_of(bytes, key) == u32_at(crc, 0)
}

fn read_slot(slot: &[u8]) -> Option<Kept> {
    let (first, second) = slot.split_at(OPENED_BYTES);
    let sequence = u64_at(first, 0);
    if sequence == 0 || !is_whole(first, 0) {
        return None;
    }
    let mut serial = [0; 32];
    serial.copy_from_slice(&first[28..60]);
    Some(Kept {
        opened: Opened {
            part: Sequence(sequence),
            cycle_id: CycleId::new(u32_at(first, 16)),
            acquisition_id: u32_at(first, 20),
            encoder: u32_at(first, 24),
            serial,
            plc_session: u16_at(first, 60),
            boot_id: u16_at(first, 62),
            recipe: u16_at(first, 64),
            recipe_asked: u16_at(first, 66),
            tags: Vec::new(),
            test_part: u16_at(first, 68) & 1 != 0,
            owns_id: u16_at(first, 68) & 2 != 0,
            triggered_at: Nanos::default(),
            config_checksum: 0,
        },
        triggered_unix_ns: u64_at(first, 8) as i64,
        decided: read_decided(second, sequence),
    })
}

fn read_decided(bytes: &[u8], sequence: u64) -> Option<Decided> {
    let verdict = Verdict::from_code(u16_at(bytes, 0)).filter(|_| is_whole(bytes, sequence))?;
    let count = |index: usize| u32_at(bytes, 16 + 4 * index);
    Some(Decided {
        outcome: Outcome {
            verdict,
            reason: Reason::from_code(u16_at(bytes, 2)),
        },
        result_id: u32_at(bytes, 4),
        total_us: u32_at(bytes, 8),
        deadline_us: u32_at(bytes, 12),
        counts: Counts::from_array(std::array::from_fn(count)),
        config_checksum: u32_at(bytes, 40),
        defect_code: u16_at(bytes, 44),
        severity: severity_of(u16_at(bytes, 46)),
    })
}

/// Bytes that were zero before severities were kept: none.
fn severity_code(severity: Option<Severity>) -> u16 {
    match severity {
        None => 0,
        Some(Severity::Minor) => 1,
        Some(Severity::Major) => 2,
        Some(Severity::Critical) => 3,
    }
}

/// What is not known is the worst.
fn severity_of(code: u16) -> Option<Severity> {
    match code {
        0 => None,
        1 => Some(Severity::Minor),
        2 => Some(Severity::Major),
        _ => Some(Severity::Critical),
    }
}

impl Kept {
    /// The outcome that stands after a restart.
    pub fn outcome(&self) -> Outcome {
        self.decided
            .map_or(Outcome::not_decidable(Reason::Restart), |decided| decided.outcome)
    }

    /// The record of the part, as far as it is known after a restart. Monotonic times of before mean nothing now: they start at the trigger.
    pub fn record(&self, station: &str, epoch: u64) -> PartRecord {
        let opened = &self.opened;
        let outcome = self.outcome();
        let micros = |of: fn(&Decided) -> u32| Nanos(self.decided.as_ref().map_or(0, |decided| u64::from(of(decided)) * 1000));
        PartRecord {
            station: station.into(),
            epoch,
            sequence: opened.part.0,
            cycle_id: opened.cycle_id,
            plc_session: opened.plc_session,
            boot_id: opened.boot_id,
            acquisition_id: opened.acquisition_id,
            result_id: self.decided.map_or(0, |decided| decided.result_id),
            encoder: opened.encoder,
            serial: opened.serial_text(),
            recipe: opened.recipe,
            config_checksum: self.decided.map_or(0, |decided| decided.config_checksum),
            verdict: outcome.verdict,
            reason: outcome.reason,
            defect_code: self.decided.map_or(0, |decided| decided.defect_code),
            severity: self.decided.and_then(|decided| decided.severity),
            measured: None,
            test_part: opened.test_part,
            recovered: true,
            late_findings: false,
            triggered_unix_ns: self.triggered_unix_ns,
            triggered_ns: Nanos::default(),
            deadline_ns: micros(|decided| decided.deadline_us),
            shown_ns: micros(|decided| decided.total_us),
            stages: StageTimes {
                total_us: self.decided.map_or(0, |decided| u64::from(decided.total_us)),
                ..StageTimes::default()
            },
            views: Vec::new(),
            tags: Vec::new(),
            delivery: None,
        }
    }

    /// What the line remembers of the part's cycle ID; `None` if it had none of its own.
    pub fn used_cycle(&self) -> Option<UsedCycle> {
        let opened = &self.opened;
        let skipped =
            matches!(self.outcome().reason, Some(Reason::NeverSeen | Reason::Restart | Reason::PowerLoss)) && opened.acquisition_id == 0;
        Some(UsedCycle {
            plc_session: opened.plc_session,
            cycle_id: opened.cycle_id.filter(|_| opened.owns_id)?,
            fingerprint: if skipped {
                Fingerprint::never_seen()
            } else {
                Fingerprint::new(opened.encoder, &opened.serial, opened.recipe_asked)
            },
            acquisition_id: opened.acquisition_id,
        })
    }
}

/// Writes fields one after the other.
struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        array.copy_from_slice(found);
    }
    array
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Recovered {
        Recovered {
            is_new: true,
            ..Recovered::default()
        }
    }

    fn opened(sequence: u64) -> Opened {
        Opened {
            part: Sequence(sequence),
            cycle_id: CycleId::new(sequence as u32 % 1000 + 1),
            plc_session: 3,
            boot_id: 7,
            acquisition_id: 11,
            encoder: u32::MAX,
            serial: *b"SN-0123456789-0123456789-0123456",
            recipe: 2,
            recipe_asked: 0,
            tags: Vec::new(),
            test_part: sequence.is_multiple_of(2),
            owns_id: true,
            triggered_at: Nanos::default(),
            config_checksum: 0,
        }
    }

    fn decided(sequence: u64, outcome: Outcome) -> PartRecord {
        let kept = Kept {
            opened: opened(sequence),
            triggered_unix_ns: 5,
            decided: None,
        };
        PartRecord {
            verdict: outcome.verdict,
            reason: outcome.reason,
            result_id: 9,
            ..kept.record("a", 1)
        }
    }

    fn counts(total: u32) -> Counts {
        Counts {
            total,
            ..Counts::default()
        }
    }

    #[test]
    fn what_was_written_is_read_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("black_box");
        let (mut black_box, recovered) = BlackBox::open(&path, 1).unwrap();
        assert_eq!(recovered, nothing());
        for sequence in [1, 2, SLOTS + 2] {
            black_box.write_opened(&opened(sequence), 5);
        }
        black_box.write_decided(&decided(1, Outcome::OK), &counts(1));
        black_box.write_reported_below(2);
        black_box.write_duplicates(4);
        assert!(matches!(BlackBox::open(&path, 1), Err(BlackBoxError::InUse { .. })));
        drop(black_box);

        let (_, recovered) = BlackBox::open(&path, 1).unwrap();
        let outcomes: Vec<(u64, Outcome)> = recovered.parts.iter().map(|kept| (kept.opened.part.0, kept.outcome())).collect();
        assert_eq!(outcomes, [(1, Outcome::OK), (SLOTS + 2, Outcome::not_decidable(Reason::Restart))]);
        assert_eq!((recovered.reported_below, recovered.duplicates), (2, 4));
        assert_eq!(recovered.parts[0].opened, opened(1));
        let expected = Decided {
            outcome: Outcome::OK,
            result_id: 9,
            total_us: 0,
            deadline_us: 0,
            counts: counts(1),
            config_checksum: 0,
            defect_code: 0,
            severity: None,
        };
        assert_eq!(recovered.parts[0].decided, Some(expected));
    }

    #[test]
    fn severity_and_defect_outlive_a_kill_and_a_slot_of_before_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("black_box");
        let (mut black_box, _) = BlackBox::open(&path, 1).unwrap();
        let severities = [None, Some(Severity::Minor), Some(Severity::Major), Some(Severity::Critical)];
        for (sequence, severity) in (1..).zip(severities) {
            black_box.write_opened(&opened(sequence), 5);
            let record = PartRecord {
                severity,
                defect_code: 1700 + sequence as u16,
                ..decided(sequence, Outcome::OK)
            };
            black_box.write_decided(&record, &counts(1));
        }
        // As takt wrote slots before: zeros where severity and defect are now.
        let of_before = slot_at(1) + OPENED_BYTES;
        let mut half: [u8; DECIDED_BYTES] = array(&black_box.map, of_before);
        half[44..48].fill(0);
        black_box.store(of_before, sealed(half, 1));
        drop(black_box);
        let (_, recovered) = BlackBox::open(&path, 1).unwrap();
        let records: Vec<_> = recovered.parts.iter().map(|kept| kept.record("a", 1)).collect();
        assert!(records.iter().all(|record| record.recovered && record.views.is_empty()));
        let kept: Vec<_> = records.iter().map(|record| (record.severity, record.defect_code)).collect();
        let expected: Vec<_> = severities.into_iter().zip([0, 1702, 1703, 1704]).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn an_outcome_of_the_lap_before_is_not_taken_for_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("black_box");
        let (mut black_box, _) = BlackBox::open(&path, 1).unwrap();
        black_box.write_opened(&opened(5), 5);
        black_box.write_decided(&decided(5, Outcome::OK), &counts(1));
        black_box.write_opened(&opened(5 + SLOTS), 5);
        drop(black_box);
        let (_, recovered) = BlackBox::open(&path, 1).unwrap();
        assert_eq!(recovered.parts.len(), 1);
        assert_eq!(recovered.parts[0].decided, None);
    }

    #[test]
    fn a_store_that_was_cut_off_loses_only_its_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("black_box");
        let write = |black_box: &mut BlackBox| {
            black_box.write_opened(&opened(1), 5);
            black_box.write_decided(&decided(1, Outcome::OK), &counts(1));
        };
        for cut in 0..SLOT_BYTES {
            let (mut black_box, _) = BlackBox::open(&path, cut as u64 + 1).unwrap();
            write(&mut black_box);
            // As if the process had been killed before this byte and those after it were stored.
            let at = slot_at(1);
            black_box.map[at + cut..at + SLOT_BYTES].fill(0);
            drop(black_box);
            let (_, recovered) = BlackBox::open(&path, cut as u64 + 1).unwrap();
            let verdicts: Vec<Option<Outcome>> = recovered
                .parts
                .iter()
                .map(|kept| kept.decided.map(|decided| decided.outcome))
                .collect();
            let expected = if cut < OPENED_BYTES { vec![] } else { vec![None] };
            assert_eq!(verdicts, expected, "cut at {cut}");
        }
    }

    #[test]
    fn another_epoch_starts_anew_and_a_later_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("black_box");
        let (mut black_box, _) = BlackBox::open(&path, 1).unwrap();
        black_box.write_opened(&opened(1), 5);
        drop(black_box);
        let (mut black_box, recovered) = BlackBox::open(&path, 2).unwrap();
        assert_eq!(recovered, nothing());
        black_box.map[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let crc = crc32fast::hash(&black_box.map[..24]);
        black_box.map[24..28].copy_from_slice(&crc.to_le_bytes());
        drop(black_box);
        assert!(matches!(BlackBox::open(&path, 2), Err(BlackBoxError::Newer { version: 2, .. })));
    }

    #[test]
    fn noise_is_no_record_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("black_box");
        let mut noise: Vec<u8> = (0..FILE_BYTES)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8)
            .collect();
        std::fs::write(&path, &noise).unwrap();
        assert_eq!(BlackBox::open(&path, 1).unwrap().1, nothing());
        noise.truncate(100);
        std::fs::write(&path, &noise).unwrap();
        assert_eq!(BlackBox::open(&path, 1).unwrap().1, nothing());
    }
}
