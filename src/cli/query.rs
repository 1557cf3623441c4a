//! `takt query`: questions to a journal or a historian.
//!
//! | file | what it holds |
//! |---|---|
//! | `query/source.rs` | who answers |
//! | `query/record.rs` | a record as JSON (its keys are told there), CSV and for people |
//! | `query/when.rs` | moments as people write and read them |
//! | `query/text.rs`, `csv.rs` | plain tables, bars, sparklines; comma-separated values |
//! | `query/boxes.rs` | an evidence image with what was found on it |

mod boxes;
mod csv;
mod record;
mod source;
mod text;
mod when;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Exit;
use super::table::percent;
use crate::historian::queries::{PAGE_SIZE_MAX, QueryError};
use crate::part::{Reason, Verdict};
use crate::rpc::historian_client::{ClientError, DEFAULT_PORT, TlsFiles};
use crate::rpc::proto;
use csv::Field;
use record::Recorded;
use source::{Shown, Source};
use text::{Column, bar, cell, grouped, sparkline, table};

#[derive(Debug, Args)]
#[command(
    after_help = "Times are in UTC. Records come newest first. A filter that is given several times holds if one of its values does; \
    of --tag every one must hold. Test parts are among records, and not in pareto and yield."
)]
pub(super) struct QueryArgs {
    #[command(subcommand)]
    question: Option<Question>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::default(), global = true)]
    format: Format,
    /// Records (100 unless given) or rows of a pareto (24) at most
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Which records come first
    #[arg(long, value_enum, default_value_t = Order::default(), global = true)]
    order: Order,
    /// All records, however many
    #[arg(long, global = true, conflicts_with = "limit")]
    all: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// List records (what is done without a word)
    Records,
    /// Everything that is known about one record: by its key, or the newest (--order) that the filters leave
    Show(ShowArgs),
    /// Count by a dimension, the most rejects first
    Pareto {
        /// What to count by: class, recipe, model, tag:NAME, hour (of the day), reason, station
        #[arg(long, value_name = "WHAT", default_value = "class", value_parser = dimension)]
        by: By,
    },
    /// Yield over time
    Yield {
        /// Length of a step: whole hours or days
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = when::step_s)]
        step: u32,
    },
    /// List stations and what is held of them
    Stations,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The record: STATION/EPOCH/SEQUENCE
    #[arg(value_name = "KEY", value_parser = key)]
    key: Option<proto::RecordKey>,
    /// Folder to write its images to
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Folder to write its images to, with a frame around what was found
    #[arg(long, value_name = "DIR")]
    overlay: Option<PathBuf>,
}

/// Who is asked.
#[derive(Debug, Args)]
struct SourceArgs {
    /// Ask a historian; that of this machine unless given: port 7443, no TLS
    #[arg(long, value_name = "URL", global = true, conflicts_with = "journal")]
    historian: Option<String>,
    /// Ask a journal (its folder or file), or the embedded store of a historian (its file), on this machine
    #[arg(long, value_name = "PATH", global = true, conflicts_with_all = ["ca", "cert", "key_file"])]
    journal: Option<PathBuf>,
    /// Who signed the historian's certificate (PEM)
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Own certificate (PEM)
    #[arg(long, value_name = "FILE", global = true, requires = "key_file")]
    cert: Option<PathBuf>,
    /// Key of the own certificate (PEM)
    #[arg(long = "key", id = "key_file", value_name = "FILE", global = true, requires = "cert")]
    key: Option<PathBuf>,
}

