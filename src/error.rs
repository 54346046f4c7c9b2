//! The one public [`Error`]: what kind, what happened to what, why, and what to try.
//!
//! Leaf modules have error enums of their own with facts and offsets; each converts itself into
//! this one where the knowledge of its kind is. Trouble that does not stop the work is never an
//! `Err`: it is an [`crate::event::Problem`].

use std::fmt;

/// What the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no repository at that place.
    NoRepository,
    /// There is one already.
    Exists,
    /// No key slot opens with what was given.
    WrongPassword,
    /// Stored bytes are not what they claim to be.
    Damaged,
    /// Something named does not exist: a snapshot, a path, an object.
    Missing,
    /// A newer format, another program's repository, or a feature this build lacks.
    Unsupported,
    /// The repository is not the one known under this name, or goes backwards.
    Substituted,
    /// The storage failed: permission, space, network.
    Storage,
    /// The source could not be read at all.
    Source,
    /// The restore target could not be written.
    Target,
    /// What was asked makes no sense.
    Invalid,
    /// Not allowed with this key's role.
    Forbidden,
    /// This session was fenced by garbage collection.
    Fenced,
    /// Stopped on request.
    Cancelled,
    /// A promise inside orlop did not hold.
    Bug,
}

impl ErrorKind {
    /// The stable name shown to people and programs.
    pub fn slug(self) -> &'static str {
        match self {
            Self::NoRepository => "no-repository",
            Self::Exists => "exists",
            Self::WrongPassword => "wrong-password",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Unsupported => "unsupported",
            Self::Substituted => "substituted",
            Self::Storage => "storage",
            Self::Source => "source",
            Self::Target => "target",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::Fenced => "fenced",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }
}

/// An operation stopped.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    what: String,
    doing: Vec<String>,
    hints: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `what` is a full clause without a full stop: "pack 7f3a… is truncated".
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, what: what.into(), doing: Vec::new(), hints: Vec::new(), source: None }))
    }
    /// Attach the cause.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
    /// Attach what was being done, outermost last: "while reading snapshot 1f…".
    pub fn doing(mut self, doing: impl Into<String>) -> Self {
        let doing = doing.into();
        if self.0.doing.last() != Some(&doing) {
            self.0.doing.push(doing);
        }
        self
    }
    /// Attach something to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// Whether a disk could not read or write the place where something lies (EIO): beside it all may be well, and
    /// some disks can later.
    pub fn is_from_the_disk(&self) -> bool {
        let cause = self.0.source.as_deref().and_then(|s| s.downcast_ref::<std::io::Error>());
        cause.and_then(std::io::Error::raw_os_error) == Some(rustix::io::Errno::IO.raw_os_error())
    }
    /// What happened, to what.
    pub fn what(&self) -> &str {
        &self.0.what
    }
    /// What was being done, innermost first.
    pub fn context(&self) -> &[String] {
        &self.0.doing
    }
    /// What to try.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }
    /// Stopped on request.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped on request")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        for d in &self.0.doing {
            write!(f, ", {d}")?;
        }
        let mut cause = self.0.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(c) = cause {
            write!(f, ": {c}")?;
            cause = c.source();
        }
        Ok(())
    }
}
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.0.kind.slug())
    }
}
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// Adds what was being done to any error of this crate.
pub trait Doing<T> {
    /// See [`Error::doing`].
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}
impl<T, E: Into<Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().doing(doing()))
    }
}
