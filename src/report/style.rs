//! How text is laid out for a terminal or a log: width, colours, characters, tables.
//!
//! Whatever nodes answered or logged passes through [`clean`] before it is shown: no text of theirs reaches the
//! terminal as a control code.

use std::env;
use std::io::IsTerminal;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::check::Verdict;

/// Width used where there is no terminal: what every log viewer shows.
pub const LOG_WIDTH: usize = 80;
/// Narrower terminals get lines this wide, and wrap them themselves.
const MIN_WIDTH: usize = 40;
/// Wider than this, the eye loses the line.
const MAX_WIDTH: usize = 120;

/// How to lay out text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns, at least 40.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
    /// Whether to keep to ASCII.
    pub ascii: bool,
}

/// A colour, by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As it should be: green.
    Good,
    /// Proved wrong: red.
    Bad,
    /// Not to be said, or worth a look: yellow.
    Doubt,
    /// A heading: bold.
    Strong,
    /// Beside the point: dim.
    Faint,
}

impl Paint {
    /// The colour of a verdict.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Paint::Good,
            Verdict::Unknown => Paint::Doubt,
            Verdict::Invalid => Paint::Bad,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Paint::Good => "\x1b[32m",
            Paint::Bad => "\x1b[31;1m",
            Paint::Doubt => "\x1b[33m",
            Paint::Strong => "\x1b[1m",
            Paint::Faint => "\x1b[2m",
        }
    }
}

impl Style {
    /// For text nobody sees: 80 columns, UTF-8, no colours.
    pub const PLAIN: Style = Style { width: LOG_WIDTH, colour: false, ascii: false };

    /// What suits this process's standard output: its width where it is a terminal, colours where it is one and
    /// `NO_COLOR` is not set, ASCII where the locale says so.
    pub fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = if terminal { terminal_width(libc::STDOUT_FILENO) } else { None };
        Style::decide(terminal, width, |name| env::var(name).ok())
    }

    /// The same decision from its inputs.
    pub fn decide(terminal: bool, width: Option<usize>, var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        // The first of these that is set decides, as in POSIX. With none set, logs are UTF-8 nearly everywhere.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let utf8 = |locale: &str| locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        Style {
            width: width.unwrap_or(LOG_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH),
            colour: terminal && !dumb && set("NO_COLOR").is_none(),
            ascii: locale.is_some_and(|locale| !utf8(&locale)),
        }
    }

    /// `text` in a colour.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if self.colour { format!("{}{text}\x1b[0m", paint.code()) } else { text.to_owned() }
    }

    /// `text` with the characters this style allows, control codes made visible; line feeds stay.
    pub fn text(&self, text: &str) -> String {
        let cleaned = clean(text);
        if !self.ascii {
            return cleaned;
        }
        let mut out = String::with_capacity(cleaned.len());
        for letter in cleaned.chars() {
            match letter {
                '–' | '—' => out.push('-'),
                '→' => out.push_str("->"),
                '·' => out.push_str("--"),
                '…' => out.push_str("..."),
                '×' => out.push('x'),
                '≤' => out.push_str("<="),
                '≥' => out.push_str(">="),
                '‘' | '’' => out.push('\''),
                '“' | '”' => out.push('"'),
                letter if letter.is_ascii() => out.push(letter),
                letter => out.extend(letter.escape_unicode()),
            }
        }
        out
    }

    /// A sentence wrapped to the width, every line but the first indented by `hang` columns.
    pub fn wrap(&self, text: &str, hang: usize) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut line = String::new();
        let mut used = 0;
        for word in self.text(text).split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > self.width {
                lines.push(std::mem::take(&mut line));
                line = " ".repeat(hang);
                used = hang;
            } else if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
        lines.push(line);
        lines.join("\n")
    }

    /// A table, fitted to the width; columns of numbers stand on the right. `paint` colours a whole cell by (column,
    /// text); text that wraps over several lines stays plain. `headers` may be empty.
    pub fn table(
        &self,
        headers: &[&str],
        rows: &[Vec<String>],
        paint: impl Fn(usize, &str) -> Option<Paint>,
    ) -> String {
        let mut table = Table::new();
        table.load_style(if self.ascii {
            presets::ASCII_FULL_CONDENSED
        } else {
            presets::UTF8_FULL_CONDENSED
        });
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(self.width as u16);
        let numeric: Vec<bool> = (0..columns(headers, rows)).map(|column| numbers(rows, column)).collect();
        let cell = |(column, text): (usize, &str)| {
            let cell = Cell::new(self.text(text));
            if numeric[column] { cell.set_alignment(CellAlignment::Right) } else { cell }
        };
        if !headers.is_empty() {
            table.set_header(headers.iter().copied().enumerate().map(cell));
        }
        for row in rows {
            table.add_row(row.iter().map(String::as_str).enumerate().map(cell));
        }
        if self.fits(headers, rows) {
            // Otherwise a long cell takes the room of its neighbours, whose words are then broken.
            let words = self.word_widths(headers, rows);
            for (column, width) in table.column_iter_mut().zip(words) {
                let width = u16::try_from(width + PADDING).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
        }
        let text = table.trim_fmt();
        if self.colour { painted(self, &text, paint) } else { text }
    }

    /// Whether a table of these cells fits the width without breaking a word.
    pub fn fits(&self, headers: &[&str], rows: &[Vec<String>]) -> bool {
        let words = self.word_widths(headers, rows);
        words.iter().map(|width| width + PADDING + 1).sum::<usize>() < self.width
    }

    /// The longest word of each column, in characters.
    fn word_widths(&self, headers: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
        let longest = |text: &str| {
            self.text(text).split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0)
        };
        let widths = (0..columns(headers, rows)).map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|text| longest(text));
            cells.fold(headers.get(column).map_or(0, |header| longest(header)), usize::max)
        });
        widths.collect()
    }
}

