//! Which snapshot is meant: filters, `latest`, the beginning of an id. Pure, over what was listed.

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::id::RecordId;
use crate::repo::{Snapshot, Validity};

/// Which snapshots are looked at; empty lists let everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of any of these hosts.
    pub hosts: Vec<String>,
    /// With all tags of any of these lists; an empty list stands for "no tags".
    pub tags: Vec<Vec<String>>,
    /// With all of these paths.
    pub paths: Vec<Vec<u8>>,
    /// Snapshots of interrupted backups can be the latest, too.
    pub incomplete: bool,
}

impl Filter {
    /// Whether a snapshot is looked at.
    pub fn matches(&self, s: &Snapshot) -> bool {
        let has_all = |list: &Vec<String>| match list.is_empty() {
            true => s.body.tags.is_empty(),
            false => list.iter().all(|t| s.body.tags.contains(t)),
        };
        (self.hosts.is_empty() || self.hosts.contains(&s.body.hostname))
            && (self.tags.is_empty() || self.tags.iter().any(has_all))
            && self.paths.iter().all(|p| s.body.paths.contains(p))
    }
}

/// Which snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest, or so many before it.
    Latest {
        /// How many before.
        back: u32,
    },
    /// The one whose id begins so: lower-case hex digits.
    Prefix(String),
}

/// Without those incomplete ones that another snapshot took the place of.
pub fn standing(mut all: Vec<Snapshot>) -> Vec<Snapshot> {
    let counts = |s: &&Snapshot| s.validity != Validity::Late;
    let replaced: HashSet<RecordId> = all.iter().filter(counts).filter_map(|s| s.statement.replaces).collect();
    all.retain(|s| !(s.incomplete() && replaced.contains(&s.id)));
    all
}

/// Find the one that is meant. A prefix is looked for among all, whatever the filter.
pub fn find<'s>(all: &'s [Snapshot], filter: &Filter, which: &Which) -> Result<&'s Snapshot> {
    match which {
        Which::Latest { back } => latest(all, filter, *back),
        Which::Prefix(prefix) => by_prefix(all, prefix),
    }
}

/// So many snapshots are named in one hint.
const NAMED: usize = 8;

fn latest<'s>(all: &'s [Snapshot], filter: &Filter, back: u32) -> Result<&'s Snapshot> {
    let counts = |s: &&Snapshot| s.validity != Validity::Late && filter.matches(s);
    let whole = |s: &&Snapshot| filter.incomplete || !s.incomplete();
    let mut found: Vec<&Snapshot> = all.iter().filter(counts).filter(whole).collect();
    found.sort_by_key(|s| std::cmp::Reverse((s.statement.time, s.statement.seq, s.id)));
    if let Some(s) = found.get(back as usize) {
        return Ok(s);
    }
    let what = match (found.len(), all.is_empty()) {
        (_, true) => "there are no snapshots in this repository".to_owned(),
        (0, _) => "no snapshot matches".to_owned(),
        (1, _) => format!("there is one snapshot only, so there is no latest~{back}"),
        (n, _) => format!("there are {n} snapshots only, so there is no latest~{back}"),
    };
    let mut error = Error::new(ErrorKind::Missing, what);
    let lost: Vec<String> =
        all.iter().filter(|s| s.session_lost && filter.matches(s)).take(NAMED).map(|s| s.id.short()).collect();
    if !lost.is_empty() {
        let hint = "these do not count, as records of their sessions are lost, and can be taken by their ids";
        error = error.hint(format!("{hint}: {}", lost.join(", ")));
    }
    Err(match all.iter().filter(counts).any(|s| s.incomplete()) && !filter.incomplete {
        true => error.hint("there is one of an interrupted backup: pass --incomplete to take that, too"),
        false => error.hint("`orlop snapshots` lists what there is"),
    })
}

