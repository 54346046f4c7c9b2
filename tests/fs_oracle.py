"""Makes a tree with everything a file system can hold, and compares two trees.

Shares nothing with the code under test. `make DIR` prints what it had to leave out, `compare A B`
prints each difference; both print nothing if all is well.
"""
import array, ctypes, errno, fcntl, hashlib, os, socket, stat, struct, subprocess, sys

GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
FLAGS = 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x400 | 0x4000 | 0x8000 | 0x10000 | 0x20000 | 0x800000
libc = ctypes.CDLL(None, use_errno=True)


def utimens(path, sec, nsec):
    """os.utime cannot say 1901 to the nanosecond without rounding on some versions."""
    ts = struct.pack("qqqq", 0, (1 << 30) - 2, sec, nsec)
    if libc.utimensat(-100, os.fsencode(path), ts, 0x100) != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e), path)


def flags(fd, new=None):
    buf = array.array("L", [0 if new is None else new])
    fcntl.ioctl(fd, GETFLAGS if new is None else SETFLAGS, buf, True)
    return buf[0] & 0xFFFFFFFF


def attempt(what, action):
    try:
        action()
    except (OSError, subprocess.CalledProcessError, FileNotFoundError) as e:
        print(f"left out: {what}: {e}")


def write(path, data=b"x", mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def make(root):
    root = os.fsencode(root)
    p = lambda *names: os.path.join(root, *names)
    am_root = os.geteuid() == 0
    os.mkdir(p(b"names"))
    for n in [b"plain", b"\xff\xfe\x01", b"new\nline", b"tab\tand\x1b[31m", b"-rf", b" ", b"...", "ünïcode".encode(), b"n" * 255]:
        write(p(b"names", n), n)
    write(p(b"empty"), b"")
    write(p(b"readonly"), b"ro", 0o400)
    write(p(b"nothing-allowed"), b"no", 0o000 if am_root else 0o400)
    write(p(b"big"), os.urandom(3 << 20))
    os.mkdir(p(b"empty-dir"), 0o500)
    os.mkdir(p(b"sticky")); os.chmod(p(b"sticky"), 0o1777)
    os.mkdir(p(b"setgid")); os.chmod(p(b"setgid"), 0o2755)
    write(p(b"setuid"), b"#!", 0o4755)

    os.symlink(b"nowhere/\xff\n" + b"l" * 3000, p(b"long-link"))
    os.symlink(b"/etc", p(b"link"))
    os.link(p(b"link"), p(b"link-again"), follow_symlinks=False)
    if am_root:
        os.lchown(p(b"link"), 1234, 4321)
    utimens(p(b"link"), -1000000000, 123456789)

    write(p(b"hard-1"), b"many names")
    os.mkdir(p(b"sub")); os.link(p(b"hard-1"), p(b"sub", b"hard-2")); os.link(p(b"hard-1"), p(b"hard-3"))
    os.mkfifo(p(b"fifo"), 0o622); os.chmod(p(b"fifo"), 0o622); os.link(p(b"fifo"), p(b"fifo-again"))
    utimens(p(b"fifo"), 86400, 5)
    s = socket.socket(socket.AF_UNIX)
    here = os.getcwd(); os.chdir(root); s.bind(b"socket"); os.chdir(here); s.close()
    os.chmod(p(b"socket"), 0o640)
    attempt("char device", lambda: os.mknod(p(b"null"), stat.S_IFCHR | 0o666, os.makedev(1, 3)))
    attempt("block device", lambda: os.mknod(p(b"loop"), stat.S_IFBLK | 0o660, os.makedev(259, 70000)))

    with open(p(b"sparse"), "wb") as f:
        f.seek(1 << 20); f.write(b"a" * 4096)
        f.seek(5 << 20); f.write(b"b" * 10000)
        f.truncate((64 << 20) + 17)
    with open(p(b"all-hole"), "wb") as f:
        f.truncate(1 << 40)

    for name, sec, nsec in [(b"t1901", -2147483647, 1), (b"t1969", -16000000, 500000000), (b"t1970", 0, 0),
                            (b"t2106", 4300000000, 999999999), (b"t2446", 15032385535, 7)]:
        write(p(name)); utimens(p(name), sec, nsec)

    write(p(b"xattrs"))
    attempt("user xattr", lambda: os.setxattr(p(b"xattrs"), b"user.plain", b"value\0with nul"))
    attempt("empty xattr", lambda: os.setxattr(p(b"xattrs"), b"user.empty", b""))
    attempt("odd xattr", lambda: os.setxattr(p(b"xattrs"), b"user.\xffodd\n", b"x"))
    attempt("long xattr", lambda: os.setxattr(p(b"xattrs"), b"user.long", b"v" * 2500))
    attempt("directory xattr", lambda: os.setxattr(p(b"sub"), b"user.dir", b"d"))
    write(p(b"readonly-xattr")); attempt("xattr", lambda: os.setxattr(p(b"readonly-xattr"), b"user.a", b"b")); os.chmod(p(b"readonly-xattr"), 0o444)
    if am_root:
        for name in [b"xattrs", b"link", b"fifo", b"socket", b"null"]:
            attempt("trusted xattr", lambda: os.setxattr(p(name), b"trusted.t", name, follow_symlinks=False))
        write(p(b"capable"), b"bin", 0o755); os.chown(p(b"capable"), 77, 88)
        cap = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
        attempt("capability", lambda: os.setxattr(p(b"capable"), b"security.capability", cap))
    write(p(b"acl"), b"acl", 0o640)
    attempt("ACL", lambda: subprocess.run(["setfacl", "-m", "u:55:rwx,g:66:r,m::rw", p(b"acl")], check=True))
    os.mkdir(p(b"acl-dir")); write(p(b"acl-dir", b"before"))
    attempt("default ACL", lambda: subprocess.run(["setfacl", "-m", "d:u:55:rwx,d:o::-,u:56:x", p(b"acl-dir")], check=True))

    def chattr(name, bits, directory=False):
        os.mkdir(p(name)) if directory else write(p(name), b"flags")
        fd = os.open(p(name), os.O_RDONLY)
        try:
            flags(fd, flags(fd) | bits)
        finally:
            os.close(fd)
    attempt("chattr +dA", lambda: chattr(b"flags-dA", 0x40 | 0x80))
    attempt("chattr +DS", lambda: chattr(b"flags-D", 0x10000 | 0x40, True))
    if am_root:
        attempt("chattr +i", lambda: chattr(b"flags-i", 0x10))
        attempt("chattr +a", lambda: chattr(b"flags-a", 0x20, True))
        for n, name in enumerate([b"empty", b"setuid", b"sub", b"fifo", b"null", b"xattrs"]):
            mode = os.lstat(p(name)).st_mode
            os.chown(p(name), 1000 + n, 2000 + n)
            os.chmod(p(name), stat.S_IMODE(mode))

    # Deeper than any path may be long.
    fd = os.open(root, os.O_RDONLY)
    for i in range(30):
        os.mkdir(b"d" * 200, dir_fd=fd)
        down = os.open(b"d" * 200, os.O_RDONLY, dir_fd=fd); os.close(fd); fd = down
    f = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd); os.write(f, b"deep"); os.close(f); os.close(fd)
    utimens(p(b"sub"), 1, 2)
    utimens(root, 1000, 1000)


