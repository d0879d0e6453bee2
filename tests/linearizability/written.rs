//! Histories by hand: each a small story that must be accepted or refused.
//!
//! ```text
//! [key:] invoked returned operation -> outcome [v<version>]
//! ```

use super::history::{Answer, Condition, History, Operation, Outcome, Record};
use super::report;

fn parse(text: &str) -> History {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    History { records: lines.enumerate().map(|(client, line)| record(client, line)).collect() }
}

fn record(client: usize, line: &str) -> Record {
    let (asked, told) = line.split_once(" -> ").expect("an arrow");
    let mut words = asked.split_whitespace().peekable();
    let key = words.next_if(|word| word.ends_with(':')).unwrap_or("k:").trim_end_matches(':').to_owned();
    let mut time = || words.next().expect("a time").parse().expect("a number");
    let (invoked, returned) = (time(), time());
    let operation = operation(&words.collect::<Vec<_>>());
    let outcome = outcome(&operation, &told.split_whitespace().collect::<Vec<_>>());
    Record { client, node: 0, key, operation, outcome, invoked, returned }
}

fn operation(words: &[&str]) -> Operation {
    let condition = |words: &[&str]| match words {
        [] => Condition::Always,
        ["if", "absent"] => Condition::Absent,
        ["if", "present"] => Condition::Present,
        ["if", version] => Condition::Version(number(version)),
        other => panic!("no condition: {other:?}"),
    };
    match words {
        ["get"] => Operation::Get,
        ["set", value, rest @ ..] => Operation::Set((*value).to_owned(), condition(rest)),
        ["delete", rest @ ..] => Operation::Delete(condition(rest)),
        ["incr", by] => Operation::Incr(by.parse().expect("a number")),
        other => panic!("no operation: {other:?}"),
    }
}

fn outcome(operation: &Operation, words: &[&str]) -> Outcome {
    let (words, version) = match words {
        [words @ .., last] if last.starts_with('v') => (words, Some(number(last))),
        _ => (words, None),
    };
    Outcome::Done(match (operation, words) {
        (_, ["unknown"]) => return Outcome::Unknown,
        (_, ["not-applied"]) => return Outcome::NotApplied,
        (_, ["absent"]) => Answer::Absent,
        (_, ["created"]) => Answer::Written { version, created: true },
        (_, ["replaced"]) => Answer::Written { version, created: false },
        (_, ["deleted"]) => Answer::Deleted,
        (_, ["unmet"]) => Answer::Unmet { version },
        (_, ["not-an-integer"]) => Answer::NotAnInteger,
        (Operation::Incr(_), [sum]) => Answer::Sum { value: sum.parse().expect("a number"), version },
        (Operation::Get, [value]) => Answer::Found { value: (*value).to_owned(), version },
        (_, other) => panic!("no outcome: {other:?}"),
    })
}

fn number(word: &str) -> u64 {
    word.trim_start_matches('v').parse().expect("a number")
}

#[track_caller]
fn good(text: &str) {
    if let Err(report) = report::check(&parse(text)) {
        panic!("it is linearizable:\n{report}");
    }
}

#[track_caller]
fn bad(text: &str) -> String {
    report::check(&parse(text)).expect_err("it is not linearizable")
}

/// Goal: an empty history, and one operation after the other.
#[test]
fn what_happens_in_turn_is_judged_in_turn() {
    good("");
    good("1 2 get -> absent");
    good(
        "1 2 set a -> created v3
         3 4 get -> a v3
         5 6 set b if 3 -> replaced v7
         7 8 set c if 3 -> unmet v7
         9 10 set c if absent -> unmet v7
         11 12 delete if 7 -> deleted
         13 14 delete -> absent
         15 16 delete if 7 -> unmet v0
         17 18 set c if present -> unmet v0
         19 20 set d if absent -> created v9
         21 22 incr 1 -> not-an-integer
         23 24 set 5 if present -> replaced v10
         25 26 incr -7 -> -2 v12
         27 28 get -> -2 v12",
    );
    bad("1 2 get -> a");
    bad("1 2 set a -> replaced");
    bad("1 2 set a -> created \n 3 4 set b -> created");
    bad("1 2 set a -> created v2 \n 3 4 get -> a v3");
    bad("1 2 set a -> created v2 \n 3 4 set b -> replaced v2");
    bad("1 2 set a -> created v2 \n 3 4 set b if 2 -> unmet v2");
    bad("1 2 set a -> created v2 \n 3 4 set b if 1 -> replaced v4");
    bad("1 2 set a if absent -> unmet v0");
    bad("1 2 incr 1 -> 2");
    bad("1 2 set 01 -> created \n 3 4 incr 1 -> 2");
    bad("1 2 set 1 -> created \n 3 4 incr 1 -> not-an-integer");
    bad("1 2 delete -> deleted");
}

