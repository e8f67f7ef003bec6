//! `[cluster]` ports, files and copy: what each node finds when it starts.

use std::collections::BTreeMap;
use std::path::Path;

use harness::workload::{NodeFacts, Overrides, PeerFacts, Workload, render_node};

use super::{edited, parse};

const KEYS: &str = r#"ports = { rpc = 1000, timesync = 200 }
nodes ="#;

fn ports(first: u16) -> BTreeMap<String, u16> {
    [("rpc".to_owned(), first + 1000), ("timesync".to_owned(), first + 200)].into()
}

fn facts() -> NodeFacts {
    let peer = |id: &str, host: &str, port| PeerFacts {
        id: id.to_owned(),
        host: host.to_owned(),
        port,
        ports: ports(port),
    };
    NodeFacts {
        host: "127.0.0.1".to_owned(),
        port: 8001,
        ports: ports(8001),
        dir: "/tmp/a b".into(),
        peers: vec![peer("A", "127.1.2.1", 8000), peer("C", "127.1.2.3", 8002)],
    }
}

const TABLE: &str = "self: {{ id }} {{ ports.timesync }} in {{ dir }}
{% for node in all %}- {{ node.id }} {{ node.host }}:{{ node.port }} rpc {{ node.ports.rpc }}{% if node.id == id %} (this one){% endif %}
{% endfor %}peers: {{ peers | map(attribute='id') | join(' ') }}
";

#[test]
fn files_have_the_cluster_as_each_node_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("table.j2"), TABLE).unwrap();
    let keys = format!(
        "files = {{ \"etc/a.txt\" = \"{{{{ index }}}}\", \"b.yaml\" = {{ file = \"table.j2\" }} }}\n{KEYS}"
    );
    let text = edited("nodes =", &keys);
    let workload = Workload::parse(&text, &folder.path().join("w.toml"), &Overrides::default());
    let workload = workload.unwrap_or_else(|errors| panic!("{errors}"));
    let node = render_node(&workload, 1, &facts()).unwrap();
    let table = "self: B 8201 in /tmp/a b
- A 127.1.2.1:8000 rpc 9000
- B 127.0.0.1:8001 rpc 9001 (this one)
- C 127.1.2.3:8002 rpc 9002
peers: A C
";
    let expected = [("b.yaml".to_owned(), table.to_owned()), ("etc/a.txt".to_owned(), "1".to_owned())];
    assert_eq!(node.files, expected.into());

    // What a run leaves has the templates in it, and needs the file no more.
    std::fs::remove_file(folder.path().join("table.j2")).unwrap();
    let again = Workload::parse(&workload.resolved, Path::new("elsewhere.toml"), &Overrides::default());
    let again = again.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.resolved, workload.resolved);
    assert_eq!(again.cluster.files, workload.cluster.files);
    assert_eq!(again.cluster.ports, [("rpc".to_owned(), 1000), ("timesync".to_owned(), 200)]);
}

#[test]
fn what_is_copied_is_found_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("lab/etc")).unwrap();
    for name in ["lab/peer.py", "lab/etc/a.yaml", "beside.py"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let command = |command: &str, keys: &str| {
        let text = edited(
            "command = \"{{ node }} --id {{ id }} --port {{ port }}\"",
            &format!("command = {command:?}\n{keys}"),
        );
        let workload = Workload::parse(&text, &folder.path().join("w.toml"), &Overrides::default());
        let workload = workload.unwrap_or_else(|errors| panic!("{errors}"));
        let again = Workload::parse(&workload.resolved, Path::new("w.toml"), &Overrides::default()).unwrap();
        assert_eq!(again.cluster.copy, workload.cluster.copy);
        render_node(&workload, 1, &facts()).unwrap().argv.join(" ")
    };
    let here = folder.path().display().to_string();
    let words = "/bin/sh peer.py --config=etc/a.yaml beside.py";
    assert_eq!(
        command(words, "copy = \"lab\""),
        format!("/bin/sh peer.py --config=etc/a.yaml {here}/beside.py")
    );
    // Where the command starts elsewhere, the copy is not what is found.
    assert_eq!(
        command("/bin/sh beside.py lab/peer.py", "copy = \"lab\"\ncwd = \".\""),
        format!("/bin/sh {here}/beside.py {here}/lab/peer.py")
    );
}

#[test]
fn without_ports_there_are_none() {
    let workload =
        parse(&edited("nodes =", "files = { x = \"{{ ports | length }}{{ all | length }}\" }\nnodes ="))
            .unwrap();
    let mut facts = facts();
    facts.ports.clear();
    let node = render_node(&workload, 1, &facts).unwrap();
    assert_eq!(node.files["x"], "03");
}
