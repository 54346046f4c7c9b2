//! Every vector does what it says, is what the generator makes, and none is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use crate::vector::{Vector, directory};
use crate::{cases, run};

#[test]
fn vectors_are_what_the_generator_makes() {
    let made = cases::all();
    let names: BTreeSet<_> = made.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(names.len(), made.len(), "two vectors of one name");
    if std::env::var_os("UPDATE").is_some() {
        let _ = std::fs::remove_dir_all(directory());
        for v in &made {
            let path = directory().join(format!("{}.txt", v.path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, v.print()).unwrap();
        }
    }
    let there = Vector::all();
    let there_names: BTreeSet<_> = there.iter().map(|v| v.path.as_str()).collect();
    assert_eq!(there_names, names, "UPDATE=1 writes them anew");
    for v in &made {
        let path = directory().join(format!("{}.txt", v.path));
        assert_eq!(std::fs::read_to_string(path).unwrap(), v.print(), "{}: UPDATE=1 writes it anew", v.path);
    }
}

#[test]
fn every_vector_does_what_it_says() {
    let mut wrong = Vec::new();
    for v in cases::all() {
        let (want, got) = (v.get("expect"), run::run(&v));
        let (said, gives) = match &got {
            Ok(gives) => ("ok", gives.as_deref()),
            Err(e) => (run::kind(e), None),
        };
        if said != want || (want == "ok" && v.find("gives") != gives) {
            wrong.push(format!("{}: expected {want}, got {got:?}", v.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refusals_are_most_of_it() {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for v in Vector::all() {
        let c = counts.entry(v.get("object").into()).or_default();
        if v.get("expect") == "ok" { c.0 += 1 } else { c.1 += 1 }
    }
    // Known answers are no stored objects: there is nothing to refuse.
    counts.retain(|object, _| !run::KNOWN_ANSWERS.contains(&object.as_str()));
    counts.retain(|_, (ok, refused)| *ok == 0 || *refused < 5 * *ok);
    assert!(counts.is_empty(), "accepted and refused, too few refusals: {counts:?}");
}
