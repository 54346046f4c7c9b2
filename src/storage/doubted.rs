//! A storage that was found to do less than it promises.

use super::{Storage, hand_on};
use std::sync::Arc;
use std::time::Duration;

/// The same storage, with fewer guarantees.
pub(super) struct Doubted {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) exclusive: bool,
    pub(super) staleness: Duration,
}

impl Storage for Doubted {
    hand_on!([storage]: put_new draft get get_range head list glance glances keep keeps delete heal clock received place);

    fn staleness(&self) -> Duration {
        self.staleness.max(self.storage.staleness())
    }
    fn exclusive(&self) -> bool {
        self.exclusive && self.storage.exclusive()
    }
    fn claims_exclusive(&self) -> bool {
        self.exclusive && self.storage.claims_exclusive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::storage::testing::contract;

    #[test]
    fn it_still_is_a_storage_and_promises_less() {
        let doubted =
            || Doubted { storage: Arc::new(MemoryStorage::new()), exclusive: false, staleness: Duration::from_secs(1) };
        contract(&|| Box::new(doubted()));
        assert!(!doubted().exclusive() && doubted().staleness() == Duration::from_secs(1));
    }
}
