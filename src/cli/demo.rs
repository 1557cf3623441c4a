//! `takt demo`: the main job on example parts, from good images to a page of judged ones.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::evidence_page::evidence;
use super::line_page::line_run;
use super::page::{self, Page};
use super::progress::Screen;
use super::twin::LiveLine;
use super::virtual_cell::{self, CellPlan, HISTORIAN, STAMP_ROWS};
use super::{Exit, print};
use crate::evaluate::{Sample, evaluate};
use crate::model::package;
use crate::part::Verdict;
use crate::report::LineRun;
use crate::teach::dataset::{self, GOOD, LabelledImage, test_images};
use crate::teach::detector::Method;
use crate::teach::{Lesson, teach};
use crate::twin::{self, RenderedFile, RenderedSet, Settings, TwinReport};
use crate::vision::EngineOptions;
use crate::vision::decode::{DecodeError, read_image};
use crate::vision::encode::encode_png;
use crate::vision::inspector::{Inspection, Inspector};

/// Public data sets the demo looks for, in this order.
const PUBLIC_SETS: [&str; 2] = ["aws_cookie", "magnetic_tile"];

/// Of one's own good images without a test folder, one in this many is kept for the test.
const HELD_OUT: usize = 5;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Folder for the results
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    out: PathBuf,
    /// Your own images: train/good and test/..., or good/ and one folder per defect, or just images of good parts
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Folder of public data sets; rendered parts are used without one
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Parts on the line.
const PARTS: u32 = 200;

/// Parts per second.
const PARTS_HZ: f64 = 5.0;

/// Share of parts with a defect, where there are some to show.
const DEFECT_SHARE: f64 = 0.2;

/// From the trigger to the outcome.
const DEADLINE_MS: u32 = 200;

/// The network to the historian is cut for so long in the middle of the run.
const NETWORK_CUT_MS: u32 = 10_000;

/// Sides of the virtual camera's picture of a part, pixels: larger pictures are shown smaller.
const SIDE_PX_MAX: u32 = 1600;
const SIDE_PX_MIN: u32 = 64;

/// The images of a demo, in the layout of MVTec AD.
struct Source {
    root: PathBuf,
    what: String,
    rendered: bool,
}

pub(super) fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    fs::create_dir_all(&args.out).with_context(|| format!("failed to create folder {}", args.out.display()))?;
    let source = source(args)?;
    print(&format!("teaching from {}\n", source.what))?;
    let screen = Screen::new();
    let lesson = lesson(&source);
    let taught = teach(&lesson, &screen)?;
    screen.finish();
    taught.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let model = args.out.join("model");
    package::write(&model, &taught.package.manifest, &taught.package.files, true)?;

    // What was written is what is used from here on.
    let mut inspector = Inspector::new(package::Package::open(&model)?.activate(EngineOptions::default())?);
    let images = test_images(&source.root)?;
    let mut live = LiveTable::new(&source.root);
    print(&LiveTable::header())?;
    let samples: Vec<Sample> = images.iter().cloned().map(Sample::from).collect();
    let (evaluation, judged) = evaluate(&mut inspector, &samples, &Quiet(&screen), &mut |image, seen| live.show(image, seen))?;
    print(&live.summary())?;

    let (settings, line) = run_line(args, &source, &images, &model)?;
    print(&super::twin::summary(&line))?;

    let historian = args.out.join("line").join(HISTORIAN);
    let (evidence, evidence_more) = evidence(
        &historian.join(twin::HISTORIAN_STORE),
        &historian.join(twin::HISTORIAN_IMAGES),
        &args.out,
    )?;

    let file = args.out.join("report.html");
    let title = format!("takt demo: {}", lesson.name);
    let subtitle = format!("taught from {}, judged on {} parts it had not seen", source.what, judged.len());
    let page = Page {
        title,
        subtitle,
        rendered: source.rendered,
        stages: &taught.stages,
        root: &source.root,
        line: Some(LineRun {
            evidence,
            evidence_more,
            ..line_run(&line, &settings)
        }),
    };
    page::write(&file, &page, &mut inspector, &evaluation, &judged)?;
    print(&format!(
        "model    {}\nline     {}\nreport   {}\nrecords  takt query --journal {}\n",
        model.display(),
        args.out.join("line").display(),
        file.display(),
        historian.join(twin::HISTORIAN_STORE).display()
    ))?;
    // A slow machine makes parts late, and late parts are rejected: that is no failure. A broken promise is.
    Ok(if line.is_kept() { Exit::Done } else { Exit::Failed })
}

