//! One run as a pipeline: set up, main, heal, settle, check, report, clean up.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::allowance::Allowance;
use super::bypass;
use super::folder::Folder;
use super::interrupt::Interrupt;
use super::limits::{self, Exceeded, LimitWatch};
use super::messages::MessageLog;
use super::settle::settle;
use super::setup::{self, System};
use super::world::{Real, Shared};
use crate::check::{self, Understood};
use crate::fault::nemesis::{Ineffective, Nemesis};
use crate::fault::world::Message;
use crate::history::{History, Phase, reader};
use crate::load::{self, LoadStats, Plan, StatusWatch, Subscribers};
use crate::report::build::{Checked, RunFacts};
use crate::report::progress::{ProgressMode, RunEvent};
use crate::report::results::{Failure, IsolationRow, NotUnderstood, Results, Versions};
use crate::report::{junit, page};
use crate::sandbox::Isolation;
use crate::workload::{CheckMode, Workload};

/// What a run needs beside its workload.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where results go.
    pub results: PathBuf,
    /// How progress is shown.
    pub progress: ProgressMode,
    /// Set when somebody asked to end.
    pub interrupt: Interrupt,
    /// The command that runs it again with the same seed.
    pub rerun: String,
    /// The cell of `[matrix]` that it is, in the order of the axes.
    pub cell: Vec<(String, String)>,
    /// What nodes are kept from, as it was tried; `None`: they are not to be kept from anything.
    pub isolation: Option<Isolation>,
    /// Folders that nodes find empty, where they get rooms of their own; what they start from is left to them.
    pub hidden: Vec<PathBuf>,
}

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub folder: Folder,
    /// What `results.json` says.
    pub results: Results,
    /// Whether somebody asked to end it before its time.
    pub interrupted: bool,
}

/// Carries out a whole run. A system that does not start, a fault that does not take, a history that cannot be written
/// are all told in the results; nothing of the run is alive when this returns.
///
/// # Errors
/// When there is no folder, or no history, to leave anything in.
pub fn run(workload: &Workload, options: &Options) -> io::Result<Finished> {
    let (began, started) = (Instant::now(), SystemTime::now());
    let folder = Folder::create(&options.results, &workload.name, workload.seed, &options.cell, started)?;
    std::fs::write(folder.workload(), &workload.resolved)?;
    let mut outcome = Outcome::default();
    match setup::system(workload, options, &folder) {
        Ok(system) if system.leaderless.is_some() => give_up(system, &mut outcome),
        Ok(system) => drive(workload, options, system, &mut outcome)?,
        Err(setup::SetupError::Folder(error)) => return Err(error),
        Err(setup::SetupError::System(failure)) => outcome.failures.push(failure),
    }
    let interrupted = options.interrupt.asked();
    if interrupted {
        outcome.fail("the run was interrupted before its end");
    }
    let history = read_history(&folder, &mut outcome);
    limits::long_files(&history, &workload.cluster.limits, &mut outcome.exceeded);
    // What was stopped weighs more than what came of that.
    outcome.failures.splice(..0, std::mem::take(&mut outcome.exceeded.failures));
    // Of a system that never came up there is nothing to judge, and its failure is all there is to tell. Of one that never
    // had a leader there is just that.
    let leaderless = outcome.leaderless.take();
    let promised = |name: &str| match leaderless {
        Some(_) => name == "leader",
        None => outcome.load.is_some(),
    };
    let asked = workload.checks.iter().filter(|(name, _)| promised(name));
    let asked: Vec<_> = asked.map(|(name, mode)| (name.as_str(), *mode)).collect();
    let checked = judge(&asked, &history, &mut outcome);
    if let Some(line) = leaderless {
        let found = |(_, mode, result): &Checked| {
            *mode == CheckMode::Required && result.verdict == check::Verdict::Invalid
        };
        if checked.iter().any(found) { outcome.notes.push(line) } else { outcome.fail(line) }
    }
    let results =
        Results::build(&history, checked, facts(workload, options, &folder, started, began, outcome));
    results.write(&folder.results())?;
    std::fs::write(folder.junit(), junit::render(&results))?;
    let beside = page::Beside::read(folder.root(), &results, Some(&history));
    std::fs::write(folder.page(), page::render(&results, &beside))?;
    Ok(Finished { folder, results, interrupted })
}

