//! A small class, really run: the grades are the known truth, however the grading was cut up or killed.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Lab;

/// What each submission's node is, and the points of (convergence, lww) that are the truth.
const CLASS: &[(&str, &str, [&str; 2])] = &[
    ("ann", "exec \"$HARNESS\" node lww \"$@\"", ["10", "5"]),
    // Its versions are still all different, so that replicas agree whatever the load; the order is wrong.
    ("bob", "exec \"$HARNESS\" node lww --bug no-receive-rule \"$@\"", ["10", "0"]),
    ("cat", "echo sorry; exit 3", ["0", "0"]),
    ("eve", "exec \"$HARNESS\" node lww --bug key-collision \"$@\"", ["0", "0"]),
    ("max", "", ["0", "0"]),
];

const SAME: [&str; 6] =
    ["grades.csv", "grades.json", "index.html", "junit.xml", "classroom/bob.json", "classroom/max.json"];

fn class() -> Lab {
    class_of(&CLASS.iter().map(|(name, script, _)| (*name, *script)).collect::<Vec<_>>())
}

/// A class in the lab's folder: `class/` and `rubric.toml`, whose nodes all want the same ports.
fn class_of(submissions: &[(&str, &str)]) -> Lab {
    let lab = Lab::new("grade");
    let root = lab.dir.path();
    for (name, script) in submissions {
        let folder = root.join("class").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        // Who has nothing handed in something else.
        let file = if script.is_empty() { "essay.txt" } else { "node.sh" };
        std::fs::write(folder.join(file), script).unwrap();
    }
    let workload = "name = \"short\"\nvars = { node = \"{{ harness }} node lww\" }\n\
        [cluster]\nnodes = [\"A\", \"B\", \"C\"]\nready-within = \"60s\"\n\
        command = \"{{ node }} --id {{ id }} --port {{ port }} --peers {{ peers | map(attribute='url') | join(',') }}\"\n\
        [client]\nprotocol = \"lab2\"\ntimeout = \"2s\"\n[load]\nrate = 80\nduration = \"2s\"\nkeys = 4\nburst = 4\n\
        [settle]\nwithin = \"20s\"\n[checks]\nconvergence = \"required\"\nlww = \"required\"\n";
    std::fs::write(root.join("short.toml"), workload).unwrap();
    let rubric = format!(
        "name = \"Small\"\nseed = 3\nrepeats = 1\ntimeout = \"100s\"\n[submission]\nnode = \"sh {{{{ dir }}}}/node.sh\"\n\
         requires = [\"node.sh\"]\nenv = {{ HARNESS = {:?}, E2E_MARK = {:?} }}\n[[item]]\nworkload = \"short.toml\"\nchecks = {{ convergence = 10, lww = 5 }}\n",
        env!("CARGO_BIN_EXE_harness"),
        // Nothing else of our environment reaches a node.
        lab.mark()
    );
    std::fs::write(root.join("rubric.toml"), rubric).unwrap();
    lab
}

fn grade(lab: &Lab, out: &str, more: &[&str]) -> Output {
    let mut command = lab.command();
    command.args(["grade", "class", "--rubric", "rubric.toml", "--out", out]).args(more);
    let output = command.output().unwrap();
    lab.nothing_left();
    output
}

fn expect_code(output: &Output, code: i32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
}

fn expect_truth(lab: &Lab, out: &str) {
    let csv = std::fs::read_to_string(lab.dir.path().join(out).join("grades.csv")).unwrap();
    let journal = std::fs::read_to_string(lab.dir.path().join(out).join("grading.jsonl")).unwrap_or_default();
    for (name, _, [convergence, lww]) in CLASS {
        let line = csv.lines().find(|line| line.starts_with(&format!("{name},"))).unwrap();
        assert!(line.ends_with(&format!(",15,no,{convergence},{lww}")), "{csv}\n{journal}");
    }
}

fn expect_same(lab: &Lab, one: &str, other: &str) {
    for file in SAME {
        let read = |out: &str| std::fs::read_to_string(lab.dir.path().join(out).join(file)).unwrap();
        assert_eq!(read(one), read(other), "{file}");
    }
}

