//! Where foreign crates and the dangerous parts of std may be named.
//!
//! A first segment that the file itself binds (an import, a child module) is not taken for a crate; `use`
//! renames are followed. What hides behind a glob import of a foreign crate is not seen; clippy's
//! `disallowed_methods`, which knows types, stands behind this rule.

use crate::project::{Project, Violation, layer_of};
use crate::syntax::{Path, Source};
use crate::table::{CORE, HOMES, NOT_IN_CORE, PLACES, Place, WORDS_NOT_IN_CORE};

/// Each foreign crate is named only in its home.
pub(crate) fn check_homes(project: &Project) -> Vec<Violation> {
    let judge = |file: &str, path: &Path| {
        let name = path.segments.first()?;
        let home = HOMES.iter().find(|home| home.name == name)?;
        let what = format!("the home of `{name}` is {}", listed(home.places));
        (!stands_in(file, home.places)).then_some(what)
    };
    judged(project, judge)
}

/// Files, time and the end of the process are reached through one place each.
pub(crate) fn check_places(project: &Project) -> Vec<Violation> {
    let judge = |file: &str, path: &Path| {
        let named = |place: &&Place| {
            let whole = path.segments.windows(place.path.len()).any(|w| w == place.path);
            let end = path.segments.len() > 1 && place.path.ends_with(&borrowed(&path.segments));
            whole || end
        };
        let place = PLACES.iter().find(named)?;
        let what =
            format!("`{}` belongs to {}: use {}", place.path.join("::"), listed(place.places), place.instead);
        (!stands_in(file, place.places)).then_some(what)
    };
    judged(project, judge)
}

/// store and model depend on nothing but their arguments.
pub(crate) fn check_determinism(project: &Project) -> Vec<Violation> {
    let judge = |file: &str, path: &Path| {
        let banned = NOT_IN_CORE.iter().find(|banned| path.segments.starts_with(&owned(banned)))?;
        let what = format!("`{}` has no place in the deterministic core", banned.join("::"));
        CORE.contains(&layer_of(file)).then_some(what)
    };
    let mut violations = judged(project, judge);
    for (file, source) in project.crate_sources() {
        if !CORE.contains(&layer_of(file)) || project.is_test_file(file) {
            continue;
        }
        for (word, why) in WORDS_NOT_IN_CORE {
            for at in source.find(&[word]).filter(|at| !source.is_test(*at)) {
                violations.push(Violation::new(file, source.tokens[at].line, format!("`{word}`: {why}")));
            }
        }
    }
    violations
}

/// Every dependency of Cargo.toml has a row in the table and is named somewhere in the code.
pub(crate) fn check_dependencies(project: &Project) -> Vec<Violation> {
    let manifest = project.files.get("Cargo.toml").map_or("", String::as_str);
    let mut violations = Vec::new();
    for (line, name) in dependencies(manifest) {
        if !HOMES.iter().any(|home| home.name == name) {
            violations.push(Violation::new("Cargo.toml", line, format!("`{name}` has no home in the table")));
        }
        if !project.crate_sources().any(|(_, source)| foreign_paths(source).any(|p| p.segments[0] == name)) {
            violations.push(Violation::new("Cargo.toml", line, format!("`{name}` is used nowhere")));
        }
    }
    violations
}

/// The names below `[dependencies]` as code writes them, with their lines.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, String)> {
    let mut inside = false;
    let in_section = manifest.lines().enumerate().filter(move |(_, line)| {
        if line.starts_with('[') {
            inside = *line == "[dependencies]";
        }
        inside
    });
    let named =
        in_section.filter_map(|(i, line)| Some((i + 1, line.split_once('=')?.0.trim().replace('-', "_"))));
    named.filter(|(_, name)| !name.starts_with('#'))
}

/// Runs a judge over everything foreign that the crate names outside of tests.
fn judged(project: &Project, judge: impl Fn(&str, &Path) -> Option<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, source) in project.crate_sources().filter(|(file, _)| !project.is_test_file(file)) {
        for path in foreign_paths(source).filter(|path| !path.test) {
            let broken = judge(file, &path).map(|what| Violation::new(file, path.line, what));
            violations.extend(broken);
        }
    }
    violations
}

/// Imports and paths that do not start at a name of this crate, imported first segments replaced.
fn foreign_paths(source: &Source) -> impl Iterator<Item = Path> {
    let imports = source.uses.iter().map(|u| u.path.clone());
    let paths = source.paths.iter().map(|p| source.expand(p));
    imports.chain(paths).filter(|path| {
        let first = path.segments.first().map_or("", String::as_str);
        let own = source.modules.iter().any(|m| m.name == first && m.inside == path.inside)
            || source.declared.contains(&(path.inside.clone(), first.to_string()));
        path.global || !(own || matches!(first, "" | "crate" | "super" | "self"))
    })
}

fn stands_in(file: &str, places: &[&str]) -> bool {
    file.strip_prefix("src/").is_some_and(|below| places.iter().any(|place| below.starts_with(place)))
}

fn listed(places: &[&str]) -> String {
    if places.is_empty() { "nowhere".into() } else { places.join(", ") }
}

