//! The exact text of every kind of mistake.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use harness::workload::{Overrides, Workload, WorkloadErrors};

use super::{BASE, edited, led, parse};

/// The messages of several mistakes, one below the other.
#[derive(Default)]
struct Page(String);

impl Page {
    fn add(&mut self, what: &str, result: Result<Workload, WorkloadErrors>) {
        let errors = result.expect_err(what);
        assert_eq!(errors.render(false), errors.to_string());
        assert!(!errors.to_string().contains('\u{1b}'), "no control codes: {what}");
        writeln!(self.0, "## {what}\n\n{errors}\n").unwrap();
    }

    /// The base workload with `from` replaced by `to`.
    fn edit(&mut self, what: &str, from: &str, to: &str) {
        self.add(what, parse(&edited(from, to)));
    }

    /// Each with `from` replaced by one of `tos`.
    fn edits(&mut self, from: &str, tos: &[&str]) {
        for to in tos {
            self.edit(to.lines().last().unwrap_or_default(), from, to);
        }
    }

    fn flags(&mut self, what: &str, vars: &[&str], sets: &[&str], node: Option<&str>) {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let overrides = Overrides {
            node: node.map(str::to_owned),
            vars: own(vars),
            sets: own(sets),
            ..Overrides::default()
        };
        self.add(what, Workload::parse(BASE, Path::new("w.toml"), &overrides));
    }
}

#[test]
fn the_base_is_right() {
    let workload = parse(BASE).unwrap();
    assert_eq!(workload.faults.len(), 1);
    assert_eq!(workload.load.rate, 200.0);
    assert_eq!(workload.load.mix, [("read".to_owned(), 1), ("write".to_owned(), 1)]);
    assert_eq!(workload.cluster.log_limit, 16 << 20);
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("outage.toml", BASE.as_bytes());
    write("latin1.toml", b"name = \"base\"\n# caf\xe9\n");
    write("large.toml", &vec![b'#'; 10 << 20]);
    write("deep.toml", format!("x = {}{}\n", "[".repeat(5_000), "]".repeat(5_000)).as_bytes());
    write("deep_keys.toml", format!("{}a = 1\n", "a.".repeat(5_000)).as_bytes());
    write("empty.toml", b"");
    let mut page = Page::default();
    for name in
        ["outge.toml", "outage", "nothing-like-it.toml", "", "latin1.toml", "large.toml", "empty.toml"]
    {
        page.add(name, Workload::load(&folder.path().join(name), &Overrides::default()));
    }
    let text = page.0.replace(folder.path().to_str().unwrap(), "FOLDER");
    insta::assert_snapshot!("files", text);

    for name in ["deep.toml", "deep_keys.toml"] {
        let errors = Workload::load(&folder.path().join(name), &Overrides::default()).unwrap_err();
        let text = errors.to_string();
        assert!(text.contains("recurs"), "{text}");
        assert!(text.len() < 2_000 && errors.list.len() < 5, "one clear message: {text}");
    }
}

#[test]
fn syntax() {
    let mut page = Page::default();
    page.edit("a string that is not closed", "name = \"base\"", "name = \"base");
    page.edit("no value", "name = \"base\"", "name =");
    page.edit("a key twice", "name = \"base\"", "name = \"base\"\nname = \"other\"");
    page.edit("a table twice", "[checks]", "[load]\n[checks]");
    page.edit(
        "an escape sequence in the source is not sent to the terminal",
        "name = \"base\"",
        "name = \u{1b}[31m",
    );
    insta::assert_snapshot!("syntax", page.0);
}

#[test]
fn keys() {
    let mut page = Page::default();
    page.edits("duration = \"10s\"", &["duratoin = \"10s\"", "wombat = 1"]);
    page.edits("name = \"base\"", &["nmae = \"base\"", "wombat = 1"]);
    page.edits(
        "nodes =",
        &[
            "limits = { processes = 0, cpu = \"two\" }\nnodes =",
            "node =",
            "limits = { memory = 3, disk = \"much\", mem = \"1MiB\" }\nnodes =",
        ],
    );
    page.edits("protocol = \"lab2\"", &["", "protocol = \"lab2\"\ntimout = \"1s\""]);
    page.edit("no checks", "[checks]\nconvergence = \"required\"\n", "");
    page.edit("no cluster", "[cluster]", "[clutser]");
    page.edit("a table where there is none", "[load]\nduration = \"10s\"", "load = 3");
    insta::assert_snapshot!("keys", page.0);
}

