//! The workload file: what it says, as validated, immutable plain data.
//!
//! [`Workload`] holds no handles; a dry run can print it with its schedule expanded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::check::CheckMode;
use crate::document::units::show_duration;
use crate::document::{self, Problems};
use crate::fault::ScheduledFault;
use crate::history::{Durability, Sessions};
use crate::sandbox::Limits;

mod command;
mod decode;
mod known;
mod render;
mod resolved;
pub mod schema;
mod sections;
mod template;
mod vars;

pub use command::{CommandError, find_command};
pub use known::KNOWN_LOADS;
pub use render::{NodeFacts, PeerFacts, RenderError, RenderedNode, render_node};

/// Every mistake in a workload file and its overrides; `Display` is the text for a terminal without colours.
pub type WorkloadErrors = Problems;

/// What the command line changes of a workload file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--node CMD`: short for `--var node=CMD`.
    pub node: Option<String>,
    /// `--var name=value`, as typed.
    pub vars: Vec<String>,
    /// `--set path.to.key=value`, as typed.
    pub sets: Vec<String>,
    /// `--seed N`
    pub seed: Option<u64>,
    /// The cell of `[matrix]` to take: axes and values, as [`Workload::cells`] has them.
    pub cell: Vec<(String, String)>,
}

/// A variable and the values it takes in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The variable.
    pub name: String,
    /// Its values, as templates see them; at least one, all different.
    pub values: Vec<String>,
}

impl Workload {
    /// Reads the workload file at `path`, changes it as `overrides` say, and validates everything that can be
    /// validated before a process is started: the command is to be found, templates render, faults fall into the load.
    ///
    /// # Errors
    /// Every mistake found, each with where it is, what was expected and the nearest right word.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Workload, WorkloadErrors> {
        decode::decode_changed(document::read(path)?, path, overrides)
    }

    /// As [`Workload::load`], from a text; `path` is where it would be, which is what relative paths in it refer to.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Workload, WorkloadErrors> {
        let document = document::parse(&path.display().to_string(), text.to_owned())?;
        decode::decode_changed(document, path, overrides)
    }

    /// Every combination of the values of `[matrix]`, the last axis turning fastest; without axes there is one, with nothing
    /// in it.
    pub fn cells(&self) -> Vec<Vec<(String, String)>> {
        let mut cells = vec![Vec::new()];
        for Axis { name, values } in &self.matrix {
            cells = cells
                .into_iter()
                .flat_map(|cell: Vec<(String, String)>| {
                    let with = |value: &String| [cell.as_slice(), &[(name.clone(), value.clone())]].concat();
                    values.iter().map(with).collect::<Vec<_>>()
                })
                .collect();
        }
        cells
    }

    /// The workload at `path` and, where it has a `[matrix]`, each cell of it: all validated, and all with one seed.
    ///
    /// # Errors
    /// Every mistake of the file itself, or of the first cell that has one.
    pub fn load_cells(path: &Path, overrides: &Overrides) -> Result<Cells, WorkloadErrors> {
        let whole = Workload::load(path, overrides)?;
        let axes = whole.matrix.clone();
        if axes.is_empty() {
            return Ok(Cells { axes, list: vec![(Vec::new(), whole)] });
        }
        let mut list = Vec::new();
        for cell in whole.cells() {
            let overrides = Overrides { seed: Some(whole.seed), cell: cell.clone(), ..overrides.clone() };
            let workload = Workload::load(path, &overrides).map_err(|errors| in_cell(errors, &cell))?;
            list.push((cell, workload));
        }
        Ok(Cells { axes, list })
    }

    /// One line for people: how many nodes, what load, how many faults, the seed.
    pub fn summary(&self) -> String {
        let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let rate =
            if self.load.rate == 0.0 { "unlimited".to_owned() } else { format!("{} ops/s", self.load.rate) };
        format!(
            "{}: {}, {}, {rate} for {}, {}, {}, seed {}",
            self.name,
            count(self.cluster.nodes.len(), "node"),
            count(self.load.clients as usize, "client"),
            show_duration(self.load.duration),
            count(self.faults.len(), "fault"),
            count(self.checks.len(), "check"),
            self.seed
        )
    }
}

/// Mistakes that only one cell has say which.
fn in_cell(mut errors: WorkloadErrors, cell: &[(String, String)]) -> WorkloadErrors {
    let pairs: Vec<String> = cell.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    for problem in &mut errors.list {
        problem.title = format!("with {}: {}", pairs.join(", "), problem.title);
    }
    errors
}

/// The cells of a workload.
#[derive(Clone, Debug)]
pub struct Cells {
    /// The axes of `[matrix]`; empty where there is none.
    pub axes: Vec<Axis>,
    /// Each cell (axes and values) and its workload; without a matrix one, with no axes.
    pub list: Vec<(Vec<(String, String)>, Workload)>,
}

/// A validated workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// `name`: names the results folder. Letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// `about`: a sentence for people.
    pub about: String,
    /// The seed in force: from `--seed`, the file, or drawn.
    pub seed: u64,
    /// Where the file is; results quote it in the rerun command.
    pub file: PathBuf,
    /// `[vars]` in force, rendered.
    pub vars: BTreeMap<String, String>,
    /// `[cluster]`
    pub cluster: ClusterSpec,
    /// `[client]`
    pub client: ClientSpec,
    /// `[load]`
    pub load: LoadSpec,
    /// `[[fault]]`, `every` and `[chaos]` expanded with the seed; by when they begin.
    pub faults: Vec<ScheduledFault>,
    /// `[settle] within`
    pub settle_within: Duration,
    /// `[checks]`, in the file's order.
    pub checks: Vec<(String, CheckMode)>,
    /// `[matrix]`: what is still to be chosen. Axes fixed by a flag, or by a cell, are in `vars`.
    pub matrix: Vec<Axis>,
    /// What is allowed and yet may not be meant, in sentences without a full stop.
    pub warnings: Vec<String>,
    /// The whole file with overrides applied and defaults filled in, as TOML: `workload.toml` of the results.
    pub resolved: String,
}

