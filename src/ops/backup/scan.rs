//! Counting the source beside the walk, so that progress knows its end.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::sources::{Place, Sources};
use super::walk::read_head;
use super::{Avoid, BackupOptions};
use crate::event::{ItemKind, Meter};
use crate::ops::deep;
use crate::plan::filter::{Level, Selection, join};
use crate::source::{Dir, Kind, Stat};

struct Scan<'a> {
    selection: &'a Selection,
    avoid: &'a [Avoid],
    one_file_system: bool,
    meter: &'a Meter,
    stop: &'a [&'a AtomicBool],
}

/// Count files and bytes of the sources into the meter until done, or until one of `stop` is set.
/// Trouble is the walk's to tell; without a thread nothing is counted.
pub fn scan(sources: &Sources, options: &BackupOptions, meter: &Meter, stop: &[&AtomicBool]) {
    let one_file_system = options.one_file_system;
    let scan = Scan { selection: &options.selection, avoid: &options.avoid, one_file_system, meter, stop };
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
                Place::Source { real, .. } => self.source(real),
            }
        }
    }

    fn source(&self, real: &Path) {
        let shown = std::path::absolute(real).unwrap_or_else(|_| real.to_owned());
        let shown = shown.as_os_str().as_bytes();
        if !self.selection.decide_by_name(shown).is_keep() {
            return;
        }
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
            Ok((stat, Some(dir))) => self.dir(dir, &stat, shown, &self.selection.start(), stat.id.dev, true),
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
        if self.stopped() || avoided || deep::too_deep(path) || (self.one_file_system && stat.id.dev != device) {
            return;
        }
        let names = dir.names();
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
            let path = join(path, name.bytes);
            if !self.selection.decide_by_name(&path).is_keep() {
                continue;
            }
            let Ok(stat) = dir.stat(name.bytes) else { continue };
            let kind = if stat.kind == Kind::Dir { ItemKind::Dir } else { ItemKind::File };
            if !self.selection.decide_by_stat(&level, &path, kind, stat.size).is_keep() {
                continue;
            }
            match stat.kind {
                Kind::Dir => {
                    if let Ok(below) = dir.open_dir_as(name.bytes, &stat) {
                        self.dir(below, &stat, &path, &level, device, false);
                    }
                }
                _ => self.count(&stat),
            }
        }
    }
}
