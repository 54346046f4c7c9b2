//! What segments say of packs and is not so, and who said it.
//!
//! Any client can sign a segment about anybody's packs: the pack is not to blame for that.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::findings::Findings;
use crate::error::{Error, Result};
use crate::event::Context;
use crate::format::names::prefix;
use crate::format::segment::{Head, Segment};
use crate::id::PackId;
use crate::index::{Index, Location, Row};
use crate::repo::{Comparison, Lies, Repository};

/// Told of each: what is wrong with it.
type Wrong = Vec<(u32, Error)>;

/// Looks for what is not so.
pub struct Tales<'a> {
    /// Where the packs are.
    pub repo: &'a Repository,
    /// Who is told,
    pub cx: &'a Context<'a>,
    /// and what.
    pub findings: &'a Findings<'a>,
}

/// What follows from what was found.
#[derive(Default)]
pub struct Doubts {
    /// Packs of which nothing that is said holds: reading tells what is wrong with them.
    pub packs: BTreeSet<u32>,
    /// Packs with rows that are not so although every writer believes them.
    pub believed: BTreeSet<PackId>,
}

impl Tales<'_> {
    /// Hold what is said of packs against them: of these, and of all of which several say something. What is not
    /// so counts for nothing from here on. `wrong` is left with packs that are not what anybody says.
    pub fn check(&self, index: &mut Index, chosen: &[u32], wrong: &mut Wrong) -> Result<Doubts> {
        let known: HashSet<u32> = wrong.iter().map(|w| w.0).collect();
        let mixed = (0..).zip(index.packs()).filter(|(_, p)| p.mixed).map(|(n, _)| n);
        let all: BTreeSet<u32> = mixed.chain(chosen.iter().copied()).filter(|n| !known.contains(n)).collect();
        let compare = Comparison { repo: self.repo, index, cx: self.cx, tolerant: true };
        let mut lies = compare.run(&all.into_iter().collect::<Vec<_>>(), &|_, _| Ok(vec![]))?;
        let untrue: BTreeSet<u32> = lies.packs.iter().chain(&known).copied().collect();
        let (denied, left): (BTreeSet<u32>, BTreeSet<u32>) =
            untrue.iter().partition(|n| holds_otherwise(index, **n, &untrue));
        wrong.retain(|w| !denied.contains(&w.0));
        lies.packs = denied.into_iter().collect();
        if !lies.is_empty() {
            self.tell(index, &lies)?;
        }
        let pack = |r: &Row| index.pack(index.frame(r.at.frame).pack);
        let believed = lies.rows.iter().map(pack).filter(|p| p.vouched && !p.mixed).map(|p| p.id).collect();
        let packs = left.into_iter().filter(|n| !known.contains(n)).collect();
        index.refute(lies.packs, lies.rows);
        Ok(Doubts { packs, believed })
    }

    /// Name the segments that say such things, and who signed them.
    fn tell(&self, index: &Index, lies: &Lies) -> Result<()> {
        let (packs, rows): (HashSet<u32>, HashSet<Row>) =
            (lies.packs.iter().copied().collect(), lies.rows.iter().copied().collect());
        for listed in self.repo.storage().list(prefix::INDEX)? {
            self.cx.check()?;
            let object = listed.name.as_str();
            // What cannot be read was told of already.
            let Ok(segment) = self.repo.load_segment(object) else { continue };
            let numbers: Vec<_> = segment.head.packs.iter().map(|p| index.number_of(p)).collect();
            let mut said: BTreeMap<u32, u64> = BTreeMap::new();
            said.extend(numbers.iter().flatten().filter(|n| packs.contains(n)).map(|n| (*n, 0)));
            for row in rows_of(index, &segment, &numbers).filter(|r| rows.contains(r)) {
                *said.entry(index.frame(row.at.frame).pack).or_default() += 1;
            }
            for (n, blobs) in said {
                let what = describe(index.pack(n).id, blobs, &self.signer(&segment.head));
                self.findings.error("damaged", object.as_bytes(), "read", what);
            }
        }
        Ok(())
    }

    fn signer(&self, head: &Head) -> String {
        let client = self.repo.clients().iter().find(|c| c.id == head.client);
        let name = client.map_or_else(|| head.client.hex(), |c| format!("{:?}", c.name));
        if head.is_hearsay() { format!("{name}, who repeats others,") } else { name }
    }
}

/// Whether something else that is said of the pack holds.
fn holds_otherwise(index: &Index, n: u32, untrue: &BTreeSet<u32>) -> bool {
    let pack = index.pack(n);
    let holds = |m: &u32| index.pack(*m).uploader == pack.uploader && !untrue.contains(m) && !index.distrusts(*m);
    index.numbers_of(&pack.id).iter().any(holds)
}

/// The rows of a segment, as the index has them.
fn rows_of<'s>(index: &'s Index, segment: &'s Segment, numbers: &'s [Option<u32>]) -> impl Iterator<Item = Row> + 's {
    let frames: Vec<Option<u32>> = (segment.head.packs.iter().zip(numbers))
        .flat_map(|(p, n)| (0..p.frames.len() as u32).map(|k| n.map(|n| index.pack(n).first_frame + k)))
        .collect();
    let row = move |r: &crate::format::segment::Row| {
        let frame = frames.get(r.frame as usize).copied().flatten()?;
        Some(Row { id: r.id, at: Location { frame, ordinal: r.ordinal } })
    };
    segment.rows.iter().filter_map(row)
}

fn describe(pack: PackId, blobs: u64, signer: &str) -> String {
    let pack = pack.short();
    match blobs {
        0 => format!(
            "it says of pack {pack} what is not so; {signer} signed that, the pack is not to blame, and nothing \
             relies on it"
        ),
        n => format!(
            "it says of {n} blobs that they are in pack {pack}, which does not have them; {signer} signed that; \
             `orlop backup --force` stores what was left out for it"
        ),
    }
}
