//! Space-time diagrams in text: processes as rows, moments as columns (Lamport 1978, figure 1, lying on its side).

/// Something that happened at a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whose row it is in.
    pub place: String,
    /// When, in any unit; equal moments share a column.
    pub at: u64,
    /// What is written there: `sent m1`, `got m2`.
    pub label: String,
}

/// The moments as lines of text, a row a place in the order of `places`; those that are missing there follow.
pub fn space_time(places: &[&str], moments: &[Moment]) -> String {
    let mut rows: Vec<&str> = places.to_vec();
    for moment in moments {
        if !rows.contains(&&*moment.place) {
            rows.push(&moment.place);
        }
    }
    let mut columns: Vec<u64> = moments.iter().map(|moment| moment.at).collect();
    columns.sort_unstable();
    columns.dedup();
    let cell = |row: &str, at: u64| -> String {
        let here = moments.iter().filter(|moment| moment.place == row && moment.at == at);
        here.map(|moment| &*moment.label).collect::<Vec<_>>().join(", ")
    };
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = columns
        .iter()
        .map(|at| rows.iter().map(|row| width(&cell(row, *at))).max().unwrap_or_default())
        .collect();
    let head = rows.iter().map(|row| width(row)).max().unwrap_or_default();
    let line = |row: &&str| {
        let mut line = format!("{row}{} ─", " ".repeat(head - width(row)));
        for (at, wide) in columns.iter().zip(&widths) {
            let text = cell(row, *at);
            let rest = wide - width(&text);
            match text.is_empty() {
                true => line.push_str(&"─".repeat(wide + 3)),
                false => line.push_str(&format!(" {text} {}─", "─".repeat(rest))),
            }
        }
        line
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_moments_and_rows_are_places() {
        let moment =
            |place: &str, at, label: &str| Moment { place: place.to_owned(), at, label: label.to_owned() };
        let moments = [
            moment("B", 10, "sent m1"),
            moment("A", 12, "got m1"),
            moment("A", 15, "sent m2"),
            moment("Carol", 19, "got m2"),
            moment("Carol", 30, "got m1"),
        ];
        insta::assert_snapshot!(space_time(&["A", "B"], &moments), @r"
        A     ─────────── got m1 ─ sent m2 ───────────────────
        B     ─ sent m1 ──────────────────────────────────────
        Carol ────────────────────────────── got m2 ─ got m1 ─
        ");
    }
}