/// Which records.
#[derive(Debug, Clone, PartialEq, Args)]
struct FilterArgs {
    /// Name of a station
    #[arg(long, value_name = "NAME", global = true)]
    station: Vec<String>,
    /// Triggered at or after: a time (RFC 3339), a date, or how long ago (90s, 30m, 2h, 7d)
    #[arg(long, value_name = "TIME", global = true)]
    from: Option<String>,
    /// Triggered before
    #[arg(long, value_name = "TIME", global = true)]
    to: Option<String>,
    /// Verdict
    #[arg(long, value_name = "ok|not_ok|not_decidable", global = true, value_parser = verdict)]
    verdict: Vec<i32>,
    /// Reason, by name or number
    #[arg(long, value_name = "REASON", global = true, value_parser = reason)]
    reason: Vec<u32>,
    /// Class of a finding
    #[arg(long, value_name = "CLASS", global = true)]
    class: Vec<String>,
    /// Cycle ID of the PLC
    #[arg(long, value_name = "N", global = true)]
    cycle: Vec<u32>,
    /// Serial, or the beginning of one followed by *
    #[arg(long, value_name = "SERIAL", global = true)]
    serial: Vec<String>,
    /// Number of a recipe
    #[arg(long, value_name = "N", global = true)]
    recipe: Vec<u32>,
    /// Model, as NAME or NAME@VERSION
    #[arg(long, value_name = "MODEL", global = true)]
    model: Vec<String>,
    /// What rides along, as NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE", global = true, value_parser = tag)]
    tag: Vec<proto::Tag>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one object per line for records, one object for summaries.
    Json,
    /// For spreadsheets.
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// What a pareto counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct By {
    dimension: proto::Dimension,
    tag_name: String,
    /// As asked for.
    word: String,
}

/// Records unless a limit says otherwise.
const RECORDS: u64 = 100;

/// Rows of a pareto unless a limit says otherwise: the hours of a day.
const PARETO_ROWS: u64 = 24;

pub(super) fn run(args: &QueryArgs) -> anyhow::Result<Exit> {
    match answer(args) {
        // What cannot be asked so is misuse, whoever found it out.
        Err(error) if is_misuse(&error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            Ok(Exit::Usage)
        }
        answered => answered,
    }
}

fn is_misuse(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(QueryError::Invalid(_)))
        || matches!(error.downcast_ref(), Some(ClientError::Invalid(_) | ClientError::Address { .. }))
}

fn answer(args: &QueryArgs) -> anyhow::Result<Exit> {
    let filter = args.filter.filter(Timestamp::now())?;
    if matches!(args.question, Some(Question::Stations)) && filter != proto::RecordFilter::default() {
        return Err(misuse("stations takes no filters"));
    }
    let mut source = args.source.open()?;
    let text = match &args.question {
        None | Some(Question::Records) => return print_records(args, filter, &mut source),
        Some(Question::Show(show)) => return show_record(args, show, filter, &mut source),
        Some(Question::Pareto { by }) => {
            let limit = u32::try_from(args.limit.unwrap_or(PARETO_ROWS)).unwrap_or(u32::MAX);
            let request = proto::ParetoRequest {
                filter: Some(filter),
                dimension: by.dimension.into(),
                tag_name: by.tag_name.clone(),
                // Shares are of all rows, not of those that are shown.
                rows_max: limit.max(PAGE_SIZE_MAX),
            };
            pareto_text(args.format, by, source.pareto(request)?, limit as usize)
        }
        Some(Question::Yield { step }) => {
            let request = proto::YieldRequest {
                filter: Some(filter),
                step_s: *step,
            };
            yield_text(args.format, *step, &source.yield_steps(request)?.steps)
        }
        Some(Question::Stations) => stations_text(args.format, &source.stations()?),
    };
    tell(&text)?;
    Ok(Exit::Done)
}

fn misuse(what: &str) -> anyhow::Error {
    QueryError::Invalid(what.into()).into()
}

/// Writes to standard output. Says whether anybody still reads.
fn tell(text: &str) -> anyhow::Result<bool> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("failed to write to standard output"),
    }
}

fn json_line(value: &Value) -> String {
    format!("{value}\n")
}

impl SourceArgs {
    fn open(&self) -> anyhow::Result<Source> {
        if let Some(journal) = &self.journal {
            return Source::journal(journal);
        }
        let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("failed to read {}", file.display()));
        let identity = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let tls = TlsFiles {
            ca: self.ca.as_ref().map(read).transpose()?,
            identity,
        };
        let default = format!("http://127.0.0.1:{DEFAULT_PORT}");
        Source::historian(self.historian.as_ref().unwrap_or(&default), tls)
    }
}

