//! Verifies a snapshot without loading it.

use std::path::Path;

use super::error::Error;
use super::meta::Meta;
use super::pace::Pace;
use super::reader::Reader;
use super::record::Records;
use crate::disk::Disk;
use crate::model::Level;
use crate::store::Globals;

/// What a valid snapshot holds.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Where in the life of the cluster it was taken.
    pub meta: Meta,
    /// The replicated state beside the entries.
    pub globals: Globals,
    /// Length of the file.
    pub bytes: u64,
    /// Blocks of records.
    pub blocks: u64,
    /// Records that the walk over the store met.
    pub walked: u64,
    /// Records that writers handed over before they changed them.
    pub displaced: u64,
    /// Length of all records before compression, in bytes.
    pub content_bytes: u64,
}

/// Reads a whole snapshot and checks everything that can be checked without a store: structure, checksums, that each
/// record decodes, and that there are as many as there should be. Memory is bounded by the largest block.
///
/// # Errors
/// [`Error::Corrupt`] with file and offset, [`Error::LevelTooHigh`], [`Error::Io`].
pub fn verify(disk: &dyn Disk, path: &Path) -> Result<Summary, Error> {
    verify_at(disk, path, &mut Pace::full())
}

/// The level of the store in a snapshot, as its header says.
///
/// # Errors
/// Those of [`verify`], for the header.
pub fn level(disk: &dyn Disk, path: &Path) -> Result<Level, Error> {
    Ok(Reader::open(disk, path)?.header().globals.level)
}

/// [`verify`] at a pace of its own.
pub(super) fn verify_at(disk: &dyn Disk, path: &Path, pace: &mut Pace) -> Result<Summary, Error> {
    let mut reader = Reader::open(disk, path)?;
    let mut content = Vec::new();
    while pace.work(|| next(&mut reader, &mut content))? {
        pace.rest();
    }
    let header = reader.header();
    let (meta, globals) = (header.meta.clone(), header.globals);
    let (totals, bytes) = (reader.totals(), reader.length());
    if totals.records() != globals.keys {
        return Err(reader.corrupt(0, "the number of records is not that of the header"));
    }
    let (blocks, walked, displaced) = (totals.blocks, totals.walked, totals.displaced);
    Ok(Summary { meta, globals, bytes, blocks, walked, displaced, content_bytes: totals.content })
}

/// Checks the next block. `false` at the end.
fn next(reader: &mut Reader, content: &mut Vec<u8>) -> Result<bool, Error> {
    let Some(block) = reader.next(content)? else { return Ok(false) };
    let corrupt = |what| reader.corrupt(block.offset, what);
    for record in Records::new(block.kind, block.records, content).map_err(corrupt)? {
        record.map_err(corrupt)?;
    }
    Ok(true)
}
