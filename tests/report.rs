//! What people and programs get to see. One tape of events goes through every renderer, one set
//! of results through every rendering; the outcomes are the files in `tests/report/`.
//! `UPDATE=1 cargo test --test report` writes them anew.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use orlop::event::{Change, Event, ItemKind, Meter, Notice, Phase, Problem};
use orlop::id::{BlobId, ClientId, DomainId, PackId, RecordId, SlotId};
use orlop::model::GroupBy;
use orlop::model::{Body, Content, Node, NodeKind, PageRef, Statement, Stats, Time};
use orlop::report::escape::Names;
use orlop::report::plain::{Plain, StreamNames};
use orlop::report::snapshots::{ListStyle, Row};
use orlop::report::terminal::Terminal;
use orlop::report::wire::{self, Wire};
use orlop::report::{Job, Loudness, Renderer, Sinks, keys, listing, snapshots, summary};

/// Compare with a file of `tests/report/`.
fn expect(name: &str, got: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, got).expect("the tests' own directory is writable");
    }
    let want = std::fs::read(&file).unwrap_or_default();
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\n", "\n");
    assert_eq!(text(got), text(&want), "{name} differs; UPDATE=1 accepts it");
}

/// Keeps what is written, each stream's lines with a mark, in order.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<u8>>>);

struct Stream(&'static [u8], Recorder);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.1.0.lock().expect("no test panics while it writes");
        kept.extend_from_slice(self.0);
        kept.extend_from_slice(bytes);
        if !bytes.ends_with(b"\n") {
            kept.extend_from_slice(b"$\n");
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Recorder {
    fn sinks(&self) -> Sinks {
        let stream = |mark| Box::new(Stream(mark, self.clone()));
        Sinks { out: stream(b"out> "), err: stream(b"err> ") }
    }
    fn take(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics while it writes").clone()
    }
}

/// Half a second passes.
struct Tape<'a> {
    renderer: &'a dyn Renderer,
    meter: &'a Meter,
    now: Duration,
}

impl Tape<'_> {
    fn enter(&self, phase: Phase, items: Option<u64>, bytes: Option<u64>) {
        self.renderer.on(&Event::Entered { phase, items, bytes });
    }
    fn item(&self, path: &[u8], kind: ItemKind, change: Change, bytes: u64) {
        if self.renderer.wants_items() {
            self.renderer.on(&Event::Item { path, kind, change, bytes });
        }
        match (kind, change) {
            (ItemKind::File, Change::Deleted) => Meter::add(&self.meter.files_deleted, 1),
            (ItemKind::File, _) => {
                Meter::add(&self.meter.files_done, 1);
                Meter::add(&self.meter.bytes_done, bytes);
            }
            (ItemKind::Dir, _) => {}
        }
    }
    /// A restore has nothing to do for a file.
    fn skipped(&self, path: &[u8], bytes: u64) {
        Meter::add(&self.meter.files_skipped, 1);
        Meter::add(&self.meter.bytes_skipped, bytes);
        self.item(path, ItemKind::File, Change::Unchanged, bytes);
    }
    fn problem(&self, slug: &'static str, subject: &[u8], during: &'static str, message: &str) {
        Meter::add(&self.meter.problems, 1);
        let (subject, message) = (subject.to_vec(), message.to_owned());
        self.renderer.on(&Event::Problem(&Problem { slug, subject, during, message }));
    }
    fn lost(&self, slug: &'static str, subject: &[u8], during: &'static str, message: &str) {
        let (subject, message) = (subject.to_vec(), message.to_owned());
        self.renderer.on(&Event::Lost(&Problem { slug, subject, during, message }));
    }
    fn notice(&self, slug: &'static str, message: &str) {
        let message = message.to_owned();
        self.renderer.on(&Event::Notice(&Notice { slug, message }));
    }
    fn tick(&mut self) {
        self.now += Duration::from_millis(500);
        self.renderer.tick(self.now);
    }
}

const RAW: StreamNames = StreamNames { out: Names::Raw, err: Names::Raw };
const EVIL: &[u8] = b"/src/\xff\x1b[31mred\nline";

