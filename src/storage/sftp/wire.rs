//! The SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02), as far as it is needed here.
//!
//! A packet is its length, a type, an id, and what the type says; numbers are big-endian, strings
//! have their length before them. Everything that comes is an attacker's.

use std::io::{self, Read};

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

/// How a file is opened.
pub(super) const FOR_READING: u32 = 1;
pub(super) const NEW_FOR_WRITING: u32 = 0x02 | 0x08 | 0x20;

/// What an answer says of a file.
const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
pub(super) const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 0x8000_0000;

/// Status codes.
const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const OP_UNSUPPORTED: u32 = 8;

/// No packet is longer, by what OpenSSH takes and gives.
const PACKET_MAX: u32 = 256 << 10;

/// Read and written at once.
pub(super) const CHUNK: usize = 32 << 10;

/// What comes after length, type and id.
#[derive(Default)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    pub(super) fn number(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    pub(super) fn long(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }
    pub(super) fn string(self, s: &[u8]) -> Self {
        let mut this = self.number(s.len() as u32);
        this.0.extend_from_slice(s);
        this
    }
    /// Permissions alone.
    pub(super) fn mode(self, mode: u32) -> Self {
        self.number(HAS_MODE).number(mode)
    }
    /// As it goes out. `INIT` has its version in the place of an id.
    pub(super) fn packet(&self, kind: u8, id: u32) -> Vec<u8> {
        let mut packet = Vec::with_capacity(9 + self.0.len());
        packet.extend_from_slice(&(self.0.len() as u32 + 5).to_be_bytes());
        packet.push(kind);
        packet.extend_from_slice(&id.to_be_bytes());
        packet.extend_from_slice(&self.0);
        packet
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: u8,
    pub(super) id: u32,
    rest: Vec<u8>,
}

/// The next packet of a stream.
pub(super) fn read_packet(from: &mut impl Read) -> io::Result<Packet> {
    let mut head = [0; 9];
    from.read_exact(&mut head)?;
    let [l0, l1, l2, l3, kind, i0, i1, i2, i3] = head;
    let len = u32::from_be_bytes([l0, l1, l2, l3]);
    if !(5..=PACKET_MAX).contains(&len) {
        return Err(malformed("a packet's length"));
    }
    let mut rest = vec![0; len as usize - 5];
    from.read_exact(&mut rest)?;
    Ok(Packet { kind, id: u32::from_be_bytes([i0, i1, i2, i3]), rest })
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server does not speak SFTP as it should: {what}"))
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) mode: Option<u32>,
    pub(super) modified: Option<u32>,
}

/// A name in a directory.
pub(super) type Named = (Vec<u8>, Attributes);

struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    fn take(&mut self, n: usize) -> io::Result<&'p [u8]> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or_else(|| malformed("a packet that ends early"))?;
        self.0 = rest;
        Ok(taken)
    }
    fn number(&mut self) -> io::Result<u32> {
        let b = self.take(4)?;
        Ok(b.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }
    fn long(&mut self) -> io::Result<u64> {
        let b = self.take(8)?;
        Ok(b.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }
    fn string(&mut self) -> io::Result<&'p [u8]> {
        let len = self.number()?;
        self.take(len as usize)
    }
    fn attributes(&mut self) -> io::Result<Attributes> {
        let mut found = Attributes::default();
        let has = self.number()?;
        if has & HAS_SIZE != 0 {
            found.size = Some(self.long()?);
        }
        if has & HAS_OWNER != 0 {
            self.take(8)?;
        }
        if has & HAS_MODE != 0 {
            found.mode = Some(self.number()?);
        }
        if has & HAS_TIMES != 0 {
            self.take(4)?;
            found.modified = Some(self.number()?);
        }
        if has & HAS_MORE != 0 {
            for _ in 0..self.number()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(found)
    }
}

impl Packet {
    /// The error of a status; `Ok` if it says so.
    pub(super) fn status(&self) -> io::Result<()> {
        let mut r = self.expect(STATUS)?;
        let code = r.number()?;
        if code == OK {
            return Ok(());
        }
        // Old servers leave the sentence out.
        let said = r.string().map(|s| String::from_utf8_lossy(s).into_owned()).unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        let kind = match code {
            EOF => io::ErrorKind::UnexpectedEof,
            NO_SUCH_FILE => io::ErrorKind::NotFound,
            PERMISSION_DENIED => io::ErrorKind::PermissionDenied,
            OP_UNSUPPORTED => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        Err(io::Error::new(kind, if said.is_empty() { format!("SFTP status {code}") } else { said }))
    }

    /// The rest of a packet of this kind, or the error that came in its place.
    fn expect(&self, kind: u8) -> io::Result<Reader<'_>> {
        if self.kind == kind {
            return Ok(Reader(&self.rest));
        }
        if self.kind == STATUS {
            self.status()?;
        }
        Err(malformed("an answer to another question"))
    }

    pub(super) fn handle(&self) -> io::Result<Vec<u8>> {
        Ok(self.expect(HANDLE)?.string()?.to_vec())
    }

    pub(super) fn data(&self) -> io::Result<&[u8]> {
        self.expect(DATA)?.string()
    }

    pub(super) fn attributes(&self) -> io::Result<Attributes> {
        self.expect(ATTRS)?.attributes()
    }

    /// Names in a directory; `None` at its end.
    pub(super) fn names(&self) -> io::Result<Option<Vec<Named>>> {
        if self.kind == STATUS {
            return match self.status() {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(e) => Err(e),
                Ok(()) => Err(malformed("a directory without names")),
            };
        }
        let mut r = self.expect(NAME)?;
        let mut names = Vec::new();
        for _ in 0..r.number()? {
            let name = r.string()?.to_vec();
            r.string()?;
            names.push((name, r.attributes()?));
        }
        Ok(Some(names))
    }

    /// Names of extensions, out of the answer to `INIT`, whose version stands in place of the id.
    pub(super) fn extensions(&self) -> io::Result<Vec<String>> {
        if self.id < 3 {
            return Err(malformed("a version before 3"));
        }
        let mut r = self.expect(VERSION)?;
        let mut names = Vec::new();
        while !r.0.is_empty() {
            names.push(String::from_utf8_lossy(r.string()?).into_owned());
            r.string()?;
        }
        Ok(names)
    }

    /// Blocks that are free for us, out of the answer to `statvfs@openssh.com`.
    pub(super) fn free_blocks(&self) -> io::Result<u64> {
        let mut r = self.expect(EXTENDED_REPLY)?;
        r.take(4 * 8)?;
        r.long()
    }
}

/// Whatever came, as an answer to every question there is.
pub(in crate::storage) fn any_answer(mut bytes: &[u8]) {
    while let Ok(p) = read_packet(&mut bytes) {
        let _ = (p.status(), p.handle(), p.data(), p.attributes(), p.names(), p.extensions(), p.free_blocks());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, body: Body) -> io::Result<Packet> {
        read_packet(&mut body.packet(kind, 7).as_slice())
    }

    #[test]
    fn there_and_back() {
        let p = packet(HANDLE, Body::default().string(b"h")).expect("whole");
        assert_eq!((p.id, p.handle().expect("a handle")), (7, b"h".to_vec()));
        let body = Body::default().number(HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES | HAS_MORE);
        let body = body.long(5).number(1).number(2).number(0o100_600).number(3).number(4);
        let p = packet(ATTRS, body.number(1).string(b"a").string(b"b")).expect("whole");
        let all = Attributes { size: Some(5), mode: Some(0o100_600), modified: Some(4) };
        assert_eq!(p.attributes().expect("attributes"), all);
    }

    #[test]
    fn what_a_hostile_server_may_send() {
        for bytes in [&[0, 0, 0, 4, 1, 0, 0, 0, 0][..], &[0xff; 9], &[0, 0, 0, 9, 1, 0], &[]] {
            assert!(read_packet(&mut &*bytes).is_err(), "{bytes:?}");
        }
        for body in [vec![], vec![0xff; 4], vec![0, 0, 0, 9, 1], vec![0xff; 12], vec![0xff; 100]] {
            for kind in [STATUS, HANDLE, DATA, NAME, ATTRS, VERSION, EXTENDED_REPLY, 0, 255] {
                let p = packet(kind, Body(body.clone())).expect("whole");
                assert!(p.status().is_err());
                let _ = (p.handle(), p.data(), p.attributes(), p.names(), p.extensions(), p.free_blocks());
            }
        }
        let p = packet(NAME, Body::default().number(u32::MAX)).expect("whole");
        assert!(p.names().is_err(), "names that are not there");
    }

    #[test]
    fn errors_have_kinds() {
        for (code, kind) in
            [(2, io::ErrorKind::NotFound), (3, io::ErrorKind::PermissionDenied), (4, io::ErrorKind::Other)]
        {
            let body = Body::default().number(code).string(b"no\x1b[2J way").string(b"en");
            let e = packet(STATUS, body).expect("whole").handle().expect_err("a status");
            assert_eq!((e.kind(), e.to_string().as_str()), (kind, "no[2J way"));
        }
    }
}
