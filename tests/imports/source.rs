//! Reads the source files of one crate: modules, the names that each defines, its `use` lines and its paths.
//! It works on tokens, so that paths inside macro calls count too; what stands under `#[cfg(test)]` is left
//! out.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One name that a `use` line brings into a module, or all names of a module (`name` is `*`).
#[derive(Debug)]
pub(crate) struct Import {
    /// The name in the module.
    pub(crate) name: String,
    /// The segments of the path as written.
    pub(crate) path: Vec<String>,
    /// Whether `pub` stands before it: others may take the name from here.
    pub(crate) is_public: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The number of the module that encloses it; the root has none.
    pub(crate) parent: Option<usize>,
    /// Its file, relative to the directory of the root file.
    pub(crate) file: String,
    /// Modules in it, by name.
    pub(crate) children: BTreeMap<String, usize>,
    /// Names that are defined in it.
    pub(crate) items: Vec<String>,
    pub(crate) imports: Vec<Import>,
    /// Paths of at least two segments outside of `use` lines.
    pub(crate) paths: Vec<Vec<String>>,
    /// Identifiers outside of `use` lines, as often as they occur.
    pub(crate) words: Vec<String>,
}

/// The modules of a crate; the first is its root.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) modules: Vec<Module>,
}

impl Crate {
    /// Reads the crate whose root is the file `root`. `load` gives the text of a file.
    pub(crate) fn read(root: &str, load: &dyn Fn(&str) -> Option<String>) -> Self {
        let directory = root.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut reader = Reader { load, modules: Vec::new() };
        reader.file(None, root, directory);
        Self { modules: reader.modules }
    }
}

struct Reader<'a> {
    load: &'a dyn Fn(&str) -> Option<String>,
    modules: Vec<Module>,
}

/// A module under way, and the directory of its children's files.
struct Scope {
    module: usize,
    directory: String,
}

impl Reader<'_> {
    /// Reads a file as a new module and returns the module's number.
    fn file(&mut self, parent: Option<usize>, file: &str, directory: &str) -> usize {
        let text = (self.load)(file).unwrap_or_else(|| panic!("{file}: a module without a file"));
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let module = self.add(parent, file);
        self.items(tokens, &Scope { module, directory: directory.to_owned() });
        module
    }

    fn add(&mut self, parent: Option<usize>, file: &str) -> usize {
        self.modules.push(Module { parent, file: file.to_owned(), ..Module::default() });
        self.modules.len() - 1
    }

    /// Reads the items of a module.
    fn items(&mut self, tokens: TokenStream, scope: &Scope) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match (word(rest, 0).as_str(), word(rest, 1)) {
                ("#", _) if is_for_tests(rest) => item_length(rest),
                ("mod", name) if !name.is_empty() => self.module(rest, name, scope),
                ("use", _) => self.import(rest, is_public(&tokens[..at]), scope),
                (keyword, name) => {
                    if let Some(name) = defined(keyword, name, rest).filter(|_| begins_item(&tokens[..at])) {
                        self.modules[scope.module].items.push(name);
                    }
                    self.path(rest, scope)
                }
            };
        }
    }

    /// Reads `mod name;` or `mod name { … }` and returns how many tokens it has.
    fn module(&mut self, rest: &[TokenTree], name: String, scope: &Scope) -> usize {
        let directory = join(&scope.directory, &name);
        let child = if let Some(TokenTree::Group(group)) = rest.get(2) {
            let file = self.modules[scope.module].file.clone();
            let child = self.add(Some(scope.module), &file);
            self.items(group.stream(), &Scope { module: child, directory });
            child
        } else {
            let inside = join(&directory, "mod.rs");
            let file = if (self.load)(&inside).is_some() {
                inside
            } else {
                join(&scope.directory, &(name.clone() + ".rs"))
            };
            self.file(Some(scope.module), &file, &directory)
        };
        self.modules[scope.module].children.insert(name, child);
        3
    }

    /// Reads `use …;` and returns how many tokens it has.
    fn import(&mut self, rest: &[TokenTree], is_public: bool, scope: &Scope) -> usize {
        let length = rest.iter().position(|token| is_mark(token, ';')).unwrap_or(rest.len());
        let imports = &mut self.modules[scope.module].imports;
        branches(&rest[1..length], &[], &mut |path, name| {
            imports.push(Import { name, path, is_public });
        });
        length + 1
    }

    /// Reads one token, or a whole path from its first segment on, and returns how many tokens that are.
    fn path(&mut self, rest: &[TokenTree], scope: &Scope) -> usize {
        match &rest[0] {
            TokenTree::Group(group) => {
                self.inner(group.stream(), scope);
                1
            }
            TokenTree::Ident(first) => {
                let mut path = vec![first.to_string()];
                let mut length = 1;
                while is_separator(&rest[length..]) && !word(rest, length + 2).is_empty() {
                    path.push(word(rest, length + 2));
                    length += 3;
                }
                let module = &mut self.modules[scope.module];
                module.words.extend(path.first().cloned());
                if path.len() > 1 {
                    module.paths.push(path);
                }
                length
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => 1,
        }
    }

    /// Reads what stands in brackets of an item: a body, arguments, a macro call.
    fn inner(&mut self, tokens: TokenStream, scope: &Scope) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match word(rest, 0).as_str() {
                "#" if is_for_tests(rest) => item_length(rest),
                "use" if !word(rest, 1).is_empty() => self.import(rest, false, scope),
                _ => self.path(rest, scope),
            };
        }
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The identifier or mark at `at`; empty for a group, a literal and behind the end.
fn word(tokens: &[TokenTree], at: usize) -> String {
    match tokens.get(at) {
        Some(TokenTree::Ident(ident)) => ident.to_string(),
        Some(TokenTree::Punct(mark)) if mark.as_char() == '#' => "#".to_owned(),
        _ => String::new(),
    }
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == mark)
}

