//! `takt validate`: whether a station can run as it is configured, and how fast.

mod gate;
mod references;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::config::StationConfig;
use crate::config::recipe::{InspectionConfig, RecipeConfig};
use crate::config::timing::{Limit, Term, ms};
use crate::journal::retention::{Load, RECORD_BYTES, quota_for};
use crate::model::package::Package;
use crate::model::signature::Trust;
use crate::recipe::{Abilities, Rules};
use crate::vision::reading;

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// The station's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How to print the timing
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let opened = OpenedOnce::default();
    let config = match StationConfig::read_with_models(&args.config, &|model, rules| opened.check(model, rules)) {
        Ok(config) => config,
        Err(errors) => {
            // Each line starts with its place, so that an editor can go there.
            let _ = writeln!(io::stderr(), "{errors}");
            return Ok(Exit::Usage);
        }
    };
    if let Err(error) = check_signatures(&config) {
        let _ = writeln!(io::stderr(), "error: {error:#}");
        return Ok(Exit::Usage);
    }
    let faults = references::faults(&config);
    if !faults.is_empty() {
        for fault in faults {
            let _ = writeln!(io::stderr(), "{}: {fault}", args.config.display());
        }
        return Ok(Exit::Usage);
    }
    match args.format {
        Format::Json => print_json(&record(&config, &opened))?,
        Format::Table => {
            print(&report(&config))?;
            print(&recipe_words(&config, &opened))?;
            for warning in config.warnings() {
                let _ = writeln!(io::stderr(), "warning: {warning}");
            }
        }
    }
    Ok(Exit::Done)
}

/// Whether the packages are signed as the station wants them.
fn check_signatures(config: &StationConfig) -> anyhow::Result<()> {
    let trust = Trust::read(config.models.require_signature, &config.models.trusted_keys)?;
    if trust == Trust::default() {
        return Ok(());
    }
    let models: BTreeSet<&Path> = config.inspections().map(|inspection| inspection.model.as_path()).collect();
    for model in models {
        trust.check(&Package::open(model)?)?;
    }
    Ok(())
}

/// What is assumed of a line whose parts are not known: this share of rejects, this size of an image (640x480 of a textured part).
pub(super) const REJECT_SHARE: f64 = 0.05;
const IMAGE_BYTES: u64 = 100 << 10;

/// Model packages are large and may be named more than once; each is opened once.
#[derive(Default)]
struct OpenedOnce(RefCell<BTreeMap<PathBuf, Result<Abilities, String>>>);

impl OpenedOnce {
    fn check(&self, model: &Path, rules: &Rules) -> Result<(), String> {
        let mut opened = self.0.borrow_mut();
        let open = || Package::open(model).map_err(|error| error.to_string());
        let able = || open().map(|package| reading::abilities(&package.manifest));
        rules.check(opened.entry(model.to_owned()).or_insert_with(able).as_ref().map_err(Clone::clone)?)
    }

    /// Classes of an inspection's model that no criterion rejects.
    fn ignored(&self, inspection: &InspectionConfig) -> Vec<String> {
        let opened = self.0.borrow();
        let Some(Ok(model)) = opened.get(&inspection.model) else {
            return Vec::new();
        };
        inspection.rules.ignored(model).into_iter().map(str::to_owned).collect()
    }
}

/// Every recipe as people read it: where it looks, and what rejects a part.
fn recipe_words(config: &StationConfig, opened: &OpenedOnce) -> String {
    let mut lines = Vec::new();
    for recipe in &config.recipes {
        let revision = Some(&recipe.revision).filter(|revision| !revision.is_empty());
        let revision = revision.map_or_else(String::new, |revision| format!(", revision {revision}"));
        lines.push(format!("\nRecipe {}{revision}: {}", recipe.number, recipe.name));
        for inspection in &recipe.inspections {
            lines.extend(inspection_words(config, inspection, opened));
        }
    }
    lines.join("\n") + "\n"
}

fn inspection_words(config: &StationConfig, inspection: &InspectionConfig, opened: &OpenedOnce) -> Vec<String> {
    let camera = config.cameras.get(inspection.camera).map_or("", |camera| &camera.name);
    let rules = &inspection.rules;
    let scale = rules
        .scale
        .map_or_else(String::new, |scale| format!(" ({} mm per pixel)", scale.mm_per_px));
    let located = if inspection.locator.is_some() {
        ", where the locator finds the part"
    } else {
        ""
    };
    let place = rules.area.words();
    let looks = format!("  {}: through camera \"{camera}\"{scale}, {place}{located}", inspection.name);
    let passed = |class: &String| format!("    passed: findings of class \"{class}\", of which no criterion rejects any");
    let ignored = opened.ignored(inspection);
    let rejects = rules.words().into_iter().map(|said| format!("    {said}"));
    std::iter::once(looks).chain(rejects).chain(ignored.iter().map(passed)).collect()
}

