//! Bytes to log entries.

use bytes::Bytes;
use rmp::decode as msgpack;

use super::codes::{
    CONDITION_ABSENT, CONDITION_ALWAYS, CONDITION_PRESENT, CONDITION_VERSION, EXPIRY_AFTER, EXPIRY_AT,
    EXPIRY_KEEP, EXPIRY_NEVER, FORMAT, MODE_ALL, MODE_EACH, MODE_MULTI, OP_ADD, OP_CLEAR, OP_CONFIGURE,
    OP_DELETE, OP_EXPIRE, OP_INITIALIZE, OP_RAISE, OP_SET,
};
use crate::model::{
    Check, Command, Condition, Eviction, Expiry, Key, Level, LogEntry, Mode, Principal, Settings,
    SettingsChange, Slot, Timestamp, Touch, Transaction, Ttl, Version,
};

/// Why bytes are not a log entry that this binary can apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A format, command or code of a newer level. The node must be upgraded.
    #[error("unknown {what} {code} in a log entry: written by a newer version")]
    Unknown {
        /// What kind of code.
        what: &'static str,
        /// The code.
        code: u64,
    },
    /// Not an entry at all.
    #[error("malformed log entry at byte {offset}: {what}")]
    Malformed {
        /// Where, from the start of the entry.
        offset: usize,
        /// What was expected there.
        what: &'static str,
    },
}

/// Decodes one entry. Keys and values share `bytes`.
pub fn decode(bytes: &Bytes) -> Result<LogEntry, DecodeError> {
    let mut input = Reader { bytes, offset: 0, level: Level::FIRST };
    input.format()?;
    input.array_of(4, "an entry of 4 parts")?;
    let level = input.level()?;
    input.level = level;
    let at = Timestamp(input.uint("a time")?);
    let touches = input.touches()?;
    let count = input.array("transactions")?;
    let transactions = (0..count).map(|_| input.transaction()).collect::<Result<Vec<_>, _>>()?;
    if input.offset != bytes.len() {
        return Err(input.malformed("the end"));
    }
    Ok(LogEntry { level, at, touches, transactions })
}

/// Reads MessagePack from the front of `bytes`.
struct Reader<'a> {
    bytes: &'a Bytes,
    offset: usize,
    /// That of the entry, which says what parts there are.
    level: Level,
}

