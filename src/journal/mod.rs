//! What the station keeps of its parts.
//!
//! | file | what it keeps | survives |
//! |---|---|---|
//! | `black_box.rs` | every part that was opened and every outcome, before either is shown | kill -9, not a power cut |
//! | `log.rs` | the port through which committed records are read and their acknowledgement is noted | |
//! | `record_table.rs` | records in SQLite, here and in the historian | a power cut |
//! | `numbers.rs` | numbers that must never repeat: starts, acquisitions, results, sequences | a power cut |

pub mod black_box;
pub mod log;
pub mod numbers;
pub mod record_table;
