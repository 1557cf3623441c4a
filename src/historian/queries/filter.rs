//! What is asked for, checked, and as conditions on the tables of `journal/record_table.rs`.

use rusqlite::types::Value;

use super::QueryError;
use super::sql::Sql;
use crate::rpc::proto;

/// Values of one field of a filter. More are refused: they would be a list that somebody means to join, not a question.
pub const VALUES_MAX: usize = 100;

/// Bytes of a text in a filter. Longer ones are refused; a longer serial is found by its beginning.
pub const TEXT_BYTES_MAX: usize = 1024;

/// A span of time, Unix nanoseconds: from, and before; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

impl Span {
    /// The first moment of it.
    pub(super) fn first(self) -> i64 {
        self.from.unwrap_or(i64::MIN)
    }

    /// The last moment of it.
    pub(super) fn last(self) -> i64 {
        self.to.map_or(i64::MAX, |to| to.saturating_sub(1))
    }

    /// `at_unix_ns` lies within.
    pub(super) fn condition(self) -> Sql {
        Sql::default()
            .text("at_unix_ns >= ")
            .value(self.first())
            .text(" AND at_unix_ns <= ")
            .value(self.last())
    }
}

/// Which verdicts are asked for. What is neither Ok nor NotOk reads as NotDecidable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub(super) ok: bool,
    pub(super) not_ok: bool,
    pub(super) not_decidable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Serial {
    Is(String),
    Begins(String),
}

/// A filter that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    pub(super) time: Span,
    pub(super) verdicts: Verdicts,
    pub(super) reasons: Vec<u32>,
    stations: Vec<String>,
    epoch: Option<i64>,
    classes: Vec<String>,
    cycle_ids: Vec<u32>,
    serials: Vec<Serial>,
    recipes: Vec<u32>,
    models: Vec<String>,
    tags: Vec<(String, String)>,
}

impl Filter {
    /// Checks a filter.
    pub(super) fn of(filter: &proto::RecordFilter) -> Result<Self, QueryError> {
        let lengths = [
            ("stations", filter.stations.len()),
            ("verdicts", filter.verdicts.len()),
            ("reasons", filter.reasons.len()),
            ("classes", filter.classes.len()),
            ("cycle_ids", filter.cycle_ids.len()),
            ("serials", filter.serials.len()),
            ("recipes", filter.recipes.len()),
            ("models", filter.models.len()),
            ("tags", filter.tags.len()),
        ];
        if let Some((field, count)) = lengths.into_iter().find(|(_, count)| *count > VALUES_MAX) {
            return Err(QueryError::Invalid(format!(
                "{field} has {count} values, of at most {VALUES_MAX}; ask several times"
            )));
        }
        let tags = filter.tags.iter().map(|tag| {
            if tag.name.is_empty() {
                return Err(QueryError::Invalid("a tag has no name".into()));
            }
            Ok((text("tags", &tag.name)?, text("tags", &tag.value)?))
        });
        Ok(Self {
            time: span(filter.from_unix_ns, filter.to_unix_ns)?,
            verdicts: verdicts(&filter.verdicts)?,
            reasons: filter.reasons.clone(),
            stations: texts("stations", &filter.stations)?,
            epoch: match filter.epoch {
                0 => None,
                epoch => Some(i64::try_from(epoch).map_err(|_| QueryError::Invalid(format!("there is no epoch {epoch}")))?),
            },
            classes: texts("classes", &filter.classes)?,
            cycle_ids: filter.cycle_ids.clone(),
            serials: filter.serials.iter().map(|asked| serial(asked)).collect::<Result<_, _>>()?,
            recipes: filter.recipes.clone(),
            models: filter.models.iter().map(|asked| model(asked)).collect::<Result<_, _>>()?,
            tags: tags.collect::<Result<_, _>>()?,
        })
    }

    /// The same of another time.
    pub(super) fn within(&self, time: Span) -> Self {
        Self { time, ..self.clone() }
    }

    /// Whether only what is not Ok is asked for. An Ok has no reason.
    pub(super) fn is_rejects_only(&self) -> bool {
        !self.verdicts.ok || (!self.reasons.is_empty() && !self.reasons.contains(&0))
    }

    /// Whether counts by hour can tell: they know time, station, recipe, models and verdict, and nothing of the single part.
    pub(super) fn is_told_by_rollups(&self) -> bool {
        self.classes.is_empty() && self.cycle_ids.is_empty() && self.serials.is_empty() && self.tags.is_empty()
    }