/// The same as programs read it.
fn recipe_record(recipe: &RecipeConfig, config: &StationConfig, opened: &OpenedOnce) -> serde_json::Value {
    let inspection = |inspection: &InspectionConfig| {
        json!({
            "name": inspection.name,
            "camera": config.cameras.get(inspection.camera).map(|camera| &camera.name),
            "model": inspection.model,
            "mm_per_px": inspection.rules.scale.map(|scale| scale.mm_per_px),
            "area": inspection.rules.area.words(),
            "criteria": inspection.rules.words(),
            "ignored_classes": opened.ignored(inspection),
        })
    };
    json!({
        "number": recipe.number,
        "revision": Some(&recipe.revision).filter(|revision| !revision.is_empty()),
        "name": recipe.name,
        "inspections": recipe.inspections.iter().map(inspection).collect::<Vec<_>>(),
    })
}

/// The timing as people read it.
fn report(config: &StationConfig) -> String {
    let (timing, pace) = (config.gate_timing(), config.pace());
    let row = |name: &str, time: Duration, meaning: &str| vec![name.to_owned(), ms(time), meaning.to_owned()];
    let terms = timing.terms().map(|Term { name, time, meaning }| row(name, time, meaning));
    let sums = [
        row("sum", timing.needed(), "a part needs from its trigger to a gate that stands"),
        row(
            "trigger_to_gate_ms",
            timing.trigger_to_gate,
            "a part takes from its trigger to the gate",
        ),
        row("slack", timing.slack().unwrap_or_default(), "left over"),
    ];
    let limits = pace
        .limits()
        .map(|Limit { meaning, interval }| vec![meaning.to_owned(), ms(interval), per_second(interval)]);
    let way = table(&["trigger to gate", "ms", "in which"], terms.into_iter().chain(sums));
    let rate = table(&["parts come no faster than", "every ms", "per second"], limits);
    format!(
        "Station {}: its configuration is valid.\n\n{way}\n{rate}\nHighest trigger rate: {:.1} per second.\n{}\n{}",
        config.id,
        pace.trigger_rate_hz_max(),
        offline(config),
        gate::report(config)
    )
}

/// How many parts come at most, and what the journal keeps of them.
fn load(config: &StationConfig) -> Load {
    Load {
        parts_per_s: 1.0 / config.trigger.part_interval_min.as_secs_f64(),
        reject_share: REJECT_SHARE,
        sampled_share: config.journal.ok_share,
        images_per_part: config.cameras.len() as f64,
        image_bytes: IMAGE_BYTES,
        record_bytes: RECORD_BYTES,
    }
}

/// How long the journal keeps everything while no historian takes it, days.
fn offline_days(config: &StationConfig) -> f64 {
    config.journal.quota_bytes as f64 / quota_for(1.0, &load(config)) as f64
}

fn offline(config: &StationConfig) -> String {
    let load = load(config);
    format!(
        "Without a historian the journal's {} MiB hold {:.1} days at {:.1} parts per second, if {:.0} % of them are rejected and an image takes {} KiB.",
        config.journal.quota_bytes >> 20,
        offline_days(config),
        load.parts_per_s,
        100.0 * REJECT_SHARE,
        IMAGE_BYTES >> 10
    )
}

fn per_second(interval: Duration) -> String {
    format!("{:.1}", 1.0 / interval.as_secs_f64())
}

/// The same as programs read it.
fn record(config: &StationConfig, opened: &OpenedOnce) -> serde_json::Value {
    let (timing, pace) = (config.gate_timing(), config.pace());
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let terms = timing.terms().map(|term| json!({ "term": term.name, "ms": ms(term.time) }));
    let limits = pace
        .limits()
        .map(|limit| json!({ "limit": limit.meaning, "interval_ms": ms(limit.interval) }));
    json!({
        "station": config.id,
        "terms": terms,
        "needed_ms": ms(timing.needed()),
        "trigger_to_gate_ms": ms(timing.trigger_to_gate),
        "slack_ms": timing.slack().map(ms),
        "limits": limits,
        "trigger_rate_hz_max": pace.trigger_rate_hz_max(),
        "gate": gate::record(config),
        "journal_quota_mib": config.journal.quota_bytes >> 20,
        "journal_offline_days": offline_days(config),
        "recipes": config.recipes.iter().map(|recipe| recipe_record(recipe, config, opened)).collect::<Vec<_>>(),
        "warnings": config.warnings(),
    })
}