/// What a run has come to beside its history.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    load: Option<LoadStats>,
    load_took: Duration,
    failures: Vec<Failure>,
    notes: Vec<String>,
    leaderless: Option<String>,
    exceeded: Exceeded,
}

impl Outcome {
    fn fail(&mut self, what: impl Into<String>) {
        self.failures.push(Failure { what: what.into(), ..Failure::default() });
    }
}

/// Ends a system that never had a leader: every operation would fail, and a thousand failures say less than one line.
fn give_up(system: System, outcome: &mut Outcome) {
    let System { shared, runtime, ports, watch, messages, leaderless, .. } = system;
    outcome.leaderless = leaderless;
    end_watch(watch, &runtime);
    shut_down(shared, runtime, messages, outcome);
    drop(ports);
}

fn end_watch(watch: Option<StatusWatch>, runtime: &Runtime) {
    if let Some(watch) = watch {
        runtime.block_on(watch.end());
    }
}

/// Main, heal, settle, clean-up, on a system that is up.
fn drive(workload: &Workload, options: &Options, system: System, outcome: &mut Outcome) -> io::Result<()> {
    let System { shared, events, runtime, nodes, plan, ports, watch, limits, messages, .. } = system;
    phase(&shared, Phase::Main);
    let epoch = Instant::now();
    let (outbox, inbox) = mpsc::channel();
    let world = Real { shared: Arc::clone(&shared), nodes: workload.cluster.nodes.clone() };
    let nemesis = Nemesis::new(world, workload.faults.clone(), &nodes);
    let nemesis =
        std::thread::Builder::new().name("nemesis".into()).spawn(move || nemesis.run(epoch, &inbox))?;
    let lost = Arc::new(Mutex::new(None));
    setup::route(events, outbox.clone(), &shared, Arc::clone(&lost))?;
    if let Err(error) = bypass::watch(&shared, &workload.cluster.nodes) {
        outcome.notes.push(error.to_string());
    }

    let subscribers = subscribers(workload, &shared, &plan, &runtime);
    let (stop, stopped) = watch::channel(false);
    let load = runtime.spawn(load::run(Arc::clone(&plan), Arc::clone(&shared.targets), epoch, stopped));
    while !load.is_finished() {
        if options.interrupt.asked() || shared.recorder.has_failed() || is_lost(&lost) {
            stop.send_replace(true);
        }
        std::thread::sleep(WATCH_POLL);
    }
    outcome.load_took = epoch.elapsed().min(workload.load.duration);
    match runtime.block_on(load) {
        Ok(stats) => outcome.load = Some(stats),
        Err(error) => outcome.fail(format!("the load generator failed: {error}")),
    }

    let cut_short = options.interrupt.asked() || is_lost(&lost);
    let ending = Ending {
        workload,
        options,
        shared: &shared,
        runtime: &runtime,
        plan: &plan,
        subscribers: subscribers.as_ref(),
        nemesis: &outbox,
        lost: &lost,
    };
    let settled = !cut_short && ending.heal_and_settle(outcome);
    if let Some(load) = &mut outcome.load {
        // Answers to the final questions may not have been understood either.
        load.nodes = shared.targets.live().stats(workload.load.rate, outcome.load_took).nodes;
    }
    if !cut_short {
        end_watch(watch, &runtime);
    }
    if let Some(subscribers) = subscribers {
        runtime.block_on(subscribers.end());
        shared.recorder.flush();
    }
    // Of replicas that were not given their time nothing may be concluded, so the history must not say that it was over.
    if settled {
        phase(&shared, Phase::Done);
    }
    for ineffective in leave(&outbox, nemesis, outcome) {
        // A fault that had no effect says so, and why, in its own row.
        if ineffective.fault.is_some() {
            continue;
        }
        outcome.fail(format!("{} did not take effect: {}", ineffective.label, ineffective.why));
    }
    outcome.exceeded = limits.map(LimitWatch::end).unwrap_or_default();
    if let Some(why) = lost.lock().unwrap_or_else(PoisonError::into_inner).take() {
        outcome.fail(why);
    }
    shut_down(shared, runtime, messages, outcome);
    drop(ports);
    Ok(())
}