def digest(fd, size):
    """Where the data is and what it is; holes are not read."""
    h, at, where = hashlib.sha256(), 0, []
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            if e.errno == errno.ENXIO:
                break
            raise
        end = os.lseek(fd, data, os.SEEK_HOLE)
        where.append((data, end))
        while data < end:
            piece = os.pread(fd, min(1 << 20, end - data), data)
            h.update(piece); data += len(piece)
        at = end
    return h.hexdigest(), where


def describe(dirfd, name):
    st = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    out = {"type": stat.S_IFMT(st.st_mode), "mode": stat.S_IMODE(st.st_mode), "uid": st.st_uid, "gid": st.st_gid,
           "mtime": st.st_mtime_ns}
    inproc = b"/proc/self/fd/%d/%s" % (dirfd, name)
    try:
        out["xattrs"] = {x: os.getxattr(inproc, x, follow_symlinks=False) for x in os.listxattr(inproc, follow_symlinks=False)}
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
    if stat.S_ISREG(st.st_mode):
        out["size"], out["nlink"] = st.st_size, st.st_nlink
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dirfd)
        out["content"] = digest(fd, st.st_size); out["flags"] = flags(fd) & FLAGS
        os.close(fd)
    elif stat.S_ISLNK(st.st_mode):
        out["target"], out["nlink"] = os.readlink(name, dir_fd=dirfd), st.st_nlink
    elif stat.S_ISDIR(st.st_mode):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dirfd); out["flags"] = flags(fd) & FLAGS; os.close(fd)
    else:
        out["rdev"], out["nlink"] = st.st_rdev, st.st_nlink
    return out, (st.st_dev, st.st_ino)


def compare(a, b, ignore):
    bad, seen = [], 0
    groups = {}
    stack = [(os.open(a, os.O_RDONLY), os.open(b, os.O_RDONLY), b"")]
    first = [describe(fd, b".")[0] for fd in stack[0][:2]]
    if first[0] != first[1]:
        bad.append(f"root: {first}")
    while stack:
        fa, fb, path = stack.pop()
        na, nb = sorted(os.fsencode(n) for n in os.listdir(fa)), sorted(os.fsencode(n) for n in os.listdir(fb))
        for n in set(na) ^ set(nb):
            bad.append(f"{path + b'/' + n!r}: only on one side")
        for n in [n for n in na if n in nb]:
            (da, ia), (db, ib) = describe(fa, n), describe(fb, n)
            seen += 1
            for key in sorted(set(da) | set(db)):
                if key not in ignore and da.get(key) != db.get(key):
                    bad.append(f"{path[-60:] + b'/' + n!r}: {key}: {da.get(key)!r} != {db.get(key)!r}")
            if da["type"] == stat.S_IFDIR and db["type"] == stat.S_IFDIR:
                stack.append((os.open(n, os.O_RDONLY, dir_fd=fa), os.open(n, os.O_RDONLY, dir_fd=fb), path + b"/" + n))
            elif groups.setdefault(ia, ib) != ib:
                bad.append(f"{path + b'/' + n!r}: linked with other names")
        os.close(fa); os.close(fb)
    print("\n".join(bad), end="\n" if bad else "")
    if seen < 30:
        print(f"only {seen} entries compared")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        compare(sys.argv[2], sys.argv[3], set(sys.argv[4:]))
