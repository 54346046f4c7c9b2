//! Storages and checks for tests: not for use with anybody's data.
//!
//! [`contract()`] is what every storage has to pass. The wrappers go around any storage:
//! [`RecordingStorage`] counts, [`FaultStorage`] fails where told, [`CrashStorage`] dies and stays
//! dead, [`StopStorage`] makes its user wait. [`VersionedStorage`] is a bucket that keeps what is overwritten. [`UnsyncedStorage`] is a local repository on a simulated disk whose power can be cut.
//! [`sftp_answer`] and its like are parsers of what servers and folders say, for fuzzing.
//! Unlike the rest of the library, these panic when used wrongly, since that is a failing test.

mod contract;
mod crash;
mod fault;
mod hostile;
mod record;
mod stop;
mod tap;
mod unsynced;
mod versioned;

pub use contract::{contract, contract_without_races};
pub use crash::{CrashStorage, is_death};
pub use fault::{FaultStorage, How};
#[cfg(feature = "remote")]
pub use hostile::http_answer;
pub use hostile::{cached, sftp_answer};
pub use record::RecordingStorage;
pub use stop::{At, StopStorage};
pub use tap::Verb;
pub use unsynced::{Omit, UnsyncedStorage};
pub use versioned::VersionedStorage;
