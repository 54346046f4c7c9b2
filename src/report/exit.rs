//! Exit codes: a pure table, the same as restic's where restic has the case.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed |
//! | 3 | done in part: something could not be read or written, and was named |
//! | 10 | there is no repository at that place |
//! | 12 | wrong password or key |
//! | 130 | stopped on request |
//!
//! restic's 11, "locked", never occurs: nothing here waits for anybody's lock.

use crate::error::{Error, ErrorKind};

/// How an operation that did not fail came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Done,
    /// The rest; what is missing was named.
    Partial,
}

impl Outcome {
    /// Partial if there was any problem.
    pub fn of(problems: u64) -> Self {
        if problems == 0 { Self::Done } else { Self::Partial }
    }
}

/// The exit code of a result.
pub fn code(result: &Result<Outcome, Error>) -> u8 {
    match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Partial) => 3,
        Err(e) => code_of(e.kind()),
    }
}

/// The exit code of a kind of failure.
pub fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::NoRepository => 10,
        ErrorKind::WrongPassword => 12,
        ErrorKind::Cancelled => 130,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        assert_eq!(code(&Ok(Outcome::of(0))), 0);
        assert_eq!(code(&Ok(Outcome::of(2))), 3);
        assert_eq!(code(&Err(Error::cancelled())), 130);
        assert_eq!(code_of(ErrorKind::NoRepository), 10);
        assert_eq!(code_of(ErrorKind::WrongPassword), 12);
        assert_eq!(code_of(ErrorKind::Damaged), 1);
        assert_eq!(code_of(ErrorKind::Exists), 1);
    }
}
