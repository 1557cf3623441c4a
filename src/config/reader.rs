//! A TOML file as tables that remember where everything stands and collect what is wrong.
//!
//! A table is asked for its keys one by one. What is refused is noted with its place and answered with [`Refused`], so a caller asks for
//! everything first and gives up afterwards: one pass finds every error. Keys nobody asked for are refused in the end.
//!
//! Bounds: a file has at most 1 MiB; nesting is bounded by the TOML parser; the first 100 errors are told, the others counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::CONFIG_VERSION;
use super::value::{quoted, shown};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most errors that are told; further ones are counted.
const FAULTS_MAX: usize = 100;

/// How alike a known key must be to be suggested; see [`alikeness`].
const ALIKE: f64 = 0.8;

/// Longest key, in bytes, that is compared with the known ones.
const KEY_BYTES_MAX: usize = 64;

/// Everything that is wrong with a configuration file, in the order of the file, one error a line:
/// `station.toml:14:12: failed to read camera "top": unknown key "exposure"; did you mean "exposure_us"?`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    lines: Vec<String>,
    untold: usize,
}

impl ConfigErrors {
    /// One line per error. Line and column count from 1, columns in characters.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A file that could not even be looked into.
    fn unreadable(file: &Path, reason: &str) -> Self {
        Self {
            lines: vec![format!("{}: failed to read the file: {reason}", file.display())],
            untold: 0,
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))?;
        match self.untold {
            0 => Ok(()),
            untold => write!(f, "\nand {untold} more errors"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// What was asked for is missing or wrong, and that has been noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// What a table answers.
pub(super) type Answer<T> = Result<T, Refused>;

/// One thing that is wrong.
struct Fault {
    /// Byte of the text.
    at: usize,
    message: String,
}

/// What has been found wrong so far.
#[derive(Default)]
struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    fn note(&self, at: usize, what: &str, reason: impl fmt::Display) -> Refused {
        self.0.borrow_mut().push(Fault {
            at,
            message: format!("failed to read {what}: {reason}"),
        });
        Refused
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// A configuration file, read into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Reads a file.
    pub(super) fn open(file: &Path) -> Result<Self, ConfigErrors> {
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| ConfigErrors::unreadable(file, &format!("{error}; check its path and who may read it")))?;
        Self::new(file, bytes)
    }

    /// Takes the bytes of a file.
    pub(super) fn new(file: &Path, bytes: Vec<u8>) -> Result<Self, ConfigErrors> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let reason = format!("it has more than {FILE_BYTES_MAX} bytes; a configuration is a few kilobytes, is this the right file?");
            return Err(ConfigErrors::unreadable(file, &reason));
        }
        let file = file.to_owned();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { file, text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let faults = Faults::default();
                faults.note(valid, "the file", "this is no UTF-8; save the file as UTF-8");
                Err(Self { file, text }.errors(faults))
            }
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Its text, byte for byte.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Reads the whole document, called `what` in messages, as version [`CONFIG_VERSION`].
    pub(super) fn read<T>(&self, what: &str, read: impl FnOnce(&mut Table<'_>) -> Answer<T>) -> Result<T, ConfigErrors> {
        // A byte order mark is no part of the text; the TOML parser does not count it either.
        let text = self.text.trim_start_matches('\u{feff}');
        let faults = Faults::default();
        let (root, mut errors) = DeTable::parse_recoverable(text);
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| text.floor_char_boundary(span.start));
        errors.sort_by_key(start);
        let mut previous = None;
        for error in &errors {
            // What the parser says next of the same line follows from what it said first.
            let at = start(error);
            if previous.is_none_or(|previous| text[previous..at].contains('\n')) {
                faults.note(at, what, syntax_message(text, error));
            }
            previous = Some(at);
        }
        // After a duplicate the first one stands, and the rest can be trusted. After other errors it cannot.
        if errors.iter().any(|error| error.message() != DUPLICATE) {
            return Err(self.errors(faults));
        }
        let mut root = Table::new(what.to_owned(), 0, root.get_ref(), &faults);
        let value = root.check_version().and_then(|()| {
            let value = read(&mut root);
            root.refuse_unasked();
            value
        });
        match value {
            Ok(value) if faults.is_empty() => Ok(value),
            _ => Err(self.errors(faults)),
        }
    }

    /// The faults as people read them.
    fn errors(&self, faults: Faults) -> ConfigErrors {
        let text = self.text.trim_start_matches('\u{feff}');
        let mut faults = faults.0.into_inner();
        faults.sort_by_key(|fault| fault.at);
        let untold = faults.len().saturating_sub(FAULTS_MAX);
        faults.truncate(FAULTS_MAX);
        let file = self.file.display();
        let lines = faults.iter().map(|fault| {
            let (line, column) = line_and_column(text, fault.at);
            format!("{file}:{line}:{column}: {}", fault.message)
        });
        ConfigErrors {
            lines: lines.collect(),
            untold,
        }
    }
}

/// What the TOML parser says of a key that is there twice.
const DUPLICATE: &str = "duplicate key";

/// The TOML parser's words, with the name it leaves out.
fn syntax_message(text: &str, error: &toml::de::Error) -> String {
    match error.span().and_then(|span| text.get(span)) {
        Some(key) if error.message() == DUPLICATE => format!("{DUPLICATE} {}; remove one", quoted(key)),
        _ => format!("this is no TOML: {}", error.message()),
    }
}

/// Line and column of a byte, both from 1, the column in characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// How alike two keys are, from 0 to 1. One slip of the fingers is next to nothing; else what they begin with counts most.
fn alikeness(known: &str, given: &str) -> f64 {
    if given.len() > KEY_BYTES_MAX {
        return 0.0;
    }
    match strsim::damerau_levenshtein(known, given) {
        0 | 1 => 1.0,
        _ => strsim::jaro_winkler(known, given),
    }
}

/// A table of the file.
pub(super) struct Table<'d> {
    /// What it is called in messages.
    what: String,
    /// Byte where its header stands.
    at: usize,
    entries: &'d DeTable<'d>,
    asked: BTreeSet<&'static str>,
    faults: &'d Faults,
}

