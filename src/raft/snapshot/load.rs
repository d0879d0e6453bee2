//! From a file to a store.
//!
//! One thread reads, verifies and decompresses blocks while the other puts their records into the store; the buffers
//! go round between them. Nothing is believed before the end: a store leaves this module only when the whole file
//! was found valid and the store found itself to be the one that was written.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::error::Error;
use super::header::Header;
use super::meta::Meta;
use super::reader::{Block, Reader};
use super::record::Records;
use crate::disk::Disk;
use crate::store::{Loader, Store};

/// Blocks that the reading thread may be ahead.
const AHEAD: usize = 4;

/// A snapshot in memory.
pub struct Loaded {
    /// Where in the life of the cluster it was taken.
    pub meta: Meta,
    /// The store as it was then.
    pub store: Store,
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Why newer snapshots were passed over. Whoever loads says so in the log.
    pub damaged: Vec<Error>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { meta, path, bytes, damaged, .. } = self;
        let mut shown = f.debug_struct("Loaded");
        shown.field("meta", meta).field("path", path).field("bytes", bytes).field("damaged", damaged);
        shown.finish_non_exhaustive()
    }
}

/// Loads the snapshot of a cluster.
pub(super) fn load(disk: &dyn Disk, path: &Path, cluster: u128) -> Result<Loaded, Error> {
    let mut reader = Reader::open(disk, path)?;
    let Header { meta, globals } = reader.header().clone();
    meta.belongs_to(cluster, path)?;
    let bytes = reader.length();
    let loader = Loader::new(globals);
    let loader = thread::scope(|scope| {
        let (full, blocks) = sync_channel(AHEAD);
        let (empty, buffers) = channel();
        let reading = thread::Builder::new()
            .name("snapshot-read".into())
            .spawn_scoped(scope, move || read(&mut reader, &full, &buffers))
            .map_err(Error::io("starting a thread to read", path))?;
        let loader = push(loader, &blocks, &empty, path);
        drop(blocks);
        let read = reading.join().expect("the reading thread does not panic");
        // A record that is refused lies before anything that the reading thread, being ahead, may have run into.
        loader.and_then(|loader| read.map(|()| loader))
    })?;
    let store = loader.finish().map_err(|invalid| Error::corrupt(path, 0, invalid.to_string()))?;
    Ok(Loaded { meta, store, path: path.to_owned(), bytes, damaged: Vec::new() })
}

/// Reads to the end, or until nobody wants more.
fn read(
    reader: &mut Reader,
    full: &SyncSender<(Block, Vec<u8>)>,
    buffers: &Receiver<Vec<u8>>,
) -> Result<(), Error> {
    loop {
        let mut content = buffers.try_recv().unwrap_or_default();
        match reader.next(&mut content)? {
            Some(block) if full.send((block, content)).is_ok() => {}
            _ => return Ok(()),
        }
    }
}

/// Puts all records into the store.
fn push(
    mut loader: Loader,
    blocks: &Receiver<(Block, Vec<u8>)>,
    empty: &Sender<Vec<u8>>,
    path: &Path,
) -> Result<Loader, Error> {
    while let Ok((block, content)) = blocks.recv() {
        let corrupt = |what: String| Error::corrupt(path, block.offset, what);
        let records = Records::new(block.kind, block.records, &content);
        for record in records.map_err(|what| corrupt(what.into()))? {
            let record = record.map_err(|what| corrupt(what.into()))?;
            loader.push(record).map_err(|invalid| corrupt(invalid.to_string()))?;
        }
        // At the end of the file nobody takes it any more.
        let _ = empty.send(content);
    }
    Ok(loader)
}
