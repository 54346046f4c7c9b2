//! Recovery keys: 32 random bytes as 24 words of the English list of BIP 39, whose last word
//! checks the others.

use std::io::IsTerminal;
use std::path::Path;

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use crate::cli::console::Console;
use crate::cli::password::write_private;
use crate::crypto::Secret;
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::report::Loudness;

const WORDS: usize = 24;
const WORDS_IN_A_LINE: usize = 6;

/// The words of a secret.
pub fn to_words(secret: &Secret) -> Result<Zeroizing<String>> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, secret.expose())
        .map_err(|_| Error::new(ErrorKind::Bug, "32 bytes make no recovery key"))?;
    Ok(Zeroizing::new(mnemonic.words().collect::<Vec<_>>().join(" ")))
}

/// The secret of words, in any case, with any white space; `None` if they are no recovery key.
pub fn from_words(typed: &[u8]) -> Option<Secret> {
    let text = Zeroizing::new(std::str::from_utf8(typed).ok()?.to_lowercase());
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() != WORDS {
        return None;
    }
    let line = Zeroizing::new(words.join(" "));
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &line).ok()?;
    let entropy = Zeroizing::new(mnemonic.to_entropy());
    entropy.as_slice().try_into().ok().map(Secret::new)
}

/// Refuse a file that is there already, before anything is made.
pub fn check_file(file: Option<&Path>) -> Result<()> {
    match file {
        Some(file) if file.symlink_metadata().is_ok() => {
            Err(Error::new(ErrorKind::Exists, format!("{} exists already", file.display()))
                .hint("give --recovery-file a name that is free"))
        }
        _ => Ok(()),
    }
}

/// Hand the words over: into a file, or once on standard output. JSON has them in its own message.
pub fn show(words: &str, file: Option<&Path>, console: &Console) -> Result<()> {
    if let Some(file) = file {
        write_private(file, format!("{words}\n").as_bytes())
            .map_err(|e| Error::new(ErrorKind::Target, e.to_string()))
            .doing(|| format!("writing the recovery key to {}", file.display()))?;
        return console.remark(Loudness::Normal, &format!("recovery key written to {}\n", file.display()));
    }
    if console.json {
        return Ok(());
    }
    if console.loudness == Loudness::Quiet || !std::io::stdout().is_terminal() {
        return console.print(Zeroizing::new(format!("{words}\n")).as_bytes());
    }
    let list: Vec<&str> = words.split(' ').collect();
    let lines: Vec<String> = list.chunks(WORDS_IN_A_LINE).map(|l| format!("    {}\n", l.join(" "))).collect();
    let text = format!(
        "\nrecovery key, shown this once: it opens the repository when the password is lost.\n\
         Write it down and keep it elsewhere.\n\n{}\n",
        lines.concat()
    );
    console.print(Zeroizing::new(text).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        let secret = Secret::new(std::array::from_fn(|i| i as u8));
        let words = to_words(&secret).expect("32 bytes");
        assert_eq!(words.split(' ').count(), WORDS);
        let typed = format!("  {}\n", words.to_uppercase().replace(' ', " \n "));
        assert_eq!(from_words(typed.as_bytes()).expect("the same").expose(), secret.expose());
        let mut swapped: Vec<&str> = words.split(' ').collect();
        swapped.swap(0, 1);
        for bad in [swapped.join(" "), "correct horse battery staple".into(), String::new()] {
            assert!(from_words(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
