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
//! | `line_controller.rs` | a line controller, as takt plays one |
//! | `models.rs` | the models of a station, listed and exchanged |
//! | `station_client.rs` | a station, asked |
//! | `convert.rs` | what the station knows becomes what is recorded and sent; pure |
//! | `forwarder.rs` | the station's records on their way to the historian |
//! | `historian_service.rs` | the historian, served to stations and to people |
//! | `health.rs` | whether a server is well, asked as any client may |
//! | `historian_client.rs` | the historian, asked |

pub mod access;
pub mod certificate;
pub mod connections;
pub mod convert;
pub mod forwarder;
#[cfg(test)]
mod forwarding;
pub mod health;
pub mod historian_client;
pub mod historian_service;
pub mod line_controller;
pub mod models;
pub mod pki;
pub mod proto;
pub mod results_feed;
pub mod station_client;
pub mod station_service;
pub mod tls;
