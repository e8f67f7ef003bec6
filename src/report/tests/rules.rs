//! The rules for JUnit files that continuous integration reads, and whether a file keeps them.
//!
//! Two schemas are in use, that of Jenkins's xUnit plugin (`jenkins-junit.xsd`) and that of Ant's task (`JUnit.xsd`), and they
//! do not agree. A file is held to both: what either requires must be there, and nothing that either does not know.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

/// What an attribute may hold.
#[derive(Clone, Copy)]
enum Kind {
    /// Any text; Ant's tokens must not be empty.
    Text,
    /// A whole number.
    Count,
    /// Seconds, at most three digits after the point, as Jenkins's pattern has it; never signed, never `1e3`.
    Seconds,
    /// `2026-01-31T10:15:00`, as Ant's pattern has it: no zone.
    Moment,
}

/// How often a child may be there.
#[derive(Clone, Copy, PartialEq)]
enum Often {
    Once,
    Perhaps,
    Any,
}

struct Rule {
    element: &'static str,
    attributes: &'static [(&'static str, Kind)],
    /// In this order.
    children: &'static [(&'static str, Often)],
    /// At most one of all children.
    choice: bool,
    text: bool,
}

use Kind::{Count, Moment, Seconds, Text};
use Often::{Any, Once, Perhaps};

/// All attributes are required: those that one schema does not require the other does, or we want them.
const RULES: &[Rule] = &[
    Rule {
        element: "testsuites",
        attributes: &[],
        children: &[("testsuite", Any)],
        choice: false,
        text: false,
    },
    Rule {
        element: "testsuite",
        attributes: &[
            ("name", Text),
            ("package", Text),
            ("id", Count),
            ("timestamp", Moment),
            ("hostname", Text),
            ("tests", Count),
            ("failures", Count),
            ("errors", Count),
            ("skipped", Count),
            ("time", Seconds),
        ],
        children: &[("properties", Once), ("testcase", Any), ("system-out", Once), ("system-err", Once)],
        choice: false,
        text: false,
    },
    Rule {
        element: "properties",
        attributes: &[],
        children: &[("property", Any)],
        choice: false,
        text: false,
    },
    Rule {
        element: "property",
        attributes: &[("name", Text), ("value", Text)],
        children: &[],
        choice: false,
        text: false,
    },
    Rule {
        element: "testcase",
        attributes: &[("name", Text), ("classname", Text), ("time", Seconds)],
        children: &[("skipped", Perhaps), ("error", Perhaps), ("failure", Perhaps)],
        choice: true,
        text: false,
    },
    Rule {
        element: "failure",
        attributes: &[("type", Text), ("message", Text)],
        children: &[],
        choice: false,
        text: true,
    },
    Rule {
        element: "error",
        attributes: &[("type", Text), ("message", Text)],
        children: &[],
        choice: false,
        text: true,
    },
    Rule { element: "skipped", attributes: &[("message", Text)], children: &[], choice: false, text: false },
    Rule { element: "system-out", attributes: &[], children: &[], choice: false, text: true },
    Rule { element: "system-err", attributes: &[], children: &[], choice: false, text: true },
];

/// Everything in which a file breaks a rule.
pub fn broken(xml: &str) -> Vec<String> {
    let document = match Document::parse(xml) {
        Ok(document) => document,
        Err(error) => return vec![format!("not XML: {error}")],
    };
    let mut found = Vec::new();
    if !xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>") {
        found.push("no declaration of XML 1.0 in UTF-8".to_owned());
    }
    element(document.root_element(), "testsuites", &mut found);
    for suite in document.descendants().filter(|node| node.has_tag_name("testsuite")) {
        counts(suite, &mut found);
    }
    names(&document, &mut found);
    found
}

