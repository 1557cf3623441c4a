//! What the PLC commands and takes time: proving the models again, and keeping pictures of good parts to teach from.
//!
//! One thread does it, beside the line. It never holds the line up: what it has no time for is let go, and counted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::line_thread::LineInput;
use super::located;
use super::models::ModelSet;
use crate::capture::Frame;
use crate::config::locator::LocatorConfig;
use crate::config::recipe::{InspectionConfig, RecipeConfig};
use crate::config::station::StationConfig;
use crate::flow::{self, Receiver, Sender, WhenFull, bounded};
use crate::line::commands::Command;
use crate::line::event::CameraIndex;
use crate::model::package::Package;
use crate::recipe::pose::Whereabouts;
use crate::vision::encode::encode_png;
use crate::vision::locator::Locator;
use crate::vision::preprocess::Preprocessor;
use crate::vision::providers::ProviderOrder;

/// Orders that wait: commands, of which there is one at a time, and parts to learn from. Beyond that a part is not kept.
const WAITING_MAX: usize = 4;

/// Pictures of an inspection that are kept between two commands: more teach nothing new, and fill the disk.
pub const PICTURES_MAX: usize = 2000;

/// The folder below `state_directory`.
pub const FOLDER: &str = "teach";

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// A command, with the models in force.
    Execute(Command, Arc<ModelSet>),
    /// A part that is good, because the PLC says so.
    Learn(GoodPart),
}

/// What the cameras showed of a part to learn from.
#[derive(Debug)]
pub struct GoodPart {
    /// Number of its record.
    pub sequence: u64,
    /// Number of its recipe.
    pub recipe: u16,
    /// By camera.
    pub frames: Vec<(CameraIndex, Frame)>,
}

/// Where orders are given.
pub type Orders = Sender<Order>;

/// The channel of orders.
pub fn orders() -> (Orders, Receiver<Order>) {
    bounded("commands", WAITING_MAX, WhenFull::DropNewest)
}

/// Why a picture is not kept.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error("its region does not lie in the frame, or the part was not found: {0}")]
    Region(String),
    #[error("the frame cannot become a picture: {0}")]
    Picture(String),
    #[error("failed to write {path}: {source}; check that the disk has space and may be written")]
    Write { path: PathBuf, source: io::Error },
}

/// Carries orders out.
pub struct Commands {
    inspections: Vec<(u16, InspectionConfig)>,
    locators: Vec<LocatorConfig>,
    order: ProviderOrder,
    folder: PathBuf,
    line: Sender<LineInput>,
    lesson: Option<Lesson>,
}

/// Pictures that are being kept.
struct Lesson {
    folder: PathBuf,
    /// By inspection.
    kept: Vec<usize>,
    locators: Vec<Option<Locator>>,
}

impl Commands {
    /// For this station; it answers the line.
    pub fn new(config: &StationConfig, line: Sender<LineInput>) -> Self {
        let of = |recipe: &RecipeConfig| {
            let number = recipe.number;
            recipe
                .inspections
                .iter()
                .map(move |inspection| (number, inspection.clone()))
                .collect::<Vec<_>>()
        };
        Self {
            inspections: config.recipes.iter().flat_map(of).collect(),
            locators: config.locators.clone(),
            order: config.engine.order,
            folder: config.state_directory.join(FOLDER),
            line,
            lesson: None,
        }
    }

    /// Works until nobody is left to give orders.
    pub fn run(mut self, orders: &Receiver<Order>) {
        while let Some(order) = orders.receive() {
            let (command, succeeded) = match order {
                Order::Learn(part) => {
                    self.learn(&part);
                    continue;
                }
                Order::Execute(command, models) => (command, self.execute(command, &models)),
            };
            if self.line.send(LineInput::CommandFinished(command, succeeded)).is_err() {
                return;
            }
        }
    }

    fn execute(&mut self, command: Command, models: &ModelSet) -> bool {
        match command {
            Command::TestRun => test_run(models, self.order),
            Command::StartTeach => self.start_lesson(),
            Command::StopTeach => self.stop_lesson(),
            // The line does these itself.
            Command::ClearCounters | Command::ClearResults => true,
        }
    }

