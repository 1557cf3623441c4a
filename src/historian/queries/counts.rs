//! Pareto and yield. Counts by hour (`rollups`) tell where they can, for the whole hours of the span; the rest is counted from the records.
//! Both ways give the same numbers; test parts are in neither.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::filter::{self, Filter, Span, Verdicts};
use super::sql::Sql;
use super::{QueryError, Way, has_table, rows, snapshot};
use crate::journal::record_table::SEQUENCES;
use crate::part::Reason;
use crate::rpc::proto;

/// Records that are looked at for one answer: some seconds. A question that needs more is refused, with the advice to narrow it.
pub const COUNTED_MAX: u64 = 5_000_000;

/// Rows of counts by hour that are looked at for one answer; more are refused.
const ROLLUPS_COUNTED_MAX: u64 = 20_000_000;

/// Rows of an answer before the largest are picked, such as the values of a tag. More are refused: it would be a list, not a Pareto.
const GROUPS_MAX: usize = 100_000;

/// Steps of a yield. More are refused.
pub const STEPS_MAX: usize = 10_000;

/// Rows of a Pareto that does not say how many it wants.
const PARETO_ROWS: u32 = 20;

const HOUR_NS: i64 = 3_600_000_000_000;

const HOUR_S: u32 = 3600;

/// Counts by a dimension. The largest first: most rejects (NotOk and NotDecidable), then most parts, then by name. A part is counted in each
/// row it belongs to (two classes, two models); where it belongs to none (no findings, no such tag, no reason) it is not counted.
///
/// Keys are names as they are recorded; models as `name@version`, empty for parts that no model looked at; hours of the day (UTC) as `00`
/// to `23`; reasons by name, by number where this version of takt has no name for it.
///
/// # Errors
/// When the question makes no sense, needs more than [`COUNTED_MAX`] records to be looked at, or the database does not answer.
pub fn pareto(connection: &Connection, request: &proto::ParetoRequest) -> Result<proto::ParetoResponse, QueryError> {
    let filter = Filter::of(&request.filter.clone().unwrap_or_default())?;
    let key = Key::of(request)?;
    let rows_max = rows(request.rows_max, PARETO_ROWS, "rows_max")?;
    let _snapshot = snapshot(connection)?;
    let tally = count(connection, &filter, &key)?;
    let mut rows: Vec<proto::ParetoRow> = named(connection, &key, tally)?
        .into_iter()
        .map(|(key, counts)| proto::ParetoRow { key, counts: Some(counts) })
        .collect();
    // Equal rows stay in the order of their names.
    rows.sort_by_key(|row| std::cmp::Reverse((rejects(row), parts(row))));
    let others = rows.iter().skip(rows_max).map(parts).sum();
    rows.truncate(rows_max);
    Ok(proto::ParetoResponse { rows, others })
}

/// Counts by steps of time, oldest first. Steps are multiples of their length since 1970, so that steps of a day are days in UTC; steps without
/// parts are left out.
///
/// # Errors
/// When the question makes no sense, needs more than [`COUNTED_MAX`] records to be looked at, or the database does not answer.
pub fn yield_steps(connection: &Connection, request: &proto::YieldRequest) -> Result<proto::YieldResponse, QueryError> {
    let filter = Filter::of(&request.filter.clone().unwrap_or_default())?;
    if request.step_s == 0 || !request.step_s.is_multiple_of(HOUR_S) {
        return Err(QueryError::Invalid(format!(
            "step_s is {}; it is a multiple of {HOUR_S}",
            request.step_s
        )));
    }
    let hours = i64::from(request.step_s / HOUR_S);
    let _snapshot = snapshot(connection)?;
    let tally = count(connection, &filter, &Key::Step { hours })?;
    let steps: BTreeMap<i64, proto::Counts> = tally.groups.into_iter().collect();
    if steps.len() > STEPS_MAX {
        return Err(QueryError::Invalid(format!(
            "the answer has {} steps, of at most {STEPS_MAX}; choose longer steps or a shorter time",
            steps.len()
        )));
    }
    let steps = steps.into_iter().map(|(step, counts)| proto::YieldStep {
        from_unix_ns: step.saturating_mul(hours * HOUR_NS),
        counts: Some(counts),
    });
    Ok(proto::YieldResponse { steps: steps.collect() })
}

/// How many records of each chain there are, of every kind.
pub(super) fn records_by_chain(connection: &Connection) -> Result<HashMap<i64, u64>, QueryError> {
    let mut chains = HashMap::new();
    let mut budget = Budget::new(COUNTED_MAX);
    let mut statement = connection.prepare("SELECT id FROM records INDEXED BY records_by_time")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        budget.spend()?;
        *chains.entry(row.get::<_, i64>(0)? / SEQUENCES as i64).or_default() += 1;
    }
    Ok(chains)
}

