//! A node's command line, environment and files, once its ports are known.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use minijinja::Value;

use super::command::{absolute_words, check_script, find_command};
use super::template::{self, TemplateError};
use super::{ClusterSpec, NodeFile, Workload};

/// What is known of a node when it is about to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The address it shall listen on.
    pub host: String,
    /// The port it shall listen on.
    pub port: u16,
    /// Its further ports, as [`ClusterSpec::ports`] names them.
    pub ports: BTreeMap<String, u16>,
    /// Its own directory, absolute.
    pub dir: PathBuf,
    /// The other nodes, as this one shall reach them.
    pub peers: Vec<PeerFacts>,
}

/// A peer, as one node shall reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// Its id.
    pub id: String,
    /// The address that leads to it.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Its further ports there.
    pub ports: BTreeMap<String, u16>,
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedNode {
    /// The program (a name for PATH or an absolute path) and its arguments; never empty.
    pub argv: Vec<String>,
    /// What is added to the environment.
    pub env: BTreeMap<String, String>,
    /// Files of its own directory, by their paths in it, and what is in them.
    pub files: BTreeMap<String, String>,
}

/// Why a node cannot be started as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// `cluster.command`, `cluster.env.NAME`, `cluster.files.NAME`.
    pub key: String,
    /// What is wrong.
    pub error: TemplateError,
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {} ({})", self.key, self.error.message, self.error.hint)
    }
}

impl std::error::Error for RenderError {}

/// The command line, environment and files of node number `node_index` (from 0).
///
/// # Errors
/// Rare after validation, which renders with example facts: a template may fail with these facts alone.
pub fn render_node(
    workload: &Workload,
    node_index: usize,
    facts: &NodeFacts,
) -> Result<RenderedNode, RenderError> {
    let mut node = render_with(&workload.cluster, &workload.vars, node_index, facts)?;
    let bases = bases(&workload.cluster, &workload.file);
    let bases: Vec<&Path> = bases.iter().map(PathBuf::as_path).collect();
    let RenderedNode { argv, files, .. } = &mut node;
    absolute_words(argv, &bases, |name| is_own(&workload.cluster, files, name));
    Ok(node)
}

/// Whether a node finds a file of that name where it starts: in its copy, or among what is written for it.
fn is_own(cluster: &ClusterSpec, files: &BTreeMap<String, String>, name: &str) -> bool {
    let written = || files.contains_key(name.strip_prefix("./").unwrap_or(name));
    cluster.cwd.is_none() && written() || own_copy(cluster).is_some_and(|copy| copy.join(name).exists())
}

/// The folder that a node starts in a copy of.
fn own_copy(cluster: &ClusterSpec) -> Option<&PathBuf> {
    cluster.copy.as_ref().filter(|_| cluster.cwd.is_none())
}

/// Where relative files of a command are looked for: `cluster.cwd` or else what is copied, the workload's folder, where
/// the user stands.
pub(super) fn bases(cluster: &ClusterSpec, file: &Path) -> Vec<PathBuf> {
    let beside = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut bases: Vec<PathBuf> = cluster.cwd.iter().chain(own_copy(cluster)).cloned().collect();
    bases.extend([beside.to_owned(), PathBuf::from(".")]);
    bases
}

/// Plausible facts, for validation.
pub(super) fn example_facts(cluster: &ClusterSpec, node_index: usize) -> NodeFacts {
    let port =
        |index: usize| cluster.port.unwrap_or(8000).saturating_add(u16::try_from(index).unwrap_or(u16::MAX));
    let ports = |index: usize| {
        let at = |(name, offset): &(String, u16)| (name.clone(), port(index).saturating_add(*offset));
        cluster.ports.iter().map(at).collect::<BTreeMap<_, _>>()
    };
    let peer = |(index, id): (usize, &String)| PeerFacts {
        id: id.clone(),
        host: "127.0.0.1".into(),
        port: port(index),
        ports: ports(index),
    };
    let others = cluster.nodes.iter().enumerate().filter(|(index, _)| *index != node_index);
    NodeFacts {
        host: "127.0.0.1".to_owned(),
        port: port(node_index),
        ports: ports(node_index),
        dir: PathBuf::from("/tmp/nodes").join(&cluster.nodes[node_index]),
        peers: others.map(peer).collect(),
    }
}

