//! The bundled node: what a run prints, what it leaves, how it ends.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use harness::history::reader;
use serde_json::{Value as Json, json};

use crate::support::{Ended, Lab, Spec, check};

fn read_json(path: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// No control code but the line feed: no colours, no cursor, no carriage return.
#[track_caller]
fn plain(text: &str) {
    let strange = |letter: &char| letter.is_control() && *letter != '\n';
    assert_eq!(text.chars().find(strange), None, "{text:?}");
}

#[test]
fn a_valid_run_leaves_everything() {
    let spec = Spec::new("valid").fault("500ms", "1s", "kill = \"B\"");
    let (lab, ended) = spec.run();
    ended.expect_code(0);
    assert_eq!(ended.stderr, "");
    let folder = lab.folder();
    let results = read_json(&folder.join("results.json"));
    assert_eq!(ended.json(), results);
    assert_eq!(
        (&results["verdict"], &results["exit_code"], &results["seed"]),
        (&json!("valid"), &json!(0), &json!(7))
    );
    assert_eq!(results["why"], json!([]));
    let fault = &results["faults"][0];
    assert_eq!(
        (&fault["f"], &fault["target"], &fault["took_effect"]),
        (&json!("kill"), &json!("B"), &json!(true))
    );
    assert!(fault["overlapping_ops"].as_u64().unwrap() > 0, "{fault}");
    let exit = &results["nodes"][1]["exits"][0];
    assert_eq!((&exit["signal"], &exit["expected"]), (&json!(9), &json!(true)), "{results}");

    let junit = std::fs::read_to_string(folder.join("junit.xml")).unwrap();
    assert!(junit.contains("<testcase name=\"lww / under kill B\" classname=\"valid.seed7\""), "{junit}");
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("<p class=\"verdict\">valid</p>") && page.ends_with("</html>\n"), "{page}");
    for part in ["id=\"column-begun\"", "<figcaption>nodes/C.log</figcaption>", "The workload as it was run"]
    {
        assert!(page.contains(part), "no {part}");
    }

    for node in ["A", "B", "C"] {
        let log = std::fs::read_to_string(folder.join(format!("nodes/{node}.log"))).unwrap();
        assert!(log.contains("starting: "), "{log}");
    }
    let history = reader::read(&folder.join("history.jsonl")).unwrap();
    assert_eq!(history.lives["B"].len(), 2);
    assert_eq!(history.asked.len(), 2, "harness check has to know what was asked: {:?}", history.asked);
    assert!(history.converged_ms.is_some() && !history.torn);
    let (code, out, err) = lab.check(&folder.join("history.jsonl"));
    assert_eq!(code, Some(0), "{out}{err}");

    // As run, everything resolved: the same seed is in it, and it runs again.
    let validate = lab.command().arg("validate").arg(folder.join("workload.toml")).output().unwrap();
    assert!(validate.status.success(), "{}", String::from_utf8_lossy(&validate.stderr));
}

#[test]
fn a_bug_is_found_and_told_without_control_codes() {
    let spec =
        Spec { load: "rate = 60\nduration = \"3s\"\nkeys = 6\nrotate = \"300ms\"", ..Spec::new("bug") };
    let spec = spec.bug("fire-and-forget").fault("500ms", "2s", "kill = \"B\"");
    let spec = Spec { settle: "2s", ..spec };
    let (lab, ended) = spec.run_with(&[]);
    ended.expect_code(1);
    plain(&ended.stdout);
    plain(&ended.stderr);
    assert!(ended.stderr.contains("kill B") && ended.stderr.contains("settle"), "{}", ended.stderr);
    for part in ["convergence", "INVALID", "kill B", "run workload.toml", "--seed 7"] {
        assert!(
            ended.stdout.replace(&*lab.file().to_string_lossy(), "workload.toml").contains(part),
            "no {part} in {}",
            ended.stdout
        );
    }
    let results = lab.last_results();
    let convergence = check(&results, "convergence");
    assert_eq!(convergence["verdict"], "invalid");
    assert_eq!(convergence["violations"][0]["kind"], "diverged");
    // Offline, from the history alone, the same is found.
    assert_eq!(lab.check(&lab.history()).0, Some(1));
    reports_are_made_again(&lab);
}

