//! `report.html`, read back by a parser.

use super::*;
use crate::report::page::{self, Beside};

/// The page's body as XML, which it also is: what is not well-formed there is a text that was not escaped.
fn body(html: &str) -> String {
    let body = &html[html.find("<body>").unwrap()..html.find("</html>").unwrap()];
    body.replace("<br>", "<br/>").replace(" open>", " open=\"\">")
}

#[test]
fn the_page_says_what_the_run_found() {
    let html = page::render(&diverged_runs(), &Beside::default());
    let body = body(&html);
    let document = roxmltree::Document::parse(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let of_class = |class: &str| {
        document.descendants().filter(|node| node.attribute("class") == Some(class)).collect::<Vec<_>>()
    };
    let violations = of_class("violation");
    assert_eq!(violations.len(), 8, "each listed violation");
    for (at, violation) in violations.iter().enumerate() {
        let pictures = violation.descendants().filter(|node| node.has_tag_name("svg")).count();
        assert_eq!(pictures, 1, "each with its picture");
        assert_eq!(
            violation.attribute("data-violation"),
            Some(&*at.to_string()),
            "numbered as in the script's data"
        );
    }
    assert_eq!(of_class("more").len(), 1, "of seven of a kind four are folded away");
    let bars =
        |node: roxmltree::Node<'_, '_>| node.attribute("class").is_some_and(|class| class.starts_with("op "));
    let first = document.descendants().find(|node| node.has_tag_name("svg")).unwrap();
    assert_eq!(first.descendants().filter(|node| bars(*node)).count(), 3, "a bar an operation of the proof");
    for (at, said) in [
        "invalid",
        "A and C hold 118 and B holds 97",
        "kill B",
        "harness run workloads/outage.toml --seed 42",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(body.contains(said), "{at}: {said} is missing");
    }
    let faults: Vec<&str> = first
        .descendants()
        .filter(|node| node.attribute("class") == Some("fault-name"))
        .filter_map(|node| node.text())
        .collect();
    assert_eq!(faults, ["kill B"]);
    assert!(
        !html.contains("http:") && !html.contains("https:") && !html.contains("<script"),
        "needs nothing else"
    );
}

#[test]
fn nothing_that_nodes_say_becomes_part_of_the_page() {
    let nasty = "</title></style></svg><script>alert(1)</script>\" onload='x' \u{1b}[31m \u{202e}\0 &lt;";
    let mut results = diverged_runs();
    results.workload = nasty.into();
    results.rerun = nasty.into();
    results.notes.push(nasty.into());
    results.failures.push(Failure {
        what: nasty.into(),
        node: None,
        log: vec![nasty.into()],
        ..Failure::default()
    });
    results.faults[0].label = nasty.into();
    for check in &mut results.checks {
        check.promise = nasty.into();
        for violation in &mut check.violations {
            violation.kind = nasty.into();
            violation.story = nasty.into();
            violation.diagram = Some(nasty.into());
            for op in &mut violation.proof {
                op.node = Some(nasty.into());
                op.value = json!(nasty);
                op.version = Some(json!(nasty));
            }
        }
    }
    let html = page::render(&results, &Beside::default());
    assert!(
        !html.contains("<script")
            && !html.contains('\x1b')
            && !html.contains('\u{202e}')
            && !html.contains('\0')
    );
    let head = &html[..html.find("</head>").unwrap()];
    assert_eq!((head.matches("</title>").count(), head.matches("</style>").count()), (1, 1));
    let body = body(&html);
    let document = roxmltree::Document::parse(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert!(document.descendants().all(|node| node.attribute("onload").is_none()));
}

/// As [`history`], with what the settle phase saw: B comes round in its third answer, C never answered the second time.
fn settling() -> History {
    let mut history = history();
    history.ops.retain(|op| op.snapshot.is_none());
    let (old, new) = ((97, version(40, "B")), (118, version(41, "A")));
    let seen = [("A", &new), ("B", &old), ("C", &new), ("A", &new), ("B", &old), ("B", &new)];
    for (at, (node, held)) in (0_u64..).zip(seen) {
        let mut op = snapshot(2000 + 2 * at, 6, node, Some(held.clone()));
        (op.invoked_ns, op.returned_ns) = ((13_000 + at * 50) * MS, Some((13_010 + at * 50) * MS));
        history.ops.push(op);
    }
    history
}

fn parsed(svg: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(svg).unwrap_or_else(|error| panic!("{error}: {svg}"))
}

/// The corners of a curve of that colour: x and y.
fn curve(document: &roxmltree::Document<'_>, class: &str) -> Vec<(f64, f64)> {
    let path = document.descendants().find(|node| node.attribute("class") == Some(class)).unwrap();
    let points = path.attribute("d").unwrap().split(['M', 'L']).skip(1);
    let number = |text: Option<&str>| text.unwrap().parse::<f64>().unwrap();
    let point = |point: &str| {
        let mut parts = point.split(['m', ' ']);
        (number(parts.next()), number(parts.next()))
    };
    points.map(point).collect()
}

#[test]
fn convergence_is_drawn_by_what_each_node_lacked() {
    let history = settling();
    let results = Results::build(&history, vec![staleness()], facts());
    let beside = Beside { history: Some(&history), ..Beside::default() };
    let pictures: BTreeMap<String, String> = page::pictures(&results, &beside).into_iter().collect();
    let names: Vec<&str> = pictures.keys().map(String::as_str).collect();
    assert_eq!(names, ["convergence", "latency", "rate", "staleness"]);
    let document = parsed(&pictures["convergence"]);
    // A and C lack nothing: a flat line at the foot. B lacks one key until its last answer, and then none.
    let (a, b) = (curve(&document, "curve c0"), curve(&document, "curve c1"));
    let floor = a[0].1;
    assert!(a.iter().all(|(_, y)| (y - floor).abs() < 0.01), "{a:?}");
    assert!(b[0].1 < floor - 50.0, "{b:?}");
    assert!((b.last().unwrap().1 - floor).abs() < 5.0, "{b:?}");
    let html = page::render(&results, &beside);
    assert!(html.contains("All nodes agreed 0.81 s after the last fault was lifted."));
}

#[test]
fn staleness_is_drawn_by_age_and_only_where_somebody_read() {
    let results = Results::build(&history(), vec![staleness()], facts());
    let pictures: BTreeMap<String, String> =
        page::pictures(&results, &Beside::default()).into_iter().collect();
    let document = parsed(&pictures["staleness"]);
    let points = curve(&document, "curve c0");
    assert_eq!(points.len(), 3, "of four ages one had no reads: {points:?}");
    // 11.54 %, 2.58 % and 2.3 %: higher up is smaller.
    assert!(points[0].1 < points[1].1 && points[1].1 < points[2].1, "{points:?}");
    assert!(pictures["staleness"].contains(">10–100</text>"), "{}", pictures["staleness"]);
}

#[test]
fn pictures_are_files_of_their_own() {
    let mut history = history();
    history.faults[0].label = "<kill> & \u{ffff}\u{1b} \"B\"".into();
    let mut results = diverged_runs();
    results.checks[0].name = "../con vergence".into();
    let beside = Beside { history: Some(&history), ..Beside::default() };
    let pictures = page::pictures(&results, &beside);
    let names: std::collections::BTreeSet<&str> = pictures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), pictures.len(), "no name twice: {names:?}");
    assert!(names.contains("---con-vergence-1-diverged"), "a name is no path: {names:?}");
    for (name, svg) in &pictures {
        let document = parsed(svg);
        assert_eq!(
            document.root_element().tag_name().namespace(),
            Some("http://www.w3.org/2000/svg"),
            "{name}"
        );
        let styles = document.descendants().filter(|node| node.tag_name().name() == "style").count();
        assert_eq!(styles, 1, "{name} brings its colours");
    }
}

