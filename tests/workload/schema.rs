//! The JSON Schema: shipped workloads conform, and it knows exactly the keys the decoder knows.

use harness::workload::schema::schema;
use jsonschema::Validator;
use serde_json::{Value as Json, json};

use super::{BASE, parse, shipped};

fn validator() -> Validator {
    jsonschema::draft202012::meta::validate(&schema()).unwrap_or_else(|error| panic!("{error}"));
    jsonschema::draft202012::new(&schema()).unwrap()
}

fn json_of(text: &str) -> Json {
    plain(toml::from_str(text).unwrap())
}

/// JSON has no dates; serde's stand-in would be an object.
fn plain(value: toml::Value) -> Json {
    match value {
        toml::Value::Datetime(_) => Json::Null,
        toml::Value::Array(items) => items.into_iter().map(plain).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        scalar => serde_json::to_value(scalar).unwrap(),
    }
}

#[test]
fn shipped_workloads_conform() {
    let validator = validator();
    for path in shipped() {
        let document = json_of(&std::fs::read_to_string(&path).unwrap());
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        let resolved = harness::workload::Workload::load(&path, &Default::default()).unwrap().resolved;
        assert!(validator.is_valid(&json_of(&resolved)), "{}, resolved", path.display());
    }
}

/// The path of each table that the schema knows the keys of.
fn tables() -> Vec<Vec<&'static str>> {
    vec![
        vec![],
        vec!["cluster"],
        vec!["cluster", "limits"],
        vec!["client"],
        vec!["load"],
        vec!["load", "mix"],
        vec!["fault", "0"],
        vec!["chaos"],
        vec!["settle"],
        vec!["checks"],
    ]
}

fn properties(path: &[&str]) -> Vec<String> {
    let mut at = schema();
    for step in path {
        at = if *step == "0" { at["items"].take() } else { at["properties"][step].take() };
    }
    at["properties"].as_object().unwrap_or_else(|| panic!("{path:?}")).keys().cloned().collect()
}

/// The base document with the table at `path` (made where absent) given `key = value`.
fn with(path: &[&str], key: &str, value: toml::Value) -> toml::Value {
    let mut document: toml::Value = toml::from_str(BASE).unwrap();
    let mut at = &mut document;
    for step in path {
        at = match at {
            toml::Value::Table(table) => table.entry(*step).or_insert_with(|| toml::Table::new().into()),
            toml::Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
            _ => panic!("{path:?}"),
        };
    }
    at.as_table_mut().unwrap().insert(key.to_owned(), value);
    document
}

#[test]
fn unknown_keys_are_refused_by_both() {
    let validator = validator();
    for path in tables() {
        let document = with(&path, "zzqq", toml::Value::Integer(1));
        let text = toml::to_string(&document).unwrap();
        assert!(!validator.is_valid(&json_of(&text)), "schema: {path:?}");
        assert!(parse(&text).unwrap_err().to_string().contains("zzqq"), "decoder: {path:?}");
    }
}

#[test]
fn every_key_of_the_schema_is_read_by_the_decoder() {
    // No key takes a date: a decoder that reads the key complains about it, and not about a key it does not know.
    let date = || toml::Value::Datetime("1979-05-27".parse().unwrap());
    let validator = validator();
    for path in tables() {
        let keys = properties(&path);
        assert!(!keys.is_empty());
        for key in keys {
            let text = toml::to_string(&with(&path, &key, date())).unwrap();
            let errors = parse(&text).expect_err(&format!("{path:?} {key}"));
            let about: Vec<_> = errors.list.iter().filter(|problem| problem.title.contains(&key)).collect();
            assert!(!about.is_empty(), "{path:?} {key}: {errors}");
            assert!(
                !about.iter().any(|problem| problem.title.contains("unknown")),
                "{path:?} {key}: {errors}"
            );
            assert!(!validator.is_valid(&json_of(&text)), "schema: {path:?} {key}");
        }
    }
}

