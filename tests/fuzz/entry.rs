//! Log entries: bytes are refused, or decode to an entry that encodes to an equal one and that a store can apply,
//! whatever it says.

use bytes::Bytes;
use kvorum::model::{Command, Condition, Expiry, Key, Settings, Timestamp, Transaction, codec};
use kvorum::store::{Effects, Store};

/// Any bytes.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(entry) = codec::decode(&Bytes::copy_from_slice(bytes)) else { return false };
    assert_eq!(codec::decode(&codec::encode(&entry)).as_ref(), Ok(&entry), "what is written is read");
    let (mut store, mut again) = (started(), started());
    for store in [&mut store, &mut again] {
        let mut effects = Effects::new();
        effects.begin(2, true);
        store.open_entry(entry.at, &entry.touches, &mut effects);
        entry.transactions.iter().for_each(|transaction| store.transact(transaction, &[], &mut effects));
        let commands: usize = entry.transactions.iter().map(|transaction| transaction.commands.len()).sum();
        assert_eq!(effects.outcomes.len(), commands, "an outcome for each command");
        // What came due or is over a limit now goes with the next entries.
        (0..3).for_each(|_| store.open_entry(entry.at, &[], &mut effects));
    }
    assert_eq!(store.state_hash(), again.state_hash(), "equal entries make equal stores");
    true
}

/// A store with keys that the seeds are about.
fn started() -> Store {
    let (mut store, mut effects) = (Store::new(), Effects::new());
    store.open_entry(Timestamp(1_000), &[], &mut effects);
    let settings = Settings { max_bytes: 1_000, max_keys: 8, ..Settings::default() };
    store.transact(&Transaction::single(Command::Initialize { hash_seed: 1, settings }), &[], &mut effects);
    for (name, value, expiry) in [
        ("key", "value", Expiry::Never),
        ("watched", "7", Expiry::At(Timestamp(1_700_000_000_000))),
        ("k", "9223372036854775807", Expiry::At(Timestamp(2_000))),
    ] {
        let (key, value) = (Key::new(name).expect("a short key"), Bytes::from(value));
        let set = Command::Set { key, value, expiry, condition: Condition::Always };
        store.transact(&Transaction::single(set), &[], &mut effects);
    }
    store
}
