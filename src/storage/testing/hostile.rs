//! Parsers of what servers say and folders hold, for fuzzing: any bytes go in.

use crate::storage::cache::{self, Part};
use crate::storage::{Name, sftp};

/// What an SFTP server answers, taken for an answer to every question.
pub fn sftp_answer(bytes: &[u8]) {
    sftp::any_answer(bytes);
}

/// What services behind HTTP and `rclone` say beside objects: addresses, dates.
#[cfg(feature = "remote")]
pub fn http_answer(bytes: &[u8]) {
    crate::storage::remote::any_answer(bytes);
}

/// A file of the cache: as it is, and with a hash that fits, without which nothing else of it counts.
pub fn cached(bytes: &[u8]) {
    let Ok(name) = Name::new("keys/51515151515151515151515151515151") else { return };
    let len = bytes.len() as u64;
    for part in [Part::Whole(len, Some(7)), Part::Whole(len, None), Part::Range(3, len)] {
        cache::is_sound(bytes, &name, part);
        if let Some((tail, content)) = bytes.split_at_checked(cache::HEADER - cache::MAGIC.len() - cache::SUM) {
            let sum = cache::sum(&name, part, tail, content);
            cache::is_sound(&[&cache::MAGIC[..], &sum, tail, content].concat(), &name, part);
        }
        let header = cache::header(&name, part, bytes);
        assert!(cache::is_sound(&[&header, bytes].concat(), &name, part) || part == Part::Whole(len, None));
    }
}
