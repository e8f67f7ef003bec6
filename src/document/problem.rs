//! Mistakes, and how they are shown.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin as Place, Renderer, Snippet};

use super::Origin;

/// How many mistakes are shown; the rest is counted.
const MAX_SHOWN: usize = 20;

/// A text that mistakes point into.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file's name as the user wrote it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Source {
    /// The bytes `at` covers, in the file or the flag; empty when it covers none.
    pub fn slice<'a>(&'a self, at: &'a Origin) -> &'a str {
        let text = at.flag.as_deref().unwrap_or(&self.text);
        text.get(at.range.clone()).unwrap_or_default()
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What is wrong, naming the key.
    pub title: String,
    /// Where; `None`: the document as a whole.
    pub at: Option<Origin>,
    /// What was expected there; shown at the caret.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Every mistake found in one document.
#[derive(Clone, Debug)]
pub struct Problems {
    /// What they point into.
    pub source: Source,
    /// At least one, those of the file by where they are, then those of flags.
    pub list: Vec<Problem>,
}

impl Problems {
    /// One mistake about a document as a whole: it could not be read.
    pub fn whole(name: &str, title: String, help: Option<String>) -> Self {
        let problem = Problem { title, at: None, label: String::new(), help };
        Problems { source: Source { name: name.to_owned(), text: String::new() }, list: vec![problem] }
    }

    /// The text to print, without a line break at the end; `colour`: with terminal colours.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(110);
        let shown = self.list.iter().take(MAX_SHOWN);
        let mut text: Vec<String> = shown.map(|problem| renderer.render(&[self.group(problem)])).collect();
        if let Some(more) = self.list.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            text.push(format!("… and {more} more mistakes"));
        }
        text.join("\n\n")
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(problem.title.as_str()));
        match &problem.at {
            None => group = group.element(Place::path(self.source.name.as_str())),
            Some(at) => {
                let text = at.flag.as_deref().unwrap_or(&self.source.text);
                let mark = AnnotationKind::Primary.span(tidy_range(text, at));
                let mark = if problem.label.is_empty() { mark } else { mark.label(problem.label.as_str()) };
                let snippet = Snippet::source(text).annotation(mark);
                // A flag shows itself; it has no line and no file.
                group = group.element(match &at.flag {
                    Some(_) => snippet.line_numbering(false),
                    None => snippet.path(self.source.name.as_str()),
                });
            }
        }
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

/// The range to underline: within the text, on character boundaries, and of a value that spans lines the first line.
fn tidy_range(text: &str, at: &Origin) -> std::ops::Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(at.range.start);
    let end = boundary(at.range.end.max(at.range.start));
    let line = text[start..end].find(['\n', '\r']).unwrap_or(end - start);
    start..start + line
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
