//! gRPC: the contract (`proto/takt/v1`) as types, services and clients of it.

pub mod access;
pub mod forwarder;
#[cfg(test)]
mod forwarding;
pub mod historian_service;
pub mod proto;
