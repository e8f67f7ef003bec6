//! The tree of a document, each part with where it was written.

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// Where something was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The flag as typed (`--set load.rate=9`); `None`: the file.
    pub flag: Option<Arc<str>>,
    /// Bytes of the file or of the flag.
    pub range: Range<usize>,
}

impl Origin {
    /// A range of the file.
    pub fn file(range: Range<usize>) -> Self {
        Origin { flag: None, range }
    }

    /// A range of a flag's text.
    pub fn flag(text: &Arc<str>, range: Range<usize>) -> Self {
        Origin { flag: Some(Arc::clone(text)), range }
    }
}

/// A value and where it is.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub val: Val,
    /// Where it was written.
    pub at: Origin,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub enum Val {
    /// A string, unescaped.
    Text(String),
    /// An integer; TOML has only those of an `i64`, but what is larger must be shown as what it is.
    Int(i128),
    /// A float, NaN and infinities included.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A date or time, as written.
    Date(toml::value::Datetime),
    /// An array.
    List(Vec<Node>),
    /// A table.
    Table(Table),
}

impl Val {
    /// For "expected a number, found …".
    pub fn describe(&self) -> &'static str {
        match self {
            Val::Text(_) => "a string",
            Val::Int(_) => "an integer",
            Val::Float(_) => "a float",
            Val::Bool(_) => "a boolean",
            Val::Date(_) => "a date",
            Val::List(_) => "a list",
            Val::Table(_) => "a table",
        }
    }
}

/// A table: its entries in the order they were written.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The entries; keys are unique.
    pub entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// Where the key was written.
    pub key_at: Origin,
    /// Its value.
    pub node: Node,
}

impl Table {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value under `key`, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }
}

impl Node {
    /// From a parsed value; `origin` turns its spans into origins.
    pub fn from_toml(value: &DeValue<'_>, at: Origin, origin: &dyn Fn(Range<usize>) -> Origin) -> Node {
        let val = match value {
            DeValue::String(text) => Val::Text(text.to_string()),
            DeValue::Integer(int) => {
                let saturated = if int.as_str().starts_with('-') { i128::MIN } else { i128::MAX };
                Val::Int(i128::from_str_radix(int.as_str(), int.radix()).unwrap_or(saturated))
            }
            DeValue::Float(float) => Val::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Val::Bool(*yes),
            DeValue::Datetime(date) => Val::Date(*date),
            DeValue::Array(items) => Val::List(
                items
                    .iter()
                    .map(|item| Node::from_toml(item.get_ref(), origin(item.span()), origin))
                    .collect(),
            ),
            DeValue::Table(table) => Val::Table(Table::from_toml(table, origin)),
        };
        Node { val, at }
    }

    /// As a `toml` value, to be written out.
    pub fn to_toml(&self) -> toml::Value {
        match &self.val {
            Val::Text(text) => toml::Value::String(text.clone()),
            Val::Int(int) => toml::Value::Integer(i64::try_from(*int).unwrap_or(if *int < 0 {
                i64::MIN
            } else {
                i64::MAX
            })),
            Val::Float(float) => toml::Value::Float(*float),
            Val::Bool(yes) => toml::Value::Boolean(*yes),
            Val::Date(date) => toml::Value::Datetime(*date),
            Val::List(items) => toml::Value::Array(items.iter().map(Node::to_toml).collect()),
            Val::Table(table) => {
                let entries = table.entries.iter().map(|entry| (entry.key.clone(), entry.node.to_toml()));
                toml::Value::Table(entries.collect())
            }
        }
    }
}

impl Table {
    /// From a parsed table; `origin` turns its spans into origins.
    pub fn from_toml(table: &DeTable<'_>, origin: &dyn Fn(Range<usize>) -> Origin) -> Table {
        let entries = table.iter().map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: origin(key.span()),
            node: Node::from_toml(value.get_ref(), origin(value.span()), origin),
        });
        Table { entries: entries.collect() }
    }
}
