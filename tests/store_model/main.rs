//! Tests of the store: property tests against a naive model, against itself through a cut, and of scans under
//! writes; and one test by name for each rule of the design. `PROPTEST_CASES=20000` looks longer than the default
//! of 256 cases does.

mod bounded;
mod cut;
mod fixture;
mod generate;
mod limits;
mod model;
mod naive;
mod rules;
mod scan;
mod snapshot;
mod transactions;
