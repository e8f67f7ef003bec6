//! Grading a class: every unit that is not known yet, as many side by side as was asked for.
//!
//! A run that failed because of us, or of a machine that had no time for it, is run again when everything else is done, and
//! alone. What is known is in the journal before it is used.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::blame::{self, Judgement};
use super::conduct::{self, Attempt, End, Unit};
use super::discover::Submission;
use super::host::HostWatch;
use super::journal::{Journal, JournalError, Known};
use super::outputs::{self, OutputError, folder_of};
use super::plan::Bases;
use super::prepare::{self, Ready, Walls};
use super::record::{Mark, Part, Record, UnitId, UnitRecord};
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
    /// Which part of which class they are.
    pub part: Part,
    /// Runs side by side.
    pub jobs: usize,
    /// Whether each run gets a network of its own.
    pub own_network: bool,
    /// What is kept from builds, and which folders they and nodes find empty: what others handed in, and what is known of them.
    pub walls: Walls<'a>,
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
    /// A unit is being run, for so manieth time.
    Began(&'a UnitId, u32),
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
    /// The folder is of another part.
    #[error(
        "{out} holds part {there} of a class, and not {here}: choose another --out, or --fresh to begin again"
    )]
    OtherPart {
        /// The folder.
        out: String,
        /// What is there.
        there: String,
        /// What was asked for.
        here: String,
    },
    /// The rubric's command does not work on this machine, whatever is handed in.
    #[error("the rubric's `submission.node` cannot be run here: {0}")]
    Node(String),
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
    let (mut journal, mut known) = Journal::open(grading.out)?;
    take_part(grading, &mut journal, &mut known)?;
    let bases = Bases::of(grading.rubric);
    known.units.retain(|_, unit| bases.still_hold(unit));
    let state = Mutex::new(State { journal, known, again: Vec::new(), failed: None });
    let items: BTreeMap<&str, &Item> =
        grading.rubric.items.iter().map(|item| (item.name.as_str(), item)).collect();
    let all = units(grading);
    forget_others(grading, &mut lock(&state).known)?;
    let open: Vec<UnitId> = {
        let known = &lock(&state).known;
        let refused =
            |id: &UnitId| known.prepared.get(&id.submission).is_some_and(|one| one.refused.is_some());
        // What nobody could decide may be decided on a calmer day.
        let decided = |unit: &UnitRecord| unit.checks.iter().all(|check| check.mark != Mark::Undecided);
        let known_and_decided = |id: &UnitId| known.units.get(id).is_some_and(decided);
        all.iter().filter(|id| !known_and_decided(id) && !refused(id)).cloned().collect()
    };
    (grading.tell)(&Event::Counted(all.len() - open.len(), all.len()));
    let watch = HostWatch::start();
    let ready = Mutex::new(BTreeMap::new());
    let todo = |ids: Vec<UnitId>, attempts| -> VecDeque<Vec<Todo<'_>>> {
        let todo =
            ids.into_iter().filter_map(|id| Some(Todo { item: items.get(id.item.as_str())?, id, attempts }));
        let todo: Vec<Todo<'_>> = todo.collect();
        let mut groups: Vec<Vec<Todo<'_>>> = Vec::new();
        for one in todo {
            match groups.last_mut().filter(|group| group[0].id.submission == one.id.submission) {
                Some(group) => group.push(one),
                None => groups.push(vec![one]),
            }
        }
        groups.into()
    };
    let mut queue = todo(open, 1);
    let mut jobs = grading.jobs.max(1);
    for attempt in 1..=ATTEMPTS {
        work(grading, &state, &ready, (&watch, &bases), Mutex::new(queue), jobs);
        let mut again = std::mem::take(&mut lock(&state).again);
        again.sort();
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

/// Sees that the folder is of this part of a class, and says so in it. Who hands in later may join.
fn take_part(grading: &Grading<'_>, journal: &mut Journal, known: &mut Known) -> Result<(), GradeError> {
    let Part { which, of, .. } = grading.part;
    if let Some(part) = known.part.as_ref().filter(|part| (part.which, part.of) != (which, of)) {
        return Err(GradeError::OtherPart {
            out: grading.out.display().to_string(),
            there: format!("{}/{}", part.which, part.of),
            here: format!("{which}/{of}"),
        });
    }
    if known.part.as_ref() != Some(&grading.part) {
        let record = Record::Part(grading.part.clone());
        journal.write(&record)?;
        known.learn(record);
    }
    Ok(())
}

/// Of a submission that was handed in anew nothing is known.
fn forget_others(grading: &Grading<'_>, known: &mut Known) -> Result<(), GradeError> {
    for submission in grading.submissions {
        let fingerprint = prepare::fingerprint(submission, &grading.rubric.submission)
            .map_err(|source| GradeError::Io { what: submission.path.display().to_string(), source })?;
        if known.prepared.get(&submission.name).is_none_or(|one| one.fingerprint != fingerprint) {
            known.prepared.remove(&submission.name);
            known.units.retain(|unit, _| unit.submission != submission.name);
        }
    }
    Ok(())
}

/// Makes a submission ready; `Ok(None)`: it cannot be run, or somebody wants an end.
fn make_ready(grading: &Grading<'_>, state: &Mutex<State>, name: &str) -> Result<Option<Ready>, GradeError> {
    let Some(submission) = grading.submissions.iter().find(|submission| submission.name == name) else {
        return Ok(None);
    };
    let work = folder_of(grading.out, name).join("work");
    let made = prepare::prepare(submission, &grading.rubric.submission, &work, &grading.walls, grading.stop);
    let mut made = made.map_err(|source| GradeError::Io { what: format!("submission {name}"), source })?;
    if (grading.stop)() {
        return Ok(None);
    }
    if made.prepared.refused.is_none() {
        made.prepared.refused = prepare::cannot_start(grading.rubric, &made.dir).map_err(GradeError::Node)?;
    }
    if let Some(why) = &made.prepared.refused {
        (grading.tell)(&Event::Refused(name, why));
    }
    let mut state = lock(state);
    if state.known.prepared.get(name) != Some(&made.prepared) {
        let record = Record::Prepared(made.prepared.clone());
        state.journal.write(&record)?;
        state.known.learn(record);
    }
    publish(grading, &state, name)?;
    Ok(made.prepared.refused.is_none().then_some(made))
}

/// Writes what is known of a submission so far.
fn publish(grading: &Grading<'_>, state: &State, name: &str) -> Result<(), GradeError> {
    let names = [name.to_owned()];
    if let Some(scored) = score(grading.rubric, &names, &state.known).submissions.first() {
        outputs::write_one(grading.rubric, scored, &state.known, grading.out)?;
    }
    Ok(())
}

/// Carries out what is in the queue: a submission at a time, so that the first is whole while others wait.
fn work(
    grading: &Grading<'_>,
    state: &Mutex<State>,
    ready: &Mutex<BTreeMap<String, Ready>>,
    beside: (&HostWatch, &Bases),
    queue: Mutex<VecDeque<Vec<Todo<'_>>>>,
    jobs: usize,
) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let ready = || ready.lock().unwrap_or_else(PoisonError::into_inner);
    let group = |todo: &[Todo<'_>]| -> Result<(), GradeError> {
        let Some(first) = todo.first() else { return Ok(()) };
        let name = &first.id.submission;
        let kept = ready().remove(name);
        let made = match kept {
            None => make_ready(grading, state, name)?,
            made => made,
        };
        let Some(made) = made else { return Ok(()) };
        for todo in todo {
            if (grading.stop)() || lock(state).failed.is_some() {
                return Ok(());
            }
            one(grading, state, &made, beside, todo)?;
        }
        ready().insert(name.clone(), made);
        Ok(())
    };
    let worker = || {
        while let Some(todo) = next() {
            if (grading.stop)() || lock(state).failed.is_some() {
                return;
            }
            if let Err(error) = group(&todo) {
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
    (watch, bases): (&HostWatch, &Bases),
    todo: &Todo<'_>,
) -> Result<(), GradeError> {
    let name = &todo.id.submission;
    let node = prepare::node_command(&grading.rubric.submission);
    let (rubric, item) = (grading.rubric, todo.item);
    let unit = Unit {
        rubric,
        item,
        repeat: todo.id.repeat,
        node: &node,
        folder: &ready.dir,
        isolation: grading.isolation,
        hidden: grading.walls.hidden,
        own_network: grading.own_network,
    };
    let folder = folder_of(grading.out, &todo.id.submission)
        .join("runs")
        .join(format!("{}-{}", item.name, todo.id.repeat));
    (grading.tell)(&Event::Began(&todo.id, todo.attempts));
    let attempt =
        conduct::conduct(&unit, grading.harness, &folder, watch, grading.stop).map_err(|source| {
            GradeError::Io { what: format!("cannot run {}", grading.harness.display()), source }
        })?;
    if attempt.end == End::Interrupted {
        return Ok(());
    }
    let is_alone = todo.attempts > 1 || grading.jobs == 1;
    let Judgement { checks, why, log, again } = blame::judge(item, &attempt, todo.attempts, is_alone);
    if let Some(reason) = again {
        (grading.tell)(&Event::Again(&todo.id, &reason));
        lock(state).again.push(todo.id.clone());
        return Ok(());
    }
    let left = conduct::run_folder(&folder).unwrap_or(folder);
    conduct::forget_copies(&left)
        .map_err(|source| GradeError::Io { what: format!("cannot tidy up {}", left.display()), source })?;
    let record = UnitRecord {
        unit: todo.id.clone(),
        seed: unit.seed(),
        attempts: todo.attempts,
        exit_code: match attempt.end {
            End::Code(code) => Some(code),
            _ => None,
        },
        checks,
        why,
        log,
        folder: relative(&left, &folder_of(grading.out, &todo.id.submission)),
        rerun: unit.rerun(&node),
        duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        host: attempt.weather.load,
        basis: bases.item(&item.name),
        isolation: isolation(&attempt, grading.own_network),
    };
    (grading.tell)(&Event::Done(&record));
    let mut state = lock(state);
    let record = Record::Unit(record);
    state.journal.write(&record)?;
    state.known.learn(record);
    publish(grading, &state, name)
}

/// What was kept from the nodes, in words.
fn isolation(attempt: &Attempt, own_network: bool) -> String {
    let row = attempt.results.as_ref().and_then(|results| results.isolation.clone()).unwrap_or_default();
    let words =
        [(row.files, "files"), (row.signals, "signals"), (own_network, "network"), (row.groups, "groups")];
    let words: Vec<&str> = words.into_iter().filter(|(kept, _)| *kept).map(|(_, word)| word).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn relative(path: &Path, base: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(base).map_or_else(|_| path.to_owned(), Path::to_owned);
    inside.display().to_string()
}

#[cfg(test)]
mod tests;