/// Outcomes of each chain, without test parts.
pub(super) fn outcomes_by_chain(connection: &Connection) -> Result<HashMap<i64, proto::Counts>, QueryError> {
    let everything = Filter::of(&proto::RecordFilter::default())?;
    Ok(count(connection, &everything, &Key::Chain)?.groups)
}

fn parts(row: &proto::ParetoRow) -> u64 {
    row.counts.map(total).unwrap_or_default()
}

fn rejects(row: &proto::ParetoRow) -> u64 {
    row.counts.map(|counts| counts.not_ok + counts.not_decidable).unwrap_or_default()
}

fn total(counts: proto::Counts) -> u64 {
    counts.ok + counts.not_ok + counts.not_decidable
}

/// What parts are counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Class,
    Recipe,
    ModelSet,
    Tag(String),
    HourOfDay,
    Reason,
    Chain,
    Step { hours: i64 },
}

impl Key {
    pub(super) fn of(request: &proto::ParetoRequest) -> Result<Self, QueryError> {
        use proto::Dimension;
        let dimension = Dimension::try_from(request.dimension)
            .ok()
            .filter(|dimension| *dimension != Dimension::Unspecified);
        let Some(dimension) = dimension else {
            return Err(QueryError::Invalid(format!(
                "dimension: {} is no dimension; there are DIMENSION_CLASS (1), _RECIPE (2), _MODEL (3), _TAG (4), _HOUR (5), _REASON (6), _STATION (7)",
                request.dimension
            )));
        };
        match (dimension == Dimension::Tag, request.tag_name.is_empty()) {
            (true, true) => return Err(QueryError::Invalid("tag_name must say by which tag".into())),
            (false, false) => return Err(QueryError::Invalid("tag_name is for DIMENSION_TAG only".into())),
            _ => {}
        }
        Ok(match dimension {
            Dimension::Unspecified | Dimension::Class => Self::Class,
            Dimension::Recipe => Self::Recipe,
            Dimension::Model => Self::ModelSet,
            Dimension::Tag => Self::Tag(filter::text("tag_name", &request.tag_name)?),
            Dimension::Hour => Self::HourOfDay,
            Dimension::Reason => Self::Reason,
            Dimension::Station => Self::Chain,
        })
    }

    /// Kind and name of the labels it counts by.
    fn labels(&self) -> Option<(i64, &str)> {
        match self {
            Self::Class => Some((1, "")),
            Self::Tag(name) => Some((2, name)),
            _ => None,
        }
    }

    /// The dimension of `rollups` that has it.
    fn rollup_dimension(&self) -> i64 {
        match self {
            Self::Class => 1,
            Self::Tag(_) => 2,
            Self::Reason => 3,
            _ => 0,
        }
    }

    /// Of a row of `records`. Hours before 1970 are negative.
    fn of_record(&self) -> Sql {
        const HOUR: &str = "(at_unix_ns / 3600000000000 - (at_unix_ns % 3600000000000 < 0))";
        match self {
            Self::Class | Self::Tag(_) => Sql::default().text("record_labels.label"),
            Self::Recipe => Sql::default().text("recipe"),
            Self::ModelSet => Sql::default().text("model_set"),
            Self::Reason => Sql::default().text("reason"),
            Self::Chain => Sql::default().text("id / 1099511627776"),
            Self::HourOfDay | Self::Step { .. } => self.of_hour(HOUR),
        }
    }

    /// Of a row of `rollups`.
    fn of_rollup(&self) -> Sql {
        match self {
            Self::Class | Self::Tag(_) | Self::Reason => Sql::default().text("label"),
            Self::Recipe => Sql::default().text("recipe"),
            Self::ModelSet => Sql::default().text("model_set"),
            Self::Chain => Sql::default().text("chain"),
            Self::HourOfDay | Self::Step { .. } => self.of_hour("hour"),
        }
    }

    fn of_hour(&self, hour: &'static str) -> Sql {
        let hour = || Sql::default().text(hour);
        match self {
            Self::Step { hours } => hour()
                .text(" / ")
                .value(*hours)
                .text(" - (")
                .piece(hour())
                .text(" % ")
                .value(*hours)
                .text(" < 0)"),
            _ => Sql::default().text("(").piece(hour()).text(" % 24 + 24) % 24"),
        }
    }
}

/// Counts by a number: a label, a recipe, an hour.
#[derive(Debug, Default)]
struct Tally {
    groups: HashMap<i64, proto::Counts>,
}

