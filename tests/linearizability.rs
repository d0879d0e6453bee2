//! Linearizability: a checker of recorded histories, and its own tests.
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

#![cfg(test)]

mod linearizability {
    mod checker;
    mod exhaustive;
    mod history;
    mod model;
    mod planted;
    mod register;
    mod report;
    mod revisions;
    mod simulated;
    mod written;
}
