//! Grading a class: every unit that is not known yet, as many side by side as was asked for.
//!
//! A run that failed because of us, or of a machine that had no time for it, is run again when everything else is done, and
//! alone. What is known is in the journal before it is used.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::blame::{self, Judged};
use super::conduct::{self, Unit};
use super::discover::Submission;
use super::host::HostWatch;
use super::journal::{Journal, JournalError, Known};
use super::outputs::{self, OutputError, folder_of};
use super::prepare::{self, Ready};
use super::record::{Mark, Record, UnitId, UnitRecord};
use super::rubric::{Item, Rubric};
use super::score::{Class, score};

/// How often a unit is run at most until it is undecided.
pub const ATTEMPTS: u32 = 3;

/// What is to be graded, and how.
pub struct Grading<'a> {
    /// The rubric.
    pub rubric: &'a Rubric,
    /// The submissions.
    pub submissions: &'a [Submission],
    /// Where everything goes; it exists.
    pub out: &'a Path,
    /// Runs side by side.
    pub jobs: usize,
    /// Whether each run gets a network of its own.
    pub own_network: bool,
    /// How far nodes are kept from what is not theirs, a word that `harness run --isolation` takes.
    pub isolation: &'a str,
    /// The program to run.
    pub harness: &'a Path,
    /// Whether somebody wants it to end.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Hears what happens.
    pub tell: &'a (dyn Fn(&Event<'_>) + Sync),
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many units are known, of so many.
    Counted(usize, usize),
    /// A submission cannot be graded.
    Refused(&'a str, &'a str),
    /// A unit was run and will be run again: why.
    Again(&'a UnitId, &'a str),
    /// A unit is known.
    Done(&'a UnitRecord),
}

/// Why a class could not be graded.
#[derive(Debug, thiserror::Error)]
pub enum GradeError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The file system, or a process that could not be started.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A unit that is still to be run.
struct Todo<'a> {
    id: UnitId,
    item: &'a Item,
    attempts: u32,
}

struct State {
    journal: Journal,
    known: Known,
    again: Vec<UnitId>,
    /// The first thing that went wrong with us; nothing is begun after it.
    failed: Option<GradeError>,
}

