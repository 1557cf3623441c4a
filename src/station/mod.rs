//! The station: cameras, engines, line and PLC put together. Decides nothing about parts.
//!
//! ```text
//! capture (streaming threads) --frames--+
//! engines (worker threads) --findings---+--> line thread --jobs--> engines
//! plc (runtime of its own) --writes-----+      |  black box, then image (ArcSwap) --> plc
//!                                              +--records--> reporter (standard output)
//! ```
//!
//! The line thread never waits for anybody: towards it channels block (it never stands still), away from it they drop and count.
//!
//! | file | what it does |
//! |---|---|
//! | `build.rs`, `error.rs` | configuration becomes a running station; why it cannot |
//! | `outside.rs` | what it has around it: cameras, PLC, line controllers, historian |
//! | `threads.rs` | threads that the supervisor hears of when they panic |
//! | `life.rs` | a station that runs, and is taken down |
//! | `configuration.rs` | the configuration in force, and how one that was read again reaches the station |
//! | `line_thread.rs` | drives the line: clock in, black box, image, jobs and records out |
//! | `engines.rs` | worker threads that own the models |
//! | `gate_thread.rs` | the station's own gate: edges in, tracker, outputs |
//! | `models.rs` | which models are in force, and by which a part is judged |
//! | `model_desk.rs` | where other models are asked for |
//! | `model_loader.rs` | other models while the station runs: proven beside, exchanged between two parts |
//! | `located.rs`, `part_finder.rs` | inspections whose region goes with the part; parts found once per frame |
//! | `reporter.rs` | what a station prints |
//! | `departures.rs` | which parts have left: printed and recorded |
//! | `undelivered.rs` | records whose results are on their way to a PLC that the station writes to |
//! | `forwarding.rs` | the thread on which records go to the historian |
//! | `recording.rs` | records on their way to the journal, and what becomes of them there |
//! | `recovery.rs` | what an earlier life left |
//! | `probe.rs` | whether a verdict could get through: probes that cross every stage; pure |
//! | `watchdog.rs` | tells the service manager so, or does not |
//! | `stand_in.rs` | what answers the PLC while the station is down |
//! | `memory.rs` | memory is kept from part to part |
//! | `supervisor.rs` | restarts what failed, stops in order, names who would not stop |

pub mod build;
pub mod commands;
pub mod configuration;
pub mod departures;
pub mod engines;
pub mod error;
pub mod forwarding;
pub mod gate_thread;
pub mod life;
pub mod line_thread;
pub mod located;
pub mod memory;
pub mod model_desk;
pub mod model_loader;
pub mod models;
mod outside;
pub mod part_finder;
pub mod probe;
pub mod recording;
pub mod recovery;
pub mod reporter;
pub mod stand_in;
pub mod supervisor;
pub mod threads;
pub mod undelivered;
pub mod watchdog;
