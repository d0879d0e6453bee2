//! The whole face without a network.

mod codes;
mod face;
mod stage;