#[test]
fn shapes_are_judged_alike() {
    let validator = validator();
    let base = json_of(BASE);
    assert!(validator.is_valid(&base));
    let faults = [
        ("kill", json!("B"), true),
        ("kill", json!(["A", "B"]), true),
        ("kill", json!([]), false),
        ("kill", json!(3), false),
        ("slow", json!({ "node": "A", "running": 0.5, "period": "1s" }), true),
        ("slow", json!({ "running": 0.5 }), false),
        ("slow", json!({ "node": "A", "running": 2 }), false),
        ("partition", json!([["A"], ["B", "C"]]), true),
        ("partition", json!([["A"]]), false),
        ("partition", json!("ring"), true),
        ("partition", json!("rings"), false),
        ("partition", json!({ "isolate": "one" }), true),
        ("partition", json!({ "isolate": "A", "with": "minority" }), true),
        ("partition", json!({ "isolate": "A", "with": "majority" }), false),
        ("partition", json!({ "from": "A", "to": ["B"] }), true),
        ("delay", json!("200ms"), true),
        ("delay", json!("200"), false),
        ("delay", json!({ "from": "A", "to": "C", "by": "2s", "jitter": "200ms" }), true),
        ("delay", json!({ "from": "A" }), false),
        ("jitter", json!({ "by": "20ms" }), true),
        ("throttle", json!("64KiB/s"), true),
        ("throttle", json!("64"), false),
        ("throttle", json!({ "to": "A", "rate": "1MB/s" }), true),
        ("reset", json!("all"), true),
        ("reset", json!({ "from": "A" }), true),
    ];
    for (kind, value, right) in faults {
        let mut document = base.clone();
        let fault = document["fault"][0].as_object_mut().unwrap();
        fault.remove("kill");
        fault.insert(kind.to_owned(), value.clone());
        assert_eq!(validator.is_valid(&document), right, "schema: {kind} = {value}");
        let text = toml::to_string(&document).unwrap();
        assert_eq!(parse(&text).is_ok(), right, "decoder: {kind} = {value}");
    }
    for (matrix, right) in [
        (json!({ "node": ["{{ harness }} node lww", "{{ harness }} node quorum"] }), true),
        (json!({}), false),
        (json!({ "node": [] }), false),
        (json!({ "node": "{{ harness }} node lww" }), false),
        (json!({ "node": [["{{ harness }} node lww"]] }), false),
        (json!({ "node": ["{{ harness }} node lww", "{{ harness }} node lww"] }), false),
    ] {
        let mut document = base.clone();
        document["matrix"] = matrix.clone();
        assert_eq!(validator.is_valid(&document), right, "schema: {matrix}");
        let text = toml::to_string(&document).unwrap();
        assert_eq!(parse(&text).is_ok(), right, "decoder: {matrix}");
    }
    for (key, value, right) in [
        ("write-quorum", json!(2), true),
        ("write-quorum", json!("{{ 1 + 1 }}"), true),
        ("write-quorum", json!(0), false),
        ("read-quorum", json!(1.5), false),
        ("elect-within", json!("three"), false),
        ("elect-within", json!(3), false),
    ] {
        let mut document = base.clone();
        document["cluster"][key] = value.clone();
        assert_eq!(validator.is_valid(&document), right, "schema: {key} = {value}");
        let text = toml::to_string(&document).unwrap();
        assert_eq!(parse(&text).is_ok(), right, "decoder: {key} = {value}");
    }
    for (key, value, right) in [
        ("duration", json!("3 sec"), true),
        ("route", json!("roaming"), true),
        ("route", json!({ "write": "any" }), true),
        ("route", json!({ "write": "anybody" }), false),
        ("route", json!({ "cas": "any" }), false),
        ("route", json!(["any"]), false),
        ("duration", json!("1m 30s"), true),
        ("duration", json!(3), false),
        ("rate", json!(0), true),
        ("rate", json!(-1), false),
        ("clients", json!(0), false),
        ("rotate", json!("never"), true),
        ("mix", json!({ "read": 1 }), true),
        ("mix", json!({ "cas": 1 }), false),
    ] {
        let mut document = base.clone();
        document.as_object_mut().unwrap().remove("fault");
        document["load"][key] = value.clone();
        assert_eq!(validator.is_valid(&document), right, "schema: {key} = {value}");
        let text = toml::to_string(&document).unwrap();
        assert_eq!(parse(&text).is_ok(), right, "decoder: {key} = {value}");
    }
}
