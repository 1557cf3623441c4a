//! Runs IEC 61131-3 structured text as it is written: parsed by a parser of another make (`foreign/parse_st.py`), executed here, scan by scan.
//!
//! Every value is a number, a boolean one of 0 and 1. A value that does not fit into the type it was declared with ends the test: what the
//! standard leaves open there is nothing to rely on.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;

use serde::Deserialize;

/// A node of the tree: its kind, its field in its parent, the text of a leaf, what is below.
#[derive(Debug, Deserialize)]
struct Node(String, Option<String>, Option<String>, Vec<Node>);

impl Node {
    fn kind(&self) -> &str {
        &self.0
    }

    fn text(&self) -> &str {
        self.2.as_deref().unwrap_or_else(|| panic!("no leaf: {self:?}"))
    }

    fn children(&self) -> &[Self] {
        &self.3
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Self> {
        self.3.iter().filter(move |child| child.0 == kind)
    }

    fn fields<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a Self> {
        self.3.iter().filter(move |child| child.1.as_deref() == Some(field))
    }

    fn field(&self, field: &str) -> &Self {
        let found = self.3.iter().find(|child| child.1.as_deref() == Some(field));
        found.unwrap_or_else(|| panic!("no {field}: {self:?}"))
    }
}

/// The tree of a source; or why the parser cannot be had here.
fn parse(source: &str) -> Result<Node, String> {
    static PACKAGES: OnceLock<Result<std::path::PathBuf, String>> = OnceLock::new();
    let packages = PACKAGES.get_or_init(|| crate::foreign::packages("requirements_st.txt")).clone()?;
    let mut python = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/parse_st.py"))
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The parser reads everything before it says anything.
    python.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// A program or function block as it is declared.
struct Unit {
    node: Node,
    /// The names of its variables.
    names: HashSet<String>,
    /// The names of their types, where they have names.
    types: HashMap<String, String>,
}

/// A controller that has one source loaded.
pub(crate) struct Controller {
    units: Rc<HashMap<String, Unit>>,
    /// Types of the fields of structures, by structure and field.
    fields: HashMap<(String, String), String>,
    /// Where every variable of every instance stands, by its path: `Station.OpenCycleId[3]`.
    values: HashMap<String, i64>,
    /// Milliseconds since it was switched on.
    now: i64,
}

impl Controller {
    /// Loads a source; or says why it cannot be parsed here.
    pub(crate) fn load(source: &str) -> Result<Self, String> {
        let root = parse(source)?;
        let mut units = HashMap::new();
        let mut fields = HashMap::new();
        for node in root.3 {
            match node.kind() {
                "function_block_declaration" | "program_declaration" => {
                    let name = node.field("name").text().to_owned();
                    let types = declarations(&node).filter_map(|(name, node)| Some((name, type_name(node.field("type"))?)));
                    let types = types.collect();
                    let names = declarations(&node).map(|(name, _)| name).collect();
                    units.insert(name, Unit { node, names, types });
                }
                "type_declaration" => {
                    for definition in node.of_kind("type_definition") {
                        let structure = definition.field("name").text();
                        for field in definition.field("definition").of_kind("structure_field") {
                            if let Some(name) = type_name(field.field("type")) {
                                fields.insert((structure.to_owned(), field.field("name").text().to_owned()), name);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self {
            units: Rc::new(units),
            fields,
            values: HashMap::new(),
            now: 0,
        })
    }

    /// The value at a path; 0 where nothing was assigned.
    pub(crate) fn get(&self, path: &str) -> i64 {
        self.values.get(path).copied().unwrap_or(0)
    }

    /// Whether the value at a path is TRUE.
    pub(crate) fn is(&self, path: &str) -> bool {
        self.get(path) != 0
    }

    /// Everything below a path that is not 0.
    pub(crate) fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, i64)> {
        let values = self.values.iter().map(|(key, value)| (key.as_str(), *value));
        values.filter(move |(key, value)| key.starts_with(path) && *value != 0)
    }

    /// Sets the value at a path.
    pub(crate) fn set(&mut self, path: &str, value: impl Into<i64>) {
        self.values.insert(path.to_owned(), value.into());
    }

    /// Everything below one path becomes what is below another.
    pub(crate) fn copy(&mut self, from: &str, to: &str) {
        let below = |key: &str| {
            key.strip_prefix(from)
                .filter(|rest| rest.starts_with(['.', '[']))
                .map(str::to_owned)
        };
        let copied: Vec<(String, i64)> = self
            .values
            .iter()
            .filter_map(|(key, value)| Some((format!("{to}{}", below(key)?), *value)))
            .collect();
        self.values.extend(copied);
    }

    /// Executes a program or function block once, at a moment. `instance` is where its variables stand.
    pub(crate) fn execute(&mut self, name: &str, instance: &str, now_ms: i64) {
        self.now = now_ms;
        let units = Rc::clone(&self.units);
        let unit = units.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        if self.values.insert(format!("{instance}.#"), 1).is_none() {
            for (variable, node) in declarations(&unit.node) {
                if let Some(initial) = node.fields("initial_value").next() {
                    self.set(&format!("{instance}.{variable}"), literal(initial));
                }
            }
        }
        Call {
            controller: self,
            unit,
            instance,
        }
        .all(unit.node.fields("body"));
    }

    /// The standard's on-delay timer (IEC 61131-3, table 46).
    fn run_timer(&mut self, timer: &str) {
        let since = format!("{timer}.since");
        if !self.is(&format!("{timer}.IN")) {
            self.values.remove(&since);
            self.set(&format!("{timer}.Q"), false);
            self.set(&format!("{timer}.ET"), 0);
            return;
        }
        let started = *self.values.entry(since).or_insert(self.now);
        let elapsed = (self.now - started).min(self.get(&format!("{timer}.PT")));
        self.set(&format!("{timer}.ET"), elapsed);
        let expired = elapsed >= self.get(&format!("{timer}.PT"));
        self.set(&format!("{timer}.Q"), expired);
    }
}

/// The variables of a unit.
fn declarations(unit: &Node) -> impl Iterator<Item = (String, &Node)> {
    let sections = unit.children().iter().filter(|child| child.kind().starts_with("var_"));
    let variables = sections.flat_map(|section| section.of_kind("variable_declaration"));
    variables.map(|variable| (variable.field("names").text().to_owned(), variable))
}

fn type_name(node: &Node) -> Option<String> {
    match node.kind() {
        "identifier" => Some(node.text().to_owned()),
        "elementary_type" => Some(node.children().first()?.kind().to_owned()),
        _ => None,
    }
}

/// One execution of a unit.
struct Call<'a> {
    controller: &'a mut Controller,
    unit: &'a Unit,
    instance: &'a str,
}

impl Call<'_> {
    fn all<'n>(&mut self, statements: impl Iterator<Item = &'n Node>) {
        for statement in statements {
            self.one(statement);
        }
    }

    fn one(&mut self, statement: &Node) {
        match statement.kind() {
            "empty_statement" => {}
            "assignment_statement" => {
                let path = self.path(statement.field("left"));
                self.assign(&path, statement.field("right"));
            }
            "if_statement" => self.branch(statement),
            "case_statement" => {
                let wanted = self.value(statement.field("subject"));
                let values = |clause: &Node| {
                    clause
                        .of_kind("case_value")
                        .flat_map(Node::children)
                        .any(|value| literal(value) == wanted)
                };
                if let Some(clause) = statement.of_kind("case_clause").find(|clause| values(clause)) {
                    self.all(clause.fields("body"));
                }
            }
            "for_statement" => {
                let path = self.path(statement.field("control"));
                for value in self.value(statement.field("start"))..=self.value(statement.field("end")) {
                    self.controller.set(&path, value);
                    self.all(statement.fields("body"));
                }
            }
            "invocation_statement" => self.invoke(statement.children().first().unwrap()),
            _ => panic!("not used in what takt writes: {statement:?}"),
        }
    }

    fn branch(&mut self, statement: &Node) {
        if self.value(statement.field("condition")) != 0 {
            return self.all(statement.fields("consequence"));
        }
        for clause in statement.of_kind("elsif_clause") {
            if self.value(clause.field("condition")) != 0 {
                return self.all(clause.fields("body"));
            }
        }
        for clause in statement.of_kind("else_clause") {
            self.all(clause.fields("body"));
        }
    }

    /// A call of an instance of a function block: the inputs are set, then it is executed.
    fn invoke(&mut self, call: &Node) {
        let name = call.field("function").text();
        let path = format!("{}.{name}", self.instance);
        for argument in call.field("arguments").of_kind("named_argument") {
            self.assign(&format!("{path}.{}", argument.field("name").text()), argument.field("value"));
        }
        let block = self.unit.types.get(name).unwrap_or_else(|| panic!("{path} is not declared"));
        if block == "TON" {
            self.controller.run_timer(&path);
        } else {
            self.controller.execute(block, &path, self.controller.now);
        }
    }

    fn assign(&mut self, path: &str, value: &Node) {
        if matches!(value.kind(), "identifier" | "member_access_expression") {
            // A structure or an array as a whole; nothing happens here where it is neither.
            let from = self.path(value);
            self.controller.copy(&from, path);
        }
        let value = self.value(value);
        let fits = match self.declared(path) {
            Some("BOOL") => (0..=1).contains(&value),
            Some("UINT" | "WORD") => (0..=0xFFFF).contains(&value),
            _ => (0..=0xFFFF_FFFF).contains(&value),
        };
        assert!(fits, "{path} := {value} does not fit");
        self.controller.set(path, value);
    }

    /// The type of a variable of this unit, or of a field of a structure of it.
    fn declared(&self, path: &str) -> Option<&str> {
        let rest = path.strip_prefix(self.instance)?.strip_prefix('.')?;
        match rest.split_once('.') {
            None => self.unit.types.get(rest).map(String::as_str),
            Some((structure, field)) => {
                let structure = self.unit.types.get(structure)?;
                self.controller
                    .fields
                    .get(&(structure.clone(), field.to_owned()))
                    .map(String::as_str)
            }
        }
    }

    fn path(&self, node: &Node) -> String {
        match node.kind() {
            "identifier" => {
                let name = node.text();
                assert!(self.unit.names.contains(name), "{name} is not declared");
                format!("{}.{name}", self.instance)
            }
            "member_access_expression" => format!("{}.{}", self.path(node.field("object")), node.field("member").text()),
            "index_expression" => format!("{}[{}]", self.path(node.field("object")), self.value(node.field("index"))),
            _ => panic!("not used in what takt writes: {node:?}"),
        }
    }

    fn value(&self, node: &Node) -> i64 {
        match node.kind() {
            "identifier" | "member_access_expression" | "index_expression" => self.controller.get(&self.path(node)),
            "parenthesized_expression" => self.value(node.children().first().unwrap()),
            "unary_expression" => match (node.field("operator").text(), self.value(node.field("operand"))) {
                ("NOT", 0) => 1,
                ("NOT", 1) => 0,
                other => panic!("not used in what takt writes: {other:?}"),
            },
            "binary_expression" => {
                let (left, right) = (self.value(node.field("left")), self.value(node.field("right")));
                binary(node.field("operator").text(), left, right)
            }
            "call_expression" => {
                let arguments = node.field("arguments").children().iter().map(|argument| self.value(argument));
                function(node.field("function").text(), &arguments.collect::<Vec<_>>())
            }
            _ => literal(node),
        }
    }
}

fn binary(operator: &str, left: i64, right: i64) -> i64 {
    match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "=" => i64::from(left == right),
        "<>" => i64::from(left != right),
        "<" => i64::from(left < right),
        ">=" => i64::from(left >= right),
        // Of booleans and of words alike.
        "AND" => left & right,
        "OR" => left | right,
        _ => panic!("not used in what takt writes: {operator}"),
    }
}

/// The standard's conversions and shifts.
fn function(name: &str, arguments: &[i64]) -> i64 {
    match (name, arguments) {
        ("WORD_TO_UINT" | "UINT_TO_WORD" | "WORD_TO_DWORD" | "DWORD_TO_UDINT" | "UDINT_TO_DWORD", [value]) => *value,
        ("DWORD_TO_WORD", [value]) => value & 0xFFFF,
        ("SHL", [value, bits]) => (value << bits) & 0xFFFF_FFFF,
        ("SHR", [value, bits]) => value >> bits,
        _ => panic!("not used in what takt writes: {name} with {arguments:?}"),
    }
}

fn literal(node: &Node) -> i64 {
    match node.kind() {
        "boolean_literal" => i64::from(node.children().first().map_or_else(|| node.text(), Node::kind) == "TRUE"),
        "integer_literal" => match node.text().strip_prefix("16#") {
            Some(digits) => i64::from_str_radix(digits, 16).unwrap(),
            None => node.text().parse().unwrap(),
        },
        "time_literal" => {
            let milliseconds = node.text().strip_prefix("T#").and_then(|rest| rest.strip_suffix("ms"));
            milliseconds.unwrap().parse().unwrap()
        }
        _ => panic!("no literal: {node:?}"),
    }
}
