//! The header of one tar entry: ustar, led by a PAX header where that is too small for the truth.

use tar::{EntryType, Header};

use crate::model::ext::Extras;
use crate::model::{Node, NodeKind, Time};

/// Names of owners.
pub struct OwnerNames<'a> {
    /// Users.
    pub users: &'a [(u32, Vec<u8>)],
    /// Groups.
    pub groups: &'a [(u32, Vec<u8>)],
}

/// Largest number in a field of eleven octal digits.
const OCTAL_11: u64 = (1 << 33) - 1;
/// Largest number in a field of seven.
const OCTAL_7: u64 = (1 << 21) - 1;

/// Everything before the content. `link` is the name of an earlier entry that is the same file.
pub fn head(name: &[u8], node: &Node, extras: &Extras, names: &OwnerNames<'_>, link: Option<&[u8]>) -> Vec<u8> {
    let mut pax = Vec::new();
    let mut header = Header::new_ustar();
    let (kind, target) = kind_and_target(node, link);
    header.set_entry_type(kind);
    let size = match (&node.kind, link) {
        (NodeKind::File { size, .. }, None) => *size,
        _ => 0,
    };
    number(&mut pax, "size", size, OCTAL_11, |n| header.set_size(n));
    number(&mut pax, "uid", node.uid.into(), OCTAL_7, |n| header.set_uid(n));
    number(&mut pax, "gid", node.gid.into(), OCTAL_7, |n| header.set_gid(n));
    header.set_mode(node.mode & 0o7777);
    header.set_mtime(u64::try_from(node.mtime.sec).unwrap_or(0).min(OCTAL_11));
    if node.mtime.nsec != 0 || !(0..=OCTAL_11 as i64).contains(&node.mtime.sec) {
        record(&mut pax, b"mtime", decimal(node.mtime).as_bytes());
    }
    if let Some(atime) = extras.atime {
        record(&mut pax, b"atime", decimal(atime).as_bytes());
    }
    owner(&mut pax, "uname", node.uid, names.users, &mut |n| header.set_username(n).is_ok());
    owner(&mut pax, "gname", node.gid, names.groups, &mut |n| header.set_groupname(n).is_ok());
    if let NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } = node.kind {
        let (major, minor) = ((device >> 32) as u32, device as u32);
        let _ = header.set_device_major(major & OCTAL_7 as u32);
        let _ = header.set_device_minor(minor & OCTAL_7 as u32);
    }
    {
        let bytes = header.as_mut_bytes();
        field(&mut pax, b"path", name, &mut bytes[..100]);
        field(&mut pax, b"linkpath", target, &mut bytes[157..257]);
    }
    for x in &extras.xattrs {
        // An equals sign ends the key, so such a name cannot be said.
        if !x.name.contains(&b'=') {
            record(&mut pax, &[b"SCHILY.xattr.", x.name.as_slice()].concat(), &x.value);
        }
    }
    header.set_cksum();
    let mut out = pax_entry(&pax);
    out.extend_from_slice(header.as_bytes());
    out
}

fn kind_and_target<'n>(node: &'n Node, link: Option<&'n [u8]>) -> (EntryType, &'n [u8]) {
    match (&node.kind, link) {
        (_, Some(link)) => (EntryType::Link, link),
        (NodeKind::Symlink { target }, _) => (EntryType::Symlink, target),
        (NodeKind::Dir { .. }, _) => (EntryType::Directory, b""),
        (NodeKind::Fifo, _) => (EntryType::Fifo, b""),
        (NodeKind::CharDevice { .. }, _) => (EntryType::Char, b""),
        (NodeKind::BlockDevice { .. }, _) => (EntryType::Block, b""),
        (NodeKind::File { .. } | NodeKind::Socket, _) => (EntryType::Regular, b""),
    }
}

fn number(pax: &mut Vec<u8>, key: &str, n: u64, max: u64, set: impl FnOnce(u64)) {
    set(n.min(max));
    if n > max {
        record(pax, key.as_bytes(), n.to_string().as_bytes());
    }
}

fn owner(pax: &mut Vec<u8>, key: &str, n: u32, names: &[(u32, Vec<u8>)], set: &mut dyn FnMut(&str) -> bool) {
    let Some(name) = names.iter().find(|(id, _)| *id == n).and_then(|(_, name)| std::str::from_utf8(name).ok()) else {
        return;
    };
    if name.len() > 31 || !set(name) {
        record(pax, key.as_bytes(), name.as_bytes());
    }
}

/// Text that goes into the old header if it fits and is plain, else into the PAX header.
fn field(pax: &mut Vec<u8>, key: &[u8], text: &[u8], into: &mut [u8]) {
    let n = text.len().min(into.len());
    into[..n].copy_from_slice(&text[..n]);
    if text.len() > into.len() {
        record(pax, key, text);
    }
}

fn decimal(time: Time) -> String {
    let (sign, sec, nsec) = match (time.sec < 0, time.nsec) {
        (false, n) => ("", time.sec.unsigned_abs(), n),
        (true, 0) => ("-", time.sec.unsigned_abs(), 0),
        // -1.5 is kept as -2 and half a second on top.
        (true, n) => ("-", (time.sec + 1).unsigned_abs(), 1_000_000_000 - n),
    };
    match nsec {
        0 => format!("{sign}{sec}"),
        n => format!("{sign}{sec}.{n:09}"),
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(pax: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    pax.extend_from_slice(len.to_string().as_bytes());
    pax.push(b' ');
    pax.extend_from_slice(key);
    pax.push(b'=');
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

fn pax_entry(pax: &[u8]) -> Vec<u8> {
    if pax.is_empty() {
        return Vec::new();
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.as_mut_bytes()[..9].copy_from_slice(b"PaxHeader");
    header.set_size(pax.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(pax);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        let mut pax = Vec::new();
        record(&mut pax, b"path", b"x");
        record(&mut pax, b"path", &[b'y'; 90]);
        assert!(pax.starts_with(b"9 path=x\n99 path=yyy"), "{}", String::from_utf8_lossy(&pax));
        assert_eq!(pax.len(), 108);
    }

    #[test]
    fn times_before_1970() {
        let time = |sec, nsec| decimal(Time { sec, nsec });
        assert_eq!(time(-2, 500_000_000), "-1.500000000");
        assert_eq!(time(-1, 999_999_999), "-0.000000001");
        assert_eq!((time(-3, 0), time(5, 1)), ("-3".to_owned(), "5.000000001".to_owned()));
    }
}
