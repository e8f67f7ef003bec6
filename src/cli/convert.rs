//! `harness convert FILE --to edn`: a history in another format.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{EXIT_BROKEN, EXIT_USAGE, EXIT_VALID};
use crate::history::export::{Converted, Target, convert};
use crate::history::import::{Format, ImportError, Options};

/// Arguments of `harness convert`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
EDN is what Jepsen's history.edn is, and what Knossos and Elle read: one map an event and line, keywords for types, \
functions and the parts of transactions, keys as [key value] where there are several. Faults stay as :nemesis events. \
Nothing is written unless the whole history can be read.

Exit codes: 0 converted, 2 bad usage or an unreadable history, 4 the output could not be written.")]
pub struct Args {
    /// A history in any format `harness check` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to write: edn or jsonl
    #[arg(long, value_name = "FORMAT")]
    to: Target,
    /// Where to [default: standard output]
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Overwrite OUT if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// The file's format, where its content does not tell: jsonl, jepsen-json, jepsen-edn, porcupine-log, porcupine-kv
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// Carries it out.
pub fn main(args: &Args) -> ExitCode {
    let inside = args.file.join("history.jsonl");
    let file = if args.file.is_dir() { &inside } else { &args.file };
    if let Err(why) = suitable(file, args.output.as_deref(), args.force) {
        eprintln!("error: {why}");
        return EXIT_USAGE.into();
    }
    let open = || -> io::Result<Box<dyn Write>> {
        Ok(match &args.output {
            Some(path) => Box::new(BufWriter::new(File::create(path)?)),
            None => Box::new(BufWriter::new(io::stdout().lock())),
        })
    };
    let options = Options { format: args.format, keyed: None };
    match convert(file, options, args.to, open) {
        Ok(converted) => {
            tell(&converted);
            EXIT_VALID.into()
        }
        // A reader that has seen enough (`| head`) is no failure.
        Err(ImportError::Refused(error)) if error.kind() == ErrorKind::BrokenPipe => EXIT_VALID.into(),
        Err(ImportError::Refused(error)) => {
            let where_to = args.output.as_deref().map_or("standard output".into(), Path::to_string_lossy);
            eprintln!("error: {where_to}: cannot be written: {error}");
            EXIT_BROKEN.into()
        }
        Err(error) => {
            eprintln!("error: {error}");
            EXIT_USAGE.into()
        }
    }
}

/// Whether this file can be read twice, the second time while the output is written, and the output may be.
fn suitable(file: &Path, output: Option<&Path>, force: bool) -> Result<(), String> {
    // What cannot be looked at cannot be read either, and that error says more.
    let Ok(input) = fs::metadata(file) else { return Ok(()) };
    if !input.is_file() {
        return Err(format!(
            "{}: is no regular file: it is read twice, first to see that it is whole",
            file.display()
        ));
    }
    let same = |output: &Path| matches!((fs::canonicalize(file), fs::canonicalize(output)), (Ok(one), Ok(other)) if one == other);
    if output.is_some_and(same) {
        return Err(format!("{}: is both what is read and what would be written", file.display()));
    }
    // A pipe or /dev/null has nothing to lose.
    let lost = |output: &&Path| !force && fs::metadata(output).is_ok_and(|there| there.is_file());
    if let Some(output) = output.filter(lost) {
        return Err(format!("{}: is there already; --force overwrites it", output.display()));
    }
    Ok(())
}

fn tell(converted: &Converted) {
    let plural = |count: u64| if count == 1 { "event" } else { "events" };
    if converted.snapshots_left_out > 0 {
        let count = converted.snapshots_left_out;
        eprintln!("{count} {} of snapshots left out: no other tool knows them", plural(count));
    }
    if converted.without_time > 0 {
        let count = converted.without_time;
        eprintln!(
            "{count} {} without a time: their position in the order of events stands for it",
            plural(count)
        );
    }
    if let Some(key) = &converted.key_left_out {
        eprintln!("the only key, {key}, is left out of the values");
    }
}
