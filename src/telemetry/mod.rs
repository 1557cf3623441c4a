//! What people and their tools get to know: log lines and metrics. Each event writes both together.
//!
//! | file | what it holds |
//! |---|---|
//! | `metrics.rs` | counters, gauges and histograms, named `takt_<noun>_<unit>` |
//! | `polled_plc.rs` | what is measured of a PLC that the station polls |
//! | `line_events.rs` | what happened at the line, as log lines and counts |
//! | `endpoint.rs` | `/metrics` and `/health` over HTTP |
//! | `log.rs` | where log lines go, and which: standard error, or the system's journal with a field for each value |
//! | `journald.rs` | adapter to the system's journal (journald) |
//! | `systemd.rs` | adapter to the service manager: ready, well, stopping |

pub mod endpoint;
mod journald;
mod line_events;
pub mod log;
mod metrics;
mod polled_plc;
pub mod systemd;

pub use line_events::LineEvents;
pub use metrics::Metrics;
