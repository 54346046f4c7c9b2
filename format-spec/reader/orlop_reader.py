#!/usr/bin/env python3
"""Reads an orlop repository in a folder: lists, verifies, restores. Written from format-spec alone.

Slow and simple on purpose: this is what one can write in a bad year. It shares no code with orlop,
writes nothing into the repository, and needs Python 3.11 and the packages in requirements.txt.

    orlop_reader.py REPO UNLOCK snapshots
    orlop_reader.py REPO UNLOCK ls SNAPSHOT
    orlop_reader.py REPO UNLOCK restore SNAPSHOT TARGET
    orlop_reader.py REPO UNLOCK check

UNLOCK is one of --password TEXT, --password-file FILE, --key-file FILE, --words "24 words",
--no-password. SNAPSHOT is `latest` or the beginning of an id. Exit code: 0 all well, 3 something was
wrong but the rest was done, 1 nothing could be done.
"""

import argparse
import datetime
import hmac
import os
import stat
import struct
import sys
from collections import OrderedDict

import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


class Bad(Exception):
    """Stored bytes are not what the specification says."""


PROBLEMS = []


def problem(text):
    PROBLEMS.append(text)
    print(f"orlop_reader: {text}", file=sys.stderr)


def need(condition, text):
    if not condition:
        raise Bad(text)


# ---- 00: numbers, encoded structures, hashes ---------------------------------------------------

BLOB_MAX, FRAME_PLAIN_MAX, PACK_MAX, TABLE_MAX = 8 << 20, 9 << 20, 1 << 30, 64 << 20
RECORD_MAX, SEGMENT_MAX, PAGE_MAX, PAGE_ENTRIES_MAX = 1 << 20, 256 << 20, 256 << 10, 4096
INLINE_MAX, EXTENTS_INLINE_MAX, NAME_MAX, SYMLINK_MAX, PAGE_LEVEL_MAX = 512, 16, 4096, 64 << 10, 12
DEPTH_MAX, SLOTS_MAX, PACK_ROUND = 4096, 32, 16 << 10

STRUCTURES = """
Time: sec i64; nsec u32
Ext: tag u16; flags u8; data bytes
SlotSecret: seed 32; label text; username text; hostname text; created Time; ext list of Ext
Keyring: role Role; domain 16; instance 16; id_secret 32; chunk_secret 32; epochs list of Epoch; admin 32; client optional ClientKey; owner optional Owner; ext list of Ext
Epoch: n u32; data optional 32; tree optional 32; index optional 32; record optional 32
ClientKey: id 16; name text; epoch u32; seed 32
Owner: admin_seed 32; client_roots list of (u32, 32); escrow 32
Config: n u32; prev 32; domain 16; instance 16; created Time; read_features list of u16; write_features list of u16; suite u8; suites bytes; profiles list of Profile; compression i32; parity u32; undelete_window u64; admin 32; ext list of Ext
Profile: id u8; chunker u8; min u32; avg u32; max u32; frame u32
Client: id 16; name text; epoch u32; key 32; role Role; created Time; ext list of Ext
Close: session 16; kind CloseKind; snapshots list of 32; author 16; author_epoch u32; seen_gen u64; nonce 16; ext list of Ext
Statement: domain 16; client 16; seq u64; prev 32; client_epoch u32; root optional PageRef; time Time; utc_offset i32; started Time; ended Time; machine 8; config 32; flags u32; parent optional 32; replaces optional 32; origin optional bytes; heads list of Head; body bytes; ext list of Ext
Head: client 16; seq u64; id 32
Commit: instance 16; session 16; seen_gen u64; statement 32; committer 16; committer_epoch u32; received_from optional 16; received_at optional Time; ext list of Ext
Body: hostname text; username text; uid u32; gid u32; paths list of bytes; tags list of text; label text; description text; trigger Trigger; scope Scope; expires optional Time; chunking u8; excludes list of bytes; program text; name_encoding u8; root_style u8; users list of (u32, bytes); groups list of (u32, bytes); stats Stats; ext list of Ext
Stats: files_new u64; files_changed u64; files_unmodified u64; dirs_new u64; dirs_changed u64; dirs_unmodified u64; data_blobs u64; tree_blobs u64; data_added u64; data_added_packed u64; files_processed u64; bytes_processed u64; problems u64
SegmentHead: domain 16; instance 16; client 16; client_epoch u32; session 16; packs list of PackEntry; supersedes list of 32; rows_hash 32; ext list of Ext
PackEntry: id 32; uploader 4; len u64; kind Kind; header Header; frames list of FrameEntry
Header: suite u8; wrap u8; epoch u32; session 16; salt 32; commitment 32
FrameEntry: stored u32; plain u32; codec Codec; blobs u16
Node: name bytes; kind NodeKind; mode u32; uid u32; gid u32; mtime Time; ctime Time; ino u64; ext list of Ext
PageRef: id 32; level u8; entries u64; bytes u64
DirChild: id 32; entries u64; bytes u64; last bytes
ListChild: id 32; entries u64; bytes u64
Xattr: name bytes; value XattrValue
PackName: id 32; uploader 4
GcClear: generation u64; prev 32; kind GcKind; storage_time Time; finishes u64; condemned list of PackName; new_index list of 32; superseded_index list of 32; live_sessions list of 16; resurrected list of PackName; doomed_packs list of PackName; doomed_index list of 32; doomed_names list of text; ext list of Ext
Gc: author 16; author_epoch u32; session 16; config 32; heads list of Head; expired list of 32; confirmed list of Confirmed; seen list of Seen; verdicts list of Verdict; state list of 32; lost optional Lost; nonce 16; ext list of Ext
Confirmed: client 16; upto u64; except list of u64
Seen: statement 32; received Time
Hollow: client 16; seq u64; n u32; statement 32; hollow bool; author 16; author_epoch u32; nonce 16; ext list of Ext
Verdict: pack 32; outcome Outcome
Lost: generation u64; raw optional 32
TombstoneClear: client 16; seq u64; not_before Time; nonce 16; ext list of Ext
Tombstone: author 16; author_epoch u32; target optional 32; reason Reason; made Time; ext list of Ext
State: generation u64; author 16; author_epoch u32; heads list of Head; confirmed list of Confirmed; forgotten list of Forgotten; condemned list of Condemned; seen list of Seen; bad list of 32; ext list of Ext
Forgotten: client 16; ranges list of (u64, u64); anchors list of (u64, 32)
Condemned: pack PackName; generation u64
"""
CHOICES = """
Role = Owner | Client | Put | Restore | Maintain
CloseKind = End | Abort | Fence
Trigger = Manual | Schedule(text)
Scope = Full | Partial(text)
Kind = Data | Tree
Codec = Raw | Zstd
NodeKind = File{size u64; content Content} | Dir{root optional PageRef} | Symlink{target bytes} | Fifo | Socket | CharDevice{device u64} | BlockDevice{device u64}
Content = Inline(bytes) | Extents{profile u8; extents list of Extent} | Pages{profile u8; root PageRef}
Extent = Data{id 32; len u32; repeat u32} | Hole{len u64}
XattrValue = Inline(bytes) | Chunk{id 32; len u32}
GcKind = Plan | Finish | Checkpoint | Restart
Outcome = Cleared | Healed | LostAccepted
Reason = Forget | Replaced(32) | Lost | Undelete(32)
"""