fn borrowed(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&Project) -> Vec<Violation>;

    /// What the rule says about a crate of this one file.
    fn found(rule: Rule, file: &str, text: &str) -> Vec<String> {
        let project = Project::planted(&[("src/lib.rs", "mod x;"), (file, text)]);
        rule(&project).into_iter().map(|v| format!("{}: {}", v.line, v.what)).collect()
    }

    #[test]
    fn a_crate_away_from_home_is_found() {
        let home = "1: the home of `openraft` is raft/";
        assert_eq!(found(check_homes, "src/wal/a.rs", "use openraft::Vote;"), [home]);
        assert_eq!(found(check_homes, "src/wal/a.rs", "use openraft;"), [home]);
        assert_eq!(found(check_homes, "src/wal/a.rs", "fn f(x: ::openraft::Vote) {}"), [home]);
        assert_eq!(found(check_homes, "src/wal/a.rs", "#[openraft::add_async_trait] struct S;"), [home]);
        let many = "use {poem::Route, tonic as t};\nfn f() { t::x() }";
        assert_eq!(found(check_homes, "src/raft/a.rs", many).len(), 3);
        assert_eq!(found(check_homes, "src/raft/peer/a.rs", many).len(), 1);
    }

    #[test]
    fn a_crate_at_home_is_not() {
        assert_eq!(found(check_homes, "src/raft/a.rs", "use openraft::Vote;"), Vec::<String>::new());
        let ours = "use crate::config; fn f() { config::load() }";
        assert_eq!(found(check_homes, "src/app.rs", ours), Vec::<String>::new());
        assert_eq!(
            found(check_homes, "src/lib.rs", "mod config; pub use config::Config;"),
            Vec::<String>::new()
        );
        let test = "#[cfg(test)] mod tests { use openraft::Vote; }";
        assert_eq!(found(check_homes, "src/wal/a.rs", test), Vec::<String>::new());
    }

    #[test]
    fn files_are_touched_only_in_disk() {
        for text in
            ["use std::fs;", "use std::{io, fs::File};", "fn f() { std::fs::read(p) }", "use tokio::fs;"]
        {
            assert_eq!(found(check_places, "src/wal/a.rs", text).len(), 1, "{text}");
        }
        assert_eq!(found(check_places, "src/disk/real.rs", "use std::fs; fn f() { fs::read(p) }").len(), 0);
        assert_eq!(found(check_places, "src/wal/a.rs", "use std::{io, path};").len(), 0);
    }

    #[test]
    fn time_is_read_only_in_the_clock() {
        let ways = [
            "fn f() { std::time::SystemTime::now(); }",
            "use std::time::{Instant}; fn f() { Instant::now(); }",
            "use std::time; fn f() { time::Instant::now(); }",
            "use std::time::Instant as I; fn f() { I::now(); }",
            "use std::time::*; fn f() { Instant::now(); }",
            "use std::*; fn f() { time::SystemTime::now(); }",
        ];
        for text in ways {
            assert_eq!(found(check_places, "src/raft/a.rs", text).len(), 1, "{text}");
            assert_eq!(found(check_places, "src/clock.rs", text).len(), 0, "{text}");
        }
        let fine =
            "use std::time::Duration; use tokio::time::Instant; fn f() { Instant::now(); Batch::now(); }";
        assert_eq!(found(check_places, "src/raft/a.rs", fine).len(), 0);
    }

    #[test]
    fn the_process_ends_only_in_main() {
        let text = "use std::process; fn f() { process::exit(1) }";
        assert_eq!(found(check_places, "src/cli/a.rs", text).len(), 1);
        assert_eq!(found(check_places, "src/main.rs", text).len(), 0);
        assert_eq!(found(check_places, "src/cli/a.rs", "use std::process::ExitCode;").len(), 0);
    }

    #[test]
    fn the_core_is_kept_deterministic() {
        let ways = [
            "use std::sync::{Arc, Mutex};",
            "use std::sync; fn f() { sync::RwLock::new(()) }",
            "use std::time::Instant;",
            "fn f() { tracing::info!() }",
            "use parking_lot::Mutex;",
            "async fn f() {}",
            "use std::collections::HashMap;",
            "fn f() -> std::collections::HashSet<u8> { x }",
            "fn f() { getrandom::fill(x) }",
            "use tokio::sync::mpsc;",
        ];
        for text in ways {
            assert_eq!(found(check_determinism, "src/store/a.rs", text).len(), 1, "{text}");
            assert_eq!(found(check_determinism, "src/model/a.rs", text).len(), 1, "{text}");
            assert_eq!(found(check_determinism, "src/raft/a.rs", text).len(), 0, "{text}");
        }
        let fine = "use std::{sync::Arc, time::Duration, collections::BTreeMap}; // HashMap, async\n\
                    #[cfg(test)] mod tests { use std::collections::HashMap; }";
        assert_eq!(found(check_determinism, "src/store/a.rs", fine), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_without_home_or_use_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nclap = \"4\"\nleft-pad = \"1\"\n# a = 1\n[dev-dependencies]\ny = \"1\"";
        let files = [("src/lib.rs", "use clap::Parser;"), ("Cargo.toml", manifest)];
        let found: Vec<_> =
            check_dependencies(&Project::planted(&files)).iter().map(ToString::to_string).collect();
        let expected =
            ["Cargo.toml:5: `left_pad` has no home in the table", "Cargo.toml:5: `left_pad` is used nowhere"];
        assert_eq!(found, expected);
    }
}
