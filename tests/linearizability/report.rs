//! The verdict on a whole history, and what a reader needs to see of one that is not linearizable.
//!
//! A violation is cut down before it is shown: to the shortest beginning of the history that is already one (what returns
//! later is taken as unknown), and by the reads that it does not need. What is left of the key's past is not shown as a
//! whole but as the end of the longest order that explains it.

use std::fmt::Write;

use super::checker::{self, Evidence, STEPS, Verdict};
use super::history::{Answer, History, Operation, Outcome, Record};
use super::model::{Act, State, Value};
use super::revisions;

/// Operations shown of the order that explains the past.
const SHOWN: usize = 16;

/// Judges a history. The error is for humans.
pub(crate) fn check(history: &History) -> Result<(), String> {
    check_within(history, STEPS)
}

/// As [`check`], with another bound on the work for each key.
pub(crate) fn check_within(history: &History, steps: u64) -> Result<(), String> {
    for (key, records) in history.by_key() {
        match checker::check(&records, steps) {
            Verdict::Linearizable => {}
            Verdict::Violation(_) => return Err(violation(key, &records, steps)),
            Verdict::Exhausted => {
                let count = records.len();
                return Err(format!("key {key}: undecided after {steps} steps on {count} operations"));
            }
        }
    }
    revisions::check(history)
}

fn violation(key: &str, records: &[&Record], steps: u64) -> String {
    let short = without_reads(beginning(records, steps), steps);
    let cut: Vec<&Record> = short.iter().collect();
    let evidence =
        checker::explain(&cut, steps).expect("what was cut down was a violation within as many steps");
    render(key, records.len(), &cut, &evidence)
}

/// The shortest beginning that is a violation: what returned later is unknown in it.
fn beginning(records: &[&Record], steps: u64) -> Vec<Record> {
    let mut returns: Vec<u64> = records.iter().map(|record| record.returned).collect();
    returns.sort_unstable();
    let until = |end: u64| -> Vec<Record> {
        let begun = records.iter().filter(|record| record.invoked <= end);
        let cut = |record: &&Record| {
            let mut record = (*record).clone();
            if record.returned > end && record.outcome != Outcome::NotApplied {
                record.outcome = Outcome::Unknown;
            }
            record
        };
        begun.map(cut).collect()
    };
    let shortest = returns.partition_point(|end| !is_violation(&until(*end), steps));
    until(returns.get(shortest).copied().unwrap_or(u64::MAX))
}

/// Without the reads, and the writes that did nothing, that the violation does not need.
fn without_reads(mut records: Vec<Record>, steps: u64) -> Vec<Record> {
    let is_needed = |record: &Record| match &record.outcome {
        Outcome::Done(answer) => answer.is_change(),
        // It stays for the reader: the value may turn up.
        Outcome::NotApplied => true,
        Outcome::Unknown => true,
    };
    let mut size = records.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < records.len() {
            let end = (at + size).min(records.len());
            let mut fewer = records.clone();
            let mut n = 0;
            fewer.retain(|record| {
                n += 1;
                !(at..end).contains(&(n - 1)) || is_needed(record)
            });
            if fewer.len() < records.len() && is_violation(&fewer, steps) {
                at = end - (records.len() - fewer.len());
                records = fewer;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    records
}

fn is_violation(records: &[Record], steps: u64) -> bool {
    let records: Vec<&Record> = records.iter().collect();
    matches!(checker::check(&records, steps), Verdict::Violation(_))
}

fn render(key: &str, total: usize, records: &[&Record], evidence: &Evidence) -> String {
    let Evidence { order, stuck } = evidence;
    let mut text = format!("key {key} is not linearizable ({total} operations");
    let _ = writeln!(text, ", {} in what is left of the violation)", records.len());
    let skipped = order.len().saturating_sub(SHOWN);
    if skipped > 0 {
        let _ = writeln!(text, "  ... {skipped} operations explained, then in this order:");
    } else {
        text += "  explained, in this order:\n";
    }
    for at in &order[skipped..] {
        let _ = writeln!(text, "  {}", records[*at]);
    }
    let _ =
        writeln!(text, "  the key is then {}, which explains none of:", described(&after(records, order)));
    for at in stuck {
        let _ = writeln!(text, "  {}", records[*at]);
    }
    let since = order.get(skipped).map_or(0, |at| records[*at].invoked);
    let rest = (0..records.len()).filter(|at| !order.contains(at) && !stuck.contains(at));
    let mut rest: Vec<&Record> = rest.map(|at| records[at]).collect();
    let told = |value: &str| stuck.iter().any(|at| is_about(&records[*at].outcome, value));
    rest.retain(|record| match &record.operation {
        // Where a value came from that nothing explains.
        Operation::Set(value, _) if told(value) => true,
        Operation::Get => record.returned >= since,
        _ => record.outcome == Outcome::Unknown || record.returned >= since,
    });
    rest.sort_by_key(|record| record.invoked);
    if !rest.is_empty() {
        text += "  and with what has no place in it:\n";
    }
    for record in rest {
        let _ = writeln!(text, "  {record}");
    }
    text
}

fn is_about(outcome: &Outcome, value: &str) -> bool {
    match outcome {
        Outcome::Done(Answer::Found { value: found, .. }) => found == value,
        Outcome::Done(Answer::Sum { value: sum, .. }) => sum.to_string() == value,
        _ => false,
    }
}

/// The state after an order that the checker found.
fn after(records: &[&Record], order: &[usize]) -> State {
    order.iter().map(|at| records[*at]).fold(State::NEW, |state, record| {
        let act = Act::of(&record.operation);
        let next = match &record.outcome {
            Outcome::Done(answer) => state.step(&act, answer),
            Outcome::NotApplied | Outcome::Unknown => state.unseen(&act),
        };
        next.expect("each explains its answer")
    })
}

fn described(state: &State) -> String {
    let value = match &state.value {
        None => return format!("absent (the next version is above {})", state.revision),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Text(text)) => text.clone(),
        Some(Value::HiddenNumber | Value::HiddenText) => "a value".to_owned(),
    };
    let known = if state.exact { "version" } else { "a version from" };
    format!("{value} ({known} {})", state.revision)
}

/// How many operations ended how.
pub(crate) fn summary(history: &History) -> String {
    let count = |wanted: fn(&Outcome) -> bool| {
        history.records.iter().filter(|record| wanted(&record.outcome)).count()
    };
    let changed = count(|outcome| matches!(outcome, Outcome::Done(answer) if answer.is_change()));
    let unmet = count(|outcome| matches!(outcome, Outcome::Done(Answer::Unmet { .. })));
    let done = count(|outcome| matches!(outcome, Outcome::Done(_)));
    let (no, unknown) =
        (count(|o| matches!(o, Outcome::NotApplied)), count(|o| matches!(o, Outcome::Unknown)));
    let total = history.records.len();
    format!(
        "{total} operations: {done} answered ({changed} changes, {unmet} unmet conditions), {no} not applied, {unknown} unknown"
    )
}
