//! From a key's hash to its record: linear hashing (Litwin 1980) over buckets of one cache line.
//!
//! ```text
//! bucket: | 12 addresses of 4 bytes | 12 tags of 1 byte | overflow u32 |   64 bytes
//! ```
//!
//! The table grows by one bucket at a time: bucket `split` is divided into itself and a new last one, so no
//! insert waits for a rehash of everything. It shrinks the same way. A bucket that is full chains into
//! overflow buckets; at the load kept here about one in seven does. A tag is a byte of the hash and spares
//! most looks at foreign keys.
//!
//! The hash is SipHash-1-3 (Aumasson, Bernstein 2012) under a key drawn when the cluster is created, so that
//! nobody outside can aim at one bucket.

use siphasher::sip::SipHasher13;

use super::cells::Address;
use super::paged::Paged;

const WAYS: usize = 12;
/// Keys for each bucket, in quarters: it grows past 8.5 and shrinks below 2.5.
const GROW_QUARTERS: usize = 34;
const SHRINK_QUARTERS: usize = 10;
const NO_BUCKET: u32 = u32::MAX;

/// Not declared as aligned: mimalloc puts pages of 16 KiB on such borders anyway, and takes more for one that
/// asks.
#[derive(Clone, Copy)]
struct Bucket {
    addresses: [Address; WAYS],
    /// 0 where there is no entry.
    tags: [u8; WAYS],
    overflow: u32,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket { addresses: [Address::NONE; WAYS], tags: [0; WAYS], overflow: NO_BUCKET }
    }
}

impl Bucket {
    /// Ways whose tag is `tag`: bit 8 n + 7 stands for way n. (Exact zero-byte test, Hacker's Delight 6-1.)
    fn matching(&self, tag: u8) -> u128 {
        const LOW: u128 = u128::from_le_bytes([0x7f; 16]);
        let mut tags = [!tag; 16];
        tags[..WAYS].copy_from_slice(&self.tags);
        let differs = u128::from_le_bytes(tags) ^ u128::from_le_bytes([tag; 16]);
        !(((differs & LOW) + LOW) | differs | LOW)
    }

    fn find(&self, tag: u8, mut is_it: impl FnMut(Address) -> bool) -> Option<usize> {
        let mut matching = self.matching(tag);
        while matching != 0 {
            let way = matching.trailing_zeros() as usize / 8;
            if is_it(self.addresses[way]) {
                return Some(way);
            }
            matching &= matching - 1;
        }
        None
    }

    fn is_empty(&self) -> bool {
        self.tags == [0; WAYS]
    }

    fn entries(&self) -> impl Iterator<Item = Address> + '_ {
        self.addresses.iter().zip(self.tags).filter(|&(_, tag)| tag != 0).map(|(&address, _)| address)
    }
}

/// Where an entry stands: a bucket of the table or an overflow bucket, and the way in it.
#[derive(Clone, Copy)]
enum Line {
    Home(usize),
    Overflow(u32),
}

/// The index of a keyspace.
pub(super) struct Index {
    hasher: SipHasher13,
    homes: Paged<Bucket, 256>,
    overflows: Paged<Bucket, 256>,
    free_overflow: u32,
    length: usize,
    moving: Vec<Address>,
    /// Entries moved by splits and merges so far, for the tests of bounded work.
    moved: u64,
}