impl Tally {
    fn add(&mut self, group: i64, more: proto::Counts, asked: Verdicts) -> Result<(), QueryError> {
        let more = proto::Counts {
            ok: if asked.ok { more.ok } else { 0 },
            not_ok: if asked.not_ok { more.not_ok } else { 0 },
            not_decidable: if asked.not_decidable { more.not_decidable } else { 0 },
        };
        if total(more) == 0 {
            return Ok(());
        }
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group) {
            return Err(too_many_groups());
        }
        let counts = self.groups.entry(group).or_default();
        counts.ok += more.ok;
        counts.not_ok += more.not_ok;
        counts.not_decidable += more.not_decidable;
        Ok(())
    }
}

fn too_many_groups() -> QueryError {
    QueryError::Invalid(format!(
        "the answer has more than {GROUPS_MAX} rows; ask for a shorter time, or by something with fewer values"
    ))
}

/// What an answer may still look at.
struct Budget {
    left: u64,
    max: u64,
}

impl Budget {
    fn new(max: u64) -> Self {
        Self { left: max, max }
    }

    fn spend(&mut self) -> Result<(), QueryError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            QueryError::Invalid(format!(
                "more than {} rows would have to be counted; ask for a shorter time or for fewer stations",
                self.max
            ))
        })?;
        Ok(())
    }
}

/// A span of time: the whole hours in it, and what is left at its ends.
#[derive(Debug, PartialEq, Eq)]
struct Hours {
    /// First and one beyond the last; `None` is no limit.
    whole: (Option<i64>, Option<i64>),
    ends: Vec<Span>,
}

impl Hours {
    /// `None` where there is no whole hour.
    fn of(span: Span) -> Option<Self> {
        let first = span
            .from
            .map(|from| from.div_euclid(HOUR_NS) + i64::from(from.rem_euclid(HOUR_NS) > 0));
        let end = span.to.map(|to| to.div_euclid(HOUR_NS));
        if first.zip(end).is_some_and(|(first, end)| first >= end) {
            return None;
        }
        let head = span.from.zip(first).map(|(from, first)| (from, first.saturating_mul(HOUR_NS)));
        let tail = span.to.zip(end).map(|(to, end)| (end.saturating_mul(HOUR_NS), to));
        let ends = head.into_iter().chain(tail).filter(|(from, to)| from < to).map(|(from, to)| Span {
            from: Some(from),
            to: Some(to),
        });
        Some(Self {
            whole: (first, end),
            ends: ends.collect(),
        })
    }
}

/// Counts what the filter asks for: from the counts by hour as far as they can tell, else from the records.
fn count(connection: &Connection, filter: &Filter, key: &Key) -> Result<Tally, QueryError> {
    let mut tally = Tally::default();
    let mut budget = Budget::new(COUNTED_MAX);
    let told = filter.is_told_by_rollups() && (filter.reasons.is_empty() || *key == Key::Reason);
    let hours = if told && has_table(connection, "rollups")? {
        Hours::of(filter.time)
    } else {
        None
    };
    let Some(hours) = hours else {
        count_records(connection, filter, key, &mut budget, &mut tally)?;
        return Ok(tally);
    };
    count_rollups(connection, filter, key, hours.whole, &mut tally)?;
    for time in hours.ends {
        count_records(connection, &filter.within(time), key, &mut budget, &mut tally)?;
    }
    Ok(tally)
}

fn count_rollups(
    connection: &Connection,
    filter: &Filter,
    key: &Key,
    (first, end): (Option<i64>, Option<i64>),
    tally: &mut Tally,
) -> Result<(), QueryError> {
    let mut conditions = filter.rollup_conditions().text(" AND dimension = ").value(key.rollup_dimension());
    if let Key::Tag(name) = key {
        conditions = conditions
            .text(" AND label IN (SELECT id FROM labels WHERE kind = 2 AND name = ")
            .value(name.clone())
            .text(")");
    }
    if *key == Key::Reason {
        conditions = conditions.text(" AND label <> 0");
        if !filter.reasons.is_empty() {
            conditions = conditions.text(" AND label IN ").list(filter.reasons.iter().copied());
        }
    }
    let walk = Sql::default()
        .text("SELECT ")
        .piece(conditions)
        .text(", ")
        .piece(key.of_rollup())
        .text(", ok, not_ok, not_decidable FROM rollups WHERE hour >= ")
        .value(first.unwrap_or(i64::MIN))
        .text(" AND hour < ")
        .value(end.unwrap_or(i64::MAX));
    let mut budget = Budget::new(ROLLUPS_COUNTED_MAX);
    let mut statement = connection.prepare_cached(walk.as_str())?;
    let mut rows = statement.query(params_from_iter(walk.values()))?;
    while let Some(row) = rows.next()? {
        budget.spend()?;
        if row.get(0)? {
            let number = |column| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or_default());
            let counts = proto::Counts {
                ok: number(2)?,
                not_ok: number(3)?,
                not_decidable: number(4)?,
            };
            tally.add(row.get(1)?, counts, filter.verdicts)?;
        }
    }
    Ok(())
}

