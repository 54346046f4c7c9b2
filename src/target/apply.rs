//! Metadata, in the one order that works, on what is held open.
//!
//! 1. Owner: changing it clears setuid, setgid and capabilities, so it is first.
//! 2. Extended attributes, ACLs and capabilities: an owner without privileges may set them only
//!    while the file is still writable, so before the mode. An ACL and the mode say the same
//!    about the group, so their order among each other does not matter.
//! 3. Mode.
//! 4. Times: all of the above changes none but ctime, which nobody can set.
//! 5. chattr flags: after `immutable` nothing else works.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmod, chownat, fchmod,
    fchown, flistxattr, fremovexattr, fsetxattr, futimens, ioctl_getflags, ioctl_setflags, listxattr, openat,
    removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use hashbrown::HashMap;

use super::dir::proc_path;
use super::{FileId, Kind, Stat, TargetDir, TargetFile, Why};
use crate::format::page::is_safe_name;
use crate::model::ext::{Extras, flag};
use crate::model::{Node, NodeKind, Time};

/// Whose the restored files are.
#[derive(Debug, Clone, Default)]
pub enum Owners {
    /// The numbers in the snapshot.
    #[default]
    Number,
    /// Those who have the same names here; numbers where there is no name or nobody of it.
    ByName {
        /// From numbers in the snapshot to numbers here.
        users: HashMap<u32, u32>,
        /// The same for groups.
        groups: HashMap<u32, u32>,
    },
    /// Whoever runs the restore.
    Nobody,
}

impl Owners {
    /// By the names in a snapshot and who has them here.
    pub fn by_name(
        users: &[(u32, Vec<u8>)],
        groups: &[(u32, Vec<u8>)],
        uid: impl Fn(&[u8]) -> Option<u32>,
        gid: impl Fn(&[u8]) -> Option<u32>,
    ) -> Self {
        let users = users.iter().filter_map(|(n, name)| Some((*n, uid(name)?))).collect();
        let groups = groups.iter().filter_map(|(n, name)| Some((*n, gid(name)?))).collect();
        Self::ByName { users, groups }
    }

    fn of(&self, node: &Node) -> Option<(u32, u32)> {
        match self {
            Self::Number => Some((node.uid, node.gid)),
            Self::ByName { users, groups } => Some((
                users.get(&node.uid).copied().unwrap_or(node.uid),
                groups.get(&node.gid).copied().unwrap_or(node.gid),
            )),
            Self::Nobody => None,
        }
    }
}

/// What of the metadata to restore.
#[derive(Debug, Clone)]
pub struct Policy {
    owners: Owners,
    privileged: bool,
    root: bool,
    /// Restore extended attributes.
    pub xattrs: bool,
    /// Restore chattr flags.
    pub flags: bool,
    /// Restore the time of last access, where it was kept.
    pub atime: bool,
}

impl Policy {
    /// `privileged` lets the snapshot make devices, setuid files, capabilities and the like: only
    /// for snapshots that are trusted like the system itself.
    pub fn new(owners: Owners, privileged: bool) -> Self {
        let root = rustix::process::geteuid().is_root();
        Self { owners, privileged, root, xattrs: true, flags: true, atime: true }
    }
    /// Whether a file that is there belongs to somebody else than it should, and not to root: they
    /// may hold it open, and would read or change through that what is written into it.
    pub fn is_strangers(&self, there: &Stat, node: &Node) -> bool {
        let uid = self.owners.of(node).map_or(0, |(uid, _)| uid);
        self.root && there.uid != 0 && there.uid != uid
    }
    /// Whether the snapshot is trusted like the system itself.
    pub fn privileged(&self) -> bool {
        self.privileged
    }
}

/// What the policy kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withheld {
    /// A device.
    Device,
    /// Setuid or setgid: not trusted, or the file belongs to somebody else than it should, who
    /// must not lend their rights.
    SetId,
    /// An extended attribute of this name.
    Xattr(Vec<u8>),
    /// chattr flags.
    Flags(u32),
}

/// One step that did not work; the others were taken nevertheless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{during}: {why}")]
pub struct Failure {
    /// Which step: `chown`, `setxattr`, `chmod`, `utimens`, `setflags`, …
    pub during: &'static str,
    /// Why.
    pub why: Why,
    /// The attribute, where it is about one.
    pub xattr: Vec<u8>,
}

