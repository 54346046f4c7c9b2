//! Pruning frees what nobody needs, and nothing else, whoever is at work beside it.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orlop::format::names;
use orlop::format::page::Page;
use orlop::format::records::{CloseKind, Purpose};
use orlop::id::{PackId, RecordId};
use orlop::model::{Content, Extent, NodeKind, PageRef, Time};
use orlop::ops::backup::BackupOptions;
use orlop::ops::prune::{PruneOptions, PruneSummary, Unused, Why};
use orlop::repo::{Reader, Repository, Validity};
use orlop::storage::testing::{CrashStorage, FaultStorage, How, Verb};
use orlop::storage::{LocalStorage, MemoryStorage, Name, Storage};
use support::dice::Dice;
use support::prune::*;
use support::*;

fn plant(dir: &Path) {
    for i in 0..10u64 {
        fs::write(dir.join(format!("f{i}")), noise(60_000 + i as usize * 1000, i)).unwrap();
    }
    settle();
}

/// Two snapshots that share half of what they hold; gives both.
fn two(repo: &mut Repository, dir: &Path) -> (RecordId, RecordId) {
    plant(dir);
    let a = back_up(repo, dir, &small_packs()).snapshot.unwrap();
    for i in 0..5u64 {
        fs::write(dir.join(format!("f{i}")), noise(50_000, 100 + i)).unwrap();
    }
    settle();
    (a, back_up(repo, dir, &small_packs()).snapshot.unwrap())
}

fn world() -> (MemoryStorage, Repository, tempfile::TempDir, RecordId, RecordId) {
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = two(&mut repo, dir.path());
    (memory, repo, dir, a, b)
}

#[test]
fn what_a_forgotten_snapshot_alone_needed_is_freed_at_once() {
    let (memory, mut repo, dir, a, b) = world();
    let before = stored(&memory);
    forget(&mut repo, a);
    let done = prune_now(&mut repo);
    assert!(done.deleted_bytes > 250_000, "{done:?}");
    assert!(stored(&memory) + 200_000 < before);
    assert!(done.pending.is_empty(), "{done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
    assert!(repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().iter().all(|s| s.id != a));
    assert_nothing_unneeded(&repo);
    // And again: there is nothing left to do, and the log does not grow.
    let records = memory.list("gc/").unwrap().len();
    let again = prune_now(&mut repo);
    assert_eq!((again.deleted_packs, memory.list("gc/").unwrap().len()), (0, records));
    // Backups go on from here.
    let c = back_up(&mut repo, dir.path(), &small_packs());
    assert_eq!(c.stats.data_blobs, 0);
    assert_eq!(c.parent, Some(b));
    assert_sound(&mut repo);
}

#[test]
fn without_now_it_takes_two_runs_and_a_day() {
    let (memory, mut repo, dir, a, b) = world();
    forget(&mut repo, a);
    let packs = memory.list("packs/").unwrap().len();
    let first = prune(&mut repo, &PruneOptions { max_unused: Unused::Bytes(0), ..PruneOptions::default() });
    assert_eq!(first.deleted_packs, 0);
    assert!(first.pending.len() == 1 && first.pending[0].bytes > 250_000, "{first:?}");
    assert_eq!(first.pending[0].why, Why::Grace);
    assert!(first.pending[0].not_before.is_some());
    assert!(memory.list("packs/").unwrap().len() >= packs);
    assert_sound(&mut repo);
    memory.advance(23 * 3600);
    assert_eq!(prune(&mut repo, &PruneOptions::default()).deleted_packs, 0);
    memory.advance(2 * 3600);
    let done = prune(&mut repo, &PruneOptions::default());
    assert!(done.deleted_bytes > 250_000, "{done:?}");
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
}

#[test]
fn a_dry_run_writes_nothing_and_says_the_same() {
    let (memory, mut repo, _dir, a, _) = world();
    forget(&mut repo, a);
    let before = memory.list("").unwrap();
    let said = prune(&mut repo, &PruneOptions { dry_run: true, ..now() });
    assert_eq!(memory.list("").unwrap(), before);
    let done = prune(&mut repo, &now());
    let counts = |s: &PruneSummary| (s.delete_bytes, s.removed_bytes, s.repack_bytes, s.remaining_bytes);
    assert_eq!(counts(&said), counts(&done));
}

/// What a run comes to, which is what a dry run before it says.
fn rehearsed(memory: &MemoryStorage, repo: &mut Repository, options: &PruneOptions) -> PruneSummary {
    let before = memory.list("").unwrap();
    let said = prune(repo, &PruneOptions { dry_run: true, ..options.clone() });
    assert_eq!(memory.list("").unwrap(), before);
    let done = prune(repo, options);
    let told = |s: &PruneSummary| {
        let pending = s.pending.iter().map(|p| (p.why.clone(), p.not_before.is_some(), p.bytes));
        let same = PruneSummary { dry_run: false, pending: vec![], ..s.clone() };
        (format!("{same:?}"), pending.collect::<Vec<_>>())
    };
    assert_eq!(told(&said), told(&done), "{options:?}");
    done
}

/// Whoever is at work, died, or condemned something before.
#[test]
fn a_dry_run_says_what_the_run_then_does() {
    let mut most = PruneSummary::default();
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let (memory, mut repo, dir, a, b) = world();
        let (mut there, mut running) = (vec![a, b], None);
        for step in 0..6 {
            match dice.roll(6) {
                0 | 1 => {
                    fs::write(dir.path().join("more"), noise(150_000, seed * 100 + step)).unwrap();
                    there.push(back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap());
                }
                2 if there.len() > 1 => {
                    let id = there.swap_remove(dice.roll(there.len() as u64) as usize);
                    forget_until(&mut repo, id, [0, i64::MAX / 2][dice.roll(2) as usize]);
                }
                3 => kill_a_backup(&memory, dir.path(), seed * 100 + step, 4 + dice.roll(8)),
                4 => {
                    let who = repo.identity(Some("test")).unwrap();
                    let base = vec![there[dice.roll(there.len() as u64) as usize]];
                    running = match running.take() {
                        Some(session) => repo.close(&session, CloseKind::Abort, vec![]).err().and(None),
                        None => Some(repo.begin(&who, Purpose::Restore, base).unwrap()),
                    };
                }
                _ => {}
            }
            let grace = [Duration::ZERO, Duration::from_secs(86_400)][dice.roll(2) as usize];
            let options = PruneOptions { now: dice.roll(2) == 0, grace, fence: dice.roll(6) == 0, ..now() };
            let done = rehearsed(&memory, &mut repo, &options);
            most.earlier_bytes += done.earlier_bytes;
            most.unindexed_packs += done.unindexed_packs;
            most.repack_bytes += done.repack_bytes;
            most.pending.extend(done.pending);
        }
        assert_sound(&mut repo);
    }
    assert!(most.earlier_bytes > 0 && most.unindexed_packs > 0 && most.repack_bytes > 0, "{most:?}");
    let waited = |for_whom: bool| most.pending.iter().any(|p| (p.why != Why::Grace) == for_whom);
    assert!(waited(true) && waited(false), "{most:?}");
}

