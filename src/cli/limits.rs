//! Limits of what is read and written: one for the process in each direction, by the clock on the
//! wall, and as `orlop.toml` has them while the program runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args::Global;
use super::config::{self, Profile};
use super::settings::Environment;
use super::signals;
use crate::plan::timetable::Timetable;
use crate::storage::{Bucket, LimitedStorage, RealPace, Storage};

/// Both directions; none where nobody set a limit.
#[derive(Clone, Default)]
pub struct Limits(Option<(Arc<Bucket>, Arc<Bucket>)>);

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "limited" } else { "unlimited" })
    }
}

impl Limits {
    /// What was typed, or what the profile says. That may change while the program runs.
    pub fn new(flags: &Global, typed: &ArgMatches, profile: Option<&Profile>, env: &Environment) -> Self {
        let file = |id: &'static str| {
            let is_typed = typed.value_source(id) == Some(ValueSource::CommandLine);
            let profile = profile.filter(|p| !is_typed && p.global.iter().any(|e| e.id == id))?;
            let home = env.home().map(Into::into);
            Some(InFile { file: profile.file.clone(), profile: profile.name.clone(), home, id, seen: None })
        };
        let (up, down) = (flags.limit_upload.clone(), flags.limit_download.clone());
        if up.is_none() && down.is_none() {
            return Self(None);
        }
        let bucket = |table: Option<Timetable>, file: Option<InFile>| {
            let watched = Mutex::new(Watched { table: table.unwrap_or_default(), file });
            let rate = move || watched.lock().unwrap_or_else(PoisonError::into_inner).rate();
            Arc::new(Bucket::new(Box::new(rate), Arc::new(RealPace::default()), Some(signals::cancel())))
        };
        Self(Some((bucket(up, file("limit_upload")), bucket(down, file("limit_download")))))
    }

    /// A storage that keeps to them.
    pub fn around(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        match &self.0 {
            None => storage,
            Some((up, down)) => Arc::new(LimitedStorage::new(storage, Arc::clone(up), Arc::clone(down))),
        }
    }
}

struct Watched {
    table: Timetable,
    file: Option<InFile>,
}

/// Where a limit was set, and what the file was like.
struct InFile {
    file: PathBuf,
    profile: Option<String>,
    home: Option<PathBuf>,
    id: &'static str,
    seen: Option<(std::time::SystemTime, u64)>,
}

impl Watched {
    /// Bytes a second, now.
    fn rate(&mut self) -> Option<u64> {
        if let Some(table) = self.file.as_mut().and_then(InFile::changed) {
            self.table = table;
        }
        let now = jiff::Zoned::now();
        self.table.at(now.hour() as u16 * 60 + now.minute() as u16)
    }
}

impl InFile {
    /// What the file says, if it is another one than before. One that cannot be read or understood, as
    /// while somebody writes it, changes nothing.
    fn changed(&mut self) -> Option<Timetable> {
        let meta = self.file.metadata().ok()?;
        let now = (meta.modified().ok()?, meta.len());
        if self.seen.replace(now).is_none_or(|before| before == now) {
            return None;
        }
        let said = config::value_in(&self.file, self.profile.as_deref(), self.home.as_deref(), self.id).ok()?;
        said.map_or_else(|| Some(Timetable::default()), |text| text.parse().ok())
    }
}