/// As [`render_node`], with the words as they were written.
pub(super) fn render_with(
    cluster: &ClusterSpec,
    vars: &BTreeMap<String, String>,
    node_index: usize,
    facts: &NodeFacts,
) -> Result<RenderedNode, RenderError> {
    let fail = |key: &str, error| RenderError { key: key.to_owned(), error };
    let bad = |message: String, hint: &str| TemplateError { message, hint: hint.to_owned(), range: None };
    let mut values = values(cluster, vars, node_index, facts);
    let text = template::render(&cluster.command, &values).map_err(|error| fail("cluster.command", error))?;
    if text.contains('\0') {
        return Err(fail("cluster.command", bad("holds a NUL character".into(), "expected text")));
    }
    let argv = shell_words::split(&text).map_err(|_| {
        fail(
            "cluster.command",
            bad("has a quote that is not closed".into(), "expected words as a shell splits them"),
        )
    })?;
    if argv.first().is_none_or(String::is_empty) {
        return Err(fail("cluster.command", bad("is empty".into(), "expected a program and its arguments")));
    }
    // Words of a command are quoted so that spaces in a path survive the splitting; here nothing is split.
    values.insert("dir".to_owned(), Value::from(facts.dir.display().to_string()));
    values.insert("harness".to_owned(), Value::from(harness_path()));
    let mut env = BTreeMap::new();
    for (name, template) in &cluster.env {
        let key = format!("cluster.env.{name}");
        let value = template::render(template, &values).map_err(|error| fail(&key, error))?;
        if value.contains('\0') {
            return Err(fail(&key, bad("holds a NUL character".into(), "expected text")));
        }
        env.insert(name.clone(), value);
    }
    let mut files = BTreeMap::new();
    for NodeFile { name, template } in &cluster.files {
        let key = format!("cluster.files.{name}");
        let mut text = template::render(template, &values).map_err(|error| fail(&key, error))?;
        // Templates lose the last line's end, and a file is better off with it.
        if template.ends_with('\n') {
            text.push('\n');
        }
        files.insert(name.clone(), text);
    }
    Ok(RenderedNode { argv, env, files })
}

/// Whether the rendered command can be run.
pub(super) fn check_command(
    cluster: &ClusterSpec,
    node: &RenderedNode,
    bases: &[PathBuf],
) -> Result<(), super::command::CommandError> {
    let bases: Vec<&Path> = bases.iter().map(PathBuf::as_path).collect();
    let path = node.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
    let Some(program) = node.argv.first() else { return Ok(()) };
    find_command(program, &bases, path.as_deref())?;
    check_script(&node.argv, &bases, |name| is_own(cluster, &node.files, name))
}

/// This binary, quoted for a command line.
pub(super) fn harness_word() -> String {
    shell_words::quote(&harness_path()).into_owned()
}

fn harness_path() -> String {
    std::env::current_exe().map_or_else(|_| "harness".to_owned(), |path| path.display().to_string())
}

fn values(
    cluster: &ClusterSpec,
    vars: &BTreeMap<String, String>,
    node_index: usize,
    facts: &NodeFacts,
) -> BTreeMap<String, Value> {
    let described = |peer: &PeerFacts| {
        Value::from(BTreeMap::from([
            ("id", Value::from(peer.id.clone())),
            ("host", Value::from(peer.host.clone())),
            ("port", Value::from(peer.port)),
            ("ports", Value::from(peer.ports.clone())),
            ("url", Value::from(format!("http://{}:{}", peer.host, peer.port))),
        ]))
    };
    let peers: Vec<Value> = facts.peers.iter().map(described).collect();
    let id = cluster.nodes.get(node_index).cloned().unwrap_or_default();
    let itself =
        PeerFacts { id: id.clone(), host: facts.host.clone(), port: facts.port, ports: facts.ports.clone() };
    // Peers are in the nodes' order, with this one left out.
    let mut all = peers.clone();
    all.insert(node_index.min(all.len()), described(&itself));
    let dir = facts.dir.display().to_string();
    let mut values: BTreeMap<String, Value> =
        vars.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
    values.extend([
        ("id".to_owned(), Value::from(id)),
        ("index".to_owned(), Value::from(node_index)),
        ("host".to_owned(), Value::from(facts.host.clone())),
        ("port".to_owned(), Value::from(facts.port)),
        ("ports".to_owned(), Value::from(facts.ports.clone())),
        ("peers".to_owned(), Value::from(peers)),
        ("all".to_owned(), Value::from(all)),
        ("dir".to_owned(), Value::from(shell_words::quote(&dir).into_owned())),
        ("harness".to_owned(), Value::from(harness_word())),
    ]);
    values
}
