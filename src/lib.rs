//! takt: edge vision inspection in takt time.

pub mod cli;
pub mod model;
pub mod part;
pub mod recipe;
pub mod report;
pub mod teach;
pub mod twin;
pub mod vision;