fn backup_tape(t: &mut Tape<'_>) {
    t.enter(Phase::Opening, None, None);
    t.tick();
    t.notice("no-parent", "no parent snapshot found, will read all files");
    t.enter(Phase::BackingUp, None, None);
    t.meter.files_expected.store(2, Relaxed);
    t.meter.bytes_expected.store(3_000_000, Relaxed);
    t.meter.begin(b"/src/big");
    t.meter.begin(EVIL);
    t.tick();
    t.meter.files_expected.store(4, Relaxed);
    t.meter.bytes_expected.store(6_000_000, Relaxed);
    t.meter.expected_final.store(true, Relaxed);
    t.item(b"/src/a", ItemKind::File, Change::Unchanged, 6);
    t.item(EVIL, ItemKind::File, Change::New, 1_000_000);
    t.meter.end(EVIL);
    t.tick();
    t.problem("unreadable", EVIL, "open", "Permission denied (os error 13)");
    t.problem("vanished", "/src/gpj.\u{202e}exe".as_bytes(), "", "it is gone");
    t.lost("sockets", EVIL, "", "only its name is kept: what answers there is no file");
    t.item(b"/src/big", ItemKind::File, Change::Modified, 3_999_994);
    t.item(b"/src", ItemKind::Dir, Change::Modified, 0);
    for i in 0..12 {
        t.meter.begin(format!("/src/文書/{i:02}/{}", "long".repeat(20)).as_bytes());
    }
    t.tick();
    t.enter(Phase::Committing, None, None);
    t.tick();
    t.renderer.on(&Event::Saved { snapshot: RecordId([0x71; 32]), incomplete: true });
    t.renderer.clear();
}

fn restore_tape(t: &mut Tape<'_>) {
    t.enter(Phase::Planning, None, None);
    t.enter(Phase::Restoring, Some(4), Some(2_250_000));
    t.item(b"/src/a", ItemKind::File, Change::Restored, 500_000);
    t.tick();
    t.item(b"/src/b", ItemKind::File, Change::Updated, 1_000_000);
    t.skipped(b"/src/c", 250_000);
    t.item(b"/src/old", ItemKind::File, Change::Deleted, 0);
    t.lost("owner", b"/src/a", "chown", "Operation not permitted");
    t.problem("times", b"/src/b", "utimens", "Input/output error");
    t.tick();
    t.item(b"/src", ItemKind::Dir, Change::Restored, 0);
    t.renderer.clear();
}

fn check_tape(t: &mut Tape<'_>) {
    t.enter(Phase::CheckingStructure, Some(12), None);
    Meter::add(&t.meter.files_done, 12);
    t.tick();
    t.enter(Phase::ReadingData, Some(20), Some(40 << 20));
    Meter::add(&t.meter.files_done, 5);
    Meter::add(&t.meter.bytes_done, 10 << 20);
    t.tick();
    t.problem("damaged", b"pack 7f3a", "read", "frame 14 does not authenticate");
    t.tick();
    t.renderer.clear();
}

