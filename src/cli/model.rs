//! `takt model`: what packages there are, what is in them, and whether they work here.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::table::{percent, table};
use super::{EngineArgs, Exit, Format, activate, print, print_json, shortest};
use crate::model::manifest::Manifest;
use crate::model::package::{Listed, Package, list};

#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// List the packages in a folder, with what is wrong with any of them
    List {
        /// The folder
        #[arg(default_value = "models", value_name = "DIR")]
        folder: PathBuf,
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
    /// Check every file of a package, load it and run its golden images
    Verify {
        /// The package
        package: PathBuf,
        /// How to print the result
        #[arg(long, value_enum, default_value_t = Format::default())]
        format: Format,
        #[command(flatten)]
        engine: EngineArgs,
    },
}

pub(super) fn run(args: &ModelArgs) -> anyhow::Result<Exit> {
    match &args.command {
        ModelCommand::List { folder, format } => list_packages(folder, *format),
        ModelCommand::Show { package, format } => show(package, *format),
        ModelCommand::Verify { package, format, engine } => verify(package, *format, *engine),
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
    let (threshold, provenance, input) = (&manifest.threshold, &manifest.provenance, &manifest.input);
    let method = &provenance.method;
    let bank = method.bank.map(|bank| format!(", bank of {bank} patches")).unwrap_or_default();
    let neighbours = method.neighbours.map(|count| format!(", {count} nearest")).unwrap_or_default();
    let taught = jiff::Timestamp::from_nanosecond(i128::from(provenance.taught_unix_ns))
        .map(|time| format!("{time:.0}"))
        .unwrap_or_default();
    vec![
        ("version", manifest.version.clone()),
        ("kind", manifest.kind.name().into()),
        (
            "input",
            format!(
                "{} {} {} {}x{} px, {}",
                input.layout, input.dtype, input.colour, input.width, input.height, input.fit
            ),
        ),
        ("method", format!("{}{bank}{neighbours}, seed {}", method.name, method.seed)),
        (
            "backbone",
            format!("{} ({})", provenance.backbone.name, provenance.backbone.licence),
        ),
        ("threshold", format!("{:.4}, pixels {:.4}", threshold.score, threshold.region)),
        ("chosen by", threshold.chosen_by.clone()),
        (
            "false rejects",
            format!(
                "{} asked, {} supported",
                percent(threshold.requested_false_reject_rate),
                percent(threshold.supported_false_reject_rate)
            ),
        ),
        (
            "taught",
            format!(
                "{taught} by {} from {} images in {}",
                provenance.taught_by, provenance.images, provenance.taught_from
            ),
        ),
        ("licence", manifest.licence.clone()),
        ("takt", provenance.takt_version.clone()),
        ("golden images", manifest.golden.images.len().to_string()),
    ]
}

fn verify(package: &Path, format: Format, engine: EngineArgs) -> anyhow::Result<Exit> {
    let active = activate(package, engine)?;
    let provider = active.engine.provider();
    match format {
        Format::Json => {
            let images: Vec<_> = active
                .gated
                .iter()
                .map(|gated| json!({ "image": gated.file, "expected": shortest(gated.expected), "score": shortest(gated.score), "verdict": gated.verdict }))
                .collect();
            print_json(&json!({ "package": package, "provider": provider, "golden": images }))?;
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
        }
    }
    Ok(Exit::Done)
}
