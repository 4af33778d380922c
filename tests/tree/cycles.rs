//! No two files import each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::files::{assert_none, rust_files};
use crate::imports::{Import, SourceTree, module_path};

/// Which file imports which, with the first line that does.
type Graph<'a> = BTreeMap<&'a Path, BTreeMap<&'a Path, usize>>;

fn graph<'a>(imports: impl Iterator<Item = &'a Import>) -> Graph<'a> {
    let mut graph = Graph::new();
    for import in imports {
        let targets = graph.entry(import.from.as_path()).or_default();
        targets.entry(import.to.as_path()).or_insert(import.line);
    }
    graph
}

/// The shortest way from a file back to itself.
fn cycle_through<'a>(graph: &Graph<'a>, start: &'a Path) -> Option<Vec<&'a Path>> {
    let mut came_from: BTreeMap<&Path, &Path> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(file) = open.pop_front() {
        for target in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if *target == start {
                let mut cycle = vec![start];
                let mut at = file;
                while at != start {
                    cycle.insert(1, at);
                    at = came_from[at];
                }
                return Some(cycle);
            }
            if !came_from.contains_key(target) {
                came_from.insert(target, file);
                open.push_back(target);
            }
        }
    }
    None
}

/// Every file that is in a cycle is in one of these: the shortest cycle through it.
fn cycles(graph: &Graph) -> Vec<String> {
    let mut found: BTreeMap<BTreeSet<PathBuf>, String> = BTreeMap::new();
    for start in graph.keys() {
        let Some(cycle) = cycle_through(graph, start) else {
            continue;
        };
        let files: BTreeSet<PathBuf> = cycle.iter().map(|file| (*file).to_owned()).collect();
        let steps: Vec<String> = cycle
            .iter()
            .zip(cycle.iter().cycle().skip(1))
            .map(|(from, to)| {
                format!(
                    "{}:{} imports {}",
                    from.display(),
                    graph[from][to],
                    to.display()
                )
            })
            .collect();
        found.entry(files).or_insert_with(|| steps.join(", "));
    }
    found.into_values().collect()
}

/// The imports of the program itself, without what parents use of their children: a module's file
/// is composed of its children, and these may use its types. To forbid that too, drop the second
/// filter.
fn production(imports: &BTreeSet<Import>) -> Graph<'_> {
    let of_program = imports.iter().filter(|import| !import.is_test);
    graph(of_program.filter(|import| !is_below(&import.to, &import.from)))
}

/// Whether `file` belongs to a child, or a child's child, of the module of `parent`.
fn is_below(file: &Path, parent: &Path) -> bool {
    let parent = module_path(parent);
    let module = module_path(file);
    module.len() > parent.len() && module.starts_with(&parent)
}

#[test]
fn no_two_files_import_each_other() {
    let imports = SourceTree::read(&rust_files("src")).imports();
    let cycles = cycles(&production(&imports));
    assert_none("files that import each other", &cycles);
}

#[test]
fn no_two_test_files_import_each_other() {
    let tree = SourceTree::read(&rust_files("src"));
    let imports = tree.imports();
    let between_tests =
        |import: &&Import| tree.is_test_file(&import.from) && tree.is_test_file(&import.to);
    let tests = graph(imports.iter().filter(between_tests));
    assert_none("test files that import each other", &cycles(&tests));
}

/// The cycles among files given as (path, text), as `a b` for each.
fn cycles_of(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<(PathBuf, String)> = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
        .collect();
    let imports = SourceTree::read(&files).imports();
    cycles(&production(&imports))
}

const ROOT: (&str, &str) = ("src/lib.rs", "pub mod a;\npub mod b;");

#[test]
fn files_that_import_each_other_are_found() {
    let found = cycles_of(&[
        ROOT,
        ("src/a.rs", "use crate::b::B;\npub struct A;"),
        (
            "src/b.rs",
            "pub struct B;\npub fn f() -> crate::a::A { todo() }",
        ),
    ]);
    assert_eq!(
        found,
        ["src/a.rs:1 imports src/b.rs, src/b.rs:2 imports src/a.rs"]
    );
}

#[test]
fn cycles_of_three_are_found_once() {
    let found = cycles_of(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b; fn f() { b::g() }"),
        (
            "src/b.rs",
            "use super::c::{self as other}; pub fn g() { other::h() }",
        ),
        ("src/c.rs", "pub fn h() { crate::a::f() }"),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_parent_may_use_its_children_and_they_its_types() {
    let parent = "mod one;\nmod two;\npub struct Shared;\nfn f(one: one::One) {}";
    let one = (
        "src/a/one.rs",
        "use super::Shared;\npub struct One(Shared);",
    );
    let two = ("src/a/two.rs", "use super::one::One;\npub struct Two(One);");
    assert!(cycles_of(&[ROOT, ("src/a.rs", parent), one, two]).is_empty());
    let back = (
        "src/a/one.rs",
        "pub struct One;\nfn f() { super::two::g() }",
    );
    assert_eq!(cycles_of(&[ROOT, ("src/a.rs", parent), back, two]).len(), 1);
}

#[test]
fn a_child_that_another_module_imports_is_not_its_parent() {
    let parent = (
        "src/a.rs",
        "mod child;\npub use child::Child;\npub fn f(child: Child) {}",
    );
    let child = ("src/a/child.rs", "pub struct Child(crate::b::B);");
    let b = "pub struct B;\nfn f(child: crate::a::Child) {}";
    assert_eq!(cycles_of(&[ROOT, parent, child, ("src/b.rs", b)]).len(), 1);
    let b = "pub struct B;\nfn f() { crate::a::f(crate::a::missing()) }";
    assert!(cycles_of(&[ROOT, parent, child, ("src/b.rs", b)]).is_empty());
}

#[test]
fn names_are_resolved_through_reexports() {
    let found = cycles_of(&[
        ROOT,
        (
            "src/a.rs",
            "mod one;\nmod two;\npub use one::One;\npub use two::Two;",
        ),
        ("src/a/one.rs", "use super::Two;\npub struct One(Two);"),
        ("src/a/two.rs", "pub struct Two;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
    let found = cycles_of(&[
        ROOT,
        (
            "src/a.rs",
            "mod one;\nmod two;\npub use one::One;\npub use two::Two;",
        ),
        ("src/a/one.rs", "use super::Two;\npub struct One(Two);"),
        (
            "src/a/two.rs",
            "pub struct Two;\nfn f(one: crate::a::One) {}",
        ),
    ]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_only_tests_import_is_not_in_a_cycle() {
    let tests = "pub struct A;\n#[cfg(test)]\nuse crate::b::B;\n#[cfg(test)]\nmod tests { use crate::b::B; }\n";
    let b = ("src/b.rs", "use crate::a::A;\npub struct B;");
    assert!(cycles_of(&[ROOT, ("src/a.rs", tests), b]).is_empty());
    let after = format!("{tests}\nfn f() {{ crate::b::B; }}");
    assert_eq!(cycles_of(&[ROOT, ("src/a.rs", &after), b]).len(), 1);
}
