//! Points in time as the file system knows them: before 1970 and after 2038, to the nanosecond.

/// Seconds since 1970-01-01T00:00:00Z, and nanoseconds on top (0 to 999 999 999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, bincode::Encode, bincode::Decode)]
pub struct Time {
    /// Whole seconds, negative before 1970.
    pub sec: i64,
    /// Nanoseconds after `sec`, always counting upwards.
    pub nsec: u32,
}

impl Time {
    /// Nanoseconds since 1970.
    pub fn nanos(self) -> i128 {
        i128::from(self.sec) * 1_000_000_000 + i128::from(self.nsec)
    }
}
