//! Samples: the figures of a node at one time.
//!
//! ```text
//!    0  version  u8   1
//!    1  figures  u64  each, little endian, in the order of FIGURES; a later version may have more of them
//! ```

use crate::model::Timestamp;

const VERSION: u8 = 1;

/// How a figure moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives, and begins at 0 with it.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A figure of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
}

const fn counter(name: &'static str) -> Figure {
    Figure { name, kind: Kind::Counter }
}

const fn gauge(name: &'static str) -> Figure {
    Figure { name, kind: Kind::Gauge }
}

/// Every figure of a sample, in order. New ones go to the end: samples that lack them read as 0.
pub const FIGURES: [Figure; 16] = [
    gauge("keys"),
    gauge("bytes"),
    counter("gets"),
    counter("sets"),
    counter("deletes"),
    counter("others"),
    counter("hits"),
    counter("misses"),
    counter("evictions"),
    counter("expirations"),
    gauge("wal_bytes"),
    gauge("wal_segments"),
    counter("applied"),
    gauge("term"),
    gauge("leads"),
    counter("uptime_seconds"),
];

/// The figures of a node at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, by the wall clock of the node.
    pub at: Timestamp,
    /// One for each of [`FIGURES`].
    pub figures: [u64; FIGURES.len()],
}

impl Sample {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        self.figures.iter().for_each(|figure| bytes.extend(figure.to_le_bytes()));
        bytes
    }

    /// `None` for what this version did not write.
    pub(super) fn decode(at: Timestamp, bytes: &[u8]) -> Option<Sample> {
        let (&VERSION, rest) = bytes.split_first()? else { return None };
        let (words, []) = rest.as_chunks::<8>() else { return None };
        let mut figures = [0; FIGURES.len()];
        figures.iter_mut().zip(words).for_each(|(figure, word)| *figure = u64::from_le_bytes(*word));
        Some(Sample { at, figures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the format stays as it is, and samples of an older version with fewer figures can be read.
    #[test]
    fn samples_are_read_back() {
        let mut figures = [0; FIGURES.len()];
        figures.iter_mut().enumerate().for_each(|(n, figure)| *figure = n as u64 + (1 << 40));
        let sample = Sample { at: Timestamp(7), figures };
        let bytes = sample.encode();
        assert_eq!(bytes[..10], [1, 0, 0, 0, 0, 0, 1, 0, 0, 1], "golden");
        assert_eq!(bytes.len(), 1 + 8 * FIGURES.len());
        assert_eq!(Sample::decode(sample.at, &bytes), Some(sample));
        let older = Sample::decode(Timestamp(7), &bytes[..17]).expect("two figures");
        assert_eq!((older.figures[1], older.figures[2]), (figures[1], 0));
        for broken in [&bytes[..0], &bytes[..16], &[2, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Sample::decode(Timestamp(7), broken), None, "{broken:?}");
        }
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::BTreeSet<_> = FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), FIGURES.len());
    }
}
