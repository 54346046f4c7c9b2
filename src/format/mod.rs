//! Bytes to model and back, for every stored object, with limits and refusals.
//!
//! No IO, no clock, no randomness: salts and nonces are arguments. Every decoder treats its bytes
//! as an attacker's: limits before allocation, checked arithmetic, and what decodes must encode to
//! the same bytes again.

pub mod limits;