/// Where scripts are off the page says what is missing, and shows what it can.
#[test]
fn without_a_script_there_are_still_pictures() {
    let history = history();
    let results = Results::build(&history, vec![staleness()], facts());
    let empty = History::default();
    let html = page::render(&results, &Beside { history: Some(&history), ..Beside::default() });
    assert!(html.contains("<div id=\"explore\" hidden>"), "controls that do nothing are not shown");
    let still = &html[html.find("<div id=\"still\">").unwrap()..];
    let still = &still[..still.find("</div>").unwrap()];
    assert!(
        still.contains("scripts are off, or blocked") && still.contains("history.jsonl has every operation")
    );
    assert!(still.contains("<svg class=\"diagram\""));
    assert!(
        !html.contains("http:") && !html.contains("https:") && !html.contains("//cdn"),
        "needs nothing else"
    );
    // Of nodes that never came up there are the logs.
    let log =
        page::NodeLog { node: "A".into(), text: "     0.010 err  no <such> port\n".into(), left_out: 2048 };
    let beside = Beside { history: Some(&empty), logs: vec![log], ..Beside::default() };
    let empty = page::render(&results, &beside);
    assert!(empty.contains("nothing was asked of the nodes") && empty.contains("no &lt;such&gt; port"));
    assert!(empty.contains("the first 2 KiB are left out") && !empty.contains("<script"));
    // And where the history was not at hand.
    let html = page::render(&results, &Beside::default());
    assert!(html.contains("so it has no timeline") && !html.contains("<script"));
}