fn element(node: Node<'_, '_>, wanted: &str, found: &mut Vec<String>) {
    let name = node.tag_name().name();
    let Some(rule) = RULES.iter().find(|rule| rule.element == name && name == wanted) else {
        found.push(format!("<{name}> where <{wanted}> is expected"));
        return;
    };
    for attribute in node.attributes() {
        match rule.attributes.iter().find(|(known, _)| *known == attribute.name()) {
            None => found.push(format!("<{name}> has no attribute {}", attribute.name())),
            Some((_, kind)) if !fits(*kind, attribute.value()) => {
                found.push(format!("<{name} {}={:?}>", attribute.name(), attribute.value()));
            }
            Some(_) => {}
        }
    }
    for (known, _) in rule.attributes {
        // An empty value is a value; an empty name is none.
        let absent = match node.attribute(*known) {
            None => true,
            Some(value) => value.trim().is_empty() && *known != "value",
        };
        if absent {
            found.push(format!("<{name}> lacks {known}"));
        }
    }
    let text = |node: Node<'_, '_>| node.is_text() && node.text().is_some_and(|text| !text.trim().is_empty());
    if !rule.text && node.children().any(text) {
        found.push(format!("<{name}> holds text"));
    }
    let children: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
    if rule.choice && children.len() > 1 {
        found.push(format!("<{name}> has {} outcomes", children.len()));
    }
    let mut at = 0;
    for (child, often) in rule.children {
        let same = children[at..].iter().take_while(|node| node.has_tag_name(*child)).count();
        match (often, same) {
            (Once, 1) | (Perhaps, 0 | 1) | (Any, _) => {}
            _ => found.push(format!("<{name}> has {same} <{child}> there")),
        }
        children[at..at + same].iter().for_each(|node| element(*node, child, found));
        at += same;
    }
    if let Some(stray) = children.get(at) {
        found.push(format!("<{}> is out of place in <{name}>", stray.tag_name().name()));
    }
}

fn fits(kind: Kind, value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match kind {
        Text => true,
        Count => digits(value),
        Seconds => match value.split_once('.') {
            Some((whole, part)) => digits(whole) && digits(part) && part.len() <= 3,
            None => digits(value),
        },
        Moment => {
            let shape: String =
                value.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
            shape == "0000-00-00T00:00:00"
        }
    }
}

/// What a suite says of itself must be what is in it: readers trust either.
fn counts(suite: Node<'_, '_>, found: &mut Vec<String>) {
    let cases: Vec<Node<'_, '_>> = suite.children().filter(|node| node.has_tag_name("testcase")).collect();
    let with = |outcome: &str| {
        cases.iter().filter(|case| case.children().any(|node| node.has_tag_name(outcome))).count()
    };
    let there = [
        ("tests", cases.len()),
        ("failures", with("failure")),
        ("errors", with("error")),
        ("skipped", with("skipped")),
    ];
    for (name, count) in there {
        if suite.attribute(name) != Some(&count.to_string()) {
            found.push(format!("{name} is {:?}, but there are {count}", suite.attribute(name)));
        }
    }
    let time =
        |node: Node<'_, '_>| node.attribute("time").and_then(|time| time.parse::<f64>().ok()).unwrap_or(0.0);
    let sum: f64 = cases.iter().map(|case| time(*case)).sum();
    if sum > time(suite) + 0.001 {
        found.push(format!("the cases took {sum} s, the suite {} s", time(suite)));
    }
}

/// GitLab folds cases of one name into one; white space does not tell names apart (Ant's names are tokens).
fn names(document: &Document<'_>, found: &mut Vec<String>) {
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let token =
        |text: Option<&str>| text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        *seen.entry((token(case.attribute("classname")), token(case.attribute("name")))).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, times)| *times > 1);
    found.extend(twice.map(|((class, name), times)| format!("{times} cases are {class}: {name}")));
}

/// Rules that nothing breaks would prove nothing.
#[test]
fn the_rules_have_teeth() {
    let whole = super::super::junit::render(&super::diverged_runs());
    assert_eq!(broken(&whole), Vec::<String>::new());
    for (from, to, complaint) in [
        (" tests=\"", " tests=\"1", "tests is"),
        (" failures=\"", " failures=\"7", "failures is"),
        (" time=\"14.312\"", " time=\"14.3125\"", "time="),
        (" time=\"14.312\"", " time=\"1e1\"", "time="),
        ("timestamp=\"2026-01-31T10:15:00\"", "timestamp=\"2026-01-31T10:15:00Z\"", "timestamp="),
        ("timestamp=\"2026-01-31T10:15:00\"", "timestamp=\"\"", "lacks timestamp"),
        ("<testsuites>", "<testsuites name=\"all\">", "no attribute name"),
        ("    <system-err/>\n", "", "0 <system-err>"),
        ("    <properties>", "    <system-err/><properties>", "0 <properties>"),
        ("name=\"run\"", "name=\"run\" status=\"run\"", "no attribute status"),
        ("<testcase name=\"run\"", "<testcase name=\"lww / healthy\"", "2 cases are"),
        ("<failure", "<skipped message=\"x\"/><failure", "2 outcomes"),
        ("</failure>", "\u{1}</failure>", "not XML"),
        ("type=\"", "kind=\"", "lacks type"),
    ] {
        let worse = whole.replacen(from, to, 1);
        assert_ne!(worse, whole, "{from} is not there");
        let found = broken(&worse);
        assert!(found.iter().any(|line| line.contains(complaint)), "{to}: {found:?}");
    }
}
