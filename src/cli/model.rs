//! `takt model`: what packages there are, what is in them, and whether they work here.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::import::{self, ImportArgs};
use super::model_activation::{self, InspectionArgs, TlsArgs};
use super::model_history;
use super::quantise::{self, QuantiseArgs};
use super::table::{percent, table};
use super::{EngineArgs, Exit, Format, print, print_json, shortest};
use crate::model::manifest::{Extended, Manifest, Provenance, Teaching};
use crate::model::package::{Listed, Package, list};
use crate::model::signature::Trust;
use crate::vision::EngineOptions;
use crate::vision::tiling::Tiles;

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// List the packages in a folder, with what is wrong with any of them; or the models that a station runs
    List {
        /// The folder
        #[arg(default_value = "models", value_name = "DIR")]
        folder: PathBuf,
        /// Ask this station instead: where it serves line controllers, its [grpc] listen
        #[arg(long, value_name = "URL")]
        station: Option<String>,
        #[command(flatten)]
        tls: TlsArgs,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::default())]
        format: Format,
    },
    /// Show what is in a package
    Show {
        /// The package
        package: PathBuf,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::default())]
        format: Format,
    },
    /// Make a package of a model that somebody else trained
    Import(Box<ImportArgs>),
    /// Make a package that computes with bytes, faster on processors with VNNI, if scores and verdicts stay what they are
    #[command(visible_alias = "quantize")]
    Quantise(QuantiseArgs),
    /// Check every file of a package, load it and run its golden images
    Verify {
        /// The package
        package: PathBuf,
        /// Demand that it is signed with the private half of this public key (PEM); may be given several times
        #[arg(long = "trusted-key", value_name = "FILE")]
        trusted_keys: Vec<PathBuf>,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::default())]
        format: Format,
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Make a key that packages can be signed with
    Keygen {
        /// Where the private key goes; the public one gets .pub after its name
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Vouch for a package: sign its manifest, which names the hash of every file
    Sign {
        /// The package
        package: PathBuf,
        /// The private key (PEM)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Have a station that runs load a package, prove it, and judge parts by it
    Activate {
        /// The package, on the station's machine
        package: PathBuf,
        #[command(flatten)]
        at: InspectionArgs,
    },
    /// Have a station that runs go back to the model before
    Rollback {
        #[command(flatten)]
        at: InspectionArgs,
    },
    /// List which models a station was asked for, by whom, and what came of it, as its journal or a historian's database tells
    History {
        /// Folder of the journal, or the database file of a journal or historian
        #[arg(value_name = "PATH")]
        records: PathBuf,
        /// How many, the latest
        #[arg(long, value_name = "N", default_value_t = 100)]
        last: u32,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::default())]
        format: Format,
    },
}

pub(super) fn run(args: &ModelArgs) -> anyhow::Result<Exit> {
    match &args.command {
        ModelCommand::List {
            folder,
            station,
            tls,
            format,
        } => match station {
            Some(station) => model_activation::list_station(station, tls, *format),
            None => list_packages(folder, *format),
        },
        ModelCommand::Show { package, format } => show(package, *format),
        ModelCommand::Import(args) => import::run(args),
        ModelCommand::Quantise(args) => quantise::run(args),
        ModelCommand::Verify {
            package,
            trusted_keys,
            format,
            engine,
        } => verify(package, trusted_keys, *format, *engine),
        ModelCommand::Keygen { out } => model_activation::keygen(out),
        ModelCommand::Sign { package, key } => model_activation::sign(package, key),
        ModelCommand::Activate { package, at } => model_activation::activate(package, at),
        ModelCommand::Rollback { at } => model_activation::roll_back(at),
        ModelCommand::History { records, last, format } => model_history::history(records, *last, *format),
    }
}

/// Fails if any package is broken, after all have been listed.
fn list_packages(folder: &Path, format: Format) -> anyhow::Result<Exit> {
    let packages = list(folder)?;
    let broken = packages.iter().any(|(_, package)| package.is_err());
    match format {
        Format::Json => {
            for (path, package) in &packages {
                print_json(&match package {
                    Ok(package) => json!({ "package": path, "name": package.manifest.name, "version": package.manifest.version,
                        "kind": package.manifest.kind, "threshold": shortest(package.manifest.threshold.score), "error": null }),
                    Err(error) => json!({ "package": path, "error": error.to_string() }),
                })?;
            }
        }
        Format::Table => {
            let row = |(path, package): &Listed| match package {
                Ok(Package { manifest, .. }) => {
                    vec![
                        path.display().to_string(),
                        manifest.name.clone(),
                        manifest.version.clone(),
                        manifest.kind.name().into(),
                        format!("{:.3}", manifest.threshold.score),
                        "whole".into(),
                    ]
                }
                Err(error) => vec![
                    path.display().to_string(),
                    "-".into(),
                    "-".into(),
                    "-".into(),
                    "-".into(),
                    format!("{error}"),
                ],
            };
            print(&table(
                &["package", "name", "version", "kind", "threshold", "state"],
                packages.iter().map(row),
            ))?;
        }
    }
    Ok(if broken { Exit::Failed } else { Exit::Done })
}

