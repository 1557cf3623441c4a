//! gRPC: the contract (`proto/takt/v1`) as types, services and clients of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `proto.rs` | messages and services, generated |
//! | `certificate.rs` | what a certificate says: whose it is, what it may be used for, how long |
//! | `access.rs` | who may do what, by the client's certificate |
//! | `tls.rs` | certificates and keys from files; which addresses need them |
//! | `connections.rs` | connections as a server takes them |
//! | `pki.rs` | a certificate authority for plants without one |
//! | `results_feed.rs` | outcomes on their way to line controllers |
//! | `station_service.rs` | a station, served to line controllers |

pub mod access;
pub mod certificate;
pub mod connections;
pub mod convert;
pub mod historian_client;
pub mod pki;
pub mod proto;
pub mod results_feed;
pub mod station_service;
pub mod tls;
