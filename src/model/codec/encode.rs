//! Log entries to bytes.

use bytes::Bytes;
use rmp::encode as msgpack;

use super::codes::{
    CONDITION_ABSENT, CONDITION_ALWAYS, CONDITION_PRESENT, CONDITION_VERSION, EXPIRY_AFTER, EXPIRY_AT,
    EXPIRY_KEEP, EXPIRY_NEVER, FORMAT, MODE_ALL, MODE_EACH, MODE_MULTI, OP_ADD, OP_CLEAR, OP_CONFIGURE,
    OP_DELETE, OP_EXPIRE, OP_INITIALIZE, OP_RAISE, OP_SET,
};
use crate::model::{
    Check, Command, Condition, Eviction, Expiry, Level, LogEntry, Mode, Principal, Settings, SettingsChange,
    Touch, Transaction,
};

/// Writing to memory has no error to give.
const INFALLIBLE: &str = "a Vec takes all that is written to it";

/// Bytes of framing that a command takes at most, beside its key and value.
const COMMAND_OVERHEAD: usize = 48;

/// Encodes `entry`. One allocation, of about the size of the result.
pub fn encode(entry: &LogEntry) -> Bytes {
    let mut out = Writer(Vec::with_capacity(size_hint(entry)), entry.level);
    out.0.push(FORMAT);
    out.array(4);
    out.uint(u64::from(entry.level.0));
    out.uint(entry.at.0);
    out.touches(&entry.touches);
    out.array(entry.transactions.len());
    for transaction in &entry.transactions {
        out.transaction(transaction);
    }
    Bytes::from(out.0)
}

fn size_hint(entry: &LogEntry) -> usize {
    let transactions: usize = entry
        .transactions
        .iter()
        .map(|t| t.size() + (t.commands.len() + t.checks.len() + 1) * COMMAND_OVERHEAD)
        .sum();
    32 + entry.touches.len() * 14 + transactions
}

/// Appends MessagePack to memory; the level says what parts there are.
struct Writer(Vec<u8>, Level);

impl Writer {
    fn array(&mut self, length: usize) {
        let length = u32::try_from(length).expect("a transaction is far below 2^32 items");
        msgpack::write_array_len(&mut self.0, length).expect(INFALLIBLE);
    }

    fn uint(&mut self, value: u64) {
        msgpack::write_uint(&mut self.0, value).expect(INFALLIBLE);
    }

    fn binary(&mut self, bytes: &[u8]) {
        msgpack::write_bin(&mut self.0, bytes).expect(INFALLIBLE);
    }

    fn nil(&mut self) {
        msgpack::write_nil(&mut self.0).expect(INFALLIBLE);
    }

    fn optional(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.uint(value),
            None => self.nil(),
        }
    }

    /// A small code and the number that goes with it.
    fn pair(&mut self, (code, value): (u8, u64)) {
        self.uint(u64::from(code));
        self.uint(value);
    }

    fn touches(&mut self, touches: &[Touch]) {
        self.array(touches.len() * 2);
        for touch in touches {
            self.uint(u64::from(touch.slot.0));
            self.uint(touch.version.0);
        }
    }

    fn transaction(&mut self, transaction: &Transaction) {
        self.array(4);
        self.uint(u64::from(match transaction.mode {
            Mode::Each => MODE_EACH,
            Mode::Multi => MODE_MULTI,
            Mode::All => MODE_ALL,
        }));
        match transaction.principal {
            Principal::Anonymous => self.nil(),
        }
        self.array(transaction.checks.len());
        for Check { key, condition } in &transaction.checks {
            self.array(3);
            self.binary(key.as_bytes());
            self.pair(condition_code(*condition));
        }
        self.array(transaction.commands.len());
        for command in &transaction.commands {
            self.command(command);
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Set { key, value, expiry, condition } => {
                self.operation(OP_SET, 7);
                self.binary(key.as_bytes());
                self.binary(value);
                self.pair(expiry_code(*expiry));
                self.pair(condition_code(*condition));
            }
            Command::Delete { key, condition } => {
                self.operation(OP_DELETE, 4);
                self.binary(key.as_bytes());
                self.pair(condition_code(*condition));
            }
            Command::Expire { key, expiry, condition } => {
                self.operation(OP_EXPIRE, 6);
                self.binary(key.as_bytes());
                self.pair(expiry_code(*expiry));
                self.pair(condition_code(*condition));
            }
            Command::Add { key, by } => {
                self.operation(OP_ADD, 3);
                self.binary(key.as_bytes());
                msgpack::write_sint(&mut self.0, *by).expect(INFALLIBLE);
            }
            Command::Clear => self.operation(OP_CLEAR, 1),
            Command::Configure(change) => {
                self.operation(OP_CONFIGURE, 1 + self.settings_parts());
                self.settings(*change);
            }
            Command::Raise(level) => {
                self.operation(OP_RAISE, 2);
                self.uint(u64::from(level.0));
            }
            Command::Initialize { hash_seed, settings } => self.initialize(*hash_seed, *settings),
        }
    }

    fn operation(&mut self, code: u8, items: usize) {
        self.array(items);
        self.uint(u64::from(code));
    }

    fn initialize(&mut self, hash_seed: u128, settings: Settings) {
        self.operation(OP_INITIALIZE, 3 + self.settings_parts());
        self.uint((hash_seed >> 64) as u64);
        self.uint(hash_seed as u64);
        self.settings(settings.into());
    }

    fn settings_parts(&self) -> usize {
        if self.1 >= Level::VOTERS { 5 } else { 4 }
    }

    fn settings(&mut self, change: SettingsChange) {
        self.optional(change.max_bytes);
        self.optional(change.max_keys);
        self.optional(change.eviction.map(eviction_code));
        self.optional(change.max_value_bytes);
        if self.1 >= Level::VOTERS {
            self.optional(change.voters);
        }
    }
}

/// The position in [`Eviction::ALL`].
fn eviction_code(eviction: Eviction) -> u64 {
    match eviction {
        Eviction::Lru => 0,
        Eviction::VolatileLru => 1,
        Eviction::VolatileTtl => 2,
        Eviction::NoEviction => 3,
    }
}

fn expiry_code(expiry: Expiry) -> (u8, u64) {
    match expiry {
        Expiry::Never => (EXPIRY_NEVER, 0),
        Expiry::Keep => (EXPIRY_KEEP, 0),
        Expiry::After(ttl) => (EXPIRY_AFTER, ttl.millis()),
        Expiry::At(deadline) => (EXPIRY_AT, deadline.0),
    }
}

fn condition_code(condition: Condition) -> (u8, u64) {
    match condition {
        Condition::Always => (CONDITION_ALWAYS, 0),
        Condition::Absent => (CONDITION_ABSENT, 0),
        Condition::Present => (CONDITION_PRESENT, 0),
        Condition::Version(version) => (CONDITION_VERSION, version.0),
    }
}
