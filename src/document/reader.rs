//! Typed access to a document's tables, collecting mistakes.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Entry, Node, Origin, Problem, Problems, Source, Table, Val, list, nearest, units};

/// Collects the mistakes of one document.
#[derive(Debug)]
pub struct Sink<'a> {
    /// What they point into.
    pub source: &'a Source,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Sink<'a> {
    /// An empty one.
    pub fn new(source: &'a Source) -> Self {
        Sink { source, problems: RefCell::default() }
    }

    /// Notes a mistake.
    pub fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Notes a mistake at `at`.
    pub fn fail(
        &self,
        at: &Origin,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        self.push(Problem { title: title.into(), at: Some(at.clone()), label: label.into(), help });
    }

    /// How many were noted so far.
    pub fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// All that were noted, in the order of the text; `None` when there are none.
    pub fn finish(self) -> Option<Problems> {
        let mut list = self.problems.into_inner();
        list.sort_by_key(|problem| {
            let at = problem.at.as_ref();
            (at.is_some_and(|at| at.flag.is_some()), at.map(|at| at.range.start))
        });
        (!list.is_empty()).then(|| Problems { source: self.source.clone(), list })
    }
}

/// A key a table may have: the one definition from which decoding, the schema and suggestions derive.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it says, for editors.
    pub about: &'static str,
    /// The JSON Schema of its value.
    pub schema: fn() -> Json,
}

/// The JSON Schema of a table that may have `keys`, must have `required`, and no others.
pub fn table_schema(keys: &[Key], required: &[&str]) -> Json {
    let properties: serde_json::Map<String, Json> = keys
        .iter()
        .map(|key| {
            let mut schema = (key.schema)();
            schema["description"] = key.about.into();
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// A table being decoded. Unknown keys are reported when it is opened.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    table: &'a Table,
    at: &'a Origin,
    sink: &'a Sink<'a>,
    keys: &'a [Key],
}

impl<'a> Section<'a> {
    /// Opens `table`, known to readers as `path` (empty: the document itself), which may hold `keys`; `later` are
    /// keys of the design that this version does not support.
    pub fn open(
        path: &str,
        table: &'a Table,
        at: &'a Origin,
        keys: &'a [Key],
        later: &[&str],
        sink: &'a Sink<'a>,
    ) -> Self {
        for entry in &table.entries {
            if keys.iter().any(|key| key.name == entry.key) {
                continue;
            }
            let place = if path.is_empty() { "at the top level".to_owned() } else { format!("in {path}") };
            let title = format!("unknown key `{}` {place}", entry.key);
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            if later.contains(&entry.key.as_str()) {
                let title = format!("`{}` {place} is not supported by this version", entry.key);
                sink.fail(&entry.key_at, title, "not supported yet", None);
                continue;
            }
            match nearest(&entry.key, names.iter().copied()) {
                Some(near) => sink.fail(&entry.key_at, title, format!("did you mean `{near}`?"), None),
                None => {
                    let help = format!("the keys {place} are {}", list(&names, "and"));
                    sink.fail(&entry.key_at, title, "no such key", Some(help));
                }
            }
        }
        Section { path: path.to_owned(), table, at, sink, keys }
    }

    /// The field `key`, where the table has it.
    pub fn field(&self, key: &str) -> Option<Field<'a>> {
        debug_assert!(
            self.keys.iter().any(|known| known.name == key),
            "{key} is missing from the keys of {}",
            self.path
        );
        self.table.get(key).map(|entry| self.field_of(entry))
    }

    /// The field `key`; its absence is a mistake. `example` shows how it is written.
    pub fn required(&self, key: &str, example: &str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            let place = if self.path.is_empty() { "the file".to_owned() } else { self.path.clone() };
            self.sink.fail(
                self.at,
                format!("{place} has no `{key}`"),
                format!("expected one, such as {example}"),
                None,
            );
        }
        field
    }

    /// Every key with its field, in the order written.
    pub fn fields(&self) -> impl Iterator<Item = (&'a Entry, Field<'a>)> + '_ {
        self.table.entries.iter().map(|entry| (entry, self.field_of(entry)))
    }

    /// Notes a mistake about the table as a whole.
    pub fn fail(&self, title: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        self.sink.fail(self.at, title, label, help);
    }

    /// Where the table is.
    pub fn at(&self) -> &'a Origin {
        self.at
    }

    fn field_of(&self, entry: &'a Entry) -> Field<'a> {
        let prefix = self.path.trim_matches(['[', ']']);
        let path = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
        Field { path, node: &entry.node, sink: self.sink }
    }
}

/// A value being decoded. Each reader notes what is wrong and answers `None`.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Its path for messages: `load.rate`.
    pub path: String,
    /// The value.
    pub node: &'a Node,
    /// Where mistakes go.
    pub sink: &'a Sink<'a>,
}

impl<'a> Field<'a> {
    /// Notes that the value is wrong: `title` says what (beginning with the path), `label` what was expected.
    pub fn fail(&self, title: impl std::fmt::Display, label: impl Into<String>) {
        self.fail_help(title, label, None);
    }

    /// As [`Field::fail`], with a line of help.
    pub fn fail_help(&self, title: impl std::fmt::Display, label: impl Into<String>, help: Option<String>) {
        self.sink.fail(&self.node.at, format!("`{}` {title}", self.path), label, help);
    }