/// Of a run's folder and of its history alone: a page with a timeline; pictures; and errors that say what is wrong.
fn reports_are_made_again(lab: &Lab) {
    let report = |arguments: &[&str]| {
        let output = lab.command().arg("report").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let folder = lab.folder();
    let (history, alone) = (lab.history(), folder.join("alone"));
    std::fs::create_dir(&alone).unwrap();
    let bare = alone.join("history.jsonl");
    std::fs::copy(&history, &bare).unwrap();
    let written = std::fs::read_to_string(folder.join("report.html")).unwrap();
    let (code, again, err) = report(&[&folder.to_string_lossy(), "--html"]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(again == written, "the same run gives the same page");
    for of in [&bare, &alone] {
        let (code, page, err) = report(&[&of.to_string_lossy(), "--html"]);
        assert_eq!((code, &*err), (Some(0), ""));
        for part in ["<p class=\"verdict\">invalid</p>", "id=\"column-begun\"", "diverged", "made from "] {
            assert!(page.contains(part), "no {part}");
        }
    }
    let pictures = folder.join("drawn");
    let (code, out, err) = report(&[&folder.to_string_lossy(), &format!("--svg={}", pictures.display())]);
    assert_eq!((code, &*err), (Some(0), ""));
    for name in ["convergence-1-diverged", "latency", "rate", "convergence"] {
        let file = pictures.join(format!("{name}.svg"));
        assert!(out.contains(&*file.to_string_lossy()) && file.is_file(), "no {name} in {out}");
    }
    // Other tools' histories have neither nodes nor faults.
    let other = alone.join("other.edn");
    std::fs::write(&other, "{:process 0, :type :invoke, :f :read, :value nil}").unwrap();
    let (code, out, err) = report(&[&other.to_string_lossy(), "--html"]);
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(err.contains("format jepsen-edn") && err.contains("harness check"), "{err}");
    let (code, _, err) = report(&[&folder.join("workload.toml").to_string_lossy()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("a workload, of which there is nothing to report yet"), "{err}");
}

#[test]
fn repeats_count_their_seeds_up_and_fail_fast_stops() {
    let short = "rate = 60\nduration = \"1s\"\nkeys = 4";
    let spec = Spec { load: short, ..Spec::new("repeat") };
    let (lab, ended) = spec.run_with(&["--json", "--repeat", "2"]);
    ended.expect_code(0);
    plain(&ended.stderr);
    let summary = ended.json();
    let seeds: Vec<_> = summary["runs"].as_array().unwrap().iter().map(|run| run["seed"].clone()).collect();
    assert_eq!(seeds, [json!(7), json!(8)]);
    assert_eq!(summary["checks"][0]["valid"], 2, "{summary}");
    assert_eq!(lab.folders().len(), 2);

    let spec = Spec { load: short, ..Spec::new("fail-fast") }.bug("no-tick");
    let (lab, ended) = spec.run_with(&["--repeat", "3", "--fail-fast"]);
    ended.expect_code(1);
    assert_eq!(lab.folders().len(), 1, "{}", ended.stdout);
}

/// (f, key, value) of each client's operations, in its order, whatever incarnations it had.
fn streams(history: &Path) -> BTreeMap<u64, Vec<(String, Json, Json)>> {
    let (clients, processes) = (6, 9);
    let mut streams: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for line in std::fs::read_to_string(history).unwrap().lines() {
        let event: Json = serde_json::from_str(line).unwrap();
        let Some(process) = event["process"].as_u64().map(|process| process % processes) else { continue };
        if process < clients && event["type"] == "invoke" {
            let operation = (event["f"].to_string(), event["key"].clone(), event["value"].clone());
            streams.entry(process).or_default().push(operation);
        }
    }
    streams
}

/// Length of the longest common subsequence.
fn in_common<T: PartialEq>(left: &[T], right: &[T]) -> usize {
    let mut row = vec![0; right.len() + 1];
    for one in left {
        let mut diagonal = 0;
        for (place, other) in right.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if one == other { diagonal + 1 } else { above.max(row[place]) };
            diagonal = above;
        }
    }
    row[right.len()]
}

#[test]
fn the_same_seed_plans_the_same() {
    let spec = Spec { client: "timeout = \"1s\"\nmax-in-flight = 2", ..Spec::new("same") };
    let spec = Spec { faults: "[chaos]\nfaults = [\"kill\", \"pause\"]\nevery = \"500ms\"\nfor = [\"200ms\", \"300ms\"]\nquiet = \"200ms\"\n".into(), ..spec };
    let runs = [spec.run(), spec.run()];
    let results = runs.each_ref().map(|(_, ended)| {
        ended.expect_code(0);
        ended.json()
    });
    let faults = results.each_ref().map(|results| {
        let faults = results["faults"].as_array().unwrap();
        faults
            .iter()
            .map(|fault| (fault["f"].clone(), fault["target"].clone(), fault["label"].clone()))
            .collect::<Vec<_>>()
    });
    assert!(!faults[0].is_empty());
    assert_eq!(faults[0], faults[1]);
    let streams = runs.each_ref().map(|(lab, _)| streams(&lab.history()));
    // A client that is still waiting when its next operation is due leaves that out; the order stays.
    let skipped: u64 = results.iter().map(|results| results["load"]["skipped"].as_u64().unwrap()).sum();
    assert_eq!(streams[0].len(), 6);
    let mut shortest = 0;
    let mut shared = 0;
    for (client, left) in &streams[0] {
        let right = &streams[1][client];
        shortest += left.len().min(right.len());
        shared += in_common(left, right);
    }
    assert!(shared + skipped as usize >= shortest, "{shared} of {shortest} in common, {skipped} skipped");
    assert!(shared * 2 > shortest, "{shared} of {shortest} in common prove little");
}

#[test]
fn modes_decide_the_exit_code() {
    let short = "rate = 60\nduration = \"1500ms\"\nkeys = 4";
    let expected = "convergence = \"reported\"\nlww = \"expected-to-fail\"";
    let demo = Spec { checks: expected, load: short, ..Spec::new("demo") };
    let (_, ended) = demo.bug("no-tick").run();
    ended.expect_code(0);
    assert_eq!(check(&ended.json(), "lww")["verdict"], "invalid");

    let (_, ended) = Spec { checks: expected, load: short, ..Spec::new("no-show") }.run();
    ended.expect_code(1);
    assert!(ended.json()["why"][0].as_str().unwrap().contains("was expected to fail"), "{ended:?}");

    // Reads alone: nobody ever wrote, so there is nothing that could have been lost.
    let reads = "rate = 60\nduration = \"1s\"\nkeys = 4\nmix = { read = 1 }";
    let (_, ended) = Spec { load: reads, ..Spec::new("toothless") }.run();
    ended.expect_code(3);
    assert_eq!(ended.json()["verdict"], "unknown");
    assert!(check(&ended.json(), "lww")["reason"].is_string(), "{ended:?}");
}

#[test]
fn what_cannot_run_says_why() {
    let lab = Spec { load: "rate = \"fast\"\nclinets = 3", ..Spec::new("mistakes") }.lab();
    let ended = lab.run(&["--json", "--quiet"]);
    ended.expect_code(2);
    assert_eq!(ended.stdout, "");
    plain(&ended.stderr);
    for part in ["workload.toml:", "clinets", "clients", "load.rate"] {
        assert!(ended.stderr.contains(part), "no {part} in {}", ended.stderr);
    }
    assert!(!lab.results().exists(), "a mistake is found before anything is left behind");

    let lab = Spec::new("nowhere").lab();
    let ended = lab.run(&["--node", "no-such-program-anywhere"]);
    ended.expect_code(2);
    assert!(ended.stderr.contains("no-such-program-anywhere"), "{}", ended.stderr);

    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let lab = Spec::new("taken").lab();
    let ended = lab.run(&["--set", &format!("cluster.port={}", port.min(65_533))]);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    ended.expect_code(4);
    assert!(said.contains(&port.to_string()), "{said}");
}

#[test]
fn results_that_cannot_be_written_are_told() {
    let lab = Spec::new("nowhere-to-write").lab();
    std::fs::write(lab.results(), "a file, no folder").unwrap();
    let ended: Ended = lab.run(&["--quiet"]);
    ended.expect_code(4);
    assert!(ended.stderr.contains("results"), "{}", ended.stderr);
}

/// Two runs of one file at the same time disturb neither each other's ports nor each other's folders.
#[test]
fn two_runs_of_one_file_at_once() {
    let lab: Lab = Spec::new("twins").lab();
    let both = [lab.start(&["--quiet"]), lab.start(&["--quiet"])];
    for running in both {
        // Short of time a run may come to nothing, but never to a violation or a breakage.
        let code = running.wait().status.code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    }
    lab.nothing_left();
    let folders = lab.folders();
    assert_eq!(folders.len(), 2);
    for folder in folders {
        assert_eq!(read_json(&folder.join("results.json"))["failures"], json!([]));
    }
}