/// `[cluster]`
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// `nodes`: ids, at least one, unique.
    pub nodes: Vec<String>,
    /// `command`: a template, rendered for each node once ports are known, then split as a shell splits words
    /// (no shell runs). Checked at validation by rendering it with example ports.
    pub command: String,
    /// `env`: templates.
    pub env: BTreeMap<String, String>,
    /// `port`: the first node's port, the others follow; absent: a free block is chosen.
    pub port: Option<u16>,
    /// `ports`: names of further ports, each so many above the node's first.
    pub ports: Vec<(String, u16)>,
    /// `copy`: a folder, absolute, that each node's own directory begins as a copy of.
    pub copy: Option<PathBuf>,
    /// `files`: made in each node's own directory before it starts.
    pub files: Vec<NodeFile>,
    /// `dir`: where the nodes' own directories are made; absent: `nodes/` of the run's results folder.
    pub dir: Option<PathBuf>,
    /// `cwd`: where commands start; absent: each in its own directory.
    pub cwd: Option<PathBuf>,
    /// `durability`
    pub durability: Durability,
    /// `write-quorum`: so many replicas hold an acknowledged write, by the system's own word.
    pub write_quorum: Option<u64>,
    /// `read-quorum`: so many replicas are asked by a strong read.
    pub read_quorum: Option<u64>,
    /// `elect-within`: how long a majority that can talk may take to have a leader; `None`: nothing is promised, and
    /// nobody waits for one.
    pub elect_within: Option<Duration>,
    /// `ready-within`: how long a node may take to become ready.
    pub ready_within: Duration,
    /// `limits.log`: bytes of log kept a node; what is beyond is counted and dropped.
    pub log_limit: u64,
    /// `limits`: what else a node may use.
    pub limits: Limits,
    /// `uniform`: what a node delivered before it crashed binds the others.
    pub uniform: bool,
    /// `views`: a node that the others cannot hear may be removed from the group.
    pub views: bool,
}

/// A file of `[cluster.files]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFile {
    /// Its path within a node's own directory, and never out of it.
    pub name: String,
    /// What is rendered for each node.
    pub template: String,
}

/// `[client]`
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// `protocol`: a built-in name, or a path (relative to the workload file).
    pub protocol: String,
    /// `timeout` of one operation.
    pub timeout: Duration,
    /// `max-in-flight`: operations in flight at one node at a time; `None`: no limit.
    pub max_in_flight: Option<u32>,
    /// `probe`: how often each node is asked for its role and term; `None`: never, as nothing needs to know.
    pub probe: Option<Duration>,
}

/// `[load]`
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// `kind`: `register`.
    pub kind: String,
    /// `clients`: at least 1.
    pub clients: u32,
    /// `rate`: operations a second over all clients; 0 = as fast as they answer.
    pub rate: f64,
    /// `duration`
    pub duration: Duration,
    /// `keys`: keys in use at a time.
    pub keys: u32,
    /// `rotate`: each key is replaced by a fresh one so long after its first use, so that there are keys whose last
    /// write fell into every moment of the run; `None` ("never"): the same keys all along.
    pub rotate: Option<Duration>,
    /// `burst`: so many operations start at the same moment (on the same key); 1 = evenly spread.
    pub burst: u32,
    /// `mix`: operation name to weight, in the file's order.
    pub mix: Vec<(String, u32)>,
    /// `sessions`
    pub sessions: Sessions,
    /// `route`, by operation; what is not named goes as `sessions` says.
    pub routes: BTreeMap<String, Route>,
    /// `size`: messages are filled up to so many bytes; 0: as short as they can be.
    pub size: u32,
    /// `subscribers`: of each topic at each node.
    pub subscribers: u32,
    /// `repeat`: the share of publications, 0 to 1, that publish again what their client had published before.
    pub repeat: f64,
}

/// Whom an operation is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `sticky`: the client's own node.
    Sticky,
    /// `roaming`: one that is drawn each time.
    Roaming,
    /// `any`: the client's own node; the next one where nobody listens, so that nothing was sent.
    Any,
    /// `leader`: the node that leads, by what nodes say of themselves and of each other.
    Leader,
}

impl Route {
    /// All of them, with the words for them.
    pub const ALL: [(Route, &'static str); 4] = [
        (Route::Leader, "leader"),
        (Route::Any, "any"),
        (Route::Sticky, "sticky"),
        (Route::Roaming, "roaming"),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        Route::ALL.iter().find(|(route, _)| *route == self).map_or("sticky", |(_, name)| name)
    }
}

impl LoadSpec {
    /// What is sent where messages are: texts of at least so many bytes. `None`: values are numbers.
    pub fn message_bytes(&self) -> Option<usize> {
        matches!(self.kind.as_str(), "broadcast" | "log").then_some(self.size as usize)
    }

    /// Whom the operation `f` is sent to.
    pub fn route(&self, f: &str) -> Route {
        self.routes.get(f).copied().unwrap_or(match self.sessions {
            Sessions::Sticky => Route::Sticky,
            Sessions::Roaming => Route::Roaming,
        })
    }
}