#[test]
fn values() {
    let mut page = Page::default();
    page.edits(
        "name = \"base\"",
        &[
            "name = 3",
            "name = \"../elsewhere\"",
            "name = \"\"",
            "seed = -1",
            "seed = 99999999999999999999",
            "about = []",
        ],
    );
    page.edits(
        "duration = \"10s\"",
        &[
            "duration = 10",
            "duration = \"10\"",
            "duration = \"10 parsec\"",
            "duration = \"-1s\"",
            "duration = \"0s\"",
            "duration = \"999999999h\"",
            "duration = []",
            "rate = -1",
            "rate = nan",
            "rate = inf",
            "rate = 1e12",
            "rate = \"fast\"",
            "clients = 0",
            "clients = 1.5",
            "clients = 1000000000",
            "keys = 0",
            "burst = 7",
            "rotate = \"newer\"",
            "mix = { read = 0, write = 0 }",
            "mix = {}",
            "mix = { reed = 1, write = 1 }",
            "mix = { read = -1 }",
            "kind = \"regster\"",
            "kind = \"counter\"",
            "sessions = \"stiky\"",
        ],
    );
    page.edits(
        "nodes = [\"A\", \"B\", \"C\"]",
        &[
            "nodes = [\"A\", \"B\", \"A\"]",
            "nodes = []",
            "nodes = \"A\"",
            "nodes = [\"A\", 2]",
            "nodes = [\"A/B\"]",
            "nodes = [\"all\"]",
            "nodes = [\"A\", \"B\", \"C\"]\nport = 65534",
            "nodes = [\"A\", \"B\", \"C\"]\nport = -1",
            "nodes = [\"A\", \"B\", \"C\"]\ndurability = \"disc\"",
            "nodes = [\"A\", \"B\", \"C\"]\ncwd = \"no/such/folder\"",
            "nodes = [\"A\", \"B\", \"C\"]\nlimits = { log = 16 }",
            "nodes = [\"A\", \"B\", \"C\"]\nlimits = { log = \"16 stones\" }",
            "nodes = [\"A\", \"B\", \"C\"]\nready-within = \"1ms\"",
        ],
    );
    page.edits(
        "protocol = \"lab2\"",
        &[
            "protocol = \"lab3\"",
            "protocol = \"telnet\"",
            "protocol = \"no/such.toml\"",
            "protocol = \"lab2\"\nmax-in-flight = 0",
        ],
    );
    page.edits(
        "convergence = \"required\"",
        &["convergance = \"required\"", "convergence = \"requird\"", "convergence = true", ""],
    );
    insta::assert_snapshot!("values", page.0);
}

#[test]
fn quorums_and_routes() {
    let mut page = Page::default();
    page.edits(
        "nodes = [\"A\", \"B\", \"C\"]",
        &[
            "nodes = [\"A\", \"B\", \"C\"]\nwrite-quorum = 4",
            "nodes = [\"A\", \"B\", \"C\"]\nwrite-quorum = 0",
            "nodes = [\"A\", \"B\", \"C\"]\nread-quorum = \"{{ R }}\"",
            "nodes = [\"A\", \"B\", \"C\"]\nread-quorum = \"two\"",
            "nodes = [\"A\", \"B\", \"C\"]\nread-quorum = true",
            "nodes = [\"A\", \"B\", \"C\"]\nelect-within = 5",
            "nodes = [\"A\", \"B\", \"C\"]\nelect-within = \"5s\"",
        ],
    );
    page.edits("protocol = \"lab2\"", &["protocol = \"lab2\"\nprobe = \"100ms\"", "protocol = \"quorum\""]);
    page.edits("duration = \"10s\"", &["mix = { strong-read = 1 }", "route = \"leader\""]);
    let quorum = BASE.replace("\"lab2\"", "\"quorum\"");
    for line in [
        "route = \"leder\"",
        "route = 3",
        "route = { wirte = \"leader\" }",
        "route = { write = \"leader\", delete = \"any\" }",
        "route = { write = \"nearest\" }",
        "route = { write = [] }",
        "mix = { read = 1 }",
    ] {
        let mix = if line.starts_with("mix") { "" } else { "mix = { write = 1, strong-read = 1 }\n" };
        page.add(line, parse(&quorum.replace("duration", &format!("{mix}{line}\nduration"))));
    }
    insta::assert_snapshot!("quorums_and_routes", page.0);
}

