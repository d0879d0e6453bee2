//! The checkout as the rules see it: the text of its files, parsed sources, and where every module lives.
//!
//! Resolving a path follows modules, declared names, `pub use` and private imports, by name or by glob. Where
//! a name cannot be found (a macro made it, an enum brought it), the path counts as naming the file of the
//! innermost module that was found. Module files named by `#[path]` are not understood; the rule on dead
//! files refuses the attribute.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path as FilePath;

use crate::syntax::{Path, Source, Use};

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A path of one file that leads to another.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) from: String,
    pub(crate) line: usize,
    /// The file that declares what is named.
    pub(crate) to: String,
    /// The layer that the path goes through first, which may hand on what another declares.
    pub(crate) through: String,
    /// What was written.
    pub(crate) path: String,
    pub(crate) test: bool,
    /// A `pub use`, which hands on and does not use.
    pub(crate) reexport: bool,
}

/// A module as the list of its names from the crate's root. Those of `main.rs`, a crate of its own, start with
/// [`MAIN`], those of a test with the name of its file in parentheses.
type ModulePath = Vec<String>;

const MAIN: &str = "(main)";

/// Where the rest of a path may lead through imports before it is given up as a loop.
const MAX_HOPS: usize = 16;

/// Files by their path from the root of the checkout.
pub(crate) struct Project {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) sources: BTreeMap<String, Source>,
    modules: BTreeMap<ModulePath, String>,
    homes: BTreeMap<String, (ModulePath, bool)>,
}

impl Project {
    /// Reads the files that rules look at.
    pub(crate) fn load(root: &FilePath) -> Self {
        let mut files = BTreeMap::new();
        for name in ["src", "tests", "README.md", "Cargo.toml"] {
            read(root, name, &mut files);
        }
        assert!(files.contains_key("src/lib.rs"), "src/lib.rs is not below {}", root.display());
        Self::new(files)
    }

