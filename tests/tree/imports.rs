//! Which file of `src` imports which: every `use` declaration and every path in the code, resolved to
//! the file that defines the name.
//!
//! - `mod x;` alone is not an import, and neither is a `pub use` of a descendant whose name the file
//!   does not use itself.
//! - A name that is imported through another module's `use` counts as an import of the file that
//!   defines it, where that can be resolved, else of that other module.
//! - What only `#[cfg(test)]` code needs is kept apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source_file::{ModulePath, Reference, Scope, SourceFile};

/// How many `use` declarations are followed for one name.
const HOPS_MAX: usize = 8;

/// One file's use of a name of another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: PathBuf,
    pub to: PathBuf,
    pub line: usize,
    /// The module below the root that `to` belongs to, as the source names it.
    pub top: String,
    pub is_test: bool,
}

/// All files of a crate and the program's modules beside it.
pub struct SourceTree {
    files: BTreeMap<ModulePath, (PathBuf, SourceFile)>,
    scopes: BTreeMap<ModulePath, (ModulePath, Scope)>,
    test_modules: BTreeSet<ModulePath>,
}

/// The module of a file: `src/binlog/event.rs` is `binlog`, `event`; `lib` and `main` are the root
/// and `main`.
pub fn module_path(path: &Path) -> ModulePath {
    let path = path
        .strip_prefix("src")
        .expect("a file in src")
        .with_extension("");
    let mut names: ModulePath = path
        .iter()
        .map(|name| name.to_string_lossy().into())
        .collect();
    if names.last().is_some_and(|name| name == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

impl SourceTree {
    /// Reads files of `src`, given with their paths from the project's root.
    pub fn read(files: &[(PathBuf, String)]) -> SourceTree {
        let mut tree = SourceTree {
            files: BTreeMap::new(),
            scopes: BTreeMap::new(),
            test_modules: BTreeSet::new(),
        };
        let mut sorted: Vec<_> = files
            .iter()
            .map(|(path, text)| (module_path(path), path, text))
            .collect();
        // Parents first: they say which of their children only tests have.
        sorted.sort_by_key(|(module, ..)| module.len());
        for (module, path, text) in sorted {
            let is_test = (1..=module.len()).any(|len| tree.test_modules.contains(&module[..len]));
            let file = SourceFile::parse(text, &module, is_test);
            for (scope, declarations) in &file.scopes {
                for (child, is_test) in &declarations.children {
                    if *is_test {
                        let child = [scope.as_slice(), std::slice::from_ref(child)].concat();
                        tree.test_modules.insert(child);
                    }
                }
            }
            tree.files.insert(module, (path.clone(), file));
        }
        for (module, (_, file)) in &mut tree.files {
            for (scope, declarations) in std::mem::take(&mut file.scopes) {
                tree.scopes.insert(scope, (module.clone(), declarations));
            }
        }
        tree
    }

    /// Whether only tests have the file of this module.
    pub fn is_test_file(&self, path: &Path) -> bool {
        let module = module_path(path);
        (1..=module.len()).any(|len| self.test_modules.contains(&module[..len]))
    }

    /// Every import of a file by another, without repetitions of the same line.
    pub fn imports(&self) -> BTreeSet<Import> {
        let mut found = BTreeSet::new();
        for (module, (path, file)) in &self.files {
            for reference in &file.references {
                let Some((top, target)) = self.target(module, reference) else {
                    continue;
                };
                let (to, _) = &self.files[&target];
                if to != path {
                    found.insert(Import {
                        from: path.clone(),
                        to: to.clone(),
                        line: reference.line,
                        top,
                        is_test: reference.is_test,
                    });
                }
            }
        }
        found
    }

    /// The name below the root and the file's module that a reference leads to.
    fn target(&self, module: &ModulePath, reference: &Reference) -> Option<(String, ModulePath)> {
        let path = match reference.is_absolute {
            true => reference.path.clone(),
            false => self.looked_up(&reference.scope, &reference.path)?,
        };
        if reference.is_reexport_only && path.starts_with(module) {
            return None;
        }
        let root = ModulePath::new();
        if path.is_empty() && reference.is_glob && self.files.contains_key(&root) {
            return Some(("*".to_owned(), root));
        }
        let top = path.first().cloned()?;
        let (file, is_module) = self.resolve(&path, 0)?;
        // To import a module's name is not yet to use it; the paths that begin with the name do.
        if is_module && reference.is_use && !reference.is_glob {
            return None;
        }
        Some((top, file))
    }

    /// A path whose first name is a child module or imported, from the root; None for a path into
    /// another crate.
    fn looked_up(&self, scope: &ModulePath, path: &[String]) -> Option<Vec<String>> {
        let (_, declarations) = self.scopes.get(scope)?;
        let (first, rest) = path.split_first()?;
        let own = |module: &[String], declarations: &Scope| {
            if declarations.children.contains_key(first) {
                return Some([module, path].concat());
            }
            let import = declarations.imported.get(first)?;
            Some([import.path.as_slice(), rest].concat())
        };
        own(scope, declarations).or_else(|| {
            declarations.globs.iter().find_map(|glob| {
                let (_, globbed) = self.scopes.get(&glob.path)?;
                own(&glob.path, globbed)
            })
        })
    }

    /// The module of the file that defines what a path from the root names, and whether the path
    /// names a module itself.
    fn resolve(&self, path: &[String], hops: usize) -> Option<(ModulePath, bool)> {
        let mut module = ModulePath::new();
        for (index, name) in path.iter().enumerate() {
            let (_, declarations) = self.scopes.get(&module)?;
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.scopes.contains_key(&child) {
                module = child;
                continue;
            }
            if let Some(import) = declarations.imported.get(name)
                && hops < HOPS_MAX
                && import.path.as_slice() != path
            {
                let path = [import.path.as_slice(), &path[index + 1..]].concat();
                return self.resolve(&path, hops + 1);
            }
            let file = self.scopes[&module].0.clone();
            // Not an item of the crate's root: another crate's name.
            return (!module.is_empty()).then_some((file, false));
        }
        let is_module = !module.is_empty();
        is_module.then(|| (self.scopes[&module].0.clone(), true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names below the root that `text`, as the file of `sender::login`, imports.
    fn tops(text: &str) -> Vec<String> {
        let modules = [
            "gtid",
            "binlog",
            "binlog/event",
            "flavor",
            "tls",
            "merge",
            "config",
        ];
        let mut files: Vec<(PathBuf, String)> = modules
            .iter()
            .map(|name| {
                (
                    PathBuf::from(format!("src/{name}.rs")),
                    "mod event;".to_owned(),
                )
            })
            .collect();
        let root = "mod gtid; mod binlog; mod flavor; mod tls; mod merge; mod config; mod sender;";
        files.push((PathBuf::from("src/lib.rs"), root.to_owned()));
        files.push((
            PathBuf::from("src/sender.rs"),
            "mod login; mod status;".to_owned(),
        ));
        files.push((PathBuf::from("src/sender/status.rs"), String::new()));
        files.push((PathBuf::from("src/sender/login.rs"), text.to_owned()));
        let imports = SourceTree::read(&files).imports();
        let mut of_login: Vec<Import> = imports
            .into_iter()
            .filter(|import| import.from == Path::new("src/sender/login.rs"))
            .collect();
        of_login.sort_by_key(|import| import.line);
        of_login.into_iter().map(|import| import.top).collect()
    }

    #[test]
    fn paths_of_every_form_are_found() {
        let text = "use crate::gtid::Uuid;\nuse crate::{binlog::{self, event::Event},\nflavor::*};\n\
            fn f() { super::super::tls::g();\ncrate::merge::h();\nbinrelay::config::Config::default() }";
        let expected = ["gtid", "binlog", "flavor", "tls", "merge", "config"];
        assert_eq!(tops(text), expected);
        assert_eq!(tops("use crate::*;"), ["*"]);
    }

    #[test]
    fn paths_are_relative_to_the_module_that_has_them() {
        assert_eq!(tops("use super::status::X;"), ["sender"]);
        let text =
            "fn f() {} mod inner { use super::super::status::X; }\nuse super::super::tls::Y;";
        assert_eq!(tops(text), ["sender", "tls"]);
    }
}