#[test]
fn what_depends_on_the_leader_has_nodes_asked_for_their_status() {
    let quorum = BASE.replace("\"lab2\"", "\"quorum\"");
    let quorum = quorum.replace("duration", "mix = { write = 1, strong-read = 1 }\nduration");
    let probe = |text: &str| parse(text).unwrap().client.probe;
    assert_eq!(probe(BASE), None);
    assert_eq!(probe(&quorum), None, "nothing depends on it");
    let default = Some(Duration::from_millis(100));
    assert_eq!(probe(&quorum.replace("mix", "route = { write = \"leader\" }\nmix")), default);
    assert_eq!(probe(&quorum.replace("nodes =", "elect-within = \"3s\"\nnodes =")), default);
    let asked = quorum.replace("protocol", "probe = \"50ms\"\nprotocol");
    assert_eq!(probe(&asked), Some(Duration::from_millis(50)));
}

#[test]
fn faults() {
    let mut page = Page::default();
    let kill = "kill = \"B\"";
    page.edits(
        kill,
        &[
            "kill = \"D\"",
            "kill = \"mjority\"",
            "kill = [\"A\", \"A\"]",
            "kill = []",
            "kill = 1",
            "kill = \"leader\"",
            "kill = \"leadr\"",
            "kill = [\"leader\", \"A\"]",
            "kill = \"B\"\nwhen = \"reading\"",
            "",
            "kil = \"B\"",
            "clock = \"B\"",
            "kill = \"B\"\npause = \"A\"",
            "kill = \"B\"\nevery = \"1ms\"",
            "slow = { node = \"A\", running = 2 }",
            "slow = { running = 0.5 }",
            "slow = { node = \"A\", period = \"1ms\" }",
            "partition = [[\"A\"], [\"A\", \"C\"]]",
            "partition = [[\"A\", \"B\"]]",
            "partition = [\"A\", \"B\"]",
            "partition = [[\"A\"], []]",
            "partition = { isolate = \"all\" }",
            "partition = { isolate = \"A\", bridge = \"B\" }",
            "partition = { from = \"A\" }",
            "partition = { from = \"A\", to = \"A\" }",
            "partition = { bridge = [\"A\", \"B\"] }",
            "partition = { from = \"A\", to = \"B\", with = \"minority\" }",
            "partition = \"rings\"",
            "delay = { from = \"A\", to = \"A\", by = \"1s\" }",
            "delay = { from = \"A\", too = \"B\", by = \"1s\" }",
            "delay = { from = \"A\", to = \"B\" }",
            "delay = 200",
            "jitter = { by = \"0s\" }",
            "throttle = 64",
            "throttle = \"64KiB/h\"",
            "throttle = \"0B/s\"",
            "reset = \"E\"",
            "drop = 30",
            "drop = \"30%\"",
            "drop = { from = \"A\", to = \"B\" }",
            "duplicate = { from = \"A\", share = 0 }",
            "reorder = { share = 0.5, by = \"1s\" }",
            "corrupt = { from = \"A\", to = \"A\", share = 0.5 }",
        ],
    );
    let led = led(BASE);
    for fault in [
        "partition = { bridge = \"followers\" }",
        "partition = { isolate = \"leader\", with = \"majority\" }",
        "partition = { isolate = \"followers\", with = \"minority\" }",
        "delay = { from = \"leader\", to = \"leader\", by = \"1s\" }",
    ] {
        page.add(fault, parse(&led.replacen(kill, fault, 1)));
    }
    page.edits("at = \"3s\"", &["at = \"10s\"", "at = 3", "", "at = \"sometime\""]);
    page.edits("for = \"4s\"", &["for = \"0s\"", "every = \"1s\""]);
    page.edit("one table in single brackets", "[[fault]]", "[fault]");
    insta::assert_snapshot!("faults", page.0);

    let mut page = Page::default();
    let two = edited("nodes = [\"A\", \"B\", \"C\"]", "nodes = [\"A\", \"B\"]");
    let with = |text: &str, fault: &str| text.replacen(kill, fault, 1);
    for fault in [
        "partition = \"ring\"",
        "partition = { bridge = \"A\" }",
        "pause = \"minority\"",
        "partition = { isolate = \"A\", with = \"minority\" }",
    ] {
        page.add(&format!("two nodes: {fault}"), parse(&with(&two, fault)));
    }
    let one = edited("nodes = [\"A\", \"B\", \"C\"]", "nodes = [\"A\"]");
    page.add("one node: delay", parse(&with(&one, "delay = \"1s\"")));
    page.add("one node: followers", parse(&with(&one, "pause = \"followers\"")));
    insta::assert_snapshot!("faults_of_few_nodes", page.0);
}

