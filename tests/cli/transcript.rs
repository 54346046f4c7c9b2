//! Lines that are typed, and everything that is answered, compared with a file. With `BLESS=1` in
//! the environment the file is written anew.

use super::world::World;

const LINES: &str = "\
init --no-recovery-key
backup src --tag a,b --label first
backup src --label second -v
snapshots
snapshots -c --latest 1
snapshots --tag nothing
ls latest
ls latest /src
ls --recursive latest:/ /src/sub
ls -l --sort size --reverse latest:/src
find three.o *.txt
find -l --type dir sub
find nothing
find [
find --newest yesterday x
find --history /src/one.txt
diff latest~1 latest
diff latest:/src ./src/sub --metadata
stats
stats --by snapshot
rewrite latest --exclude *.o --dry-run -v
rewrite latest --exclude *.o
rewrite latest --exclude *.o
rewrite latest --exclude *
merge latest latest~1 --label both
explain exists
explain-exclude src/sub/deep/three.o --exclude *.o
dump latest /src/one.txt
dump latest:/src sub/two.txt
dump latest /src/nothing
backup src --dry-run -vv --exclude *.o
backup src --skip-if-unchanged
backup src --parent ffffffffffff
backup missing src
backup missing
backup
backup -x --init src --exclude [
ls latest~7
ls zzzz
hold latest --reason audit
tag --add c latest~1
snapshots
forget
forget --keep-last 1 --dry-run
forget latest
forget --schedule 1d=1
undelete
policy set --keep-daily 7 --keep-weekly 4
policy set --host web --default
policy show
policy simulate --until 10d --keep-daily 3
policy window
forget --keep-last -1
release latest
prune --dry-run
prune
prune --now
prune --max-unused 101%
forget latest --prune
list keys
list locks
key list
init
mount /mnt
";

#[test]
fn what_is_typed_is_answered() {
    let world = World::by_password();
    let mut told = String::new();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for line in LINES.lines() {
        let ran = world.run(line);
        // Before dates are looked for: some names of hosts are like them.
        let plain = |text: &str| world.plain(&with_names(text, &[(host.trim(), "HOST")]));
        told += &format!("$ orlop {line}\n{}", plain(&ran.out));
        for err in plain(&ran.err).lines() {
            told += &format!("! {err}\n");
        }
        told += &format!("= {}\n\n", ran.code);
    }
    let user = std::process::Command::new("id").arg("-un").output().expect("coreutils");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let told = told.replace(&format!("{user}@host"), "USER@host");
    let lines = told.split_inclusive('\n').filter(|line| !line.starts_with("scan finished in "));
    let told: String = lines.map(without_duration).map(|line| without_stored(&line)).collect();
    let told = tidy(&told, &[(user.as_str(), "USER")]);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/transcript.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &told).expect("writable");
    }
    let expected = std::fs::read_to_string(file).expect("the transcript is there");
    assert!(told == expected, "the answers differ from {file}:\n{}", difference(&expected, &told));
}

/// Tables are as wide as their widest cell, which a name decides: columns are set apart by two
/// spaces, rules are of one length, owners have no numbers.
fn tidy(text: &str, names: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let rule = line.len() > 8 && line.bytes().all(|b| b == b'-');
        let words: Vec<String> = line.split_whitespace().map(|w| with_names(w, names)).collect();
        out += if rule { "--------" } else { "" };
        out += &if rule { String::new() } else { words.join(" ") };
        out.push('\n');
    }
    out
}

/// Names as what they are, where they are whole words.
fn with_names(text: &str, names: &[(&str, &str)]) -> String {
    let known = |word: &str| names.iter().find(|(name, _)| *name == word).map(|(_, to)| *to);
    text.split_inclusive([' ', '\n'])
        .map(|part| {
            let word = part.trim_end_matches([' ', '\n']);
            known(word).unwrap_or(word).to_owned() + &part[word.len()..]
        })
        .collect()
}

fn difference(expected: &str, told: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    format!("line {}\n- {}\n+ {}", at + 1, a.get(at).unwrap_or(&""), b.get(at).unwrap_or(&""))
}

/// A line without how long something took.
fn without_duration(line: &str) -> String {
    let masked = line.trim_end().rsplit_once(" in ").filter(|(_, took)| {
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        took.split_once(':').is_some_and(|(m, s)| digits(m) && s.len() == 2 && digits(s))
    });
    masked.map_or_else(|| line.to_owned(), |(before, _)| format!("{before} in TIME\n"))
}

/// A line without the number of bytes stored, unless it is none: times compress to a byte or two more or less.
fn without_stored(line: &str) -> String {
    let of_prune =
        ["remaining:", "to delete:", "total prune:", "to repack:", "this removes:", "unused size", "deleted "];
    if of_prune.iter().any(|begin| line.starts_with(begin)) && line.contains(" blobs / ") {
        return line.split(" blobs / ").next().unwrap_or_default().to_owned() + " blobs\n";
    }
    let masked = line.split_once(" (").and_then(|(before, rest)| {
        let (size, after) = rest.split_once(" stored)")?;
        // Pages hold numbers of inodes, which are of any length.
        let added = before.strip_prefix("Added to the repository: ").is_some_and(|added| added != "0 B");
        let before = if added { "Added to the repository: SIZE" } else { before };
        (size != "0 B").then(|| format!("{before} (SIZE stored){after}"))
    });
    masked.unwrap_or_else(|| line.to_owned())
}
