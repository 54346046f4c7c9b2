//! Plans: what will be done, decided from values alone.
//!
//! Nothing in here reads a disk, a clock or the environment. Callers bring file contents as
//! bytes and answer questions through closures; what comes back is a value that can be shown,
//! tested and then carried out elsewhere. Names and paths are bytes, because that is what
//! file systems have.

pub mod filter;
pub mod lists;
pub mod size;
pub mod subset;
mod text;
pub mod timetable;

pub use text::{decode, lines};
