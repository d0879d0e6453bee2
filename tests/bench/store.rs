//! The store alone: operations a second on one core, bytes a key, and what FLUSHALL and loading cost.
//!
//! `cargo bench --bench store [name ...]`; without names everything. Memory is the slope of the resident set
//! from 1 M to 2 M keys, each kind in a process of its own, because a freed heap would hide growth.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::Duration;

use bytes::Bytes;
use kvorum::model::{
    Answer, Command, Condition, Eviction, Expiry, Key, Query, Settings, Slot, Timestamp, Touch, Transaction,
    Ttl, Version,
};
use kvorum::raft::{Noted, Removals};
use kvorum::store::{Effects, Loader, Store, Walk};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;
const ENTRY: usize = 512;
const CASES: [&str; 12] = [
    "set",
    "get",
    "hot",
    "evict",
    "removals",
    "ttl",
    "touch",
    "mset",
    "clear",
    "load",
    "memory",
    "memory-ttl",
];

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    if let [name] = names.as_slice() {
        return run(name);
    }
    let this = std::env::current_exe().expect("a program knows its path");
    let wanted = |name: &&str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    for name in CASES.iter().filter(|name| wanted(name)) {
        let status = std::process::Command::new(&this).arg(name).status().expect("the bench runs itself");
        assert!(status.success(), "{name} failed");
    }
}

fn run(name: &str) {
    match name {
        "set" => set("SET, 1 M key space", KEYS, Expiry::Never),
        "hot" => {
            set("SET, 4,096 key space", 4_096, Expiry::Never);
            get("GET, 4,096 key space", 4_096);
        }
        "ttl" => {
            let expiry = Expiry::After(Ttl::from_millis(3_600_000).expect("an hour is valid"));
            set("SET with TTL, 1 M key space", KEYS, expiry);
        }
        "evict" => evict(),
        "removals" => removals(),
        "get" => get("GET, 1 M key space", KEYS),
        "touch" => touch(),
        "mset" => mset(),
        "clear" => clear(),
        "load" => load(),
        "memory" => memory("no TTL", Expiry::Never),
        "memory-ttl" => {
            memory("with TTL", Expiry::After(Ttl::from_millis(3_600_000).expect("an hour is valid")));
        }
        other => println!("unknown case {other:?}: {CASES:?}"),
    }
}

fn key(n: u64) -> Key {
    Key::new(format!("key:{n:012}")).expect("16 bytes are a key")
}

fn command(n: u64, value: &Bytes, expiry: Expiry) -> Command {
    Command::Set { key: key(n), value: value.clone(), expiry, condition: Condition::Always }
}

fn each(commands: Vec<Command>) -> Transaction {
    Transaction { commands, ..Transaction::single(Command::Clear) }
}

fn apply(store: &mut Store, transaction: &Transaction, effects: &mut Effects) {
    effects.clear();
    effects.begin(1, true);
    store.open_entry(Timestamp(1), &[], effects);
    store.transact(transaction, &[], effects);
}

fn filled(keys: u64, expiry: Expiry) -> Store {
    let mut store = Store::new();
    fill(&mut store, 0..keys, expiry);
    store
}

fn fill(store: &mut Store, keys: std::ops::Range<u64>, expiry: Expiry) {
    let (value, mut effects) = (Bytes::from(vec![b'v'; 64]), Effects::new());
    for n in keys.step_by(ENTRY) {
        let commands = (n..n + ENTRY as u64).map(|n| command(n, &value, expiry)).collect();
        apply(store, &each(commands), &mut effects);
    }
}

/// CPU time of this thread: what others do on the machine counts less than by the clock on the wall.
#[derive(Clone, Copy)]
struct Cpu(Duration);

