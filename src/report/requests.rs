//! What was asked of the storage, by verb and by kind of object.

use serde::Serialize;

use super::units::count;

/// A verb, a kind of objects, and how often.
pub type Count = (&'static str, String, u64);

/// In words: a line for all, and one for each verb; nothing if nothing was asked.
pub fn text(counts: &[Count]) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let sum = |of: &mut dyn Iterator<Item = &Count>| of.map(|(.., n)| n).sum::<u64>();
    let mut out = format!("asked of the storage: {}\n", count(sum(&mut counts.iter()), "request", "requests"));
    for same in counts.chunk_by(|(a, ..), (b, ..)| a == b) {
        let Some((verb, ..)) = same.first() else { continue };
        let kinds: Vec<String> = same.iter().map(|(_, kind, n)| format!("{kind} {n}")).collect();
        out += &format!("  {verb:<6} {:>5}: {}\n", sum(&mut same.iter()), kinds.join(", "));
    }
    out
}

/// One of them, as JSON.
#[derive(Debug, Serialize)]
pub struct Row {
    verb: &'static str,
    kind: String,
    requests: u64,
}

/// For programs.
pub fn json(counts: &[Count]) -> Vec<Row> {
    counts.iter().map(|(verb, kind, n)| Row { verb, kind: kind.clone(), requests: *n }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_verb() {
        let counts = [("get", "gc".to_owned(), 2), ("list", "all".to_owned(), 1), ("list", "gc".to_owned(), 1)];
        let expected = "asked of the storage: 4 requests\n  get        2: gc 2\n  list       2: all 1, gc 1\n";
        assert_eq!(text(&counts), expected);
        assert_eq!(text(&[]), "");
        let row = serde_json::to_string(&json(&counts)[..1]).expect("plain");
        assert_eq!(row, r#"[{"verb":"get","kind":"gc","requests":2}]"#);
    }
}
