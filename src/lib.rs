//! A content-addressed, deduplicating, encrypted backup repository.

#![warn(missing_docs)]
pub mod cli;
pub mod error;
pub mod event;
pub mod format;
pub mod id;
pub mod model;
pub mod report;
pub mod storage;
