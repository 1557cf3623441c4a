//! `takt calibrate`: pictures of a target in, a camera's lens and plane out.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::vision::Image;
use crate::vision::calibration::estimate::{Estimate, Grid, Method, estimate};
use crate::vision::calibration::file::Record;
use crate::vision::calibration::homography::Homography;
use crate::vision::calibration::quality::{assess, rms_and_worst, warnings};
use crate::vision::calibration::target::{Kind, POINTS_ACROSS, Target, overexposure};
use crate::vision::calibration::{Calibration, Point, overlay};
use crate::vision::decode::read_image;
use crate::vision::encode::encode_png;
use crate::vision::grey::GreyImage;

#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// Pictures of the target: one for the plane alone, or 3 and more, each tilted differently, for the lens too
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// What the target shows
    #[arg(long, value_enum)]
    target: Kind,
    /// Columns of inner corners (one less than squares), or of dots
    #[arg(long, value_name = "N", value_parser = parse_count)]
    columns: usize,
    /// Rows of inner corners, or of dots
    #[arg(long, value_name = "M", value_parser = parse_count)]
    rows: usize,
    /// From one corner or dot to the next, millimetres
    #[arg(long, value_name = "P", value_parser = parse_pitch)]
    pitch_mm: f64,
    /// The picture whose target lies in the plane of the parts [default: the first]
    #[arg(long, value_name = "IMAGE")]
    plane: Option<PathBuf>,
    /// Name of the camera, as in station.toml
    #[arg(long, default_value = "camera", value_name = "NAME")]
    camera: String,
    /// Look for the third radial coefficient too, for lenses of a wide angle
    #[arg(long)]
    k3: bool,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
    /// Folder to write a picture per image to: the points found, and the grid as the lens shows it
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| POINTS_ACROSS.contains(count));
    count.ok_or_else(|| format!("give a whole number from {} to {}", POINTS_ACROSS.start(), POINTS_ACROSS.end()))
}

fn parse_pitch(text: &str) -> Result<f64, String> {
    let pitch = text.parse().ok().filter(|pitch| (0.001..=1000.0).contains(pitch));
    pitch.ok_or_else(|| "give millimetres, from 0.001 to 1000".into())
}

/// A picture and the points in it.
struct View {
    path: PathBuf,
    image: Image,
    points: Vec<Point>,
}

pub(super) fn run(args: &CalibrateArgs) -> anyhow::Result<Exit> {
    if args.out.exists() && !args.overwrite {
        bail!(
            "failed to write {}: it is there already; give another --out, or --overwrite",
            args.out.display()
        );
    }
    let plane = plane_of(args)?;
    let grid = Grid {
        columns: args.columns,
        rows: args.rows,
        pitch_mm: args.pitch_mm,
    };
    let target = Target { kind: args.target, grid };
    let mut told = Vec::new();
    let mut views: Vec<View> = Vec::new();
    for path in &args.images {
        views.push(view(path, &target, &mut told)?);
    }
    let size_px = same_size(&views)?;
    let in_picture = || format!("picture {}", args.images[plane].display());
    target.check_axes(&views[plane].points).with_context(in_picture)?;
    let points: Vec<Vec<Point>> = views.iter().map(|view| view.points.clone()).collect();
    let estimate = estimate(&grid, size_px, &points, args.k3)?;
    let planes: Vec<Calibration> = (0..views.len())
        .map(|view| calibration(&estimate, size_px, view))
        .collect::<anyhow::Result<_>>()?;
    let quality = assess(&planes[plane], &estimate, &points);
    told.extend(warnings(&quality, &estimate));
    let record = Record {
        camera: args.camera.clone(),
        made_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        takt_version: env!("CARGO_PKG_VERSION").into(),
        target,
        method: estimate.method,
        plane_image: file_name(&args.images[plane]),
        undetermined: estimate.undetermined.iter().map(|&name| name.to_owned()).collect(),
        quality,
        calibration: planes[plane],
    };
    write_whole(&args.out, &record.to_text()?)?;
    if let Some(folder) = &args.overlay {
        write_overlays(folder, &views, &planes, &estimate, &grid)?;
    }
    for warning in &told {
        eprintln!("warning: {warning}");
    }
    report(args, &record, &estimate, &views, &told)?;
    Ok(Exit::Done)
}

/// Which of the pictures shows the plane.
fn plane_of(args: &CalibrateArgs) -> anyhow::Result<usize> {
    let Some(plane) = &args.plane else { return Ok(0) };
    let place = args.images.iter().position(|image| image == plane);
    place.ok_or_else(|| {
        anyhow!(
            "failed to take {} for the plane: it is none of the pictures; name it among them too",
            plane.display()
        )
    })
}

fn view(path: &Path, target: &Target, told: &mut Vec<String>) -> anyhow::Result<View> {
    let image = read_image(path)?;
    let grey = GreyImage::from_image(&image);
    let points = target.find(&grey).with_context(|| format!("picture {}", path.display()))?;
    told.extend(overexposure(&grey, &points).map(|warning| format!("picture {}: {warning}", path.display())));
    Ok(View {
        path: path.to_owned(),
        image,
        points,
    })
}