fn show(package: &Path, format: Format) -> anyhow::Result<Exit> {
    let manifest = Package::open(package)?.manifest;
    match format {
        Format::Json => print_json(&manifest)?,
        Format::Table => print(&table(
            &["model", &manifest.name],
            facts(&manifest).into_iter().map(|(name, value)| vec![name.into(), value]),
        ))?,
    }
    Ok(Exit::Done)
}

/// What a person wants to know about a model, in words.
pub(super) fn facts(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let (threshold, input) = (&manifest.threshold, &manifest.input);
    let pixels = threshold.region.map(|region| format!(", pixels {region:.4}")).unwrap_or_default();
    let mut facts = vec![
        ("version", manifest.version.clone()),
        ("kind", manifest.kind.name().into()),
        (
            "input",
            format!(
                "{} {} {} {}x{} px, {}",
                input.layout.name(),
                input.dtype.name(),
                input.colour.name(),
                input.width,
                input.height,
                input.fit.name()
            ),
        ),
        ("threshold", format!("{:.4}{pixels}", threshold.score)),
        ("chosen by", threshold.chosen_by.clone()),
    ];
    if let Some(Tiles { width, height, overlap_px }) = input.tiles {
        facts.push((
            "tiles",
            format!("{width}x{height} px of the picture, which overlap by {overlap_px} px"),
        ));
    }
    if let Some(calibration) = &threshold.calibration {
        let (asked, supported) = (
            percent(calibration.requested_false_reject_rate),
            percent(calibration.supported_false_reject_rate),
        );
        facts.push(("false rejects", format!("{asked} asked, {supported} supported")));
    }
    facts.extend(match &manifest.provenance {
        Provenance::Taught(teaching) => taught(teaching),
        Provenance::Imported(imported) => vec![(
            "imported",
            format!(
                "{} by {} from {} ({})",
                time(imported.imported_unix_ns),
                imported.imported_by,
                imported.imported_from,
                imported.producer
            ),
        )],
    });
    let takt = match &manifest.provenance {
        Provenance::Taught(teaching) => &teaching.takt_version,
        Provenance::Imported(imported) => &imported.takt_version,
    };
    if let Some(quantisation) = &manifest.quantisation {
        let (some, all) = (
            quantisation.convolutions,
            quantisation.convolutions + quantisation.convolutions_plain,
        );
        let (precision, images) = (quantisation.precision.name(), quantisation.images);
        facts.push((
            "precision",
            format!("{precision} in {some} of {all} convolutions, ranges from {images} good images"),
        ));
    }
    facts.extend([
        ("licence", manifest.licence.clone()),
        ("takt", takt.clone()),
        ("golden images", manifest.golden.images.len().to_string()),
    ]);
    facts
}

fn taught(teaching: &Teaching) -> Vec<(&'static str, String)> {
    let method = &teaching.method;
    let bank = method.bank.map(|bank| format!(", bank of {bank} patches")).unwrap_or_default();
    let neighbours = method.neighbours.map(|count| format!(", {count} nearest")).unwrap_or_default();
    let (when, who) = (time(teaching.taught_unix_ns), &teaching.taught_by);
    let mut told = vec![
        ("method", format!("{}{bank}{neighbours}, seed {}", method.name, method.seed)),
        ("backbone", format!("{} ({})", teaching.backbone.name, teaching.backbone.licence)),
        (
            "taught",
            format!("{when} by {who} from {} images in {}", teaching.images, teaching.taught_from),
        ),
    ];
    if let Some(base) = &teaching.extended_from {
        let Extended {
            name,
            version,
            sha256,
            images,
            ..
        } = base;
        told.push((
            "extends",
            format!(
                "{name} {version} ({images} of the images; model.toml {})",
                sha256.get(..12).unwrap_or(sha256)
            ),
        ));
    }
    told
}

fn time(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns))
        .map(|time| format!("{time:.0}"))
        .unwrap_or_default()
}

fn verify(package: &Path, trusted_keys: &[PathBuf], format: Format, engine: EngineArgs) -> anyhow::Result<Exit> {
    let opened = Package::open(package)?;
    let trust = Trust::read(!trusted_keys.is_empty(), trusted_keys)?;
    let signed_by = trust.check(&opened)?;
    let active = opened.activate(EngineOptions::from(engine))?;
    let provider = active.engine.provider();
    match format {
        Format::Json => {
            let images: Vec<_> = active
                .gated
                .iter()
                .map(|gated| json!({ "image": gated.file, "expected": shortest(gated.expected), "score": shortest(gated.score), "verdict": gated.verdict }))
                .collect();
            print_json(&json!({ "package": package, "provider": provider, "golden": images, "signed_by": signed_by }))?;
        }
        Format::Table => {
            let rows = active.gated.iter().map(|gated| {
                vec![
                    gated.file.clone(),
                    format!("{:.6}", gated.expected),
                    format!("{:.6}", gated.score),
                    gated.verdict.name().into(),
                    provider.name().into(),
                ]
            });
            print(&table(&["golden image", "expected", "score", "verdict", "provider"], rows))?;
            if let Some(key) = signed_by {
                print(&format!("signed with the private half of {}\n", key.display()))?;
            }
        }
    }
    Ok(Exit::Done)
}
