//! From a history and the checks' conclusions to [`Results`].

use std::collections::BTreeMap;

use super::results::{
    BypassRow, CheckRow, ExitRow, Failure, FaultRow, IsolationRow, NodeRow, NotUnderstood, PhaseRow, Results,
    SCHEMA, SettleRow, Versions,
};
use super::verdict::conclude;
use super::{load, proof};
use crate::check::{CheckMode, CheckResult};
use crate::history::{Fault, History, Life, Op, Phase};

/// One check of the workload: its name, what its verdict means for the run, and what it found.
pub type Checked = (String, CheckMode, CheckResult);

/// What a run knows that its history does not.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// The workload's name.
    pub workload: String,
    /// The workload file, as it was given.
    pub file: String,
    /// The seed in force.
    pub seed: u64,
    /// `[vars]` in force.
    pub vars: BTreeMap<String, String>,
    /// The cell of `[matrix]`: the value of each axis.
    pub cell: BTreeMap<String, String>,
    /// When the run began, RFC 3339, UTC.
    pub started: String,
    /// How long it took, setup and clean-up included, ms.
    pub duration_ms: u64,
    /// The command that runs it again with the same seed.
    pub rerun: String,
    /// The results folder, as a reader would type it.
    pub folder: Option<String>,
    /// Operations a second that were asked for; 0: as fast as they are answered.
    pub asked_rate: f64,
    /// How many clients there were.
    pub clients: u64,
    /// How long the load lasted, ms; 0: as long as the main phase did.
    pub load_ms: u64,
    /// Operations whose time came while every client was busy: never invoked.
    pub skipped: u64,
    /// Answers the protocol file could not make sense of, one entry a node, operation and reason.
    pub not_understood: Vec<NotUnderstood>,
    /// What the harness itself, or the system as a whole, failed at: each makes the run's exit code 4.
    pub failures: Vec<Failure>,
    /// Anything else a reader should know.
    pub notes: Vec<String>,
    /// Processes that were ended for what they took, and the limit each went beyond.
    pub limited: BTreeMap<u64, String>,
    /// What nodes were kept from, where somebody asked.
    pub isolation: Option<IsolationRow>,
    /// What it ran on; usually [`Versions::here`].
    pub versions: Versions,
}

impl Results {
    /// Puts together what one run found. `checks` are in the workload's order.
    pub fn build(history: &History, checks: Vec<Checked>, facts: RunFacts) -> Self {
        let checks: Vec<CheckRow> = checks.into_iter().map(|checked| check_row(history, checked)).collect();
        let client_ops: Vec<&Op> = client_ops(history).collect();
        let faults: Vec<FaultRow> =
            history.faults.iter().map(|fault| fault_row(history, &client_ops, fault)).collect();
        let bypasses: Vec<BypassRow> = history
            .bypasses
            .iter()
            .map(|(from, to, seen)| BypassRow { from: from.to_string(), to: to.to_string(), seen: *seen })
            .collect();
        let conclusion = conclude(&checks, &faults, &bypasses, &facts.failures);
        let load = load::row(history, &client_ops, &facts);
        let mut notes = facts.notes.clone();
        if history.torn {
            notes.push("the history's last line was torn; it is read as absent".to_owned());
        }
        Results {
            schema: SCHEMA,
            verdict: conclusion.verdict,
            exit_code: conclusion.exit_code,
            why: conclusion.why,
            durability: history.contract.durability,
            write_quorum: history.contract.write_quorum,
            read_quorum: history.contract.read_quorum,
            vars: facts.vars,
            cell: facts.cell,
            checks,
            faults,
            nodes: node_rows(history, &facts.limited),
            load,
            settle: SettleRow {
                within_ms: history.contract.settle_within_ms,
                converged_ms: history.converged_ms,
            },
            phases: history
                .phases
                .iter()
                .map(|(phase, began_ns)| PhaseRow { phase: *phase, began_ms: began_ns / 1_000_000 })
                .collect(),
            bypasses,
            notes,
            workload: facts.workload,
            file: facts.file,
            seed: facts.seed,
            started: facts.started,
            duration_ms: facts.duration_ms,
            rerun: facts.rerun,
            folder: facts.folder,
            not_understood: facts.not_understood,
            failures: facts.failures,
            isolation: facts.isolation,
            versions: facts.versions,
        }
    }
}