/// Subscribers of every topic at every node, where the load is a log's and the protocol knows how to subscribe.
fn subscribers(
    workload: &Workload,
    shared: &Arc<Shared>,
    plan: &Plan,
    runtime: &Runtime,
) -> Option<Subscribers> {
    let each = workload.load.subscribers;
    if workload.load.kind != "log" || each == 0 || !shared.targets.can_subscribe() {
        return None;
    }
    Some(Subscribers::start(runtime.handle(), &shared.targets, &plan.topics(), plan.subscribers(each)))
}

/// How often the run looks whether it should end.
const WATCH_POLL: Duration = Duration::from_millis(10);

fn is_lost(lost: &Mutex<Option<String>>) -> bool {
    lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

fn phase(shared: &Shared, phase: Phase) {
    shared.recorder.phase(phase);
    shared.progress.event(&RunEvent::Phase(phase));
}

/// A run between its load and its end.
struct Ending<'a> {
    workload: &'a Workload,
    options: &'a Options,
    shared: &'a Arc<Shared>,
    runtime: &'a Runtime,
    plan: &'a Plan,
    subscribers: Option<&'a Subscribers>,
    nemesis: &'a Sender<Message>,
    lost: &'a Mutex<Option<String>>,
}

impl Ending<'_> {
    fn cut_short(&self) -> bool {
        self.options.interrupt.asked() || self.shared.recorder.has_failed() || is_lost(self.lost)
    }

    /// Lifts every fault and waits until the replicas agree. False: it was cut short, with no time to agree.
    fn heal_and_settle(&self, outcome: &mut Outcome) -> bool {
        let shared = self.shared;
        phase(shared, Phase::Heal);
        let (done, healed) = mpsc::channel();
        if self.nemesis.send(Message::Heal(done)).is_err() || healed.recv().is_err() {
            outcome.fail("the fault injector is gone: faults could not be lifted");
            return false;
        }
        let healed = Instant::now();
        let Workload { cluster, .. } = self.workload;
        let allowance = Allowance::new(cluster.ready_within, shared, &cluster.nodes);
        while !shared.readiness.waiting().is_empty() && !allowance.is_over() {
            if self.cut_short() {
                return false;
            }
            std::thread::sleep(WATCH_POLL);
        }
        phase(shared, Phase::Settle);
        let cut_short = || self.cut_short();
        let settling = settle(self.workload, shared, self.plan, self.subscribers, &cut_short);
        let agreed = self.runtime.block_on(settling);
        if agreed {
            let ms = u64::try_from(healed.elapsed().as_millis()).unwrap_or(u64::MAX);
            shared.recorder.nemesis("converged", None, &json!({"ms": ms}));
        }
        agreed || !self.cut_short()
    }
}

fn leave(
    nemesis: &Sender<Message>,
    thread: JoinHandle<(Vec<Ineffective>, Real)>,
    outcome: &mut Outcome,
) -> Vec<Ineffective> {
    // An error means that it has left already; joining tells why.
    let _ = nemesis.send(Message::Leave);
    match thread.join() {
        Ok((ineffective, _)) => ineffective,
        Err(_) => {
            outcome.fail("the fault injector broke down; this is a bug of the harness");
            Vec::new()
        }
    }
}

fn shut_down(shared: Arc<Shared>, runtime: Runtime, messages: MessageLog, outcome: &mut Outcome) {
    shared.bypasses.stop();
    for (from, to, seen) in shared.bypasses.all() {
        shared.recorder.nemesis("bypass", None, &json!({"from": from, "to": to, "seen": seen}));
    }
    for trouble in shared.network.troubles() {
        outcome.fail(trouble.to_string());
    }
    if let Err(error) = shared.cluster.shutdown() {
        outcome.fail(error.to_string());
    }
    // They are for the eye alone: a run is judged without.
    match messages.end() {
        Ok(0) => {}
        Ok(beyond) => {
            outcome.notes.push(format!("messages.csv has not all messages: {beyond} more passed the links"))
        }
        Err(error) => outcome.notes.push(format!("messages.csv could not be written: {error}")),
    }
    runtime.shutdown_timeout(Duration::from_millis(200));
    if let Err(error) = shared.recorder.finish() {
        outcome.fail(format!("the history is not whole: {error}"));
    }
}

