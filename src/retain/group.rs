//! What belongs together. A policy is applied to each group alone.

use crate::id::ClientId;

/// What makes snapshots belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The same name of a host.
    pub hostname: bool,
    /// The same client and machine: two machines that share a name are two hosts.
    pub machine: bool,
    /// The same paths.
    pub paths: bool,
    /// The same tags.
    pub tags: bool,
    /// The same label.
    pub label: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { hostname: true, machine: true, paths: true, tags: false, label: false }
    }
}

impl GroupBy {
    /// Of stored policies: host, paths and label.
    pub const STORED: Self = Self { hostname: true, machine: true, paths: true, tags: false, label: true };

    /// `host,paths,tags,label` in any order; `hostname` for hosts by nothing but their names; empty
    /// for one group of all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut by = Self { hostname: false, machine: false, paths: false, tags: false, label: false };
        for word in text.split(',') {
            match word.trim() {
                "host" | "hosts" => (by.hostname, by.machine) = (true, true),
                "hostname" => by.hostname = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                "label" => by.label = true,
                "" => {}
                other => return Err(format!("'{other}' is none of host, hostname, paths, tags, label")),
            }
        }
        Ok(by)
    }

    /// The group that something with these facts is in.
    pub fn key(self, whole: &GroupKey) -> GroupKey {
        let sorted = |list: &Option<Vec<Vec<u8>>>| list.clone().map(ascending);
        GroupKey {
            host: whole.host.clone().filter(|_| self.hostname),
            machine: whole.machine.filter(|_| self.machine),
            paths: sorted(&whole.paths).filter(|_| self.paths),
            tags: whole.tags.clone().filter(|_| self.tags).map(ascending),
            label: whole.label.clone().filter(|_| self.label),
        }
    }
}

fn ascending<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

/// What the members of a group have in common; `None` where nobody looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Name of the host.
    pub host: Option<String>,
    /// Who signed, and on which machine.
    pub machine: Option<(ClientId, [u8; 8])>,
    /// Paths, ascending.
    pub paths: Option<Vec<Vec<u8>>>,
    /// Tags, ascending.
    pub tags: Option<Vec<String>>,
    /// Label.
    pub label: Option<String>,
}