#[test]
fn chaos() {
    let mut page = Page::default();
    for keys in [
        "faults = [\"kil\"]",
        "faults = []",
        "faults = [\"kill\", \"kill\"]",
        "faults = [\"disk\"]",
        "every = \"9s\"",
        "every = 2",
        "for = [\"2s\", \"1s\"]",
        "for = [\"2s\"]",
        "targets = \"D\"",
        "targets = [\"one\", \"one\"]",
        "targets = [\"one\", \"D\"]",
        "quite = \"1s\"",
        "quiet = \"10s\"",
    ] {
        page.edit(keys, "[checks]", &format!("[chaos]\n{keys}\n\n[checks]"));
    }
    let two = edited("nodes = [\"A\", \"B\", \"C\"]", "nodes = [\"A\", \"B\"]");
    page.add("two nodes", parse(&two.replace("[checks]", "[chaos]\n\n[checks]")));
    insta::assert_snapshot!("chaos", page.0);
}

#[test]
fn templates_and_commands() {
    let mut page = Page::default();
    page.edits(
        "command = \"{{ node }} --id {{ id }} --port {{ port }}\"",
        &[
            "command = \"{{ node }} --id {{ id }} --port {{ prt }}\"",
            "command = \"{{ node }} --id {{ id\"",
            "command = \"{{ node }} --id {{ id | upcase }}\"",
            "command = \"{{ node }} --peers {{ peers[7].url }}\"",
            "command = \"{{ node }} --id '{{ id }}\"",
            "command = \"\"",
            "command = \"{{ '' }}\"",
            "command = \"zzqqxxyyww --id {{ id }}\"",
            "command = \"./no/such/program\"",
            "command = \"./src --id {{ id }}\"",
            "command = \"./Cargo.toml --id {{ id }}\"",
            "command = \"{{ 'x' * 90000 }}\"",
            "command = [\"node\"]",
        ],
    );
    page.edits(
        "nodes =",
        &[
            "env = { PORT = \"{{ prt }}\" }\nnodes =",
            "env = { \"A=B\" = \"1\" }\nnodes =",
            "env = { PORT = [] }\nnodes =",
            "env = 3\nnodes =",
        ],
    );
    page.edits(
        "vars = { node = \"{{ harness }} node lww\" }",
        &[
            "vars = { node = \"{{ harnes }} node lww\" }",
            "vars = { node = \"{{ other }}\", other = \"{{ node }}\" }",
            "vars = { node = \"x --id {{ id }}\" }",
            "vars = { node = [] }",
            "vars = { node = \"x\", \"a-b\" = \"c\" }",
            "vars = { node = \"x\", port = 1 }",
            "vars = { node = \"zzqqxxyyww\" }",
            "vars = 3",
            "vars = { nod = \"x\" }",
        ],
    );
    insta::assert_snapshot!("templates_and_commands", page.0);
}

