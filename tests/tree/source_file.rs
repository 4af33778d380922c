//! What one file of Rust source declares and names: modules, `use` declarations and paths.
//!
//! The source is read as words and marks, not compiled, so macros are not expanded and types are
//! not known. That is enough to see which file names an item of which other file.

use std::collections::BTreeMap;

use crate::rust_text::{Token, tokens};

/// A module as its names from the crate's root; the root itself is empty.
pub type ModulePath = Vec<String>;

/// The declarations of one module, whether it is a file or inline.
#[derive(Debug, Default)]
pub struct Scope {
    /// Child modules; the value says whether only tests have it.
    pub children: BTreeMap<String, bool>,
    /// Names of `use` declarations, with their absolute paths; `pub use` as well.
    pub imported: BTreeMap<String, ImportedPath>,
    /// Modules whose names are all imported.
    pub globs: Vec<ImportedPath>,
}

/// A path in the source, from the crate's root where it begins with `crate`, `super` or `self`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub line: usize,
    /// The module that the path is written in.
    pub scope: ModulePath,
    pub path: Vec<String>,
    /// Whether the path starts at the crate's root; else its first name must be looked up.
    pub is_absolute: bool,
    pub is_test: bool,
    /// For a `pub use` whose name does not appear anywhere else in the file.
    pub is_reexport_only: bool,
    /// For `use path::*`.
    pub is_glob: bool,
    /// For a `use` declaration.
    pub is_use: bool,
}

/// What one file declares and names.
#[derive(Debug, Default)]
pub struct SourceFile {
    pub scopes: BTreeMap<ModulePath, Scope>,
    pub references: Vec<Reference>,
}

impl SourceFile {
    /// Reads the file of module `module`; `is_test` when only tests have that module.
    pub fn parse(text: &str, module: &[String], is_test: bool) -> SourceFile {
        let tokens = tokens(text);
        let mut reader = Reader {
            tokens: &tokens,
            file: SourceFile::default(),
            scope: module.to_vec(),
            depth: 0,
            brackets: 0,
            inline: Vec::new(),
            is_test_file: is_test,
            test_item: None,
        };
        reader.file.scopes.insert(module.to_vec(), Scope::default());
        reader.read();
        let mut file = reader.file;
        for (path, scope) in &mut file.scopes {
            scope.resolve_own_names(path);
        }
        mark_reexports(&mut file, &tokens);
        file
    }
}

impl Scope {
    /// `use child::Name` is written from the root; what begins with another crate's name is left
    /// out.
    fn resolve_own_names(&mut self, module: &[String]) {
        let children = &self.children;
        let from_root = |import: &mut ImportedPath| {
            if !import.is_absolute
                && import
                    .path
                    .first()
                    .is_some_and(|name| children.contains_key(name))
            {
                import.path.splice(0..0, module.iter().cloned());
                import.is_absolute = true;
            }
            import.is_absolute
        };
        self.imported.retain(|_, import| from_root(import));
        self.globs.retain_mut(from_root);
    }
}

/// The path of a `use` declaration.
#[derive(Debug)]
pub struct ImportedPath {
    pub path: Vec<String>,
    /// Whether it is written from the crate's root; true for all in a finished [`SourceFile`].
    pub is_absolute: bool,
}

/// A `pub use` counts as an import where the file itself uses the name too.
fn mark_reexports(file: &mut SourceFile, tokens: &[Token]) {
    let mut occurrences: BTreeMap<&str, usize> = BTreeMap::new();
    for token in tokens {
        if let Token::Ident(_, word) = token {
            *occurrences.entry(word).or_default() += 1;
        }
    }
    for reference in &mut file.references {
        let name = reference.path.last().map(String::as_str);
        if name.is_some_and(|name| occurrences.get(name).is_some_and(|count| *count > 1)) {
            reference.is_reexport_only = false;
        }
    }
}

/// An item under `#[cfg(test)]`: it ends with the `;`, or with the `}` at its own depth.
struct TestItem {
    depth: usize,
    brackets: usize,
    /// A field, argument or variant ends with a comma.
    ends_with_comma: bool,
}

