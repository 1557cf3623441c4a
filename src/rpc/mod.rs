//! gRPC: the contract (`proto/takt/v1`) as types, services and clients of it.

pub mod access;
pub mod convert;
pub mod historian_client;
pub mod proto;
