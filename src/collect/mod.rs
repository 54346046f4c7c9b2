//! What may go: the steps of garbage collection, values in and decisions out.
//!
//! The protocol and why it is safe are in `format-spec/80-sessions.md`; every rule there that is a
//! decision is a function here. The names of packs (`P`), sessions (`S`) and snapshots (`B`) are
//! whatever the caller has: the program decides about ids, a model checker about small numbers,
//! and both run the same code.

mod checkpoint;
mod copies;
mod log;
mod repack;
mod sessions;
mod validity;

pub use checkpoint::{GivenUp, may_repeat};
pub use copies::{Facts, Fate, Finished, Live, Standing, fate, finish, standing};
pub use log::{Broken, Log, Plan, Step};
pub use repack::{Candidate, Limits, Unused, choose};
pub use sessions::{Session, Silence, base_stands, holdouts, may_bury, pins, silent, unaccounted};
pub use validity::{Closed, Validity, confirms, validity};
