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
    results.failures.push(Failure { what: nasty.into(), node: None, log: vec![nasty.into()] });
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