struct Reader<'a> {
    tokens: &'a [Token],
    file: SourceFile,
    scope: ModulePath,
    depth: usize,
    brackets: usize,
    /// The depths at which inline modules were opened.
    inline: Vec<usize>,
    is_test_file: bool,
    test_item: Option<TestItem>,
}

impl Reader<'_> {
    fn is_test(&self) -> bool {
        self.is_test_file || self.test_item.is_some()
    }

    fn read(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            at = match &self.tokens[at] {
                Token::Mark('#') => self.attribute(at),
                Token::Mark(mark) => self.mark(*mark, at),
                Token::Ident(_, word) if word == "mod" => self.module(at),
                Token::Ident(_, word) if word == "use" && !self.is(at + 1, '<') => {
                    self.declaration(at)
                }
                Token::Ident(line, _) => self.path(at, *line),
            };
        }
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some(Token::Ident(_, word)) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at) == Some(&Token::Mark(mark))
    }

    /// Whether `::` begins at `at`.
    fn is_separator(&self, at: usize) -> bool {
        self.is(at, ':') && self.is(at + 1, ':')
    }

    fn attribute(&mut self, at: usize) -> usize {
        if !self.is(at + 1, '[') {
            return at + 1;
        }
        let mut open = 0;
        let mut end = at + 1;
        while let Some(token) = self.tokens.get(end) {
            match token {
                Token::Mark('[') => open += 1,
                Token::Mark(']') => open -= 1,
                _ => {}
            }
            end += 1;
            if open == 0 {
                break;
            }
        }
        let words: Vec<&str> = (at..end).filter_map(|at| self.word(at)).collect();
        if words.first() == Some(&"cfg")
            && words.contains(&"test")
            && !words.contains(&"not")
            && self.test_item.is_none()
        {
            let item = [
                "pub", "fn", "mod", "use", "impl", "struct", "enum", "const", "static", "type",
                "trait", "async",
            ];
            self.test_item = Some(TestItem {
                depth: self.depth,
                brackets: self.brackets,
                ends_with_comma: !self.word(end).is_some_and(|word| item.contains(&word)),
            });
        }
        end
    }

    fn mark(&mut self, mark: char, at: usize) -> usize {
        match mark {
            '{' => self.depth += 1,
            '}' => {
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                    self.scope.pop();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            '(' | '[' => self.brackets += 1,
            ')' | ']' => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        if let Some(item) = &self.test_item {
            let is_own = self.depth == item.depth && self.brackets == item.brackets;
            let ends = match mark {
                ';' | '}' => is_own,
                ',' => is_own && item.ends_with_comma,
                _ => false,
            };
            if ends || self.depth < item.depth {
                self.test_item = None;
            }
        }
        at + 1
    }

    /// `mod name;` or `mod name {`.
    fn module(&mut self, at: usize) -> usize {
        let Some(name) = self.word(at + 1).map(str::to_owned) else {
            return at + 1;
        };
        let is_test = self.is_test();
        let is_inline = self.is(at + 2, '{');
        if !is_inline && !self.is(at + 2, ';') {
            return at + 1;
        }
        let scope = self.file.scopes.entry(self.scope.clone()).or_default();
        scope.children.insert(name.clone(), is_test);
        if !is_inline {
            return at + 2;
        }
        self.scope.push(name);
        self.file.scopes.entry(self.scope.clone()).or_default();
        self.depth += 1;
        self.inline.push(self.depth);
        at + 3
    }

    /// The path's names from the root, and whether they are: `self::a` in module `m` is `m`, `a`.
    fn absolute(&self, mut path: Vec<String>) -> (Vec<String>, bool) {
        match path.first().map(String::as_str) {
            Some("crate" | "binrelay") => (path.split_off(1), true),
            Some("self") => ([self.scope.clone(), path.split_off(1)].concat(), true),
            Some("super") => {
                let climbed = path.iter().take_while(|name| *name == "super").count();
                let kept = self.scope.len().saturating_sub(climbed);
                let base = self.scope[..kept].to_vec();
                ([base, path.split_off(climbed)].concat(), true)
            }
            _ => (path, false),
        }
    }

    fn refer(&mut self, line: usize, path: Vec<String>, kind: Kind) {
        let (path, is_absolute) = self.absolute(path);
        self.file.references.push(Reference {
            line,
            scope: self.scope.clone(),
            path,
            is_absolute,
            is_test: self.is_test(),
            is_reexport_only: kind == Kind::Reexport,
            is_glob: kind == Kind::Glob,
            is_use: kind != Kind::Path,
        });
    }

    /// A `use` declaration, up to its `;`.
    fn declaration(&mut self, at: usize) -> usize {
        let is_public = at
            .checked_sub(1)
            .is_some_and(|before| self.word(before) == Some("pub") || self.is(before, ')'));
        let mut leaves = Vec::new();
        let mut end = at + 1;
        self.leaves(&mut end, &[], &mut leaves);
        for leaf in leaves {
            let kind = match (leaf.alias.as_deref(), is_public) {
                (Some("*"), _) => Kind::Glob,
                (_, true) => Kind::Reexport,
                _ => Kind::Use,
            };
            let (path, is_absolute) = self.absolute(leaf.path.clone());
            let name = path.last().cloned();
            let import = ImportedPath { path, is_absolute };
            let scope = self.file.scopes.entry(self.scope.clone()).or_default();
            match leaf.alias.or(name) {
                Some(alias) if alias == "*" => scope.globs.push(import),
                Some(alias) => {
                    scope.imported.insert(alias, import);
                }
                None => {}
            }
            self.refer(leaf.line, leaf.path, kind);
        }
        end
    }

    /// The paths of a `use` tree that begins at `at`, which ends up after it.
    fn leaves(&self, at: &mut usize, prefix: &[String], found: &mut Vec<Leaf>) {
        let mut path = prefix.to_vec();
        let mut line = 0;
        loop {
            match self.tokens.get(*at) {
                Some(Token::Ident(number, word)) if word == "as" => {
                    *at += 1;
                    let alias = self.word(*at).map(str::to_owned);
                    *at += 1;
                    found.push(Leaf {
                        line: *number,
                        path,
                        alias,
                    });
                    return;
                }
                Some(Token::Ident(number, word)) => {
                    line = *number;
                    if word != "self" || path.is_empty() {
                        path.push(word.clone());
                    }
                    *at += 1;
                }
                Some(Token::Mark(':')) => *at += 1,
                Some(Token::Mark('*')) => {
                    *at += 1;
                    let alias = Some("*".to_owned());
                    found.push(Leaf { line, path, alias });
                    return;
                }
                Some(Token::Mark('{')) => {
                    *at += 1;
                    while !self.is(*at, '}') && *at < self.tokens.len() {
                        let before = *at;
                        self.leaves(at, &path, found);
                        if self.is(*at, ',') || *at == before {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                _ => {
                    if path.len() > prefix.len() || line != 0 {
                        found.push(Leaf {
                            line,
                            path,
                            alias: None,
                        });
                    }
                    return;
                }
            }
        }
    }

    /// A path of at least two names, outside `use`.
    fn path(&mut self, at: usize, line: usize) -> usize {
        let is_continued = at >= 2 && self.is_separator(at - 2);
        let is_member = at >= 1 && self.is(at - 1, '.') && !(at >= 2 && self.is(at - 2, '.'));
        let mut path = vec![self.word(at).unwrap_or_default().to_owned()];
        let mut end = at + 1;
        while self.is_separator(end) {
            let Some(word) = self.word(end + 2) else {
                break;
            };
            path.push(word.to_owned());
            end += 3;
        }
        if path.len() > 1 && !is_continued && !is_member && path[0] != "Self" {
            self.refer(line, path, Kind::Path);
        }
        end
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Path,
    Use,
    Reexport,
    Glob,
}

/// One imported path of a `use` tree; the alias `*` is a glob.
struct Leaf {
    line: usize,
    path: Vec<String>,
    alias: Option<String>,
}