impl FilterArgs {
    fn filter(&self, now: Timestamp) -> anyhow::Result<proto::RecordFilter> {
        let moment = |name: &str, text: &Option<String>| match text {
            None => Ok(0),
            Some(text) => when::moment(text, now).map_err(|why| misuse(&format!("--{name}: {why}"))),
        };
        Ok(proto::RecordFilter {
            stations: self.station.clone(),
            from_unix_ns: moment("from", &self.from)?,
            to_unix_ns: moment("to", &self.to)?,
            verdicts: self.verdict.clone(),
            reasons: self.reason.clone(),
            classes: self.class.clone(),
            cycle_ids: self.cycle.clone(),
            serials: self.serial.clone(),
            recipes: self.recipe.clone(),
            models: self.model.clone(),
            tags: self.tag.clone(),
            epoch: 0,
        })
    }
}

impl From<Order> for proto::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Newest => Self::NewestFirst,
            Order::Oldest => Self::OldestFirst,
        }
    }
}

fn verdict(text: &str) -> Result<i32, String> {
    let all = [Verdict::Ok, Verdict::NotOk, Verdict::NotDecidable];
    let found = all.into_iter().find(|verdict| verdict.name() == text);
    found
        .map(|verdict| i32::from(verdict.code()))
        .ok_or_else(|| "there are ok, not_ok and not_decidable".into())
}

fn reason(text: &str) -> Result<u32, String> {
    let named = Reason::ALL
        .iter()
        .find(|reason| reason.name() == text)
        .map(|reason| u32::from(reason.code()));
    named.or_else(|| text.parse().ok()).ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

fn tag(text: &str) -> Result<proto::Tag, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(proto::Tag {
            name: name.into(),
            value: value.into(),
        }),
        _ => Err("write NAME=VALUE".into()),
    }
}

fn dimension(text: &str) -> Result<By, String> {
    use proto::Dimension;
    let (dimension, tag_name) = match text.split_once(':') {
        Some(("tag", name)) if !name.is_empty() => (Dimension::Tag, name),
        None if text == "class" => (Dimension::Class, ""),
        None if text == "recipe" => (Dimension::Recipe, ""),
        None if text == "model" => (Dimension::Model, ""),
        None if text == "hour" => (Dimension::Hour, ""),
        None if text == "reason" => (Dimension::Reason, ""),
        None if text == "station" => (Dimension::Station, ""),
        _ => return Err("there are class, recipe, model, tag:NAME, hour, reason and station".into()),
    };
    Ok(By {
        dimension,
        tag_name: tag_name.into(),
        word: text.into(),
    })
}