    /// A checkout of the given files, for the tests of the rules.
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect())
    }

    fn new(files: BTreeMap<String, String>) -> Self {
        let parse = |(name, text): (&String, &String)| (name.clone(), Source::parse(text));
        let sources = files.iter().filter(|(name, _)| name.ends_with(".rs")).map(parse).collect();
        let mut project = Self { files, sources, modules: BTreeMap::new(), homes: BTreeMap::new() };
        project.reach("src/lib.rs", Vec::new(), false);
        project.reach("src/main.rs", vec![MAIN.into()], false);
        for file in project.test_roots() {
            project.reach(&file, vec![format!("({file})")], true);
        }
        project
    }

    /// The files below tests/ that cargo compiles as crates: by its own rules, or named in a Cargo.toml, be it that of a
    /// package of its own.
    fn test_roots(&self) -> Vec<String> {
        let manifests =
            self.files.iter().filter_map(|(name, text)| Some((name.strip_suffix("Cargo.toml")?, text)));
        let manifests: Vec<(&str, &String)> = manifests.collect();
        let is_named = |file: &str| {
            manifests.iter().any(|(folder, text)| {
                let below = file.strip_prefix(folder);
                below.is_some_and(|below| text.contains(&format!("path = \"{below}\"")))
            })
        };
        let is_root =
            |file: &&String| match file.strip_prefix("tests/").map(|below| below.split('/').collect()) {
                None => false,
                Some::<Vec<_>>(parts) => {
                    parts.len() == 1 || (parts.len() == 2 && parts[1] == "main.rs") || is_named(file)
                }
            };
        self.sources.keys().filter(is_root).cloned().collect()
    }

    /// Follows the `mod` declarations of a file.
    fn reach(&mut self, file: &str, module: ModulePath, test: bool) {
        let Some(source) = self.sources.get(file) else { return };
        let declared = source.modules.clone();
        self.modules.insert(module.clone(), file.into());
        self.homes.insert(file.into(), (module.clone(), test));
        let is_root = module.iter().all(|name| name.starts_with('('));
        let folder = children_of(file, is_root);
        for child in declared {
            let mut path = module.clone();
            path.extend(child.inside.iter().cloned());
            path.push(child.name.clone());
            let place: String = child.inside.iter().map(|name| format!("{name}/")).collect();
            let flat = format!("{folder}{place}{}.rs", child.name);
            let nested = format!("{folder}{place}{}/mod.rs", child.name);
            let found = if self.sources.contains_key(&flat) { flat } else { nested };
            self.reach(&found, path, test || child.test);
        }
    }

    /// The sources of the crate, without the integration tests.
    pub(crate) fn crate_sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources.iter().filter(|(name, _)| name.starts_with("src/")).map(|(n, s)| (n.as_str(), s))
    }

    /// Whether a chain of `mod` leads from lib.rs, main.rs or a test to the file.
    pub(crate) fn is_reached(&self, file: &str) -> bool {
        self.homes.contains_key(file)
    }

    /// Whether the whole file is test code: under tests/, or behind a `#[cfg(test)] mod`.
    pub(crate) fn is_test_file(&self, file: &str) -> bool {
        file.starts_with("tests/") || self.homes.get(file).is_some_and(|(_, test)| *test)
    }

    /// Everything the crate's own files name of each other.
    pub(crate) fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        for (file, source) in self.crate_sources() {
            let Some((module, test)) = self.homes.get(file) else { continue };
            let imports = source.uses.iter().map(|u| (&u.path, u.public));
            for (path, public) in imports.chain(source.paths.iter().map(|p| (p, false))) {
                if let Some((through, to)) = self.resolve(module, path) {
                    let (from, line, test) = (file.into(), path.line, *test || path.test);
                    let path = path.segments.join("::");
                    found.push(Reference { from, line, to, through, path, test, reexport: public });
                }
            }
        }
        found
    }

    /// The layer that a path written in a module goes through first, and the file it leads to; none if it is foreign.
    fn resolve(&self, module: &ModulePath, path: &Path) -> Option<(String, String)> {
        let mut here = module.clone();
        here.extend(path.inside.iter().cloned());
        let absolute = self.absolute(&here, path)?;
        let to = self.follow(&absolute, 0)?;
        let layer = absolute.get(..1).and_then(|first| self.modules.get(first));
        Some((layer_of(layer.unwrap_or(&to)).into(), to))
    }

    /// The path from the crate's root; none if it leads to another crate.
    fn absolute(&self, here: &ModulePath, path: &Path) -> Option<ModulePath> {
        let (first, rest) = path.segments.split_first()?;
        let in_main = here.first().is_some_and(|name| name == MAIN);
        let mut base = match first.as_str() {
            "kvorum" if in_main => Vec::new(),
            _ if path.global => return None,
            "crate" if in_main => vec![MAIN.into()],
            "crate" => Vec::new(),
            "self" => here.clone(),
            "super" => here.split_last()?.1.to_vec(),
            name => {
                let mut child = here.clone();
                child.push(name.into());
                self.modules.contains_key(&child).then_some(child)?
            }
        };
        for segment in rest {
            if segment == "super" {
                base.pop();
            } else {
                base.push(segment.clone());
            }
        }
        Some(base)
    }

    /// The file behind an absolute path.
    fn follow(&self, absolute: &ModulePath, hops: usize) -> Option<String> {
        let depth = (0..=absolute.len()).rev().find(|n| self.modules.contains_key(&absolute[..*n]))?;
        let file = &self.modules[&absolute[..depth]];
        let Some(name) = absolute.get(depth) else { return Some(file.clone()) };
        let source = &self.sources[file];
        let declared = source.declared.iter().any(|(inside, item)| inside.is_empty() && item == name);
        if declared || hops == MAX_HOPS {
            return Some(file.clone());
        }
        let onward = |import: &Use| {
            let mut next = self.absolute(&absolute[..depth].to_vec(), &import.path)?;
            next.extend(absolute[depth + usize::from(!import.glob)..].iter().cloned());
            let found = self.follow(&next, hops + 1)?;
            (!import.glob || self.declares(&found, name)).then_some(found)
        };
        let top = |u: &&Use| u.path.inside.is_empty();
        let named = source.uses.iter().filter(top).filter(|u| u.name.as_ref() == Some(name));
        let globs = source.uses.iter().filter(top).filter(|u| u.glob);
        named.chain(globs).find_map(onward).or_else(|| Some(file.clone()))
    }

    fn declares(&self, file: &str, name: &str) -> bool {
        let named = |source: &Source| source.declared.iter().any(|(_, item)| item == name);
        self.sources.get(file).is_some_and(named)
    }

    /// All sources but those of these rules, whose own tests quote what they look for.
    pub(crate) fn sources_but_rules(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|(file, _)| !file.starts_with("tests/architecture/")).map(|(_, s)| s)
    }
}

