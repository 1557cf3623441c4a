//! What differs between two configurations of a station, and which of it takes a restart. Pure.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// Keys that a running station takes over when it reads its configuration again. Everything else is woven into cameras, models, deadlines,
/// addresses or records, and into `ConfigChecksum`, which every result carries: it takes a restart.
pub const RELOADED: &[&str] = &["log.filter"];

/// What a configuration that is read again brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Keys that are taken over at once.
    pub reloaded: Vec<String>,
    /// Keys, or whole tables of a list, that take a restart.
    pub restart: Vec<String>,
}

/// Compares two texts that were accepted as configurations.
pub fn changes(before: &str, after: &str) -> Changes {
    let (before, after) = (table(before), table(after));
    let mut changes = Changes::default();
    for key in differing(&before, &after) {
        if RELOADED.contains(&key.as_str()) {
            changes.reloaded.push(key);
        } else {
            changes.restart.push(key);
        }
    }
    changes
}

/// What was accepted parses.
fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

/// The keys that differ, by name: `table.key`, or `table` where it is a list of tables.
fn differing(before: &Table, after: &Table) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for name in before.keys().chain(after.keys()) {
        let empty = Value::Table(Table::new());
        let (old, new) = (before.get(name).unwrap_or(&empty), after.get(name).unwrap_or(&empty));
        match (old, new) {
            (Value::Table(old), Value::Table(new)) => {
                let of_table = old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key));
                keys.extend(of_table.map(|key| format!("{name}.{key}")));
            }
            _ if old != new => {
                keys.insert(name.clone());
            }
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "config_version = 1\n[station]\nid = \"a\"\n[[camera]]\nname = \"top\"\n[log]\nfilter = \"warn\"\n";

    fn after(edit: impl FnOnce(String) -> String) -> Changes {
        changes(BEFORE, &edit(BEFORE.into()))
    }

    #[test]
    fn only_the_log_is_taken_over() {
        let edited = after(|text| text.replace("\"warn\"", "\"info\"").replace("\"a\"", "\"b\""));
        assert_eq!(
            (edited.reloaded, edited.restart),
            (vec!["log.filter".into()], vec!["station.id".into()])
        );
    }

    #[test]
    fn what_comes_and_goes_differs_and_what_people_write_beside_does_not() {
        let edited = after(|text| format!("{text}[metrics]\nlisten = \"127.0.0.1:9184\"\n").replace("[log]\nfilter = \"warn\"\n", ""));
        assert_eq!(
            (edited.reloaded, edited.restart),
            (vec!["log.filter".into()], vec!["metrics.listen".into()])
        );
        assert_eq!(after(|text| text.replace("name = ", "# a comment\nname  =  ")), Changes::default());
        assert_eq!(after(|text| text.replace("top", "side")).restart, ["camera"]);
    }
}