fn count_records(connection: &Connection, filter: &Filter, key: &Key, budget: &mut Budget, tally: &mut Tally) -> Result<(), QueryError> {
    match walk(connection, filter, key)? {
        Some(walk) => walk_records(connection, &walk, filter.verdicts, budget, tally),
        None => Ok(()),
    }
}

/// Rows of records: whether each is asked for, its group, its verdict. `None` where there are none.
pub(super) fn walk(connection: &Connection, filter: &Filter, key: &Key) -> Result<Option<Sql>, QueryError> {
    let way = Way::of(connection, filter)?;
    let mut conditions = filter.conditions().text(" AND test_part = 0");
    if *key == Key::Reason {
        conditions = conditions.text(" AND reason <> 0");
    }
    let select = Sql::default()
        .text("SELECT ")
        .piece(conditions)
        .text(" AND ")
        .piece(filter.time.condition())
        .text(", ")
        .piece(key.of_record())
        .text(", verdict");
    match key.labels() {
        None => Ok(Some(select.piece(way.from()).text(" AND ").piece(filter.time.condition()))),
        Some(labels) => walk_labels(connection, filter, &way, labels, select),
    }
}

/// The same by the labels of a kind and name: for each label the records that carry it, or, where that is less, for each record the labels.
fn walk_labels(
    connection: &Connection,
    filter: &Filter,
    way: &Way,
    (kind, name): (i64, &str),
    select: Sql,
) -> Result<Option<Sql>, QueryError> {
    let labels: i64 = connection
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM labels WHERE kind = ?1 AND name = ?2 LIMIT ?3)")?
        .query_row(params![kind, name, GROUPS_MAX as i64 + 1], |row| row.get(0))?;
    let records = Records::of(connection, filter, way)?;
    if labels == 0 || records.as_ref().is_some_and(|records| records.count == 0) {
        return Ok(None);
    }
    let named = Sql::default()
        .text("(SELECT id AS label_id FROM labels WHERE kind = ")
        .value(kind)
        .text(" AND name = ")
        .value(name.to_owned())
        .text(") AS named CROSS JOIN record_labels ON record_labels.label = label_id");
    let walk = select.text(" FROM ");
    let carriers = " CROSS JOIN records NOT INDEXED ON records.id = record_labels.record";
    Ok(Some(match records {
        Some(records) if *way != Way::Time && records.count * labels <= SEEKS_MAX => walk
            .text("(SELECT *")
            .piece(way.from())
            .text(" AND ")
            .piece(filter.time.condition())
            .text(") AS records CROSS JOIN ")
            .piece(named)
            .text(" AND record_labels.record = records.id"),
        Some(Records { spans, .. }) if spans.len() <= SPANS_MAX && spans.len() as i64 * labels <= SEEKS_MAX => walk
            .text("(SELECT column1 AS low, column2 AS high FROM (VALUES ")
            .joined(", ", spans.into_values().map(|(low, high)| Sql::default().list([low, high])))
            .text(")) AS spans CROSS JOIN ")
            .piece(named)
            .text(" AND record_labels.record BETWEEN low AND high")
            .text(carriers),
        _ => walk.piece(named).text(carriers),
    }))
}

/// Places in an index that are sought for one answer; where it would be more, labels are walked whole.
const SEEKS_MAX: i64 = 1_000_000;

/// Chains whose spans are bound to one statement; with more, labels are walked whole.
const SPANS_MAX: usize = 1000;

/// Which records a way leads to.
struct Records {
    count: i64,
    /// Lowest and highest id, by chain.
    spans: BTreeMap<i64, (i64, i64)>,
}