/// A backup of more than was there dies at a change.
fn kill_a_backup(memory: &MemoryStorage, dir: &Path, seed: u64, at: u64) {
    let storage: Arc<dyn Storage> = Arc::new(CrashStorage::die_at(memory.clone(), at));
    let mut dead = open(&storage);
    dead.act_as(before_reboot(5));
    fs::write(dir.join("big"), noise(900_000, seed)).unwrap();
    settle();
    try_backup(&mut dead, dir, &small_packs()).unwrap_err();
    fs::remove_file(dir.join("big")).unwrap();
    settle();
}

#[test]
fn a_running_backup_is_waited_for_and_a_dead_one_is_not() {
    let (_memory, mut repo, _dir, a, _) = world();
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    forget(&mut repo, a);
    let done = prune_now(&mut repo);
    assert_eq!(done.deleted_packs, 0);
    assert!(matches!(&done.pending[0].why, Why::Session { .. }), "{done:?}");
    repo.close(&session, CloseKind::Abort, vec![]).unwrap();
    assert!(prune_now(&mut repo).deleted_packs > 0);

    // Of a process that is dead nobody needs to say anything.
    let storage = repo.storage().clone();
    let mut dead = open(&storage);
    dead.act_as(before_reboot(3));
    let who = dead.identity(Some("test")).unwrap();
    dead.begin(&who, Purpose::Backup, vec![]).unwrap();
    let b = repo.snapshots(&|_, _| {}).unwrap()[0].id;
    forget(&mut repo, b);
    let done = prune_now(&mut repo);
    assert!(done.deleted_packs > 0 && done.pending.is_empty(), "{done:?}");
}

#[test]
fn a_fenced_writer_that_comes_back_is_told() {
    let (memory, mut repo, _dir, a, _) = world();
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    forget(&mut repo, a);
    let done = prune(&mut repo, &PruneOptions { fence: true, ..now() });
    assert!(done.deleted_packs > 0, "{done:?}");
    // Even where all that was left of its session is cleared away.
    assert!(
        memory.list(&format!("sessions/{}/", session.id)).unwrap().is_empty() || {
            prune_now(&mut repo);
            true
        }
    );
    let error = repo.close(&session, CloseKind::End, vec![]).unwrap_err();
    assert_eq!(error.kind(), orlop::error::ErrorKind::Fenced);
}

#[test]
fn kill_9_then_prune_now_frees_what_it_left() {
    let (memory, mut repo, dir, _, b) = world();
    prune_now(&mut repo);
    let before = stored(&memory);
    kill_a_backup(&memory, dir.path(), 77, 9);
    assert!(stored(&memory) > before + 100_000);
    let done = rehearsed(&memory, &mut repo, &now());
    assert!(done.unindexed_packs > 0 && done.deleted_bytes > 100_000 && done.pending.is_empty(), "{done:?}");
    assert!(stored(&memory) <= before);
    assert_sound(&mut repo);
    assert!(repo.snapshots(&|_, _| {}).unwrap().iter().any(|s| s.id == b));
}

/// Packs of which nothing is needed, and packs of which something is; gives the snapshot that needs it.
fn dead_in_part() -> (MemoryStorage, Repository, tempfile::TempDir, RecordId) {
    let (memory, mut repo, dir, a, b) = world();
    // Small files share packs.
    for i in 0..60u64 {
        fs::write(dir.path().join(format!("s{i}")), noise(5_000, 1000 + i)).unwrap();
    }
    settle();
    let c = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    (0..60).step_by(3).for_each(|i| fs::remove_file(dir.path().join(format!("s{i}"))).unwrap());
    settle();
    let d = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    [a, b, c].into_iter().for_each(|id| forget(&mut repo, id));
    (memory, repo, dir, d)
}

/// Where a pack does not fit any more, the first or any later one.
#[test]
fn on_a_full_disk_what_is_wholly_dead_goes_and_the_rest_is_packed_again_later() {
    for nth in 1.. {
        let (memory, mut repo, dir, b) = dead_in_part();
        let would = prune(&mut repo, &PruneOptions { dry_run: true, ..now() });
        assert!(would.removed_bytes > 0 && would.delete_bytes > 0, "{would:?}");
        let before = stored(&memory);
        let faulty = FaultStorage::new(memory.clone());
        faulty.fail(Verb::Publish, nth, How::Full);
        let mut full = open(&(Arc::new(faulty) as Arc<dyn Storage>));
        full.act_as(this_process());
        let (done, ears) = listening(|cx| orlop::ops::prune::prune(&mut full, &now(), cx));
        let done = done.unwrap();
        let told = ears.notices.lock().unwrap().iter().any(|n| n.starts_with("no-room: "));
        if !told {
            assert!(nth > 1 && done.repack_bytes > 0, "{nth}: {done:?}");
            break;
        }
        assert!(done.deleted_bytes >= would.delete_bytes && done.pending.is_empty(), "{nth}: {done:?}");
        assert_eq!(done.repack_bytes, 0, "{nth}: {done:?}");
        assert!(stored(&memory) < before, "{nth}");
        assert_sound(&mut repo);
        assert_same(&repo, b, dir.path());
        assert!(prune_now(&mut repo).repack_bytes > 0);
        assert_sound(&mut repo);
        assert_same(&repo, b, dir.path());
        assert_nothing_unneeded(&repo);
    }
}

