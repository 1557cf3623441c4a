//! takt: edge vision inspection in takt time.

pub mod capture;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod evaluate;
pub mod flow;
pub mod gate;
pub mod historian;
pub mod journal;
pub mod line;
pub mod model;
pub mod part;
pub mod plc;
pub mod recipe;
pub mod report;
pub mod rpc;
pub mod station;
pub mod teach;
pub mod telemetry;
pub mod twin;
pub mod vision;
