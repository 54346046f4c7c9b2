//! Check: records ▸ index and packs by name ▸ trees ▸ packs by content, if asked.
//!
//! Snapshots are listed before the index is loaded, and the index before packs are listed, so that
//! a backup that runs beside never looks like damage.

mod data;
mod findings;
mod records;
mod tales;
mod trees;

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Context, Meter, Phase};
use crate::format::gc::Claim;
use crate::format::limits::FRAME_PLAIN_MAX;
use crate::format::names::{self, prefix};
use crate::format::pack::is_pack_len;
use crate::format::pack::{FOOTER_LEN, HEADER_LEN};
use crate::id::PackId;
use crate::index::Index;
use crate::plan::subset::Subset;
use crate::repo::{Reader, Repository, Snapshot};
use crate::sys;
use findings::Findings;
use tales::Tales;
use trees::{Affected, Trees};

/// How much of the packs is read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Data {
    /// Only what trees need.
    #[default]
    Trees,
    /// A part.
    Part(Subset),
    /// All of it.
    All,
}

/// How to check.
#[derive(Default)]
pub struct CheckOptions<'a> {
    /// How much of the packs is read.
    pub data: Data,
    /// Which snapshots' trees are walked; all of them if `None`.
    pub wanted: Option<&'a dyn Fn(&Snapshot) -> bool>,
    /// Threads; as many as there are processors if `None`.
    pub threads: Option<usize>,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckSummary {
    /// How many things are wrong. Each was told as a problem, up to a bound.
    pub errors: u64,
    /// Packs that are damaged or gone and hold something that is stored nowhere else, or that were
    /// found for the first time.
    pub broken_packs: Vec<PackId>,
    /// Packs that were reported before and that no snapshot needs any more.
    pub replaced_packs: Vec<PackId>,
    /// Index segments that cannot be read.
    pub damaged_segments: u64,
    /// Packs that are in no index.
    pub unindexed_packs: u64,
    /// Their bytes.
    pub unindexed_bytes: u64,
    /// Snapshots whose trees were walked.
    pub snapshots: u64,
    /// Pages that were visited.
    pub pages: u64,
    /// Packs that the index knows.
    pub packs: u64,
    /// Packs that were read.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
}

/// Check a repository. Whatever is wrong with it is told as problems and counted; an error means
/// that checking itself did not work.
pub fn check(repo: &mut Repository, options: &CheckOptions<'_>, cx: &Context<'_>) -> Result<CheckSummary> {
    // It is about what is there, not about what was read of it some time.
    repo.without_cache();
    let findings = Findings::new(cx);
    let run = Run { repo, options, cx, findings: &findings };
    let (mut summary, broken) = run.all()?;
    for (pack, why) in broken {
        report_suspect(repo, pack, &why, cx);
    }
    summary.errors = findings.conclude();
    Ok(summary)
}

/// Report a pack that was found damaged, so that the next backup stores what is in it again. Where
/// that cannot be written, the check has said what it has to say all the same.
fn report_suspect(repo: &mut Repository, pack: PackId, why: &Error, cx: &Context<'_>) {
    let claim = if why.kind() == ErrorKind::Missing { Claim::Missing } else { Claim::Bytes };
    let short = pack.short();
    let reported = repo.identity(None).and_then(|who| repo.report_suspect(&who, pack, claim));
    match reported {
        Ok(()) => cx.notice(
            "suspect",
            format!("pack {short} is not trusted any more: the next backup stores what it needs of it again"),
        ),
        Err(e) => cx.notice(
            "suspect-unreported",
            format!("that pack {short} is bad could not be written down for the next backup: {e}"),
        ),
    }
}

struct Run<'a> {
    repo: &'a Repository,
    options: &'a CheckOptions<'a>,
    cx: &'a Context<'a>,
    findings: &'a Findings<'a>,
}

type Broken = Vec<(PackId, Error)>;

