//! A module imports only from the floors below it that its row in the table names.
//!
//! Counted are imports and paths anywhere in the code, through groups and relative paths. `main.rs` is held
//! to the table too, with `kvorum::` for `crate::`. What a layer hands on with `pub use` counts as its own,
//! since that `pub use` is held to the table as well; what `lib.rs` hands on counts for the layer that
//! declares it.

use crate::project::{Project, Violation, layer_of};
use crate::table::{LAYERS, may_import};

pub(crate) fn check(project: &Project) -> Vec<Violation> {
    let mut violations: Vec<Violation> = unknown(project).collect();
    for reference in project.references().into_iter().filter(|r| !r.test) {
        let (from, to) = (layer_of(&reference.from), reference.through.as_str());
        if !(from == to || may_import(from, to)) {
            let what = format!("`{}`: {from} may not import from {to}", reference.path);
            violations.push(Violation::new(&reference.from, reference.line, what));
        }
    }
    violations
}

/// Folders and files that have no row.
fn unknown(project: &Project) -> impl Iterator<Item = Violation> {
    let files = project.crate_sources().map(|(file, _)| file);
    let strange = files.filter(|file| !LAYERS.iter().any(|(name, _)| *name == layer_of(file)));
    strange.map(|file| Violation::new(file, 1, format!("the layer {} is not in the table", layer_of(file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: (&str, &str) =
        ("src/lib.rs", "mod app; mod http; mod resp; mod store; mod wal; mod model; mod raft;");

    fn found(file: &str, text: &str) -> Vec<String> {
        let mut files = vec![
            LIB,
            ("src/app.rs", ""),
            ("src/http/mod.rs", "pub mod api;"),
            ("src/http/api.rs", "pub struct Api;"),
            ("src/resp.rs", ""),
            ("src/store/mod.rs", "mod index; pub use index::Index;"),
            ("src/store/index.rs", "pub struct Index;"),
            ("src/wal.rs", "pub struct Wal;"),
            ("src/model.rs", "pub struct Key;"),
            ("src/raft.rs", ""),
        ];
        files.retain(|(name, _)| *name != file);
        files.push((file, text));
        check(&Project::planted(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_planted_house_is_sound() {
        assert_eq!(found("src/model.rs", "pub struct Key;"), Vec::<String>::new());
        assert_eq!(
            found("src/raft.rs", "use crate::{store::Index, wal::Wal, model::*};"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_import_from_above_is_found() {
        let expected = ["src/wal.rs:2: `crate::raft`: wal may not import from raft"];
        assert_eq!(found("src/wal.rs", "pub struct Wal;\nuse crate::raft;"), expected);
    }

    #[test]
    fn an_import_from_a_forbidden_floor_below_is_found() {
        let expected = ["src/store/index.rs:1: `crate::wal::Wal::new`: store may not import from wal"];
        assert_eq!(found("src/store/index.rs", "fn f() { crate::wal::Wal::new() }"), expected);
        let expected = ["src/wal.rs:1: `crate::model::Key`: wal may not import from model"];
        assert_eq!(
            found("src/wal.rs", "pub struct Wal; use crate::{model::{self, Key}};"),
            ["src/wal.rs:1: `crate::model`: wal may not import from model", expected[0],]
        );
    }

    #[test]
    fn a_front_end_may_not_import_another() {
        let expected = ["src/resp.rs:1: `super::http::api::Api`: resp may not import from http"];
        assert_eq!(found("src/resp.rs", "use super::http::api::Api;"), expected);
    }

    #[test]
    fn a_reexport_does_not_hide_the_layer() {
        let lib = "mod app; mod http; mod resp; mod store; mod wal; mod model; mod raft; pub use wal::Wal;";
        let files =
            [("src/lib.rs", lib), ("src/wal.rs", "pub struct Wal;"), ("src/store/mod.rs", "use crate::Wal;")];
        let violations = check(&Project::planted(&files));
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert_eq!(violations[0].what, "`crate::Wal`: store may not import from wal");
    }

    #[test]
    fn a_layer_may_hand_on_what_it_may_import() {
        let files = [
            ("src/lib.rs", "mod http; mod service; mod raft;"),
            ("src/service.rs", "pub use crate::raft::Status;"),
            ("src/raft.rs", "pub struct Status;"),
            ("src/http.rs", "use crate::service::Status;\nuse crate::raft::Status as Direct;"),
        ];
        let violations = check(&Project::planted(&files));
        let expected = ["src/http.rs:2: `crate::raft::Status`: http may not import from raft"];
        assert_eq!(violations.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_layer_without_a_row_is_found() {
        let found = found("src/utils.rs", "");
        assert_eq!(found, ["src/utils.rs:1: the layer utils is not in the table"]);
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = "//! [`crate::raft`]\n/* crate::raft */ const X: &str = \"crate::raft\";\n\
                    #[cfg(test)]\nmod tests { use crate::raft; }\npub struct Wal;";
        assert_eq!(found("src/wal.rs", text), Vec::<String>::new());
    }
}
