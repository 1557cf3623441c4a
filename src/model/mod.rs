//! Model packages: folders that hold a model, what is known about it, and the images that prove it works.
//!
//! ```text
//! NAME/
//!   model.toml    the manifest: input, outputs, thresholds, provenance, hashes; sealed by its own hash
//!   model.onnx    the model
//!   model.toml.sig  who vouches for it: a signature over the manifest, where somebody signed it
//!   golden/       images with the scores and verdicts the model must give on the provider that runs it
//! ```

pub mod activation;
pub mod golden;
pub mod import;
pub mod manifest;
pub mod onnx;
pub mod package;
pub mod quantise;
pub mod registry;
pub mod signature;