#[test]
fn what_nodes_find() {
    let mut page = Page::default();
    page.edits(
        "nodes =",
        &[
            "ports = 1000\nnodes =",
            "ports = { rpc = 2 }\nnodes =",
            "ports = { rpc = 1000, sync = 1001 }\nnodes =",
            "ports = { rpc = 0 }\nnodes =",
            "ports = { rpc = \"1000\" }\nnodes =",
            "ports = { \"r-pc\" = 1000 }\nnodes =",
            "ports = { rpc = 1000 }\nport = 65000\nnodes =",
            "files = \"cluster.yaml\"\nnodes =",
            "files = { \"a.yaml\" = \"{{ pears }}\" }\nnodes =",
            "files = { \"a.yaml\" = \"{{ ports.rpc }}\" }\nnodes =",
            "files = { \"a.yaml\" = \"{% for x in all %}\" }\nnodes =",
            "files = { \"../a.yaml\" = \"\" }\nnodes =",
            "files = { \"/etc/passwd\" = \"\" }\nnodes =",
            "files = { a = 3 }\nnodes =",
            "files = { a = { fiel = \"x\" } }\nnodes =",
            "files = { a = { file = \"no/such.j2\" } }\nnodes =",
            "copy = \"no/such/folder\"\nnodes =",
            "copy = 3\nnodes =",
            "copy = \"Cargo.toml\"\nnodes =",
        ],
    );
    page.edit("a variable of that name", "vars = { node", "vars = { all = \"x\", node");
    insta::assert_snapshot!("what_nodes_find", page.0);
}

#[test]
fn flags() {
    let mut page = Page::default();
    page.flags("a variable there is none of", &["nod=x"], &[], None);
    page.flags("no assignment", &["node"], &["load.rate"], None);
    page.flags("a bad template", &["node=x {{ y }}"], &[], None);
    page.flags("a program that is not to be found", &[], &[], Some("zzqqxxyyww --fast"));
    page.flags("a script that is not to be found", &[], &[], Some("/bin/sh no_such_script.sh"));
    page.flags("wrong types", &[], &["load.rate=fast", "name=42", "load.duration=12"], None);
    page.flags("unknown keys", &[], &["load.raet=5", "laod.rate=5"], None);
    page.flags("a fault there is none of", &[], &["fault.1.at=2s"], None);
    page.flags("a path through a value", &[], &["load.duration.ms=2", "cluster.nodes.x=A"], None);
    page.flags("no path", &[], &["load..rate=1", "=1"], None);
    page.flags("a limit out of range", &[], &["cluster.limits.cpu=-1.0"], None);
    page.add(
        "--node where there is no variable for it",
        Workload::parse(
            &edited("vars = { node = \"{{ harness }} node lww\" }", "").replace("{{ node }}", "/bin/sh -c x"),
            Path::new("w.toml"),
            &Overrides { node: Some("python3 node.py".to_owned()), ..Overrides::default() },
        ),
    );
    insta::assert_snapshot!("flags", page.0);
}

#[test]
fn many_mistakes_are_shown_at_once_and_counted_beyond() {
    let text =
        BASE.replace("convergence", "convergance").replace("\"10s\"", "10").replace("\"B\"\n", "\"D\"\n");
    insta::assert_snapshot!("several", parse(&text).unwrap_err().to_string());
    let many: String = (0..50).map(|number| format!("zzqq{number} = 1\n")).collect();
    let errors = parse(&format!("{many}{BASE}")).unwrap_err();
    assert_eq!(errors.list.len(), 50);
    assert!(errors.to_string().ends_with("… and 30 more mistakes"), "{errors}");
}

#[test]
fn a_mistaken_protocol_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), "[write]\nmehtod = \"POST\"\n").unwrap();
    let text = edited("protocol = \"lab2\"", "protocol = \"mine.toml\"");
    let errors = Workload::parse(&text, &folder.path().join("w.toml"), &Overrides::default()).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("mine.toml:2:1"), "{text}");
    assert!(text.contains("w.toml:9:12"), "{text}");
}

