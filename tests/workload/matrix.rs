//! `[matrix]`: its cells, what fixes an axis, and what is wrong with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use harness::workload::{Overrides, Workload};

use super::BASE;

/// The base with variables that its command uses, and a matrix over them.
fn with_matrix(matrix: &str) -> String {
    let vars = "vars = { node = \"{{ harness }} node lww\", W = 1, R = 1, mode = \"{{ W }}x\" }";
    let text = BASE.replace("vars = { node = \"{{ harness }} node lww\" }", vars);
    let text =
        text.replace("--port {{ port }}", "--port {{ port }} --quorum {{ W }}/{{ R }} --mode {{ mode }}");
    format!("{text}\n{matrix}\n")
}

/// The file in a folder of its own, since cells are read from files.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn vars(names: &[&str]) -> Overrides {
    Overrides { vars: names.iter().map(|name| (*name).to_owned()).collect(), ..Overrides::default() }
}

#[test]
fn every_combination_is_a_cell_with_its_variables_and_one_seed() {
    let (_folder, path) = file(&with_matrix("[matrix]\nW = [1, 2]\nR = [3, \"four\"]"));
    let cells =
        Workload::load_cells(&path, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let found: Vec<_> = cells
        .list
        .iter()
        .map(|(cell, workload)| {
            let pairs: Vec<String> = cell.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let of = |name: &str| workload.vars[name].clone();
            (pairs.join(" "), of("W"), of("R"), of("mode"))
        })
        .collect();
    let row = |cell: &str, w: &str, r: &str, mode: &str| {
        (cell.to_owned(), w.to_owned(), r.to_owned(), mode.to_owned())
    };
    assert_eq!(
        found,
        [
            row("W=1 R=3", "1", "3", "1x"),
            row("W=1 R=four", "1", "four", "1x"),
            row("W=2 R=3", "2", "3", "2x"),
            row("W=2 R=four", "2", "four", "2x"),
        ]
    );
    let seed = cells.list[0].1.seed;
    assert!(
        cells.list.iter().all(|(_, workload)| workload.seed == seed),
        "the file has none: one is drawn for all"
    );
    // What a run leaves runs again, as that one cell.
    let again =
        Workload::parse(&cells.list[2].1.resolved, Path::new("w.toml"), &Overrides::default()).unwrap();
    assert_eq!((again.vars, again.matrix), (cells.list[2].1.vars.clone(), Vec::new()));
}

#[test]
fn a_flag_fixes_its_axis() {
    let (_folder, path) = file(&with_matrix("[matrix]\nW = [1, 2]\nR = [1, 2, 3]"));
    let cells = Workload::load_cells(&path, &vars(&["W=7"])).unwrap();
    assert_eq!(cells.axes.len(), 1, "{:?}", cells.axes);
    assert_eq!(cells.list.len(), 3);
    assert!(cells.list.iter().all(|(cell, workload)| cell.len() == 1 && workload.vars["W"] == "7"));
    let cells = Workload::load_cells(&path, &vars(&["W=2", "R=2"])).unwrap();
    assert!(cells.axes.is_empty() && cells.list.len() == 1, "all fixed: an ordinary run");
    let node = Overrides { node: Some("/bin/true".into()), ..Overrides::default() };
    let (_folder, path) = file(&with_matrix("[matrix]\nnode = [\"{{ harness }} node lww\", \"/bin/false\"]"));
    let cells = Workload::load_cells(&path, &node).unwrap();
    assert_eq!((cells.list.len(), cells.list[0].1.vars["node"].as_str()), (1, "/bin/true"));
}

#[test]
fn mistakes() {
    let mut page = String::new();
    for matrix in [
        "matrix = 3",
        "[matrix]",
        "[matrix]\nX = [1, 2]",
        "[matrix]\nw = [1, 2]",
        "[matrix]\nW = 3",
        "[matrix]\nW = []",
        "[matrix]\nW = [1, [2]]",
        "[matrix]\nW = [1, 2, 1]",
        "[matrix]\nW = [1, \"1\"]",
        "[matrix]\nW = [1,2,3,4,5]\nR = [1,2,3,4,5]\nmode = [1,2,3]",
        "[matrix]\nW = [1, 2]\nnode = [\"{{ harness }} node lww\", \"{{ harnes }} node lww\"]",
        "[matrix]\nnode = [\"no-such-program-anywhere\"]",
    ] {
        let (folder, path) = if matrix.starts_with('[') {
            file(&with_matrix(matrix))
        } else {
            file(&format!("{matrix}\n{}", with_matrix("")))
        };
        let errors = Workload::load_cells(&path, &Overrides::default()).expect_err(matrix);
        let text = errors.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        writeln!(page, "## {matrix}\n\n{text}\n").unwrap();
    }
    insta::assert_snapshot!("matrix", page);
}
