//! A content-addressed, deduplicating, encrypted backup repository.

#![warn(missing_docs)]
pub mod chunk;
pub mod cli;
pub mod compress;
pub mod crypto;
pub mod error;
pub mod event;
pub mod format;
pub mod id;
pub mod index;
pub mod model;
pub mod ops;
pub mod plan;
pub mod repo;
pub mod report;
pub mod source;
pub mod storage;
pub mod sys;
pub mod target;