impl Cpu {
    fn now() -> Cpu {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Cpu(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    fn elapsed(self) -> Duration {
        Cpu::now().0 - self.0
    }
}

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn report(name: &str, count: u64, elapsed: Duration) {
    let rate = count as f64 / elapsed.as_secs_f64() / 1e6;
    println!("{name:<40} {rate:>8.2} M/s   {:>7.0} ns each", 1e3 / rate);
}

/// Prepares entries in advance, a slice at a time, and times nothing but their application.
fn timed_sets(
    store: &mut Store,
    keys: u64,
    expiry: Expiry,
    make: fn(Vec<Command>) -> Vec<Transaction>,
) -> (u64, Duration) {
    let (value, mut effects, mut random) = (Bytes::from(vec![b'w'; 64]), Effects::new(), Random(7));
    let (mut count, mut elapsed) = (0, Duration::ZERO);
    for _ in 0..100 {
        let entries: Vec<Vec<Transaction>> = (0..100)
            .map(|_| make((0..ENTRY).map(|_| command(random.below(keys), &value, expiry)).collect()))
            .collect();
        let start = Cpu::now();
        for transactions in &entries {
            effects.clear();
            effects.begin(1, true);
            let at = Timestamp(store.now().0 + 1);
            store.open_entry(at, &[], &mut effects);
            let mut warm = 0;
            for (n, transaction) in transactions.iter().enumerate() {
                if n == warm {
                    warm += store.warm(&transactions[n..]);
                }
                store.transact(transaction, &[], &mut effects);
            }
        }
        elapsed += start.elapsed();
        count += (entries.len() * ENTRY) as u64;
    }
    (count, elapsed)
}

fn singles(commands: Vec<Command>) -> Vec<Transaction> {
    commands.into_iter().map(Transaction::single).collect()
}

fn pipeline(commands: Vec<Command>) -> Vec<Transaction> {
    vec![each(commands)]
}

fn set(name: &str, keys: u64, expiry: Expiry) {
    let store = &mut filled(keys, expiry);
    let (count, elapsed) = timed_sets(store, keys, expiry, singles);
    report(&format!("{name}, single"), count, elapsed);
    let (count, elapsed) = timed_sets(store, keys, expiry, pipeline);
    report(&format!("{name}, pipelined"), count, elapsed);
}

fn mset() {
    let mut store = filled(KEYS, Expiry::Never);
    let all = |commands: Vec<Command>| {
        let chunks = commands.chunks(16).map(<[Command]>::to_vec);
        chunks.map(|commands| Transaction { mode: kvorum::model::Mode::All, ..each(commands) }).collect()
    };
    let (count, elapsed) = timed_sets(&mut store, KEYS, Expiry::Never, all);
    report("SET in transactions of 16 (all)", count, elapsed);
}

fn evict() {
    let mut store = filled(KEYS, Expiry::Never);
    let settings = Settings { max_bytes: store.bytes(), eviction: Eviction::Lru, ..Settings::default() };
    apply(&mut store, &Transaction::single(Command::Configure(settings.into())), &mut Effects::new());
    let (count, elapsed) = timed_sets(&mut store, KEYS * 1_000, Expiry::Never, singles);
    report("SET of new keys, each evicts, single", count, elapsed);
    let (count, elapsed) = timed_sets(&mut store, KEYS * 1_000, Expiry::Never, pipeline);
    report("SET of new keys, each evicts, pipelined", count, elapsed);
    assert!(store.counters().evictions > KEYS);
}

/// What it costs to remember why keys are gone, beside the store: noting, asking, and memory.
fn removals() {
    let mut store = filled(KEYS, Expiry::Never);
    let settings = Settings { max_bytes: store.bytes(), eviction: Eviction::Lru, ..Settings::default() };
    apply(&mut store, &Transaction::single(Command::Configure(settings.into())), &mut Effects::new());
    let (value, mut effects) = (Bytes::from(vec![b'w'; 64]), Effects::new());
    let removals = Removals::default();
    let (mut count, mut elapsed, before) = (0, Duration::ZERO, resident());
    for n in (KEYS..3 * KEYS).step_by(ENTRY) {
        let commands = (n..n + ENTRY as u64).map(|n| command(n, &value, Expiry::Never)).collect();
        apply(&mut store, &each(commands), &mut effects);
        count += effects.removals().len() as u64;
        let start = Cpu::now();
        removals.note(&effects, &mut Noted::default(), store.now());
        elapsed += start.elapsed();
    }
    report("removal noted, each by eviction", count, elapsed);
    println!("{:<40} {:>8.2} MB", "memory of the last 65,536", (resident() - before) as f64 / 1e6);
    let keys: Vec<Key> = (0..3 * KEYS).map(key).collect();
    let start = Cpu::now();
    let found = keys.iter().filter(|key| removals.find(key).is_some()).count();
    report("removal asked for, 1 in 46 known", 3 * KEYS, start.elapsed());
    assert_eq!(found, 65_536);
}

fn get(name: &str, keys: u64) {
    get_by(&format!("{name}, one by one"), keys, |store, queries, answers| {
        answers.extend(queries.iter().map(|query| store.read(Timestamp(1), query)));
    });
    get_by(&format!("{name}, pipelined"), keys, |store, queries, answers| {
        store.read_all(Timestamp(1), queries, answers)
    });
}

fn get_by(name: &str, keys: u64, read: fn(&Store, &[Query], &mut Vec<Answer>)) {
    let store = filled(keys, Expiry::Never);
    let mut random = Random(9);
    let (mut count, mut elapsed, mut hits) = (0, Duration::ZERO, 0);
    let mut answers = Vec::with_capacity(64);
    for _ in 0..100 {
        let queries: Vec<Query> = (0..51_200).map(|_| Query::Get(key(random.below(keys)))).collect();
        let start = Cpu::now();
        for queries in queries.chunks(64) {
            read(&store, queries, &mut answers);
            hits += answers.drain(..).filter(|answer| matches!(answer, Answer::Value(Some(_)))).count();
        }
        elapsed += start.elapsed();
        count += queries.len();
    }
    assert_eq!(hits, count);
    report(name, count as u64, elapsed);
}

fn touch() {
    let mut store = filled(KEYS, Expiry::Never);
    let (mut effects, mut random) = (Effects::new(), Random(3));
    let touches: Vec<Touch> = (0..5_000_000)
        .map(|_| {
            let slot = Slot(random.below(KEYS) as u32);
            Touch { slot, version: store.entry(slot).map_or(Version::ABSENT, |entry| entry.version) }
        })
        .collect();
    let start = Cpu::now();
    store.open_entry(Timestamp(2), &touches, &mut effects);
    report("touch", touches.len() as u64, start.elapsed());
}

fn clear() {
    let mut store = filled(10 * KEYS, Expiry::Never);
    let mut effects = Effects::new();
    let start = Cpu::now();
    store.transact(&Transaction::single(Command::Clear), &[], &mut effects);
    let applied = start.elapsed();
    let start = Cpu::now();
    effects.clear();
    println!(
        "{:<40} {:>8.1} us; dropping it off-thread {:?}",
        "FLUSHALL of 10 M keys",
        applied.as_secs_f64() * 1e6,
        start.elapsed()
    );
}

fn load() {
    let mut store = filled(KEYS, Expiry::Never);
    // Written over at random, so that the LRU order is not that of the slots.
    timed_sets(&mut store, KEYS, Expiry::Never, pipeline);
    let globals = store.begin_cut(1 << 20).expect("no other cut");
    let mut records = Vec::with_capacity(KEYS as usize + ENTRY);
    let start = Cpu::now();
    let mut longest = Duration::ZERO;
    loop {
        let chunk = Cpu::now();
        let walk = store.walk(1_000, 1 << 20, &mut |record| {
            records.push((
                record.slot,
                record.key.to_vec(),
                record.value.to_vec(),
                record.version,
                record.recency,
            ));
        });
        longest = longest.max(chunk.elapsed());
        if walk == Walk::Done {
            break;
        }
    }
    println!(
        "{:<40} {:>8.0} ms, longest hold of 1,000 slots {:?}",
        "walk of 1 M keys, copied",
        start.elapsed().as_secs_f64() * 1e3,
        longest
    );
    drop(store);
    let start = Cpu::now();
    let mut loader = Loader::new(globals);
    for (slot, key, value, version, recency) in &records {
        let record = kvorum::store::RecordRef {
            slot: *slot,
            key,
            value,
            version: *version,
            deadline: None,
            recency: *recency,
        };
        loader.push(record).expect("the records are whole");
    }
    let pushed = start.elapsed();
    let store = loader.finish().expect("the records are all there");
    println!(
        "{:<40} {:>8.0} ms, of it {:?} for pushing",
        "load of 1 M keys",
        start.elapsed().as_secs_f64() * 1e3,
        pushed
    );
    assert_eq!(store.len(), globals.keys);
}

#[expect(clippy::disallowed_methods, reason = "a bench is no part of the product")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4_096
}

fn memory(name: &str, expiry: Expiry) {
    let mut store = Store::new();
    fill(&mut store, 0..KEYS, expiry);
    let (one, before) = (store.len(), resident());
    fill(&mut store, one..2 * one, expiry);
    let slope = (resident() - before) as f64 / (store.len() - one) as f64;
    println!("{:<40} {slope:>8.1} bytes resident a key, slope from 1 M to 2 M", format!("memory, {name}"));
}