impl<'d> Table<'d> {
    fn new(what: String, at: usize, entries: &'d DeTable<'d>, faults: &'d Faults) -> Self {
        Self {
            what,
            at,
            entries,
            asked: BTreeSet::new(),
            faults,
        }
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a key is there, and is a list or tables `[[key]]`.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(&mut self, key: &'static str, kind: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Answer<T> {
        if let Some(value) = self.optional(key, &kind)? {
            return Ok(value);
        }
        // What fits is known to the kind alone, and it tells those who come with something else.
        let hint = kind(&DeValue::Boolean(false)).err().map(|expected| format!("; give {expected}"));
        Err(self.refuse(key, format!("{key} is missing{}", hint.unwrap_or_default())))
    }

    /// The value of a key that may be missing.
    pub(super) fn optional<T>(&mut self, key: &'static str, kind: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Answer<Option<T>> {
        let Some(value) = self.ask(key) else { return Ok(None) };
        match kind(value.get_ref()) {
            Ok(read) => Ok(Some(read)),
            Err(expected) => Err(self.refuse(key, format!("{key} is {}; give {expected}", shown(value.get_ref())))),
        }
    }

    /// The value of a key, or what holds when it is missing.
    pub(super) fn or<T>(&mut self, key: &'static str, default: T, kind: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Answer<T> {
        Ok(self.optional(key, kind)?.unwrap_or(default))
    }

    /// A list that must be there, of one value or more, none twice.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        max: usize,
        kind: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Answer<Vec<T>> {
        let whole = |value: &DeValue<'_>| match value.as_array() {
            Some(values) if (1..=max).contains(&values.len()) => Ok(()),
            _ => Err(format!("a list of 1 to {max} values")),
        };
        self.required(key, whole)?;
        let values = self.entries.get(key).and_then(|value| value.get_ref().as_array());
        let mut read = Vec::new();
        let mut refused = Ok(());
        for value in values.into_iter().flat_map(|values| values.iter()) {
            let given = shown(value.get_ref());
            match kind(value.get_ref()) {
                Ok(value) if !read.contains(&value) => read.push(value),
                Ok(_) => refused = Err(self.note(value, format!("{key} has {given} twice; remove one"))),
                Err(expected) => refused = Err(self.note(value, format!("{key} has {given}; give {expected}"))),
            }
        }
        refused.map(|()| read)
    }

