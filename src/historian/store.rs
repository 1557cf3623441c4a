//! The port: what a historian's store keeps and tells. An adapter is a database; [`super::sqlite`] is the embedded one.

use std::fmt;
use std::future::Future;

use super::held::Held;
use super::ingest::Refusal;
use super::queries::{Found, Page, QueryError};
use crate::journal::record_table::Stored;
use crate::rpc::proto;

/// A station's chain of records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainKey {
    /// Name of the station.
    pub station: String,
    /// Its epoch, below 2^63.
    pub epoch: u64,
}

impl fmt::Display for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "station {}, epoch {}", self.station, self.epoch)
    }
}

/// Records of one chain that follow each other; [`super::ingest::read_batch`] makes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The chain.
    pub chain: ChainKey,
    /// Never empty; each links to the one before.
    pub records: Vec<Stored>,
}

/// Why the store did not do what it was asked for. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The records do not fit what is held.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many gaps.
    #[error("failed to store records of {chain}: it would be held in more than {max} pieces; send what is missing in between first")]
    Scattered {
        /// The chain.
        chain: ChainKey,
        /// Most pieces.
        max: usize,
    },
    /// No space is left.
    #[error("failed to write the historian's store {store}: the disk is full; make space, nothing is lost: stations keep their records")]
    Full {
        /// The store.
        store: String,
    },
    /// It cannot be read or written.
    #[error("failed to use the historian's store {store}: {reason}; stations keep their records until it works again")]
    Unavailable {
        /// The store.
        store: String,
        /// What it says.
        reason: String,
    },
    /// Too many questions are waiting.
    #[error("failed to ask the historian's store: {waiting} questions are waiting already; ask again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The question makes no sense.
    #[error("{0}")]
    Question(String),
}

impl StoreError {
    /// What a query says, of a store.
    pub fn of_query(error: QueryError, store: &str) -> Self {
        match error {
            QueryError::Invalid(reason) => Self::Question(reason),
            QueryError::Database(reason) => Self::Unavailable {
                store: store.into(),
                reason,
            },
        }
    }
}

/// What a store keeps and tells. Every answer is of what is on the disk.
pub trait Store: Send + Sync + 'static {
    /// Stores the records that are not held yet, with the ranges held and the counts: all of it or nothing, durably.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Which records of a chain are held, or known to be lost.
    fn held(&self, chain: &ChainKey) -> impl Future<Output = Result<Held, StoreError>> + Send;

    /// SHA-256 of a record; `None` if it is not held.
    fn hash_of(&self, key: &proto::RecordKey) -> impl Future<Output = Result<Option<[u8; 32]>, StoreError>> + Send;

    /// Notes that the file of an image is in place.
    fn note_image(&self, image: proto::ImageDescription) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The images of a record, by camera.
    fn images(&self, key: &proto::RecordKey) -> impl Future<Output = Result<Vec<proto::ImageDescription>, StoreError>> + Send;

    /// The chains, by station and epoch, and what is held of them.
    fn stations(&self) -> impl Future<Output = Result<Vec<proto::StationSummary>, StoreError>> + Send;

    /// A page of records.
    fn query_records(&self, request: proto::QueryRecordsRequest) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// A record and those that say more about the same part.
    fn record(&self, key: proto::RecordKey) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send;

    /// Counts by a dimension.
    fn pareto(&self, request: proto::ParetoRequest) -> impl Future<Output = Result<proto::ParetoResponse, StoreError>> + Send;

    /// Counts over time.
    fn yield_steps(&self, request: proto::YieldRequest) -> impl Future<Output = Result<proto::YieldResponse, StoreError>> + Send;
}
