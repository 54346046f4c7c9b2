//! Taking over what a dead process of this machine had made durable, so that nothing is stored twice.
//!
//! Packs between two index segments are in no index when a run is killed. Their names carry the
//! session, and their tables say what is in them.

use std::collections::HashSet;

use super::writer::write_segment;
use super::{Identity, Repository, Session, Snapshot, objects};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::event::Context;
use crate::format::gc::PackName;
use crate::format::names::{self, prefix};
use crate::format::pack::{FOOTER_LEN, Footer, HEADER_LEN, Header, Table};
use crate::format::segment::PackEntry;
use crate::id::BlobId;
use crate::index::Index;
use crate::model::Head;

impl Repository {
    /// Index the packs of dead sessions of this machine, then close those sessions.
    pub fn adopt_leftovers(
        &self,
        who: &Identity,
        session: &Session,
        index: &mut Index,
        cx: &Context<'_>,
    ) -> Result<()> {
        let leftovers = self.leftovers_beside(who, Some(session.id))?;
        if leftovers.is_empty() {
            return Ok(());
        }
        let suffixes: HashSet<[u8; 4]> = leftovers.iter().map(|l| l.suffix()).collect();
        let known: HashSet<_> = index.packs().iter().map(|p| p.id).collect();
        let history = session.history();
        let mut found = Vec::new();
        for listed in self.storage.list(prefix::PACKS)? {
            let Some((id, suffix)) = names::parse_pack(listed.name.as_str()) else { continue };
            let condemned = history.log.condemns(&PackName { id, uploader: suffix });
            if !suffixes.contains(&suffix) || known.contains(&id) || condemned {
                continue;
            }
            match self.read_table(listed.name.as_str(), listed.len) {
                Ok((header, table)) => {
                    let entry = PackEntry {
                        id,
                        uploader: suffix,
                        len: listed.len,
                        kind: table.kind,
                        header,
                        frames: table.frames,
                    };
                    found.push((entry, table.ids));
                }
                Err(e) => cx.problem("damaged", listed.name.as_str().as_bytes(), "read", e.to_string()),
            }
        }
        self.index_found(who, session, index, found)?;
        self.bury_all(who, &leftovers)
    }

    fn index_found(
        &self,
        who: &Identity,
        session: &Session,
        index: &mut Index,
        found: Vec<(PackEntry, Vec<BlobId>)>,
    ) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        // Anybody can give a pack the name of such a session.
        let name = write_segment(self, who, session, found, true)?;
        index.add_as(&self.load_segment(&name)?, false).map(drop)
    }

    /// A dead session had committed what its snapshots say, or nothing.
    fn bury_all(&self, who: &Identity, leftovers: &[super::Leftover]) -> Result<()> {
        let snapshots = self.snapshots(&|_, _| {})?;
        for l in leftovers {
            let committed: Vec<Head> = snapshots
                .iter()
                .filter(|s| (s.commit.session, s.commit.committer) == (l.id, who.client))
                .map(Snapshot::head)
                .collect();
            self.bury(who, l, &committed)?;
        }
        Ok(())
    }

    /// Header and table of a pack, without reading its frames.
    pub fn read_table(&self, object: &str, len: u64) -> Result<(Header, Table)> {
        let read = || -> Result<(Header, Table)> {
            let name = objects::name(object)?;
            if len < (HEADER_LEN + FOOTER_LEN) as u64 {
                return Err(Error::new(ErrorKind::Damaged, "it is shorter than any pack"));
            }
            let mut header = [0; HEADER_LEN];
            self.storage.get_range(&name, 0, &mut header)?;
            let header = Header::parse(&header)?;
            let mut footer = [0; FOOTER_LEN];
            self.storage.get_range(&name, len - FOOTER_LEN as u64, &mut footer)?;
            let footer = Footer::parse(&footer, len)?;
            let mut sealed = vec![0; footer.table_len as usize];
            self.storage.get_range(&name, footer.table_offset, &mut sealed)?;
            let table = self.open_table(&header, &footer, &mut sealed)?;
            Ok((header, table))
        };
        read().doing(|| format!("while reading {object}"))
    }

    /// Open a pack's table.
    pub fn open_table(&self, header: &Header, footer: &Footer, sealed: &mut [u8]) -> Result<Table> {
        let secret = self.need(self.index_secret(header.epoch), "read tables")?;
        Ok(Table::open(header, &secret, footer, sealed)?)
    }
}
