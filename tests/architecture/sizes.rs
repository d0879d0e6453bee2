//! Files and functions that fit into a reader's head.

use crate::project::{Project, Violation};
use crate::syntax::Source;
use crate::table::{MAX_FILE_LINES, MAX_FUNCTION_LINES};

/// Files without their test items, and functions, stay within their limits.
pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, source) in project.crate_sources().filter(|(file, _)| !project.is_test_file(file)) {
        let lines = source.lines_without_tests();
        if lines > MAX_FILE_LINES {
            let what = format!("{lines} lines without tests, at most {MAX_FILE_LINES}");
            violations.push(Violation::new(file, 1, what));
        }
        for function in source.functions.iter().filter(|f| !f.test && f.lines > MAX_FUNCTION_LINES) {
            let what =
                format!("fn {}: {} lines, at most {MAX_FUNCTION_LINES}", function.name, function.lines);
            violations.push(Violation::new(file, function.line, what));
        }
    }
    violations
}

/// A `mod.rs` holds documents, `mod` and `use`, nothing else; and a folder has its `mod.rs` inside.
///
/// `x.rs` stands beside a folder `x/` only where that holds nothing but its `tests.rs`. (Clippy's
/// `self_named_module_files` would forbid that too.)
pub(crate) fn check_module_files(project: &Project) -> Vec<Violation> {
    let module_files = project.crate_sources().filter(|(file, _)| file.ends_with("/mod.rs"));
    let strange = module_files.filter_map(|(file, source)| Some((file, first_item(source)?)));
    let judge =
        |(file, (line, word))| Violation::new(file, line, format!("`{word}` in a mod.rs: give it a file"));
    strange.map(judge).chain(self_named(project)).collect()
}

/// Files that are the module file of a folder beside them.
fn self_named(project: &Project) -> impl Iterator<Item = Violation> {
    let has_children = |file: &str| {
        let folder = format!("{}/", file.trim_end_matches(".rs"));
        let mut children =
            project.crate_sources().filter_map(move |(other, _)| other.strip_prefix(folder.as_str()));
        children.any(|child| child != "tests.rs" && !child.starts_with("tests/"))
    };
    let files = project.crate_sources().map(|(file, _)| file).filter(move |file| has_children(file));
    files.map(|file| Violation::new(file, 1, "the file of a folder is its mod.rs"))
}

/// The first declared item that is not a module, with its line.
fn first_item(source: &Source) -> Option<(usize, String)> {
    const ITEMS: [&str; 10] =
        ["struct", "enum", "trait", "union", "type", "const", "static", "fn", "impl", "macro_rules"];
    let is_item = |at: &usize| ITEMS.iter().any(|item| source.tokens[*at].is(item)) && !source.is_test(*at);
    let at = (0..source.tokens.len()).find(is_item)?;
    Some((source.tokens[at].line, source.tokens[at].text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Project) -> Vec<Violation>, file: &str, text: &str) -> Vec<String> {
        let lib = ("src/lib.rs", "mod a; #[cfg(test)] mod tests;");
        rule(&Project::planted(&[lib, (file, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "// x\n".repeat(MAX_FILE_LINES + 1);
        assert_eq!(found(check, "src/a.rs", &long), ["src/a.rs:1: 501 lines without tests, at most 500"]);
        assert_eq!(found(check, "src/tests.rs", &long), Vec::<String>::new());
        let half = "// x\n".repeat(MAX_FILE_LINES / 2);
        let tests = format!("{half}#[cfg(test)]\nmod tests {{\n{half}{half}}}\n{half}");
        assert_eq!(found(check, "src/a.rs", &tests), Vec::<String>::new());
    }

    #[test]
    fn a_long_function_is_found() {
        let body = "    x();\n".repeat(MAX_FUNCTION_LINES - 1);
        let expected = ["src/a.rs:2: fn f: 71 lines, at most 70"];
        assert_eq!(found(check, "src/a.rs", &format!("//! a\nfn f() {{\n{body}}}\n")), expected);
        let body = "    x();\n".repeat(MAX_FUNCTION_LINES - 2);
        assert_eq!(found(check, "src/a.rs", &format!("fn f() {{\n{body}}}\n")), Vec::<String>::new());
    }

    #[test]
    fn an_item_in_a_module_file_is_found() {
        let expected = ["src/a/mod.rs:3: `struct` in a mod.rs: give it a file"];
        assert_eq!(found(check_module_files, "src/a/mod.rs", "mod b;\n\npub struct A;"), expected);
        let expected = ["src/a.rs:1: the file of a folder is its mod.rs"];
        let project = Project::planted(&[
            ("src/a.rs", "mod b;"),
            ("src/a/b.rs", ""),
            ("src/c.rs", ""),
            ("src/c/tests.rs", ""),
        ]);
        assert_eq!(
            check_module_files(&project).iter().map(ToString::to_string).collect::<Vec<_>>(),
            expected
        );
        let fine = "//! struct\nmod b;\npub use b::B;\n#[cfg(test)]\nmod tests { fn f() {} }";
        assert_eq!(found(check_module_files, "src/a/mod.rs", fine), Vec::<String>::new());
    }
}