    /// A table that must be there.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'d>) -> Answer<T>) -> Answer<T> {
        match self.optional_table(key, read)? {
            Some(table) => Ok(table),
            None => Err(self.refuse(key, format!("table [{key}] is missing"))),
        }
    }

    /// A table that may be missing.
    pub(super) fn optional_table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'d>) -> Answer<T>) -> Answer<Option<T>> {
        let Some(value) = self.ask(key) else { return Ok(None) };
        let DeValue::Table(entries) = value.get_ref() else {
            return Err(self.refuse(key, format!("{key} is {}; give a table", shown(value.get_ref()))));
        };
        let mut table = Table::new(format!("[{key}]"), value.span().start, entries, self.faults);
        Ok(Some(table.read_whole(read)?))
    }

    /// An inline table that may be missing: `key = { ... }`. It is told by the name of its table.
    pub(super) fn inline<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'d>) -> Answer<T>) -> Answer<Option<T>> {
        let what = format!("{key} of {}", self.what);
        self.optional_table(key, |table| {
            table.what = what;
            read(table)
        })
    }

    /// A table or its defaults: what a missing one means is what an empty one means.
    pub(super) fn table_or_defaults<T>(&mut self, key: &'static str, read: impl Fn(&mut Table<'_>) -> Answer<T>) -> Answer<T> {
        match self.optional_table(key, |table| read(table))? {
            Some(table) => Ok(table),
            None => read(&mut Table::new(format!("[{key}]"), self.at, &DeTable::new(), self.faults)),
        }
    }

    /// One table or more, written `[[key]]`. Each is told by its `name`, which must be its own.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        noun: &str,
        max: usize,
        read: impl Fn(&mut Table<'_>) -> Answer<T>,
    ) -> Answer<Vec<T>> {
        let tables = match self.ask(key).map(Spanned::get_ref) {
            Some(DeValue::Array(tables)) if !tables.is_empty() => tables,
            Some(value) if !value.is_array() => {
                return Err(self.refuse(key, format!("{key} is {}; give tables [[{key}]]", shown(value))));
            }
            _ => return Err(self.refuse(key, format!("there is no {noun}; add a table for each"))),
        };
        if tables.len() > max {
            return Err(self.refuse(key, format!("there are {} {noun} tables; at most {max} are allowed", tables.len())));
        }
        let mut names = BTreeMap::new();
        let mut all = Vec::new();
        for (number, value) in (1..).zip(tables.iter()) {
            let at = value.span().start;
            let DeValue::Table(entries) = value.get_ref() else {
                all.push(Err(self.faults.note(
                    at,
                    &format!("{noun} {number}"),
                    format!("it is {}; give a table", shown(value.get_ref())),
                )));
                continue;
            };
            let name = entries.get("name").and_then(|name| name.get_ref().as_str());
            let what = name.map_or_else(|| format!("{noun} {number}"), |name| format!("{noun} {}", quoted(name)));
            let mut table = Table::new(what, at, entries, self.faults);
            if let Some(first) = name.and_then(|name| names.insert(name, number)) {
                table.refuse("name", format!("{noun} {first} has the same name; each needs its own"));
            }
            all.push(table.read_whole(&read));
        }
        all.into_iter().collect()
    }

    /// The names of the tables `[[key]]`, as far as they have one.
    pub(super) fn names_of(&self, key: &str) -> Vec<&'d str> {
        let tables = self.entries.get(key).and_then(|value| value.get_ref().as_array());
        let names = tables.into_iter().flat_map(|tables| tables.iter());
        names.filter_map(|table| table.get_ref().get("name")?.get_ref().as_str()).collect()
    }

    /// Notes what is wrong with the value of a key; with the table, where there is no such key.
    pub(super) fn refuse(&self, key: &str, reason: impl fmt::Display) -> Refused {
        self.faults.note(self.place_of(key), &self.what, reason)
    }

    /// Notes that a key does not belong here, although it is known.
    pub(super) fn refuse_key(&mut self, key: &'static str, reason: impl fmt::Display) -> Refused {
        self.asked.insert(key);
        self.refuse(key, reason)
    }

    /// Notes what is wrong with one value of a list.
    pub(super) fn refuse_in(&self, key: &str, index: usize, reason: impl fmt::Display) -> Refused {
        self.refuse_at(&format!("{key}.{index}"), &self.what, reason)
    }

    /// Notes what is wrong with `what`, which stands at `path` below this table: keys and indices with dots between them. Where the path leads
    /// to nothing, the last thing on the way counts.
    pub(super) fn refuse_at(&self, path: &str, what: &str, reason: impl fmt::Display) -> Refused {
        self.faults.note(self.place_of(path), what, reason)
    }

    fn note<T>(&self, value: &Spanned<T>, reason: impl fmt::Display) -> Refused {
        self.faults.note(value.span().start, &self.what, reason)
    }

    fn place_of(&self, path: &str) -> usize {
        let mut steps = path.split('.');
        let Some(mut value) = steps.next().and_then(|key| self.entries.get(key)) else {
            return self.at;
        };
        for step in steps {
            let next = match value.get_ref() {
                DeValue::Array(values) => step.parse().ok().and_then(|index: usize| values.get(index)),
                value => value.get(step),
            };
            match next {
                Some(next) => value = next,
                None => break,
            }
        }
        value.span().start
    }

    fn ask(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key);
        self.entries.get(key)
    }

    /// Reads it and refuses what was not asked for.
    fn read_whole<T>(&mut self, read: impl FnOnce(&mut Self) -> Answer<T>) -> Answer<T> {
        let value = read(self);
        self.refuse_unasked();
        value
    }

    fn refuse_unasked(&self) {
        for key in self.entries.keys().filter(|key| !self.asked.contains(key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let alike = self.asked.iter().map(|known| (alikeness(known, name), known));
            let nearest = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
            let hint = match nearest {
                Some((_, known)) => format!("did you mean {}?", quoted(known)),
                None => "remove it".to_owned(),
            };
            let reason = format!("unknown key {}; {hint}", quoted(name));
            self.faults.note(key.span().start, &self.what, reason);
        }
    }

    /// Files of another version are not looked into: whatever else would be said of them would be wrong.
    fn check_version(&mut self) -> Answer<()> {
        const KEY: &str = "config_version";
        let version = self.required(KEY, |value| match super::value::whole(0..=u64::MAX)(value) {
            Ok(version) => Ok(version),
            Err(_) => Err(CONFIG_VERSION.to_string()),
        })?;
        match version {
            CONFIG_VERSION => Ok(()),
            0 => Err(self.refuse(KEY, format!("{KEY} 0 does not exist; give {CONFIG_VERSION}"))),
            newer => Err(self.refuse(
                KEY,
                format!("{KEY} is {newer}, this takt reads {CONFIG_VERSION}; update takt, or write the file as version {CONFIG_VERSION}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{flag, whole};
    use super::*;

    fn document(text: &str) -> Document {
        Document::new(Path::new("test.toml"), text.into()).unwrap()
    }

    /// Reads `config_version`, `[plc]` with `poll_ms` and `on`, and nothing else; returns what is wrong.
    #[track_caller]
    fn faults(text: &str) -> Vec<String> {
        let read = document(text).read("the test", |root| {
            root.table("plc", |table| {
                let poll = table.required("poll_ms", whole(5..=1000));
                let on = table.or("on", false, flag);
                Ok((poll?, on?))
            })
        });
        read.unwrap_err().lines().to_vec()
    }

    const FINE: &str = "config_version = 1\n[plc]\npoll_ms = 10\n";

    #[test]
    fn what_is_fine_is_read() {
        let read = document(FINE).read("the test", |root| {
            root.table("plc", |table| table.required("poll_ms", whole(5..=1000)))
        });
        assert_eq!(read, Ok(10));
    }

    #[test]
    fn every_error_is_told_at_once_in_the_order_of_the_file() {
        assert_eq!(
            faults("config_version = 1\nplcs = 2\n[plc]\npol_ms = 10\non = 1\n[other]\n"),
            [
                "test.toml:2:1: failed to read the test: unknown key \"plcs\"; did you mean \"plc\"?",
                "test.toml:3:1: failed to read [plc]: poll_ms is missing; give a whole number from 5 to 1000",
                "test.toml:4:1: failed to read [plc]: unknown key \"pol_ms\"; did you mean \"poll_ms\"?",
                "test.toml:5:6: failed to read [plc]: on is 1; give true or false",
                "test.toml:6:2: failed to read the test: unknown key \"other\"; remove it",
            ]
        );
    }

    #[test]
    fn a_duplicate_hides_no_other_error() {
        assert_eq!(
            faults("config_version = 1\n[plc]\npoll_ms = 1\npoll_ms = 2\n[plc]\n"),
            [
                "test.toml:3:11: failed to read [plc]: poll_ms is 1; give a whole number from 5 to 1000",
                "test.toml:4:1: failed to read the test: duplicate key \"poll_ms\"; remove one",
                "test.toml:5:2: failed to read the test: duplicate key \"plc\"; remove one",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_told_in_the_same_form_and_nothing_else_is() {
        let errors = faults("config_version = 1\n[plc]\npoll_ms == 3\nnonsense = 1\non = \n");
        let places: Vec<&str> = errors
            .iter()
            .filter_map(|error| error.split_once("this is no TOML: "))
            .map(|(place, _)| place)
            .collect();
        assert_eq!(
            places,
            [
                "test.toml:3:10: failed to read the test: ",
                "test.toml:5:6: failed to read the test: "
            ],
            "{errors:?}"
        );
        assert_eq!(places.len(), errors.len(), "{errors:?}");
    }

    #[test]
    fn columns_count_characters_and_a_byte_order_mark_is_none() {
        assert_eq!(
            faults("\u{feff}config_version = 1\nplc = { \"größe\" = 1, poll_ms = 3 }\n"),
            [
                "test.toml:2:9: failed to read [plc]: unknown key \"größe\"; remove it",
                "test.toml:2:32: failed to read [plc]: poll_ms is 3; give a whole number from 5 to 1000",
            ]
        );
    }

    #[test]
    fn a_file_of_another_version_is_not_looked_into() {
        let missing = "test.toml:1:1: failed to read the test: config_version is missing; give 1";
        assert_eq!(faults("nonsense = 1\n"), [missing]);
        let newer =
            "test.toml:1:18: failed to read the test: config_version is 2, this takt reads 1; update takt, or write the file as version 1";
        assert_eq!(faults("config_version = 2\nnonsense = 1\n"), [newer]);
        let text = "test.toml:1:18: failed to read the test: config_version is \"1\"; give 1";
        assert_eq!(faults("config_version = \"1\"\n"), [text]);
    }

    #[test]
    fn a_file_that_cannot_be_text_is_refused() {
        let errors = |bytes: &[u8]| Document::new(Path::new("test.toml"), bytes.to_vec()).unwrap_err().to_string();
        assert_eq!(
            errors(b"a = 1\nb = \"\xff\""),
            "test.toml:2:6: failed to read the file: this is no UTF-8; save the file as UTF-8"
        );
        assert_eq!(
            errors(&vec![b' '; FILE_BYTES_MAX as usize + 1]),
            "test.toml: failed to read the file: it has more than 1048576 bytes; a configuration is a few kilobytes, is this the right file?"
        );
        let missing = Document::open(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(
            missing.starts_with("no/such.toml: failed to read the file: No such file"),
            "{missing}"
        );
    }

    #[test]
    fn more_errors_than_anyone_reads_are_counted() {
        let lines: Vec<String> = (0..FAULTS_MAX + 7).map(|number| format!("unknown_{number} = 1")).collect();
        let errors = document(&format!("config_version = 1\n{}", lines.join("\n"))).read("the test", |_| Ok(()));
        let errors = errors.unwrap_err();
        assert_eq!(errors.lines().len(), FAULTS_MAX);
        assert!(errors.to_string().ends_with("\nand 7 more errors"));
    }

    #[test]
    fn what_is_long_or_unprintable_is_shown_on_one_short_line() {
        let key = "x".repeat(100_000);
        let errors = faults(&format!("{FINE}{key} = 1\n\"a\\nb\" = 1"));
        assert_eq!(
            errors[0],
            format!("test.toml:4:1: failed to read [plc]: unknown key \"{}…\"; remove it", &key[..64])
        );
        assert_eq!(errors[1], "test.toml:5:1: failed to read [plc]: unknown key \"a\\nb\"; remove it");
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        for text in [
            format!("a = {}", "[".repeat(100_000)),
            format!("{}b = 1", "a.".repeat(100_000)),
            format!("[{}b]", "a.".repeat(100_000)),
        ] {
            assert!(document(&text).read("the test", |_| Ok(())).is_err());
        }
    }
}
