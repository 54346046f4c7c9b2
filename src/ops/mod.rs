//! What is done: one module per verb, all of the same shape. Each takes an opened repository, its
//! options and a [`crate::event::Context`], and gives a summary.

pub mod backup;
pub mod dump;
pub mod list;
pub mod restore;
pub mod select;