/// Grades whatever is not known yet, and writes everything there is to say. `Ok(None)`: it was interrupted; what is known so far
/// is written.
///
/// # Errors
/// [`GradeError`]: our own failure; what is known is in the journal.
pub fn grade(grading: &Grading<'_>) -> Result<Option<Class>, GradeError> {
    let (journal, known) = Journal::open(grading.out)?;
    let state = Mutex::new(State { journal, known, again: Vec::new(), failed: None });
    let ready = make_ready(grading, &state)?;
    let items: BTreeMap<&str, &Item> =
        grading.rubric.items.iter().map(|item| (item.name.as_str(), item)).collect();
    let all = units(grading);
    let open: Vec<UnitId> = {
        let known = &lock(&state).known;
        let refused =
            |id: &UnitId| known.prepared.get(&id.submission).is_none_or(|one| one.refused.is_some());
        all.iter().filter(|id| !known.units.contains_key(*id) && !refused(id)).cloned().collect()
    };
    (grading.tell)(&Event::Counted(all.len() - open.len(), all.len()));
    let watch = HostWatch::start();
    let todo = |ids: Vec<UnitId>, attempts| -> VecDeque<Todo<'_>> {
        ids.into_iter()
            .filter_map(|id| Some(Todo { item: items.get(id.item.as_str())?, id, attempts }))
            .collect()
    };
    let mut queue = todo(open, 1);
    let mut jobs = grading.jobs.max(1);
    for attempt in 1..=ATTEMPTS {
        work(grading, &state, &ready, &watch, Mutex::new(queue), jobs);
        let again = std::mem::take(&mut lock(&state).again);
        queue = todo(again, attempt + 1);
        jobs = 1;
    }
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let names: Vec<String> = grading.submissions.iter().map(|submission| submission.name.clone()).collect();
    let class = outputs::write_all(grading.rubric, &names, &state.known, grading.out)?;
    match state.failed {
        Some(error) => Err(error),
        None => Ok((!(grading.stop)()).then_some(class)),
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every unit, a submission after the other, so that the first is whole while others wait.
fn units(grading: &Grading<'_>) -> Vec<UnitId> {
    let mut units = Vec::new();
    for submission in grading.submissions {
        for item in &grading.rubric.items {
            units.extend((1..=item.repeats).map(|repeat| UnitId {
                submission: submission.name.clone(),
                item: item.name.clone(),
                repeat,
            }));
        }
    }
    units
}

fn make_ready(grading: &Grading<'_>, state: &Mutex<State>) -> Result<BTreeMap<String, Ready>, GradeError> {
    let mut ready = BTreeMap::new();
    for submission in grading.submissions {
        if (grading.stop)() {
            break;
        }
        let work = folder_of(grading.out, &submission.name).join("work");
        let made = prepare::prepare(submission, &grading.rubric.submission, &work, grading.stop);
        let made = made
            .map_err(|source| GradeError::Io { what: format!("submission {}", submission.name), source })?;
        if (grading.stop)() {
            break;
        }
        if let Some(why) = &made.prepared.refused {
            (grading.tell)(&Event::Refused(&submission.name, why));
        }
        let mut state = lock(state);
        if state.known.prepared.get(&submission.name) != Some(&made.prepared) {
            let record = Record::Prepared(made.prepared.clone());
            state.journal.write(&record)?;
            state.known.learn(record);
        }
        ready.insert(submission.name.clone(), made);
    }
    Ok(ready)
}

/// Carries out what is in the queue.
fn work(
    grading: &Grading<'_>,
    state: &Mutex<State>,
    ready: &BTreeMap<String, Ready>,
    watch: &HostWatch,
    queue: Mutex<VecDeque<Todo<'_>>>,
    jobs: usize,
) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        while let Some(todo) = next() {
            if (grading.stop)() || lock(state).failed.is_some() {
                return;
            }
            let Some(ready) = ready.get(&todo.id.submission) else { continue };
            if let Err(error) = one(grading, state, ready, watch, &todo) {
                lock(state).failed.get_or_insert(error);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
}

fn one(
    grading: &Grading<'_>,
    state: &Mutex<State>,
    ready: &Ready,
    watch: &HostWatch,
    todo: &Todo<'_>,
) -> Result<(), GradeError> {
    let node = prepare::node_command(&grading.rubric.submission);
    let (rubric, item) = (grading.rubric, todo.item);
    let unit = Unit {
        rubric,
        item,
        repeat: todo.id.repeat,
        node: &node,
        folder: &ready.dir,
        isolation: grading.isolation,
        own_network: grading.own_network,
    };
    let folder = folder_of(grading.out, &todo.id.submission)
        .join("runs")
        .join(format!("{}-{}", item.name, todo.id.repeat));
    let began = Instant::now();
    let ended = conduct::conduct(&unit, grading.harness, &folder, grading.stop).map_err(|source| {
        GradeError::Io { what: format!("cannot run {}", grading.harness.display()), source }
    })?;
    let Some(mut ended) = ended else { return Ok(()) };
    let host = watch.since(began);
    ended.overload = host.is_overload();
    let judged = blame::judge(item, &ended, todo.attempts >= ATTEMPTS);
    if judged.again && todo.attempts < ATTEMPTS {
        let of_check =
            || judged.checks.iter().find(|check| check.mark != Mark::Passed).map(|check| check.why.as_str());
        let why = judged.why.first().map(String::as_str).or_else(of_check).unwrap_or_default();
        (grading.tell)(&Event::Again(&todo.id, why));
        lock(state).again.push(todo.id.clone());
        return Ok(());
    }
    let Judged { checks, why, log, .. } = judged;
    let left = conduct::run_folder(&folder).unwrap_or(folder);
    conduct::forget_copies(&left)
        .map_err(|source| GradeError::Io { what: format!("cannot tidy up {}", left.display()), source })?;
    let record = UnitRecord {
        unit: todo.id.clone(),
        seed: unit.seed(),
        attempts: todo.attempts,
        exit_code: ended.exit_code,
        checks,
        why,
        log,
        folder: relative(&left, &folder_of(grading.out, &todo.id.submission)),
        rerun: unit.rerun(&node),
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        host,
        isolation: isolation(&ended, grading.own_network),
    };
    (grading.tell)(&Event::Done(&record));
    let mut state = lock(state);
    let record = Record::Unit(record);
    state.journal.write(&record)?;
    state.known.learn(record);
    let name = std::slice::from_ref(&todo.id.submission);
    if let Some(scored) = score(rubric, name, &state.known).submissions.first() {
        outputs::write_one(rubric, scored, &state.known, grading.out)?;
    }
    Ok(())
}

/// What was kept from the nodes, in words.
fn isolation(ended: &blame::Ended, own_network: bool) -> String {
    let row = ended.results.as_ref().and_then(|results| results.isolation).unwrap_or_default();
    let words =
        [(row.files, "files"), (row.signals, "signals"), (own_network, "network"), (row.groups, "groups")];
    let words: Vec<&str> = words.into_iter().filter(|(kept, _)| *kept).map(|(_, word)| word).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn relative(path: &Path, base: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(base).map_or_else(|_| path.to_owned(), Path::to_owned);
    inside.display().to_string()
}
