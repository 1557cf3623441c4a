//! Virtual commissioning: the handshake of a station, played through sequence by sequence over the real wire, with everything that a PLC, a
//! network and a machine do wrong; what a controls engineer wants to see before power-on.
//!
//! | file | what it holds |
//! |---|---|
//! | `step.rs` | what a sequence consists of: writes, expectations with their times; pure |
//! | `sequences/` | the list; pure |
//! | `judge.rs` | whether an image is what was expected, and whether it passes a part that it must not; pure |
//! | `outcome.rs` | what a run comes to; pure |
//! | `junit.rs`, `page.rs` | the same as JUnit XML and as an HTML page; pure |
//! | `driver.rs` | the PLC that plays the list |
//! | `link.rs` | its wire, Modbus TCP: it asks the station, or is asked |
//! | `plant.rs` | the twin's cameras, and the station as a child |
//! | `run.rs` | all of it against a real station |
//! | `tests/` | each step fails when the behaviour is broken that it checks |

mod driver;
pub mod judge;
mod junit;
mod link;
pub mod outcome;
mod page;
mod plant;
mod run;
pub mod sequences;
pub mod step;
#[cfg(test)]
mod tests;

pub use junit::junit;
pub use page::page;
pub use run::{Audience, CommissionError, Place, run};