def parse_fields(text):
    return [f.strip().split(" ", 1) for f in text.split(";")] if text else []


STRUCTS = {}
ENUMS = {}
for line in STRUCTURES.strip().splitlines():
    struct_name, body = line.split(": ", 1)
    STRUCTS[struct_name] = parse_fields(body)
for line in CHOICES.strip().splitlines():
    enum_name, body = line.split(" = ", 1)
    ENUMS[enum_name] = []
    for choice in body.split(" | "):
        if choice.endswith("}"):
            choice, inner = choice[:-1].split("{", 1)
            ENUMS[enum_name].append((choice, ("fields", parse_fields(inner))))
        elif choice.endswith(")"):
            choice, inner = choice[:-1].split("(", 1)
            ENUMS[enum_name].append((choice, ("one", inner)))
        else:
            ENUMS[enum_name].append((choice, None))

BITS = {"u16": 16, "u32": 32, "u64": 64, "i32": 32, "i64": 64}


class Decoder:
    """Encoded structures, strictly: every value has one encoding."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(n <= len(self.data) - self.at, "an encoded structure ends early")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, bits):
        first = self.take(1)[0]
        if first <= 250:
            return first
        need(first <= 253, "no such integer form")
        size = {251: 2, 252: 4, 253: 8}[first]
        n = int.from_bytes(self.take(size), "little")
        least = {2: 251, 4: 1 << 16, 8: 1 << 32}[size]
        need(n >= least, "an integer is longer than needed")
        need(n < 1 << bits, "an integer does not fit its field")
        return n

    def read(self, kind):
        if kind == "u8":
            return self.take(1)[0]
        if kind == "bool":
            value = self.take(1)[0]
            need(value <= 1, "neither true nor false")
            return value == 1
        if kind in ("u16", "u32", "u64"):
            return self.number(BITS[kind])
        if kind in ("i32", "i64"):
            z = self.number(BITS[kind])
            return -(z + 1) // 2 if z & 1 else z // 2
        if kind.isdigit():
            return self.take(int(kind))
        if kind == "bytes":
            return self.take(self.number(64))
        if kind == "text":
            try:
                return self.take(self.number(64)).decode()
            except UnicodeDecodeError:
                raise Bad("a text is not UTF-8") from None
        if kind.startswith("list of "):
            count = self.number(64)
            need(count <= len(self.data) - self.at, "a list is longer than the structure around it")
            return [self.read(kind[8:]) for _ in range(count)]
        if kind.startswith("optional "):
            some = self.take(1)[0]
            need(some <= 1, "neither there nor not")
            return self.read(kind[9:]) if some else None
        if kind.startswith("("):
            return tuple(self.read(k) for k in kind[1:-1].split(", "))
        if kind in STRUCTS:
            return self.fields(STRUCTS[kind])
        number = self.number(32)
        need(number < len(ENUMS[kind]), f"unknown {kind}")
        name, inner = ENUMS[kind][number]
        if inner is None:
            return (name, None)
        return (name, self.fields(inner[1]) if inner[0] == "fields" else self.read(inner[1]))

    def fields(self, fields):
        return {name: self.read(kind) for name, kind in fields}


def decode(kind, data, known_ext=()):
    d = Decoder(data)
    value = d.read(kind)
    need(d.at == len(data), f"bytes follow a {kind}")
    if isinstance(value, dict) and "ext" in value:
        check_ext(value["ext"], known_ext)
    return value


def check_ext(ext, known=()):
    tags = [e["tag"] for e in ext]
    need(all(a < b for a, b in zip(tags, tags[1:])), "extensions do not ascend")
    for e in ext:
        need(not e["flags"] & 1 or e["tag"] in known, f"extension {e['tag']}: a newer orlop wrote this")


def H(data):
    return blake3(data).digest()


def KH(key, data):
    return blake3(data, key=key).digest()


def X(key, data, length):
    return blake3(data, key=key).digest(length=length)


def DK(context, key):
    return blake3(key, derive_key_context=context).digest()


def open_aead(suite, key, domain, counter, aad, sealed):
    cipher = {1: ChaCha20Poly1305, 2: AESGCM}[suite](key)
    try:
        return cipher.decrypt(bytes([domain, 0, 0, 0]) + counter.to_bytes(8, "little"), sealed, aad)
    except (InvalidTag, ValueError):
        raise Bad("does not authenticate") from None


def key_of(secret, label, commitment):
    okm = X(secret, label, 64)
    need(hmac.compare_digest(okm[32:], commitment), "the key does not fit")
    return okm[:32]


def verify(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Bad("a signature does not verify") from None


# ---- 30: the code of armour and parity ---------------------------------------------------------

BASIS = [0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012]
BASIS += [0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E]


class Field:
    """GF(2^16); symbols are numbers that stand for elements by BASIS."""

    def __init__(self):
        element = [0] * 65536
        for n in range(1, 65536):
            low = n & -n
            element[n] = element[n ^ low] ^ BASIS[low.bit_length() - 1]
        power, log = [0] * 65535, [0] * 65536
        x = 1
        for i in range(65535):
            power[i], log[x] = x, i
            x = x << 1 ^ (0x1002D if x & 0x8000 else 0)
        number = [0] * 65536
        for n, e in enumerate(element):
            number[e] = n
        self.log = [log[e] for e in element]
        self.power = [number[p] for p in power]

    def mul(self, a, b):
        return self.power[(self.log[a] + self.log[b]) % 65535] if a and b else 0

    def div(self, a, b):
        return self.power[(self.log[a] - self.log[b]) % 65535] if a else 0


FIELD = None


def symbols(shard):
    out = []
    for at in range(0, len(shard), 64):
        block = shard[at : at + 64]
        half = len(block) // 2
        out += [block[i] | block[half + i] << 8 for i in range(half)]
    return out


def unsymbols(numbers):
    out = bytearray()
    for at in range(0, len(numbers), 32):
        block = numbers[at : at + 32]
        out += bytes(n & 255 for n in block) + bytes(n >> 8 for n in block)
    return bytes(out)


def add_multiple(total, c, numbers):
    """total += c * numbers, symbol by symbol; multiplying by c is linear, so two tables do."""
    low, high = [0] * 256, [0] * 256
    for i in range(8):
        a, b = FIELD.mul(c, 1 << i), FIELD.mul(c, 256 << i)
        for n in range(1 << i):
            low[n | 1 << i], high[n | 1 << i] = low[n] ^ a, high[n] ^ b
    for i, n in enumerate(numbers):
        total[i] ^= low[n & 255] ^ high[n >> 8]


def restore_shards(data, parity):
    """Data shards with None where they are lost, and likewise parity: all data shards, or Bad."""
    global FIELD
    lost = [i for i, s in enumerate(data) if s is None]
    rows = [j for j, s in enumerate(parity) if s is not None][: len(lost)]
    need(len(rows) == len(lost), "more shards are lost than there is parity for")
    if not lost:
        return data
    FIELD = FIELD or Field()
    m = 1 << (len(parity) - 1).bit_length()
    matrix, right = [], []
    for j in rows:
        total, row = symbols(parity[j]), []
        for i, shard in enumerate(data):
            first = m * (i // m + 1)
            top = bottom = 1
            for b in range(first, first + m):
                if b != m + i:
                    top, bottom = FIELD.mul(top, j ^ b), FIELD.mul(bottom, m + i ^ b)
            c = FIELD.div(top, bottom)
            if shard is None:
                row.append(c)
            else:
                add_multiple(total, c, symbols(shard))
        matrix.append(row)
        right.append(total)
    size = len(lost)
    for i in range(size):
        pivot = next(r for r in range(i, size) if matrix[r][i])
        matrix[i], matrix[pivot], right[i], right[pivot] = matrix[pivot], matrix[i], right[pivot], right[i]
        inverse = FIELD.div(1, matrix[i][i])
        scaled = [0] * len(right[i])
        add_multiple(scaled, inverse, right[i])
        matrix[i], right[i] = [FIELD.mul(inverse, c) for c in matrix[i]], scaled
        for r in range(size):
            c = matrix[r][i]
            if r != i and c:
                matrix[r] = [a ^ FIELD.mul(c, b) for a, b in zip(matrix[r], matrix[i])]
                add_multiple(right[r], c, right[i])
    data = list(data)
    for i, numbers in zip(lost, right):
        data[i] = unsymbols(numbers)
    return data


def unwrap(stored):
    """The content of an armoured object."""
    failed = Bad("too short for armour")
    for head in (stored[:304], stored[-304:]):
        try:
            need(len(head) == 304 and head[:8] == b"ORLPARM1", "not armour")
            n, w = struct.unpack("<II", head[8:16])
            need(n <= RECORD_MAX, "a small object is too long")
            need(w == max(2, -(-(-(-n // 16)) // 2) * 2), "armour's shards have the wrong length")
            shards = []
            for i in range(32):
                shard = stored[304 + i * w : 304 + (i + 1) * w]
                good = len(shard) == w and H(shard)[:8] == head[48 + 8 * i : 56 + 8 * i]
                shards.append(shard if good else None)
            joined = b"".join(restore_shards(shards[:16], shards[16:]))
            need(not any(joined[n:]), "armour's padding is not zero")
            need(H(joined[:n]) == head[16:48], "armour's content has another hash")
            return joined[:n]
        except Bad as e:
            failed = e
    raise failed


def repair_pack(damaged, sidecar):
    """A whole pack from a damaged one and its parity (40)."""
    head = sidecar[:64] if sidecar[:8] == b"ORLPPAR1" else sidecar[-64:]
    need(len(head) == 64 and head[:8] == b"ORLPPAR1", "not a parity sidecar")
    version, zero, w, k, r, length = struct.unpack("<HHIIIQ", head[8:32])
    need(version == 1 and zero == 0, "a parity sidecar of another version")
    need(length <= PACK_MAX and w and w % 64 == 0 and 1 <= r <= 4096 and k * w == length, "parity does not add up")
    need(len(sidecar) == 128 + 16 * (k + r) + r * w, "a parity sidecar has the wrong length")
    front, back = sidecar[64 : 64 + 8 * (k + r)], sidecar[-64 - 8 * (k + r) : -64]

    def good(i, shard):
        sums = (front[8 * i : 8 * i + 8], back[8 * i : 8 * i + 8])
        return shard if len(shard) == w and H(shard)[:8] in sums else None

    at = 64 + 8 * (k + r)
    data = [good(i, damaged[i * w : (i + 1) * w]) for i in range(k)]
    parity = [good(k + j, sidecar[at + j * w : at + (j + 1) * w]) for j in range(r)]
    whole = b"".join(restore_shards(data, parity))
    need(H(whole) == head[32:64], "the repaired pack has another hash")
    return whole


# ---- 30: records -------------------------------------------------------------------------------

ZERO16 = bytes(16)


class Record:
    def __init__(self, kind, data, secret_of, domain, instance, name):
        need(data[:8] == b"ORLPREC1" and len(data) >= 96, "not a record")
        version, found, self.epoch, c, s = struct.unpack("<HHIII", data[8:24])
        need(version == 1, "a record of a newer version")
        need(found == kind, "another kind of record stands here")
        need(c <= RECORD_MAX and s <= RECORD_MAX and len(data) == 96 + c + s, "a record has the wrong length")
        need(not any(data[24:32]), "reserved bytes are not zero")
        secret = secret_of(self.epoch)
        need(secret is not None, f"no secret for epoch {self.epoch}")
        self.place = domain + instance + struct.pack("<H", len(name)) + name.encode()
        key = key_of(secret, b"orlop v1 record" + self.place + data[:64], data[64:96])
        self.clear = data[96 : 96 + c]
        plain = open_aead(1, key, 0, 0, data[: 96 + c], data[96 + c :])
        n = int.from_bytes(plain[:4], "little")
        need(len(plain) == 4 + n + 65, "a record's payload has the wrong length")
        self.payload, signed, self.signature = plain[4 : 4 + n], plain[4 + n], plain[5 + n :]
        need(signed == 1 or (signed == 0 and not any(self.signature)), "unknown kind of signature")
        self.signature = self.signature if signed else None
        self.kind = kind
        head = b"orlop v1 record" + struct.pack("<H", kind) + self.place
        self.message = head + struct.pack("<I", c) + self.clear + self.payload
        self.id = H(self.message + (self.signature or b""))

    def verify(self, key):
        need(self.signature is not None, "a record is not signed")
        verify(key, self.message, self.signature)
        if self.kind in (9, 10):
            message = b"orlop v1 clear" + struct.pack("<H", self.kind) + self.place + self.clear[:-64]
            verify(key, message, self.clear[-64:])


# ---- 10, 20: the repository and its keys -------------------------------------------------------


class Repository:
    def __init__(self, path, unlock):
        self.path = path
        self.frames = OrderedDict()
        self.index = None
        self.open_keys(unlock)
        self.open_config()
        self.open_clients()

    def file(self, name):
        return os.path.join(self.path, *name.split("/"))

    def list(self, prefix):
        out = []
        for folder, folders, files in os.walk(self.file(prefix)):
            folders[:] = [f for f in folders if not f.startswith(".")]
            inside = os.path.relpath(folder, self.path).replace(os.sep, "/")
            out += [f"{inside}/{f}" for f in files if not f.startswith(".")]
        return sorted(out)

    def get(self, name):
        with open(self.file(name), "rb") as f:
            return f.read()

    def list_either(self, prefix):
        """The names below a prefix, also of objects of which only the second home is left."""
        return sorted(set(self.list(prefix)) | {n[5:] for n in self.list("copy/" + prefix)})

    def small(self, name):
        """The content of an armoured object, from its second home if the first is gone."""
        failed = None
        for home in (name, "copy/" + name):
            try:
                return unwrap(self.get(home))
            except (OSError, Bad) as e:
                failed = failed or Bad(f"{home}: {e}")
        raise failed

    def open_keys(self, unlock):
        slots = {n.rsplit("/", 1)[1] for n in self.list("keys") + self.list("copy/keys")}
        need(slots, "no key slots: this is no orlop repository")
        tried = 0
        for cost, slot in sorted((self.slot_cost(slot, unlock), slot) for slot in slots):
            tried += cost > 0
            if tried > SLOTS_MAX:
                break
            try:
                opened = self.open_slot(slot, unlock)
            except Bad as e:
                problem(f"keys/{slot}: {e}")
                continue
            if opened is not None:
                seed, role = opened
                return self.open_keyring(slot, seed, role)
        raise Bad("no key slot opens with what was given")

    def slot_cost(self, slot, unlock):
        """What trying a password on it costs; what is no slot costs nothing."""
        try:
            data = self.small(f"keys/{slot}")
        except Bad:
            return 0
        kdf, m, t = (data[10], *struct.unpack("<II", data[12:20])) if len(data) >= 144 else (0, 0, 0)
        return m * t if (kdf, unlock[0]) == (1, "password") else 0

    def open_slot(self, slot, unlock):
        data = self.small(f"keys/{slot}")
        need(data[:8] == b"ORLPSLOT" and len(data) >= 144, "not a key slot")
        version, kdf, role, m, t, p = struct.unpack("<HBBIII", data[8:24])
        need(version == 1 and kdf <= 2 and 1 <= role <= 5, "a key slot of a newer kind")
        s, e = struct.unpack("<II", data[136:144])
        need(len(data) == 144 + s + e and data[24:40].hex() == slot, "a key slot does not add up")
        self.domain, self.instance = data[40:56], data[56:72]
        how, secret = unlock
        if how != {0: "raw", 1: "password", 2: "nothing"}[kdf]:
            return None
        if kdf == 1:
            bounds = 8 * p <= m <= 1 << 21 and 1 <= t <= 16 and 1 <= p <= 16 and m * t <= 1 << 23
            need(bounds, "password hashing costs more than any writer would ask for")
            base = hash_secret_raw(secret, data[72:104], t, m, p, 32, Type.ID, 19)
        else:
            need((m, t, p) == (0, 0, 0), "parameters where none belong")
            base = secret if kdf == 0 else bytes(32)
        okm = X(base, b"orlop v1 slot" + data[:104], 64)
        if not hmac.compare_digest(okm[32:], data[104:136]):
            return None
        plain = open_aead(1, okm[:32], 0, 0, data[:136], data[144 : 144 + s])
        return decode("SlotSecret", plain)["seed"], role

    def open_keyring(self, slot, seed, role):
        failed = Bad("no keyring")
        for name in reversed(self.list(f"keyring/{slot}")):
            try:
                record = Record(17, self.small(name), lambda _: seed, self.domain, self.instance, name)
                ring = decode("Keyring", record.payload)
                record.verify(ring["admin"])
                same = ring["domain"] == self.domain and ring["instance"] == self.instance
                need(same and ENUMS["Role"][role - 1][0] == ring["role"][0], "a keyring does not fit its slot")
                numbers = [e["n"] for e in ring["epochs"]]
                need(numbers and numbers == sorted(set(numbers)), "epochs do not ascend")
            except Bad as e:
                failed = Bad(f"{name}: {e}")
                problem(str(failed))
                continue
            self.epochs = {e["n"]: e for e in ring["epochs"]}
            self.admin = ring["admin"]
            self.chunk_key = DK("orlop v1 blob id chunk", ring["id_secret"])
            self.page_key = DK("orlop v1 blob id page", ring["id_secret"])
            return
        raise failed

    def secret(self, what):
        return lambda epoch: self.epochs.get(epoch, {}).get(what)

    def record(self, kind, name, data=None, place=None, portable=False, what="index"):
        data = self.small(name) if data is None else data
        instance = ZERO16 if portable else self.instance
        return Record(kind, data, self.secret(what), self.domain, instance, place or name)

    def open_config(self):
        failed = Bad("no configuration")
        for name in reversed(self.list("config") or [n[5:] for n in self.list("copy/config")]):
            try:
                record = self.record(1, name)
                record.verify(self.admin)
                config = decode("Config", record.payload)
                same = config["domain"] == self.domain and config["instance"] == self.instance
                need(record.clear == self.domain + self.instance, "its clear part is of another repository")
                need(same and name == f"config/{config['n']:08x}", "of another repository")
            except Bad as e:
                failed = Bad(f"{name}: {e}")
                problem(str(failed))
                continue
            need(not config["read_features"], "this repository needs a newer reader")
            self.config = config
            return
        raise failed

    def open_clients(self):
        self.clients = {}
        for name in self.list_either("clients"):
            try:
                record = self.record(2, name)
                record.verify(self.admin)
                c = decode("Client", record.payload)
                need(name == f"clients/{c['id'].hex()}/{c['epoch']:08x}", "is not what its name says")
                self.clients.setdefault(c["id"], {})[c["epoch"]] = c
            except Bad as e:
                problem(f"{name}: {e}")

    def signer(self, client, epoch):
        key = self.clients.get(client, {}).get(epoch)
        need(key is not None, f"signed by an unknown client {client.hex()}")
        return key["key"]

    # ---- 70, 80: snapshots ---------------------------------------------------------------------

    def snapshots(self):
        out = []
        for name in self.list_either("snapshots"):
            try:
                out.append(self.snapshot(name))
            except Bad as e:
                problem(f"{name}: {e}")
        self.judge(out)
        self.hollow(out)
        return sorted(out, key=lambda s: (s["time"]["sec"], s["time"]["nsec"], s["id"]))

    def snapshot(self, name):
        _, client, seq = name.split("/")
        data = self.small(name)
        n = int.from_bytes(data[:4], "little")
        need(n <= RECORD_MAX and len(data) >= 4 + n, "a snapshot ends early")
        place = f"statement/{client}/{seq}"
        statement = self.record(3, name, data[4 : 4 + n], place, portable=True)
        commit = self.record(5, name, data[4 + n :])
        s, c = decode("Statement", statement.payload), decode("Commit", commit.payload)
        fits = s["domain"] == self.domain and s["client"].hex() == client and f"{s['seq']:016x}" == seq
        need(fits and c["instance"] == self.instance and c["statement"] == statement.id, "is not what its name says")
        statement.verify(self.signer(s["client"], s["client_epoch"]))
        commit.verify(self.signer(c["committer"], c["committer_epoch"]))
        role = self.clients[c["committer"]][c["committer_epoch"]]["role"][0]
        need(role != "Client" or c["committer"] == s["client"], "a client committed what another signed")
        s.update(id=statement.id, commit=c, name=name, body_bytes=s["body"])
        s["body"] = None
        if self.secret("record")(self.record_epoch(s["body_bytes"])) is not None:
            body = self.record(4, name, s["body_bytes"], place + "/body", portable=True, what="record")
            s["body"] = decode("Body", body.payload)
        return s

    @staticmethod
    def record_epoch(data):
        return int.from_bytes(data[12:16], "little")

    def hollow(self, snapshots):
        """Whose content a mirror does not have: the highest mark that counts says so."""
        marks = {}
        for name in self.list("hollow"):
            try:
                record = self.record(15, name)
                mark = decode("Hollow", record.payload)
                record.verify(self.signer(mark["author"], mark["author_epoch"]))
                role = self.clients[mark["author"]][mark["author_epoch"]]["role"][0]
                need(role == "Owner", "only the owner may say what is here")
                need(mark["hollow"] == (mark["n"] % 2 == 0), "even marks say hollow, odd ones filled")
                place = (mark["client"], mark["seq"])
                if place not in marks or marks[place]["n"] < mark["n"]:
                    marks[place] = mark
            except Bad as e:
                problem(f"{name}: {e}")
        for s in snapshots:
            mark = marks.get((s["client"], s["seq"]))
            came_hollow = any(e["tag"] == 1 for e in s["commit"]["ext"])
            s["hollow"] = came_hollow and mark is not None and mark["hollow"] and mark["statement"] == s["id"]
            if s["hollow"]:
                s["state"] = "hollow: its content is not here"

    @staticmethod
    def original(s):
        """The id of the statement that a snapshot is a copy of."""
        data = s["origin"]
        payload, signature = data[:-64], data[-64:]
        o = decode("Statement", payload)
        place = f"statement/{o['client'].hex()}/{o['seq']:016x}".encode()
        said = b"orlop v1 record" + (3).to_bytes(2, "little") + o["domain"] + bytes(16)
        said += len(place).to_bytes(2, "little") + place + bytes(4) + payload
        return H(said + signature)

    def judge(self, snapshots):
        """Which are confirmed (V), and whether each chain is whole."""
        confirmed, forgotten, empty = {}, {}, {}
        for name in self.list("gc"):
            try:
                record = self.record(9, name)
                gc = decode("Gc", record.payload)
                record.verify(self.signer(gc["author"], gc["author_epoch"]))
                parts = [gc]
                for part in gc["state"]:
                    state = self.record(16, f"state/{part.hex()}", place="state")
                    need(state.id == part, "a part of the state is another")
                    parts.append(decode("State", state.payload))
                for part in parts:
                    for c in part["confirmed"]:
                        confirmed.setdefault(c["client"], []).append(c)
                    for f in part.get("forgotten", []):
                        forgotten.setdefault(f["client"], []).extend(f["ranges"])
                        empty.setdefault(f["client"], []).extend(f["ranges"])
            except Bad as e:
                problem(f"{name}: {e}")
        for name in self.list("tombstones"):
            try:
                record = self.record(10, name)
                clear, stone = decode("TombstoneClear", record.clear[:-64]), decode("Tombstone", record.payload)
                record.verify(self.signer(stone["author"], stone["author_epoch"]))
                if stone["reason"][0] != "Undelete":
                    forgotten.setdefault(clear["client"], []).append((clear["seq"], clear["seq"]))
            except Bad as e:
                problem(f"{name}: {e}")
        # Nothing stands at a place that a checkpoint names as given up.
        snapshots[:] = [s for s in snapshots if not any(a <= s["seq"] <= b for a, b in empty.get(s["client"], []))]
        places = {}
        for s in snapshots:
            places.setdefault(s["client"], {})[s["seq"]] = s
            s["state"] = "late: its content is not promised"
            if any(s["seq"] <= c["upto"] and s["seq"] not in c["except"] for c in confirmed.get(s["client"], [])):
                s["state"] = ""
                continue
            session = f"sessions/{s['commit']['session'].hex()}"
            try:
                if os.path.exists(self.file(session + "/close")):
                    record = self.record(8, session + "/close")
                    close = decode("Close", record.payload)
                    record.verify(self.signer(close["author"], close["author_epoch"]))
                    role = self.clients[close["author"]][close["author_epoch"]]["role"][0]
                    fence = close["kind"][0] == "Fence" and role in ("Owner", "Maintain")
                    if close["author"] != s["commit"]["committer"] and not fence:
                        s["state"] = ""
                        problem(f"{session}/close: by a client that may not close this session")
                    elif close["kind"][0] == "End" and s["id"] in close["snapshots"]:
                        s["state"] = ""
                elif os.path.exists(self.file(session + "/00000000")):
                    s["state"] = ""
            except Bad as e:
                problem(f"{session}/close: {e}")
        for client, chain in places.items():
            for seq in range(1, max(chain)):
                gone = any(a <= seq <= b for a, b in forgotten.get(client, []))
                if seq not in chain and not gone:
                    problem(f"snapshot {seq} of {client.hex()} is missing, and nobody decided that")
            for seq, s in chain.items():
                before = chain.get(seq - 1)
                if before is not None and s["prev"] != before["id"] or seq == 1 and any(s["prev"]):
                    problem(f"{s['name']}: does not continue the chain")

    # ---- 50: the index -------------------------------------------------------------------------

    def load_index(self):
        self.index = {}
        for name in self.list("index"):
            try:
                self.load_segment(name)
            except (OSError, Bad) as e:
                problem(f"{name}: {e}")

    def load_segment(self, name):
        data = self.get(name)
        need(len(data) <= SEGMENT_MAX and len(data) >= 96, "a segment has the wrong length")
        need(H(data).hex() == name.split("/")[1], "is not what its name says")
        need(data[:8] == b"ORLPSEG1", "not a segment")
        version, zero, epoch, head_len, zero4, rows = struct.unpack("<HHIIIQ", data[8:32])
        need(version == 1 and zero == 0 and zero4 == 0, "a segment of another version")
        pages = -(-rows // 2520)
        need(len(data) == 96 + head_len + 26 * rows + 16 * pages + 20 * pages + 16, "a segment has the wrong length")
        secret = self.secret("index")(epoch)
        need(secret is not None, f"no secret for epoch {epoch}")
        key = key_of(secret, b"orlop v1 segment" + self.domain + self.instance + data[:64], data[64:96])
        at = 96

        def part(domain, counter, length):
            nonlocal at
            at += length
            return open_aead(1, key, domain, counter, data[:96], data[at - length : at])

        signed = part(3, 0, head_len)
        body = b"".join(part(4, i, 26 * min(2520, rows - 2520 * i) + 16) for i in range(pages))
        fence = part(5, 0, 20 * pages + 16)
        need(fence == b"".join(body[i : i + 20] for i in range(0, len(body), 26 * 2520)), "the fence does not fit")
        head = decode("SegmentHead", signed[:-64])
        need(head["domain"] == self.domain and head["instance"] == self.instance, "of another repository")
        place = self.domain + self.instance + struct.pack("<H", 5) + b"index"
        message = b"orlop v1 record" + struct.pack("<H", 14) + place + struct.pack("<I", 0) + signed[:-64]
        verify(self.signer(head["client"], head["client_epoch"]), message, signed[-64:])
        need(H(body) == head["rows_hash"], "rows do not have the signed hash")
        frames = []
        for pack in head["packs"]:
            offset = 256
            for position, f in enumerate(pack["frames"]):
                frames.append((pack, position, offset, f))
                offset += f["stored"]
            need(offset <= pack["len"] <= PACK_MAX, "frames reach beyond their pack")
        before = b""
        for i in range(0, len(body), 26):
            row = body[i : i + 26]
            frame, ordinal = struct.unpack("<IH", row[20:])
            need(frame < len(frames) and ordinal < frames[frame][3]["blobs"], "a row points outside its frames")
            sort_key = (row[:20], frame, ordinal)
            need(not before or before <= sort_key, "rows do not ascend")
            before = sort_key
            self.index.setdefault(row[:20], []).append((*frames[frame], ordinal))

    # ---- 40: packs and blobs -------------------------------------------------------------------

    def blob(self, blob_id, key, kind):
        """The bytes of a chunk or page, verified."""
        if self.index is None:
            self.load_index()
        failed = Bad("no segment knows it")
        for pack, position, offset, frame, ordinal in self.index.get(blob_id[:20], []):
            if pack["kind"][0] != kind:
                continue
            try:
                plain, ranges = self.frame(pack, position, offset, frame)
                start, end = ranges[ordinal]
                blob = plain[start:end]
                need(KH(key, blob) == blob_id, "another blob stands in its place")
                return blob
            except (OSError, Bad) as e:
                failed = e
        raise Bad(f"blob {blob_id.hex()}: {failed}")

    def frame(self, pack, position, offset, f):
        where = (pack["id"], position)
        if where in self.frames:
            self.frames.move_to_end(where)
            return self.frames[where]
        ident = pack["id"].hex()
        name = f"packs/{ident[:2]}/{ident}.{pack['uploader'].hex()}"
        try:
            with open(self.file(name), "rb") as file:
                header = file.read(256)
                file.seek(offset)
                sealed = file.read(f["stored"])
            out = self.open_frame(pack, position, f, header, sealed)
        except (OSError, Bad) as e:
            out = self.frame_by_parity(pack, position, offset, f, name, e)
        self.frames[where] = out
        while len(self.frames) > 64:
            self.frames.popitem(last=False)
        return out

    def frame_by_parity(self, pack, position, offset, f, name, failed):
        ident = pack["id"].hex()
        for sidecar in self.list(f"parity/{ident[:2]}"):
            if sidecar.split("/")[2].startswith(ident + "."):
                try:
                    damaged = self.get(name) if os.path.exists(self.file(name)) else b""
                    whole = repair_pack(damaged, self.get(sidecar))
                    need(H(whole) == pack["id"], "parity of another pack")
                    problem(f"{name}: {failed}; mended by {sidecar}")
                    return self.open_frame(pack, position, f, whole[:256], whole[offset : offset + f["stored"]])
                except (OSError, Bad) as e:
                    problem(f"{sidecar}: {e}")
        raise failed

    def open_frame(self, pack, position, f, header, sealed):
        h = pack["header"]
        stored = struct.pack("<8sHBBI16s32s32s", b"ORLPACK1", 256, h["suite"], h["wrap"], h["epoch"], h["session"], h["salt"], h["commitment"])
        need(header == stored + bytes(160), "the pack's header is not the one the index knows")
        need(h["suite"] in (1, 2) and h["wrap"] == 0, "an unknown cipher or wrapping")
        kind = 1 if pack["kind"][0] == "Data" else 2
        codec = 0 if f["codec"][0] == "Raw" else 1
        n = f["blobs"]
        sound = n > 0 and f["stored"] >= 16 and 4 * n <= f["plain"] <= FRAME_PLAIN_MAX
        need(sound and f["stored"] <= FRAME_PLAIN_MAX + 16, "a frame's lengths contradict each other")
        need(codec == 1 or f["plain"] + 16 == f["stored"], "a frame's lengths contradict each other")
        secret = self.secret("data" if kind == 1 else "tree")(h["epoch"])
        need(secret is not None, f"no secret for epoch {h['epoch']}")
        key = key_of(secret, b"orlop v1 pack" + self.domain + header[:64], header[64:96])
        aad = b"orlop v1 frame" + self.domain + struct.pack("<BBIIH", kind, codec, f["stored"], f["plain"], n)
        plain = open_aead(h["suite"], key, 0, position, aad, sealed)
        if codec:
            try:
                decoder = zstandard.ZstdDecompressor().decompressobj()
                plain = decoder.decompress(plain)
            except zstandard.ZstdError as e:
                raise Bad(f"does not decompress: {e}") from None
            need(decoder.eof and not decoder.unused_data, "not one compressed frame")
        need(len(plain) == f["plain"], "a frame has another length than it says")
        lengths = struct.unpack(f"<{n}I", plain[: 4 * n])
        ranges, at = [], 4 * n
        for length in lengths:
            need(length <= BLOB_MAX, "a blob is too long")
            ranges.append((at, at + length))
            at += length
        need(at == len(plain), "blob lengths do not add up")
        return plain, ranges

    def chunk(self, blob_id):
        return self.blob(blob_id, self.chunk_key, "Data")

    # ---- 60: trees -----------------------------------------------------------------------------

    def page(self, ref, kind):
        data = self.blob(ref["id"], self.page_key, "Tree")
        need(3 <= len(data) <= PAGE_MAX, "a page has the wrong length")
        need(data[0] == kind and data[1] == ref["level"] <= PAGE_LEVEL_MAX, "a page of another kind or level")
        leaf, inner = {1: ("Node", "DirChild"), 2: ("Extent", "ListChild")}[kind]
        entries = decode(f"list of {inner if data[1] else leaf}", data[2:])
        need(1 <= len(entries) <= PAGE_ENTRIES_MAX, "a page with no or too many entries")
        return entries

    def leaves(self, root, kind):
        """The entries below a root, in order, a page at a time; sums and levels are checked."""
        stack = [(root, None)]
        while stack:
            ref, last = stack.pop()
            entries = self.page(ref, kind)
            if ref["level"]:
                total = (sum(e["entries"] for e in entries), min(sum(e["bytes"] for e in entries), (1 << 64) - 1))
                need(total == (ref["entries"], ref["bytes"]), "counts of a page do not add up")
                for child in reversed(entries):
                    below = {**child, "level": ref["level"] - 1}
                    stack.append((below, child.get("last")))
                continue
            bytes_below = sum(node_bytes(e) if kind == 1 else extent_bytes(e) for e in entries)
            need((len(entries), min(bytes_below, (1 << 64) - 1)) == (ref["entries"], ref["bytes"]), "counts of a page do not add up")
            need(last is None or entries[-1]["name"] == last, "a page ends with another name than promised")
            yield entries

    def nodes(self, root):
        before = None
        for entries in self.leaves(root, 1) if root else ():
            for node in entries:
                need(before is None or before < node["name"], "names do not ascend")
                before = node["name"]
                check_ext(node["ext"], (1, 2, 3, 4, 5, 6))
                need(node["mtime"]["nsec"] < 10**9, "a second has 10^9 nanoseconds")
                if usable(node["name"]):
                    yield node
                else:
                    problem(f"left out: a node with the name {node['name']!r}")

    def extents(self, node):
        """(None, length) for holes, (id, length) for chunks, in order."""
        how, content = node["kind"][1]["content"]
        groups = [content["extents"]] if how == "Extents" else self.leaves(content["root"], 2)
        total = 0
        for extents in groups:
            need(how == "Pages" or len(extents) <= EXTENTS_INLINE_MAX, "too many extents in a node")
            for what, e in extents:
                total += extent_bytes((what, e))
                if what == "Hole":
                    yield None, e["len"]
                else:
                    for _ in range(e["repeat"]):
                        yield e["id"], e["len"]
        need(total == node["kind"][1]["size"], "content and size differ")

    def walk(self, root):
        """(path components, node), directories before what is in them."""
        stack = [((), iter(self.nodes(root)))]
        while stack:
            path, nodes = stack[-1]
            try:
                node = next(nodes, None)
            except Bad as e:
                problem(f"{show(path)}: {e}")
                node = None
            if node is None:
                stack.pop()
                continue
            yield (*path, node["name"]), node
            if node["kind"][0] == "Dir":
                if len(stack) < DEPTH_MAX:
                    stack.append(((*path, node["name"]), iter(self.nodes(node["kind"][1]["root"]))))
                else:
                    problem(f"{show(path)}: too deep")


def extent_bytes(e):
    what, e = e
    return e["len"] if what == "Hole" else e["len"] * e["repeat"]


def node_bytes(node):
    what, inner = node["kind"]
    if what == "File":
        return inner["size"]
    return inner["root"]["bytes"] if what == "Dir" and inner["root"] else 0


def usable(name):
    return 0 < len(name) <= NAME_MAX and name not in (b".", b"..") and b"/" not in name and b"\0" not in name


def show(path):
    text = b"/".join(path).decode(errors="backslashreplace")
    return "/" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def ext_of(node, tag):
    return next((e["data"] for e in node["ext"] if e["tag"] == tag), None)


# ---- what the commands do ----------------------------------------------------------------------


def nanos(t):
    return t["sec"] * 10**9 + t["nsec"]


def restore(repo, snapshot, target):
    os.makedirs(target, exist_ok=True)
    need(not os.listdir(target), "the target is not empty")
    base = os.fsencode(os.path.abspath(target))
    links, directories = {}, []
    for path, node in repo.walk(snapshot["root"]):
        where = os.path.join(base, *path)
        try:
            restore_node(repo, where, node, links, directories)
        except (OSError, Bad) as e:
            problem(f"{show(path)}: {e}")
    for where, node in reversed(directories):
        restore_metadata(repo, where, node)


def restore_node(repo, where, node, links, directories):
    what, inner = node["kind"]
    link = ext_of(node, 4)
    same = (link, repr(node["kind"]), node["mode"], node["uid"], node["gid"])
    if link and what != "Dir" and same in links:
        os.link(links[same], where, follow_symlinks=False)
        return
    if what == "Dir":
        os.mkdir(where, 0o700)
        directories.append((where, node))
        return
    if what == "File":
        restore_file(repo, where, node)
    elif what == "Symlink":
        need(len(inner["target"]) <= SYMLINK_MAX, "a link's target is too long")
        os.symlink(inner["target"], where)
    elif what == "Fifo":
        os.mkfifo(where, 0o600)
    else:
        kind = {"Socket": stat.S_IFSOCK, "CharDevice": stat.S_IFCHR, "BlockDevice": stat.S_IFBLK}[what]
        number = inner["device"] if inner else 0
        os.mknod(where, kind | 0o600, os.makedev(number >> 32, number & 0xFFFFFFFF) if inner else 0)
    restore_metadata(repo, where, node)
    if link:
        links[same] = where


def restore_file(repo, where, node):
    how, content = node["kind"][1]["content"]
    size = node["kind"][1]["size"]
    with open(where, "xb") as f:
        os.fchmod(f.fileno(), 0o600)
        if how == "Inline":
            need(len(content) == size <= INLINE_MAX, "content and size differ")
            f.write(content)
            return
        for blob_id, length in repo.extents(node):
            if blob_id is None:
                f.seek(length, os.SEEK_CUR)
                continue
            chunk = repo.chunk(blob_id)
            need(len(chunk) == length, "a chunk has another length than its extent")
            f.write(chunk)
        f.truncate(size)


def restore_metadata(repo, where, node):
    symlink = node["kind"][0] == "Symlink"
    try:
        os.chown(where, node["uid"], node["gid"], follow_symlinks=False)
    except PermissionError:
        if os.geteuid() == 0:
            problem(f"{show((where,))}: owner not restored")
    for x in decode("list of Xattr", ext_of(node, 2) or b"\0"):
        how, value = x["value"]
        try:
            data = value if how == "Inline" else repo.chunk(value["id"])
            os.setxattr(where, x["name"], data, follow_symlinks=False)
        except (OSError, Bad) as e:
            problem(f"{show((where,))}: attribute {x['name']!r}: {e}")
    if not symlink:
        os.chmod(where, node["mode"] & 0o7777)
    atime = ext_of(node, 5)
    atime = decode("Time", atime) if atime is not None else node["mtime"]
    os.utime(where, ns=(nanos(atime), nanos(node["mtime"])), follow_symlinks=False)


def choose(repo, text):
    snapshots = repo.snapshots()
    if text == "latest":
        whole = [s for s in snapshots if not s["flags"] & 1 and not s["state"]]
        need(whole, "there is no complete snapshot")
        return whole[-1]
    found = [s for s in snapshots if s["id"].hex().startswith(text)]
    need(len(found) == 1, f"{len(found)} snapshots begin with {text}")
    return found[0]


def stamp(t):
    when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=t["sec"])
    return when.strftime("%Y-%m-%d %H:%M:%S")


def list_snapshots(repo):
    for s in repo.snapshots():
        body = s["body"] or {"hostname": "?", "paths": [], "tags": []}
        paths = " ".join(show((p.lstrip(b"/"),)) for p in body["paths"])
        notes = [s["state"]] if s["state"] else []
        notes += ["incomplete"] if s["flags"] & 1 else []
        notes += ["copy of " + repo.original(s).hex()[:16]] if s["origin"] else []
        print(s["id"].hex()[:16], stamp(s["time"]), body["hostname"], paths, ",".join(body["tags"]), *notes)


def list_tree(repo, snapshot):
    letters = {"File": "-", "Dir": "d", "Symlink": "l", "Fifo": "p", "Socket": "s", "CharDevice": "c", "BlockDevice": "b"}
    for path, node in repo.walk(snapshot["root"]):
        what, inner = node["kind"]
        target = " -> " + show((inner["target"],))[1:] if what == "Symlink" else ""
        print(f"{letters[what]}{node['mode'] & 0o7777:04o} {node['uid']} {node['gid']} {node_bytes(node):12} {stamp(node['mtime'])} {show(path)}{target}")


def check(repo):
    """Every snapshot, every chunk of every file."""
    done = set()
    for s in repo.snapshots():
        if s["hollow"]:
            continue
        for path, node in repo.walk(s["root"]):
            try:
                if node["kind"][0] == "File" and node["kind"][1]["content"][0] != "Inline":
                    for blob_id, length in repo.extents(node):
                        if blob_id is not None and blob_id not in done:
                            need(len(repo.chunk(blob_id)) == length, "a chunk has another length")
                            done.add(blob_id)
            except Bad as e:
                problem(f"{show(path)}: {e}")
    print(f"{len(done)} chunks read, {len(PROBLEMS)} problems")


def unlock_of(args):
    if args.no_password:
        return "nothing", None
    if args.words:
        from mnemonic import Mnemonic

        return "raw", bytes(Mnemonic("english").to_entropy(args.words))
    if args.key_file:
        with open(args.key_file, "rb") as f:
            data = f.read()
        return "raw", data if len(data) == 32 else bytes.fromhex(data.decode().strip())
    if args.password_file:
        with open(args.password_file, "rb") as f:
            return "password", f.read().rstrip(b"\r\n")
    if args.password is None:
        import getpass

        return "password", getpass.getpass("password: ").encode()
    return "password", os.fsencode(args.password)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("repo")
    for option in ("--password", "--password-file", "--key-file", "--words"):
        p.add_argument(option)
    p.add_argument("--no-password", action="store_true")
    p.add_argument("command", choices=["snapshots", "ls", "restore", "check"])
    p.add_argument("snapshot", nargs="?", default="latest")
    p.add_argument("target", nargs="?")
    args = p.parse_args()
    try:
        repo = Repository(args.repo, unlock_of(args))
        if args.command == "snapshots":
            list_snapshots(repo)
        elif args.command == "ls":
            list_tree(repo, choose(repo, args.snapshot))
        elif args.command == "check":
            check(repo)
        else:
            need(args.target, "restore where to?")
            restore(repo, choose(repo, args.snapshot), args.target)
    except (OSError, Bad) as e:
        print(f"orlop_reader: {e}", file=sys.stderr)
        return 1
    return 3 if PROBLEMS else 0


if __name__ == "__main__":
    sys.exit(main())
