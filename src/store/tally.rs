//! Adds up the records of a store that is not there: what its keys, bytes and state hash would be.
//!
//! For whoever changes records on their way from one snapshot to another, and must write the sums before the records.

use super::cut::RecordRef;
use super::globals::Globals;
use super::hash::{StateHash, content_hash, key_hash, order_hash, value_hash};
use super::level::cost;
use super::loader::{Invalid, validate};

/// The sum over some records. That no two of them share a key, a slot or a recency is not seen here but by a
/// [`Loader`](super::Loader).
#[derive(Clone, Debug)]
pub struct Tally {
    globals: Globals,
}

impl Tally {
    /// No records yet, beside what of `globals` does not depend on records.
    pub fn new(globals: Globals) -> Tally {
        Tally { globals: Globals { keys: 0, bytes: 0, state_hash: StateHash::default(), ..globals } }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Invalid::Record`] if no entry beside these globals can be like that.
    pub fn add(&mut self, record: &RecordRef<'_>) -> Result<(), Invalid> {
        validate(&self.globals, record)?;
        let content =
            content_hash(key_hash(record.key), value_hash(record.value), record.version.0, record.deadline);
        let Globals { keys, bytes, state_hash, .. } = &mut self.globals;
        *keys += 1;
        *bytes += cost(record.key.len(), record.value.len());
        state_hash.contents = state_hash.contents.wrapping_add(content);
        state_hash.order = state_hash.order.wrapping_add(order_hash(record.slot, record.recency.0));
        Ok(())
    }

    /// The globals of a store that holds these records.
    pub fn total(&self) -> Globals {
        let state_hash = StateHash { globals: self.globals.hash(), ..self.globals.state_hash };
        Globals { state_hash, ..self.globals }
    }
}