    /// Notes that the value is of the wrong type.
    pub fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let help = match (&self.node.val, &self.node.at.flag) {
            (Val::Int(_) | Val::Float(_) | Val::Bool(_) | Val::Date(_), Some(_))
                if expected.starts_with("a string") =>
            {
                let text = self.sink.source.slice(&self.node.at);
                Some(format!("a value in quotes is a string: '\"{text}\"'"))
            }
            _ => None,
        };
        self.fail_help(format!("is {}", self.node.val.describe()), format!("expected {expected}"), help);
        None
    }

    /// A string.
    pub fn text(&self) -> Option<&'a str> {
        match &self.node.val {
            Val::Text(text) => Some(text),
            _ => self.wrong_type("a string"),
        }
    }

    /// Its value as a truth value; anything else is reported.
    pub fn truth(&self) -> Option<bool> {
        match &self.node.val {
            Val::Bool(truth) => Some(*truth),
            _ => self.wrong_type("true or false"),
        }
    }

    /// An integer in `range`.
    pub fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match self.node.val {
            Val::Int(int) => {
                let fits = u64::try_from(int).ok().filter(|int| range.contains(int));
                if fits.is_none() {
                    self.fail(format!("is {}", self.shown(int)), format!("expected {expected}"));
                }
                fits
            }
            _ => self.wrong_type(&expected),
        }
    }

    /// A number in `range`.
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = match self.node.val {
            Val::Int(int) => int as f64,
            Val::Float(float) => float,
            _ => return self.wrong_type(&expected),
        };
        if !range.contains(&number) {
            self.fail(format!("is {}", self.shown(number)), format!("expected {expected}"));
            return None;
        }
        Some(number)
    }

    /// As written where that can be seen (a saturated integer is not what the user wrote).
    fn shown(&self, value: impl ToString) -> String {
        let written = self.sink.source.slice(&self.node.at);
        if written.is_empty() || written.len() > 40 { value.to_string() } else { written.to_owned() }
    }

    /// A duration in `range`.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let duration = match &self.node.val {
            Val::Text(text) => match units::duration(text) {
                Ok(duration) => duration,
                Err(label) => {
                    self.fail(format!("is {text:?}"), label);
                    return None;
                }
            },
            Val::Int(int) => {
                self.fail("is a number without a unit", format!("expected \"{int}s\" or \"{int}ms\""));
                return None;
            }
            _ => return self.wrong_type("a duration such as \"200ms\" or \"3s\""),
        };
        if !range.contains(&duration) {
            let (low, high) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
            let shown = units::show_duration(duration);
            self.fail(format!("is {shown}"), format!("expected a duration from {low} to {high}"));
            return None;
        }
        Some(duration)
    }

    /// What `parse` (of [`units`]) reads from a string; `example` shows one.
    pub fn unit<T>(&self, parse: fn(&str) -> Result<T, String>, example: &str) -> Option<T> {
        match &self.node.val {
            Val::Text(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(label) => {
                    self.fail(format!("is {text:?}"), label);
                    None
                }
            },
            Val::Int(int) => match parse(&int.to_string()) {
                Err(label) => {
                    self.fail("is a number without a unit", label);
                    None
                }
                Ok(value) => Some(value),
            },
            _ => self.wrong_type(&format!("a string such as \"{example}\"")),
        }
    }

    /// One of `words`; `later` are words of the design that this version does not support.
    pub fn word(&self, words: &[&'static str], later: &[&str]) -> Option<&'static str> {
        let Val::Text(text) = &self.node.val else {
            return self.wrong_type(&format!("one of {}", list(words, "or")));
        };
        let found = words.iter().copied().find(|word| word == text);
        if found.is_none() {
            if later.contains(&text.as_str()) {
                self.fail(
                    format!("= {text:?} is not supported by this version"),
                    format!("expected {}", list(words, "or")),
                );
            } else {
                let label = match nearest(text, words.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("expected {}", list(words, "or")),
                };
                self.fail(format!("is {text:?}"), label);
            }
        }
        found
    }

    /// The items of a list; `of` says what it is a list of.
    pub fn items(&self, of: &str) -> Option<Vec<Field<'a>>> {
        let Val::List(items) = &self.node.val else { return self.wrong_type(&format!("a list of {of}")) };
        let item = |(index, node)| Field { path: format!("{}.{index}", self.path), node, sink: self.sink };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The value as a table that may hold `keys`.
    pub fn section(&self, name: &str, keys: &'a [Key], later: &[&str]) -> Option<Section<'a>> {
        match &self.node.val {
            Val::Table(table) => Some(Section::open(name, table, &self.node.at, keys, later, self.sink)),
            _ => self.wrong_type("a table"),
        }
    }

    /// The origin of part of a string value: bytes `within` of the unescaped text. The whole value where escapes keep
    /// the two apart.
    pub fn part(&self, within: std::ops::Range<usize>) -> Origin {
        let Val::Text(text) = &self.node.val else { return self.node.at.clone() };
        let raw = self.sink.source.slice(&self.node.at);
        match raw.find(text.as_str()) {
            Some(offset) if !text.is_empty() => {
                let start = self.node.at.range.start + offset;
                Origin {
                    flag: self.node.at.flag.clone(),
                    range: start + within.start..start + within.end.min(text.len()),
                }
            }
            _ => self.node.at.clone(),
        }
    }
}