/// Goal: concurrent operations may take effect in either order, but in one order for all.
#[test]
fn concurrent_operations_take_one_order_for_all() {
    good("1 9 set a -> created \n 2 8 set b -> replaced \n 10 11 get -> b");
    good("1 9 set a -> created \n 2 3 get -> absent \n 4 5 get -> a");
    bad("1 9 set a -> created \n 2 3 get -> a \n 4 5 get -> absent");
    let both = "1 2 set x -> created \n 3 9 set a -> replaced \n 3 9 set b -> replaced";
    good(&format!("{both} \n 10 11 get -> a \n 10 11 get -> a"));
    bad(&format!("{both} \n 10 11 get -> a \n 10 11 get -> b"));
    bad(&format!("{both} \n 10 11 get -> x"));
    good(&format!("{both} \n 3 4 get -> a \n 5 6 get -> b"));
    bad(&format!("{both} \n 3 4 get -> a \n 5 6 get -> b \n 7 8 get -> a"));
    // Versions give the order away.
    let both = "1 9 set a -> replaced v5 \n 1 9 set b -> created v4";
    good(&format!("{both} \n 10 11 get -> a v5"));
    bad(&format!("{both} \n 10 11 get -> b v4"));
}

/// Goal: a read that is behind an acknowledged write is refused, though its value was true once.
#[test]
fn a_stale_read_is_refused() {
    bad("1 2 set a -> created \n 3 4 set b -> replaced \n 5 6 get -> a");
    bad("1 2 set a -> created v1 \n 3 4 set b -> replaced v2 \n 5 6 get -> a v1");
    bad("1 2 set a -> created \n 3 4 get -> absent");
    bad("1 2 set a -> created v1 \n 3 4 set b -> replaced v2 \n 5 6 set c if 9 -> unmet v1");
    // Two readers, of whom the second is behind the first, while the write is not answered yet.
    bad("1 2 set a -> created \n 3 9 set b -> replaced \n 4 5 get -> b \n 6 7 get -> a");
    good("1 2 set a -> created \n 3 9 set b -> replaced \n 4 6 get -> b \n 5 7 get -> a");
}

/// Goal: an acknowledged write that had no effect is refused.
#[test]
fn a_lost_write_is_refused() {
    bad("1 2 set a -> created \n 3 4 set b -> replaced \n 5 6 get -> a");
    bad("1 2 incr 1 -> 1 \n 3 4 incr 1 -> 1");
    bad("1 9 incr 1 -> 1 \n 1 9 incr 1 -> 2 \n 1 9 incr 1 -> 2");
    bad("1 2 set a -> created \n 3 4 delete -> deleted \n 5 6 set b -> replaced");
    // Two compare-and-sets on one version cannot both succeed.
    bad("1 2 set a -> created v1 \n 3 9 set b if 1 -> replaced v2 \n 3 9 set c if 1 -> replaced v3");
    bad("1 9 set b if absent -> created \n 1 9 set c if absent -> created");
}

/// Goal: a write that had its effect twice is refused.
#[test]
fn a_double_apply_is_refused() {
    bad("1 2 incr 1 -> 1 \n 3 4 get -> 2");
    bad("1 2 incr 1 -> 2");
    bad("1 2 incr 1 -> unknown \n 3 4 get -> 2");
    good("1 2 incr 1 -> unknown \n 1 2 incr 1 -> unknown \n 3 4 get -> 2");
    bad("1 2 set a -> created \n 3 4 set b -> replaced \n 5 6 get -> b \n 7 8 get -> a");
    bad("1 2 set a -> unknown \n 3 4 get -> a \n 5 6 set b -> replaced \n 7 8 get -> a");
}

/// Goal: a removed key that comes back is refused.
#[test]
fn a_resurrected_key_is_refused() {
    bad("1 2 set a -> created \n 3 4 delete -> deleted \n 5 6 get -> a");
    bad("1 2 set a -> created v1 \n 3 4 delete -> deleted \n 5 6 get -> absent \n 7 8 get -> a v1");
    bad("1 2 set a -> created v1 \n 3 4 delete -> deleted \n 5 6 delete -> deleted");
    good("1 2 set a -> created v1 \n 3 9 delete -> deleted \n 4 5 get -> a v1 \n 6 7 get -> absent");
}

