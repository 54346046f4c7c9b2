//! Names of users and groups, from the host's own files.
//!
//! Only `/etc/passwd` and `/etc/group` are read: asking the host's directory services would mean
//! running code from shared libraries or waiting for a network. A number without a name is fine
//! everywhere; the name only helps where numbers differ.

use std::path::Path;

use hashbrown::HashMap;

/// Longest file that is read.
const FILE_MAX: u64 = 64 << 20;

/// Users and groups of this host by number and by name.
#[derive(Debug, Default, Clone)]
pub struct Identities {
    users: Table,
    groups: Table,
}

#[derive(Debug, Default, Clone)]
struct Table {
    names: HashMap<u32, Vec<u8>>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl Identities {
    /// Read them once; files that cannot be read have no names in them.
    pub fn load() -> Self {
        Self::from_files(Path::new("/etc/passwd"), Path::new("/etc/group"))
    }
    /// The same from other files.
    pub fn from_files(passwd: &Path, group: &Path) -> Self {
        Self { users: Table::parse(&read(passwd)), groups: Table::parse(&read(group)) }
    }
    /// The name of a user.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.names.get(&uid).map(Vec::as_slice)
    }
    /// The name of a group.
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.names.get(&gid).map(Vec::as_slice)
    }
    /// The number of a user.
    pub fn uid(&self, user: &[u8]) -> Option<u32> {
        self.users.numbers.get(user).copied()
    }
    /// The number of a group.
    pub fn gid(&self, group: &[u8]) -> Option<u32> {
        self.groups.numbers.get(group).copied()
    }
}

impl Table {
    /// Both files begin each line with `name:x:number:`. The first of two entries counts, as it
    /// does for the system.
    fn parse(text: &[u8]) -> Self {
        let mut out = Self::default();
        for line in text.split(|&b| b == b'\n') {
            let mut fields = line.split(|&b| b == b':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else {
                continue;
            };
            let number = std::str::from_utf8(number).ok().and_then(|n| n.parse::<u32>().ok());
            let Some(number) = number.filter(|_| !name.is_empty() && name[0] != b'#') else {
                continue;
            };
            out.names.entry(number).or_insert_with(|| name.to_vec());
            out.numbers.entry(name.to_vec()).or_insert(number);
        }
        out
    }
}

fn read(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut text = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What was read before an error is as good as ever.
        let _ = file.take(FILE_MAX).read_to_end(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_what_makes_sense() {
        let t = Table::parse(b"root:x:0:0:root:/root:/bin/sh\n# no:x:7:\n+::::::\ntoor:x:0:0\nbob:*:1000\nbad:x:-1:\nbob:x:2:\n\xff:x:9:");
        assert_eq!(t.names[&0], b"root");
        assert_eq!(t.numbers[&b"toor"[..]], 0);
        assert_eq!(t.numbers[&b"bob"[..]], 1000);
        assert_eq!(t.names[&9], b"\xff");
        assert_eq!(t.names.len(), 4);
    }
}