    /// All that must hold of a row of `records`, but for the time.
    pub(super) fn conditions(&self) -> Sql {
        let mut all = vec![Sql::default().text("kind = 1")];
        all.extend(self.verdict_condition());
        if self.is_rejects_only() {
            all.push(Sql::default().text("verdict <> 1"));
        }
        if !self.reasons.is_empty() {
            all.push(Sql::default().text("reason IN ").list(self.reasons.iter().copied()));
        }
        if let Some(chains) = self.chains() {
            all.push(Sql::default().text("id / 1099511627776 IN ").piece(chains));
        }
        if !self.recipes.is_empty() {
            all.push(Sql::default().text("recipe IN ").list(self.recipes.iter().copied()));
        }
        if let Some(sets) = self.model_sets() {
            all.push(Sql::default().text("model_set IN ").piece(sets));
        }
        if !self.cycle_ids.is_empty() {
            all.push(Sql::default().text("cycle_id IN ").list(self.cycle_ids.iter().copied()));
        }
        if !self.serials.is_empty() {
            let any = Sql::default().text("(").joined(" OR ", self.serial_conditions()).text(")");
            all.push(any);
        }
        for labels in self.labels() {
            let carried = Sql::default()
                .text("EXISTS (SELECT 1 FROM record_labels WHERE record_labels.record = records.id AND label IN ")
                .piece(labels)
                .text(")");
            all.push(carried);
        }
        Sql::default().joined(" AND ", all)
    }

    /// The same of a row of `rollups`, as far as it can tell.
    pub(super) fn rollup_conditions(&self) -> Sql {
        let mut all = vec![Sql::default().text("1")];
        if let Some(chains) = self.chains() {
            all.push(Sql::default().text("chain IN ").piece(chains));
        }
        if !self.recipes.is_empty() {
            all.push(Sql::default().text("recipe IN ").list(self.recipes.iter().copied()));
        }
        if let Some(sets) = self.model_sets() {
            all.push(Sql::default().text("model_set IN ").piece(sets));
        }
        Sql::default().joined(" AND ", all)
    }

    /// Ways to few rows by an index: each is a query for ids that holds every record asked for.
    pub(super) fn candidates(&self) -> Vec<Sql> {
        let mut ways = Vec::new();
        if !self.cycle_ids.is_empty() {
            ways.push(
                Sql::default()
                    .text("SELECT id FROM records INDEXED BY records_by_cycle WHERE cycle_id IN ")
                    .list(self.cycle_ids.iter().copied()),
            );
        }
        if !self.serials.is_empty() {
            let arms = self.serial_conditions().into_iter().map(|condition| {
                Sql::default()
                    .text("SELECT id FROM records INDEXED BY records_by_serial WHERE ")
                    .piece(condition)
            });
            ways.push(Sql::default().joined(" UNION ALL ", arms));
        }
        ways.extend(self.labels().into_iter().map(|labels| {
            Sql::default()
                .text("SELECT record FROM record_labels WHERE label IN ")
                .piece(labels)
        }));
        ways
    }

    fn verdict_condition(&self) -> Option<Sql> {
        let Verdicts { ok, not_ok, not_decidable } = self.verdicts;
        let text = match (ok, not_ok, not_decidable) {
            (_, true, true) => return None,
            (true, false, false) => "verdict = 1",
            (false, true, false) => "verdict = 2",
            (true, true, false) => "verdict IN (1, 2)",
            (true, false, true) => "verdict IS NOT 2",
            (false, false, _) => "verdict NOT IN (1, 2)",
        };
        Some(Sql::default().text(text))
    }

    fn chains(&self) -> Option<Sql> {
        let stations = (!self.stations.is_empty()).then(|| Sql::default().text("station IN ").list(self.stations.iter().cloned()));
        let epoch = self.epoch.map(|epoch| Sql::default().text("epoch = ").value(epoch));
        let conditions: Vec<Sql> = stations.into_iter().chain(epoch).collect();
        (!conditions.is_empty()).then(|| {
            Sql::default()
                .text("(SELECT id FROM chains WHERE ")
                .joined(" AND ", conditions)
                .text(")")
        })
    }

    /// A set is one model a line: a whole line, or its beginning until the @.
    fn model_sets(&self) -> Option<Sql> {
        let named = |model: &String| {
            let sought = if model.contains('@') {
                format!("\n{model}\n")
            } else {
                format!("\n{model}@")
            };
            Sql::default()
                .text("instr(char(10) || models || char(10), ")
                .value(sought)
                .text(") > 0")
        };
        (!self.models.is_empty()).then(|| {
            Sql::default()
                .text("(SELECT id FROM model_sets WHERE ")
                .joined(" OR ", self.models.iter().map(named))
                .text(")")
        })
    }

    /// Labels of which a part carries one, for each demand.
    fn labels(&self) -> Vec<Sql> {
        let classes = (!self.classes.is_empty()).then(|| {
            Sql::default()
                .text("(SELECT id FROM labels WHERE kind = 1 AND name = '' AND value IN ")
                .list(self.classes.iter().cloned())
                .text(")")
        });
        let tags = self.tags.iter().map(|(name, value)| {
            Sql::default()
                .text("(SELECT id FROM labels WHERE kind = 2 AND name = ")
                .value(name.clone())
                .text(" AND value = ")
                .value(value.clone())
                .text(")")
        });
        classes.into_iter().chain(tags).collect()
    }

