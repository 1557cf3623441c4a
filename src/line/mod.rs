//! The line: every trigger, frame and finding goes in with its time; acknowledgements, verdicts and records come out. Pure.
//!
//! | file | what it holds |
//! |---|---|
//! | `image.rs` | what PLC and station say to each other, as two immutable images |
//! | `event.rs` | what happens to the line, what must happen next |
//! | `config.rs` | windows, deadlines, modes |
//! | `error_code.rs` | ErrorCode: numbers, words, remedies |

pub mod config;
pub mod error_code;
pub mod event;
pub mod image;