fn same_size(views: &[View]) -> anyhow::Result<[u32; 2]> {
    let size = |view: &View| [view.image.width, view.image.height];
    let first = &views[0];
    match views.iter().find(|view| size(view) != size(first)) {
        None => Ok(size(first)),
        Some(other) => bail!(
            "failed to calibrate: {} is of {}x{} px, {} of {}x{} px; take all pictures with one camera at one setting",
            first.path.display(),
            first.image.width,
            first.image.height,
            other.path.display(),
            other.image.width,
            other.image.height
        ),
    }
}

fn calibration(estimate: &Estimate, size_px: [u32; 2], view: usize) -> anyhow::Result<Calibration> {
    let plane = estimate.planes_px.get(view).and_then(Homography::inverse);
    Ok(Calibration {
        size_px,
        lens: estimate.lens,
        plane_mm: plane.ok_or_else(|| anyhow!("failed to calibrate: the target is seen from its edge; turn it towards the camera"))?,
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file is there whole, or as it was.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("failed to write {}; does its folder exist, and may it be written?", path.display()))
}

fn write_overlays(folder: &Path, views: &[View], planes: &[Calibration], estimate: &Estimate, grid: &Grid) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create folder {}", folder.display()))?;
    for (number, view) in views.iter().enumerate() {
        let stem = view.path.file_stem().unwrap_or_default().to_string_lossy();
        // Numbered, so that pictures of the same name in different folders do not overwrite each other.
        let path = folder.join(format!("{:02}_{stem}.png", number + 1));
        let picture = overlay::render(&view.image, &planes[number], grid, &view.points, &estimate.residuals_px[number]);
        let bytes = encode_png(picture.width, picture.height, &picture.rgb)?;
        std::fs::write(&path, bytes).with_context(|| format!("failed to write overlay {}", path.display()))?;
    }
    Ok(())
}

fn report(args: &CalibrateArgs, record: &Record, estimate: &Estimate, views: &[View], told: &[String]) -> anyhow::Result<()> {
    let (quality, lens) = (&record.quality, &record.calibration.lens);
    let by_view = || {
        views
            .iter()
            .zip(&estimate.residuals_px)
            .map(|(view, residuals)| (view, rms_and_worst(residuals.iter())))
    };
    if args.format == Format::Json {
        let views: Vec<_> = by_view()
            .map(|(view, (rms_px, max_px))| json!({ "image": view.path, "rms_px": rms_px, "max_px": max_px, "points_px": view.points }))
            .collect();
        return print_json(&json!({
            "calibration": args.out, "camera": record.camera, "method": record.method.name(),
            "width_px": record.calibration.size_px[0], "height_px": record.calibration.size_px[1],
            "focal_length_px": lens.focal_px, "focal_length_deviation_px": estimate.focal_deviation_px,
            "principal_point_px": lens.centre_px, "distortion_k1_k2_p1_p2_k3": lens.distortion, "undetermined": record.undetermined,
            "points": quality.points, "rms_px": quality.rms_px, "max_px": quality.worst_px, "coverage": quality.coverage,
            "scale_mm_per_px": quality.scale_mm_per_px, "scale_mm_per_px_min": quality.scale_range_mm_per_px[0],
            "scale_mm_per_px_max": quality.scale_range_mm_per_px[1], "distortion_px_max": quality.distortion_px,
            "plane_image": record.plane_image, "views": views, "warnings": told,
        }));
    }
    let mut rows = vec![
        (
            "scale in the middle",
            format!("{:.6} mm/px, {:.3} px/mm", quality.scale_mm_per_px, 1.0 / quality.scale_mm_per_px),
        ),
        (
            "scale over the picture",
            format!(
                "{:.6} to {:.6} mm/px ({:.2} % apart)",
                quality.scale_range_mm_per_px[0],
                quality.scale_range_mm_per_px[1],
                100.0 * quality.scale_spread()
            ),
        ),
        ("lens moves points by", format!("at most {:.2} px", quality.distortion_px)),
        (
            "points off by",
            format!("{:.3} px RMS, {:.3} px at most", quality.rms_px, quality.worst_px),
        ),
        ("points lie over", format!("{:.0} % of the picture", 100.0 * quality.coverage)),
    ];
    if let (Method::SeveralViews, Some([off_x, off_y])) = (record.method, estimate.focal_deviation_px) {
        let [x, y] = lens.focal_px;
        rows.push(("focal length", format!("{x:.2} ± {off_x:.2} px, {y:.2} ± {off_y:.2} px")));
        rows.push(("principal point", format!("{:.2}, {:.2} px", lens.centre_px[0], lens.centre_px[1])));
    }
    let [k1, k2, p1, p2, k3] = lens.distortion;
    rows.push(("k1, k2, p1, p2, k3", format!("{k1:.5}, {k2:.5}, {p1:.6}, {p2:.6}, {k3:.5}")));
    if !record.undetermined.is_empty() {
        rows.push(("assumed, not found", record.undetermined.join(", ")));
    }
    rows.push(("plane", record.plane_image.clone()));
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    print(&table(&["calibration", &args.out.display().to_string()], rows))?;
    let rows = by_view().map(|(view, (rms, worst))| vec![view.path.display().to_string(), format!("{rms:.3}"), format!("{worst:.3}")]);
    print(&table(&["picture", "RMS px", "max px"], rows))
}
