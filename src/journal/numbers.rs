//! Numbers that must never repeat, across restarts and power cuts: a small file in `state_directory`, written ahead in blocks.
//!
//! A start takes the next block, so numbers of the last one that were never given out are skipped. The file is TOML, replaced as a whole
//! (temporary file, fsync, rename, fsync of the folder).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable;

/// Version of the file's format.
pub const VERSION: u32 = 1;

/// Numbers in a block.
pub const BLOCK: u32 = 4096;

/// The file in `state_directory`.
pub const FILE_NAME: &str = "numbers.toml";

/// What is persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// Format version.
    pub version: u32,
    /// Epoch of the records: the Unix time in seconds at which this state was made.
    pub epoch: u64,
    /// Number of the last start, never 0.
    pub boot_id: u16,
    /// Every AcquisitionId given out is below.
    pub acquisition_below: u32,
    /// Every ResultId given out is below.
    pub result_below: u32,
    /// Every sequence given out is below.
    pub sequence_below: u64,
    /// The PLC's session that was in force.
    pub plc_session: u16,
    /// The counters, as of when this was written: total, ok, `not_ok`, `not_decidable`, missed, duplicate.
    pub counts: [u32; 6],
    /// How the counters stood when the PLC cleared them last: it sees what was counted since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub counts_base: [u32; 6],
}

/// Whether the counters were never cleared; then the file is one that any takt reads.
fn is_zero(counts: &[u32; 6]) -> bool {
    *counts == [0; 6]
}

/// Why the numbers cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum NumbersError {
    /// The file cannot be read or written.
    #[error("failed to keep {path}: {source}; check that state_directory is on a disk with space and may be written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file makes no sense.
    #[error("failed to read {path}: {reason}; restore it from a backup, or remove it: records then begin a new epoch")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later takt wrote it.
    #[error("failed to read {path}: its version is {version}, this takt knows {VERSION}; run the takt that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Numbers {
    /// The numbers of a state that is made now.
    fn first(epoch: u64) -> Self {
        Self {
            version: VERSION,
            epoch,
            boot_id: 0,
            acquisition_below: 1,
            result_below: 1,
            sequence_below: 1,
            plc_session: 0,
            counts: [0; 6],
            counts_base: [0; 6],
        }
    }

    /// Reads the numbers of the last life; first ones where there are none.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn read(folder: &Path, epoch: u64) -> Result<Self, NumbersError> {
        let path = folder.join(FILE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Self::first(epoch)),
            Err(source) => return Err(NumbersError::Io { path, source }),
        };
        let damaged = |error: toml::de::Error| NumbersError::Damaged {
            path: path.clone(),
            reason: error.message().to_owned(),
        };
        let table: toml::Table = toml::from_str(&text).map_err(damaged)?;
        match table
            .get("version")
            .and_then(toml::Value::as_integer)
            .and_then(|version| u32::try_from(version).ok())
        {
            Some(version) if version > VERSION => Err(NumbersError::Newer { path, version }),
            _ => toml::from_str(&text).map_err(damaged),
        }
    }

    /// The numbers of the next start: another BootId, and blocks that were never used.
    #[must_use]
    pub fn next_start(self) -> Self {
        let boot_id = self.boot_id.wrapping_add(1).max(1);
        Self { boot_id, ..self }.next_block()
    }

    /// The numbers with which a station begins another epoch at `unix_s`: part numbers begin again, those that a PLC remembers do not.
    #[must_use]
    pub fn in_new_epoch(self, unix_s: u64) -> Self {
        Self {
            epoch: unix_s.max(self.epoch + 1),
            sequence_below: 1,
            ..self
        }
    }

    /// With another block granted.
    #[must_use]
    pub fn next_block(self) -> Self {
        Self {
            acquisition_below: self.acquisition_below.wrapping_add(BLOCK).max(BLOCK),
            result_below: self.result_below.wrapping_add(BLOCK).max(BLOCK),
            sequence_below: self.sequence_below + u64::from(BLOCK),
            ..self
        }
    }

    /// Writes the numbers; when this returns they are on the disk.
    ///
    /// # Errors
    /// When the disk does not take them; what was there before is untouched then.
    pub fn write(&self, folder: &Path) -> Result<(), NumbersError> {
        let path = folder.join(FILE_NAME);
        let text = toml::to_string(self).map_err(io::Error::other);
        let written = text.and_then(|text| durable::write_whole(&path, text.as_bytes()));
        written.map_err(|source| NumbersError::Io {
            path: path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_never_uses_numbers_of_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let first = Numbers::read(folder.path(), 7).unwrap().next_start();
        first.write(folder.path()).unwrap();
        assert_eq!((first.boot_id, first.acquisition_below, first.epoch), (1, 1 + BLOCK, 7));
        let second = Numbers::read(folder.path(), 8).unwrap();
        assert_eq!(second, first);
        assert_eq!(
            (second.next_start().boot_id, second.next_start().sequence_below),
            (2, 1 + 2 * u64::from(BLOCK))
        );
        let last = Numbers {
            boot_id: u16::MAX,
            acquisition_below: u32::MAX,
            ..first
        };
        assert_eq!((last.next_start().boot_id, last.next_start().acquisition_below), (1, BLOCK));
    }

    #[test]
    fn a_damaged_or_later_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "version = 2\nsomething = 1\n").unwrap();
        assert!(
            Numbers::read(folder.path(), 7)
                .unwrap_err()
                .to_string()
                .contains("its version is 2, this takt knows 1")
        );
        fs::write(folder.path().join(FILE_NAME), "version = 1\nepoch =").unwrap();
        assert!(matches!(Numbers::read(folder.path(), 7), Err(NumbersError::Damaged { .. })));
    }
}
