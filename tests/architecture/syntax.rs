//! What one source file declares and names: imports, paths, modules, functions, and which of it is test code.
//!
//! It works on tokens and follows brackets. It does not expand macros; what a macro call says in its
//! arguments counts like other code, which is what a reader would expect.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::lexer::{Comment, Kind, Token, lex};

/// A path as written: `a::b::c`, with the inline modules it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    /// Written with a leading `::`, so its first segment is a foreign crate.
    pub(crate) global: bool,
    /// Names of the inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
    pub(crate) line: usize,
    /// Stands in test code.
    pub(crate) test: bool,
}

/// One name brought in by a `use`; groups are taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// What is imported, without the `*` of a glob.
    pub(crate) path: Path,
    /// The name it has here; none for a glob and for `as _`.
    pub(crate) name: Option<String>,
    pub(crate) glob: bool,
    /// `pub use` with any visibility.
    pub(crate) public: bool,
}

/// A `mod name;` that asks for a file of its own.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) inside: Vec<String>,
    pub(crate) test: bool,
}

/// A function with a body.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
    pub(crate) test: bool,
}

/// One parsed file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) lines: usize,
    pub(crate) paths: Vec<Path>,
    pub(crate) uses: Vec<Use>,
    pub(crate) modules: Vec<Module>,
    pub(crate) functions: Vec<Function>,
    /// Names declared outside of functions and impls, each with the inline modules around it.
    pub(crate) declared: BTreeSet<(Vec<String>, String)>,
    tests: Vec<Range<usize>>,
}

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        let (tokens, comments) = lex(text);
        let tests = test_ranges(&tokens);
        let mut source = Self { comments, lines: text.lines().count(), tests, ..Self::default() };
        Walk { tokens: &tokens, at: 0, scopes: Vec::new(), source: &mut source }.run();
        source.tokens = tokens;
        source
    }

    /// Whether the token of this number stands in test code.
    pub(crate) fn is_test(&self, token: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&token))
    }

    /// Lines that are not part of a test item.
    pub(crate) fn lines_without_tests(&self) -> usize {
        let line = |token: usize| self.tokens.get(token).map_or(self.lines, |t| t.line);
        let tests: usize = self.tests.iter().map(|r| line(r.end.saturating_sub(1)) - line(r.start) + 1).sum();
        self.lines.saturating_sub(tests)
    }

    /// Token numbers where the given words and punctuation follow each other.
    pub(crate) fn find<'a>(&'a self, pattern: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        (0..self.tokens.len()).filter(move |i| matches(&self.tokens, *i, pattern))
    }

    /// The string literals with their token numbers.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (usize, &Token)> {
        self.tokens.iter().enumerate().filter(|(_, t)| t.kind == Kind::Text)
    }

    /// The path with a first segment that an import of this file binds replaced by what it stands for.
    pub(crate) fn expand(&self, path: &Path) -> Path {
        let bound = |u: &&Use| u.name.as_ref() == path.segments.first() && u.path.inside == path.inside;
        match self.uses.iter().find(bound) {
            Some(import) if !path.global => {
                let mut segments = import.path.segments.clone();
                segments.extend(path.segments.iter().skip(1).cloned());
                Path { segments, global: import.path.global, ..path.clone() }
            }
            _ => path.clone(),
        }
    }
}

fn matches(tokens: &[Token], at: usize, pattern: &[&str]) -> bool {
    pattern.iter().enumerate().all(|(i, text)| tokens.get(at + i).is_some_and(|t| t.is(text)))
}

/// Attributes behind which an item is test code.
const TEST_ATTRIBUTES: [&[&str]; 3] =
    [&["#", "[", "cfg", "(", "test", ")", "]"], &["#", "[", "test", "]"], &["#", "[", "tokio", "::", "test"]];

/// The items under `#[cfg(test)]` and `#[test]`; all of a file under `#![cfg(test)]`.
fn test_ranges(tokens: &[Token]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in 0..tokens.len() {
        if ranges.last().is_some_and(|r| r.contains(&at)) {
            continue;
        }
        if matches(tokens, at, &["#", "!", "[", "cfg", "(", "test", ")", "]"]) {
            return std::iter::once(0..tokens.len()).collect();
        }
        if TEST_ATTRIBUTES.iter().any(|pattern| matches(tokens, at, pattern)) {
            ranges.push(at..item_end(tokens, at));
        }
    }
    ranges
}

/// One past the end of the item whose attributes start here: after its `;` or the `}` that closes it.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while matches(tokens, at, &["#", "["]) {
        at = closing(tokens, at + 1) + 1;
    }
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            _ if tokens[at].kind != Kind::Punct => {}
            ";" => return at + 1,
            "{" => return closing(tokens, at) + 1,
            "(" | "[" => at = closing(tokens, at),
            ")" | "]" | "}" => return at,
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

/// The bracket that closes the one standing here.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open).filter(|(_, t)| t.kind == Kind::Punct) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len().saturating_sub(1)
}

/// Words that introduce a named item.
const ITEMS: [&str; 9] = ["struct", "enum", "trait", "union", "type", "const", "static", "fn", "mod"];

struct Walk<'a> {
    tokens: &'a [Token],
    at: usize,
    /// One for every open brace: the name of an inline module, or none.
    scopes: Vec<Option<String>>,
    source: &'a mut Source,
}