/// Goal: what has an unknown outcome may take effect late, once, or never.
#[test]
fn an_unknown_outcome_is_open() {
    good("1 2 set a -> unknown \n 3 4 get -> absent");
    good("1 2 set a -> unknown \n 3 4 get -> a");
    good("1 2 set a -> unknown \n 3 4 get -> absent \n 5 6 get -> a \n 7 8 get -> a");
    bad("1 2 set a -> unknown \n 3 4 get -> a \n 5 6 get -> absent");
    bad("3 4 set a -> unknown \n 1 2 get -> a");
    good("1 2 set a -> created v1 \n 3 4 delete -> unknown \n 5 6 get -> a v1 \n 7 8 get -> absent");
    bad("1 2 set a -> created v1 \n 3 4 delete if 2 -> unknown \n 5 6 get -> absent");
    good("1 2 set a -> unknown \n 3 4 get -> a v7 \n 5 6 set b if 7 -> replaced v9");
    bad("1 2 set a -> unknown \n 3 4 get -> a v7 \n 5 6 get -> a v8");
    // The version that the unseen write got is told later, and was the one that was asked for.
    good("1 2 set a -> unknown \n 3 4 set b if 7 -> unknown \n 5 6 get -> b v9");
    bad("1 2 set a -> unknown \n 3 4 set b if 7 -> unknown \n 5 6 get -> b v7");
    good("1 2 set a -> unknown \n 3 4 get -> a \n 5 6 set b if 1 -> unmet \n 7 8 get -> a");
    good("1 2 get -> unknown \n 3 4 get -> absent");
}

/// Goal: removals have versions too, though nobody is told: one order of the same operations may leave less room for what
/// follows than another.
#[test]
fn a_removal_takes_a_version() {
    let story = "1 20 set a -> created v5
         1 20 delete -> deleted
         1 20 delete -> deleted
         1 20 set x -> unknown
         21 30 set y -> unknown
         22 23 delete -> deleted
         24 25 set c -> created";
    good(&format!("{story} v9"));
    bad(&format!("{story} v8"));
}

/// Goal: what was said not to be applied was not.
#[test]
fn what_was_refused_has_no_effect() {
    good("1 2 set a -> not-applied \n 3 4 get -> absent");
    bad("1 2 set a -> not-applied \n 3 4 get -> a");
    bad("1 2 incr 1 -> not-applied \n 3 4 incr 1 -> 2");
    bad("1 2 set a -> created \n 3 4 delete -> not-applied \n 5 6 get -> absent");
}

/// Goal: versions grow across keys, and each is given once.
#[test]
fn versions_are_those_of_one_store() {
    good("a: 1 2 set x -> created v1 \n b: 3 4 set x -> created v2");
    good("a: 1 4 set x -> created v2 \n b: 2 3 set x -> created v1");
    let twice = bad("a: 1 2 set x -> created v1 \n b: 1 2 set x -> created v1");
    assert!(twice.starts_with("version 1 was given twice"), "{twice}");
    let late = bad("a: 1 2 set x -> created v2 \n b: 3 4 set x -> created v1");
    assert!(late.starts_with("version 1 was given after version 2"), "{late}");
    bad("a: 1 9 set x -> unknown \n a: 2 3 get -> x v5 \n b: 4 5 set x -> created v4");
}

/// Goal: a report shows the violation and what led to it, and not the whole history.
#[test]
fn a_report_is_cut_down_to_the_violation() {
    let mut text = String::new();
    for n in 0..400 {
        let at = n * 10;
        text += &format!(
            "{} {} set x{n} -> {} v{}\n",
            at + 1,
            at + 2,
            if n == 0 { "created" } else { "replaced" },
            n + 1
        );
        text += &format!("{} {} get -> x{n} v{}\n", at + 3, at + 4, n + 1);
    }
    text += "2005 2006 get -> x100 v101";
    let report = bad(&text);
    assert!(report.starts_with("key k is not linearizable (801 operations"), "{report}");
    assert!(
        report.contains("get -> x100 (version 101)") && report.contains("the key is then x200 (version 201)"),
        "{report}"
    );
    assert!(report.lines().count() < 30, "{report}");
    assert!(!report.contains("x201"), "what came later is not shown:\n{report}");
}

/// Goal: a search that does not end in time says neither yes nor no.
#[test]
fn a_search_that_reaches_its_bound_says_so() {
    let text = "1 9 set a -> replaced \n 1 9 set b -> created \n 1 9 set c -> replaced \n 10 11 get -> a";
    good(text);
    let report = report::check_within(&parse(text), 3).expect_err("three steps are not enough");
    assert_eq!(report, "key k: undecided after 3 steps on 4 operations");
}
