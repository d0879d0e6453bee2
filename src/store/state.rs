//! The store: a keyspace and what is replicated beside it.

use super::cells::Address;
use super::cut::{Cut, CutActive, RecordRef, Side, Walk, lend};
use super::draft::Stage;
use super::effects::Effects;
use super::globals::Globals;
use super::guard::Guard;
use super::hash::StateHash;
use super::keyspace::Keyspace;
use super::level::{LIMIT_STEPS, SWEEP_STEPS};
use super::limits::{Limits, Need};
use super::record::Stamp;
use super::warm::WINDOW;
use crate::model::{Eviction, Level, Reason, Settings, Slot, Timestamp, Touch, Version};

/// The replicated state machine. Deterministic: equal entries in equal order make equal stores.
///
/// `Send + Sync`; one lock outside it. Readers take it shared, apply takes it whole and may let go of it
/// between transactions, never within one.
pub struct Store {
    pub(super) now: Timestamp,
    pub(super) revision: u64,
    pub(super) recency: u64,
    pub(super) level: Level,
    pub(super) hash_seed: u128,
    pub(super) initialized: bool,
    pub(super) settings: Settings,
    evictions: u64,
    expirations: u64,
    pub(super) keyspace: Box<Keyspace>,
    cut: Option<Box<Cut>>,
    /// Scratch memory of transactions; empty between them.
    pub(super) guard: Guard,
    pub(super) stage: Stage,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// An empty store of the first level, to be initialised by the first entry of a log.
    pub fn new() -> Store {
        Store {
            now: Timestamp(0),
            revision: 0,
            recency: 0,
            level: Level::FIRST,
            hash_seed: 0,
            initialized: false,
            settings: Settings::default(),
            evictions: 0,
            expirations: 0,
            keyspace: Box::new(Keyspace::new(0, 0)),
            cut: None,
            guard: Guard::default(),
            stage: Stage::default(),
        }
    }

    pub(super) fn restored(globals: &Globals, keyspace: Keyspace) -> Store {
        Store {
            now: globals.now,
            revision: globals.revision,
            recency: globals.recency,
            level: globals.level,
            hash_seed: globals.hash_seed,
            initialized: globals.initialized,
            settings: globals.settings,
            evictions: globals.evictions,
            expirations: globals.expirations,
            keyspace: Box::new(keyspace),
            ..Store::new()
        }
    }

    /// Begins a log entry: moves time, applies touches, removes some of what has expired, and goes a bounded
    /// step towards lowered limits. The work is bounded by the number of touches and two constants of the
    /// level.
    pub fn open_entry(&mut self, at: Timestamp, touches: &[Touch], effects: &mut Effects) {
        // Time never runs backwards, or a key once seen as expired would come back.
        self.now = self.now.max(at);
        for window in touches.chunks(WINDOW) {
            self.keyspace.warm_for_touch(window);
            window.iter().for_each(|&touch| self.touch(touch, effects));
        }
        self.sweep(effects);
        self.approach_limits(effects);
    }

    /// Cluster time of the last entry.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The last revision given.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The level that governs apply.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Whether an `Initialize` was applied.
    pub fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// The limits that hold now, which a lowered setting has perhaps not reached; 0 means no limit.
    pub fn effective_limits(&self) -> Limits {
        let limits = self.limits(&self.settings);
        Limits {
            max_bytes: if self.settings.max_bytes == 0 { 0 } else { limits.max_bytes },
            max_keys: if self.settings.max_keys == 0 { 0 } else { limits.max_keys },
        }
    }

    /// Entries, those expired but not yet removed included.
    pub fn len(&self) -> u64 {
        self.keyspace.totals.keys
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Accounted bytes.
    pub fn bytes(&self) -> u64 {
        self.keyspace.totals.bytes
    }

    /// Totals of removals since the cluster was created, equal on all replicas.
    pub fn counters(&self) -> Counters {
        Counters { evictions: self.evictions, expirations: self.expirations }
    }

    /// The earliest deadline of an entry.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.keyspace.deadlines.first().map(|(deadline, _)| deadline)
    }

    /// Hash of everything replicated, in O(1).
    pub fn state_hash(&self) -> StateHash {
        self.globals().state_hash
    }