impl Failure {
    /// What is not as it was, as the report on fidelity calls it.
    pub fn slug(&self) -> &'static str {
        match self.during {
            "chown" => "owner",
            "chmod" => "mode",
            "utimens" => "times",
            "setflags" => "flags",
            "setxattr" | "removexattr" | "listxattr" if self.xattr.starts_with(ACL) => "acls",
            "setxattr" | "removexattr" | "listxattr" => "xattrs",
            _ => "not-restored",
        }
    }
    /// Whether the place or whoever runs this can do no better, so that it is nobody's mistake.
    pub fn is_limit(&self) -> bool {
        match self.why {
            Why::Os(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY) => self.slug() != "not-restored",
            // Flags that are not known, or somebody whom this part of the system does not know.
            Why::Os(Errno::INVAL) => matches!(self.slug(), "flags" | "owner" | "acls"),
            Why::Limit(_) => true,
            _ => false,
        }
    }
}

impl Withheld {
    /// What is not as it was, as the report on fidelity calls it.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Device => "devices",
            Self::SetId => "setuid",
            Self::Xattr(_) => "xattrs",
            Self::Flags(_) => "flags",
        }
    }
}

/// What became of the metadata of one object. Empty if all is well, and then nothing was
/// allocated.
#[derive(Debug, Default)]
pub struct Applied {
    /// What did not work.
    pub failures: Vec<Failure>,
    /// What was kept back.
    pub withheld: Vec<Withheld>,
}

/// What to set metadata on.
#[derive(Debug)]
pub enum Object<'a> {
    /// A file that is open.
    File(&'a TargetFile),
    /// A directory that is open.
    Dir(&'a TargetDir),
    /// Anything else, by its name: it is opened without following it, and refused if it is not
    /// of the node's kind, or is known by further names. A file or directory that is not open any
    /// more also goes this way.
    Named(&'a TargetDir, &'a [u8]),
    /// The same, and refused if it is not this one: what was compared before is what gets an owner now.
    Same(&'a TargetDir, &'a [u8], FileId),
}

impl Object<'_> {
    fn id(&self) -> Option<FileId> {
        if let Self::Same(.., id) = self { Some(*id) } else { None }
    }
}

/// Set everything but content. All steps are tried.
pub fn apply_metadata(object: &Object<'_>, node: &Node, extras: &Extras, policy: &Policy) -> Applied {
    let mut out = Applied::default();
    let held;
    let (fd, reach, stained) = match object {
        Object::File(file) => (file.as_fd(), Reach::Open, file.stained),
        Object::Dir(dir) => (dir.as_fd(), Reach::Open, dir.stained),
        Object::Named(dir, name) | Object::Same(dir, name, _) => match hold(dir, name, node, object.id()) {
            Ok((fd, reach)) => {
                held = fd;
                let stained = dir.endows || matches!(reach, Reach::Open);
                (held.as_fd(), reach, stained)
            }
            Err(why) => {
                out.fail("open", why);
                return out;
            }
        },
    };
    let hand = Hand { fd, reach, kind: Kind::of(&node.kind), stained, policy };
    let owned = hand.owner(node, &mut out);
    if policy.xattrs {
        hand.xattrs(extras, &mut out);
    }
    hand.mode(node, owned, &mut out);
    hand.times(node, extras, &mut out);
    if policy.flags {
        hand.flags(extras, &mut out);
    }
    out
}

/// Get hold of something by name, and of nothing else than what the node is.
fn hold(dir: &TargetDir, name: &[u8], node: &Node, id: Option<FileId>) -> Result<(OwnedFd, Reach), Why> {
    if !is_safe_name(name) {
        return Err(Why::Name);
    }
    let kind = Kind::of(&node.kind);
    // Flags need a file that is really open; a pipe or device must not be.
    let (flags, reach) = match kind {
        Kind::File => (OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, Reach::Open),
        Kind::Dir => (OFlags::RDONLY | OFlags::DIRECTORY, Reach::Open),
        _ => (OFlags::PATH, Reach::Held),
    };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd =
        openat(dir, name, flags, Mode::empty()).map_err(|e| if e == Errno::LOOP { Why::Raced } else { e.into() })?;
    let stat = Stat::read(&fd, b"").map_err(|e| e.why)?;
    let right = match node.kind {
        NodeKind::CharDevice { device } | NodeKind::BlockDevice { device } => stat.device == device,
        _ => true,
    };
    // Nothing that is reached by its name has further ones by now: one that has may be anybody's,
    // put there to be given away.
    let alone = kind == Kind::Dir || stat.nlink == 1;
    let same = id.is_none_or(|id| stat.id == id);
    if stat.kind == kind && right && alone && same { Ok((fd, reach)) } else { Err(Why::Raced) }
}