#[test]
fn on_a_full_disk_where_nothing_is_wholly_dead_there_is_an_error() {
    let (memory, mut repo, dir, b) = dead_in_part();
    prune(&mut repo, &PruneOptions { max_repack: Some(0), ..now() });
    let would = prune(&mut repo, &PruneOptions { dry_run: true, ..now() });
    assert!(would.removed_bytes > 0 && would.delete_bytes == 0, "{would:?}");
    let before = memory.list("packs/").unwrap();
    let faulty = FaultStorage::new(memory.clone());
    faulty.fail_always(Verb::Write, How::Full);
    let mut full = open(&(Arc::new(faulty) as Arc<dyn Storage>));
    full.act_as(this_process());
    let error = try_prune(&mut full, &now()).unwrap_err();
    assert!(error.hints().iter().any(|h| h.contains("free some space")), "{error}");
    assert_eq!(memory.list("packs/").unwrap(), before);
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
}

#[test]
fn clocks_that_are_ten_years_off_lose_nothing() {
    const YEARS: i64 = 10 * 365 * 86_400;
    for (first, second) in [(YEARS, -YEARS), (-YEARS, YEARS), (YEARS, -2 * YEARS)] {
        let (memory, mut repo, dir, a, b) = world();
        forget(&mut repo, a);
        memory.advance(first);
        let slow = || PruneOptions { max_unused: Unused::Bytes(0), ..PruneOptions::default() };
        prune(&mut repo, &slow());
        assert_sound(&mut repo);
        memory.advance(second);
        prune(&mut repo, &slow());
        assert_sound(&mut repo);
        let c = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
        prune_now(&mut repo);
        assert_sound(&mut repo);
        assert_same(&repo, b, dir.path());
        assert_same(&repo, c, dir.path());
        assert_nothing_unneeded(&repo);
    }
}

/// Objects apart from packs, segments, keys and what is said once.
fn small_objects(memory: &MemoryStorage) -> usize {
    let listed = memory.list("").unwrap();
    let kinds = ["gc/", "state/", "tombstones/", "sessions/", "snapshots/", "copy/snapshots/", "index/"];
    listed.iter().filter(|l| kinds.iter().any(|k| l.name.as_str().starts_with(k))).count()
}

/// However often snapshots come and go, what tells of those that went stays small: never more than the
/// log of two days with a prune an hour, and never more than a handful once nothing happens.
#[test]
fn hundreds_of_prunes_leave_a_bounded_number_of_objects() {
    prunes_leave_a_bounded_number_of_objects(250);
}

#[test]
#[ignore = "takes a minute"]
fn a_thousand_prunes_leave_a_bounded_number_of_objects() {
    prunes_leave_a_bounded_number_of_objects(1000);
}

fn prunes_leave_a_bounded_number_of_objects(prunes: u64) {
    const MOST: usize = 200;
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    let (mut before, mut most) = (None, 0);
    for i in 0..prunes {
        fs::write(dir.path().join("f"), noise(3000, i)).unwrap();
        fs::write(dir.path().join(format!("n{i}")), b"").unwrap();
        fs::remove_file(dir.path().join(format!("n{}", i.wrapping_sub(1)))).ok();
        let id = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
        if let Some(before) = before.replace(id) {
            forget(&mut repo, before);
        }
        prune_now(&mut repo);
        memory.advance(3600);
        most = most.max(small_objects(&memory));
    }
    println!("at most {most} objects");
    assert!(most <= MOST, "{most} objects");
    assert_sound(&mut repo);
    assert_same(&repo, before.unwrap(), dir.path());
    assert_nothing_unneeded(&repo);
    // A reader who begins here knows all that matters.
    let fresh = open(&storage);
    assert_eq!(fresh.snapshots(&|n, e| panic!("{n}: {e}")).unwrap().len(), 1);
    assert!(fresh.history().unwrap().log.generation() > prunes + prunes / 2);
    // Days of rest, and it is a handful.
    let end = PruneOptions { checkpoint_after: 1, ..now() };
    for _ in 0..4 {
        memory.advance(90_000);
        prune(&mut repo, &end);
    }
    assert!(small_objects(&memory) <= 12, "{:?}", memory.list("").unwrap());
    let last = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    let s = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!(s.iter().map(|s| (s.id, s.statement.seq)).next_back(), Some((last, prunes + 1)));
}

/// However many plans wait, a run that need not wait for anybody finishes all of them.
#[test]
fn one_run_finishes_every_plan_whose_time_has_come() {
    let (_memory, mut repo, dir, a, b) = world();
    let mut before = b;
    forget(&mut repo, a);
    for i in 0..9 {
        fs::write(dir.path().join("more"), noise(60_000, 500 + i)).unwrap();
        let id = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
        forget(&mut repo, std::mem::replace(&mut before, id));
        assert_eq!(prune(&mut repo, &PruneOptions { now: false, ..now() }).pending.len(), i as usize + 1);
    }
    assert_eq!(prune_now(&mut repo).pending, []);
    assert_sound(&mut repo);
    assert_nothing_unneeded(&repo);
}

