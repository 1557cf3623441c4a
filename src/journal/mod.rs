//! What the station keeps of its parts.
//!
//! | file | what it keeps | survives |
//! |---|---|---|
//! | `black_box.rs` | every part that was opened and every outcome, before either is shown | kill -9, not a power cut |
//! | `database.rs`, `tables.rs` | records and the chain that binds them: the one writer of the file, and its tables | a power cut |
//! | `reader.rs` | reading beside the writer; what the historian holds | |
//! | `model_changes.rs` | which models were asked for, and what came of it | |
//! | `record_bounds.rs` | how large a record may be | |
//! | `set_aside.rs` | sequences reserved ahead; what becomes of a damaged file | a power cut |
//! | `writer.rs` | the thread that commits records in batches | |
//! | `evidence.rs` | images: which, and how they become files | a power cut, but for the last ones |
//! | `retention.rs` | what goes when space runs short | |
//! | `condition.rs` | how it all stands, read without changing it | |
//! | `verify.rs` | proof that everything is as it was recorded | |
//! | `log.rs` | the port through which committed records are read and their acknowledgement is noted | |
//! | `record_table.rs` | records in SQLite, here and in the historian | a power cut |
//! | `durable.rs` | files and folders that are on the disk when a call returns, here and in the historian | |
//! | `numbers.rs` | numbers that must never repeat: starts, acquisitions, results, sequences | a power cut |

pub mod black_box;
pub mod condition;
pub mod database;
pub mod durable;
pub mod evidence;
pub mod log;
pub mod model_changes;
pub mod numbers;
mod reader;
pub mod record_bounds;
pub mod record_table;
pub mod retention;
mod set_aside;
mod tables;
pub mod verify;
pub mod writer;