    fn start_lesson(&mut self) -> bool {
        let folder = self.folder.join(format!("{}", flow::unix_now_ns() / 1_000_000_000));
        let made = fs::create_dir_all(&folder)
            .map_err(|error| error.to_string())
            .and_then(|()| self.load_locators());
        match made {
            Ok(locators) => {
                tracing::info!(folder = %folder.display(), "pictures of good parts are kept from now on; no part is passed");
                let kept = vec![0; self.inspections.len()];
                self.lesson = Some(Lesson { folder, kept, locators });
                true
            }
            Err(error) => {
                tracing::error!(folder = %folder.display(), error, "failed to start teaching; check state_directory and the locators");
                false
            }
        }
    }

    fn load_locators(&self) -> Result<Vec<Option<Locator>>, String> {
        let load = |(_, inspection): &(u16, InspectionConfig)| {
            let config = inspection.locator.and_then(|locator| self.locators.get(locator));
            config.map(located::load).transpose().map_err(|error| error.to_string())
        };
        self.inspections.iter().map(load).collect()
    }

    /// A lesson of which nothing was kept has taught nothing.
    fn stop_lesson(&mut self) -> bool {
        let Some(lesson) = self.lesson.take() else { return false };
        let pictures: usize = lesson.kept.iter().sum();
        let folder = lesson.folder.display();
        tracing::info!(%folder, pictures, "teaching ended; run takt teach --good FOLDER/RECIPE-INSPECTION --out PACKAGE");
        pictures > 0
    }

    fn learn(&mut self, part: &GoodPart) {
        let Some(lesson) = &mut self.lesson else { return };
        for (index, (recipe, inspection)) in self.inspections.iter().enumerate() {
            let frame = part.frames.iter().find(|(camera, _)| *camera == inspection.camera);
            let Some((_, frame)) = frame.filter(|_| *recipe == part.recipe && lesson.kept[index] < PICTURES_MAX) else {
                continue;
            };
            let folder = lesson.folder.join(format!("{recipe}-{}", inspection.name));
            match keep(&folder, part.sequence, frame, inspection, lesson.locators[index].as_ref()) {
                Ok(()) => lesson.kept[index] += 1,
                Err(error) => {
                    tracing::warn!(inspection = inspection.name, part = part.sequence, %error, "a good part is not kept to teach from");
                }
            }
            if lesson.kept[index] == PICTURES_MAX {
                tracing::warn!(
                    inspection = inspection.name,
                    PICTURES_MAX,
                    "enough good parts: no more pictures are kept"
                );
            }
        }
    }
}

/// Whether every package in force, as it is on the disk now, gives its golden scores on the provider that runs here.
fn test_run(models: &ModelSet, order: ProviderOrder) -> bool {
    let mut proven: Vec<&Path> = Vec::new();
    for model in &models.models {
        let path = model.path.as_path();
        if proven.contains(&path) {
            continue;
        }
        let outcome = Package::open(path).map_err(|error| error.to_string());
        if let Err(error) = outcome.and_then(|package| package.activate(order).map_err(|error| error.to_string())) {
            tracing::error!(package = %path.display(), error, "test run: the model is not what was proven");
            return false;
        }
        proven.push(path);
    }
    tracing::info!(packages = proven.len(), "test run: every model gives its golden scores");
    true
}

/// Keeps what an inspection looks at, pixel by pixel.
fn keep(folder: &Path, sequence: u64, frame: &Frame, inspection: &InspectionConfig, locator: Option<&Locator>) -> Result<(), NotKept> {
    let drawn = inspection
        .rules
        .placed((frame.width, frame.height), Whereabouts::AsDrawn)
        .map_err(|reason| NotKept::Region(reason.text().to_owned()))?;
    let crop = drawn.area.crop;
    let upright = locator
        .map(|locator| located::upright(frame, crop, located::locate(locator, frame)?))
        .transpose();
    let upright = upright.map_err(|why| NotKept::Region(why.to_string()))?;
    let (frame, region) = upright.as_ref().map_or((frame, Some(crop)), |upright| (&upright.frame, None));
    let (width, height) = region.map_or((frame.width, frame.height), |region| (region.width, region.height));
    let mut preprocessor = Preprocessor::new(width, height);
    let pixels = preprocessor
        .resize_frame(frame, region)
        .map_err(|error| NotKept::Picture(error.to_string()))?;
    let png = encode_png(width, height, pixels).map_err(|error| NotKept::Picture(error.to_string()))?;
    let path = folder.join(format!("{sequence:010}.png"));
    let write = fs::create_dir_all(folder).and_then(|()| fs::write(&path, png));
    write.map_err(|source| NotKept::Write { path, source })
}
