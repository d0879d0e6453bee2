//! Tests of the write-ahead log through its public face, most of them on the disk that forgets.
//!
//! | module | holds |
//! |---|---|
//! | `crash` | the prefix law and "acknowledged is kept", crashed at every disk operation, recovery too |
//! | `damage` | every flipped bit, every truncation, zeroed sectors, missing and foreign segments |
//! | `faults` | failing writes and syncs, a full disk, closing, interval mode's promises |
//! | `golden` | the bytes of the format (`UPDATE_GOLDEN=1` writes them anew) |
//! | `model` | random operations against a naive log |

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

mod closed;
mod crash;
mod damage;
mod faults;
mod golden;
mod model;
mod support;