/// Backups without anything to prune leave sessions, which a checkpoint makes an end of, too.
#[test]
fn sessions_do_not_pile_up_where_nothing_is_forgotten() {
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    for i in 0..70u64 {
        fs::write(dir.path().join(format!("f{i}")), noise(300, i)).unwrap();
        back_up(&mut repo, dir.path(), &BackupOptions::default());
    }
    let sessions = || memory.list("sessions/").unwrap().len();
    assert!(sessions() >= 140);
    prune(&mut repo, &PruneOptions { max_unused: Unused::Unlimited, ..PruneOptions::default() });
    assert!(sessions() <= 4, "{}", sessions());
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    assert!(all.len() == 70 && all.iter().all(|s| s.validity == Validity::Confirmed));
    assert_sound(&mut repo);
}

/// What a plan took for dead stays so behind a checkpoint, as long as its record is there.
#[test]
fn what_is_over_cannot_be_brought_back_behind_a_checkpoint() {
    let (memory, mut repo, _dir, a, b) = world();
    let who = repo.identity(None).unwrap();
    // A reader relies on it, so that its record stays while others go.
    let session = repo.begin(&who, Purpose::Restore, vec![a]).unwrap();
    forget(&mut repo, a);
    forget(&mut repo, b);
    let often = PruneOptions { now: false, grace: Duration::ZERO, checkpoint_after: 1, ..now() };
    repo.beat(&session, vec![], 0).unwrap();
    for _ in 0..4 {
        prune(&mut repo, &often);
        let mut history = session.history();
        repo.catch_up(&mut history).unwrap();
        session.go_by(history);
        repo.beat(&session, vec![], 0).unwrap();
        memory.advance(10);
    }
    let history = repo.history().unwrap();
    let client = repo.identity(Some("test")).unwrap().client;
    assert!(history.checkpoint.is_some() && history.forgot(client, 2) && !history.forgot(client, 1));
    let standing = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    let (snapshot, told) = &standing.forgotten[0];
    assert_eq!(snapshot.id, a);
    let error = repo.undelete(&who, snapshot, told).unwrap_err();
    assert_eq!(error.kind(), orlop::error::ErrorKind::Missing);
    repo.close(&session, CloseKind::End, vec![]).unwrap();
}

/// Nobody vouches for what came late: it counts for nothing, goes by its name, and by any policy once
/// there is something better.
#[test]
fn a_late_snapshot_can_be_forgotten() {
    use orlop::ops::forget::{By, Doubts, ForgetOptions, plan};
    use orlop::ops::select::Filter;
    use orlop::retain::{Count, GroupBy, Policy, Reason, Rules};

    let (memory, mut repo, dir, a, b) = world();
    let who = repo.identity(Some("test")).unwrap();
    let find = |repo: &Repository, id| {
        let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
        all.into_iter().find(|s| s.id == id)
    };
    // Its session was given up, and it came all the same.
    let session = find(&repo, b).unwrap().commit.session;
    memory.delete(&orlop::storage::Name::new(format!("sessions/{session}/close")).unwrap()).unwrap();
    repo.bury(&who, &orlop::repo::Leftover { id: session }, &[]).unwrap();
    assert_eq!(find(&repo, b).unwrap().validity, Validity::Late);

    let keep = |n| {
        let rules = Rules { last: Some(Count::Some(n)), ..Rules::default() };
        ForgetOptions {
            by: By::Policy(Box::new(Policy { rules, ..Policy::default() })),
            filter: Filter::default(),
            group_by: GroupBy::default(),
            allow_remove_all: false,
            allow_mass_removal: false,
            zone: jiff::tz::TimeZone::UTC,
        }
    };
    let going = |repo: &Repository, n| {
        let standing = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
        let groups = plan(&standing, &keep(n), &Doubts::default(), Time { sec: i64::MAX / 2, nsec: 0 }).unwrap();
        let all = groups.iter().flat_map(|g| g.those(false));
        all.map(|p| (p.snapshot.id, p.reasons.clone())).collect::<Vec<_>>()
    };
    // Nothing better came after it; and it pushes nothing out.
    assert_eq!(going(&repo, 1), []);
    let c = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    assert_eq!(going(&repo, 5), [(b, vec![Reason::Superseded])]);
    forget(&mut repo, b);
    let done = prune_now(&mut repo);
    assert!(done.pending.is_empty(), "{done:?}");
    assert!(find(&repo, b).is_none() && find(&repo, a).is_some());
    assert_sound(&mut repo);
    assert_same(&repo, c, dir.path());
    back_up(&mut repo, dir.path(), &small_packs());
    assert_sound(&mut repo);
}

/// Of what was said about snapshots the newest stays, and what is about snapshots that are gone goes.
#[test]
fn annotations_are_compacted() {
    use orlop::format::gc::Note;

    let (memory, mut repo, _dir, a, b) = world();
    let who = repo.identity(Some("test")).unwrap();
    let standing = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
    let mut notes = standing.notes;
    let [a, b] = [a, b].map(|id| standing.snapshots.iter().find(|s| s.id == id).unwrap());
    for i in 0..10 {
        repo.annotate(&who, &mut notes, b, Note::Tags(vec![format!("t{i}")])).unwrap();
        repo.annotate(&who, &mut notes, b, Note::Description(format!("d{i}"))).unwrap();
        repo.annotate(&who, &mut notes, a, Note::Label(format!("l{i}"))).unwrap();
        repo.set_policy(&who, &mut notes, "*", &format!("[{{\"interval\":\"1d\",\"count\":{}}}]", i + 1)).unwrap();
        let hold = Note::Hold { reason: "for a while".into(), until: None };
        let held = repo.annotate(&who, &mut notes, b, hold).unwrap();
        repo.annotate(&who, &mut notes, b, Note::Release(held)).unwrap();
    }
    let last = Note::Hold { reason: "for ever".into(), until: None };
    repo.annotate(&who, &mut notes, b, last).unwrap();
    let count = || memory.list("notes/").unwrap().len();
    assert_eq!(count(), 61);
    let said = |repo: &Repository| {
        let all = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap();
        let s = all.snapshots.iter().find(|s| s.id == b.id).unwrap();
        let holds = all.notes.holds(s, Time::default());
        (s.body.tags.clone(), s.body.description.clone(), holds, all.notes.policies())
    };
    let before = said(&repo);
    assert!(before.0 == ["t9"] && before.1 == "d9" && before.2.len() == 1 && before.3.len() == 1);
    forget(&mut repo, a.id);
    let often = PruneOptions { grace: Duration::ZERO, checkpoint_after: 5, ..now() };
    let mut counts = vec![];
    for _ in 0..4 {
        prune(&mut repo, &often);
        memory.advance(100);
        assert_eq!(said(&repo), before);
        counts.push(count());
    }
    // Tags, description, policy and the last hold are left; releases went after what they ended.
    assert_eq!(count(), 4, "{counts:?}");
    assert_sound(&mut repo);
}