/// The folder in which the child modules of a file live, with its closing slash.
fn children_of(file: &str, is_root: bool) -> String {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    if is_root || name == "mod.rs" {
        format!("{folder}/")
    } else {
        format!("{}/", file.trim_end_matches(".rs"))
    }
}

/// The folder or file directly below src/ that a file belongs to: `store`, `clock`, `main`.
pub(crate) fn layer_of(file: &str) -> &str {
    let below = file.strip_prefix("src/").unwrap_or(file);
    below.split_once('/').map_or(below.trim_end_matches(".rs"), |(folder, _)| folder)
}

fn read(root: &FilePath, name: &str, files: &mut BTreeMap<String, String>) {
    let path = root.join(name);
    if path.is_dir() {
        let entries = fs::read_dir(&path).expect("a folder of the checkout can be listed");
        for entry in entries {
            let entry = entry.expect("a folder of the checkout can be listed");
            let child = entry.file_name().into_string().expect("file names are UTF-8");
            read(root, &format!("{name}/{child}"), files);
        }
    } else if path.is_file() {
        let bytes = fs::read(&path).expect("a file of the checkout can be read");
        files.insert(name.into(), String::from_utf8_lossy(&bytes).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let references = Project::planted(files).references();
        references.iter().map(|r| format!("{} -> {}", r.from, r.to)).collect()
    }

    const LIB: (&str, &str) = ("src/lib.rs", "mod a; mod b; mod c;");

    #[test]
    fn a_path_leads_through_reexports_to_the_file_that_declares() {
        let files = [
            LIB,
            ("src/a.rs", "use crate::b::Thing; use crate::b::{deep::Other, Hidden};"),
            ("src/b/mod.rs", "mod thing; pub(crate) mod deep; pub use thing::Thing; pub use deep::*;"),
            ("src/b/thing.rs", "pub struct Thing;"),
            ("src/b/deep.rs", "pub struct Other; pub struct Hidden;"),
        ];
        let found = edges(&files);
        let from_a: Vec<_> = found.iter().filter(|e| e.starts_with("src/a.rs")).collect();
        assert_eq!(
            from_a,
            ["src/a.rs -> src/b/thing.rs", "src/a.rs -> src/b/deep.rs", "src/a.rs -> src/b/deep.rs"]
        );
    }

    #[test]
    fn relative_paths_are_understood() {
        let files = [
            LIB,
            ("src/a.rs", "mod x; fn f() { x::g() } mod inner { use super::super::c; use super::x; }"),
            ("src/a/x.rs", "use super::super::b::B; use self::y::Z; mod y;"),
            ("src/a/x/y.rs", "pub struct Z;"),
            ("src/b.rs", "pub struct B;"),
            ("src/c.rs", "fn f() { std::mem::drop(foreign::x()) }"),
        ];
        let expected = [
            "src/a.rs -> src/c.rs",
            "src/a.rs -> src/a/x.rs",
            "src/a.rs -> src/a/x.rs",
            "src/a/x.rs -> src/b.rs",
            "src/a/x.rs -> src/a/x/y.rs",
        ];
        assert_eq!(edges(&files), expected);
    }

    #[test]
    fn main_is_a_crate_of_its_own() {
        let files =
            [LIB, ("src/a.rs", ""), ("src/main.rs", "use kvorum::a; mod a; use crate::a::B; use ::poem::a;")];
        assert_eq!(edges(&files), ["src/main.rs -> src/a.rs", "src/main.rs -> src/a.rs"]);
    }

    #[test]
    fn an_import_loop_ends() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "pub use crate::b::X;"),
            ("src/b.rs", "pub use crate::a::X;"),
            ("src/c.rs", "use crate::a::X;"),
        ];
        assert_eq!(edges(&files).len(), 3);
    }

    #[test]
    fn test_files_are_found_through_their_declaration() {
        let files = [
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "#[cfg(test)]\nmod tests;"),
            ("src/a/tests.rs", "mod deeper; use super::super::a;"),
            ("src/a/tests/deeper.rs", ""),
        ];
        let project = Project::planted(&files);
        assert!(project.is_test_file("src/a/tests.rs") && project.is_test_file("src/a/tests/deeper.rs"));
        assert!(!project.is_test_file("src/a.rs"));
        assert!(project.references().iter().all(|r| r.test));
        assert_eq!(layer_of("src/a/tests/deeper.rs"), "a");
        assert_eq!((layer_of("src/clock.rs"), layer_of("src/main.rs")), ("clock", "main"));
    }
}