/// The names of stations have no slash; should one have, the last two count.
fn key(text: &str) -> Result<proto::RecordKey, String> {
    let parsed = || {
        let (rest, sequence) = text.rsplit_once('/')?;
        let (station, epoch) = rest.rsplit_once('/')?;
        (!station.is_empty()).then_some(proto::RecordKey {
            station: station.into(),
            epoch: epoch.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    };
    parsed().ok_or_else(|| "write STATION/EPOCH/SEQUENCE, as `takt query` lists it".into())
}

const RECORD_COLUMNS: [Column; 6] = [
    Column::Left("time (UTC)"),
    Column::Left("record"),
    Column::Optional("cycle"),
    Column::Optional("serial"),
    Column::Left("verdict"),
    Column::Optional("why"),
];

fn print_records(args: &QueryArgs, filter: proto::RecordFilter, source: &mut Source) -> anyhow::Result<Exit> {
    let mut left = if args.all { u64::MAX } else { args.limit.unwrap_or(RECORDS) };
    let mut request = proto::QueryRecordsRequest {
        filter: Some(filter),
        order: proto::Order::from(args.order).into(),
        ..Default::default()
    };
    let mut is_first = true;
    while left > 0 {
        request.page_size = left.min(u64::from(PAGE_SIZE_MAX)) as u32;
        let (records, next_cursor) = source.page(&request)?;
        left = left.saturating_sub(records.len() as u64);
        let records: Vec<Recorded> = records.iter().map(|bytes| Recorded::read(bytes)).collect::<anyhow::Result<_>>()?;
        if !tell(&records_text(args.format, &records, is_first))? {
            return Ok(Exit::Done);
        }
        is_first &= records.is_empty();
        if next_cursor.is_empty() {
            break;
        }
        request.cursor = next_cursor;
    }
    if is_first && args.format == Format::Table {
        tell("no records\n")?;
    }
    Ok(Exit::Done)
}

fn records_text(format: Format, records: &[Recorded], is_first: bool) -> String {
    match format {
        _ if records.is_empty() => String::new(),
        Format::Json => records.iter().map(|record| json_line(&record.json())).collect(),
        Format::Csv => {
            let header = if is_first { csv::header(&record::CSV) } else { String::new() };
            let rows: String = records.iter().map(|record| csv::row(&record.csv())).collect();
            header + &rows
        }
        Format::Table => {
            let mut rows = Vec::new();
            let mut day = String::new();
            for record in records {
                let (date, _) = when::date_and_time(record.at_unix_ns());
                if date != day {
                    rows.push(vec![date.clone()]);
                    day = date;
                }
                rows.push(record.row());
            }
            let gap = if is_first { "" } else { "\n" };
            format!("{gap}{}", table(&RECORD_COLUMNS, &rows))
        }
    }
}

fn show_record(args: &QueryArgs, show: &ShowArgs, filter: proto::RecordFilter, source: &mut Source) -> anyhow::Result<Exit> {
    let key = match &show.key {
        Some(key) if filter == proto::RecordFilter::default() => key.clone(),
        Some(_) => return Err(misuse("show takes a key or filters, not both")),
        None if filter == proto::RecordFilter::default() => {
            return Err(misuse("show needs a key (STATION/EPOCH/SEQUENCE) or a filter, such as --cycle"));
        }
        None => first_key(args, filter, source)?,
    };
    let Some(shown) = source.record(&key)? else {
        bail!(
            "failed to find record {}/{}/{}; it may be gone, or not here yet",
            key.station,
            key.epoch,
            key.sequence
        );
    };
    let record = Recorded::read(&shown.bytes)?;
    let files = save_images(show, &key, &record, &shown, source)?;
    let related: Vec<Recorded> = shown
        .related
        .iter()
        .map(|bytes| Recorded::read(bytes))
        .collect::<anyhow::Result<_>>()?;
    let text = match args.format {
        Format::Csv => records_text(Format::Csv, &[record], true),
        Format::Json => {
            let images = shown
                .images
                .iter()
                .map(|image| json!({ "camera": image.camera, "sha256": record::hex(&image.sha256) }));
            json_line(&json!({
                "record": record.json(),
                "related": related.iter().map(Recorded::json).collect::<Value>(),
                "images": images.collect::<Value>(),
                "files": files.iter().map(|file| file.display().to_string()).collect::<Value>(),
            }))
        }
        Format::Table => {
            let mut text = record.page();
            let remarks = related.iter().map(|related| format!("\n afterwards  {}\n", related.remark()));
            text.extend(remarks);
            text.extend(
                shown
                    .images
                    .iter()
                    .map(|image| format!("\n image       camera {}\n", text::plain(&image.camera))),
            );
            text.extend(files.iter().map(|file| format!(" written     {}\n", file.display())));
            text
        }
    };
    tell(&text)?;
    Ok(Exit::Done)
}

/// The key of the first record that the filters leave.
fn first_key(args: &QueryArgs, filter: proto::RecordFilter, source: &mut Source) -> anyhow::Result<proto::RecordKey> {
    let mut request = proto::QueryRecordsRequest {
        filter: Some(filter),
        order: proto::Order::from(args.order).into(),
        page_size: 1,
        cursor: String::new(),
    };
    loop {
        let (records, next_cursor) = source.page(&request)?;
        if let Some(bytes) = records.first() {
            let record = Recorded::read(bytes)?.record;
            return Ok(proto::RecordKey {
                station: record.station,
                epoch: record.epoch,
                sequence: record.sequence,
            });
        }
        if next_cursor.is_empty() {
            bail!("failed to find a record that the filters leave; it may be gone, or not here yet");
        }
        request.cursor = next_cursor;
    }
}

/// Writes the record's images to the folders that are asked for. Returns what was written.
fn save_images(
    show: &ShowArgs,
    key: &proto::RecordKey,
    record: &Recorded,
    shown: &Shown,
    source: &mut Source,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if show.images.is_none() && show.overlay.is_none() {
        return Ok(files);
    }
    let make = |folder: &Path| std::fs::create_dir_all(folder).with_context(|| format!("failed to create folder {}", folder.display()));
    show.images.as_deref().map(make).transpose()?;
    show.overlay.as_deref().map(make).transpose()?;
    for image in &shown.images {
        let bytes = source.image(key, image)?;
        let name = file_name(key, &image.camera);
        let scratch = tempfile::tempdir().context("failed to create a temporary folder")?;
        let file = show
            .images
            .as_deref()
            .unwrap_or(scratch.path())
            .join(format!("{name}.{}", image.ending));
        std::fs::write(&file, bytes).with_context(|| format!("failed to write image {}", file.display()))?;
        if let Some(folder) = &show.overlay {
            let views = record.views().iter().filter(|view| view.camera == image.camera);
            let findings: Vec<proto::Finding> = views.flat_map(|view| view.findings.iter().cloned()).collect();
            let overlay = folder.join(format!("{name}_overlay.png"));
            boxes::write(&file, &findings, &overlay)?;
            files.push(overlay);
        }
        if show.images.is_some() {
            files.push(file);
        }
    }
    Ok(files)
}

/// Names come from outside: whatever could lead elsewhere becomes a dash.
fn file_name(key: &proto::RecordKey, camera: &str) -> String {
    let tame = |text: &str| -> String {
        let tame = |sign: char| if sign.is_alphanumeric() || "-_".contains(sign) { sign } else { '-' };
        text.chars().take(64).map(tame).collect()
    };
    format!("{}_{}_{}_{}", tame(&key.station), key.epoch, key.sequence, tame(camera))
}

fn total(counts: proto::Counts) -> u64 {
    counts.ok + counts.not_ok + counts.not_decidable
}

fn rejects(counts: proto::Counts) -> u64 {
    counts.not_ok + counts.not_decidable
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// A share as percent; nothing where there is none.
fn percent_of(part: u64, of: u64) -> String {
    share(part, of).map(percent).unwrap_or_default()
}

/// Characters of the longest bar of a pareto.
const PARETO_BAR: usize = 24;

/// JSON: `by`, `rows[] {key, ok, not_ok, not_decidable}`, `others` (parts in rows that are not shown).
fn pareto_text(format: Format, by: &By, answer: proto::ParetoResponse, limit: usize) -> String {
    let mut rows: Vec<(String, proto::Counts)> = answer
        .rows
        .into_iter()
        .map(|row| (row.key, row.counts.unwrap_or_default()))
        .collect();
    let all_rejects = rows.iter().map(|(_, counts)| rejects(*counts)).sum();
    let left_out = rows.split_off(limit.min(rows.len()));
    let others = answer.others + left_out.iter().map(|(_, counts)| total(*counts)).sum::<u64>();
    match format {
        Format::Json => {
            let row = |(key, counts): &(String, proto::Counts)| with_counts(json!({ "key": key }), *counts);
            json_line(&json!({ "by": by.word, "rows": rows.iter().map(row).collect::<Value>(), "others": others }))
        }
        Format::Csv => {
            let row = |(key, counts): &(String, proto::Counts)| csv::row(&[vec![Field::text(key)], count_fields(*counts)].concat());
            csv::header(&["key", "ok", "not_ok", "not_decidable"]) + &rows.iter().map(row).collect::<String>()
        }
        Format::Table if rows.is_empty() => "no parts\n".into(),
        Format::Table => {
            // A day is read from morning to night.
            if by.dimension == proto::Dimension::Hour {
                rows.sort_by(|(one, _), (other, _)| one.cmp(other));
            }
            pareto_table(by, &rows, all_rejects, others)
        }
    }
}

/// Shares are of `all` rejects, those of rows that are not shown included.
fn pareto_table(by: &By, rows: &[(String, proto::Counts)], all: u64, others: u64) -> String {
    let most = rows.iter().map(|(_, counts)| rejects(*counts)).max().unwrap_or_default();
    let is_hour = by.dimension == proto::Dimension::Hour;
    let mut so_far = 0;
    let mut lines = Vec::new();
    for (key, counts) in rows {
        so_far += rejects(*counts);
        let name = match key.as_str() {
            "" => "(none)".into(),
            hour if is_hour => format!("{hour}:00 UTC"),
            key => cell(key),
        };
        lines.push(vec![
            name,
            grouped(rejects(*counts)),
            bar(share(rejects(*counts), most).unwrap_or_default(), PARETO_BAR),
            percent_of(rejects(*counts), all),
            if is_hour { String::new() } else { percent_of(so_far, all) },
            grouped(total(*counts)),
            percent_of(rejects(*counts), total(*counts)),
        ]);
    }
    let columns = [
        Column::Left(if by.tag_name.is_empty() { by_title(by.dimension) } else { "tag" }),
        Column::Right("rejects"),
        Column::Optional(""),
        Column::Right("share"),
        Column::OptionalRight("sum"),
        Column::Right("parts"),
        Column::Right("rate"),
    ];
    let rest = format!("\n {} parts in rows that are not shown (--limit)\n", grouped(others));
    table(&columns, &lines) + if others > 0 { &rest } else { "" }
}

fn by_title(dimension: proto::Dimension) -> &'static str {
    use proto::Dimension;
    match dimension {
        Dimension::Class => "class",
        Dimension::Recipe => "recipe",
        Dimension::Model => "model",
        Dimension::Hour => "hour",
        Dimension::Reason => "reason",
        Dimension::Station => "station",
        Dimension::Tag | Dimension::Unspecified => "tag",
    }
}

fn with_counts(mut object: Value, counts: proto::Counts) -> Value {
    object["ok"] = counts.ok.into();
    object["not_ok"] = counts.not_ok.into();
    object["not_decidable"] = counts.not_decidable.into();
    object
}

fn count_fields(counts: proto::Counts) -> Vec<Field> {
    [counts.ok, counts.not_ok, counts.not_decidable]
        .map(|count| Field::word(Some(count)))
        .to_vec()
}

/// Columns of a sparkline; where there are more steps, several share one.
const SPARKS_MAX: usize = 60;

/// JSON: `step_s`, `steps[] {from_unix_ns, ok, not_ok, not_decidable, yield}`; `yield` is ok of all, 0 to 1.
fn yield_text(format: Format, step_s: u32, steps: &[proto::YieldStep]) -> String {
    let counts = |step: &proto::YieldStep| step.counts.unwrap_or_default();
    let good = |counts: proto::Counts| share(counts.ok, total(counts));
    match format {
        Format::Json => {
            let step = |step: &proto::YieldStep| {
                let mut object = with_counts(json!({ "from_unix_ns": step.from_unix_ns }), counts(step));
                object["yield"] = good(counts(step)).into();
                object
            };
            json_line(&json!({ "step_s": step_s, "steps": steps.iter().map(step).collect::<Value>() }))
        }
        Format::Csv => {
            let row = |step: &proto::YieldStep| {
                let mut fields = vec![
                    Field::word(Some(when::rfc3339(step.from_unix_ns))),
                    Field::word(Some(step.from_unix_ns)),
                ];
                fields.extend(count_fields(counts(step)));
                fields.push(Field::word(good(counts(step)).map(|share| format!("{share:.6}"))));
                csv::row(&fields)
            };
            csv::header(&["from", "from_unix_ns", "ok", "not_ok", "not_decidable", "yield"]) + &steps.iter().map(row).collect::<String>()
        }
        Format::Table if steps.is_empty() => "no parts\n".into(),
        Format::Table => yield_table(step_s, steps),
    }
}

fn yield_table(step_s: u32, steps: &[proto::YieldStep]) -> String {
    let by_day = step_s.is_multiple_of(86_400);
    let rows = steps.iter().map(|step| {
        let counts = step.counts.unwrap_or_default();
        let (date, time) = when::date_and_time(step.from_unix_ns);
        let from = if by_day {
            date
        } else {
            format!("{date} {}", time.get(..5).unwrap_or_default())
        };
        vec![
            from,
            grouped(total(counts)),
            grouped(counts.ok),
            grouped(counts.not_ok),
            grouped(counts.not_decidable),
            percent_of(counts.ok, total(counts)),
        ]
    });
    let columns = [
        Column::Left("from (UTC)"),
        Column::Right("parts"),
        Column::Right("ok"),
        Column::Right("not_ok"),
        Column::Right("not_decidable"),
        Column::Right("yield"),
    ];
    let table = table(&columns, &rows.collect::<Vec<_>>());
    let yields = sparks(step_s, steps);
    let known = || yields.iter().flatten().copied();
    let (low, high) = (known().fold(1.0, f64::min), known().fold(0.0, f64::max));
    let sum = |count: fn(proto::Counts) -> u64| steps.iter().map(|step| count(step.counts.unwrap_or_default())).sum::<u64>();
    let overall = percent_of(sum(|counts| counts.ok), sum(total));
    format!(
        "{table}\n yield {overall} of {} parts\n {}  {} to {}\n",
        grouped(sum(total)),
        sparkline(&yields),
        percent(low),
        percent(high)
    )
}

/// The yield over time in at most [`SPARKS_MAX`] equal spans; `None` where there were no parts.
fn sparks(step_s: u32, steps: &[proto::YieldStep]) -> Vec<Option<f64>> {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return Vec::new();
    };
    let step_ns = i128::from(step_s) * 1_000_000_000;
    let place = |step: &proto::YieldStep| (i128::from(step.from_unix_ns) - i128::from(first.from_unix_ns)) / step_ns;
    let length = place(last) + 1;
    let together = (length + SPARKS_MAX as i128 - 1) / SPARKS_MAX as i128;
    let mut spans = vec![(0, 0); ((length + together - 1) / together) as usize];
    for step in steps {
        let counts = step.counts.unwrap_or_default();
        if let Some((ok, all)) = spans.get_mut((place(step) / together) as usize) {
            (*ok, *all) = (*ok + counts.ok, *all + total(counts));
        }
    }
    spans.into_iter().map(|(ok, all)| share(ok, all)).collect()
}

/// JSON: `stations[] {station, epoch, records, ok, not_ok, not_decidable, last_recorded_unix_ns, held[] {first, last}}`.
fn stations_text(format: Format, stations: &[proto::StationSummary]) -> String {
    match format {
        Format::Json => {
            let station = |station: &proto::StationSummary| {
                let object = json!({
                    "station": station.station,
                    "epoch": station.epoch,
                    "records": station.records,
                    "last_recorded_unix_ns": station.last_recorded_unix_ns,
                    "held": station.held.iter().map(|range| json!({ "first": range.first, "last": range.last })).collect::<Value>(),
                });
                with_counts(object, station.counts.unwrap_or_default())
            };
            json_line(&json!({ "stations": stations.iter().map(station).collect::<Value>() }))
        }
        Format::Csv => {
            let row = |station: &proto::StationSummary| {
                let mut fields = vec![
                    Field::text(&station.station),
                    Field::word(Some(station.epoch)),
                    Field::word(Some(station.records)),
                ];
                fields.extend(count_fields(station.counts.unwrap_or_default()));
                fields.push(Field::word(Some(when::rfc3339(station.last_recorded_unix_ns))));
                fields.push(Field::word(Some(missing(station))));
                csv::row(&fields)
            };
            csv::header(&[
                "station",
                "epoch",
                "records",
                "ok",
                "not_ok",
                "not_decidable",
                "last_recorded",
                "missing",
            ]) + &stations.iter().map(row).collect::<String>()
        }
        Format::Table if stations.is_empty() => "no stations\n".into(),
        Format::Table => stations_table(stations),
    }
}

/// Records between those that are held: they are still on their way, or gone.
fn missing(station: &proto::StationSummary) -> u64 {
    let gaps = station
        .held
        .windows(2)
        .map(|pair| pair[1].first.saturating_sub(pair[0].last).saturating_sub(1));
    gaps.sum()
}

fn stations_table(stations: &[proto::StationSummary]) -> String {
    let rows = stations.iter().map(|station| {
        let counts = station.counts.unwrap_or_default();
        let (date, time) = when::date_and_time(station.last_recorded_unix_ns);
        let missing = missing(station);
        vec![
            cell(&station.station),
            station.epoch.to_string(),
            grouped(station.records),
            grouped(total(counts)),
            percent_of(counts.ok, total(counts)),
            format!("{date} {}", time.get(..8).unwrap_or_default()),
            if missing > 0 { grouped(missing) } else { String::new() },
        ]
    });
    let columns = [
        Column::Left("station"),
        Column::Right("epoch"),
        Column::Right("records"),
        Column::Right("parts"),
        Column::Right("yield"),
        Column::Left("last record (UTC)"),
        Column::OptionalRight("missing"),
    ];
    table(&columns, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