/// Blanks beside the text of a cell, both sides together.
const PADDING: usize = 2;

fn columns(headers: &[&str], rows: &[Vec<String>]) -> usize {
    rows.iter().map(Vec::len).fold(headers.len(), usize::max)
}

/// Whether a column holds numbers, and nothing else but dashes and blanks.
fn numbers(rows: &[Vec<String>], column: usize) -> bool {
    let mut cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
    let number = |text: &str| text.trim_end_matches('%').parse::<f64>().is_ok();
    let absent = |text: &str| text.is_empty() || text == "–";
    cells.clone().any(number) && cells.all(|text| number(text) || absent(text))
}

/// Colours cells of a rendered table. The top border tells where the columns are, whatever the cells contain.
fn painted(style: &Style, text: &str, paint: impl Fn(usize, &str) -> Option<Paint>) -> String {
    let Some(border) = text.lines().next() else { return String::new() };
    let corner = |letter: char| matches!(letter, '┌' | '┬' | '┐' | '+');
    let edges: Vec<usize> =
        border.chars().enumerate().filter(|(_, letter)| corner(*letter)).map(|(at, _)| at).collect();
    let line = |line: &str| {
        let letters: Vec<char> = line.chars().collect();
        let mut out = String::new();
        let mut done = 0;
        for (column, edge) in edges.windows(2).enumerate() {
            let (from, to) = (edge[0] + 1, edge[1].min(letters.len()));
            if from >= to {
                break;
            }
            let cell: String = letters[from..to].iter().collect();
            let word = cell.trim();
            let Some(colour) = paint(column, word) else { continue };
            let lead = from + cell.chars().take_while(|letter| *letter == ' ').count();
            out.extend(&letters[done..lead]);
            out.push_str(&style.paint(colour, word));
            done = lead + word.chars().count();
        }
        out.extend(&letters[done..]);
        out
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `text` with every control character but the line feed made visible (`\x1b` for an escape), so that what a node
/// answered or logged cannot steer the terminal or forge a line of the report. Also the marks that turn the direction
/// of writing.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(letter.escape_unicode());
            }
            letter if letter.is_control() && letter.is_ascii() => {
                out.push_str(&format!("\\x{:02x}", letter as u32));
            }
            letter if letter.is_control() => out.extend(letter.escape_unicode()),
            letter => out.push(letter),
        }
    }
    out
}

