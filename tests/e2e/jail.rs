//! Nodes that do what they must not: they are kept from it, or stopped, and the run says so. Where the kernel cannot keep
//! them, the tests are skipped, with a word.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

use crate::support::{BUNDLED, Ended, Lab, Spec, python};

const NAMESPACES: [&str; 5] = ["net", "user", "mount", "pid", "ipc"];
/// `nobody`, as most systems number it.
const NOBODY: u32 = 65_534;

/// A lab that other users can enter, as they can most folders.
fn lab_of(spec: &Spec) -> Lab {
    let lab = spec.lab();
    std::fs::set_permissions(lab.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    lab
}

/// The bundled node, after a script has done its worst in each node's own directory.
fn after(name: &'static str, script: &str) -> Lab {
    let spec = Spec {
        node: "sh worst.sh".to_owned(),
        load: "rate = 60\nduration = \"3s\"\nkeys = 6",
        ..Spec::new(name)
    };
    let lab = lab_of(&spec);
    std::fs::write(lab.dir.path().join("worst.sh"), format!("{script}\nexec {} \"$@\"\n", bundled()))
        .unwrap();
    lab
}

fn bundled() -> String {
    BUNDLED.replace("{{ harness }}", &format!("\"{}\"", env!("CARGO_BIN_EXE_harness")))
}

/// Runs it in a jail; `None`, with a word, where there is none to be had.
fn jailed(lab: &Lab, more: &[&str]) -> Option<Ended> {
    if !can_be_full() {
        return None;
    }
    let ended = lab.run(&[&["--json", "--quiet", "--require-isolation"], more].concat());
    let isolation = &ended.json()["isolation"];
    assert_eq!([&isolation["files"], &isolation["signals"], &isolation["network"]], [true, true, true]);
    Some(ended)
}

fn can_be_full() -> bool {
    let isolation = harness::sandbox::probe();
    if !(isolation.is_full() && isolation.rooms) {
        eprintln!("skipped: this system cannot keep nodes ({isolation:?})");
        return false;
    }
    true
}

/// Under a limit of `[cluster.limits]` every node is stopped, for this reason, and nothing else of the run suffers from it.
fn expect_stopped(lab: &Lab, set: &str, limit: &str) {
    let Some(ended) = jailed(lab, &["--set", &format!("cluster.limits.{set}")]) else { return };
    ended.expect_code(4);
    let results = ended.json();
    let failures = results["failures"].as_array().unwrap();
    let told = |what: &Json| what["limit"].as_str().is_some_and(|told| told.starts_with(limit));
    assert!(failures.iter().any(|failure| told(failure) && failure["node"] == "A"), "{failures:?}");
    assert!(results["why"][0].as_str().unwrap().contains(limit), "{}", results["why"]);
    let exits =
        results["nodes"].as_array().unwrap().iter().flat_map(|node| node["exits"].as_array().unwrap());
    assert!(exits.filter(|exit| told(exit)).count() > 0, "{}", results["nodes"]);
    lab.nothing_left();
}

#[test]
fn who_fills_the_disk_is_stopped() {
    let lab = after("fills", "(sleep 1; head -c 40000000 /dev/zero >> filler; sleep 60) &");
    expect_stopped(&lab, "disk=8MiB", "disk 8.0 MiB exceeded (");
}

#[test]
fn files_without_a_name_fill_the_disk_too() {
    let script = "(exec 3> filler; rm filler; sleep 1; head -c 40000000 /dev/zero >&3; sleep 60) &";
    let lab = after("unlinks", script);
    expect_stopped(&lab, "disk=8MiB", "disk 8.0 MiB exceeded (");
}

#[test]
fn who_forks_without_end_is_stopped() {
    // Not without end: whatever is wrong with the jail, this machine goes on.
    let lab = after("forks", "(sleep 1; i=0; while [ $i -lt 150 ]; do sleep 60 & i=$((i+1)); done; wait) &");
    expect_stopped(&lab, "processes=60", "processes 60 exceeded (");
}

#[test]
fn who_takes_the_memory_is_stopped() {
    // `tail` of what has no line keeps all of it until its input ends.
    let hog = "(sleep 1; (head -c 300000000 /dev/zero; sleep 60) | tail -n 1 > /dev/null) &";
    let lab = after("hogs", hog);
    expect_stopped(&lab, "memory=120MiB", "memory 120 MiB exceeded (");
}

#[test]
fn memory_that_is_no_process_s_counts_too() {
    if python("hostile/escapes.py").is_none() {
        return;
    }
    let hog = "import os, time; time.sleep(1); fd = os.memfd_create(\"hog\")\n\
        [os.write(fd, bytes(1 << 24)) for part in range(16)]; time.sleep(60)";
    let lab = after("memfd", &format!("python3 -c '{hog}' &"));
    expect_stopped(&lab, "memory=120MiB", "memory 120 MiB exceeded (");
}

#[test]
fn a_flood_is_cut_and_no_reason_to_stop_anybody() {
    let lab = after(
        "floods",
        "head -c 20000000 /dev/zero | tr '\\0' x; head -c 20000000 /dev/zero | tr '\\0' '\\n' >&2",
    );
    if let Some(ended) = jailed(&lab, &["--set", "cluster.limits.log=1MiB"]) {
        ended.expect_code(0);
        let log = std::fs::metadata(lab.folder().join("nodes/A.log")).unwrap().len();
        assert!(log < 2 << 20, "{log}");
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
fn who_is_ended_for_a_long_file_is_named() {
    let lab = after(
        "long",
        "(sleep 1; exec dd if=/dev/zero of=long bs=64k count=64 2> /dev/null) & wait $! || kill -s XFSZ $$",
    );
    if let Some(ended) =
        jailed(&lab, &["--set", "cluster.limits.file=1MiB", "--set", "cluster.ready-within=4s"])
    {
        ended.expect_code(4);
        let told = ended.json()["failures"].to_string();
        assert!(told.contains("file 1.0 MiB exceeded"), "{told}");
    }
}

#[test]
fn nobody_gets_out() {
    let Some(python) = python("hostile/escapes.py") else { return };
    let lab = after("escapes", "");
    let folder = lab.results().join("escapes/latest");
    let theirs = [
        lab.file(),
        lab.dir.path().join("bystander"),
        folder.join("history.jsonl"),
        folder.join("nodes/B.log"),
    ];
    std::fs::write(&theirs[1], "mine").unwrap();
    std::fs::set_permissions(&theirs[1], std::fs::Permissions::from_mode(0o666)).unwrap();
    let paths: Vec<String> = theirs.iter().map(|path| path.display().to_string()).collect();
    let script = format!("exec {python} {} -- {} \"$@\"\n", paths.join(" "), bundled());
    std::fs::write(lab.dir.path().join("worst.sh"), script).unwrap();
    let before = std::fs::read(lab.file()).unwrap();
    let Some(ended) = jailed(&lab, &[]) else { return };
    ended.expect_code(0);
    let results = ended.json();
    for part in NAMESPACES {
        assert_eq!(results["isolation"]["parts"][part], "in force", "{}", results["isolation"]);
    }
    for node in ["A", "B", "C"] {
        let outcome =
            std::fs::read_to_string(lab.folder().join("nodes").join(node).join("outcome.json")).unwrap();
        let mut outcome: Json = serde_json::from_str(&outcome).unwrap();
        let user = outcome["user"].take().as_u64().unwrap();
        assert_ne!(user, 0, "root gives it a user of its own, and others are none");
        let expected = json!({
            "alone": true, "user": null, "kills": false, "traces": false, "written": [], "mounts": false, "nests": false,
            "becomes root": false, "outside": false, "own": true, "read": [&paths[0], &paths[1]],
        });
        assert_eq!(outcome, expected, "{node}");
    }
    assert_eq!(std::fs::read(lab.file()).unwrap(), before);
    assert_eq!(std::fs::read_to_string(&theirs[1]).unwrap(), "mine");
    assert!(!std::fs::read_to_string(lab.history()).unwrap().contains("forged"));
}

#[test]
fn faults_reach_a_node_in_its_room() {
    let spec = Spec { load: "rate = 60\nduration = \"4s\"\nkeys = 6", ..Spec::new("faults-inside") }
        .fault("300ms", "600ms", "kill = \"A\"")
        .fault("1200ms", "600ms", "stop = \"B\"")
        .fault("2100ms", "600ms", "pause = \"C\"")
        .fault("3000ms", "600ms", "partition = [[\"A\"], [\"B\", \"C\"]]");
    let lab = lab_of(&spec);
    let Some(ended) = jailed(&lab, &[]) else { return };
    ended.expect_code(0);
    let results = ended.json();
    let faults = results["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 4);
    for fault in faults {
        assert_eq!(fault["took_effect"], true, "{fault}");
    }
    let exit = |place: usize| &results["nodes"][place]["exits"][0];
    assert_eq!((&exit(0)["signal"], &exit(0)["code"]), (&json!(9), &Json::Null));
    assert_eq!(
        (&exit(1)["signal"], &exit(1)["code"]),
        (&Json::Null, &json!(0)),
        "it ends by itself when asked"
    );
    for (place, at) in [(0, 0), (1, 1)] {
        let evidence = faults[at]["evidence"]["exits"].as_object().unwrap();
        assert!(evidence.values().any(|end| end["pid"] == exit(place)["pid"]), "{evidence:?}");
    }
}

/// Pid 1 of a namespace would not get a signal that it does not handle.
#[test]
fn who_does_not_handle_sigterm_is_ended_by_it() {
    let Some(node) = python("threading_ok.py") else { return };
    let spec =
        Spec { node, durability: "memory", ..Spec::new("unhandled") }.fault("300ms", "600ms", "stop = \"B\"");
    let lab = lab_of(&spec);
    let Some(ended) = jailed(&lab, &[]) else { return };
    let results = ended.json();
    let exit = &results["nodes"][1]["exits"][0];
    assert_eq!((&exit["signal"], &exit["expected"]), (&json!(15), &json!(true)), "{results:#}");
    assert_eq!(results["faults"][0]["took_effect"], true, "{}", results["faults"]);
}

#[test]
fn two_runs_have_the_same_ports() {
    if !can_be_full() {
        return;
    }
    let labs = ["one", "two"].map(|name| lab_of(&Spec::new(name)));
    let free = harness::cluster::ports::allocate(3, None).unwrap();
    let port = format!("cluster.port={}", free.first());
    drop(free);
    let arguments = ["--json", "--quiet", "--require-isolation", "--set", &port];
    let running = labs.each_ref().map(|lab| lab.start(&arguments));
    for (lab, running) in labs.iter().zip(running) {
        running.wait().expect_code(0);
        lab.nothing_left();
    }
}

#[test]
fn a_killed_harness_leaves_no_room_behind() {
    if !can_be_full() {
        return;
    }
    let lab = after("killed-inside", "(trap '' TERM HUP; setsid sleep 300) &");
    let mut running = lab.start(&["--quiet", "--require-isolation"]);
    running.until("the load", || {
        let folders = lab.folders();
        let history = folders.last().map(|folder| folder.join("history.jsonl"));
        history
            .and_then(|path| std::fs::read_to_string(path).ok())
            .is_some_and(|text| text.contains("\"main\""))
    });
    running.signal(Signal::SIGKILL);
    drop(running);
    lab.nothing_left();
}

/// Runs the harness in a lab by way of another command.
fn by(lab: &Lab, mut command: Command, more: &[&str]) -> Output {
    command.current_dir(lab.dir.path()).arg("run").arg(lab.file()).arg("--results").arg(lab.results());
    let output = command.args(["--json", "--quiet"]).args(more).output().unwrap();
    lab.nothing_left();
    output
}

#[test]
fn nobody_needs_rights_for_it() {
    let binary = Path::new(env!("CARGO_BIN_EXE_harness"));
    if !nix::unistd::geteuid().is_root() || harness::sandbox::closed_to_others(binary).is_some() {
        eprintln!("skipped: this user can be nobody else, or nobody else can get to {}", binary.display());
        return;
    }
    let lab = lab_of(&Spec::new("as-nobody").fault("500ms", "500ms", "kill = \"B\""));
    std::os::unix::fs::chown(lab.dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new(binary);
    command.uid(NOBODY).gid(NOBODY).env("HOME", lab.dir.path());
    let output = by(&lab, command, &["--isolation", "auto", "--set", "cluster.limits.processes=100"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let results: Json =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    let parts = &results["isolation"]["parts"];
    if parts["user"] != "in force" {
        eprintln!("skipped: this system gives namespaces to root alone: {parts}");
        return;
    }
    for part in NAMESPACES {
        assert_eq!(parts[part], "in force", "{parts}");
    }
    assert_eq!(parts["processes"], "in force", "a user namespace counts its own processes: {parts}");
    let history = lab.history();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(history).unwrap().uid(), NOBODY, "what it leaves is its user's");
}

#[test]
fn where_rooms_are_forbidden_it_says_so() {
    let forbidding = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    let wrapped = || {
        let mut command = Command::new("unshare");
        command.args(["-U", "-r", "sh", "-c", forbidding, env!("CARGO_BIN_EXE_harness")]);
        command
    };
    if !wrapped().arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no unshare here that can forbid it");
        return;
    }
    let lab = lab_of(&Spec::new("forbidden"));
    let refused = by(&lab, wrapped(), &["--require-isolation"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("--require-isolation") && said.contains("mount is not in force"), "{said}");
    assert!(lab.folders().is_empty(), "nothing was run");

    let output = by(&lab, wrapped(), &["--isolation", "auto"]);
    let results: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{results:#}");
    let parts = &results["isolation"]["parts"];
    for part in ["mount", "pid", "ipc"] {
        assert!(parts[part].as_str().unwrap().starts_with("not: "), "{parts}");
    }
    assert_eq!(parts["net"], "in force", "{parts}");
}
