//! gRPC: the contract (`proto/takt/v1`) as types, services and clients of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `proto.rs` | messages and services, generated |
//! | `certificate.rs` | what a certificate says: whose it is, what it may be used for, how long |
//! | `access.rs` | who may do what, by the client's certificate |
//! | `tls.rs` | certificates and keys from files; which addresses need them |
//! | `pki.rs` | a certificate authority for plants without one |
//! | `station_service.rs` | a station, served to line controllers |

pub mod access;
pub mod certificate;
pub mod convert;
pub mod historian_client;
pub mod pki;
pub mod proto;
pub mod station_service;
pub mod tls;