#[test]
fn grades_are_the_truth_killed_in_the_middle_or_in_parts() {
    let lab = class();
    let output = grade(&lab, "whole", &["--jobs", "2"]);
    expect_code(&output, 0);
    expect_truth(&lab, "whole");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("bob") && table.contains("What most of the class fails"), "{table}");
    let feedback = |name: &str| {
        let file = lab.dir.path().join("whole/submissions").join(name).join("feedback.md");
        std::fs::read_to_string(file).unwrap()
    };
    assert!(feedback("max").contains("it has no node.sh"), "{}", feedback("max"));
    assert!(
        feedback("cat").contains("exited with code 3") && feedback("cat").contains("sorry"),
        "{}",
        feedback("cat")
    );
    assert!(feedback("bob").contains("The operations that prove it"), "{}", feedback("bob"));

    killed_and_resumed(&lab);
    expect_truth(&lab, "killed");
    expect_same(&lab, "whole", "killed");

    for part in ["1/2", "2/2"] {
        let out = format!("part{}", &part[..1]);
        expect_code(&grade(&lab, &out, &["--jobs", "3", "--quiet", "--partition", part]), 0);
    }
    let mut merge = lab.command();
    merge.args(["grade", "--merge", "part1", "part2", "--rubric", "rubric.toml", "--out", "merged"]);
    expect_code(&merge.output().unwrap(), 0);
    expect_same(&lab, "whole", "merged");
    let report = "merged/submissions/ann/runs/short-1/results/short/latest/report.html";
    assert!(lab.dir.path().join(report).is_file(), "the runs are there too");
    let mut merge = lab.command();
    merge.args(["grade", "--merge", "part2", "--rubric", "rubric.toml", "--out", "half"]);
    let output = merge.output().unwrap();
    expect_code(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("part 1/2 is missing"), "{output:?}");

    // Points may change, and nobody is run again; with another seed all are.
    let rubric = lab.dir.path().join("rubric.toml");
    let text = std::fs::read_to_string(&rubric).unwrap();
    std::fs::write(&rubric, text.replace("convergence = 10", "convergence = 20")).unwrap();
    let output = grade(&lab, "whole", &["--jobs", "2"]);
    expect_code(&output, 0);
    let (said, csv) = (
        String::from_utf8_lossy(&output.stderr).into_owned(),
        std::fs::read_to_string(lab.dir.path().join("whole/grades.csv")).unwrap(),
    );
    assert!(said.contains("5 runs, 5 of them known already"), "{said}");
    assert!(csv.lines().any(|line| line.ends_with(",25,no,20,0")), "{csv}");
    std::fs::write(&rubric, text.replace("seed = 3", "seed = 4")).unwrap();
    let mut merge = lab.command();
    merge.args(["grade", "--merge", "part1", "part2", "--rubric", "rubric.toml", "--out", "other"]);
    let output = merge.output().unwrap();
    expect_code(&output, 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("part1: ann short was run under another rubric"), "{said}");
}

