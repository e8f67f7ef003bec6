//! `harness report RESULT`: what a run left, in another form.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_BROKEN, EXIT_USAGE, EXIT_VALID};
use crate::report::results::Results;
use crate::report::style::Style;
use crate::report::{junit, markdown, page, table};

/// Show a finished run again: as tables, Markdown, JUnit XML or a page
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// A run's folder, or its results.json
    #[arg(value_name = "RESULT")]
    result: PathBuf,
    /// Print Markdown, for a pull request or a hand-in
    #[arg(long, conflicts_with_all = ["junit", "html"])]
    markdown: bool,
    /// Print JUnit XML, as in junit.xml
    #[arg(long, conflicts_with = "html")]
    junit: bool,
    /// Print the page, as in report.html
    #[arg(long)]
    html: bool,
}

/// Carries it out. The exit code tells whether there is a report, not what is in it.
pub fn main(args: &ReportArgs) -> ExitCode {
    let results = match Results::read(&args.result) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let text = if args.markdown {
        markdown::render(&results)
    } else if args.junit {
        junit::render(&results)
    } else if args.html {
        page::render(&results)
    } else {
        table::render(&results, &Style::stdout())
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(EXIT_VALID),
        // A reader that has gone away (`| head`) has what it wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_VALID),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_BROKEN)
        }
    }
}