/// A snapshot whose record is lost stops everything, until its owner goes on without it.
#[test]
fn what_is_lost_can_be_given_up() {
    use orlop::error::ErrorKind;
    use orlop::ops::forget::accept_lost;

    for gone in [false, true] {
        let (memory, mut repo, dir, _, b) = world();
        let client = repo.identity(Some("test")).unwrap().client;
        let [first, second] = [1, 2].map(|n| format!("snapshots/{client}/{n:016x}"));
        for home in [first.clone(), format!("copy/{first}")] {
            let name = Name::new(home).unwrap();
            memory.delete(&name).unwrap();
            if !gone {
                memory.plant(&name, b"rubbish");
            }
        }
        let error = try_prune(&mut repo, &now()).unwrap_err();
        assert!(error.hints().iter().any(|h| h.contains("--accept-lost")), "{error}");
        let before = memory.list("").unwrap().len();
        let mut give_up = |object: &str| accept_lost(&mut repo, Some("test"), &[object.to_owned()]);
        for wrong in [second.as_str(), "snapshots/x/1", &first.replace("01", "09"), ""] {
            assert_eq!(give_up(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
        assert_eq!(memory.list("").unwrap().len(), before, "what is refused writes nothing");
        give_up(first.strip_prefix("snapshots/").unwrap()).unwrap();
        assert_eq!(give_up(&first).unwrap_err().kind(), ErrorKind::Invalid, "twice");
        assert!(prune_now(&mut repo).deleted_packs > 0);
        assert!(memory.list("snapshots/").unwrap().len() == 1 && memory.list("copy/snapshots/").unwrap().len() == 1);
        assert_sound(&mut repo);
        assert_same(&repo, b, dir.path());
        // And a checkpoint explains the place for good.
        let often = PruneOptions { grace: Duration::ZERO, checkpoint_after: 1, ..now() };
        (0..3).for_each(|_| drop(prune(&mut repo, &often)));
        assert!(memory.list("tombstones/").unwrap().is_empty() && repo.history().unwrap().forgot(client, 1));
        assert_sound(&mut repo);
        back_up(&mut repo, dir.path(), &small_packs());
        assert_sound(&mut repo);
    }
}

/// A record of the log that is lost stops whoever writes, until the owner goes on without it.
#[test]
fn a_lost_record_of_the_log_can_be_given_up() {
    for lost in 1..=4 {
        for gone in [false, true] {
            let (memory, mut repo, dir, a, b) = world();
            let usual = PruneOptions { max_unused: Unused::Bytes(0), ..PruneOptions::default() };
            forget(&mut repo, a);
            prune(&mut repo, &usual);
            memory.advance(90_000);
            prune(&mut repo, &usual);
            fs::write(dir.path().join("f9"), noise(70_000, 999)).unwrap();
            settle();
            let c = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
            forget(&mut repo, b);
            prune(&mut repo, &usual);
            memory.advance(90_000);
            prune(&mut repo, &usual);
            assert_eq!(memory.list("gc/").unwrap().len(), 4);
            if gone && lost == 4 {
                continue; // Nobody can tell that there was one.
            }
            let name = Name::new(format!("gc/{lost:016x}")).unwrap();
            memory.delete(&name).unwrap();
            if !gone {
                memory.plant(&name, b"rubbish");
            }

            let mut repo = open(repo.storage());
            repo.act_as(this_process());
            let error = try_prune(&mut repo, &usual).unwrap_err();
            assert!(error.hints().iter().any(|h| h.contains("prune --accept-lost")), "{error}");
            assert!(try_backup(&mut repo, dir.path(), &small_packs()).is_err());
            let on = PruneOptions { accept_lost: true, ..usual.clone() };
            let before = memory.list("").unwrap();
            prune(&mut repo, &PruneOptions { dry_run: true, ..on.clone() });
            assert_eq!(memory.list("").unwrap(), before);

            prune(&mut repo, &on);
            assert_sound(&mut repo);
            assert_same(&repo, c, dir.path());
            assert_eq!(back_up(&mut repo, dir.path(), &small_packs()).stats.data_blobs, 0);
            memory.advance(90_000);
            // Nothing is lost any more, and to say so again does no harm.
            prune(&mut repo, &on);
            prune(&mut repo, &usual);
            assert!(memory.list("gc/").unwrap().iter().all(|l| l.name != name), "cleared away behind the restart");
            memory.advance(90_000);
            prune(&mut repo, &usual);
            assert_nothing_unneeded(&repo);
            assert_sound(&mut repo);
            assert_same(&repo, c, dir.path());
        }
    }
}

/// What a lost record may have doomed outright nobody relies on, wherever the run that goes on without
/// the record is cut off.
#[test]
fn what_lost_records_doomed_is_not_relied_on() {
    for nth in 1.. {
        let (memory, mut repo, dir, a, _) = world();
        (0..10).for_each(|i| fs::write(dir.path().join(format!("f{i}")), noise(70_000, 200 + i)).unwrap());
        settle();
        let b = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
        let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
        let held = |name: &Name| (name.clone(), memory.get(name, u64::MAX).unwrap());
        let listed = [memory.list("packs/").unwrap(), memory.list("index/").unwrap()].concat();
        let before: Vec<_> = listed.iter().map(|l| held(&l.name)).collect();
        all.iter().filter(|s| s.id != b).for_each(|s| forget(&mut repo, s.id));
        prune_now(&mut repo);
        let gone = |name: &Name| memory.head(name).unwrap().is_none();
        let doomed: Vec<_> = before.into_iter().filter(|(name, _)| gone(name)).collect();
        assert!(doomed.len() > 4 && a != b);
        doomed.iter().for_each(|(name, bytes)| memory.plant(name, bytes));
        memory.list("gc/").unwrap().iter().for_each(|l| memory.plant(&l.name, b"rubbish"));

        let on = PruneOptions { accept_lost: true, ..PruneOptions::default() };
        let crash = Arc::new(CrashStorage::die_at(memory.clone(), nth));
        let mut mortal = open(&(Arc::clone(&crash) as Arc<dyn Storage>));
        mortal.act_as(this_process());
        let done = try_prune(&mut mortal, &on);
        assert_eq!(done.is_err(), crash.is_dead(), "{done:?}");
        let mut repo = open(&(Arc::new(memory.clone()) as Arc<dyn Storage>));
        repo.act_as(this_process());
        if repo.history().is_err() {
            // Whoever died still has a session that looks alive.
            prune(&mut repo, &PruneOptions { fence: true, ..on });
        }
        let again = tempfile::tempdir().unwrap();
        plant(again.path());
        let c = back_up(&mut repo, again.path(), &small_packs()).snapshot.unwrap();
        doomed.iter().for_each(|(name, _)| memory.delete(name).unwrap());
        let mut repo = open(repo.storage());
        assert_sound(&mut repo);
        assert_same(&repo, b, dir.path());
        assert_same(&repo, c, again.path());
        if !crash.is_dead() {
            assert!(nth > 4, "{nth}");
            break;
        }
    }
}

/// More than one record may name is condemned by a restart, and goes by and by.
#[test]
fn behind_a_lost_record_any_number_of_packs_goes() {
    let (memory, mut repo, dir, _, b) = world();
    prune(&mut repo, &PruneOptions { checkpoint_after: 1, ..PruneOptions::default() });
    assert!(!memory.list("gc/").unwrap().is_empty());
    let junk = |n: u64| Name::new(names::pack(PackId(*blake3::hash(&n.to_le_bytes()).as_bytes()), [7; 4])).unwrap();
    (0..17_000).for_each(|n| memory.plant(&junk(n), b"junk"));
    memory.list("gc/").unwrap().iter().for_each(|l| memory.plant(&l.name, b"rubbish"));
    let packs = || memory.list("packs/").unwrap().len();
    let before = packs();
    prune(&mut repo, &PruneOptions { accept_lost: true, ..PruneOptions::default() });
    assert_eq!(packs(), before);
    memory.advance(90_000);
    prune(&mut repo, &PruneOptions::default());
    assert!(packs() + 17_000 <= before);
    assert_sound(&mut repo);
    assert_same(&repo, b, dir.path());
}

/// A snapshot that came late looks confirmed where the record is lost that would tell; it stops nothing.
#[test]
fn behind_a_lost_record_what_came_late_and_is_not_whole_stays_late() {
    let (memory, mut repo, dir, a, _) = world();
    let old: Vec<_> = memory.list("packs/").unwrap();
    (0..10).for_each(|i| fs::write(dir.path().join(format!("f{i}")), noise(70_000, 300 + i)).unwrap());
    settle();
    let b = back_up(&mut repo, dir.path(), &BackupOptions { force: true, ..small_packs() }).snapshot.unwrap();
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    all.iter().filter(|s| s.id != b && s.id != a).for_each(|s| forget(&mut repo, s.id));
    prune(&mut repo, &PruneOptions::default());
    let session = all.iter().find(|s| s.id == a).unwrap().commit.session;
    for l in memory.list(&format!("sessions/{session}/")).unwrap() {
        memory.delete(&l.name).unwrap();
    }
    old.iter().for_each(|l| memory.delete(&l.name).unwrap());
    memory.list("gc/").unwrap().iter().for_each(|l| memory.plant(&l.name, b"rubbish"));
    let (done, _) = listening(|cx| {
        let on = PruneOptions { accept_lost: true, now: true, ..PruneOptions::default() };
        orlop::ops::prune::prune(&mut repo, &on, cx)
    });
    done.unwrap();
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    assert_eq!(all.iter().find(|s| s.id == a).unwrap().validity, Validity::Late);
    assert_same(&repo, b, dir.path());
}

/// Another prune that has read the lost record may act upon it.
#[test]
fn what_is_lost_is_not_given_up_beside_another_prune() {
    let (memory, mut repo, _dir, a, _) = world();
    forget(&mut repo, a);
    prune(&mut repo, &PruneOptions::default());
    let who = repo.identity(Some("test")).unwrap();
    let other = repo.begin(&who, Purpose::Gc, vec![]).unwrap();
    memory.list("gc/").unwrap().iter().for_each(|l| memory.plant(&l.name, b"rubbish"));
    let on = PruneOptions { accept_lost: true, ..PruneOptions::default() };
    let error = try_prune(&mut repo, &on).unwrap_err();
    assert!(error.hints().iter().any(|h| h.contains("--fence")), "{error}");
    assert!(repo.history().is_err());
    prune(&mut repo, &PruneOptions { fence: true, ..on });
    assert!(repo.history().is_ok() && repo.close(&other, CloseKind::End, vec![]).is_err());
    assert_sound(&mut repo);
}

/// That the newest record is gone nobody can see but who has read it.
#[test]
fn who_has_read_a_record_that_is_gone_stops_a_finish() {
    let (memory, mut repo, dir, a, b) = world();
    forget(&mut repo, a);
    prune(&mut repo, &PruneOptions::default());
    fs::write(dir.path().join("f9"), noise(70_000, 999)).unwrap();
    settle();
    let c = back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap();
    forget(&mut repo, b);
    prune(&mut repo, &PruneOptions::default());
    assert_eq!(memory.list("gc/").unwrap().len(), 2);
    let who = repo.identity(Some("test")).unwrap();
    let session = repo.begin(&who, Purpose::Backup, vec![]).unwrap();
    memory.delete(&Name::new(names::gc(2)).unwrap()).unwrap();
    memory.advance(90_000);
    let packs = memory.list("packs/").unwrap();
    let mut fresh = open(repo.storage());
    fresh.act_as(this_process());
    let error = try_prune(&mut fresh, &PruneOptions::default()).unwrap_err();
    assert!(error.hints().iter().any(|h| h.contains("--fence")), "{error}");
    assert_eq!(memory.list("packs/").unwrap(), packs);
    repo.close(&session, CloseKind::Abort, vec![]).unwrap();
    assert!(prune(&mut fresh, &PruneOptions::default()).deleted_packs > 0);
    assert_sound(&mut fresh);
    assert_same(&fresh, c, dir.path());
}

/// Backups alone keep the index in few objects, without looking at what is needed.
#[test]
fn many_index_segments_are_merged_after_backups() {
    let (memory, mut repo, dir, a, _) = world();
    for i in 0..130u64 {
        fs::write(dir.path().join("one"), noise(2000, 1000 + i)).unwrap();
        back_up(&mut repo, dir.path(), &small_packs());
        let merged = listening(|cx| orlop::ops::prune::merge_if_many(&mut repo, cx)).0.unwrap();
        assert_eq!(merged, memory.list("index/").unwrap().len() >= 128, "{i}");
        if merged {
            break;
        }
    }
    let packs = memory.list("packs/").unwrap();
    assert!(repo.history().unwrap().log.plans().values().all(|p| p.condemned.is_empty()));
    // What was forgotten stays what it is: nothing is condemned by the way.
    forget(&mut repo, a);
    memory.advance(90_000);
    listening(|cx| orlop::ops::prune::merge_if_many(&mut repo, cx)).0.unwrap();
    assert!(memory.list("index/").unwrap().len() < 8, "{}", memory.list("index/").unwrap().len());
    assert_eq!(memory.list("packs/").unwrap(), packs);
    assert_sound(&mut repo);
    let last = back_up(&mut repo, dir.path(), &small_packs());
    assert_eq!(last.stats.data_blobs, 0);
    assert_same(&repo, last.snapshot.unwrap(), dir.path());
    prune_now(&mut repo);
    assert_sound(&mut repo);
}

/// Frames hold what is needed and what is not side by side: that must not keep the latter.
#[test]
fn half_of_all_chunks_dropped_at_random_are_freed_to_within_a_tenth() {
    let (memory, storage) = fresh();
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(5);
    let files: Vec<(std::path::PathBuf, usize)> =
        (0..400).map(|i| (dir.path().join(format!("f{i}")), 5_000 + dice.roll(50_000) as usize)).collect();
    files.iter().zip(0..).for_each(|((path, len), i)| fs::write(path, noise(*len, 1000 + i)).unwrap());
    settle();
    let options = || BackupOptions { pack_target: Some(1 << 20), ..small_packs() };
    let first = back_up(&mut repo, dir.path(), &options()).snapshot.unwrap();
    let mut dropped = 0;
    for (path, len) in &files {
        if dice.roll(2) == 0 {
            fs::remove_file(path).unwrap();
            dropped += *len as u64;
        }
    }
    settle();
    let second = back_up(&mut repo, dir.path(), &options()).snapshot.unwrap();
    forget(&mut repo, first);
    let before = stored(&memory);
    prune(&mut repo, &PruneOptions { pack_target: Some(1 << 20), ..now() });
    let freed = before - stored(&memory);
    assert!(freed * 10 >= dropped * 9, "{freed} of {dropped} bytes");
    assert_sound(&mut repo);
    assert_same(&repo, second, dir.path());
}

/// Stored bytes of all frames that the index knows.
fn framed(repo: &Repository) -> u64 {
    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    (0..index.frames() as u32).map(|n| u64::from(index.frame(n).entry.stored)).sum()
}

/// What `stats` says that a set of snapshots alone needs, and that without them nothing else is needed.
fn said_of(repo: &Repository, set: &[RecordId]) -> u64 {
    use orlop::ops::stats::{Mode, totals, usage};

    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    let reader = Reader::new(repo, &index);
    let all = repo.standing(&|n, e| panic!("{n}: {e}")).unwrap().snapshots;
    let (of, rest): (Vec<_>, Vec<_>) = all.iter().partition(|s| set.contains(&s.id));
    let raw = |some: &[&_]| listening(|cx| totals(&reader, some, Mode::RawData, cx)).0.unwrap().bytes;
    let (every, without) = (raw(&all.iter().collect::<Vec<_>>()), raw(&rest));
    let groups = [of, rest];
    let said = listening(|cx| usage(&reader, &groups, false, cx)).0.unwrap()[0].unique;
    assert!(said.abs_diff(every - without) <= 1, "{said} of {every}, of which the rest needs {without}");
    said
}

/// Whatever set of snapshots goes, what pruning frees is what `stats` said of it: to the bytes that
/// frames have around their blobs where nothing compresses, and nearly so where it does, for what is
/// left of a frame is compressed anew. Packs have tables and are padded, too.
#[test]
fn stats_of_a_set_say_what_pruning_frees() {
    let hex = |bytes: Vec<u8>| bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect::<Vec<u8>>();
    for seed in 0..12 {
        let compresses = seed % 3 == 2;
        let mut dice = Dice(seed);
        let (memory, storage) = fresh();
        let mut repo = open(&storage);
        repo.act_as(this_process());
        let dir = tempfile::tempdir().unwrap();
        let mut snapshots = vec![];
        for n in 0..3 + dice.roll(4) {
            for i in 0..8 {
                let path = dir.path().join(format!("f{i}"));
                match dice.roll(4) {
                    0 => drop(fs::remove_file(path)),
                    1 => {}
                    _ => {
                        let bytes = noise(dice.roll(150_000) as usize, seed * 1000 + n * 10 + i);
                        fs::write(path, if compresses { hex(bytes) } else { bytes }).unwrap();
                    }
                }
            }
            settle();
            snapshots.push(back_up(&mut repo, dir.path(), &small_packs()).snapshot.unwrap());
        }
        prune_now(&mut repo);
        let mut set: Vec<RecordId> = snapshots.iter().copied().filter(|_| dice.roll(2) == 0).collect();
        set.truncate(snapshots.len() - 1);
        let (said, frames, packs) = (said_of(&repo, &set), framed(&repo), stored(&memory));
        set.iter().for_each(|id| forget(&mut repo, *id));
        prune_now(&mut repo);
        let (frames, packs) = (frames - framed(&repo), packs - stored(&memory));
        println!("{seed}: said {said}, frames {frames}, packs {packs}");
        let near = if compresses { said / 20 + 1024 } else { 64 };
        assert!(frames.abs_diff(said) <= near, "{seed}: {frames} bytes of frames, {said} were said");
        assert!(packs.abs_diff(said) <= near + said / 40 + 4096, "{seed}: {packs} bytes of packs, {said} were said");
        assert_nothing_unneeded(&repo);
        assert_sound(&mut repo);
    }
}

/// Lengths of the chunks of all files below a page, in order.
fn chunks(reader: &Reader<'_>, page: &PageRef, out: &mut Vec<usize>) {
    let data = |extents: &[Extent], out: &mut Vec<usize>| {
        for e in extents {
            if let Extent::Data { len, repeat, .. } = e {
                out.extend(std::iter::repeat_n(*len as usize, *repeat as usize));
            }
        }
    };
    match reader.page(page).unwrap() {
        Page::Dir(nodes) => nodes.iter().for_each(|n| match &n.kind {
            NodeKind::Dir { root: Some(root) } => chunks(reader, root, out),
            NodeKind::File { content: Content::Pages { root, .. }, .. } => chunks(reader, root, out),
            NodeKind::File { content: Content::Extents { extents, .. }, .. } => data(extents, out),
            _ => {}
        }),
        Page::List(extents) => data(&extents, out),
        Page::DirInner(level, below) => below.iter().for_each(|c| chunks(reader, &c.below(level), out)),
        Page::ListInner(level, below) => below.iter().for_each(|c| chunks(reader, &c.below(level), out)),
    }
}

/// The same with the chunks of one large file, in packs of the usual size. `ORLOP_BENCH_BIG` names a
/// file to take in place of 400 MiB of noise.
#[test]
#[ignore = "writes hundreds of megabytes"]
fn half_of_the_chunks_of_a_large_file_are_freed_to_within_a_tenth() {
    let store = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&store.path().join("repo")).unwrap());
    init(&storage);
    let mut repo = open(&storage);
    repo.act_as(this_process());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big");
    // How many of its neighbours a chunk takes along depends on what is in the file.
    let one_in = match std::env::var_os("ORLOP_BENCH_BIG") {
        Some(big) => fs::copy(big, &path).map(|_| 3).unwrap(),
        None => fs::write(&path, noise(400 << 20, 1)).map(|()| 5).unwrap(),
    };
    settle();
    let first = back_up(&mut repo, dir.path(), &BackupOptions::default()).snapshot.unwrap();
    drop_chunks(&repo, &path, one_in);
    settle();
    let second = back_up(&mut repo, dir.path(), &BackupOptions::default()).snapshot.unwrap();
    let (before, dropped) = (stored(storage.as_ref()), said_of(&repo, &[first]));
    println!("{} percent of {before} bytes are dropped", dropped * 100 / before);
    assert!((before * 4 / 10..before * 7 / 10).contains(&dropped), "{dropped} of {before}");
    forget(&mut repo, first);
    for (max_unused, parts) in [(PruneOptions::default().max_unused, 10), (Unused::Bytes(0), 500)] {
        prune(&mut repo, &PruneOptions { now: true, max_unused, ..PruneOptions::default() });
        let freed = before - stored(storage.as_ref());
        println!("{freed} of {dropped} bytes are freed, {max_unused:?} may stay");
        assert!(freed.abs_diff(dropped) * parts <= dropped, "{freed} of {dropped} bytes");
        assert_sound(&mut repo);
        assert_same(&repo, second, dir.path());
    }
}

/// Write over one in so many chunks of the only file, which takes some of their neighbours along.
fn drop_chunks(repo: &Repository, path: &std::path::Path, one_in: u64) {
    use std::os::unix::fs::FileExt;

    let index = repo.load_index(&|name, e| panic!("{name}: {e}")).unwrap();
    let all = repo.snapshots(&|n, e| panic!("{n}: {e}")).unwrap();
    let (mut lens, mut dice, mut at) = (vec![], Dice(7), 0);
    chunks(&Reader::new(repo, &index), &all[0].statement.root.unwrap(), &mut lens);
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    assert_eq!(lens.iter().sum::<usize>() as u64, file.metadata().unwrap().len(), "no holes");
    for len in lens {
        // The end stays, so that the next one may begin where it did; not all do.
        if dice.roll(one_in) == 0 {
            file.write_all_at(&vec![0; len.saturating_sub(4096)], at).unwrap();
        }
        at += len as u64;
    }
}
