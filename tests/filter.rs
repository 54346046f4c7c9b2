//! File selection against the programs whose languages it speaks.
//!
//! The tables in `tests/filter/` hold cases with the answers restic and git gave. Each is played
//! twice: our answer is compared with the table, always; and where the program is installed,
//! its answer is compared with the table too, so that a table cannot grow old unnoticed.
//! `ORLOP_RECORD=1` writes the program's answers into the table instead.

#[path = "filter/cases.rs"]
mod cases;
#[path = "filter/decisions.rs"]
mod decisions;
#[path = "filter/git.rs"]
mod git;
#[path = "filter/restic.rs"]
mod restic;
#[path = "filter/tracked.rs"]
mod tracked;
#[path = "filter/words.rs"]
mod words;
