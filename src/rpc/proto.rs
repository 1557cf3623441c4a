//! The messages and services of `proto/takt/v1`, generated. What they mean is written there.

#![allow(missing_docs, unreachable_pub, clippy::large_enum_variant, clippy::pedantic, reason = "generated")]

tonic::include_proto!("takt.v1");

/// Describes the services to whoever asks by reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/takt.v1.bin"));
