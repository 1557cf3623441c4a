//! What people and their tools get to know: log lines and metrics. Each event writes both together.
//!
//! | file | what it holds |
//! |---|---|
//! | `metrics.rs` | counters, gauges and histograms, named `takt_<noun>_<unit>` |
//! | `line_events.rs` | what happened at the line, as log lines and counts |
//! | `endpoint.rs` | `/metrics` and `/health` over HTTP |

pub mod endpoint;
mod line_events;
mod metrics;

pub use line_events::LineEvents;
pub use metrics::Metrics;