fn read_history(folder: &Folder, outcome: &mut Outcome) -> History {
    reader::read(&folder.history()).unwrap_or_else(|error| {
        outcome.fail(format!("the history cannot be read back: {error}"));
        History::default()
    })
}

/// Runs the checks asked for over the history, each on its own: one that panics is `unknown`, and says so.
fn judge(asked: &[(&str, CheckMode)], history: &History, outcome: &mut Outcome) -> Vec<Checked> {
    let mut checked = Vec::new();
    let understood = Understood::new(history);
    for &(name, mode) in asked {
        let Some(check) = check::find(name) else { continue };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| understood.judge(check))) {
            Ok(result) => checked.push((name.to_owned(), mode, result)),
            Err(_) => {
                let reason =
                    format!("the check {name} broke down on this history; this is a bug of the harness");
                outcome.notes.push(reason.clone());
                checked.push((name.to_owned(), mode, check::CheckResult::unknown(reason)));
            }
        }
    }
    checked
}

fn facts(
    workload: &Workload,
    options: &Options,
    folder: &Folder,
    started: SystemTime,
    began: Instant,
    outcome: Outcome,
) -> RunFacts {
    let load = outcome.load.as_ref();
    let not_understood = load.map(not_understood).unwrap_or_default();
    RunFacts {
        workload: workload.name.clone(),
        file: workload.file.display().to_string(),
        seed: workload.seed,
        vars: workload.vars.clone(),
        cell: options.cell.iter().cloned().collect(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        rerun: options.rerun.clone(),
        folder: Some(shown(folder)),
        asked_rate: load.map_or(0.0, |_| workload.load.rate),
        clients: u64::from(workload.load.clients),
        load_ms: u64::try_from(outcome.load_took.as_millis()).unwrap_or(u64::MAX),
        skipped: load.map_or(0, |load| load.skipped_slots),
        not_understood,
        failures: outcome.failures,
        notes: outcome.notes,
        limited: outcome.exceeded.limited,
        isolation: options.isolation.as_ref().map(|isolation| isolation_row(isolation, workload, folder)),
        versions: Versions::here(),
    }
}

fn isolation_row(isolation: &Isolation, workload: &Workload, folder: &Folder) -> IsolationRow {
    let Isolation { files, signals, network, groups, ref parts, .. } = *isolation;
    let mut parts = parts.clone();
    // Root gives each node a user of its own, unless that one could not get to what the node needs.
    let parent = workload.cluster.dir.clone().unwrap_or_else(|| folder.nodes());
    let is_root = |id: &String| std::fs::metadata(parent.join(id)).is_ok_and(|about| about.uid() == 0);
    if isolation.user && workload.cluster.nodes.iter().any(is_root) {
        let why = "not: other users cannot enter a folder that a node needs; it was root, without the rights of root";
        parts.insert("user".to_owned(), why.to_owned());
    }
    IsolationRow { files, signals, network, groups, parts }
}

/// The folder as a reader would type it: relative to where they stand, when it is below.
fn shown(folder: &Folder) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    folder.root().strip_prefix(&here).unwrap_or(folder.root()).display().to_string()
}

fn not_understood(load: &LoadStats) -> Vec<NotUnderstood> {
    let mut rows = Vec::new();
    for node in &load.nodes {
        rows.extend(node.samples.iter().map(|sample| NotUnderstood {
            node: node.node.clone(),
            f: sample.f.clone(),
            count: sample.count,
            why: sample.error.clone(),
            raw: sample.raw.clone(),
        }));
    }
    rows
}

/// A receiver of what happens to processes.
pub(super) type Events = Receiver<crate::cluster::NodeEvent>;
