//! `backup`.

use std::path::{Path, PathBuf};

use super::open;
use crate::cli::args::{Backup, Chunking, Compression};
use crate::cli::console::Console;
use crate::cli::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::{self, About, BackupOptions, Input, Parent, Sources};
use crate::plan::filter::Selection;
use crate::report::exit::Outcome;
use crate::report::{Job, Loudness, summary};

/// Take a snapshot.
pub fn run(args: &Backup, settings: &Settings) -> Result<Outcome> {
    let mut console = Console::new(settings, Job::Backup, false);
    let mut repo = open(settings, &console)?;
    let (time, utc_offset) = args.time.resolve(&console.zone()).map_err(|e| Error::new(ErrorKind::Invalid, e))?;
    let mut sources = Sources::default();
    for path in &args.paths {
        sources.add(Path::new(path), &|p| {
            let names = std::fs::read_dir(p).map_err(|e| Error::new(ErrorKind::Source, "cannot list").because(e))?;
            Ok(names.flatten().map(|e| std::os::unix::ffi::OsStringExt::into_vec(e.file_name())).collect())
        })?;
    }
    let options = BackupOptions {
        parent: if args.force { Parent::None } else { Parent::Latest },
        force: args.force,
        ignore_ctime: args.ignore_ctime || args.ignore_inode,
        ignore_inode: args.ignore_inode,
        with_atime: args.with_atime,
        one_file_system: args.one_file_system,
        selection: Selection::default(),
        avoid: vec![],
        chunking: match args.chunking {
            Chunking::Default => 1,
            Chunking::Volume => 2,
            Chunking::Media => 3,
        },
        rechunk: args.rechunk,
        dry_run: args.dry_run,
        skip_if_unchanged: args.skip_if_unchanged,
        compression: match settings.compression {
            Compression::Off => None,
            Compression::Fastest => Some(1),
            Compression::Auto => Some(3),
            Compression::Better => Some(9),
            Compression::Max => Some(19),
        },
        pack_target: settings.pack_size_mib.map(|m| u64::from(m) << 20),
        segment_packs: None,
        verify: settings.extra_verify,
        about: About {
            client: settings.client.clone(),
            host: args.host.clone().or_else(|| settings.host.clone()),
            paths: args.paths.iter().map(|p| backup::absolute(&PathBuf::from(p))).collect(),
            tags: args.tags(),
            label: args.label.clone().unwrap_or_default(),
            description: args.description.clone().unwrap_or_default(),
            time: Some(time),
            utc_offset,
            program: concat!("orlop ", env!("CARGO_PKG_VERSION")).to_owned(),
            ..About::default()
        },
    };
    let threads = settings.read_concurrency.or(args.read_concurrency).unwrap_or(8);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(64 << 20).build();
    let pool = pool.map_err(|e| Error::new(ErrorKind::Bug, "no threads").because(e))?;
    let done = {
        let cx = console.context();
        pool.install(|| backup::backup(&mut repo, Input::Paths(sources), &options, &cx))
    };
    console.finish();
    let done = done?;
    let report = summary::Backup {
        stats: done.stats,
        started: done.started,
        ended: done.ended,
        utc_offset,
        snapshot: done.snapshot,
        dry_run: args.dry_run,
    };
    if settings.json {
        console.print(summary::backup_json(&report))?;
    } else {
        console.remark(Loudness::Normal, &summary::backup_text(&report, settings.loudness))?;
    }
    Ok(Outcome::of(done.stats.problems))
}
