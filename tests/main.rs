//! The integration tests: one binary, so one link step, whatever their number.
//!
//! | file | what it proves |
//! |---|---|
//! | `architecture.rs` | the house rules of `src/`: what is pure, where SDKs live |
//! | `licences.rs` | every dependency may be shipped |
//! | `teach.rs` | teach, inspect and evaluate through the command line |
//! | `parity.rs` | the emitted graph answers as the reference scorer does |
//! | `bad_input.rs` | what cannot be used is refused, by name and with a remedy |
//! | `commands.rs` | what a PLC commands of a real station, and serial numbers given beforehand |
//! | `config.rs` | configuration files are read as their version says; `validate` tells what is wrong |
//! | `doctor.rs` | what is wrong with a box is found, said, and nothing disturbed by it |
//! | `quantise.rs` | packages that compute with bytes judge as those at full precision do |
//! | `providers.rs` | providers in order: what stands in is told, what is required is not replaced |
//! | `package.rs` | the Debian package: what is in it, what its scripts take away, and which systems the program runs on |
//! | `evaluate.rs` | how good models are, of every kind: figures worked out by hand, the page, data sets that cannot be used |
//! | `engine.rs` | a missing or wrong runtime library is said |
//! | `capture.rs` | cameras through GStreamer, shared memory and folders; what is killed comes back |
//! | `models.rs` | models of a station that runs: signed, exchanged between two parts, refused, and back |
//! | `modbus.rs` | the station as Modbus server, and what is sent to it that should not be |
//! | `line_controller.rs` | line controllers that speak gRPC, ours and a foreign one: cycles in, results out, whatever happens to the connection |
//! | `security.rs` | who is let in over TLS, what those are told who are not, and what OpenSSL and Python say of the certificates |
//! | `foreign.rs` | a PLC program of another make gets its parts judged |
//! | `gate.rs` | a gate of the station's own over the PLC's registers |
//! | `plc_code.rs`, `plc_window.rs` | the register map, and the generated PLC programs run against a station |
//! | `plc_dialects.rs` | what is printed for Siemens and Rockwell does what is printed for IEC 61131-3 |
//! | `structured_text.rs` | a controller that runs structured text as it is written |
//! | `contract.rs`, `contract_registers.rs`, `contract_peers.rs`, `contract_controller.rs` | the sequences of the PLC interface on every wire, with the station as a process |
//! | `polled.rs` | a PLC that is the Modbus server: a foreign one with restarts and dropped links, and one that refuses, lags and lies |
//! | `station.rs` | the station as a process: what it shows, records, survives and refuses |
//! | `service.rs` | the station as a service: ready, well, read again, stood in for; its units |
//! | `recipes.rs` | several recipes, cameras and inspections: the right ones judge, and what is not known passes nothing |
//! | `record.rs` | the record, from a station that is killed to a historian behind a network that is cut |
//! | `power_loss.rs` | what a power cut leaves, and what is told of the rest |
//! | `twin.rs` | a virtual line around a real station: what goes wrong on purpose breaks no promise |
//! | `commission.rs` | virtual commissioning: a real station passes the whole list, and a foreign program reads the report |
//! | `yocto.rs` | the Yocto layer is what its tools accept, and what of its image runs anywhere does what it says |
//! | `v4l2_bindings.rs` | the declarations of V4L2 are those of the C compiler |
//! | `cabinet.rs` | a controller with the generated program, in front of a station |
//! | `cell.rs`, `played_line.rs`, `parts.rs`, `program.rs`, `skip.rs` | a station and a line to test, the parts that are drawn, the program that is run, the checks that cannot be made here |

// clippy.toml allows these in test functions; what they call is no less a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod bad_input;
mod cabinet;
mod capture;
mod cell;
mod commands;
mod commission;
mod config;
mod contract;
mod contract_controller;
mod contract_peers;
mod contract_registers;
mod doctor;
mod engine;
mod evaluate;
mod foreign;
mod gate;
mod held;
mod import;
mod licences;
mod line_controller;
mod located;
mod modbus;
mod model_changes;
mod models;
mod package;
mod parity;
mod parts;
mod played_line;
mod plc_code;
mod plc_dialects;
mod plc_window;
mod polled;
mod power_loss;
mod program;
mod providers;
mod quantise;
mod recipes;
mod record;
mod security;
mod service;
mod skip;
mod station;
mod structured_text;
mod teach;
mod twin;
mod v4l2_bindings;
mod yocto;
