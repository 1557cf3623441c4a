//! What differs between two configurations of a station, and which of it takes a restart. Pure.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// Keys that a running station takes over when it reads its configuration again. Everything else, but for models, is woven into cameras, deadlines,
/// addresses or records, and into `ConfigChecksum`, which every result carries: it takes a restart.
pub const RELOADED: &[&str] = &["log.filter"];

/// The model of an inspection: another one is proven beside the one in force, and put in its place between two parts.
pub const MODEL: &str = "recipe.inspection.model";

/// What a configuration that is read again brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Keys that are taken over at once.
    pub reloaded: Vec<String>,
    /// Whether inspections name other models, and nothing takes a restart: what is edited together belongs together, so models wait for the
    /// restart that the rest needs.
    pub models: bool,
    /// Keys, or whole tables of a list, that take a restart.
    pub restart: Vec<String>,
}

/// Compares two texts that were accepted as configurations.
pub fn changes(before: &str, after: &str) -> Changes {
    let (mut before, mut after) = (table(before), table(after));
    let mut changes = Changes {
        models: take_models(&mut before) != take_models(&mut after),
        ..Changes::default()
    };
    for key in differing(&before, &after) {
        if RELOADED.contains(&key.as_str()) {
            changes.reloaded.push(key);
        } else {
            changes.restart.push(key);
        }
    }
    if changes.models && !changes.restart.is_empty() {
        changes.models = false;
        changes.restart.push(MODEL.into());
    }
    changes
}

/// What was accepted parses.
fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

/// Takes the models out of all inspections, in their order.
fn take_models(table: &mut Table) -> Vec<Value> {
    let recipes = match table.get_mut("recipe") {
        Some(Value::Array(recipes)) => recipes.iter_mut().collect(),
        Some(recipe) => vec![recipe],
        None => Vec::new(),
    };
    let of_recipe = |recipe: &mut Value| {
        recipe
            .get_mut("inspection")?
            .as_array_mut()
            .map(|inspections| inspections.iter_mut().map(take_model).collect())
    };
    let models: Vec<Vec<Value>> = recipes.into_iter().filter_map(of_recipe).collect();
    models.concat()
}

/// The model of an inspection; false where it names none.
fn take_model(inspection: &mut Value) -> Value {
    let model = inspection.as_table_mut().and_then(|table| table.remove("model"));
    model.unwrap_or(Value::Boolean(false))
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
    fn models_are_exchanged_where_nothing_else_takes_a_restart() {
        let inspection = |name: &str, model: &str| format!("[[recipe.inspection]]\nname = \"{name}\"\nmodel = \"{model}\"\n");
        for head in ["[recipe]\nnumber = 1\n", "[[recipe]]\nnumber = 1\n"] {
            let before = format!("{BEFORE}{head}{}{}", inspection("rim", "a"), inspection("cap", "a"));
            let with = |from: &str, to: &str| changes(&before, &before.replacen(from, to, 1));
            let models = Changes {
                models: true,
                ..Changes::default()
            };
            assert_eq!(with("model = \"a\"", "model = \"b\""), models);
            let logged = before.replacen("model = \"a\"", "model = \"b\"", 1).replace("warn", "info");
            let logged = changes(&before, &logged);
            assert_eq!((logged.models, logged.reloaded.len(), logged.restart.len()), (true, 1, 0));
            // What is edited together belongs together.
            let both = before
                .replacen("model = \"a\"", "model = \"b\"", 1)
                .replace("number = 1", "number = 2");
            let both = changes(&before, &both);
            assert_eq!((both.models, both.restart.last().unwrap().as_str()), (false, MODEL));
            let more = changes(&before, &format!("{before}{}", inspection("side", "a")));
            assert!(!more.models && more.restart[0].starts_with("recipe"), "{more:?}");
            assert!(!with("rim", "edge").models);
        }
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