    fn serial_conditions(&self) -> Vec<Sql> {
        let whole: Vec<&String> = self
            .serials
            .iter()
            .filter_map(|serial| match serial {
                Serial::Is(whole) => Some(whole),
                Serial::Begins(_) => None,
            })
            .collect();
        let whole = (!whole.is_empty()).then(|| Sql::default().text("serial IN ").list(whole.into_iter().cloned()));
        let beginnings = self.serials.iter().filter_map(|serial| match serial {
            Serial::Is(_) => None,
            Serial::Begins(beginning) => Some(begins(beginning)),
        });
        whole.into_iter().chain(beginnings).collect()
    }
}

/// `serial` begins with this: it lies between this and the first text that does not.
fn begins(beginning: &str) -> Sql {
    let from = Sql::default().text("serial >= ").value(beginning.to_owned());
    match behind(beginning) {
        Some(end) => Sql::default()
            .text("(")
            .piece(from)
            .text(" AND serial < ")
            .value(Value::Text(end))
            .text(")"),
        None => from,
    }
}

/// The smallest text that is above every text with this beginning, in the order of UTF-8 bytes; `None` if there is none.
fn behind(beginning: &str) -> Option<String> {
    let mut text: Vec<char> = beginning.chars().collect();
    while let Some(last) = text.pop() {
        let next = match last {
            char::MAX => continue,
            // Surrogates are no characters.
            '\u{d7ff}' => '\u{e000}',
            _ => char::from_u32(u32::from(last) + 1)?,
        };
        text.push(next);
        return Some(text.into_iter().collect());
    }
    None
}

fn span(from: i64, to: i64) -> Result<Span, QueryError> {
    if from < 0 || to < 0 {
        return Err(QueryError::Invalid("from_unix_ns and to_unix_ns must not be before 1970".into()));
    }
    if to > 0 && to <= from {
        return Err(QueryError::Invalid(
            "to_unix_ns must be after from_unix_ns; to leaves its own moment out".into(),
        ));
    }
    Ok(Span {
        from: (from > 0).then_some(from),
        to: (to > 0).then_some(to),
    })
}

fn verdicts(asked: &[i32]) -> Result<Verdicts, QueryError> {
    let mut verdicts = Verdicts {
        ok: asked.is_empty(),
        not_ok: asked.is_empty(),
        not_decidable: asked.is_empty(),
    };
    for number in asked {
        match proto::Verdict::try_from(*number) {
            Ok(proto::Verdict::Ok) => verdicts.ok = true,
            Ok(proto::Verdict::NotOk) => verdicts.not_ok = true,
            Ok(proto::Verdict::NotDecidable) => verdicts.not_decidable = true,
            Ok(proto::Verdict::Unspecified) | Err(_) => {
                return Err(QueryError::Invalid(format!(
                    "verdicts: {number} is no verdict; there are VERDICT_OK (1), VERDICT_NOT_OK (2) and VERDICT_NOT_DECIDABLE (3)"
                )));
            }
        }
    }
    Ok(verdicts)
}

/// A text of a filter, if it is not too long.
pub(super) fn text(field: &str, text: &str) -> Result<String, QueryError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(QueryError::Invalid(format!(
            "{field} has a text of {} bytes, of at most {TEXT_BYTES_MAX}",
            text.len()
        )));
    }
    Ok(text.to_owned())
}

fn texts(field: &str, asked: &[String]) -> Result<Vec<String>, QueryError> {
    asked.iter().map(|asked| text(field, asked)).collect()
}

fn serial(asked: &str) -> Result<Serial, QueryError> {
    let asked = text("serials", asked)?;
    match asked.strip_suffix('*') {
        None if asked.is_empty() => Err(QueryError::Invalid("serials: a serial is empty".into())),
        Some("") => Err(QueryError::Invalid("serials: * needs the beginning of a serial before it".into())),
        Some(beginning) => Ok(Serial::Begins(beginning.to_owned())),
        None => Ok(Serial::Is(asked)),
    }
}

fn model(asked: &str) -> Result<String, QueryError> {
    if asked.is_empty() || asked.contains('\n') {
        return Err(QueryError::Invalid(format!("models: {asked:?} is no name of a model")));
    }
    text("models", asked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_begins_so_lies_between_the_beginning_and_what_is_behind_it(beginning in "\\PC{1,4}", other in "\\PC{0,6}") {
            let between = |text: &str| text >= beginning.as_str() && behind(&beginning).is_none_or(|end| text < end.as_str());
            let longer = format!("{beginning}{other}");
            prop_assert!(between(&longer));
            prop_assert_eq!(between(&other), other.starts_with(&beginning));
        }
    }

    #[test]
    fn the_last_characters_have_something_behind_them_too() {
        assert_eq!(behind("a").as_deref(), Some("b"));
        assert_eq!(behind("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(behind("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(behind("\u{10ffff}"), None);
    }
}
