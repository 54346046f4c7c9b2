//! Counting the source beside the walk, so that progress knows its end.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::sources::{Place, Source, Sources};
use super::start::{Spreads, Within, above};
use super::walk::read_head;
use super::{Avoid, BackupOptions, absolute};
use crate::event::{ItemKind, Meter};
use crate::ops::deep;
use crate::plan::filter::{Level, Selection, join};
use crate::source::{Dir, Kind, Stat};

struct Scan<'a> {
    selection: &'a Selection,
    avoid: &'a [Avoid],
    within: Within<'a>,
    spreads: Spreads,
    one_file_system: bool,
    meter: &'a Meter,
    stop: &'a [&'a AtomicBool],
}

/// Count files and bytes of the sources into the meter until done, or until one of `stop` is set.
/// Trouble is the walk's to tell; without a thread nothing is counted.
pub fn scan(sources: &Sources, options: &BackupOptions, meter: &Meter, stop: &[&AtomicBool]) {
    let one_file_system = options.one_file_system;
    let (within, spreads) = (Within(sources.within()), Spreads::default());
    let (selection, avoid) = (&options.selection, &options.avoid[..]);
    let scan = Scan { selection, avoid, within, spreads, one_file_system, meter, stop };
    let done = deep::alone(|| scan.places(sources.places()));
    if done.is_ok() && !scan.stopped() {
        meter.expected_final.store(true, Relaxed);
    }
}

impl Scan<'_> {
    fn stopped(&self) -> bool {
        self.stop.iter().any(|s| s.load(Relaxed))
    }

    fn places(&self, places: &BTreeMap<Vec<u8>, Place>) {
        for place in places.values() {
            match place {
                Place::Way { children, .. } => self.places(children),
                Place::Source(source) => match &source.of {
                    None => self.named(&source.real),
                    Some(of) => self.spread(source, of),
                },
            }
        }
    }

    fn spread(&self, source: &Source, of: &Path) {
        let own = source.real.file_name().unwrap_or_default().as_bytes();
        if let Ok(spread) = self.spreads.open(of, self.selection, drop) {
            self.entry(&spread.dir, &spread.path, own, &spread.level, spread.device);
        }
    }

    fn named(&self, real: &Path) {
        let shown = absolute(real);
        let parent = real.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let found = match real.file_name() {
            Some(own) => Dir::open_root(parent).and_then(|d| {
                let stat = d.stat(own.as_bytes())?;
                let dir = if stat.kind == Kind::Dir { Some(d.open_dir_as(own.as_bytes(), &stat)?) } else { None };
                Ok((stat, dir))
            }),
            None => Dir::open_root(real).and_then(|d| Ok((d.own_stat()?, Some(d)))),
        };
        match found {
            Ok((stat, Some(dir))) => {
                let above = above(self.selection, &shown).0;
                self.dir(dir, &stat, &shown, &above, stat.id.dev, true);
            }
            Ok((stat, None)) => self.count(&stat),
            Err(_) => {}
        }
    }

    fn count(&self, stat: &Stat) {
        Meter::add(&self.meter.files_expected, 1);
        if stat.kind == Kind::File {
            Meter::add(&self.meter.bytes_expected, stat.size);
        }
    }

    fn dir(&self, mut dir: Dir, stat: &Stat, path: &[u8], above: &Level, device: u64, named: bool) {
        let avoided = self.avoid.iter().any(|a| (a.dev, a.ino) == (stat.id.dev, stat.id.ino));
        let device = self.within.device(path, stat.id.dev, device);
        let elsewhere = self.one_file_system && stat.id.dev != device;
        if self.stopped() || avoided || deep::too_deep(path) {
            return;
        }
        let names = self.within.names(&mut dir, path, elsewhere);
        let level = match self.selection.looks_inside() {
            false => above.clone(),
            true => {
                let list: Vec<&[u8]> = names.iter().map(|n| n.bytes).collect();
                let mut read = |name: &[u8], max: usize| read_head(&dir, name, max);
                match named {
                    true => self.selection.enter_named(above, path, &list, &mut read).0,
                    false => self.selection.enter(above, path, &list, &mut read).0,
                }
            }
        };
        for name in names.iter() {
            self.entry(&dir, path, name.bytes, &level, device);
        }
    }

    fn entry(&self, dir: &Dir, path: &[u8], name: &[u8], level: &Level, device: u64) {
        let path = join(path, name);
        let wanted = self.within.is_below(&path);
        if !wanted && !self.selection.decide_by_name(&path).is_keep() {
            return;
        }
        let Ok(stat) = dir.stat(name) else { return };
        let kind = if stat.kind == Kind::Dir { ItemKind::Dir } else { ItemKind::File };
        if !wanted && !self.selection.decide_by_stat(level, &path, kind, stat.size).is_keep() {
            return;
        }
        match stat.kind {
            Kind::Dir => {
                let named = self.within.has(&path);
                let above = if named { Some(above(self.selection, &path).0) } else { None };
                if let Ok(below) = dir.open_dir_as(name, &stat) {
                    self.dir(below, &stat, &path, above.as_ref().unwrap_or(level), device, named);
                }
            }
            _ => self.count(&stat),
        }
    }
}
