//! The README names what users rely on: every config key with its default, every exit code, and every metric.
//!
//! Config keys are the literals of the shape `section.key` in `src/config/keys.rs`, each followed by two more:
//! default and meaning. Between the lines `<!-- config keys: begin -->` and `<!-- config keys: end -->` the
//! README has exactly one row for each, with these words. The rows of exit codes in the README are those at the
//! head of `src/cli/mod.rs`. Metric names are the literals that start with `kvorum_`; they stand only in files
//! called `metrics.rs`.

use std::collections::BTreeMap;

use crate::lexer::Kind;
use crate::project::{Project, Violation};
use crate::syntax::Source;

const README: &str = "README.md";
const KEYS: &str = "src/config/keys.rs";
const KEY_TABLE: &str = "config keys";
const EXIT_CODES: &str = "src/cli/mod.rs";
const EXIT_CODE_TABLE: &str = "exit codes";

/// The README's table has one row for every config key of the code, and no other.
pub(crate) fn check_keys(project: &Project) -> Vec<Violation> {
    if !project.sources.keys().any(|file| file.starts_with("src/config/")) {
        return Vec::new();
    }
    let Some(source) = project.sources.get(KEYS) else {
        return vec![Violation::new(KEYS, 1, "the table of config keys is missing")];
    };
    let (table, first_line) = readme_table(project, KEY_TABLE);
    let coded: BTreeMap<String, usize> = rows(source).collect();
    let mut violations = Vec::new();
    if coded.is_empty() {
        violations.push(Violation::new(
            KEYS,
            1,
            "holds no key of the shape `section.key` with default and meaning",
        ));
    }
    for (row, line) in coded.iter().filter(|(row, _)| !table.lines().any(|line| line == row.as_str())) {
        violations.push(Violation::new(
            KEYS,
            *line,
            format!("the table of {README} lacks the row\n    {row}"),
        ));
    }
    for (at, row) in table.lines().enumerate().filter(|(_, row)| row.starts_with("| `")) {
        if !coded.contains_key(row) {
            violations.push(Violation::new(
                README,
                first_line + at,
                format!("{KEYS} has no key for\n    {row}"),
            ));
        }
    }
    violations
}

/// The rows that the README must have, with the lines of their keys. A key made by `seed(..)` says that it is one.
fn rows(source: &Source) -> impl Iterator<Item = (String, usize)> {
    let text = |at: usize| source.tokens.get(at).filter(|t| t.kind == Kind::Text).map(|t| t.text.as_str());
    source.texts().filter(|(at, t)| is_key(&t.text) && !source.is_test(*at)).filter_map(move |(at, key)| {
        let (default, meaning) = (text(at + 2)?, text(at + 4)?);
        let seeds = at > 1 && source.tokens[at - 2].is("seed");
        let note = if seeds { "; seeds a new cluster only" } else { "" };
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        Some((format!("| `{}` | {default} | {meaning}{note} |", key.text), key.line))
    })
}

/// Every metric name stands in the README and in a file for metric names.
pub(crate) fn check_metrics(project: &Project) -> Vec<Violation> {
    let readme = project.files.get(README).map_or("", String::as_str);
    let mut violations = Vec::new();
    for (file, source) in project.crate_sources().filter(|(file, _)| !project.is_test_file(file)) {
        for (at, token) in source.texts().filter(|(at, t)| is_metric(&t.text) && !source.is_test(*at)) {
            let (name, line) = (&token.text, source.tokens[at].line);
            if !readme.contains(&format!("`{name}`")) {
                violations.push(Violation::new(file, line, format!("`{name}` is not in {README}")));
            }
            if !file.ends_with("/metrics.rs") {
                violations.push(Violation::new(
                    file,
                    line,
                    format!("`{name}`: metric names live in a metrics.rs"),
                ));
            }
        }
    }
    violations
}

/// The exit codes of the README are those that the command line documents.
pub(crate) fn check_exit_codes(project: &Project) -> Vec<Violation> {
    let Some(source) = project.sources.get(EXIT_CODES) else { return Vec::new() };
    let is_row = |row: &str| row.starts_with("| ") && row[2..].starts_with(|c: char| c.is_ascii_digit());
    let (table, first_line) = readme_table(project, EXIT_CODE_TABLE);
    let coded: BTreeMap<&str, usize> = source
        .comments
        .iter()
        .map(|c| (c.text.trim_start_matches("//! "), c.line))
        .filter(|(row, _)| is_row(row))
        .collect();
    let mut violations = Vec::new();
    if coded.is_empty() {
        violations.push(Violation::new(EXIT_CODES, 1, "no table of exit codes at the head of the file"));
    }
    for (row, line) in coded.iter().filter(|(row, _)| !table.lines().any(|line| line == **row)) {
        violations.push(Violation::new(EXIT_CODES, *line, format!("{README} lacks the row\n    {row}")));
    }
    for (at, row) in table.lines().enumerate().filter(|(_, row)| is_row(row) && !coded.contains_key(row)) {
        violations.push(Violation::new(
            README,
            first_line + at,
            format!("{EXIT_CODES} lacks the row\n    {row}"),
        ));
    }
    violations
}