/// `text` on one line, cut after `limit` characters with a mark.
pub fn one_line(text: &str, limit: usize) -> String {
    let flat = text.replace("\r\n", "\n").replace('\n', "\\n");
    if flat.chars().count() <= limit {
        return flat;
    }
    let kept: String = flat.chars().take(limit.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Columns of the terminal behind `fd`; `None` where it does not say.
pub fn terminal_width(fd: libc::c_int) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize through the pointer, which outlives the call; a bad fd is an error return.
    let answer = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(terminal: bool, vars: &[(&str, &str)]) -> Style {
        let vars: Vec<(String, String)> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Style::decide(terminal, Some(100), |name| {
            vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        assert!(decide(true, &[]).colour);
        assert!(decide(true, &[("NO_COLOR", "")]).colour, "an empty NO_COLOR is none (no-color.org)");
        assert!(!decide(true, &[("NO_COLOR", "1")]).colour);
        assert!(!decide(true, &[("TERM", "dumb")]).colour);
        assert!(!decide(false, &[]).colour);
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        assert!(!decide(true, &[]).ascii);
        assert!(!decide(true, &[("LANG", "C.UTF-8")]).ascii);
        assert!(!decide(true, &[("LANG", "de_DE.utf8")]).ascii);
        assert!(decide(true, &[("LANG", "C")]).ascii);
        assert!(decide(true, &[("LC_ALL", "POSIX"), ("LANG", "C.UTF-8")]).ascii);
        assert!(!decide(true, &[("LC_ALL", ""), ("LANG", "C.UTF-8")]).ascii);
    }

    #[test]
    fn widths_are_bounded() {
        assert_eq!(Style::decide(true, Some(10), |_| None).width, 40);
        assert_eq!(Style::decide(true, Some(500), |_| None).width, 120);
        assert_eq!(Style::decide(false, None, |_| None).width, 80);
    }

    #[test]
    fn control_codes_are_made_visible() {
        assert_eq!(
            clean("a\x1b[31mred\r\u{9b}2J\u{202e}x\ty\nz"),
            "a\\x1b[31mred\\x0d\\u{9b}2J\\u{202e}x y\nz"
        );
        let ascii = Style { ascii: true, ..Style::PLAIN };
        assert_eq!(ascii.text("3.0–7.0 s · A→B …é"), "3.0-7.0 s -- A->B ...\\u{e9}");
    }

    #[test]
    fn wrapping_keeps_the_width_and_hangs() {
        let style = Style { width: 20, ..Style::PLAIN };
        assert_eq!(style.wrap("one two three four five six", 2), "one two three four\n  five six");
        assert_eq!(style.wrap("", 2), "");
    }

    #[test]
    fn a_cell_is_painted_whatever_its_neighbours_contain() {
        let style = Style { colour: true, ..Style::PLAIN };
        let rows = [vec!["partition A | B │ C".to_owned(), "invalid".to_owned()]];
        let table = style.table(&["fault", "verdict"], &rows, |column, text| {
            (column == 1 && text == "invalid").then_some(Paint::Bad)
        });
        assert!(table.contains("│ partition A | B │ C ┆ \x1b[31;1minvalid\x1b[0m │"), "{table}");
        assert_eq!(table.matches('\x1b').count(), 2, "{table}");
    }

    #[test]
    fn cutting_a_line_counts_characters() {
        assert_eq!(one_line("ab\ncd", 10), "ab\\ncd");
        assert_eq!(one_line("äöüß", 3), "äö…");
    }
}
