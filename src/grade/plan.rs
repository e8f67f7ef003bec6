//! Whether a result still counts: by the fingerprint of all that decides how a run ends.

use std::collections::BTreeMap;
use std::path::Path;

use super::hash::{self, Print};
use super::record::UnitRecord;
use super::rubric::{Item, Rubric, SubmissionRules};

/// What decides how runs end, by item. Points, credit, visibility, texts for people and time limits are not in it: they may
/// change, and a class is only scored anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bases(BTreeMap<String, String>);

impl Bases {
    /// Those of a rubric, and of the workloads as they are now.
    pub fn of(rubric: &Rubric) -> Self {
        let items = rubric.items.iter();
        Bases(items.map(|item| (item.name.clone(), of_item(rubric, item))).collect())
    }

    /// That of an item.
    pub fn item(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// Whether a unit's result still counts.
    pub fn still_hold(&self, unit: &UnitRecord) -> bool {
        self.0.get(&unit.unit.item).is_some_and(|basis| *basis == unit.basis)
    }
}

fn of_item(rubric: &Rubric, item: &Item) -> String {
    // The files and not their paths, which differ from machine to machine.
    let content = |path: &Path| hash::file(path).unwrap_or_default();
    let mut parts = vec![
        env!("CARGO_PKG_VERSION").to_owned(),
        of_rules(&rubric.submission),
        rubric.seed.to_string(),
        item.name.clone(),
        content(&item.workload),
    ];
    let beside = item.workload.parent().unwrap_or(Path::new(""));
    parts.extend(item.protocol.iter().map(|protocol| content(&beside.join(protocol))));
    parts.extend(rubric.submission.limits.iter().map(|limit| format!("limit {limit}")));
    parts.extend(item.set.iter().map(|set| format!("set {set}")));
    parts.extend(item.vars.iter().map(|var| format!("var {var}")));
    parts.extend(item.checks.iter().map(|check| format!("check {}", check.check)));
    Print::of(parts)
}

/// What of the rules decides what a submission is made into.
pub(super) fn of_rules(rules: &SubmissionRules) -> String {
    let mut parts = vec![rules.node.clone(), rules.max_size.to_string()];
    parts.extend(rules.build.iter().map(|build| format!("build {build}")));
    parts.extend(rules.requires.iter().map(|file| format!("requires {file}")));
    parts.extend(rules.env.iter().map(|(name, value)| format!("env {name}={value}")));
    Print::of(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::parse;

    #[test]
    fn points_may_change_and_results_still_count() {
        let folder = tempfile::tempdir().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads/outage.toml");
        let workload = std::fs::read_to_string(shipped).unwrap();
        std::fs::write(folder.path().join("outage.toml"), &workload).unwrap();
        std::fs::write(folder.path().join("again.toml"), workload).unwrap();
        let text = "name = \"small\"\nseed = 7\n[submission]\nnode = \"python3 {{ dir }}/node.py\"\n\
            [[item]]\nworkload = \"outage.toml\"\nset = { load = { rate = 9 } }\nchecks = { convergence = 3 }\n\
            [[item]]\nworkload = \"again.toml\"\nchecks = { lww = 3 }\n";
        let read = |text: &str| {
            std::fs::write(folder.path().join("rubric.toml"), text).unwrap();
            let rubric = parse::read(&folder.path().join("rubric.toml"));
            Bases::of(&rubric.unwrap_or_else(|error| panic!("{error}")))
        };
        let base = read(text);
        let with = |from: &str, to: &str| {
            assert!(text.contains(from));
            let other = read(&text.replace(from, to));
            ["outage", "again"].map(|item| base.item(item) == other.item(item))
        };
        assert_eq!(with("convergence = 3", "convergence = 5"), [true, true]);
        assert_eq!(with("\"small\"", "\"other\""), [true, true]);
        assert_eq!(with("set = ", "credit = \"all-or-nothing\"\nset = "), [true, true]);
        assert_eq!(with("rate = 9", "rate = 8"), [false, true]);
        assert_eq!(with("{ lww = 3 }", "{ lww = 3, convergence = 0 }"), [true, false]);
        assert_eq!(with("/node.py", "/main.py"), [false, false]);
        assert_eq!(with("seed = 7", "seed = 8"), [false, false]);
        let file = folder.path().join("again.toml");
        let changed = std::fs::read_to_string(&file).unwrap() + "# a word\n";
        std::fs::write(file, changed).unwrap();
        assert_eq!(with("seed = 7", "seed = 7"), [true, false]);
    }
}
