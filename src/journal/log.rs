//! The port to a station's committed records: for the forwarder, the line controller's stream and queries.

use std::ops::RangeInclusive;

use tokio::sync::watch;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the journal: {0}")]
pub struct LogError(pub String);

/// Records of the epoch in force, as committed: gapless but for what a `Lost` record names. Calls block on the disk.
pub trait RecordLog: Send + Sync {
    /// Name of the station.
    fn station(&self) -> &str;

    /// The epoch in force.
    fn epoch(&self) -> u64;

    /// The sequence that the next record will have; changes with every commit.
    fn written_below(&self) -> watch::Receiver<u64>;

    /// Records from `first` on, with their sequences, until `last` or more than `bytes_max` bytes; at least one if there is any.
    ///
    /// # Errors
    /// When the disk does not give them.
    fn read(&self, first: u64, last: u64, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, LogError>;

    /// SHA-256 of a record; `None` if there is none.
    ///
    /// # Errors
    /// When the disk does not give it.
    fn hash_of(&self, sequence: u64) -> Result<Option<[u8; 32]>, LogError>;

    /// The lowest sequence that the historian has not acknowledged.
    ///
    /// # Errors
    /// When the disk does not give it.
    fn acknowledged_below(&self) -> Result<u64, LogError>;

    /// Notes what the historian holds. Noting it late, or again, does no harm.
    ///
    /// # Errors
    /// When the disk does not take it.
    fn acknowledge(&self, ranges: &[RangeInclusive<u64>]) -> Result<(), LogError>;

    /// Evidence that the historian does not have yet and whose record it has, oldest first, at most `count`.
    ///
    /// # Errors
    /// When the disk does not give it.
    fn images_to_send(&self, count: usize) -> Result<Vec<ImageFile>, LogError>;

    /// Notes that the historian has an image, or that it is not to be sent (it is gone, or damaged).
    ///
    /// # Errors
    /// When the disk does not take it.
    fn image_sent(&self, sequence: u64, camera: &str) -> Result<(), LogError>;
}

/// An evidence image of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Sequence of the record.
    pub sequence: u64,
    /// Name of the camera.
    pub camera: String,
    /// The file.
    pub path: std::path::PathBuf,
    /// Media type.
    pub media_type: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Pixels per row, and rows.
    pub size_px: (u32, u32),
}
