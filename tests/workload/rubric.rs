//! Rubrics: what they say, the exact text of every mistake, and that the schema agrees.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use harness::document::Problems;
use harness::grade::{CheckPoints, Credit, Rubric, parse};

const BASE: &str = r#"name = "lab"
repeats = 3
[submission]
node = "python3 {{ dir }}/node.py"
requires = ["node.py"]
env = { MODE = "test" }
[[item]]
workload = "workloads/outage.toml"
set = { load = { rate = 90 } }
checks = { convergence = 10, lww = 2.5 }
[[item]]
name = "again"
workload = "workloads/outage.toml"
repeats = 1
credit = "all-or-nothing"
visible = false
timeout = "5m"
checks = { durability = 0 }
"#;

/// Reads it from a folder in which it finds the shipped workloads.
fn read(text: &str) -> Result<Rubric, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
    std::os::unix::fs::symlink(shipped, folder.path().join("workloads")).unwrap();
    let path = folder.path().join("rubric.toml");
    std::fs::write(&path, text).unwrap();
    parse::read(&path).map_err(|mut problems| {
        let here = folder.path().display().to_string();
        let short = |text: &mut String| *text = text.replace(&here, "HERE");
        short(&mut problems.source.name);
        for problem in &mut problems.list {
            short(&mut problem.title);
            short(&mut problem.label);
            problem.help.iter_mut().for_each(short);
        }
        problems
    })
}

#[test]
fn a_rubric_says_what_it_says() {
    let rubric = read(BASE).unwrap();
    assert_eq!((rubric.name.as_str(), rubric.seed, rubric.points()), ("lab", 1, 12.5));
    assert_eq!(rubric.submission.build_timeout, Duration::from_secs(60));
    let (outage, again) = (&rubric.items[0], &rubric.items[1]);
    assert_eq!((outage.name.as_str(), outage.repeats, outage.credit), ("outage", 3, Credit::Share));
    assert_eq!((again.repeats, again.credit, again.visible), (1, Credit::AllOrNothing, false));
    assert_eq!(again.timeout, Duration::from_secs(300));
    assert_eq!(outage.checks[1], CheckPoints { check: "lww".into(), points: 2.5 });
    assert_eq!(outage.set, ["load.rate=90"]);
    assert_eq!(rubric.summary(), "lab: 2 items, 4 runs a submission, 12.5 points, seed 1");
}

#[test]
fn every_mistake_is_shown_where_it_was_made() {
    let mut page = String::new();
    let mut add =
        |what: &str, text: &str| writeln!(page, "## {what}\n\n{}\n", read(text).expect_err(text)).unwrap();
    let edits: &[(&str, &str)] = &[
        ("repeats = 3", "repaets = 3"),
        ("repeats = 3", "repeats = 0"),
        ("name = \"lab\"", "name = \"../lab\""),
        ("{{ dir }}", "{{ dri }}"),
        ("node = \"python3 {{ dir }}/node.py\"", "build = \"  \""),
        ("[\"node.py\"]", "[\"../node.py\", \"/etc/passwd\"]"),
        ("workloads/outage.toml", "workloads/outge.toml"),
        ("workloads/outage.toml", "workloads/quorum/exercise3.toml"),
        ("rate = 90", "rat = 90"),
        ("rate = 90", "rate = \"fast\""),
        ("convergence = 10", "convergance = 10"),
        ("convergence = 10", "convergence = -1"),
        ("convergence = 10", "convergence = \"ten\""),
        ("{ convergence = 10, lww = 2.5 }", "{}"),
        ("all-or-nothing", "all-or-none"),
        ("visible = false", "visible = \"no\""),
        ("timeout = \"5m\"", "timeout = \"5s\""),
        ("name = \"again\"", "name = \"outage\""),
    ];
    for (from, to) in edits {
        assert!(BASE.contains(from), "{from}");
        add(to, &BASE.replacen(from, to, 1));
    }
    let head = &BASE[..BASE.find("[[item]]").unwrap()];
    let worthless = "workload = \"workloads/outage.toml\"\nchecks = { lww = 0 }";
    add("no points at all", &format!("{head}[[item]]\n{worthless}\n"));
    add("nothing", "");
    add(
        "several at once",
        &BASE.replace("python3", "{{ pyhton }}").replace("lww = 2.5", "lwv = 2.5").replace("5m", "5"),
    );
    insta::assert_snapshot!("mistakes", page);
}

#[test]
fn shipped_rubrics_are_right_and_conform_to_the_schema() {
    let schema = parse::schema();
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads/rubrics");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let rubric = parse::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let text = std::fs::read_to_string(&path).unwrap();
        // Points that add up to something round are easier to talk about.
        assert_eq!(rubric.points() % 10.0, 0.0, "{}", path.display());
        let json: serde_json::Value = toml::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 3);
    let json: serde_json::Value = toml::from_str(BASE).unwrap();
    assert!(validator.is_valid(&json));
    for (from, to) in
        [("repeats = 3", "repaets = 3"), ("convergence = 10", "convergence = -1"), ("node =", "nod =")]
    {
        let json: serde_json::Value = toml::from_str(&BASE.replacen(from, to, 1)).unwrap();
        assert!(!validator.is_valid(&json), "{to}");
    }
}
