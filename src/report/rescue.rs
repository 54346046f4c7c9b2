//! What `rescue` came to, in words and as JSON.

use serde::Serialize;

use super::escape::Names;
use super::units::{bytes, count};
use super::wire;

/// An object that is not as it was, and what became of it, as programs know it.
#[derive(Debug, Clone, Serialize)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// `brought_back`, `repaired`, `key_stays`, `lost`.
    pub became: &'static str,
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "they are the keys of the JSON and say it")]
pub struct Rescue {
    pub dry_run: bool,
    pub as_of: String,
    pub objects: u64,
    pub intact: u64,
    pub later: u64,
    pub brought_back: u64,
    pub repaired: u64,
    pub keys_that_stay: u64,
    pub lost: u64,
    pub bytes: u64,
    pub changed: Vec<Object>,
}

/// In words.
pub fn text(r: &Rescue) -> String {
    let objects = |n| count(n, "object", "objects");
    let mut out = format!("{} were there at {}: {} are as they were\n", objects(r.objects), r.as_of, r.intact);
    let (were, would) = if r.dry_run { ("would be", "would be") } else { ("are", "are") };
    if r.brought_back > 0 {
        out += &format!("deleted since, and {were} there again: {}\n", objects(r.brought_back));
    }
    if r.repaired > 0 {
        out += &format!("damaged or overwritten since, and {would} as they were: {}\n", objects(r.repaired));
    }
    if r.lost > 0 {
        out += &format!("lost, since no version of them is whole: {}\n", objects(r.lost));
    }
    if r.later > 0 {
        out += &format!("came later, and stay as they are: {}\n", objects(r.later));
    }
    if r.keys_that_stay > 0 {
        let keys = count(r.keys_that_stay, "object of key slots", "objects of key slots");
        out += &format!("{keys} that were removed or changed since stay so: `--keys` brings them back\n");
    }
    let changes = r.brought_back + r.repaired;
    out += &match (changes, r.dry_run) {
        (0, _) => "there is nothing to bring back\n".to_owned(),
        (_, true) => format!("{} would be written\n", bytes(r.bytes)),
        (_, false) => format!("{} were written; now run `orlop check --read-data`\n", bytes(r.bytes)),
    };
    out
}

/// Every object that is not as it was.
pub fn names(r: &Rescue, names: Names) -> String {
    r.changed.iter().map(|o| format!("{:<12} {}\n", o.became.replace('_', " "), names.text(&o.name))).collect()
}

/// For programs.
pub fn json(r: &Rescue) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        message_type: &'static str,
        #[serde(flatten)]
        rescue: &'a Rescue,
    }
    wire::line(&Line { message_type: "rescue", rescue: r })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_in_words_and_for_programs() {
        let mut r = Rescue { as_of: "then".into(), objects: 9, intact: 4, ..Rescue::default() };
        assert!(text(&r).ends_with("nothing to bring back\n"), "{}", text(&r));
        (r.brought_back, r.repaired, r.lost, r.later, r.keys_that_stay, r.bytes) = (1, 2, 1, 3, 1, 2048);
        r.changed.push(Object { name: "packs/ab/x".into(), became: "brought_back" });
        let said = text(&r);
        for part in ["9 objects were there at then: 4", "deleted since", "overwritten since", "lost", "came later"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains("--keys") && said.ends_with("now run `orlop check --read-data`\n"), "{said}");
        assert_eq!(names(&r, Names::Raw), "brought back packs/ab/x\n");
        r.dry_run = true;
        assert!(text(&r).contains("would be") && !text(&r).contains("now run"), "{}", text(&r));
        let json: serde_json::Value = serde_json::from_str(&json(&r)).expect("JSON");
        assert_eq!((&json["message_type"], &json["changed"][0]["became"]), (&"rescue".into(), &"brought_back".into()));
    }
}
