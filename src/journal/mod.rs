//! What the station keeps of its parts.
//!
//! | file | what it keeps | survives |
//! |---|---|---|
//! | `black_box.rs` | every part that was opened and every outcome, before either is shown | kill -9, not a power cut |
//! | `record_table.rs` | records in SQLite, here and in the historian | a power cut |
//! | `numbers.rs` | numbers that must never repeat: starts, acquisitions, results, sequences | a power cut |

pub mod black_box;
pub mod numbers;
pub mod record_table;
