//! The way to other members, and what comes from them: gRPC on a port of its own.
//!
//! ```text
//!  raft core -- network -- link ~~~~~~~~~~~~ server -- desk -- raft core, batcher, barrier
//!  forwarder, barrier, ...-/                  looks at secret and envelope first
//! ```
//!
//! Messages are ours (`wire`), not openraft's structs: what travels is a format that a newer version must still understand.

mod affairs;
mod attempts;
mod certificate;
mod commits;
mod conversation;
mod convert;
mod desk;
mod envelope;
mod error;
mod exchange;
mod link;
mod network;
mod party;
mod roster;
mod secret;
mod sending;
mod server;
mod tls;
mod unproven;
mod window;
mod wire;

pub(super) use attempts::Purpose;
pub(super) use convert::{checkpoint, from_checkpoint, vote as wire_vote};
pub(super) use desk::{Desk, Reception};
pub(super) use envelope::{Guard, Me, Refusal};
pub(super) use error::CallError;
pub(super) use exchange::{AskStore, Forward, Parts, ReadAt};
pub(super) use link::Link;
pub(super) use network::{Peers, clocks};
pub(super) use roster::{Roster, Way};
pub(super) use secret::Secret;
pub(super) use server::Listener;
pub(super) use tls::Tls;
pub use tls::TlsFiles;
pub(super) use wire::{
    Administer, Administered, Ask, Confirm, Diverged, Invite, Join, Joined, Meet, Met, Notes, Promise,
    Promised, ReadIndex, Report, Say, Standing, Stands, Survey, Surveyed, Surveyee, Task,
};
