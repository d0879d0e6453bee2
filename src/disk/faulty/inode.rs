//! One file of the forgetting disk: what its readers see, what is durable, and what a power cut may leave of
//! it.

use crate::disk::contract::SECTOR;

/// A file: what its readers see, what is durable, and the changes between.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Changes that a failed sync dropped: they may have reached the disk, but no later sync sees to it.
    lost: usize,
}

/// A change that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Unsynced {
    Bytes { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

impl Inode {
    pub(super) fn durable(content: Vec<u8>) -> Inode {
        Inode { live: content.clone(), durable: content, ..Inode::default() }
    }

    pub(super) fn write(&mut self, change: Unsynced) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(self.lost..) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn lose(&mut self) {
        self.lost = self.unsynced.len();
    }

    /// One content that may be found after a power cut.
    pub(super) fn drawn(&self, luck: &mut Luck) -> Vec<u8> {
        let kept = luck.below(self.unsynced.len() + 1);
        let mut image = self.durable.clone();
        let lengths = self.unsynced.iter().take(kept).map(Unsynced::end);
        let length = lengths
            .fold(self.durable.len(), |length, (end, exact)| if exact { end } else { length.max(end) });
        image.resize(length, 0);
        for start in (0..length).step_by(SECTOR) {
            let versions = if luck.all_or_nothing {
                luck.below(2) * self.unsynced.len()
            } else {
                luck.below(self.unsynced.len() + 1)
            };
            for change in self.unsynced.iter().take(versions) {
                change.apply_within(&mut image, start);
            }
        }
        image
    }
}

impl Unsynced {
    fn apply(&self, content: &mut Vec<u8>) {
        let (end, exact) = self.end();
        if exact || end > content.len() {
            content.resize(end, 0);
        }
        if let Unsynced::Bytes { offset, bytes } = self {
            let from = usize::try_from(*offset).unwrap_or(usize::MAX);
            if let Some(place) = content.get_mut(from..from + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
    }

    /// Applies only the part that falls into the sector at `start`.
    fn apply_within(&self, content: &mut [u8], start: usize) {
        let Unsynced::Bytes { offset, bytes } = self else { return };
        let from = usize::try_from(*offset).unwrap_or(usize::MAX);
        let (low, high) = (from.max(start), (from + bytes.len()).min(start + SECTOR).min(content.len()));
        if low < high
            && let (Some(place), Some(part)) =
                (content.get_mut(low..high), bytes.get(low - from..high - from))
        {
            place.copy_from_slice(part);
        }
    }

    /// Where the file ends after it, and whether exactly there or at least.
    fn end(&self) -> (usize, bool) {
        let (end, exact) = match self {
            Unsynced::Bytes { offset, bytes } => (offset + bytes.len() as u64, false),
            Unsynced::Length(length) => (*length, true),
        };
        (usize::try_from(end).unwrap_or(usize::MAX), exact)
    }
}

/// Small deterministic dice (splitmix64).
pub(super) struct Luck {
    state: u64,
    /// Sectors are lost or kept with all their versions, never at one between.
    all_or_nothing: bool,
}

impl Luck {
    pub(super) fn new(seed: u64) -> Luck {
        let mut luck = Luck { state: seed, all_or_nothing: seed.is_multiple_of(2) };
        luck.next();
        luck
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}
