//! Nodes that do what they must not: they are kept from it, or stopped, and the run says so. Where the kernel cannot keep
//! them, the tests are skipped, with a word.

use serde_json::json;

use crate::support::{BUNDLED, Ended, Lab, Spec};

/// The bundled node, after a script has done its worst in each node's own directory.
fn after(name: &'static str, script: &str) -> Lab {
    let spec = Spec {
        node: "sh worst.sh".to_owned(),
        head: "{{ node }}".to_owned(),
        load: "rate = 60\nduration = \"3s\"\nkeys = 6",
        ..Spec::new(name)
    };
    let lab = spec.lab();
    let node = BUNDLED.replace("{{ harness }}", &format!("\"{}\"", env!("CARGO_BIN_EXE_harness")));
    std::fs::write(lab.dir.path().join("worst.sh"), format!("{script}\nexec {node} \"$@\"\n")).unwrap();
    lab
}

/// Runs it in a jail; `None`, with a word, where there is none to be had.
fn jailed(lab: &Lab, more: &[&str]) -> Option<Ended> {
    let isolation = harness::sandbox::probe();
    if !isolation.is_full() {
        eprintln!("skipped: this system keeps nodes from nothing ({isolation:?})");
        return None;
    }
    let ended = lab.run(&[&["--json", "--quiet", "--isolation", "required"], more].concat());
    assert_eq!(ended.json()["isolation"]["files"], true);
    Some(ended)
}

/// Every node was stopped, for this reason, and nothing else of the run suffered from it.
fn expect_stopped(lab: &Lab, ended: &Ended, why: &str) {
    ended.expect_code(4);
    let results = ended.json();
    let failures = results["failures"].as_array().unwrap();
    let told = failures.iter().filter(|failure| failure["what"].as_str().unwrap().contains(why));
    assert!(told.count() > 0, "{failures:?}");
    assert!(failures.iter().any(|failure| failure["node"] == "A"), "{failures:?}");
    lab.nothing_left();
}

#[test]
fn who_fills_the_disk_is_stopped() {
    let lab = after("fills", "(while :; do head -c 1000000 /dev/zero >> filler; sleep 0.02; done) &");
    if let Some(ended) = jailed(&lab, &["--set", "cluster.limits.disk=8MiB"]) {
        expect_stopped(&lab, &ended, "its directory grew to");
    }
}

#[test]
fn who_forks_without_end_is_stopped() {
    // Not without end: whatever is wrong with the jail, this machine goes on.
    let lab = after("forks", "i=0; while [ $i -lt 150 ]; do sleep 60 & i=$((i+1)); done");
    if let Some(ended) = jailed(&lab, &["--set", "cluster.limits.processes=60"]) {
        expect_stopped(&lab, &ended, "more than the 60 processes and threads");
    }
}

#[test]
fn who_takes_the_memory_is_stopped() {
    // `tail` of what has no line keeps all of it.
    let lab = after("hogs", "(sleep 1; head -c 300000000 /dev/zero | tail -n 1 > /dev/null; sleep 60) &");
    if let Some(ended) = jailed(&lab, &["--set", "cluster.limits.memory=120MiB"]) {
        expect_stopped(&lab, &ended, "memory");
    }
}

#[test]
fn who_writes_a_file_too_long_cannot() {
    let lab = after(
        "writes",
        "head -c 3000000 /dev/zero > long; [ $(wc -c < long) -le 1048576 ] || exit 9; rm long",
    );
    if let Some(ended) = jailed(&lab, &["--set", "cluster.limits.file=1MiB"]) {
        ended.expect_code(0);
    }
}

#[test]
fn nobody_touches_what_is_not_theirs() {
    let script = "exec 2>>tried.log\n\
        kill -9 $PPID && exit 9\n\
        for pid in $(ls /proc | grep '^[0-9]*$'); do\n\
          case \"$(tr '\\0' ' ' < /proc/$pid/cmdline 2>/dev/null)\" in *--isolation*) kill -9 $pid && exit 9 ;; esac\n\
        done\n\
        for file in ../../results.json ../../history.jsonl ../A.log ../B.log ../../../../../workload.toml ../B/mine ../A/mine; do\n\
          case $PWD in */A) [ $file = ../A/mine ] && continue ;; */B) [ $file = ../B/mine ] && continue ;; esac\n\
          (echo '{\"forged\":1}' >> $file) && exit 9\n\
        done\n\
        echo mine > mine && echo temporary > \"$TMPDIR/x\" || exit 8";
    let lab = after("touches", script);
    let Some(ended) = jailed(&lab, &[]) else { return };
    ended.expect_code(0);
    let results = ended.json();
    assert_eq!(results["failures"], json!([]));
    assert_eq!(results["isolation"]["signals"], true);
    let history = std::fs::read_to_string(lab.history()).unwrap();
    assert!(!history.contains("forged"), "the history is out of reach");
    let tried = std::fs::read_to_string(lab.folder().join("nodes/A/tried.log")).unwrap();
    assert!(tried.contains("ermission denied") && tried.contains("ot permitted"), "it did try: {tried}");
}
