//! Tests of snapshots through their public face, most of them on the disk that forgets.
//!
//! | module | holds |
//! |---|---|
//! | `crash` | power cuts and errors at every disk operation of taking and retaining, no room |
//! | `damage` | every flipped bit, every truncation, transplanted parts, falling back, what is received |
//! | `format` | the golden file (`UPDATE_GOLDEN=1` writes it anew), stores of every shape, names |
//! | `live` | writes, touches, FLUSHALL and more while a snapshot is taken |

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod crash;
mod damage;
mod format;
mod live;
mod support;