fn by_prefix<'s>(all: &'s [Snapshot], prefix: &str) -> Result<&'s Snapshot> {
    let found: Vec<&Snapshot> = all.iter().filter(|s| s.id.hex().starts_with(prefix)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::new(ErrorKind::Missing, format!("no snapshot's id begins with {prefix}"))
            .hint("`orlop snapshots` lists what there is")),
        many => {
            let ids: Vec<String> = many.iter().take(8).map(|s| s.id.short()).collect();
            let what = format!("the ids of {} snapshots begin with {prefix}: {}", many.len(), ids.join(", "));
            Err(Error::new(ErrorKind::Invalid, what).hint("give more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ClientId, DomainId, InstanceId, SessionId};
    use crate::model::{Body, Commit, Statement, Time};

    fn snapshot(id: u8, sec: i64, host: &str, tags: &[&str], flags: u32) -> Snapshot {
        let zero = Time::default();
        let statement = Statement {
            domain: DomainId::ZERO,
            client: ClientId::ZERO,
            seq: 1,
            prev: RecordId::ZERO,
            client_epoch: 1,
            root: None,
            time: Time { sec, nsec: 0 },
            utc_offset: 0,
            started: zero,
            ended: zero,
            machine: [0; 8],
            config: RecordId::ZERO,
            flags,
            parent: None,
            replaces: None,
            origin: None,
            heads: vec![],
            body: vec![],
            ext: vec![],
        };
        let body = Body {
            hostname: host.into(),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            paths: vec![b"/home".to_vec()],
            ..Body::default()
        };
        let commit = Commit {
            instance: InstanceId::ZERO,
            session: SessionId::ZERO,
            seen_gen: 0,
            statement: RecordId::ZERO,
            committer: ClientId::ZERO,
            committer_epoch: 1,
            received_from: None,
            received_at: None,
            ext: vec![],
        };
        let id = RecordId([id; 32]);
        Snapshot {
            id,
            statement,
            body,
            commit,
            validity: Validity::Confirmed,
            closed: None,
            by_owner: true,
            hollow: false,
            session_lost: false,
        }
    }

    fn sample() -> Vec<Snapshot> {
        let mut late = snapshot(5, 50, "a", &[], 0);
        late.validity = Validity::Late;
        vec![
            snapshot(1, 30, "a", &["x", "y"], 0),
            snapshot(2, 10, "b", &["x"], 0),
            snapshot(3, 20, "a", &[], 0),
            snapshot(4, 40, "a", &[], Statement::INCOMPLETE),
            late,
        ]
    }

    fn back(back: u32) -> Which {
        Which::Latest { back }
    }

    #[test]
    fn latest_is_the_newest_whole_one() {
        let all = sample();
        let id = |filter: &Filter, which| find(&all, filter, &which).map(|s| s.id.0[0]).ok();
        let any = Filter::default();
        assert_eq!([0, 1, 2, 3].map(|n| id(&any, back(n))), [Some(1), Some(3), Some(2), None]);
        let incomplete = Filter { incomplete: true, ..Filter::default() };
        assert_eq!(id(&incomplete, back(0)), Some(4));
        let host = Filter { hosts: vec!["b".into(), "c".into()], ..Filter::default() };
        assert_eq!(id(&host, back(0)), Some(2));
        let only = sample().split_off(3);
        let error = find(&only, &any, &back(0)).expect_err("it is incomplete");
        assert!(error.hints()[0].contains("--incomplete"));
    }

    #[test]
    fn tags_and_paths() {
        let all = sample();
        let hits = |filter: Filter| all.iter().filter(|s| filter.matches(s)).map(|s| s.id.0[0]).collect::<Vec<_>>();
        let tags = |lists: &[&[&str]]| Filter {
            tags: lists.iter().map(|l| l.iter().map(|t| (*t).to_owned()).collect()).collect(),
            ..Filter::default()
        };
        assert_eq!(hits(tags(&[&["x"]])), [1, 2]);
        assert_eq!(hits(tags(&[&["x", "y"]])), [1]);
        assert_eq!(hits(tags(&[&["y"], &[]])), [1, 3, 4, 5]);
        let paths = |p: &[&[u8]]| Filter { paths: p.iter().map(|p| p.to_vec()).collect(), ..Filter::default() };
        assert_eq!(hits(paths(&[b"/home"])).len(), 5);
        assert!(hits(paths(&[b"/home", b"/etc"])).is_empty());
    }

    #[test]
    fn prefixes() {
        let all = sample();
        let get = |p: &str| find(&all, &Filter::default(), &Which::Prefix(p.into()));
        assert_eq!(get("0404").expect("unique").id.0[0], 4);
        assert_eq!(get("0").expect_err("ambiguous").kind(), ErrorKind::Invalid);
        assert_eq!(get("ff").expect_err("none").kind(), ErrorKind::Missing);
    }

    #[test]
    fn what_was_replaced_goes() {
        let mut all = sample();
        all[0].statement.replaces = Some(RecordId([4; 32]));
        all[1].statement.replaces = Some(RecordId([3; 32]));
        let left: Vec<u8> = standing(all).iter().map(|s| s.id.0[0]).collect();
        assert_eq!(left, [1, 2, 3, 5], "only an incomplete one goes");
    }
}
