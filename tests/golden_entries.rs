//! Golden files of the log's commands: the bytes that every version must write and read.
//!
//! Goal: a change of the encoding is seen as a diff of `tests/golden/entry/*.txt` and never by accident.
//! `UPDATE_GOLDEN=1 cargo test --test golden_entries` writes them anew; a line that changes needs a new level.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "golden files are read and written outside the product")]

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use kvorum::model::{
    Check, Command, Condition, Eviction, Expiry, Key, Level, LogEntry, Mode, Principal, Settings,
    SettingsChange, Slot, Timestamp, Touch, Transaction, Ttl, Version, codec,
};

fn key(name: &'static str) -> Key {
    Key::new(name).expect("a short key")
}

fn ttl(ms: u64) -> Ttl {
    Ttl::from_millis(ms).expect("in range")
}

fn entry(transactions: Vec<Transaction>) -> LogEntry {
    LogEntry { level: Level(1), at: Timestamp(1_700_000_000_000), touches: Vec::new(), transactions }
}

fn each(commands: Vec<Command>) -> LogEntry {
    entry(commands.into_iter().map(Transaction::single).collect())
}

fn set(expiry: Expiry, condition: Condition) -> Command {
    Command::Set { key: key("key"), value: Bytes::from_static(b"value"), expiry, condition }
}

/// Every command in every shape that its encoding has, by the name of its golden file.
fn samples() -> Vec<(&'static str, Vec<LogEntry>)> {
    let settings = Settings {
        max_bytes: 1 << 30,
        max_keys: 1_000,
        eviction: Eviction::VolatileTtl,
        max_value_bytes: 70_000,
        voters: 0,
    };
    let delete = |condition| Command::Delete { key: key("key"), condition };
    let expire = |expiry| Command::Expire { key: key("key"), expiry, condition: Condition::Always };
    let add = |by| Command::Add { key: key("key"), by };
    let change = |eviction| Command::Configure(SettingsChange { eviction, ..SettingsChange::default() });
    vec![
        ("empty", vec![entry(vec![])]),
        (
            "touches",
            vec![LogEntry {
                touches: vec![Touch { slot: Slot(7), version: Version(300) }; 2],
                ..entry(vec![])
            }],
        ),
        (
            "set",
            vec![
                each(vec![set(Expiry::Never, Condition::Always)]),
                each(vec![set(Expiry::Keep, Condition::Absent)]),
                each(vec![set(Expiry::After(ttl(60_000)), Condition::Present)]),
                each(vec![set(Expiry::At(Timestamp(1_700_000_060_000)), Condition::Version(Version(9)))]),
                each(vec![set(Expiry::Never, Condition::Always); 2]),
            ],
        ),
        (
            "delete",
            vec![
                each(vec![delete(Condition::Always)]),
                each(vec![delete(Condition::Version(Version(1 << 40)))]),
            ],
        ),
        ("expire", vec![each(vec![expire(Expiry::After(ttl(1)))]), each(vec![expire(Expiry::Never)])]),
        ("add", vec![each(vec![add(1), add(-1), add(i64::MIN), add(i64::MAX)])]),
        ("clear", vec![each(vec![Command::Clear])]),
        (
            "configure",
            vec![
                each(vec![Command::Configure(SettingsChange { voters: None, ..settings.into() })]),
                each(Eviction::ALL.into_iter().map(|policy| change(Some(policy))).collect()),
                each(vec![change(None)]),
            ],
        ),
        (
            "initialize",
            vec![each(vec![Command::Initialize {
                hash_seed: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
                settings,
            }])],
        ),
        ("raise", vec![each(vec![Command::Raise(Level(2))])]),
        (
            "level-2",
            vec![LogEntry {
                level: Level(2),
                ..each(vec![
                    Command::Configure(SettingsChange { voters: Some(3), ..SettingsChange::default() }),
                    Command::Initialize { hash_seed: 7, settings: Settings { voters: 5, ..settings } },
                ])
            }],
        ),
        (
            "transactions",
            [Mode::Each, Mode::Multi, Mode::All]
                .into_iter()
                .map(|mode| {
                    entry(vec![Transaction {
                        mode,
                        principal: Principal::Anonymous,
                        checks: vec![Check {
                            key: key("watched"),
                            condition: Condition::Version(Version::ABSENT),
                        }],
                        commands: vec![set(Expiry::Never, Condition::Always), delete(Condition::Always)],
                    }])
                })
                .collect(),
        ),
    ]
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/entry").join(format!("{name}.txt"))
}

fn rendered(entries: &[LogEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{entry:?}\n---");
        for line in codec::encode(entry).chunks(32) {
            let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(text, "{}", digits.join(" "));
        }
        text.push('\n');
    }
    text
}

/// Each command is encoded exactly as its golden file says.
#[test]
fn every_command_is_encoded_as_its_golden_file_says() {
    for (name, entries) in samples() {
        let (path, text) = (golden(name), rendered(&entries));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("the golden file is writable");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{} differs", path.display());
    }
}

/// The bytes in the golden files, read without the encoder, decode to the samples.
#[test]
fn every_golden_file_decodes_to_its_command() {
    for (name, entries) in samples() {
        let text = std::fs::read_to_string(golden(name)).expect("the golden file is there");
        let blocks: Vec<&str> = text.split("\n\n").filter(|block| !block.trim().is_empty()).collect();
        assert_eq!(blocks.len(), entries.len(), "{name}");
        for (block, entry) in blocks.into_iter().zip(entries) {
            let digits = block.split("---\n").nth(1).expect("bytes after the line");
            let bytes: Vec<u8> = digits
                .split_whitespace()
                .map(|digits| u8::from_str_radix(digits, 16).expect("two hexadecimal digits"))
                .collect();
            assert_eq!(codec::decode(&Bytes::from(bytes)), Ok(entry), "{name}");
        }
    }
}
