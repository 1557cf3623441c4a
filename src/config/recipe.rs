//! Recipes of `station.toml`: what is inspected on which product.

use std::path::PathBuf;

use crate::line::event::CameraIndex;
use crate::recipe::Rules;

/// What is inspected on one product.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeConfig {
    /// The number by which the PLC asks for it, not 0, unlike any other's.
    pub number: u16,
    /// Revision of the product or of the recipe, for people and records; empty where it has none.
    pub revision: String,
    /// Its name, for people.
    pub name: String,
    /// The inspections, at least one.
    pub inspections: Vec<InspectionConfig>,
}

/// One look at one view of the part.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectionConfig {
    /// Its name, unlike any other's of the recipe.
    pub name: String,
    /// The camera it looks through.
    pub camera: CameraIndex,
    /// Folder of the model package. Absolute.
    pub model: PathBuf,
    /// What finds the part in the frame, by its place in the configuration; `None`: the part lies where it lay when the recipe was made.
    pub locator: Option<usize>,
    /// Where it looks, and what rejects a part.
    pub rules: Rules,
}
