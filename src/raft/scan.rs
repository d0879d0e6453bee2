//! A page of a scan, put together under several holds of the store's lock.
//!
//! One hold visits at most [`MAX_SCAN_SLOTS`](crate::model::limits::MAX_SCAN_SLOTS) slots, so that writes never wait long. Where
//! most slots are free, or few keys have the prefix, that finds next to nothing: a client would be sent from one empty page
//! to the next, with a round trip each. So a page that is nearly empty is gone on with, for a moment, before it is answered.
//!
//! The page as a whole is not one moment of the store, as a scan of several pages is none. What holds of each is the same:
//! every slot is visited once and after the request's barrier, so an entry that is there from the first page to the last comes
//! exactly once, and what was acknowledged before the request is seen.

use std::time::Duration;

use tokio::time::Instant;

use super::ReadError;
use super::node::{Consistency, Node, Read};
use crate::model::limits::MAX_SCAN_BYTES;
use crate::model::{Answer, Page, Query, Timestamp};

/// How long a page is gone on with.
const BUDGET: Duration = Duration::from_millis(10);

/// A page with this much in it is worth its round trip. What one hold adds has its own bound.
const WORTHWHILE_BYTES: usize = MAX_SCAN_BYTES / 16;

impl Node {
    /// Goes on with a page that has next to nothing in it. `read` is the answer to `query` under the first hold.
    pub(super) async fn fill(
        &self,
        query: &Query,
        consistency: Consistency,
        stamp: Option<Timestamp>,
        deadline: Instant,
        mut read: Read,
    ) -> Result<Read, ReadError> {
        let Query::Scan { limit, prefix, values, .. } = query else { return Ok(read) };
        let begun = Instant::now();
        while let Answer::Page(page) = &mut read.answer
            && let Some(cursor) = page.cursor
            && is_sparse(page, *limit)
            && begun.elapsed() < BUDGET
        {
            // Others on this thread are not kept waiting for the whole page.
            tokio::task::yield_now().await;
            let limit = limit - page.items.len();
            let rest = Query::Scan { cursor, limit, prefix: prefix.clone(), values: *values };
            let more = self.look_settled(&rest, consistency, stamp, deadline).await?;
            let Answer::Page(more_of_it) = more.answer else { break };
            page.items.extend(more_of_it.items);
            page.cursor = more_of_it.cursor;
            read.now = read.now.max(more.now);
        }
        Ok(read)
    }
}

/// Whether a page has room for items, and less in it than is worth a round trip.
fn is_sparse(page: &Page, limit: usize) -> bool {
    let bytes = |value: &Option<bytes::Bytes>| value.as_ref().map_or(0, bytes::Bytes::len);
    let held: usize = page.items.iter().map(|item| item.key.as_bytes().len() + bytes(&item.value)).sum();
    page.items.len() < limit && held < WORTHWHILE_BYTES
}
