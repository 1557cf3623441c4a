//! The central historian: the records of many stations, for years.
//!
//! ```text
//! stations ── rpc/historian_service.rs ── ingest: is it the same chain, do the links hold ── store: one transaction ──> records, held, rollups
//!        └──── images: temporary file, hash, fsync, rename ── store: its row
//! people  ──── rpc/historian_service.rs ── store: pages, counts ── queries
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `store.rs` | the port: what a historian's store keeps and tells |
//! | `sqlite.rs` | adapter to SQLite, embedded: one thread writes, a few connections read |
//! | `held.rs` | which sequences of a chain are held; pure |
//! | `ingest.rs` | what a station may deliver; pure |
//! | `rollups.rs` | what newly stored records add to the counts by hour; pure |
//! | `images.rs` | evidence images as files below a folder |
//! | `queries.rs` | questions to records in SQLite |
//!
//! An acknowledgement says that the records, the ranges held and the counts are on the disk, in one transaction. Receiving a record again does
//! no harm; receiving another one under the same number is refused, and so is a record that does not follow its neighbours.

#[cfg(test)]
pub(crate) mod chains;
#[cfg(test)]
pub(crate) mod contract;
pub mod held;
pub mod images;
pub mod ingest;
pub mod queries;
pub mod rollups;
pub mod sqlite;
pub mod store;