/// The station with its new model, and a virtual line around it that shows it the test parts.
fn run_line(args: &DemoArgs, source: &Source, images: &[LabelledImage], model: &Path) -> anyhow::Result<(Settings, TwinReport)> {
    print(&format!(
        "\nrunning a station on a virtual line: {PARTS} parts, {PARTS_HZ} per second\n"
    ))?;
    let frame_px = camera_px(images)?;
    let plan = CellPlan {
        model,
        dataset: Some(&source.root),
        frame_px,
        rate: format!("{PARTS_HZ:?}"),
        count: PARTS,
        defect_share: if images.iter().any(LabelledImage::is_defect) {
            DEFECT_SHARE
        } else {
            0.0
        },
        poll_ms: 10,
        scan_ms: 5,
        part_interval_ms_min: 100,
        deadline_ms: DEADLINE_MS,
        accept_hold_ms: 500,
        historian: Some((PARTS / 3, NETWORK_CUT_MS)),
    };
    let cell = virtual_cell::write(&args.out.join("line"), &plan)?;
    let mut live = LiveLine::new();
    let report = crate::twin::run(&cell.settings, &mut live)?;
    Ok((cell.settings.clone(), report))
}

/// A camera that sees a part as the pictures show it, so that nothing is resized twice, with room for the stamp above.
fn camera_px(images: &[LabelledImage]) -> anyhow::Result<(u32, u32)> {
    let Some(first) = images.first() else {
        bail!("failed to run the line: there is no test image")
    };
    let image = read_image(&first.path)?;
    let shrink = (f64::from(SIDE_PX_MAX) / f64::from(image.width.max(image.height))).min(1.0);
    let scaled = |side: u32| ((f64::from(side) * shrink).round() as u32).max(SIDE_PX_MIN).next_multiple_of(2);
    Ok((scaled(image.width), scaled(image.height) + STAMP_ROWS))
}

fn lesson(source: &Source) -> Lesson {
    Lesson {
        good: source.root.join("train").join(GOOD),
        name: source
            .root
            .file_name()
            .map_or_else(|| "demo".into(), |name| name.to_string_lossy().into_owned()),
        method: Method::default(),
        ..Lesson::default()
    }
}

/// One's own images, else a public data set, else rendered parts.
fn source(args: &DemoArgs) -> anyhow::Result<Source> {
    if let Some(images) = &args.images {
        return own_images(images, &args.out.join("images"));
    }
    let public = args
        .data
        .iter()
        .flat_map(|data| PUBLIC_SETS.map(|set| data.join(set)))
        .find(|set| set.join("train").join(GOOD).is_dir());
    if let Some(root) = public {
        let what = format!("photographs of good parts in {}", root.join("train").join(GOOD).display());
        return Ok(Source {
            root,
            what,
            rendered: false,
        });
    }
    let root = args.out.join("rendered");
    replace_folder(&root)?;
    for (path, file) in RenderedSet::default().files() {
        write_rendered(&root.join(path), file)?;
    }
    Ok(Source {
        root,
        what: "rendered parts (no photographs at hand)".into(),
        rendered: true,
    })
}

/// Links to one's own images in the layout the rest of takt reads.
fn own_images(images: &Path, root: &Path) -> anyhow::Result<Source> {
    let what = format!("your good parts in {}", images.display());
    if images.join("train").join(GOOD).is_dir() {
        return Ok(Source {
            root: images.to_owned(),
            what,
            rendered: false,
        });
    }
    let flat = !images.join(GOOD).is_dir();
    let good = dataset::images_in(&if flat { images.to_owned() } else { images.join(GOOD) })?;
    replace_folder(root)?;
    for (index, image) in good.iter().enumerate() {
        let part = if index % HELD_OUT == HELD_OUT - 1 { "test" } else { "train" };
        link(image, &root.join(part).join(GOOD))?;
    }
    if !flat {
        for defect in test_images(images)?.iter().filter(|image| image.is_defect()) {
            link(&defect.path, &root.join("test").join(&defect.class))?;
        }
    }
    Ok(Source {
        root: root.to_owned(),
        what,
        rendered: false,
    })
}

fn link(image: &Path, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create folder {}", folder.display()))?;
    let target = image
        .canonicalize()
        .with_context(|| format!("failed to find {}", image.display()))?;
    let name = folder.join(image.file_name().unwrap_or_default());
    std::os::unix::fs::symlink(&target, &name).with_context(|| format!("failed to link {} to {}", name.display(), target.display()))
}

