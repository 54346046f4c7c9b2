//! The specification and the code say the same: vectors, tables, an independent reader.
//!
//! `UPDATE=1 cargo test --test format` writes the vectors anew; without it, they must be what the
//! generator makes, to the byte.

#[path = "format/cases.rs"]
mod cases;
#[path = "format/mini.rs"]
mod mini;
#[path = "format/reader.rs"]
mod reader;
#[path = "format/run.rs"]
mod run;
#[path = "format/spec.rs"]
mod spec;
#[path = "format/survive.rs"]
mod survive;
#[path = "../fuzz/targets.rs"]
mod targets;
#[path = "format/vector.rs"]
mod vector;
#[path = "format/vectors.rs"]
mod vectors;
