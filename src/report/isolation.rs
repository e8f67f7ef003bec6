//! What nodes were kept from, in a sentence.

use super::results::IsolationRow;

/// `Isolation in force: ipc, mount, net, pid, user. Watched: disk. Not: cpu (no control group can be made).`
pub(super) fn line(row: &IsolationRow) -> String {
    let (mut kept, mut watched, mut not) = (Vec::new(), Vec::new(), Vec::new());
    for (name, state) in &row.parts {
        match state.strip_prefix("not: ") {
            Some(why) => not.push(format!("{name} ({why})")),
            None if state == "watched" => watched.push(name.clone()),
            None => kept.push(name.clone()),
        }
    }
    let lists = [("Isolation in force", kept), ("Watched", watched), ("Not", not)];
    let said = lists.iter().filter(|(_, names)| !names.is_empty());
    said.map(|(what, names)| format!("{what}: {}.", names.join(", "))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_named() {
        let parts =
            [("pid", "in force"), ("mount", "in force"), ("disk", "watched"), ("cpu", "not: no group")];
        let parts = parts.map(|(name, state)| (name.to_owned(), state.to_owned())).into();
        let row = IsolationRow { parts, ..IsolationRow::default() };
        assert_eq!(line(&row), "Isolation in force: mount, pid. Watched: disk. Not: cpu (no group).");
        assert_eq!(line(&IsolationRow::default()), "");
    }
}
