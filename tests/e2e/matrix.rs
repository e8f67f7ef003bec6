//! A matrix on real processes: the correct node beside one with a bug.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use crate::support::{Lab, Spec};

/// Two cells: the bundled node as it is, and with a bug that takes no fault to be found.
fn lab(name: &'static str) -> Lab {
    let spec = Spec {
        node: "{{ harness }} node lww {{ extra }}".to_owned(),
        load: "rate = 60\nduration = \"1s\"\nkeys = 4",
        checks: "lww = \"required\"\nstaleness = \"reported\"\navailability = \"reported\"",
        ..Spec::new(name)
    };
    let lab = spec.lab();
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let text = text.replacen("vars = {", "vars = { extra = \"\",", 1);
    std::fs::write(lab.file(), text + "[matrix]\nextra = [\"\", \"--bug no-tick\"]\n").unwrap();
    lab
}

fn cells(matrix: &Json) -> Vec<(String, String)> {
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let cells = matrix["cells"].as_array().unwrap();
    cells.iter().map(|cell| (text(&cell["cell"]["extra"]), text(&cell["verdict"]))).collect()
}

#[test]
fn each_cell_is_run_and_the_worst_decides() {
    let lab = lab("matrix");
    let ended = lab.run(&["--json", "--quiet"]);
    ended.expect_code(1);
    let matrix = ended.json();
    let written = std::fs::read_to_string(lab.results().join("matrix/matrix.json")).unwrap();
    assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), matrix, "the same beside the runs");
    let expected = [("", "valid"), ("--bug no-tick", "invalid")];
    assert_eq!(cells(&matrix), expected.map(|(extra, verdict)| (extra.to_owned(), verdict.to_owned())));
    assert_eq!(matrix["exit_code"], 1);
    let figures = &matrix["cells"][0]["figures"];
    assert!(figures["ok"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["writes"][0]["ok"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["staleness"][0]["reads"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(figures["violations"]["lww"], 0);

    // Each run says which cell it is, in its name and in its results, and can be run again by itself.
    let folders = lab.folders();
    assert_eq!(folders.len(), 2, "{folders:?}");
    let buggy = folders.iter().find(|folder| folder.to_string_lossy().contains("-extrabugnotick")).unwrap();
    let text = std::fs::read_to_string(buggy.join("results.json")).unwrap();
    let results: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(results["cell"], json!({"extra": "--bug no-tick"}));
    assert_eq!(results["vars"]["extra"], "--bug no-tick");
    assert!(
        results["rerun"].as_str().unwrap().contains("--var 'extra=--bug no-tick'"),
        "{}",
        results["rerun"]
    );
}

#[test]
fn a_matrix_stops_early_where_it_is_told_to_and_says_how_far_it_came() {
    let lab = lab("matrix-fast");
    let text = std::fs::read_to_string(lab.file()).unwrap();
    let matrix = "extra = [\"--bug no-tick\", \"\"]";
    std::fs::write(lab.file(), text.replace("extra = [\"\", \"--bug no-tick\"]", matrix)).unwrap();
    let ended = lab.run(&["--fail-fast"]);
    ended.expect_code(1);
    assert_eq!(lab.folders().len(), 1, "{}", ended.stdout);
    for part in ["extra=--bug no-tick seed 7: invalid", "1 of 2 cells · 1 run", "lww", "--seed 7"] {
        assert!(ended.stdout.contains(part), "no {part} in {}", ended.stdout);
    }

    // An axis that is fixed is none: this is an ordinary run.
    let ended = lab.run(&["--json", "--quiet", "--var", "extra="]);
    ended.expect_code(0);
    assert_eq!(ended.json()["cell"], json!({}));
    assert_eq!(ended.json()["verdict"], "valid");
}

#[test]
fn a_mistake_in_one_cell_keeps_all_from_running() {
    let lab = lab("matrix-wrong");
    let text = std::fs::read_to_string(lab.file()).unwrap();
    std::fs::write(lab.file(), text.replace("--bug no-tick", "{{ nothing }}")).unwrap();
    let ended = lab.run(&[]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("unknown variable `nothing`"), "{}", ended.stderr);
    assert!(lab.folders().is_empty());
}

#[test]
fn an_interrupt_ends_the_whole_matrix_and_keeps_what_there_is() {
    let lab = lab("matrix-interrupted");
    let text = std::fs::read_to_string(lab.file()).unwrap();
    std::fs::write(lab.file(), text.replace("duration = \"1s\"", "duration = \"10m\"")).unwrap();
    let mut running = lab.start(&[]);
    let under_load = || {
        let history =
            |folder: &PathBuf| std::fs::read_to_string(folder.join("history.jsonl")).unwrap_or_default();
        lab.folders().iter().any(|folder| history(folder).contains("\"write\""))
    };
    running.until("a write is in the history", under_load);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    ended.expect_code(130);
    lab.nothing_left();
    assert_eq!(lab.folders().len(), 1, "the second cell was not begun: {}", ended.stdout);
    assert!(
        ended.stdout.contains("1 of 2 cells") && ended.stdout.contains("interrupted"),
        "{}",
        ended.stdout
    );
    let written = std::fs::read_to_string(lab.results().join("matrix-interrupted/matrix.json")).unwrap();
    assert_eq!(cells(&serde_json::from_str(&written).unwrap()), [(String::new(), "unknown".to_owned())]);
}
