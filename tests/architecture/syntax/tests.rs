//! What the parser must see in a file.

use super::*;

fn joined(paths: impl IntoIterator<Item = Path>) -> Vec<String> {
    paths.into_iter().map(|p| p.segments.join("::")).collect()
}

fn imports(text: &str) -> Vec<String> {
    joined(Source::parse(text).uses.into_iter().map(|u| u.path))
}

fn paths(text: &str) -> Vec<String> {
    joined(Source::parse(text).paths)
}

#[test]
fn groups_are_taken_apart() {
    let text = "use crate::{a, b::{self, C as D, d::*}, e::F};";
    assert_eq!(imports(text), ["crate::a", "crate::b", "crate::b::C", "crate::b::d", "crate::e::F"]);
    assert_eq!(imports("use {std::fs, ::poem::Route,}; use x as _;"), ["std::fs", "poem::Route", "x"]);
}

#[test]
fn an_import_knows_its_name_and_its_visibility() {
    let source = Source::parse("pub(crate) use a::B as C; use d::*; pub use e::{self}; use f as _;");
    let names: Vec<_> = source.uses.iter().map(|u| (u.name.as_deref(), u.glob, u.public)).collect();
    let expected =
        [(Some("C"), false, true), (None, true, false), (Some("e"), false, true), (None, false, false)];
    assert_eq!(names, expected);
}

#[test]
fn paths_are_found_anywhere() {
    let text =
        "fn f(x: crate::a::B) -> ::poem::C { super::d::e(); <crate::g::H as I>::j(); x.k::<crate::l::M>() }";
    assert_eq!(paths(text), ["crate::a::B", "poem::C", "super::d::e", "crate::g::H", "crate::l::M"]);
    assert_eq!(paths("#[derive(clap::Parser)] struct S; m!(crate::n::o);"), ["clap::Parser", "crate::n::o"]);
    assert_eq!(paths("// crate::a\n /* crate::b */ \"crate::c\"; a.b::<u8>()"), Vec::<String>::new());
    assert_eq!(paths("$crate::p::q()"), ["crate::p::q"]);
    assert_eq!(paths("impl Iterator<Item = u8> + use<'_, T>"), Vec::<String>::new());
}

#[test]
fn inline_modules_are_remembered() {
    let source =
        Source::parse("mod a; mod b { mod c; use super::d; struct E { f: u8 } } fn g() { fn h() {} }");
    let modules: Vec<_> = source.modules.iter().map(|m| (m.inside.join("::"), m.name.as_str())).collect();
    assert_eq!(modules, [(String::new(), "a"), ("b".into(), "c")]);
    assert_eq!(source.uses[0].path.inside, ["b"]);
    let declared: Vec<_> = source.declared.iter().map(|(i, n)| format!("{}/{n}", i.join("::"))).collect();
    assert_eq!(declared, ["/a", "/b", "/g", "b/E", "b/c"]);
}

#[test]
fn functions_are_measured_to_their_closing_brace() {
    let text = "fn a() {}\nfn b(x: [u8; 2])\nwhere\n    u8: Copy,\n{\n    { }\n}\ntrait T { fn c(); }\nlet d: fn(u8) = e;";
    let measured: Vec<_> =
        Source::parse(text).functions.into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(measured, [("a".into(), 1, 1), ("b".into(), 2, 6)]);
}

#[test]
fn test_items_are_told_apart() {
    let text = "fn a() { b::c() }\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn d() { e::f() }\n}\nfn g() { h::i() }\n\
                #[test] fn j() { k::l() }\n#[tokio::test(x = 1)]\nasync fn m() { n::o() }\n#[cfg(test)] use p::q; fn r() { s::t() }";
    let source = Source::parse(text);
    let tests: Vec<_> = source.paths.iter().filter(|p| !p.test).map(|p| p.segments.join("::")).collect();
    assert_eq!(tests, ["b::c", "h::i", "s::t"]);
    assert!(source.uses[0].path.test);
    assert_eq!(source.functions.iter().filter(|f| !f.test).count(), 3);
    assert_eq!(source.lines_without_tests(), 11 - 5 - 1 - 2 - 1);
    assert!(Source::parse("//! x\n#![cfg(test)]\nfn a() {}").functions[0].test);
}

#[test]
fn an_imported_name_stands_for_its_path() {
    let source = Source::parse(
        "use std::{fs, sync as s}; use config::Config; fn f() { fs::read(x); s::Mutex::new(); u::v() }",
    );
    let expanded: Vec<_> = source.paths.iter().map(|p| source.expand(p).segments.join("::")).collect();
    assert_eq!(expanded, ["std::fs::read", "std::sync::Mutex::new", "u::v"]);
}