/// SIGKILL when one unit is known and others are not; then the same command again.
fn killed_and_resumed(lab: &Lab) {
    let mut command = lab.command();
    command.args(["grade", "class", "--rubric", "rubric.toml", "--out", "killed", "--jobs", "1", "--quiet"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal: PathBuf = lab.dir.path().join("killed/grading.jsonl");
    let units = || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.lines().filter(|line| line.contains("\"record\":\"unit\"")).count()
    };
    let deadline = Instant::now() + Duration::from_secs(100);
    while units() == 0 {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it was killed in the middle"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    lab.nothing_left();
    let known = units();
    assert!(known < 4, "some are still to come");
    let output = grade(lab, "killed", &["--jobs", "1"]);
    expect_code(&output, 0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("of them known already"), "{said}");
}

/// Looks for the code of somebody who is good; what it can read is in `found`.
const COPIES: &str = "up=$PWD; while [ \"$up\" != / ]; do up=$(dirname \"$up\")\n\
    for good in good/node.sh class/good/node.sh good/work/code/node.sh; do cat \"$up/$good\" >> found 2>/dev/null; done; done";

/// What a submission does before it becomes the correct node, each its worst; none of it without end, whatever is wrong with us.
const WORST: &[(&str, &str)] = &[
    ("forks", "i=0; while [ $i -lt 300 ]; do sleep 90 & i=$((i+1)); done"),
    ("fills", "(for i in 1 2 3; do head -c 60000000 /dev/zero >> filler; done; sleep 90) &"),
    ("floods", "(i=0; while [ $i -lt 300000 ]; do echo nonsense $i; i=$((i+1)); done; sleep 90) &"),
    (
        "kills",
        "kill -9 $PPID; for p in $(ls /proc | grep '^[0-9]*$'); do case \"$(tr '\\0' ' ' < /proc/$p/cmdline)\" in *harness*) kill -9 $p ;; esac; done",
    ),
    (
        "edits",
        "for f in ../../results.json ../../history.jsonl ../../../../run.json ../../../../../../../../grading.jsonl \
        ../../../../../../../good/feedback.md ../../../../../../good/work/code/node.sh; do echo '{\"forged\":1}' >> $f; done",
    ),
    ("copies", COPIES),
    (
        "listens",
        "python3 -c 'import socket,time\nfor port in (8000, 8001, 8002):\n  s = socket.socket(); s.bind((\"127.0.0.1\", port)); s.listen()\ntime.sleep(1)' || true",
    ),
];

#[test]
fn hostile_submissions_leave_the_others_grades_alone() {
    let isolation = harness::sandbox::probe();
    if !isolation.is_full() {
        eprintln!("skipped: this system keeps nodes from nothing ({isolation:?})");
        return;
    }
    let lab = class();
    let root = lab.dir.path();
    std::fs::remove_dir_all(root.join("class")).unwrap();
    let correct = CLASS[0].1;
    for (name, worst) in [("good", ":"), ("fine", ":")].iter().chain(WORST) {
        let folder = root.join("class").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("node.sh"),
            format!("({worst}) 2>>tried.log\n[ ! -s found ] || exit 9\n{correct}\n"),
        )
        .unwrap();
    }
    // A build is their code too. Killing all it may is for the last.
    let build = format!(
        "{COPIES}; echo '{{}}' >> \"$PWD\"/../../../good/feedback.md\n[ ! -s found ] || exit 9\necho built > built; kill -9 -1; exit 0"
    );
    std::fs::create_dir_all(root.join("class/builds")).unwrap();
    std::fs::write(root.join("class/builds/build.sh"), build).unwrap();
    let node = format!("[ -e built ] || exit 9\n{correct}\n");
    std::fs::write(root.join("class/builds/node.sh"), node).unwrap();
    let archive = |name: &str, entry: &str, content: &[u8]| {
        let mut writer = zip::ZipWriter::new(std::fs::File::create(root.join("class").join(name)).unwrap());
        writer.start_file(entry, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, content).unwrap();
        writer.finish().unwrap();
    };
    archive("slips.zip", "../../../../class/good/node.sh", b"exit 1");
    archive("bomb.zip", "node.sh", &vec![0; 60 << 20]);
    let rubric = std::fs::read_to_string(root.join("rubric.toml")).unwrap();
    let limits = "build = \"sh -c 'test ! -e build.sh || exec sh build.sh'\"\n\
        limits = { processes = 100, disk = \"20MiB\", log = \"1MiB\", memory = \"1GiB\" }\nrequires";
    std::fs::write(root.join("rubric.toml"), rubric.replace("requires", limits)).unwrap();

    let output = grade(&lab, "out", &["--jobs", "3"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let csv = std::fs::read_to_string(root.join("out/grades.csv")).unwrap();
    let points = |name: &str| -> String {
        let line = csv.lines().find(|line| line.starts_with(&format!("{name},"))).unwrap();
        line.split(',').nth(1).unwrap().to_owned()
    };
    for innocent in ["good", "fine"] {
        assert_eq!(points(innocent), "15", "{csv}\n{said}");
    }
    // Whoever was stopped has nothing; who was only kept from it is graded by what else it does.
    for stopped in ["forks", "fills", "slips", "bomb"] {
        assert_eq!(points(stopped), "0", "{stopped}\n{csv}\n{said}");
    }
    let copies = Some("copies").filter(|_| isolation.rooms);
    for kept in
        ["floods", "kills", "edits"].into_iter().chain(copies.into_iter().chain(copies.map(|_| "builds")))
    {
        assert_eq!(points(kept), "15", "{kept}\n{csv}\n{said}");
    }
    let feedback = |name: &str| {
        std::fs::read_to_string(root.join("out/submissions").join(name).join("feedback.md")).unwrap()
    };
    assert!(feedback("forks").contains("processes 100 exceeded"), "{}", feedback("forks"));
    assert!(
        feedback("fills").contains("disk 20 MiB exceeded") && !feedback("fills").contains("no-answer"),
        "{}",
        feedback("fills")
    );
    assert!(
        feedback("slips").contains("leads out of it") && feedback("bomb").contains("more than"),
        "{}",
        feedback("bomb")
    );
    let good = std::fs::read_to_string(root.join("class/good/node.sh")).unwrap();
    assert!(good.contains(correct) && !feedback("good").contains("forged"));
    let journal = std::fs::read_to_string(root.join("out/grading.jsonl")).unwrap();
    assert!(!journal.contains("forged"));
}

#[test]
fn a_rubric_s_mistakes_are_shown_where_they_are() {
    let lab = class();
    let rubric = lab.dir.path().join("rubric.toml");
    let good = std::fs::read_to_string(&rubric).unwrap();
    for (wrong, right, said) in [
        ("convergence = 10", "convergance = 10", "did you mean `convergence`?"),
        ("short.toml", "long.toml", "cannot be run"),
        ("{{ dir }}/node.sh", "node.sh", "the submission's folder"),
        ("repeats = 1", "repeats = 0", "expected a whole number from 1"),
        ("requires", "require", "did you mean `requires`?"),
        ("lww = 5", "lww = -5", "expected a number from 0"),
    ] {
        std::fs::write(&rubric, good.replace(wrong, right)).unwrap();
        let output = grade(&lab, "wrong", &[]);
        expect_code(&output, 2);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(said) && told.contains("rubric.toml:"), "{right}: {told}");
        assert!(!Path::new(&lab.dir.path().join("wrong")).exists(), "nothing was begun");
    }
}

/// What one run leaves beside the node is not there for the next, what is handed in is never touched, links stay links, and a
/// grader's secrets stay the grader's.
#[test]
fn a_run_finds_the_folder_as_it_was_built() {
    let script = "cd \"$(dirname \"$0\")\"; [ -e made ] || exit 4; [ -z \"$SECRET\" ] || exit 6; [ -L link ] || exit 7\n\
        for left in left-*; do [ \"$left\" = 'left-*' ] || [ \"$left\" = left-$PPID ] || exit 5; done\n\
        mkdir -p left-$PPID; cd - >/dev/null; exec \"$HARNESS\" node lww \"$@\"";
    let lab = class_of(&[("ann", script)]);
    let folder = lab.dir.path().join("class/ann");
    std::os::unix::fs::symlink("node.sh", folder.join("link")).unwrap();
    let rubric = lab.dir.path().join("rubric.toml");
    let text = std::fs::read_to_string(&rubric).unwrap().replace("repeats = 1", "repeats = 2");
    let build = "build = \"sh -c 'test -z \\\"$SECRET\\\" && mkdir -p $XDG_CACHE_HOME && echo > $TMPDIR/y && echo > made'\"\nrequires";
    std::fs::write(&rubric, text.replace("requires", build)).unwrap();
    let mut command = lab.command();
    command.args(["grade", "class", "--rubric", "rubric.toml", "--out", "out", "--jobs", "2"]);
    let output = command.env("SECRET", "token").output().unwrap();
    expect_code(&output, 0);
    let csv = std::fs::read_to_string(lab.dir.path().join("out/grades.csv")).unwrap();
    let feedback = std::fs::read_to_string(lab.dir.path().join("out/submissions/ann/feedback.md")).unwrap();
    assert!(csv.lines().any(|line| line.ends_with(",15,no,10,5")), "{csv}\n{feedback}");
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["link", "node.sh"]);
}
