//! What makes a damaged journal survivable: sequences are reserved ahead in a file of their own, so that none is given out twice even if
//! the database cannot say which was the last; and what is damaged is moved away, not thrown away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::database::{Damage, JournalError};
use super::durable;
use super::tables::FILE_NAME;
use crate::flow::unix_now_ns;

/// The file in the journal's folder.
pub(super) const SEQUENCES_FILE: &str = "sequences.toml";

/// Folder of evidence in the journal's folder.
pub(super) const EVIDENCE: &str = "evidence";

/// Damaged journals that are kept; the oldest goes when there is another.
pub(super) const SET_ASIDE_MAX: usize = 2;

/// Sequences reserved at a time.
const BLOCK: u64 = 65_536;

/// Version of the file's format.
const VERSION: u32 = 1;

/// Every sequence that was given out in an epoch is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reserved {
    version: u32,
    epoch: u64,
    pub(super) below: u64,
}

impl Reserved {
    /// What was reserved in an epoch; nothing in a new one.
    ///
    /// # Errors
    /// When the file is there but cannot be read. One that makes no sense is as none: it only matters once the database is damaged too.
    pub(super) fn read(folder: &Path, epoch: u64) -> Result<Self, JournalError> {
        let none = Self {
            version: VERSION,
            epoch,
            below: 1,
        };
        let path = folder.join(SEQUENCES_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(none),
            Err(source) => return Err(JournalError::Io { path, source }),
        };
        match toml::from_str::<Self>(&text) {
            Ok(reserved) if reserved.version > VERSION => Err(JournalError::Newer {
                path,
                version: reserved.version,
            }),
            Ok(reserved) if reserved.epoch == epoch => Ok(reserved),
            Ok(_) => Ok(none),
            Err(error) => {
                tracing::error!(file = %path.display(), error = error.message(), "the reserved sequences cannot be read; they are reserved anew");
                Ok(none)
            }
        }
    }

    /// Makes sure that every sequence below `sequence` is reserved.
    ///
    /// # Errors
    /// When the disk does not take it; nothing more is reserved then.
    pub(super) fn reach(&mut self, folder: &Path, epoch: u64, sequence: u64) -> Result<(), JournalError> {
        if self.epoch == epoch && sequence <= self.below {
            return Ok(());
        }
        let next = Self {
            version: VERSION,
            epoch,
            below: sequence + BLOCK,
        };
        let path = folder.join(SEQUENCES_FILE);
        let text = toml::to_string(&next).map_err(io::Error::other);
        let written = text.and_then(|text| durable::write_whole(&path, text.as_bytes()));
        written.map_err(|source| JournalError::Io {
            path: path.clone(),
            source,
        })?;
        *self = next;
        Ok(())
    }

    /// The sequences that may be lost if the database says that this one is next: its chain is new though sequences were reserved, or it
    /// is too far behind them.
    pub(super) fn went_back(&self, next_sequence: u64, is_new: bool) -> Option<(u64, u64)> {
        // A block is reserved when the one before is used up, and a batch before it is committed.
        let least = self.below.saturating_sub(2 * BLOCK);
        let is_behind = next_sequence < least || (is_new && self.below > 1);
        is_behind.then(|| (next_sequence, self.below - 1))
    }
}

/// Moves the database and its evidence into a folder of their own.
///
/// # Errors
/// When the disk does not take it.
pub(super) fn move_away(folder: &Path, what: &str) -> Result<Damage, JournalError> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(unix_now_ns())).unwrap_or_default();
    let name = format!("damaged-{}", time.strftime("%Y%m%dT%H%M%S%6fZ"));
    let aside = folder.join(name);
    let act = || -> io::Result<()> {
        durable::make_folder(&aside)?;
        for name in [FILE_NAME, "journal.sqlite-wal", "journal.sqlite-shm", EVIDENCE] {
            match fs::rename(folder.join(name), aside.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        durable::sync_folder(&aside)?;
        durable::sync_folder(folder)
    };
    act().map_err(|source| JournalError::Io {
        path: aside.clone(),
        source,
    })?;
    forget_oldest(folder);
    Ok(Damage {
        what: what.to_owned(),
        set_aside: Some(aside),
        lost: None,
    })
}

/// The damaged journals in a folder, oldest first.
pub(super) fn all(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-"))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn forget_oldest(folder: &Path) {
    let all = all(folder);
    for path in all.iter().take(all.len().saturating_sub(SET_ASIDE_MAX)) {
        tracing::error!(folder = %path.display(), "a damaged journal is removed: there are {SET_ASIDE_MAX} later ones");
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::error!(folder = %path.display(), %error, "failed to remove a damaged journal; remove it by hand");
        }
    }
}
