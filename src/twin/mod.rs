//! Rendered parts.
pub mod parts;
