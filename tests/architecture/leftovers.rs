//! No file is left over: sources belong to a crate, golden and planted files to a test.
//!
//! A golden file counts as used when a string in some source names its path below tests/, or a folder above
//! it that is read as a whole; below `tests/golden/` at least one folder or the file's own name must be said.
//! A planted bug must name an existing test that catches it.

use std::collections::BTreeSet;

use crate::project::{Project, Violation};
use crate::syntax::Source;

/// Files of tests/planted that are not bugs.
const PLANTED_TOOLS: [&str; 2] = ["tests/planted/run", "tests/planted/README.md"];

/// Every source is reached by a chain of `mod` from lib.rs, main.rs, a test or a target of Cargo.toml.
pub(crate) fn check_sources(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, source) in &project.sources {
        if !project.is_reached(file) {
            violations.push(Violation::new(file, 1, "no `mod` and no target of Cargo.toml leads here"));
        }
        for at in source.find(&["#", "[", "path", "="]) {
            let what = "`#[path]` hides where a module lives";
            violations.push(Violation::new(file, source.tokens[at].line, what));
        }
    }
    violations
}

/// Every file of tests/golden is read by a test; every file of tests/planted names the test that catches it.
pub(crate) fn check_test_files(project: &Project) -> Vec<Violation> {
    let sources: Vec<&Source> = project.sources_but_rules().collect();
    let texts: BTreeSet<&str> =
        sources.iter().flat_map(|s| s.texts().map(|(_, t)| t.text.as_str())).collect();
    let tests: BTreeSet<&str> =
        sources.iter().flat_map(|s| s.functions.iter().map(|f| f.name.as_str())).collect();
    let mut violations = Vec::new();
    for (file, text) in &project.files {
        if file.starts_with("tests/golden/") && !is_named(file, &texts) {
            violations.push(Violation::new(file, 1, "no test names this golden file or its folder"));
        }
        if file.starts_with("tests/planted/") && !PLANTED_TOOLS.contains(&file.as_str()) {
            violations.extend(planted_fault(text, &tests).map(|what| Violation::new(file, 1, what)));
        }
    }
    violations
}

/// Whether a string says the file's name, or its path or a folder of its path as far as `golden/<folder>`.
fn is_named(file: &str, texts: &BTreeSet<&str>) -> bool {
    let below = file.strip_prefix("tests/").unwrap_or(file);
    let mut said: Vec<&str> = vec![below.rsplit('/').next().unwrap_or(below), below];
    while let Some((folder, _)) = said[said.len() - 1].rsplit_once('/')
        && folder.contains('/')
    {
        said.push(folder);
    }
    said.iter().any(|part| texts.iter().any(|text| text.trim_end_matches('/').ends_with(part)))
}

/// What is wrong with the head of a planted bug.
fn planted_fault(text: &str, tests: &BTreeSet<&str>) -> Option<String> {
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if header("# what:").is_none_or(str::is_empty) {
        return Some("a planted bug says `# what: <one sentence>`".into());
    }
    let Some(expected) = header("# expect:") else {
        return Some("a planted bug says `# expect: <test target> <test name>`".into());
    };
    let name = expected.rsplit([' ', ':']).next().unwrap_or("");
    (!tests.contains(name)).then(|| format!("there is no test `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Project) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<String> {
        rule(&Project::planted(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unreached_source_is_found() {
        let files =
            [("src/lib.rs", "mod a; // mod b;"), ("src/a.rs", ""), ("src/b.rs", ""), ("src/main.rs", "")];
        assert_eq!(
            found(check_sources, &files),
            ["src/b.rs:1: no `mod` and no target of Cargo.toml leads here"]
        );
        let files = [
            ("Cargo.toml", "[[bench]]\nname = \"d\"\npath = \"tests/bench/d.rs\""),
            ("tests/a.rs", "mod common;"),
            ("tests/b/main.rs", "mod c;"),
            ("tests/b/c.rs", "mod inner;"),
            ("tests/b/c/inner.rs", ""),
            ("tests/bench/d.rs", ""),
            ("tests/bench/e.rs", ""),
            ("tests/common/mod.rs", ""),
            ("tests/other/mod.rs", ""),
            ("tests/own/Cargo.toml", "[lib]\npath = \"lib.rs\""),
            ("tests/own/lib.rs", "mod inner;"),
            ("tests/own/inner.rs", ""),
            ("tests/own/outer.rs", ""),
        ];
        let lost: Vec<_> = check_sources(&Project::planted(&files)).into_iter().map(|v| v.file).collect();
        assert_eq!(lost, ["tests/bench/e.rs", "tests/other/mod.rs", "tests/own/outer.rs"]);
        let files = [("src/lib.rs", "#[path = \"b.rs\"]\nmod a;")];
        assert_eq!(found(check_sources, &files).len(), 1);
    }

    #[test]
    fn an_unread_golden_file_is_found() {
        let golden = ("tests/golden/wal/segment.bin", "");
        let unread = ["tests/golden/wal/segment.bin:1: no test names this golden file or its folder"];
        assert_eq!(found(check_test_files, &[golden, ("tests/a.rs", "// golden/wal/segment.bin")]), unread);
        assert_eq!(found(check_test_files, &[golden, ("tests/a.rs", "f(\"tests/golden/store\")")]), unread);
        assert_eq!(found(check_test_files, &[golden, ("tests/a.rs", "f(\"golden\")")]), unread);
        let quoted = ("tests/architecture/leftovers.rs", "f(\"golden/wal\")");
        assert_eq!(found(check_test_files, &[golden, quoted]), unread);
        for name in ["segment.bin", "tests/golden/wal/", "golden/wal/segment.bin"] {
            let reader = format!("f(\"{name}\")");
            assert!(found(check_test_files, &[golden, ("tests/a.rs", &reader)]).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_planted_bug_names_the_test_that_catches_it() {
        let bug = |head: &str| {
            found(check_test_files, &[("tests/a.rs", "fn caught() {}"), ("tests/planted/x.patch", head)])
        };
        assert!(bug("# expect: --test a caught\n# what: It lies.\n--- a/x").is_empty());
        assert!(bug("# expect: --lib wal::tests::caught\n# what: It lies.\n").is_empty());
        assert_eq!(
            bug("# expect: --test a missed\n# what: It lies.")[0],
            "tests/planted/x.patch:1: there is no test `missed`"
        );
        assert!(bug("# expect: --test a caught")[0].ends_with("`# what: <one sentence>`"));
        assert!(bug("# what: It lies.")[0].ends_with("`# expect: <test target> <test name>`"));
    }
}
