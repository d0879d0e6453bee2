//! The keys that a transaction's commands may write.

use siphasher::sip::SipHasher13;

use crate::model::Transaction;

const EMPTY: u32 = u32::MAX;
/// Up to this many keys are compared one by one.
const FEW: usize = 4;

/// A set of keys, named by the first command about each. Reused: collecting again keeps the memory.
#[derive(Default)]
pub(super) struct KeySet {
    hasher: SipHasher13,
    commands: Vec<u32>,
    hashes: Vec<u64>,
    table: Vec<u32>,
}

impl KeySet {
    /// Takes the keys of `transaction`. The hasher is kept, because `Initialize` changes the store's.
    pub(super) fn collect(&mut self, transaction: &Transaction, hasher: SipHasher13) {
        self.hasher = hasher;
        self.commands.clear();
        self.hashes.clear();
        self.table.clear();
        if transaction.commands.len() > FEW {
            self.table.resize((transaction.commands.len() * 2).next_power_of_two(), EMPTY);
        }
        for (n, command) in transaction.commands.iter().enumerate() {
            let Some(key) = command.key() else { continue };
            if let Err(at) = self.search(transaction, key.as_bytes()) {
                self.commands.push(n as u32);
                if let Some((at, hash)) = at {
                    self.hashes.push(hash);
                    self.table[at] = self.commands.len() as u32 - 1;
                }
            }
        }
    }

    /// Forgets all keys.
    pub(super) fn clear(&mut self) {
        self.commands.clear();
        self.table.clear();
    }

    /// The number of the key, if it is in the set.
    pub(super) fn find(&self, transaction: &Transaction, key: &[u8]) -> Option<usize> {
        self.search(transaction, key).ok()
    }

    /// The keys in the order of their numbers.
    pub(super) fn keys<'a>(&'a self, transaction: &'a Transaction) -> impl Iterator<Item = &'a [u8]> {
        self.commands.iter().map(|&n| key_of(transaction, n))
    }

    /// The key's number, or else where in the table it would go, with its hash.
    fn search(&self, transaction: &Transaction, key: &[u8]) -> Result<usize, Option<(usize, u64)>> {
        if self.table.is_empty() {
            return self.commands.iter().position(|&n| key_of(transaction, n) == key).ok_or(None);
        }
        let hash = self.hasher.hash(key);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while self.table[at] != EMPTY {
            let number = self.table[at] as usize;
            if self.hashes[number] == hash && key_of(transaction, self.commands[number]) == key {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
        Err(Some((at, hash)))
    }
}

fn key_of(transaction: &Transaction, command: u32) -> &[u8] {
    transaction.commands[command as usize].key().expect("only commands with a key are collected").as_bytes()
}