#[test]
fn colours_are_for_terminals() {
    let errors = parse("").unwrap_err();
    assert!(errors.render(true).contains('\u{1b}'));
    assert!(!errors.render(false).contains('\u{1b}'));
}

/// Each of these was hidden by the one before it at some time.
#[test]
fn one_mistake_hides_no_other() {
    let text = r#"
name = "many"
sed = 1

[cluster]
nodes = ["A", "B", "A"]
command = "sleep {{ prot }}"
durability = "dsk"
port = 70000

[client]
protocol = "lab2"
timeout = "1x"

[load]
clients = 2
burst = 3
duration = "forever"
mix = { reed = 1 }
sessions = "stiky"

[[fault]]
at = "3"
for = "4"
every = "x"
kil = "B"

[[fault]]
at = "2s"
for = 4
kill = "A"
pause = "B"

[chaos]
faults = ["kil"]
every = 3

[settle]
within = "1"

[checks]
convergance = "required"
lww = "requird"
"#;
    let errors = parse(text).unwrap_err();
    let titles: Vec<&str> = errors.list.iter().map(|problem| problem.title.as_str()).collect();
    for mistake in [
        "unknown key `sed`",
        "names node \"A\" a second time",
        "`cluster.durability` is \"dsk\"",
        "`cluster.port` is 70000",
        "`client.timeout` is \"1x\"",
        "`load.burst` is 3",
        "`load.duration` is \"forever\"",
        "`reed`",
        "`load.sessions` is \"stiky\"",
        "`fault.at` is \"3\"",
        "`fault.for` is \"4\"",
        "`fault.every` is \"x\"",
        "unknown key `kil`",
        "names two faults",
        "`fault.for` is a number without a unit",
        "`chaos.faults.0` is \"kil\"",
        "`chaos.every` is a number without a unit",
        "`settle.within` is \"1\"",
        "unknown key `convergance`",
        "`checks.lww` is \"requird\"",
    ] {
        assert!(titles.iter().any(|title| title.contains(mistake)), "{mistake}: {titles:#?}");
    }
    assert_eq!(titles.len(), 20, "{titles:#?}");
    // With the nodes right the command's template can be looked at, whatever else is wrong with the cluster.
    let errors = parse(&text.replace(r#", "A"]"#, "]")).unwrap_err();
    let titles: Vec<&str> = errors.list.iter().map(|problem| problem.title.as_str()).collect();
    assert!(titles.iter().any(|title| title.contains("prot")), "{titles:#?}");
    assert!(titles.iter().any(|title| title.contains("`cluster.durability`")), "{titles:#?}");
}

#[test]
fn a_node_that_is_ended_twice_is_warned_of() {
    let fault =
        |at: u32, lasting: &str, what: &str| format!("\n[[fault]]\nat = \"{at}s\"\n{lasting}\n{what}\n");
    let warnings = |faults: &[String]| {
        let (before, _) = BASE.split_once("[[fault]]").unwrap();
        let (_, checks) = BASE.split_once("[checks]").unwrap();
        parse(&format!("{before}{}\n[checks]{checks}", faults.concat())).unwrap().warnings
    };
    let (four, ever) = ("for = \"4s\"", "");
    let found = warnings(&[
        fault(1, four, "kill = \"A\""),
        fault(3, four, "stop = [\"A\", \"B\"]"),
        fault(7, "for = \"1s\"", "kill = \"B\""),
    ]);
    assert_eq!(found, ["stop A, B at 3s finds A down already: kill A at 1s lasts until 5s"]);
    let found = warnings(&[fault(1, ever, "kill = \"A\""), fault(3, four, "kill = \"A\"")]);
    assert_eq!(found, ["kill A at 3s finds A down already: kill A at 1s lasts until the heal"]);
    for fine in [
        [fault(1, four, "kill = \"A\""), fault(5, four, "kill = \"A\"")],
        [fault(1, four, "kill = \"A\""), fault(3, four, "kill = \"B\"")],
        [fault(1, four, "kill = \"A\""), fault(3, four, "pause = \"A\"")],
    ] {
        assert_eq!(warnings(&fine), [""; 0]);
    }
}
