//! `takt model import`: a model that somebody else trained becomes a package.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde_json::json;

use super::model::facts;
use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::model::import::{ImportedModel, Range, Told, import};
use crate::model::manifest::Fit;
use crate::vision::detect::HeadKind;
use crate::vision::detect::nms::Scope;
use crate::vision::pixels::ScoreForm;
use crate::vision::preprocess::{Colour, Filter};
use crate::vision::tiling::Tiles;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The model, as ONNX; weights in other files lie beside it
    file: PathBuf,
    /// Folder to write the package to
    #[arg(long, value_name = "PACKAGE")]
    out: PathBuf,
    /// Pictures of parts, good and bad, that prove the model wherever it runs; at most 8 of them are kept
    #[arg(long, value_name = "DIR")]
    golden: PathBuf,
    /// Replace a package that is there
    #[arg(long)]
    overwrite: bool,
    /// Name of the model [default: the package's folder name]
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Version of the model
    #[arg(long, default_value = "1", value_name = "V", action = ArgAction::Set)]
    version: String,
    /// Licence of the model, an SPDX expression
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// Size of its input, where its file leaves it open
    #[arg(long, value_name = "WxH", value_parser = super::teach::parse_size)]
    size: Option<(u32, u32)>,
    /// Order of its colours
    #[arg(long, value_enum)]
    colour: Option<Colour>,
    /// Values that its input takes
    #[arg(long, value_enum)]
    range: Option<Range>,
    /// Name of a class; once for each, in the order of the model
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<String>,
    /// A class that is no defect
    #[arg(long = "ok-class", value_name = "NAME")]
    ok_classes: Vec<String>,
    /// What its scores of classes, or of pixels, are
    #[arg(long, value_enum)]
    scores: Option<ScoreForm>,
    /// Above which score a part is not Ok
    #[arg(long, value_name = "SCORE", value_parser = parse_score)]
    threshold: Option<f32>,
    /// How a detector writes its boxes, where their shapes do not tell
    #[arg(long, value_enum)]
    head: Option<HeadKind>,
    /// Above which overlap (intersection over union) the worse of two boxes is dropped
    #[arg(long, value_parser = parse_share)]
    iou: Option<f32>,
    /// Among which boxes
    #[arg(long, value_enum, default_value_t = Scope::default())]
    scope: Scope,
    /// How pictures of another shape get to its size
    #[arg(long, value_enum)]
    fit: Option<Fit>,
    /// Level of the bars beside a letterboxed picture [default: 114]
    #[arg(long, value_name = "LEVEL")]
    fill: Option<u8>,
    /// How pixels became fewer where it was trained
    #[arg(long, value_enum)]
    filter: Option<Filter>,
    /// Cut pictures into tiles of so many of their pixels, each of which the model then sees as a picture
    #[arg(long, value_name = "WxH", value_parser = super::teach::parse_size)]
    tile: Option<(u32, u32)>,
    /// Pixels that neighbouring tiles have in common, at least [default: a quarter of a tile's shorter side]
    #[arg(long, value_name = "PX", requires = "tile")]
    overlap: Option<u32>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

fn parse_score(text: &str) -> Result<f32, String> {
    let score: f32 = text.parse().map_err(|_| format!("{text} is no number"))?;
    score.is_finite().then_some(score).ok_or_else(|| "give a finite number".to_owned())
}

fn parse_share(text: &str) -> Result<f32, String> {
    let share = parse_score(text)?;
    (0.0..=1.0)
        .contains(&share)
        .then_some(share)
        .ok_or_else(|| "give a number from 0 to 1".to_owned())
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<Exit> {
    let folder = args.out.file_name().unwrap_or_default().to_string_lossy();
    let told = Told {
        name: args.name.clone().unwrap_or_else(|| folder.into_owned()),
        version: args.version.clone(),
        licence: args.licence.clone(),
        size: args.size,
        colour: args.colour,
        range: args.range,
        classes: args.classes.clone(),
        ok_classes: args.ok_classes.clone(),
        scores: args.scores,
        threshold: args.threshold,
        head: args.head,
        iou: args.iou,
        scope: args.scope,
        fit: args.fit,
        fill: args.fill,
        filter: args.filter,
        tiles: args.tile.map(|(width, height)| {
            let tiles = Tiles::of(width, height);
            let overlap_px = args.overlap.unwrap_or(tiles.overlap_px);
            Tiles { overlap_px, ..tiles }
        }),
    };
    let imported = import(&args.file, &args.out, &args.golden, &told, args.overwrite)?;
    for warning in &imported.warnings {
        eprintln!("warning: {warning}");
    }
    report(args, &imported)?;
    Ok(Exit::Done)
}

fn report(args: &ImportArgs, imported: &ImportedModel) -> anyhow::Result<()> {
    let manifest = &imported.manifest;
    if args.format == Format::Json {
        return print_json(&json!({
            "package": args.out, "name": manifest.name, "version": manifest.version, "kind": manifest.kind, "input": manifest.input,
            "outputs": manifest.outputs, "classes": manifest.classes, "golden": imported.gated.len(), "warnings": imported.warnings,
        }));
    }
    print(&table(
        &["model", &manifest.name],
        facts(manifest).into_iter().map(|(name, value)| vec![name.into(), value]),
    ))
}