    /// Everything replicated that is not an entry.
    pub fn globals(&self) -> Globals {
        let mut globals = Globals {
            now: self.now,
            revision: self.revision,
            recency: self.recency,
            level: self.level,
            hash_seed: self.hash_seed,
            initialized: self.initialized,
            settings: self.settings,
            evictions: self.evictions,
            expirations: self.expirations,
            keys: self.len(),
            bytes: self.bytes(),
            state_hash: StateHash::default(),
        };
        let Keyspace { contents, order, .. } = *self.keyspace;
        globals.state_hash = StateHash { contents, order, globals: globals.hash() };
        globals
    }

    /// Begins a cut: a copy of the state as it is now, to be taken by [`Store::walk`] and
    /// [`Store::drain_side`] while writes go on. Must be called between log entries. At most
    /// `side_budget_bytes` of displaced state are held; a cut that would need more is abandoned.
    pub fn begin_cut(&mut self, side_budget_bytes: usize) -> Result<Globals, CutActive> {
        if self.cut.is_some() {
            return Err(CutActive);
        }
        let globals = self.globals();
        let end = self.keyspace.slots.end();
        self.cut = Some(Box::new(Cut::new(&globals, end, side_budget_bytes)));
        Ok(globals)
    }

    /// Shows the next entries of the cut that nobody has changed since, visiting at most `max_slots` slots
    /// and stopping after `max_bytes` of keys and values (one entry at least). For one walker under a shared
    /// lock.
    pub fn walk(&self, max_slots: usize, max_bytes: usize, visit: &mut dyn FnMut(RecordRef<'_>)) -> Walk {
        match &self.cut {
            Some(cut) => cut.walk(&self.keyspace, max_slots, max_bytes, visit),
            None => Walk::Abandoned,
        }
    }

    /// Takes the entries that writers displaced so far; their order among walked ones does not matter. `None`
    /// if the cut was abandoned.
    pub fn drain_side(&mut self) -> Option<Side> {
        self.cut.as_mut().map(|cut| cut.take_side())
    }

    /// Ends a cut whose walk is done and hands over the last displaced entries. `None` if the cut was
    /// abandoned or is not walked to its end; in the latter case it is abandoned now.
    pub fn end_cut(&mut self, effects: &mut Effects) -> Option<Side> {
        let cut = self.cut.take()?;
        let is_done = cut.is_done();
        let (side, frozen) = cut.into_parts();
        frozen.into_iter().for_each(|keyspace| effects.discard_keyspace(keyspace));
        is_done.then_some(side)
    }

    /// Gives the cut up, if there is one.
    pub fn abandon_cut(&mut self, effects: &mut Effects) {
        let Some(cut) = self.cut.take() else { return };
        let (side, frozen) = cut.into_parts();
        effects.discard_side(side);
        frozen.into_iter().for_each(|keyspace| effects.discard_keyspace(keyspace));
    }

    /// A touch names an entry by slot and version, so one that was written or replaced since the read is left
    /// alone.
    fn touch(&mut self, touch: Touch, effects: &mut Effects) {
        let Some(address) = self.keyspace.slots.get(touch.slot) else { return };
        let record = self.keyspace.records.at(address);
        if record.version() != touch.version.0 || record.is_expired(self.now) {
            return;
        }
        if let Some(cut) = &mut self.cut
            && !cut.displace_recency(&record)
        {
            self.abandon_cut(effects);
        }
        self.recency += 1;
        self.keyspace.touch(address, self.recency);
    }

    fn sweep(&mut self, effects: &mut Effects) {
        for _ in 0..SWEEP_STEPS {
            let Some(address) = self.first_expired() else { break };
            self.release(address, Reason::Expired, effects);
        }
    }

    /// Whether another entry, even an empty one, would evict something on the way to a lowered limit.
    pub fn has_more_to_evict(&self) -> bool {
        let is_over = Need::over(self.keyspace.totals, Limits::targets(&self.settings)).is_some();
        is_over
            && match self.settings.eviction {
                Eviction::NoEviction => false,
                Eviction::Lru => self.keyspace.totals.keys > 0,
                Eviction::VolatileLru | Eviction::VolatileTtl => self.keyspace.deadlines.first().is_some(),
            }
    }

    /// A lowered limit is reached in bounded steps, because one long apply would stop heartbeats.
    fn approach_limits(&mut self, effects: &mut Effects) {
        let limits = Limits::targets(&self.settings);
        let need = Need::over(self.keyspace.totals, limits);
        if need.is_some() {
            self.guard.arm_for_nothing(&mut self.keyspace);
            self.free_up(need, None, self.settings.eviction, LIMIT_STEPS, effects);
            self.guard.disarm(&mut self.keyspace);
        }
    }

    /// The limits that hold now under `settings`. While accounted bytes are above a lowered target, they
    /// themselves are the limit: it sinks with them, and never rises unless the target does.
    pub(super) fn limits(&self, settings: &Settings) -> Limits {
        let targets = Limits::targets(settings);
        Limits {
            max_bytes: targets.max_bytes.max(self.keyspace.totals.bytes),
            max_keys: targets.max_keys.max(self.keyspace.totals.keys),
        }
    }

    /// The entry whose deadline comes first, if it is past.
    pub(super) fn first_expired(&self) -> Option<Address> {
        let (deadline, slot) = self.keyspace.deadlines.first()?;
        if deadline > self.now {
            return None;
        }
        Some(self.keyspace.slots.get(slot).expect("a deadline belongs to an entry"))
    }

    /// A stamp for a change: every change takes a revision and a recency of its own.
    pub(super) fn next_stamp(&mut self, deadline: Option<Timestamp>) -> Stamp {
        self.revision += 1;
        self.recency += 1;
        Stamp { version: self.revision, recency: self.recency, deadline }
    }

    /// Lets the cut have an entry that is about to be changed.
    pub(super) fn displace(&mut self, address: Address, effects: &mut Effects) {
        if let Some(cut) = &mut self.cut
            && !cut.displace(&self.keyspace.records.at(address))
        {
            self.abandon_cut(effects);
        }
    }

    /// Removes an entry that no command of the running transaction has written.
    pub(super) fn release(&mut self, address: Address, reason: Reason, effects: &mut Effects) {
        self.guard.release(&self.keyspace.records.at(address));
        self.remove(address, reason, effects);
    }

    /// Removes an entry: one place for deletion, expiry and eviction.
    pub(super) fn remove(&mut self, address: Address, reason: Reason, effects: &mut Effects) {
        self.displace(address, effects);
        let record = self.keyspace.records.at(address);
        effects.push_removal(record.key(), Version(record.version()), reason);
        match reason {
            Reason::Expired => self.expirations += 1,
            Reason::Evicted => self.evictions += 1,
            Reason::Deleted | Reason::Cleared => {}
        }
        let hash = self.keyspace.index.hash(record.key());
        let given_up = self.keyspace.remove(address, hash);
        effects.discard_value(given_up);
    }

    /// Counts an entry that was written with a deadline in the past.
    pub(super) fn vanished(&mut self, key: &[u8], version: u64, effects: &mut Effects) {
        self.expirations += 1;
        effects.push_removal(key, Version(version), Reason::Expired);
    }

    /// Replaces the keyspace by an empty one, in O(1) whatever its size. Returns how many keys there were.
    pub(super) fn clear(&mut self, effects: &mut Effects) -> u64 {
        self.revision += 1;
        let keys = self.len();
        effects.push_removal(&[], Version(self.revision), Reason::Cleared);
        effects.changes.cleared += keys;
        if keys > 0 {
            let empty = Box::new(Keyspace::new(self.hash_seed, 0));
            let old = std::mem::replace(&mut self.keyspace, empty);
            match &mut self.cut {
                Some(cut) if !cut.is_frozen() && !cut.is_done() => cut.freeze(old),
                _ => effects.discard_cleared(old),
            }
            self.guard.forget();
        }
        keys
    }

    /// Gives an empty keyspace another hash seed.
    pub(super) fn reseed(&mut self, hash_seed: u128) {
        self.hash_seed = hash_seed;
        *self.keyspace = Keyspace::new(hash_seed, 0);
        self.guard.forget();
    }

    /// The entry in a slot, for tests and tools.
    pub fn entry(&self, slot: Slot) -> Option<RecordRef<'_>> {
        let address = self.keyspace.slots.get(slot)?;
        Some(lend(&self.keyspace.records.at(address)))
    }

    /// One past the highest slot that was ever taken since the last FLUSHALL or load.
    pub fn end_slot(&self) -> Slot {
        Slot(self.keyspace.slots.end())
    }
}

/// Replicated totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Keys evicted.
    pub evictions: u64,
    /// Keys expired.
    pub expirations: u64,
}
