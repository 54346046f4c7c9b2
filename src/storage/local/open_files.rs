//! A few objects held open, so that thousands of range reads in one pack open it once.

use crate::storage::Name;
use std::collections::HashMap;
use std::sync::Arc;

/// Enough for a restore that reads packs in order from many threads; far below any usual limit on
/// open files.
const MAX: usize = 64;

pub(super) struct OpenFiles<F> {
    files: HashMap<Name, (Arc<F>, u64)>,
    /// Counts look-ups; the file whose last one is longest ago makes room.
    clock: u64,
}

impl<F> Default for OpenFiles<F> {
    fn default() -> Self {
        Self { files: HashMap::new(), clock: 0 }
    }
}

impl<F> OpenFiles<F> {
    pub(super) fn find(&mut self, name: &Name) -> Option<Arc<F>> {
        self.clock += 1;
        let (file, used) = self.files.get_mut(name)?;
        *used = self.clock;
        Some(file.clone())
    }

    pub(super) fn keep(&mut self, name: &Name, file: Arc<F>) {
        if self.files.len() >= MAX && !self.files.contains_key(name) {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.files.remove(&name);
            }
        }
        self.clock += 1;
        self.files.insert(name.clone(), (file, self.clock));
    }

    pub(super) fn forget(&mut self, name: &Name) {
        self.files.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_makes_room() {
        let name = |i: usize| Name::new(format!("packs/{i}")).unwrap();
        let mut open = OpenFiles::default();
        for i in 0..MAX {
            open.keep(&name(i), Arc::new(i));
        }
        assert!(open.find(&name(0)).is_some());
        open.keep(&name(MAX), Arc::new(MAX));
        assert!(open.find(&name(0)).is_some(), "used a moment ago");
        assert!(open.find(&name(1)).is_none(), "the oldest");
        assert_eq!(open.files.len(), MAX);
    }
}
