//! The project's files, as text.

use std::fs;
use std::path::{Path, PathBuf};

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir`, as paths from the project's root, without `target` and hidden directories.
pub fn files_below(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() {
                if !matches!(&*name, "target" | "__pycache__") && !name.starts_with('.') {
                    open.push(path);
                }
            } else {
                found.push(
                    path.strip_prefix(root())
                        .expect("a path below the root")
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    found
}

/// The project's own text files, fixtures and the licence left out.
pub fn text_files() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = ["src", "tests", "tools", ".ci"]
        .iter()
        .flat_map(|dir| files_below(dir))
        .collect();
    files.extend(["Cargo.toml", "README.md", "proto-fixtures/README.md"].map(PathBuf::from));
    files
        .into_iter()
        .filter_map(|path| Some((path.clone(), fs::read_to_string(root().join(path)).ok()?)))
        .collect()
}

/// The Rust source below `dir`, with paths from the project's root.
pub fn rust_files(dir: &str) -> Vec<(PathBuf, String)> {
    files_below(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(root().join(&path)).expect("Rust source is UTF-8");
            (path, text)
        })
        .collect()
}

/// Fails with the list of findings, if there are any.
pub fn assert_none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}
