//! Words that mean unfinished work, and the opening of every file.

use crate::project::{Project, Violation};

/// Calls that no code holds, tests included.
const NOWHERE: &[(&[&str], &str)] =
    &[(&["todo", "!"], "finish it"), (&["unimplemented", "!"], "finish it"), (&["dbg", "!"], "take it out")];

/// Calls that only tests hold.
const ONLY_IN_TESTS: &[(&[&str], &str)] = &[
    (&[".", "unwrap", "("], "handle it, or `expect` with why it cannot happen"),
    (&["::", "unwrap", ")"], "handle it, or `expect` with why it cannot happen"),
    (&[".", "unwrap_unchecked", "("], "handle it"),
];

/// Marks that no comment holds.
const MARKS: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];

pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, source) in &project.sources {
        let mut note = |line, word: &str, why: &str| {
            violations.push(Violation::new(file, line, format!("`{word}`: {why}")));
        };
        for (pattern, why) in NOWHERE {
            source.find(pattern).for_each(|at| note(source.tokens[at].line, &pattern.concat(), why));
        }
        for (pattern, why) in ONLY_IN_TESTS.iter().filter(|_| !project.is_test_file(file)) {
            let found = source.find(pattern).filter(|at| !source.is_test(*at));
            found.for_each(|at| note(source.tokens[at].line, &pattern.concat(), why));
        }
        for comment in &source.comments {
            let mut words = comment.text.split(|c: char| !c.is_alphanumeric());
            if let Some(mark) = words.find(|word| MARKS.contains(word)) {
                note(comment.line, mark, "do it now, or open an issue");
            }
        }
    }
    violations
}

/// Every file opens with `//!`.
pub(crate) fn check_openings(project: &Project) -> Vec<Violation> {
    let sources = project.files.iter().filter(|(file, _)| file.ends_with(".rs"));
    let silent = sources.filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(file, _)| Violation::new(file, 1, "open the file with `//!` and what it is for")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let project = Project::planted(&[("src/lib.rs", text)]);
        check(&project).iter().map(|v| format!("{}: {}", v.line, v.what)).collect()
    }

    #[test]
    fn unfinished_code_is_found() {
        // Put together here, so that a search for these words finds none in the tree.
        let (unfinished, missing, print) =
            (["to", "do"].concat(), ["unimple", "mented"].concat(), ["d", "bg"].concat());
        assert_eq!(
            found(&format!("fn f() {{ {unfinished}!() }}")),
            [format!("1: `{unfinished}!`: finish it")]
        );
        assert_eq!(
            found(&format!("\nfn f() {{ {missing}!(\"x\") }}")),
            [format!("2: `{missing}!`: finish it")]
        );
        let in_tests = format!("#[cfg(test)] mod tests {{ fn f() {{ {print}!(1); }} }}");
        assert_eq!(found(&in_tests), [format!("1: `{print}!`: take it out")]);
    }

    #[test]
    fn unwrap_is_for_tests() {
        assert_eq!(found("fn f() { a.unwrap(); b\n.unwrap (); }").len(), 2);
        assert_eq!(found("fn f() { a.map(Option::unwrap) }").len(), 1);
        assert_eq!(
            found("fn f() { a.unwrap_or(b); c.unwrap_or_default() } #[test] fn g() { d.unwrap() }").len(),
            0
        );
        assert_eq!(check(&Project::planted(&[("tests/a.rs", "fn f() { a.unwrap() }")])).len(), 0);
    }

    #[test]
    fn marks_in_comments_are_found() {
        for mark in MARKS {
            assert_eq!(found(&format!("// a\n/* {mark}: b */")).len(), 1, "{mark}");
            assert_eq!(found(&format!("/// {mark}(me)")).len(), 1, "{mark}");
            assert_eq!(found(&format!("// {mark}X\nconst A: &str = \"{mark}\";")).len(), 0, "{mark}");
        }
    }

    #[test]
    fn a_file_without_opening_is_found() {
        let project = Project::planted(&[("src/lib.rs", "//! Yes.\n"), ("tests/a.rs", "// no\n//! Late.")]);
        let found: Vec<_> = check_openings(&project).into_iter().map(|v| v.file).collect();
        assert_eq!(found, ["tests/a.rs"]);
    }
}