/// What the load did: everything between the beginning of the main phase and the heal, but for what the harness asked for
/// itself. A history without phases (an imported one) is load from end to end.
fn client_ops(history: &History) -> impl Iterator<Item = &Op> {
    let from_ns = history.phase_began_ns(Phase::Main).unwrap_or(0);
    let to_ns = history.phase_began_ns(Phase::Heal).unwrap_or(u64::MAX);
    history.ops.iter().filter(move |op| op.is_load() && op.invoked_ns >= from_ns && op.invoked_ns <= to_ns)
}

fn check_row(history: &History, (name, mode, result): Checked) -> CheckRow {
    CheckRow {
        promise: crate::check::find(&name).map(|check| check.about().to_owned()).unwrap_or_default(),
        name,
        mode,
        verdict: result.verdict,
        reason: result.reason,
        evidence: result.evidence,
        violations: result.violations.iter().map(|violation| proof::row(history, violation)).collect(),
        violations_total: result.violations_total.max(result.violations.len() as u64),
        excused: result.excused,
        stats: result.stats,
    }
}

fn fault_row(history: &History, client_ops: &[&Op], fault: &Fault) -> FaultRow {
    let overlapping = |op: &&&Op| fault.overlaps(op.invoked_ns, op.returned_ns.unwrap_or(u64::MAX));
    let target: Vec<&str> = fault.target.iter().map(|node| &**node).collect();
    // A harness that was killed could not write what it had seen of the faults still in force.
    let unwitnessed = history.torn && fault.ended_ns.is_none();
    FaultRow {
        f: fault.f.to_string(),
        target: if target.is_empty() { fault.label.clone() } else { target.join(",") },
        label: fault.label.clone(),
        began_ms: fault.began_ns / 1_000_000,
        ended_ms: fault.ended_ns.map(|ended_ns| ended_ns / 1_000_000),
        took_effect: fault.took_effect || unwitnessed,
        evidence: fault.evidence.clone(),
        overlapping_ops: client_ops.iter().filter(overlapping).count() as u64,
    }
}

/// Nodes in the workload's order, and after them any the history speaks of besides.
fn node_rows(history: &History, limited: &BTreeMap<u64, String>) -> Vec<NodeRow> {
    let done_ns = history.phase_began_ns(Phase::Done).unwrap_or(u64::MAX);
    let mut exits: BTreeMap<&str, Vec<ExitRow>> = BTreeMap::new();
    for (node, lives) in &history.lives {
        let rows = lives.iter().filter_map(|life| exit_row(life, done_ns, limited)).collect();
        exits.insert(node, rows);
    }
    let mut rows = Vec::new();
    for id in &history.contract.nodes {
        rows.push(NodeRow { id: id.clone(), exits: exits.remove(id.as_str()).unwrap_or_default() });
    }
    rows.extend(exits.into_iter().map(|(id, exits)| NodeRow { id: id.to_owned(), exits }));
    rows
}

fn exit_row(life: &Life, done_ns: u64, limited: &BTreeMap<u64, String>) -> Option<ExitRow> {
    let ended_ns = life.ended_ns?;
    if life.expected && ended_ns >= done_ns {
        return None;
    }
    Some(ExitRow {
        at_ms: ended_ns / 1_000_000,
        pid: life.pid,
        expected: life.expected,
        signal: life.signal,
        code: life.code,
        limit: limited.get(&life.pid).cloned(),
        log: life.log.clone(),
    })
}