impl Records {
    /// `None` where there are so many that knowing them would not help.
    fn of(connection: &Connection, filter: &Filter, way: &Way) -> Result<Option<Self>, QueryError> {
        if *way == Way::Time && filter.time.from.is_none() && filter.time.to.is_none() {
            return Ok(None);
        }
        let walk = Sql::default()
            .text("SELECT id")
            .piece(way.from())
            .text(" AND ")
            .piece(filter.time.condition());
        let mut statement = connection.prepare_cached(walk.as_str())?;
        let mut rows = statement.query(params_from_iter(walk.values()))?;
        let mut records = Self {
            count: 0,
            spans: BTreeMap::new(),
        };
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let (low, high) = records.spans.entry(id / SEQUENCES as i64).or_insert((id, id));
            (*low, *high) = ((*low).min(id), (*high).max(id));
            records.count += 1;
            if records.count > SEEKS_MAX {
                return Ok(None);
            }
        }
        Ok(Some(records))
    }
}

/// Counts what a walk finds: whether it is asked for, its group, its verdict.
fn walk_records(connection: &Connection, walk: &Sql, asked: Verdicts, budget: &mut Budget, tally: &mut Tally) -> Result<(), QueryError> {
    let mut statement = connection.prepare_cached(walk.as_str())?;
    let mut rows = statement.query(params_from_iter(walk.values()))?;
    while let Some(row) = rows.next()? {
        budget.spend()?;
        if row.get::<_, Option<bool>>(0)?.unwrap_or(false) {
            let verdict: Option<i64> = row.get(2)?;
            let counts = proto::Counts {
                ok: u64::from(verdict == Some(1)),
                not_ok: u64::from(verdict == Some(2)),
                not_decidable: u64::from(verdict != Some(1) && verdict != Some(2)),
            };
            tally.add(row.get(1)?, counts, asked)?;
        }
    }
    Ok(())
}

/// The groups by their names, sorted by them.
fn named(connection: &Connection, key: &Key, tally: Tally) -> Result<BTreeMap<String, proto::Counts>, QueryError> {
    let mut rows: BTreeMap<String, proto::Counts> = BTreeMap::new();
    for (group, more) in tally.groups {
        for name in names(connection, key, group)? {
            if rows.len() >= GROUPS_MAX && !rows.contains_key(&name) {
                return Err(too_many_groups());
            }
            let counts = rows.entry(name).or_default();
            counts.ok += more.ok;
            counts.not_ok += more.not_ok;
            counts.not_decidable += more.not_decidable;
        }
    }
    Ok(rows)
}

/// The rows that a group counts in.
fn names(connection: &Connection, key: &Key, group: i64) -> Result<Vec<String>, QueryError> {
    let look_up = |table: &str| -> Result<String, QueryError> {
        let found = connection
            .prepare_cached(table)?
            .query_row(params![group], |row| row.get(0))
            .optional()?;
        found.ok_or_else(|| QueryError::Database(format!("an entry of a dictionary is missing ({group}); is the file damaged?")))
    };
    Ok(match key {
        Key::Class | Key::Tag(_) => vec![look_up("SELECT value FROM labels WHERE id = ?1")?],
        Key::Chain => vec![look_up("SELECT station FROM chains WHERE id = ?1")?],
        Key::ModelSet => look_up("SELECT models FROM model_sets WHERE id = ?1")?
            .split('\n')
            .map(str::to_owned)
            .collect(),
        Key::HourOfDay => vec![format!("{group:02}")],
        Key::Reason => vec![reason_name(group)],
        Key::Recipe | Key::Step { .. } => vec![group.to_string()],
    })
}

fn reason_name(number: i64) -> String {
    let known = u16::try_from(number).ok().and_then(Reason::from_code);
    known.map_or_else(|| number.to_string(), |reason| reason.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: Option<i64>, to: Option<i64>) -> Span {
        Span { from, to }
    }

    #[test]
    fn a_span_is_its_whole_hours_and_two_ends() {
        let hours = Hours::of(span(Some(HOUR_NS - 1), Some(3 * HOUR_NS + 1))).unwrap();
        assert_eq!(hours.whole, (Some(1), Some(3)));
        assert_eq!(
            hours.ends,
            [
                span(Some(HOUR_NS - 1), Some(HOUR_NS)),
                span(Some(3 * HOUR_NS), Some(3 * HOUR_NS + 1))
            ]
        );
        let hours = Hours::of(span(Some(HOUR_NS), Some(2 * HOUR_NS))).unwrap();
        assert_eq!((hours.whole, hours.ends), ((Some(1), Some(2)), vec![]));
        let hours = Hours::of(span(None, None)).unwrap();
        assert_eq!((hours.whole, hours.ends), ((None, None), vec![]));
        assert_eq!(Hours::of(span(Some(1), Some(HOUR_NS - 1))), None);
        assert_eq!(Hours::of(span(Some(1), Some(HOUR_NS))), None);
        // The last hour that can be written is no whole one.
        assert!(Hours::of(span(Some(i64::MAX), None)).is_some());
    }
}