impl Reader<'_> {
    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { offset: self.offset, what }
    }

    /// Runs a decoder of rmp on the rest of the input and advances past what it took.
    fn take<T>(
        &mut self,
        what: &'static str,
        decoder: impl FnOnce(&mut &[u8]) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let mut rest = self.bytes.get(self.offset..).unwrap_or_default();
        let before = rest.len();
        let value = decoder(&mut rest).ok_or_else(|| self.malformed(what))?;
        self.offset += before - rest.len();
        Ok(value)
    }

    fn format(&mut self) -> Result<(), DecodeError> {
        match self.bytes.first() {
            Some(&FORMAT) => {
                self.offset = 1;
                Ok(())
            }
            Some(&other) => Err(DecodeError::Unknown { what: "format", code: u64::from(other) }),
            None => Err(self.malformed("a format byte")),
        }
    }

    /// Length of an array. Each item takes at least a byte, so a length beyond the input is refused here,
    /// before anybody allocates for it.
    fn array(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let length = self.take(what, |rest| msgpack::read_array_len(rest).ok())? as usize;
        if length > self.bytes.len() - self.offset {
            return Err(self.malformed(what));
        }
        Ok(length)
    }

    fn array_of(&mut self, expected: usize, what: &'static str) -> Result<(), DecodeError> {
        if self.array(what)? == expected { Ok(()) } else { Err(self.malformed(what)) }
    }

    fn uint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.take(what, |rest| msgpack::read_int(rest).ok())
    }

    fn sint(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.take(what, |rest| msgpack::read_int(rest).ok())
    }

    fn binary(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.take(what, |rest| msgpack::read_bin_len(rest).ok())? as usize;
        let end = self.offset.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.malformed(what))?;
        let slice = self.bytes.slice(self.offset..end);
        self.offset = end;
        Ok(slice)
    }

    fn key(&mut self) -> Result<Key, DecodeError> {
        let bytes = self.binary("a key")?;
        Key::new(bytes).map_err(|_| self.malformed("a key of 1 to 4,096 bytes"))
    }

    /// An integer, or `None` for nil.
    fn optional(&mut self, what: &'static str) -> Result<Option<u64>, DecodeError> {
        if self.bytes.get(self.offset) == Some(&0xc0) {
            self.offset += 1;
            return Ok(None);
        }
        self.uint(what).map(Some)
    }

    fn touches(&mut self) -> Result<Vec<Touch>, DecodeError> {
        let numbers = self.array("touches")?;
        if numbers % 2 != 0 {
            return Err(self.malformed("touches in pairs"));
        }
        (0..numbers / 2).map(|_| self.touch()).collect()
    }

    fn touch(&mut self) -> Result<Touch, DecodeError> {
        let slot = self.uint("a slot")?;
        let slot = Slot(u32::try_from(slot).map_err(|_| self.malformed("a slot below 2^32"))?);
        Ok(Touch { slot, version: Version(self.uint("a version")?) })
    }

    fn transaction(&mut self) -> Result<Transaction, DecodeError> {
        self.array_of(4, "a transaction of 4 parts")?;
        let mode = match self.code("a mode")? {
            MODE_EACH => Mode::Each,
            MODE_MULTI => Mode::Multi,
            MODE_ALL => Mode::All,
            code => return Err(unknown("mode", code)),
        };
        let principal = match self.optional("a principal")? {
            None => Principal::Anonymous,
            Some(code) => return Err(DecodeError::Unknown { what: "principal", code }),
        };
        let count = self.array("checks")?;
        let checks = (0..count).map(|_| self.check()).collect::<Result<Vec<_>, _>>()?;
        let count = self.array("commands")?;
        let commands = (0..count).map(|_| self.command()).collect::<Result<Vec<_>, _>>()?;
        Ok(Transaction { mode, principal, checks, commands })
    }

    fn check(&mut self) -> Result<Check, DecodeError> {
        self.array_of(3, "a check of 3 parts")?;
        Ok(Check { key: self.key()?, condition: self.condition()? })
    }

    fn command(&mut self) -> Result<Command, DecodeError> {
        let parts = self.array("a command")?;
        let operation = self.code("an operation")?;
        let expected = match operation {
            OP_CLEAR => 1,
            OP_ADD => 3,
            OP_DELETE => 4,
            OP_RAISE => 2,
            OP_CONFIGURE => 1 + self.settings_parts(),
            OP_EXPIRE => 6,
            OP_SET => 7,
            OP_INITIALIZE => 3 + self.settings_parts(),
            code => return Err(unknown("operation", code)),
        };
        if parts != expected {
            return Err(self.malformed("the parts of its operation"));
        }
        self.operands(operation)
    }

    fn operands(&mut self, operation: u8) -> Result<Command, DecodeError> {
        Ok(match operation {
            OP_SET => Command::Set {
                key: self.key()?,
                value: self.binary("a value")?,
                expiry: self.expiry()?,
                condition: self.condition()?,
            },
            OP_DELETE => Command::Delete { key: self.key()?, condition: self.condition()? },
            OP_EXPIRE => {
                Command::Expire { key: self.key()?, expiry: self.expiry()?, condition: self.condition()? }
            }
            OP_ADD => Command::Add { key: self.key()?, by: self.sint("a number to add")? },
            OP_CLEAR => Command::Clear,
            OP_CONFIGURE => Command::Configure(self.settings()?),
            OP_INITIALIZE => {
                let high = u128::from(self.uint("a seed")?);
                let low = u128::from(self.uint("a seed")?);
                let settings = self.settings()?.applied_to(Settings::default());
                Command::Initialize { hash_seed: high << 64 | low, settings }
            }
            OP_RAISE => Command::Raise(self.level()?),
            code => return Err(unknown("operation", code)),
        })
    }

    fn settings_parts(&self) -> usize {
        if self.level >= Level::VOTERS { 5 } else { 4 }
    }

    fn level(&mut self) -> Result<Level, DecodeError> {
        let level = self.uint("a level")?;
        u16::try_from(level).map(Level).map_err(|_| DecodeError::Unknown { what: "level", code: level })
    }

    fn settings(&mut self) -> Result<SettingsChange, DecodeError> {
        Ok(SettingsChange {
            max_bytes: self.optional("max_bytes")?,
            max_keys: self.optional("max_keys")?,
            eviction: self.eviction()?,
            max_value_bytes: self.optional("max_value_bytes")?,
            voters: if self.level >= Level::VOTERS { self.optional("voters")? } else { None },
        })
    }

    fn eviction(&mut self) -> Result<Option<Eviction>, DecodeError> {
        let Some(code) = self.optional("an eviction policy")? else { return Ok(None) };
        let policy = usize::try_from(code).ok().and_then(|code| Eviction::ALL.get(code));
        policy.copied().map(Some).ok_or(DecodeError::Unknown { what: "eviction policy", code })
    }

    fn expiry(&mut self) -> Result<Expiry, DecodeError> {
        let code = self.code("an expiry")?;
        let value = self.uint("a time")?;
        match code {
            EXPIRY_NEVER if value == 0 => Ok(Expiry::Never),
            EXPIRY_KEEP if value == 0 => Ok(Expiry::Keep),
            EXPIRY_AFTER => {
                Ttl::from_millis(value).map(Expiry::After).map_err(|_| self.malformed("a time to live"))
            }
            EXPIRY_AT => Ok(Expiry::At(Timestamp(value))),
            EXPIRY_NEVER | EXPIRY_KEEP => Err(self.malformed("an expiry without a time")),
            code => Err(unknown("expiry", code)),
        }
    }

    fn condition(&mut self) -> Result<Condition, DecodeError> {
        let code = self.code("a condition")?;
        let value = self.uint("a version")?;
        match code {
            CONDITION_ALWAYS if value == 0 => Ok(Condition::Always),
            CONDITION_ABSENT if value == 0 => Ok(Condition::Absent),
            CONDITION_PRESENT if value == 0 => Ok(Condition::Present),
            CONDITION_VERSION => Ok(Condition::Version(Version(value))),
            CONDITION_ALWAYS | CONDITION_ABSENT | CONDITION_PRESENT => {
                Err(self.malformed("a condition without a version"))
            }
            code => Err(unknown("condition", code)),
        }
    }

    fn code(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let code = self.uint(what)?;
        u8::try_from(code).map_err(|_| DecodeError::Unknown { what: "code", code })
    }
}

fn unknown(what: &'static str, code: u8) -> DecodeError {
    DecodeError::Unknown { what, code: u64::from(code) }
}
