//! `takt inspect`: images in, verdicts out.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::table::table;
use super::{EngineArgs, Exit, Format, activate, print, print_json};
use crate::part::{Finding, Reason, Verdict};
use crate::teach::dataset::images_in;
use crate::vision::Image;
use crate::vision::encode::encode_png;
use crate::vision::inspector::{InspectError, Inspection, Inspector, Latency};
use crate::vision::overlay;

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The model package
    #[arg(long, value_name = "PACKAGE")]
    model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder to write a picture per image to: the image, and where it is not Ok
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
    /// Exit with 3 if any image is not Ok
    #[arg(long)]
    fail_on_reject: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// One line of output.
struct Line {
    path: PathBuf,
    result: Result<Inspection, String>,
}

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<Exit> {
    let paths = expand(&args.paths)?;
    let mut overlays = args.overlay.as_deref().map(Overlays::new).transpose()?;
    let mut inspector = Inspector::new(activate(&args.model, args.engine)?);
    let mut rows = Vec::new();
    let mut rejected = false;
    for path in paths {
        let line = inspect_one(&mut inspector, path, overlays.as_mut())?;
        rejected |= line.verdict() != Verdict::Ok;
        match args.format {
            Format::Json => print_json(&line.record())?,
            Format::Table => rows.push(line.row()),
        }
    }
    if args.format == Format::Table {
        print(&table(
            &["image", "verdict", "score", "threshold", "findings", "largest at", "ms", "note"],
            rows,
        ))?;
    }
    Ok(if rejected && args.fail_on_reject {
        Exit::Rejected
    } else {
        Exit::Done
    })
}

/// All images that are meant: files as they are, folders by their images.
fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            all.extend(images_in(path)?);
        } else {
            all.push(path.clone());
        }
    }
    Ok(all)
}

/// An image that cannot be read is a part that cannot be judged; an engine that fails is the end.
fn inspect_one(inspector: &mut Inspector, path: PathBuf, overlays: Option<&mut Overlays>) -> anyhow::Result<Line> {
    match inspector.inspect_file(&path) {
        Ok((image, inspection)) => {
            if let Some(overlays) = overlays {
                overlays.write(&path, &image, &inspection, inspector.manifest().threshold.region)?;
            }
            Ok(Line {
                path,
                result: Ok(inspection),
            })
        }
        Err(InspectError::Engine(error)) => Err(error.into()),
        Err(error) => Ok(Line {
            path,
            result: Err(error.to_string()),
        }),
    }
}

/// Where overlays go. Images of the same name in different folders, or with different endings, do not overwrite each other.
struct Overlays {
    folder: PathBuf,
    written: HashSet<PathBuf>,
}

impl Overlays {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to create folder {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            written: HashSet::new(),
        })
    }

    fn write(&mut self, path: &Path, image: &Image, inspection: &Inspection, region: Option<f32>) -> anyhow::Result<()> {
        let target = self.target(path);
        let picture = overlay::render(image, inspection, region);
        let bytes = encode_png(picture.width, picture.height, &picture.rgb)?;
        std::fs::write(&target, bytes).with_context(|| format!("failed to write overlay {}", target.display()))
    }

    /// `FOLDER_NAME.png`, with what tells it apart from those written already.
    fn target(&mut self, path: &Path) -> PathBuf {
        let text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        let parent = path
            .parent()
            .and_then(Path::file_name)
            .map(|name| format!("{}_", name.to_string_lossy()))
            .unwrap_or_default();
        let names = [text(path.file_stem()), text(path.file_name())].into_iter();
        let numbered = (2_u32..).map(|number| format!("{}_{number}", text(path.file_name())));
        let mut targets = names.chain(numbered).map(|name| self.folder.join(format!("{parent}{name}.png")));
        let target = targets.find(|target| !self.written.contains(target)).unwrap_or_default();
        self.written.insert(target.clone());
        target
    }
}

impl Line {
    fn verdict(&self) -> Verdict {
        self.result.as_ref().map_or(Verdict::NotDecidable, |inspection| inspection.verdict)
    }

    fn record(&self) -> Record<'_> {
        let inspection = self.result.as_ref().ok();
        Record {
            image: self.path.display().to_string(),
            verdict: self.verdict(),
            reason: inspection.map_or(Some(Reason::Unreadable), |inspection| inspection.reason),
            score: inspection.map(|inspection| inspection.score),
            threshold: inspection.map(|inspection| inspection.threshold),
            findings: inspection.map_or(&[], |inspection| &inspection.findings),
            latency_us: inspection.map(|inspection| (&inspection.latency).into()),
            error: self.result.as_ref().err(),
        }
    }

    fn row(&self) -> Vec<String> {
        let image = self.path.display().to_string();
        match &self.result {
            Ok(inspection) => vec![
                image,
                inspection.verdict.name().into(),
                format!("{:.3}", inspection.score),
                format!("{:.3}", inspection.threshold),
                inspection.findings.len().to_string(),
                inspection
                    .findings
                    .iter()
                    .max_by_key(|finding| finding.area_px)
                    .map(|f| format!("{},{} {}x{}", f.x, f.y, f.width, f.height))
                    .unwrap_or_default(),
                format!("{:.1}", inspection.latency.inspect().as_secs_f64() * 1e3),
                inspection.reason.map(|reason| reason.name().to_owned()).unwrap_or_default(),
            ],
            Err(error) => {
                let empty = String::new;
                vec![
                    image,
                    Verdict::NotDecidable.name().into(),
                    empty(),
                    empty(),
                    empty(),
                    empty(),
                    empty(),
                    error.clone(),
                ]
            }
        }
    }
}

/// The line as programs read it.
#[derive(Debug, Serialize)]
struct Record<'a> {
    image: String,
    verdict: Verdict,
    reason: Option<Reason>,
    score: Option<f32>,
    threshold: Option<f32>,
    findings: &'a [Finding],
    latency_us: Option<LatencyUs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a String>,
}

/// Microseconds per stage.
#[derive(Debug, Serialize)]
struct LatencyUs {
    decode: u64,
    preprocess: u64,
    infer: u64,
    postprocess: u64,
}

impl From<&Latency> for LatencyUs {
    fn from(latency: &Latency) -> Self {
        let micros = |time: Duration| time.as_micros() as u64;
        Self {
            decode: micros(latency.decode),
            preprocess: micros(latency.preprocess),
            infer: micros(latency.infer),
            postprocess: micros(latency.postprocess),
        }
    }
}
