//! No two files import each other, directly or by way of others.
//!
//! The graph is drawn between files. A name that a `mod.rs` merely hands on counts as an import of the file
//! that declares it, and the `pub use` itself as none; so a folder whose `mod.rs` holds only modules and
//! re-exports never closes a circle. A name that cannot be resolved counts for the innermost module found,
//! see [`crate::project`].

use std::collections::{BTreeMap, BTreeSet};

use crate::project::{Project, Reference, Violation};

/// For each file the files it imports from, with the line and the path of the first import.
type Graph = BTreeMap<String, BTreeMap<String, (usize, String)>>;

pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let mut graph = Graph::new();
    let hands_on = |r: &Reference| r.reexport && (r.from.ends_with("/mod.rs") || r.from.ends_with("/lib.rs"));
    for r in project.references().into_iter().filter(|r| !r.test && !hands_on(r) && r.from != r.to) {
        graph.entry(r.from).or_default().entry(r.to).or_insert((r.line, r.path));
    }
    let mut violations = Vec::new();
    for (from, imports) in &graph {
        for (to, (line, path)) in imports {
            if let Some(way) = way(&graph, to, from) {
                let what = format!("`{path}` closes a circle: {from} -> {}", way.join(" -> "));
                violations.push(Violation::new(from, *line, what));
            }
        }
    }
    violations
}

/// The shortest way along imports, both ends included.
fn way(graph: &Graph, start: &str, end: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_string()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            if last == end {
                return Some(way);
            }
            let imports = graph.get(last).into_iter().flat_map(BTreeMap::keys);
            for next in imports.filter(|next| seen.insert((*next).clone())) {
                longer.push([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Project::planted(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_files_that_import_each_other_are_found() {
        let files = [
            ("src/lib.rs", "mod wal;"),
            ("src/wal/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("src/wal/a.rs", "use super::B; pub struct A;"),
            ("src/wal/b.rs", "\nuse crate::wal::a::A; pub struct B;"),
        ];
        let expected = [
            "src/wal/a.rs:1: `super::B` closes a circle: src/wal/a.rs -> src/wal/b.rs -> src/wal/a.rs",
            "src/wal/b.rs:2: `crate::wal::a::A` closes a circle: src/wal/b.rs -> src/wal/a.rs -> src/wal/b.rs",
        ];
        assert_eq!(found(&files), expected);
    }

    #[test]
    fn a_long_circle_is_found() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "fn f() { crate::b::g() }"),
            ("src/b.rs", "fn g() { crate::c::h() }"),
            ("src/c.rs", "use crate::{a::f}; fn h() {}"),
        ];
        let circles = found(&files);
        assert_eq!(circles.len(), 3);
        assert!(circles[0].ends_with("src/a.rs -> src/b.rs -> src/c.rs -> src/a.rs"), "{}", circles[0]);
    }

    #[test]
    fn a_module_file_with_a_type_of_its_own_can_close_a_circle() {
        let files = [
            ("src/lib.rs", "mod wal;"),
            ("src/wal/mod.rs", "mod a; use a::A; pub struct B(A);"),
            ("src/wal/a.rs", "use super::B; pub struct A;"),
        ];
        assert_eq!(found(&files).len(), 2);
    }

    #[test]
    fn only_a_module_file_merely_hands_on() {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub use crate::b::B; pub struct A;"),
            ("src/b.rs", "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(found(&files).len(), 2);
    }

    #[test]
    fn reexports_and_tests_close_none() {
        let files = [
            ("src/lib.rs", "mod wal;"),
            ("src/wal/mod.rs", "mod a; mod b; mod c; pub use a::A; pub const LIMIT: u8 = 1;"),
            ("src/wal/a.rs", "use super::{b::B, LIMIT}; pub struct A;"),
            ("src/wal/b.rs", "pub struct B; #[cfg(test)] mod tests { use super::super::A; }"),
            ("src/wal/c.rs", "use super::{A, b::B};"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }
}
