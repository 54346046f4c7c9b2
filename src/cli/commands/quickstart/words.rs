//! What quickstart says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Trial;
use crate::repo::Snapshot;
use crate::report::{Loudness, units, wire};

/// At once, before anything takes time.
pub const GREETING: &str = "\
orlop makes a copy of a folder that you can go back to: encrypted, and with nothing stored twice.

1. Is there room?
";
/// Before the repository is made.
pub const REPOSITORY: &str = "\n2. A repository, and what opens it\n";
/// Before the backup.
pub const BACKUP: &str = "\n3. A backup\n";
/// Before the trial.
pub const TRIAL: &str = "\n4. A trial: does it come back?\n";

/// Everything that is worth saying at the end.
pub struct Told<'a> {
    pub source: &'a Path,
    pub place: &'a OsStr,
    pub key_file: Option<PathBuf>,
    pub snapshot: &'a Snapshot,
    pub is_new: bool,
    pub trial: &'a Trial,
}

/// A path as a shell reads it.
fn quoted(path: &OsStr) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%,:".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

impl Told<'_> {
    /// For people.
    pub fn text(&self, loudness: Loudness) -> String {
        if loudness == Loudness::Quiet {
            return String::new();
        }
        self.trial_text() + &self.done_text() + &self.next_text()
    }

    fn trial_text(&self) -> String {
        let found = &self.trial.compared;
        let (count, size) = (found.equal, units::bytes(found.bytes));
        let what = if self.trial.sample { "a sample of" } else { "all" };
        let mut out = format!("   {what} {count} files ({size}) came back and equal their source\n");
        if found.changed > 0 {
            out += &format!("   {} were changed in the source meanwhile; the next backup has them\n", found.changed);
        }
        if found.absent > 0 {
            out += &format!("   {} are in the source and not in the backup: see what was named above\n", found.absent);
        }
        for path in &found.differing {
            out += &format!("   different: {}\n", path.display());
        }
        if self.trial.sample && count == 0 {
            out += "   every file is too large to try; `orlop check --read-data` reads them all\n";
        }
        out
    }

    fn done_text(&self) -> String {
        let (source, place) = (self.source.display(), Path::new(self.place).display());
        let id = self.snapshot.id.short();
        let made = if self.is_new { "made the repository" } else { "added to the repository" };
        let mut out = format!("\nWhat was done\n  {made} {place}\n  kept {source} in it as snapshot {id}\n");
        out += "  brought it back into a scratch folder, compared it with the source, and removed the scratch folder\n";
        if let Some(file) = &self.key_file {
            out += &format!("  the key that opens the repository is in {}\n", file.display());
        }
        out
    }

    fn next_text(&self) -> String {
        let (source, place) = (quoted(self.source.as_os_str()), quoted(self.place));
        let key = match &self.key_file {
            Some(file) => format!("Copy {} to another place, and keep", quoted(file.as_os_str())),
            None => "Keep".to_owned(),
        };
        let mut out = format!(
            "\nWhat to do next\n\
             \x20 keep what changed, as often as you like:\n    orlop -r {place} backup {source}\n\
             \x20 see what there is:\n    orlop -r {place} snapshots\n    orlop -r {place} ls latest\n\
             \x20 bring it back, into a folder of its own:\n    orlop -r {place} restore latest:{source} --target restored\n\
             \x20 read everything and verify it, now and then:\n    orlop -r {place} check --read-data\n\n\
             {key} the recovery key's words somewhere else than on this disk:\n\
             without one of them nobody can read the repository, you included.\n",
        );
        if self.is_new {
            out += &format!(
                "A copy on the same disk helps against mistakes and not against the loss of the disk. On another disk:\n    \
                 orlop -r /path/on/other/disk quickstart {source}\n"
            );
        }
        out
    }

    /// For programs.
    pub fn json(&self) -> String {
        let found = &self.trial.compared;
        wire::line(&serde_json::json!({
            "message_type": "quickstart",
            "source": self.source.to_string_lossy(),
            "repository": self.place.to_string_lossy(),
            "key_file": self.key_file.as_ref().map(|f| f.to_string_lossy().into_owned()),
            "created": self.is_new,
            "snapshot_id": self.snapshot.id.hex(),
            "sample": self.trial.sample,
            "files_equal": found.equal,
            "bytes_equal": found.bytes,
            "files_changed": found.changed,
            "files_absent": found.absent,
            "files_different": found.differing.len(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_for_a_shell() {
        for (path, shown) in [("/home/anna", "/home/anna"), ("/a b", "'/a b'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(quoted(OsStr::new(path)), shown);
        }
    }
}