/// Whether the tokens begin with `::`.
fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_mark(first, ':') && is_mark(second, ':'))
}

/// Whether an attribute begins here that keeps its item to tests: `#[cfg(test)]`, `#[cfg(all(test, …))]`,
/// `#[test]`.
fn is_for_tests(rest: &[TokenTree]) -> bool {
    let Some(TokenTree::Group(group)) = rest.get(1) else { return false };
    let text = group.stream().to_string().replace(' ', "");
    text == "test" || text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// How many tokens an item with its attributes has: up to its `;` or its braces.
fn item_length(rest: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| {
        is_mark(token, ';')
            || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
    };
    rest.iter().position(is_end).map_or(rest.len(), |end| end + 1)
}

/// Whether `pub` or `pub(…)` ends these tokens.
fn is_public(before: &[TokenTree]) -> bool {
    let before = match before {
        [front @ .., TokenTree::Group(_)] => front,
        all => all,
    };
    before.last().is_some_and(|token| matches!(token, TokenTree::Ident(ident) if ident == "pub"))
}

/// Whether an item can begin behind these tokens: `&'static str` and `*const u8` begin none.
fn begins_item(before: &[TokenTree]) -> bool {
    let in_front = |token: &&TokenTree| match token {
        TokenTree::Ident(word) => {
            ["pub", "unsafe", "async", "extern", "const"].iter().any(|known| word == known)
        }
        TokenTree::Group(group) => group.delimiter() != Delimiter::Brace,
        TokenTree::Punct(mark) => matches!(mark.as_char(), '#' | '!'),
        TokenTree::Literal(_) => true,
    };
    let last = before.iter().rev().find(|token| !in_front(token));
    last.is_none_or(|token| is_mark(token, ';') || matches!(token, TokenTree::Group(_)))
}

/// The name that an item beginning here defines.
fn defined(keyword: &str, name: String, rest: &[TokenTree]) -> Option<String> {
    match keyword {
        "struct" | "enum" | "union" | "trait" | "type" | "fn" | "const" | "static"
            if !name.is_empty() && name != "fn" && name != "mut" =>
        {
            Some(name)
        }
        "static" | "macro_rules" => Some(word(rest, 2)),
        _ => None,
    }
}

/// Calls `found` with the path and the name of each branch of a `use` line.
fn branches(tokens: &[TokenTree], stem: &[String], found: &mut dyn FnMut(Vec<String>, String)) {
    for branch in tokens.split(|token| is_mark(token, ',')) {
        let mut path = stem.to_vec();
        let mut rest = branch;
        let mut is_alias = false;
        let mut alias = None;
        while let [token, behind @ ..] = rest {
            match token {
                TokenTree::Ident(ident) if ident == "as" => is_alias = true,
                TokenTree::Ident(ident) if is_alias => alias = Some(ident.to_string()),
                TokenTree::Ident(ident) if ident == "self" && !path.is_empty() => {}
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == '*' => alias = Some("*".to_owned()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    branches(&inner, &path, found);
                    path.clear();
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            rest = behind;
        }
        if let Some(last) = path.last().cloned() {
            found(path, alias.unwrap_or(last));
        }
    }
}