/// What stands between the two marks of a table, and the line of the first.
fn readme_table<'a>(project: &'a Project, name: &str) -> (&'a str, usize) {
    let readme = project.files.get(README).map_or("", String::as_str);
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let Some((before, rest)) = readme.split_once(&begin) else { return ("", 1) };
    (rest.split_once(&end).map_or("", |(table, _)| table), before.lines().count() + 1)
}

/// `section.key` in lower case.
fn is_key(text: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split_once('.').is_some_and(|(section, key)| word(section) && word(key))
}

fn is_metric(text: &str) -> bool {
    let rest = text.strip_prefix("kvorum_").unwrap_or("");
    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(code: &str, table: &str) -> Vec<String> {
        let readme = format!(
            "# Kvorum\n`not.counted`\n<!-- config keys: begin -->\n{table}\n<!-- config keys: end -->\n`nor.this`"
        );
        let files = [(KEYS, code), ("src/config/mod.rs", ""), (README, readme.as_str())];
        check_keys(&Project::planted(&files)).iter().map(ToString::to_string).collect()
    }

    const CODE: &str = "const KEYS: &[Key] = &[key(\"http.listen\", \"1:80\", \"Address\"),\n\
                        seed(\"store.max_keys\", \"0\", \"Most keys\")]; const X: &str = \"No.key\";\n\
                        #[cfg(test)] mod tests { const Y: &str = (\"a.b\", \"c\", \"d\"); }";
    const LISTEN: &str = "| `http.listen` | `1:80` | Address |";
    const MAX_KEYS: &str = "| `store.max_keys` | `0` | Most keys; seeds a new cluster only |";

    #[test]
    fn keys_of_code_and_readme_are_the_same() {
        let head = "| key | default | meaning |\n|---|---|---|";
        assert_eq!(keys(CODE, &format!("{head}\n{LISTEN}\n{MAX_KEYS}")), Vec::<String>::new());
        let expected =
            [format!("src/config/keys.rs:2: the table of README.md lacks the row\n    {MAX_KEYS}")];
        assert_eq!(keys(CODE, LISTEN), expected);
        let old = "| `store.old` | `0` | Gone |";
        let expected = [format!("README.md:5: src/config/keys.rs has no key for\n    {old}")];
        assert_eq!(keys(CODE, &format!("{LISTEN}\n{old}\n{MAX_KEYS}")), expected);
    }

    #[test]
    fn another_default_or_meaning_is_found() {
        for (from, to) in [("1:80", "1:81"), ("Address", "Port")] {
            let table = format!("{}\n{MAX_KEYS}", LISTEN.replace(from, to));
            assert_eq!(keys(CODE, &table).len(), 2, "{to}");
        }
        assert_eq!(
            keys(CODE, &format!("{LISTEN}\n{}", MAX_KEYS.replace("; seeds a new cluster only", ""))).len(),
            2
        );
    }

    #[test]
    fn a_missing_table_is_found() {
        let expected =
            ["src/config/keys.rs:1: holds no key of the shape `section.key` with default and meaning"];
        assert_eq!(keys("const A: &str = \"a.b\";", ""), expected);
        let project = Project::planted(&[("src/config/load.rs", "")]);
        assert_eq!(check_keys(&project)[0].what, "the table of config keys is missing");
        assert!(check_keys(&Project::planted(&[("src/lib.rs", "")])).is_empty());
    }

    #[test]
    fn exit_codes_of_code_and_readme_are_the_same() {
        let head = "//! Line.\n//!\n//! | status | meaning |\n//! |---|---|\n//! | 0 | done |\n//! | 75 | locked |\n";
        let found = |code: &str, table: &str| {
            let readme = format!("<!-- exit codes: begin -->\n{table}\n<!-- exit codes: end -->");
            let files = [(EXIT_CODES, code), (README, readme.as_str())];
            check_exit_codes(&Project::planted(&files))
                .iter()
                .map(|v| (v.line, v.file.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(head, "| status | meaning |\n|---|---|\n| 0 | done |\n| 75 | locked |"), []);
        assert_eq!(found(head, "| 0 | done |"), [(6, EXIT_CODES.into())]);
        assert_eq!(found(head, "| 0 | done |\n| 75 | locked |\n| 9 | x |"), [(4, README.into())]);
        assert_eq!(found("//! None.", ""), [(1, EXIT_CODES.into())]);
    }

    #[test]
    fn a_metric_outside_readme_or_its_file_is_found() {
        let readme = (README, "`kvorum_keys`");
        let found = |file, text| check_metrics(&Project::planted(&[readme, (file, text)])).len();
        assert_eq!(found("src/store/metrics.rs", "const A: &str = \"kvorum_keys\";"), 0);
        assert_eq!(found("src/store/metrics.rs", "const A: &str = \"kvorum_values\";"), 1);
        assert_eq!(found("src/store/a.rs", "const A: &str = \"kvorum_keys\"; // \"kvorum_x\""), 1);
        assert_eq!(found("src/store/a.rs", "const A: &str = \"kvorum_Keys kvorum_\";"), 0);
    }
}
