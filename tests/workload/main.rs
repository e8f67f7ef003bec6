//! Workload files: what they say, what is wrong with them, and that the schema agrees.

mod errors;
mod fuzz;
mod matrix;
#[path = "../mutation/mod.rs"]
mod mutation;
mod properties;
mod provision;
mod rubric;
mod schema;
mod shipped;

use std::path::{Path, PathBuf};

use harness::workload::{Overrides, Workload, WorkloadErrors};

/// A right workload, to be made wrong.
const BASE: &str = r#"name = "base"
vars = { node = "{{ harness }} node lww" }

[cluster]
nodes = ["A", "B", "C"]
command = "{{ node }} --id {{ id }} --port {{ port }}"

[client]
protocol = "lab2"

[load]
duration = "10s"

[[fault]]
at = "3s"
for = "4s"
kill = "B"

[checks]
convergence = "required"
"#;

/// Every shipped workload, by path.
fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
    let mut files = Vec::new();
    for folder in [folder.clone(), folder.join("lab2"), folder.join("quorum"), folder.join("quorum/lab")] {
        let entries = std::fs::read_dir(folder).unwrap();
        files.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|end| end == "toml")),
        );
    }
    files.sort();
    assert!(files.len() >= 40, "{files:?}");
    files
}

fn parse(text: &str) -> Result<Workload, WorkloadErrors> {
    Workload::parse(text, Path::new("w.toml"), &Overrides::default())
}

/// `text`, which is [`BASE`] or was, with a protocol that teaches who leads.
fn led(text: &str) -> String {
    let mix = "duration = \"10s\"\nmix = { write = 1, strong-read = 1 }";
    text.replace("\"lab2\"", "\"quorum\"").replacen("duration = \"10s\"", mix, 1)
}

/// [`BASE`] with `from` replaced by `to`, once.
fn edited(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from:?} is not in the base exactly once");
    BASE.replacen(from, to, 1)
}

#[test]
fn a_check_of_another_kind_of_load_is_refused() {
    let text = edited("convergence = \"required\"", "total-order = \"reported\"");
    let errors = parse(&text).unwrap_err().to_string();
    assert!(errors.contains(
        "`checks.total-order` judges loads of kind \"broadcast\", and that of [load] is \"register\""
    ));
    assert!(
        errors.contains("of such a load there are convergence, lww,") && !errors.contains(" log"),
        "{errors}"
    );
}