impl Index {
    /// An empty index with room for `keys` keys.
    pub(super) fn new(seed: u128, keys: usize) -> Index {
        let mut homes = Paged::new();
        homes.grow_to((keys * 4).div_ceil(GROW_QUARTERS).max(1));
        Index {
            hasher: SipHasher13::new_with_keys(seed as u64, (seed >> 64) as u64),
            homes,
            overflows: Paged::new(),
            free_overflow: NO_BUCKET,
            length: 0,
            moving: Vec::new(),
            moved: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn hasher(&self) -> SipHasher13 {
        self.hasher
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    #[cfg(test)]
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// The entry under `hash` that `is_it` accepts.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(Address) -> bool) -> Option<Address> {
        let mut bucket = self.homes.get(self.home(hash));
        loop {
            if let Some(way) = bucket.find(tag(hash), &mut is_it) {
                return Some(bucket.addresses[way]);
            }
            if bucket.overflow == NO_BUCKET {
                return None;
            }
            bucket = self.overflows.get(bucket.overflow as usize);
        }
    }

    /// A byte of the bucket for `hash`, to bring it in.
    pub(super) fn glance_at(&self, hash: u64) -> u8 {
        self.homes.get(self.home(hash)).tags[0]
    }

    /// A record that is probably the one under `hash`: the first with its tag in the first bucket.
    pub(super) fn glance(&self, hash: u64) -> Address {
        let bucket = self.homes.get(self.home(hash));
        let way = bucket.matching(tag(hash)).trailing_zeros() as usize / 8;
        bucket.addresses.get(way).copied().unwrap_or(Address::NONE)
    }

    /// Adds an entry that is not there yet. `hash_of` gives the hash of entries that a split moves.
    pub(super) fn insert(&mut self, hash: u64, address: Address, hash_of: impl Fn(&Index, Address) -> u64) {
        self.place(hash, address);
        self.length += 1;
        if self.length * 4 > self.homes.len() * GROW_QUARTERS {
            self.split(hash_of);
        }
    }

    /// Puts `new` where `old` was.
    pub(super) fn replace(&mut self, hash: u64, old: Address, new: Address) {
        let (line, way, _) = self.locate(hash, old);
        self.line_mut(line).addresses[way] = new;
    }

    /// Takes an entry out. `hash_of` gives the hash of entries that a merge moves.
    pub(super) fn remove(&mut self, hash: u64, address: Address, hash_of: impl Fn(&Index, Address) -> u64) {
        let (line, way, before) = self.locate(hash, address);
        let bucket = self.line_mut(line);
        bucket.tags[way] = 0;
        bucket.addresses[way] = Address::NONE;
        if let (Line::Overflow(number), true) = (line, bucket.is_empty()) {
            let next = self.free_bucket(number);
            self.line_mut(before).overflow = next;
        }
        self.length -= 1;
        if self.length * 4 < self.homes.len() * SHRINK_QUARTERS && self.homes.len() > 1 {
            self.merge(hash_of);
        }
    }

    fn home(&self, hash: u64) -> usize {
        let buckets = self.homes.len();
        let mask = buckets.next_power_of_two() - 1;
        let at = hash as usize & mask;
        if at < buckets { at } else { at & (mask >> 1) }
    }

    fn line(&self, line: Line) -> &Bucket {
        match line {
            Line::Home(at) => self.homes.get(at),
            Line::Overflow(number) => self.overflows.get(number as usize),
        }
    }

    fn line_mut(&mut self, line: Line) -> &mut Bucket {
        match line {
            Line::Home(at) => self.homes.get_mut(at),
            Line::Overflow(number) => self.overflows.get_mut(number as usize),
        }
    }

    /// Line, way and the line before of an entry that is there.
    fn locate(&self, hash: u64, address: Address) -> (Line, usize, Line) {
        let mut line = Line::Home(self.home(hash));
        let mut before = line;
        loop {
            let bucket = self.line(line);
            if let Some(way) = bucket.find(tag(hash), |candidate| candidate == address) {
                return (line, way, before);
            }
            assert!(bucket.overflow != NO_BUCKET, "an entry of the store is in its index");
            before = line;
            line = Line::Overflow(bucket.overflow);
        }
    }

    fn place(&mut self, hash: u64, address: Address) {
        let mut line = Line::Home(self.home(hash));
        loop {
            let bucket = self.line_mut(line);
            if let Some(way) = bucket.find(0, |_| true) {
                bucket.tags[way] = tag(hash);
                bucket.addresses[way] = address;
                return;
            }
            line = match bucket.overflow {
                NO_BUCKET => {
                    let number = self.take_bucket();
                    self.line_mut(line).overflow = number;
                    Line::Overflow(number)
                }
                number => Line::Overflow(number),
            };
        }
    }

    fn take_bucket(&mut self) -> u32 {
        let number = self.free_overflow;
        if number == NO_BUCKET {
            self.overflows.push(Bucket::default());
            return self.overflows.len() as u32 - 1;
        }
        let bucket = std::mem::take(self.overflows.get_mut(number as usize));
        self.free_overflow = bucket.overflow;
        number
    }

    /// Frees an overflow bucket. Returns the one that it chained into.
    fn free_bucket(&mut self, number: u32) -> u32 {
        let free = Bucket { overflow: self.free_overflow, ..Bucket::default() };
        let bucket = std::mem::replace(self.overflows.get_mut(number as usize), free);
        self.free_overflow = number;
        bucket.overflow
    }

    /// Empties a bucket and its chain into `moving`.
    fn drain(&mut self, at: usize) {
        let mut bucket = std::mem::take(self.homes.get_mut(at));
        loop {
            self.moving.extend(bucket.entries());
            if bucket.overflow == NO_BUCKET {
                break;
            }
            let number = bucket.overflow;
            bucket = *self.overflows.get(number as usize);
            self.free_bucket(number);
        }
    }

    fn put_back(&mut self, hash_of: impl Fn(&Index, Address) -> u64) {
        self.moved += self.moving.len() as u64;
        while let Some(address) = self.moving.pop() {
            self.place(hash_of(self, address), address);
        }
    }

    fn split(&mut self, hash_of: impl Fn(&Index, Address) -> u64) {
        let new = self.homes.len();
        let half = (new + 1).next_power_of_two() / 2;
        self.drain(new - half);
        self.homes.push(Bucket::default());
        self.put_back(hash_of);
    }

    fn merge(&mut self, hash_of: impl Fn(&Index, Address) -> u64) {
        self.drain(self.homes.len() - 1);
        self.homes.pop();
        self.put_back(hash_of);
    }
}

/// The byte of the hash that the table's own bits reach last. 0 means empty.
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(index: &Index, address: Address) -> u64 {
        index.hash(&address.raw().to_le_bytes())
    }

    fn insert(index: &mut Index, n: u32) {
        index.insert(hash(index, Address::from_raw(n)), Address::from_raw(n), hash);
    }

    fn contains(index: &Index, n: u32) -> bool {
        let address = Address::from_raw(n);
        index.find(hash(index, address), |candidate| candidate == address).is_some()
    }

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    #[test]
    fn holds_exactly_what_was_put_in_through_growth_and_shrinking() {
        let mut index = Index::new(5, 0);
        (0..20_000).for_each(|n| insert(&mut index, n));
        let peak = index.homes.len();
        assert!((0..20_000).all(|n| contains(&index, n)) && !contains(&index, 20_000));
        for n in (0..20_000).filter(|n| n % 10 != 0) {
            let address = Address::from_raw(n);
            index.remove(hash(&index, address), address, hash);
        }
        assert_eq!(index.len(), 2_000);
        assert!(index.homes.len() * 2 < peak, "buckets are given back");
        assert!((0..20_000).all(|n| contains(&index, n) == (n % 10 == 0)));
    }

    #[test]
    fn growth_moves_a_bounded_number_at_a_time() {
        let mut index = Index::new(1, 0);
        let mut most = 0;
        for n in 0..100_000 {
            let before = index.moved();
            insert(&mut index, n);
            most = most.max(index.moved() - before);
        }
        assert!(most <= 64, "one split moved {most} entries");
        assert!(index.moved() < 300_000);
    }
}