fn through_all(name: &str, job: Job, tape: fn(&mut Tape<'_>)) {
    type Make = fn(Job, Loudness, Arc<Meter>, Sinks) -> Box<dyn Renderer>;
    let renderers: [(&str, Make); 3] = [
        ("terminal", |job, loud, meter, sinks| Box::new(Terminal::new(job, loud, Box::new(|| (80, 12)), meter, sinks))),
        ("plain", |job, loud, meter, sinks| {
            Box::new(Plain::new(job, loud, RAW, loud > Loudness::Normal, meter, sinks))
        }),
        ("wire", |job, loud, meter, sinks| Box::new(Wire::new(job, loud, meter, sinks))),
    ];
    for (kind, make) in renderers {
        let levels = [("quiet", Loudness::Quiet), ("normal", Loudness::Normal), ("loud", Loudness::VeryVerbose)];
        for (level, loudness) in levels {
            let (recorder, meter) = (Recorder::default(), Arc::new(Meter::default()));
            let renderer = make(job, loudness, Arc::clone(&meter), recorder.sinks());
            let quiet = loudness == Loudness::Quiet;
            if quiet && kind == "terminal" {
                continue; // nothing is drawn for people who asked for quiet
            }
            tape(&mut Tape { renderer: &*renderer, meter: &meter, now: Duration::ZERO });
            expect(&format!("{name}.{kind}.{level}.txt"), &recorder.take());
        }
    }
}

#[test]
fn a_backup_through_every_renderer() {
    through_all("backup", Job::Backup, backup_tape);
}

#[test]
fn a_restore_through_every_renderer() {
    through_all("restore", Job::Restore, restore_tape);
}

#[test]
fn a_check_through_every_renderer() {
    through_all("check", Job::Check, check_tape);
}

#[test]
fn no_line_of_json_is_broken() {
    for file in ["backup.wire.loud.txt", "restore.wire.loud.txt", "check.wire.loud.txt"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(file);
        let text = std::fs::read_to_string(path).expect("it is UTF-8 whatever the names were");
        for line in text.lines() {
            let json: serde_json::Value = serde_json::from_str(&line[5..]).expect(line);
            assert!(json["message_type"].is_string(), "{line}");
        }
    }
}

// ---------------------------------------------------------------- results

fn time(sec: i64) -> Time {
    Time { sec, nsec: 250_000_000 }
}

fn row(n: u8, host: &str, paths: &[&[u8]], tags: &[&str], flags: u32) -> Row {
    let statement = Statement {
        domain: DomainId([1; 16]),
        client: ClientId([2; 16]),
        seq: u64::from(n),
        prev: RecordId::ZERO,
        client_epoch: 0,
        root: Some(PageRef { id: BlobId([n; 32]), level: 0, entries: 1, bytes: 1 }),
        time: time(1_351_804_121 + i64::from(n) * 3600),
        utc_offset: 3600,
        started: time(1_351_804_121 + i64::from(n) * 3600),
        ended: time(1_351_804_187 + i64::from(n) * 3600),
        machine: [0; 8],
        config: RecordId::ZERO,
        flags,
        parent: (n > 1).then_some(RecordId([n - 1; 32])),
        replaces: None,
        origin: None,
        heads: Vec::new(),
        body: Vec::new(),
        ext: Vec::new(),
    };
    let body = Body {
        hostname: host.into(),
        username: "anna".into(),
        uid: 1000,
        gid: 100,
        paths: paths.iter().map(|p| p.to_vec()).collect(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        program: "orlop 0.1.0".into(),
        stats: Stats {
            files_new: 3,
            files_processed: 3,
            bytes_processed: 3_000_007 * u64::from(n),
            ..Stats::default()
        },
        ..Body::default()
    };
    Row { id: RecordId([n; 32]).hex(), statement, body, holds: vec![], given_up: false }
}

fn rows() -> Vec<Row> {
    vec![
        row(3, "web1", &[b"/srv"], &["a", "b", "c"], 0),
        row(1, "web1", &[b"/srv"], &[], 0),
        row(2, "laptop", &[b"/home/anna", b"/etc/\x1b[1m\xff"], &["nightly"], Statement::INCOMPLETE),
        row(4, "web1", &[b"/srv"], &[], 0),
    ]
}

#[test]
fn snapshots_as_tables() {
    let mut out = String::new();
    let hosts = GroupBy { host: true, ..GroupBy::default() };
    for (by, latest, compact, names) in [
        (GroupBy::default(), None, false, Names::Escaped),
        (GroupBy::default(), Some(1), true, Names::Raw),
        (hosts, Some(2), false, Names::Escaped),
        (GroupBy { host: true, paths: true, tags: true }, None, true, Names::Escaped),
    ] {
        let groups = snapshots::group(rows(), by, latest);
        out += &snapshots::text(&groups, ListStyle { compact, names }, &TimeZone::UTC);
        out += "\n";
    }
    let plain: Vec<Row> = rows().into_iter().filter(|r| r.body.paths.len() == 1).collect();
    let style = ListStyle { compact: false, names: Names::Escaped };
    let groups = snapshots::group(plain, GroupBy::default(), None);
    out += &snapshots::text(&groups, style, &TimeZone::get("Europe/Berlin").expect("it is bundled or installed"));
    out += &snapshots::describe(&rows()[0], Names::Escaped);
    expect("snapshots.txt", out.as_bytes());
}

#[test]
fn snapshots_as_json() {
    let hosts = GroupBy { host: true, ..GroupBy::default() };
    let mut out = snapshots::json(&snapshots::group(rows(), GroupBy::default(), Some(1)), GroupBy::default());
    out += &snapshots::json(&snapshots::group(rows(), hosts, Some(1)), hosts);
    out += &snapshots::json(&snapshots::group(Vec::new(), GroupBy::default(), None), GroupBy::default());
    out += &listing::json_head(&rows()[0]);
    expect("snapshots.json", out.as_bytes());
}

fn node(name: &[u8], kind: NodeKind, mode: u32) -> Node {
    let (mtime, ctime) = (time(1_351_804_121), time(-1));
    Node { name: name.to_vec(), kind, mode, uid: 0, gid: 100, mtime, ctime, ino: 7, ext: Vec::new() }
}

#[test]
fn listings() {
    let file = |size| NodeKind::File { size, content: Content::Inline(Vec::new()) };
    let nodes = [
        node(b"src", NodeKind::Dir { root: None }, 0o1777),
        node(b"a", file(16), 0),
        node(b"sudo", file(3_000_000), 0o4755),
        node(b"l", NodeKind::Symlink { target: b"a\x07".to_vec() }, 0o777),
        node(b"fi", NodeKind::Fifo, 0o644),
        node(b"so", NodeKind::Socket, 0o2755),
        node(b"tty", NodeKind::CharDevice { device: 5 << 32 }, 0o620),
        node(b"sda", NodeKind::BlockDevice { device: 8 << 32 | 1 }, 0o660),
        node(b"\xff\x1b[31mn\nq", file(0), 0o644),
    ];
    let (mut text, mut json) = (Vec::new(), String::new());
    for (long, human_readable, names) in
        [(false, false, Names::Raw), (true, false, Names::Escaped), (true, true, Names::Raw)]
    {
        for node in &nodes {
            let path = [b"/src/", &node.name[..]].concat();
            let entry = listing::Entry { path: &path, node, atime: None };
            let style = listing::LineStyle { long, human_readable, names };
            text.extend(listing::line(entry, style, &TimeZone::UTC));
        }
    }
    for node in &nodes {
        let path = [b"/src/", &node.name[..]].concat();
        json += &listing::json(listing::Entry { path: &path, node, atime: None }, &TimeZone::UTC);
    }
    expect("ls.txt", &text);
    expect("ls.json", json.as_bytes());
}

#[test]
fn summaries() {
    let stats = Stats {
        files_new: 1,
        files_changed: 2,
        files_unmodified: 79_000,
        dirs_unmodified: 3,
        data_blobs: 4,
        tree_blobs: 5,
        data_added: 1966,
        data_added_packed: 923,
        files_processed: 79_003,
        bytes_processed: 1_400_000_000,
        ..Stats::default()
    };
    let saved = summary::Backup {
        repository: None,
        stats,
        started: time(100),
        ended: time(3823),
        utc_offset: 7200,
        snapshot: Some(RecordId([0x71; 32])),
        dry_run: false,
        lacks: vec![],
        requests: vec![("get", "index".into(), 2), ("list", "all".into(), 1)],
    };
    let skipped = summary::Backup {
        snapshot: None,
        lacks: vec![("damaged", 1), ("sockets", 2), ("unreadable", 10)],
        ..saved.clone()
    };
    let dry = summary::Backup { dry_run: true, ..skipped.clone() };
    let one_of_several = summary::Backup { repository: Some("/mnt/\x1busb".into()), ..saved.clone() };
    let (mut text, mut json) = (String::new(), String::new());
    for (backup, loudness) in [
        (&saved, Loudness::Normal),
        (&skipped, Loudness::Normal),
        (&dry, Loudness::Verbose),
        (&one_of_several, Loudness::Normal),
    ] {
        text += &summary::backup_text(backup, loudness);
        json += &summary::backup_json(backup);
    }
    let all = summary::Restore {
        files: 8,
        files_restored: 8,
        bytes: 3_000_000,
        bytes_restored: 3_000_000,
        seconds: 2,
        ..Default::default()
    };
    let part = summary::Restore {
        files_restored: 5,
        bytes_restored: 9,
        files_skipped: 2,
        bytes_skipped: 77,
        files_deleted: 1,
        problems: 1,
        lacks: vec![("birth-time", 5), ("holes", 1), ("owner", 5), ("unreadable", 7)],
        ..all.clone()
    };
    for (restore, loudness) in [(&all, Loudness::Verbose), (&part, Loudness::Normal), (&part, Loudness::Verbose)] {
        text += &summary::restore_text(restore, loudness);
        json += &summary::restore_json(restore);
    }
    let broken = summary::Check {
        errors: 2,
        broken_packs: vec![PackId([0x2a; 32])],
        suggest_repair_index: true,
        suggest_prune: true,
    };
    for check in [&summary::Check::default(), &broken] {
        text += &summary::check_text(check);
        json += &summary::check_json(check);
    }
    json += &wire::initialized("cc82", "/r", None);
    json += &wire::version("0.1.0", 1).replace(std::env::consts::ARCH, "ARCH");
    expect("summaries.txt", text.as_bytes());
    expect("summaries.json", json.as_bytes());
}

#[test]
fn key_lists() {
    let key = |n: u8, current, kind: &str, client: &str| keys::Row {
        id: SlotId([n; 16]),
        current,
        kind: kind.into(),
        role: if client.is_empty() { "owner".into() } else { "client".into() },
        client: client.into(),
        made: Some(keys::Made { user: "root".into(), host: "vm".into(), created: time(1_351_804_121) }),
    };
    let unknown = keys::Row { made: None, ..key(0x22, false, "password", "") };
    let rows = [key(0xcb, true, "password", ""), key(0x11, false, "key file", "web1\x1b"), unknown];
    let mut out = keys::text(&rows, Names::Escaped, &TimeZone::UTC);
    out += &keys::json(&rows, &TimeZone::UTC);
    expect("keys.txt", out.as_bytes());
}
