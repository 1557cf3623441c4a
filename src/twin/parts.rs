//! stub until merge
use std::path::PathBuf;
/// p
pub struct Picture;
impl Picture {
    /// x
    pub fn rgb(&self) -> (u32, u32, Vec<u8>) {
        (1, 1, vec![])
    }
}
/// s
#[derive(Default)]
pub struct RenderedSet;
impl RenderedSet {
    /// y
    pub fn pictures(&self) -> impl Iterator<Item = (PathBuf, Picture)> {
        std::iter::empty()
    }
}
