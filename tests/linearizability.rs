//! Linearizability: a checker of recorded histories, its own tests, and real clusters that it judges.
//!
//! | module | holds |
//! |---|---|
//! | `history` | what clients did to keys, and what they were told |
//! | `model` | what a key is in a sequence of operations |
//! | `checker` | the search for an order that explains one key's history |
//! | `revisions` | what versions say across keys |
//! | `report` | the verdict on a history, and what is shown of a bad one |
//! | `written` | histories by hand, good and bad |
//! | `register` | the plain rules of one key, told apart from `model` |
//! | `simulated`, `planted` | histories of an invented store that keeps to the rules, or breaks one |
//! | `exhaustive` | the checker against a search without any cleverness |
//! | `client`, `nemesis`, `live` | three real nodes under a dozen clients, killed and stopped meanwhile |
//! | `hops` | clients that read at one node after the other, under large batches |
//!
//! `LINEARIZABILITY_SECONDS=300 cargo test --test linearizability live -- --nocapture` looks longer at the real nodes,
//! under more kinds of faults (`LINEARIZABILITY_SEED` for others); `LINEARIZABILITY_DUMP=/tmp` writes every history there.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "tests drive real processes and clocks")]

mod node;

mod linearizability {
    mod checker;
    mod client;
    mod exhaustive;
    mod history;
    mod hops;
    mod live;
    mod model;
    mod nemesis;
    mod planted;
    mod register;
    mod report;
    mod revisions;
    mod simulated;
    mod written;
}
