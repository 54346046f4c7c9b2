//! x
pub mod args;