/// How a descriptor may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// For everything.
    Open,
    /// Only for holding on (`O_PATH`): calls go by the empty path or through `/proc/self/fd`.
    Held,
}

struct Hand<'a> {
    fd: BorrowedFd<'a>,
    reach: Reach,
    kind: Kind,
    stained: bool,
    policy: &'a Policy,
}

impl Hand<'_> {
    /// Whether it belongs to whom it should now.
    fn owner(&self, node: &Node, out: &mut Applied) -> bool {
        let Some((uid, gid)) = self.policy.owners.of(node) else {
            return false;
        };
        if uid == u32::MAX || gid == u32::MAX {
            out.fail("chown", Errno::INVAL.into()); // The kernel takes this for "leave as it is".
            return false;
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self.chown(uid, gid) {
            Ok(()) => true,
            Err(e) => {
                // Giving files away needs privileges; without them, at least the group may work.
                if e == Errno::PERM && !self.policy.root {
                    let _ = self.chown(None, gid);
                }
                out.fail("chown", e.into());
                false
            }
        }
    }

    fn xattrs(&self, extras: &Extras, out: &mut Applied) {
        if self.stained {
            self.remove_strangers(extras, out);
        }
        for x in &extras.xattrs {
            if !self.policy.privileged && is_privileged(&x.name) {
                out.withheld.push(Withheld::Xattr(x.name.clone()));
            } else if let Err(e) = self.set_xattr(&x.name, &x.value) {
                out.failures.push(Failure { during: "setxattr", why: e.into(), xattr: x.name.clone() });
            }
        }
    }

    /// An older file or a default ACL left attributes that the snapshot does not have. Those that
    /// say who may do what must go; labels that the system sets by itself stay.
    fn remove_strangers(&self, extras: &Extras, out: &mut Applied) {
        let mut list = vec![0; 64 << 10];
        let len = match self.list_xattrs(&mut list) {
            Ok(len) => len,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return,
            Err(e) => return out.fail("listxattr", e.into()),
        };
        for name in list[..len].split(|&b| b == 0) {
            let ours = name.starts_with(b"user.")
                || name.starts_with(ACL)
                || name == b"security.capability"
                || name.starts_with(b"trusted.") && self.policy.privileged;
            if !ours || extras.xattrs.iter().any(|x| x.name == name) {
                continue;
            }
            if let Err(e) = self.remove_xattr(name)
                && !matches!(e, Errno::NODATA | Errno::OPNOTSUPP)
            {
                out.failures.push(Failure { during: "removexattr", why: e.into(), xattr: name.to_vec() });
            }
        }
    }

    fn mode(&self, node: &Node, owned: bool, out: &mut Applied) {
        if self.kind == Kind::Symlink {
            return; // Links have no rights of their own.
        }
        let mut mode = node.mode & 0o7777;
        // On a directory, setgid lends nobody's rights; it says which group new files get.
        let lent = if self.kind == Kind::Dir { mode & 0o4000 } else { mode & 0o6000 };
        if lent != 0 && !(owned && self.policy.privileged) {
            mode &= !lent;
            out.withheld.push(Withheld::SetId);
        }
        if let Err(e) = self.chmod(Mode::from_raw_mode(mode)) {
            out.fail("chmod", e.into());
        }
    }

    fn times(&self, node: &Node, extras: &Extras, out: &mut Applied) {
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let atime = extras.atime.filter(|_| self.policy.atime);
        let (Ok(last_modification), Ok(last_access)) = (spec(node.mtime), atime.map_or(Ok(omit), spec)) else {
            return out.fail("utimens", Errno::INVAL.into());
        };
        match self.utimens(&Timestamps { last_access, last_modification }) {
            Err(e) => out.fail("utimens", e.into()),
            // What a file system cannot hold it cuts without a word.
            Ok(()) if Stat::read(self.fd, b"").is_ok_and(|s| s.mtime != node.mtime) => {
                out.fail("utimens", Why::Limit("the file system keeps coarser or fewer times"));
            }
            Ok(()) => {}
        }
    }

    fn flags(&self, extras: &Extras, out: &mut Applied) {
        let mut want = extras.flags & flag::MASK;
        if !self.policy.privileged && want & flag::SEALING != 0 {
            out.withheld.push(Withheld::Flags(want & flag::SEALING));
            want &= !flag::SEALING;
        }
        if self.reach != Reach::Open || want == 0 && !self.stained {
            return;
        }
        let now = match ioctl_getflags(self.fd) {
            Ok(now) => now.bits(),
            Err(_) if want == 0 => return,
            Err(e) => return out.fail("setflags", e.into()),
        };
        let then = now & !flag::MASK | want;
        if then == now || ioctl_setflags(self.fd, IFlags::from_bits_retain(then)).is_ok() {
            return;
        }
        self.flags_one_by_one(now, want, out);
    }

    /// The file system does not know all of them, or we may not set all of them: what works works.
    fn flags_one_by_one(&self, mut now: u32, want: u32, out: &mut Applied) {
        let sealing_last = |f: &u32| f & flag::SEALING != 0;
        let (last, first): (Vec<u32>, Vec<u32>) = flag::TABLE.iter().map(|(f, _)| *f).partition(sealing_last);
        let mut failure = None;
        for bit in first.into_iter().chain(last) {
            let then = now & !bit | want & bit;
            if then == now {
                continue;
            }
            match ioctl_setflags(self.fd, IFlags::from_bits_retain(then)) {
                Ok(()) => now = then,
                Err(e) => failure = Some(e),
            }
        }
        if let Some(e) = failure {
            out.fail("setflags", e.into());
        }
    }

    fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        match self.reach {
            Reach::Open => fchown(self.fd, uid, gid),
            Reach::Held => chownat(self.fd, "", uid, gid, AtFlags::EMPTY_PATH),
        }
    }
    fn chmod(&self, mode: Mode) -> Result<(), Errno> {
        match self.reach {
            Reach::Open => fchmod(self.fd, mode),
            Reach::Held => chmod(proc_path(self.fd), mode),
        }
    }
    fn utimens(&self, times: &Timestamps) -> Result<(), Errno> {
        match self.reach {
            Reach::Open => futimens(self.fd, times),
            Reach::Held => match utimensat(self.fd, "", times, AtFlags::EMPTY_PATH) {
                // Linux before 5.8 does not take the empty path here.
                Err(Errno::INVAL | Errno::NOENT) => {
                    utimensat(rustix::fs::CWD, proc_path(self.fd), times, AtFlags::empty())
                }
                other => other,
            },
        }
    }
    fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self.reach {
            Reach::Open => fsetxattr(self.fd, name, value, XattrFlags::empty()),
            Reach::Held => setxattr(proc_path(self.fd), name, value, XattrFlags::empty()),
        }
    }
    fn list_xattrs(&self, into: &mut [u8]) -> Result<usize, Errno> {
        match self.reach {
            Reach::Open => flistxattr(self.fd, into),
            Reach::Held => listxattr(proc_path(self.fd), into),
        }
    }
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        match self.reach {
            Reach::Open => fremovexattr(self.fd, name),
            Reach::Held => removexattr(proc_path(self.fd), name),
        }
    }
}

impl Applied {
    fn fail(&mut self, during: &'static str, why: Why) {
        self.failures.push(Failure { during, why, xattr: Vec::new() });
    }
    /// Whether all of it is as it should be.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.withheld.is_empty()
    }
}

/// How the names of attributes begin that hold ACLs.
const ACL: &[u8] = b"system.posix_acl_";

/// Attributes that make a file more than a file. Everything outside the two namespaces that are
/// known to be harmless counts.
fn is_privileged(name: &[u8]) -> bool {
    !name.starts_with(b"user.") && !name.starts_with(ACL)
}

/// `utimensat` gives two numbers of nanoseconds beyond a second a meaning of their own.
fn spec(t: Time) -> Result<Timespec, Errno> {
    if t.nsec >= 1_000_000_000 {
        return Err(Errno::INVAL);
    }
    Ok(Timespec { tv_sec: t.sec, tv_nsec: t.nsec.into() })
}