impl Walk<'_> {
    fn run(mut self) {
        while self.at < self.tokens.len() {
            self.step();
        }
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is(text))
    }

    fn word(&self, at: usize) -> Option<String> {
        self.tokens.get(at).filter(|t| t.kind == Kind::Word).map(|t| t.text.clone())
    }

    fn inside(&self) -> Vec<String> {
        self.scopes.iter().flatten().cloned().collect()
    }

    fn step(&mut self) {
        let at = self.at;
        self.at += 1;
        self.declare(at);
        if self.is(at, "{") {
            self.scopes.push(None);
        } else if self.is(at, "}") {
            self.scopes.pop();
        } else if self.is(at, "mod") && self.word(at + 1).is_some() {
            self.module(at);
        } else if self.is(at, "use") && !self.is(at + 1, "<") {
            self.import(at);
        } else if self.is(at, "fn") && self.word(at + 1).is_some() {
            self.function(at);
        } else if self.starts_path(at) {
            self.path(at);
        }
    }

    /// Notes the name of an item that stands outside of functions and impls.
    fn declare(&mut self, at: usize) {
        let item = ITEMS.iter().any(|word| self.is(at, word));
        let name = if self.is(at, "macro_rules") { self.word(at + 2) } else { self.word(at + 1) };
        let introduces = item || self.is(at, "macro_rules");
        if let Some(name) = name.filter(|_| introduces && self.scopes.iter().all(Option::is_some)) {
            self.source.declared.insert((self.inside(), name));
        }
    }

    fn module(&mut self, at: usize) {
        let (Some(name), test) = (self.word(at + 1), self.source.is_test(at)) else { return };
        if self.is(at + 2, "{") {
            self.scopes.push(Some(name));
            self.at = at + 3;
        } else {
            self.source.modules.push(Module { name, inside: self.inside(), test });
            self.at = at + 2;
        }
    }

    fn function(&mut self, at: usize) {
        let end = item_end(self.tokens, at);
        let (Some(name), Some(last)) = (self.word(at + 1), self.tokens.get(end - 1)) else { return };
        if last.is("}") {
            let line = self.tokens[at].line;
            let test = self.source.is_test(at);
            self.source.functions.push(Function { name, line, lines: last.line - line + 1, test });
        }
    }

    /// A word with `::` behind it and no `::` or `.` before it, or a leading `::`.
    fn starts_path(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|i| self.tokens.get(i));
        if self.is(at, "::") {
            let arrow = at > 1 && self.is(at - 1, ">") && (self.is(at - 2, "-") || self.is(at - 2, "="));
            let qualified = before.is_some_and(|t| t.kind != Kind::Punct || t.is(">") || t.is("::"));
            return self.word(at + 1).is_some() && (arrow || !qualified);
        }
        let continues = before.is_some_and(|t| t.is("::") || t.is("."));
        self.word(at).is_some() && self.is(at + 1, "::") && !continues
    }

    fn path(&mut self, at: usize) {
        let global = self.is(at, "::");
        let mut end = at + usize::from(global);
        let mut segments = Vec::from_iter(self.word(end));
        while self.is(end + 1, "::")
            && let Some(next) = self.word(end + 2)
        {
            segments.push(next);
            end += 2;
        }
        let line = self.tokens[at].line;
        let test = self.source.is_test(at);
        self.source.paths.push(Path { segments, global, inside: self.inside(), line, test });
        self.at = end + 1;
    }

    fn import(&mut self, at: usize) {
        let public = at > 0
            && (self.is(at - 1, "pub")
                || (self.is(at - 1, ")") && (2..6).any(|n| at >= n && self.is(at - n, "pub"))));
        let test = self.source.is_test(at);
        self.tree(Vec::new(), public, test);
        self.at = (self.at..self.tokens.len()).find(|i| self.is(*i, ";")).unwrap_or(self.tokens.len());
    }

    /// One branch of a `use` tree, from the current token on.
    fn tree(&mut self, mut segments: Vec<String>, public: bool, test: bool) {
        let global = segments.is_empty() && self.is(self.at, "::");
        self.at += usize::from(global);
        let line = self.tokens.get(self.at).map_or(0, |t| t.line);
        while let Some(word) = self.word(self.at) {
            self.at += 1;
            segments.push(word);
            if !self.is(self.at, "::") {
                break;
            }
            self.at += 1;
        }
        let glob = self.is(self.at, "*");
        if self.is(self.at, "{") {
            self.group(&segments, public, test);
            return;
        }
        self.at += usize::from(glob);
        if segments.len() > 1 && segments.last().is_some_and(|s| s == "self") {
            segments.pop();
        }
        let mut name = segments.last().cloned().filter(|_| !glob);
        if self.is(self.at, "as") {
            name = self.word(self.at + 1).filter(|n| n != "_");
            self.at += 2;
        }
        let path = Path { segments, global, inside: self.inside(), line, test };
        self.source.uses.push(Use { path, name, glob, public });
    }

    fn group(&mut self, prefix: &[String], public: bool, test: bool) {
        self.at += 1;
        while self.at < self.tokens.len() && !self.is(self.at, "}") {
            let before = self.at;
            self.tree(prefix.to_vec(), public, test);
            self.at += usize::from(self.is(self.at, ",") || self.at == before);
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests;