/// Removes what an earlier demo left.
fn replace_folder(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(())
}

fn write_rendered(path: &Path, file: RenderedFile) -> anyhow::Result<()> {
    let (width, height, rgb) = match file {
        RenderedFile::Image(image) => (image.width, image.height, image.rgb),
        RenderedFile::Mask(mask) => {
            let grey = mask.defect.iter().flat_map(|defect| [if *defect { 255 } else { 0 }; 3]).collect();
            (mask.width as u32, mask.height as u32, grey)
        }
    };
    let Some(folder) = path.parent() else {
        bail!("failed to write {}: it has no folder", path.display())
    };
    fs::create_dir_all(folder).with_context(|| format!("failed to create folder {}", folder.display()))?;
    fs::write(path, encode_png(width, height, &rgb)?).with_context(|| format!("failed to write {}", path.display()))
}

/// Stops like the screen, shows nothing: the table is the progress.
struct Quiet<'a>(&'a Screen);

impl crate::teach::progress::Progress for Quiet<'_> {
    fn begin(&self, _: crate::teach::progress::Stage, _: usize) {}
    fn advance(&self, _: usize) {}
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

/// Parts as they are judged, one line each.
struct LiveTable<'a> {
    root: &'a Path,
    colour: bool,
    right: usize,
    escapes: usize,
    false_rejects: usize,
}

/// Length of the bar at the threshold, characters.
const BAR: f32 = 20.0;

impl<'a> LiveTable<'a> {
    fn new(root: &'a Path) -> Self {
        Self {
            root,
            colour: io::stdout().is_terminal(),
            right: 0,
            escapes: 0,
            false_rejects: 0,
        }
    }

    fn header() -> String {
        format!(
            "\n{:<34} {:<12} {:>8} {:>6}  {}\n",
            "part", "verdict", "score", "ms", "score against the limit (|)"
        )
    }

    fn show(&mut self, sample: &Sample, seen: Result<(&crate::vision::Image, &Inspection), &DecodeError>) {
        let verdict = seen.as_ref().map_or(Verdict::NotDecidable, |(_, inspection)| inspection.verdict);
        let note = match (sample.is_defect, verdict == Verdict::Ok) {
            (true, true) => {
                self.escapes += 1;
                "  <- escape"
            }
            (false, false) => {
                self.false_rejects += 1;
                "  <- false reject"
            }
            _ => {
                self.right += 1;
                ""
            }
        };
        let name = sample
            .path
            .strip_prefix(self.root.join("test"))
            .unwrap_or(&sample.path)
            .display()
            .to_string();
        let measured = seen.map_or_else(ToString::to_string, |(_, inspection)| {
            let milliseconds = inspection.latency.inspect().as_secs_f64() * 1e3;
            format!(
                "{:>8.2} {milliseconds:>6.1}  {}",
                inspection.score,
                bar(inspection.score / inspection.threshold)
            )
        });
        // A reader that went away is no reason to stop.
        let _ = print(&format!("{name:<34} {} {measured}{note}\n", self.verdict(verdict)));
    }

    /// Blue and vermillion of Okabe and Ito 2008, which colour-blind people tell apart too.
    fn verdict(&self, verdict: Verdict) -> String {
        let (word, colour) = match verdict {
            Verdict::Ok => ("● ok", "38;2;0;114;178"),
            Verdict::NotOk => ("▲ NOT OK", "38;2;213;94;0"),
            Verdict::NotDecidable => ("◆ undecided", "38;2;120;120;120"),
        };
        if self.colour {
            format!("\x1b[{colour}m{word:<12}\x1b[0m")
        } else {
            format!("{word:<12}")
        }
    }

    fn summary(&self) -> String {
        format!(
            "\n{} right, {} escapes, {} false rejects\n",
            self.right, self.escapes, self.false_rejects
        )
    }
}

/// A bar that reaches the mark at the threshold.
fn bar(ratio: f32) -> String {
    let (limit, length) = (BAR as usize, (ratio.clamp(0.0, 2.0) * BAR).round() as usize);
    (0..=limit.max(length))
        .map(|at| {
            if at == limit {
                '|'
            } else if at < length {
                '='
            } else {
                ' '
            }
        })
        .collect::<String>()
        .trim_end()
        .to_owned()
}
