//! Configuration files become types that cannot hold a nonsense station or line.
//!
//! ```text
//! bytes ── reader: at most 1 MiB, UTF-8, TOML ──> tables with places ── each table by itself ──> its type ── all together ──> config
//!                                                       └───────────────┴── every error with its place ──┴──> ConfigErrors
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `reader.rs` | a TOML file as tables that remember where everything stands and collect what is wrong |
//! | `security.rs` | how servers and clients are secured |
//! | `models.rs` | which packages a station trusts |
//! | `value.rs` | what a single value may be: numbers in a range, times, names, addresses, paths |
//! | `station.rs` | a station, and what follows from its configuration |
//! | `station_file.rs` | `station.toml`, table by table |
//! | `plc_file.rs`, `camera_file.rs` | of it: how station and PLC speak; where frames come from |
//! | `locator.rs` | what finds parts in frames |
//! | `recipe.rs`, `recipe_file.rs` | its recipes: their types, their tables |
//! | `consistency.rs` | what must fit together between the tables of a station |
//! | `gate_file.rs`, `gate_timing.rs` | `[reject]`, `[[gate]]`, `[alarms]`; whether a gate of the station's own tells parts apart, in time |
//! | `changes.rs` | what differs between two configurations, and what of it takes a restart; pure |
//! | `timing.rs` | whether a verdict is at the gate before its part, and how fast parts may come; pure |
//! | `twin.rs` | `line.toml`: the virtual line around a station |
//!
//! Reading a file is all that happens here: nothing is opened, connected or created. A file is refused with everything that is wrong with it,
//! never with the first error only, and an unknown key is wrong.

mod camera_file;
pub mod changes;
mod consistency;
pub mod gate_file;
pub mod gate_timing;
pub mod historian;
pub mod locator;
pub mod models;
mod plc_file;
mod reader;
pub mod recipe;
mod recipe_file;
mod record_file;
mod security;
pub mod station;
mod station_file;
pub mod timing;
pub mod twin;
mod value;

pub use reader::ConfigErrors;
pub use station::StationConfig;
pub use twin::TwinConfig;

/// Version of `station.toml` and `line.toml` that this takt reads.
pub const CONFIG_VERSION: u64 = 1;