impl Run<'_> {
    fn threads(&self) -> usize {
        self.options.threads.unwrap_or_else(|| self.repo.fetchers()).max(1)
    }

    fn all(&self) -> Result<(CheckSummary, Broken)> {
        let mut summary = CheckSummary::default();
        records::check(self.repo, self.cx, self.findings)?;
        let snapshots = records::snapshots(self.repo, self.cx, self.findings)?;
        let mut index = self.index(&mut summary)?;
        let mut broken = self.packs(&index, &mut summary)?;
        let mut chosen = self.choose(&index, &broken.iter().map(|b| b.0).collect())?;
        let tales = Tales { repo: self.repo, cx: self.cx, findings: self.findings };
        let doubts = tales.check(&mut index, &chosen, &mut broken)?;
        let reader = Reader::new(self.repo, &index);
        let gone: HashSet<u32> = broken.iter().map(|b| b.0).collect();
        chosen.extend(self.trees(&reader, &snapshots, &gone, &mut summary)?);
        // Whether what could not be read, or is not what anybody says, is bad.
        chosen.extend(doubts.packs);
        chosen.retain(|n| !index.distrusts(*n));
        chosen.sort_unstable();
        chosen.dedup();
        broken.extend(self.read(&reader, &chosen, &mut summary)?);
        let broken = self.unless_collected(&index, &snapshots, broken)?;
        let mut reported = self.tell_broken(&reader, &snapshots, broken, &mut summary)?;
        let misled = || Error::new(ErrorKind::Damaged, "the index says of it what is not so");
        let known = self.repo.suspects()?;
        let fresh = doubts.believed.into_iter().filter(|pack| !known.contains(pack));
        reported.extend(fresh.map(|pack| (pack, misled())));
        Ok((summary, reported))
    }

    fn index(&self, summary: &mut CheckSummary) -> Result<Index> {
        let damaged = std::cell::Cell::new(0);
        let index = self.repo.load_index(&|name, e| {
            damaged.set(damaged.get() + 1);
            let hint = "what only it knows is missing until the index is made from the packs again";
            self.findings.error("damaged", name.as_bytes(), "read", format!("{e}; {hint}"));
        })?;
        summary.damaged_segments = damaged.get();
        summary.packs = index.packs().len() as u64;
        Ok(index)
    }

    /// Compare packs with the index, by one listing; gives those that are gone or crippled.
    fn packs(&self, index: &Index, summary: &mut CheckSummary) -> Result<Vec<(u32, Error)>> {
        let listed = self.repo.storage().list(prefix::PACKS)?;
        self.cx.enter(Phase::CheckingStructure, Some(listed.len() as u64), None);
        let mut there = vec![None; index.packs().len()];
        for l in listed {
            Meter::add(&self.cx.meter.files_done, 1);
            let name = l.name.as_str();
            let Some((id, uploader)) = names::parse_pack(name) else {
                self.cx.notice("foreign-object", format!("{name} is no pack"));
                continue;
            };
            let mut unknown = true;
            for n in index.numbers_of(&id).iter().filter(|n| index.pack(**n).uploader == uploader) {
                there[*n as usize] = Some(l.len);
                unknown = false;
            }
            if unknown {
                summary.unindexed_packs += 1;
                summary.unindexed_bytes += l.len;
            }
        }
        if summary.unindexed_packs > 0 {
            let n = summary.unindexed_packs;
            let what = "in no index, as interrupted runs leave them: the next backup takes its own ones over";
            self.cx.notice("unindexed", format!("{n} packs ({} bytes) are {what}", summary.unindexed_bytes));
        }
        // What garbage collection doomed may be there, half there or gone.
        let stands = |n: &usize| !index.distrusts(*n as u32);
        let wrong = |n: usize| self.wrong_with(index, n, there[n]).map(|e| (n as u32, e));
        Ok((0..there.len()).filter(stands).filter_map(wrong).collect())
    }

    fn wrong_with(&self, index: &Index, n: usize, len: Option<u64>) -> Option<Error> {
        let pack = index.pack(n as u32);
        let Some(len) = len else { return Some(Error::new(ErrorKind::Missing, "it is gone")) };
        if len != pack.len {
            return Some(Error::new(ErrorKind::Damaged, format!("it has {len} bytes and should have {}", pack.len)));
        }
        let frames = (pack.first_frame..).take(pack.frames as usize).map(|n| index.frame(n).entry);
        let mut used = (HEADER_LEN + FOOTER_LEN) as u64;
        for f in frames {
            used += u64::from(f.stored);
            if f.blobs == 0 || f.plain as usize > FRAME_PLAIN_MAX || f.plain < 4 * u32::from(f.blobs) {
                return Some(Error::new(ErrorKind::Damaged, "the index says nonsense about its frames"));
            }
        }
        let fits = used < len && is_pack_len(len);
        (!fits).then(|| Error::new(ErrorKind::Damaged, "the index says of it what cannot be"))
    }

    /// Walk all trees; gives packs in which something could not be read.
    fn trees(
        &self,
        reader: &Reader<'_>,
        snapshots: &[Snapshot],
        gone: &HashSet<u32>,
        summary: &mut CheckSummary,
    ) -> Result<BTreeSet<u32>> {
        self.cx.enter(Phase::CheckingTrees, Some(snapshots.len() as u64), None);
        let trees = Trees::new(self.cx, reader, Some(self.findings), gone);
        for s in snapshots.iter().filter(|s| self.wanted(s)) {
            trees.snapshot(s, self.threads())?;
            summary.snapshots += 1;
            Meter::add(&self.cx.meter.files_done, 1);
        }
        summary.pages = trees.pages.load(std::sync::atomic::Ordering::Relaxed);
        Ok(trees.into_doubtful())
    }

    fn wanted(&self, s: &Snapshot) -> bool {
        self.options.wanted.is_none_or(|wanted| wanted(s))
    }

    /// Which packs to read.
    fn choose(&self, index: &Index, gone: &HashSet<u32>) -> Result<Vec<u32>> {
        let there = (0..index.packs().len() as u32).filter(|n| !gone.contains(n) && !index.distrusts(*n));
        Ok(match self.options.data {
            Data::Trees => vec![],
            Data::All => there.collect(),
            Data::Part(Subset::Group { group, groups }) => {
                there.filter(|n| u16::from(index.pack(*n).id.0[0]) % groups + 1 == group).collect()
            }
            Data::Part(Subset::Percent(p)) => at_random(there.collect(), |all| share(all.len(), p))?,
            Data::Part(Subset::Bytes(bytes)) => {
                let total: u64 = index.packs().iter().map(|p| p.len).sum();
                at_random(there.collect(), |all| share(all.len(), 100.0 * bytes as f64 / total.max(1) as f64))?
            }
        })
    }

    fn read(&self, reader: &Reader<'_>, chosen: &[u32], summary: &mut CheckSummary) -> Result<Vec<(u32, Error)>> {
        if chosen.is_empty() {
            return Ok(vec![]);
        }
        summary.packs_read = chosen.len() as u64;
        summary.bytes_read = chosen.iter().map(|n| reader.index().pack(*n).len).sum();
        self.cx.enter(Phase::ReadingData, Some(summary.packs_read), Some(summary.bytes_read));
        let broken = data::read(reader, chosen, self.threads() + data::READERS, self.cx)?;
        Ok(broken.into_iter().map(|b| (b.pack, b.error)).collect())
    }

    /// A pack that was collected meanwhile is no damage, if what snapshots need of it is elsewhere.
    fn unless_collected(
        &self,
        index: &Index,
        snapshots: &[Snapshot],
        broken: Vec<(u32, Error)>,
    ) -> Result<Vec<(u32, Error)>> {
        if broken.is_empty() {
            return Ok(broken);
        }
        let fresh = self.repo.load_index(&|_, _| {})?;
        let stands = |n: u32| {
            let pack = index.pack(n);
            let same = |m: &&u32| fresh.pack(**m).uploader == pack.uploader && !fresh.distrusts(**m);
            fresh.numbers_of(&pack.id).iter().any(|m| same(&m))
        };
        let (stay, gone): (Vec<_>, Vec<_>) = broken.into_iter().partition(|(n, _)| stands(*n));
        if !gone.is_empty() {
            let there: HashSet<_> = self.repo.snapshots(&|_, _| {})?.into_iter().map(|s| s.id).collect();
            let (reader, none) = (Reader::new(self.repo, &fresh), HashSet::new());
            let trees = Trees::new(self.cx, &reader, Some(self.findings), &none);
            for s in snapshots.iter().filter(|s| self.wanted(s) && there.contains(&s.id)) {
                trees.snapshot(s, self.threads())?;
            }
        }
        Ok(stay)
    }

    /// Say what is lost with each broken pack. Gives those that were not reported before.
    fn tell_broken(
        &self,
        reader: &Reader<'_>,
        snapshots: &[Snapshot],
        broken: Vec<(u32, Error)>,
        summary: &mut CheckSummary,
    ) -> Result<Broken> {
        if broken.is_empty() {
            return Ok(vec![]);
        }
        let bad: HashSet<u32> = broken.iter().map(|b| b.0).collect();
        let mut affected = self.affected(reader, snapshots, &bad)?;
        let known: HashSet<PackId> = self.repo.suspects()?.into_iter().collect();
        // Behind what cannot be read, anything may need anything.
        let all_seen = affected.is_empty() && !self.findings.any() && self.options.wanted.is_none();
        let mut reported = vec![];
        for (n, why) in broken {
            let pack = reader.index().pack(n);
            let lost = affected.remove(&n);
            if lost.is_none() && known.contains(&pack.id) {
                let what = "is damaged, but what snapshots need of it is stored elsewhere by now";
                self.cx.notice("replaced", format!("pack {} {what}: {why}", pack.id.short()));
                summary.replaced_packs.push(pack.id);
                continue;
            }
            if all_seen && why.kind() == ErrorKind::Missing {
                // A prune that another one overtook leaves segments that name what that one deleted.
                let what = "is gone, and nothing needs it; the next prune forgets it";
                self.cx.notice("unneeded", format!("pack {} {what}", pack.id.short()));
                continue;
            }
            let name = names::pack(pack.id, pack.uploader);
            let slug = if why.kind() == ErrorKind::Missing { "missing" } else { "damaged" };
            self.findings.error(slug, name.as_bytes(), "read", format!("{why}; {}", loss(lost)));
            summary.broken_packs.push(pack.id);
            if !known.contains(&pack.id) {
                reported.push((pack.id, why));
            }
        }
        Ok(reported)
    }

    /// A second pass over the trees: whom bad packs hurt.
    fn affected(&self, reader: &Reader<'_>, all: &[Snapshot], bad: &HashSet<u32>) -> Result<HashMap<u32, Affected>> {
        let trees = Trees::new(self.cx, reader, None, bad);
        for s in all.iter().filter(|s| self.wanted(s)) {
            trees.snapshot(s, self.threads())?;
        }
        Ok(trees.into_affected())
    }
}

fn loss(lost: Option<Affected>) -> String {
    let Some(lost) = lost else { return "no snapshot that was checked needs it".to_owned() };
    let paths: Vec<_> = lost.paths.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect();
    let more = match lost.count() - paths.len() as u64 {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "needed by {}{more}; if these still exist, the next backup of them stores them again, \
         and this pack from a copy of the repository mends it",
        paths.join(", ")
    )
}

/// `percent` of so many, at least one.
fn share(all: usize, percent: f64) -> usize {
    ((all as f64 * percent / 100.0).ceil() as usize).clamp(1, all.max(1))
}

/// So many of them, at random.
fn at_random(mut all: Vec<u32>, wanted: impl Fn(&[u32]) -> usize) -> Result<Vec<u32>> {
    let wanted = wanted(&all).min(all.len());
    let mut random = blake3::Hasher::new_keyed(&sys::random()?).finalize_xof();
    for i in 0..wanted {
        let mut n = [0; 8];
        random.fill(&mut n);
        let j = i + (u64::from_le_bytes(n) % (all.len() - i) as u64) as usize;
        all.swap(i, j);
    }
    all.truncate(wanted);
    Ok(all)
}
