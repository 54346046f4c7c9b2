//! Garbage collection, every interleaving of it in small worlds: no order of requests, no delay, no
//! crash and no sleeper loses what somebody was told is kept.
//!
//! Larger worlds are played in at random; `--ignored` does so for longer. Each rule of the protocol is left
//! out once, and then something is lost: `format-spec/81-model.md` has the table, which `UPDATE=1` writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orlop_model::*;
use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

/// The worlds that are searched through, from the smallest on.
fn worlds() -> Vec<World> {
    let base = World {
        name: "one backup, one collector",
        delays: false,
        slow_listings: true,
        slow_looks: false,
        clients: vec![0b101],
        collectors: 1,
        plans: 2,
        finishes: 2,
        checkpoints: 0,
        beats: 1,
        tries: 1,
        crashes: 0,
        repack: false,
        late_puts: true,
        bury: true,
        planned: false,
        without: Without::Nothing,
    };
    vec![
        World { plans: 1, finishes: 1, ..base.clone() },
        World {
            name: "one backup, one collector, what is written is seen later",
            delays: true,
            slow_listings: false,
            plans: 1,
            finishes: 1,
            tries: 0,
            late_puts: false,
            bury: false,
            ..base.clone()
        },
        World {
            name: "one backup that did not see a plan",
            planned: true,
            plans: 1,
            slow_listings: false,
            bury: false,
            ..base.clone()
        },
        World {
            name: "two backups, one of which did not see a plan",
            clients: vec![0b101, 0b110],
            planned: true,
            plans: 0,
            finishes: 1,
            tries: 0,
            slow_listings: false,
            late_puts: false,
            bury: false,
            ..base.clone()
        },
        World {
            name: "a backup that looks for a parent, and one that did not see a plan",
            clients: vec![0b101, 0b110],
            planned: true,
            plans: 0,
            finishes: 1,
            tries: 0,
            slow_listings: false,
            slow_looks: true,
            late_puts: false,
            ..base.clone()
        },
        World {
            name: "a backup that looks for a parent, one that did not see a plan, and a log that is repeated",
            clients: vec![0b101, 0b110],
            planned: true,
            plans: 0,
            finishes: 1,
            checkpoints: 1,
            beats: 0,
            tries: 0,
            slow_listings: false,
            slow_looks: true,
            ..base.clone()
        },
        World {
            name: "one backup, one collector, and one that repeats the log",
            collectors: 2,
            plans: 1,
            finishes: 1,
            checkpoints: 1,
            beats: 2,
            tries: 0,
            slow_listings: false,
            ..base.clone()
        },
        World {
            name: "one backup that did not see a plan, and a log that is repeated twice",
            planned: true,
            plans: 0,
            finishes: 1,
            checkpoints: 2,
            bury: false,
            ..base.clone()
        },
        World {
            name: "one backup, two collectors that repack",
            collectors: 2,
            plans: 1,
            finishes: 1,
            tries: 0,
            slow_listings: false,
            late_puts: false,
            bury: false,
            repack: true,
            ..base.clone()
        },
        World {
            name: "two backups, one collector",
            clients: vec![0b101, 0b1010],
            plans: 1,
            finishes: 1,
            tries: 0,
            slow_listings: false,
            late_puts: false,
            bury: false,
            ..base
        },
    ]
}

/// More than can be searched through: it is played in, at random.
fn large_world() -> World {
    World {
        name: "two backups, two collectors, two rounds",
        delays: false,
        slow_listings: true,
        slow_looks: true,
        clients: vec![0b101, 0b110],
        collectors: 2,
        plans: 2,
        finishes: 2,
        checkpoints: 0,
        beats: 2,
        tries: 1,
        crashes: 1,
        repack: true,
        late_puts: true,
        bury: true,
        planned: false,
        without: Without::Nothing,
    }
}

/// The same in kinds: where what is written is seen later, where a backup did not see a plan, and where
/// the log is repeated.
fn large_worlds() -> [World; 4] {
    let all = large_world();
    [
        World { name: "the same, what is written is seen later", delays: true, slow_listings: false, ..all.clone() },
        World { name: "the same, behind a plan", planned: true, ..all.clone() },
        World { name: "the same, and a log that is repeated", checkpoints: 2, ..all.clone() },
        all,
    ]
}

/// What a search came to.
struct Searched {
    states: usize,
    /// A property that does not hold, and the way there.
    lost: Option<(&'static str, usize, String)>,
    events: u8,
}

fn search(world: World, threads: usize, most: usize) -> Searched {
    let (name, began) = (world.name, Instant::now());
    let checker = world.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_state_count(most).spawn_bfs().join();
    let states = checker.unique_state_count();
    let all = if states < most { "" } else { ", not all there are" };
    println!("{name}: {states} states in {:.1} s{all}", began.elapsed().as_secs_f64());
    Searched::of(&checker, states)
}

impl Searched {
    fn of(checker: &impl Checker<World>, states: usize) -> Self {
        let mut out = Self { states, lost: None, events: 0 };
        // In an order of their own: one state may break several.
        for (property, path) in checker.discoveries().into_iter().collect::<BTreeMap<_, _>>().into_iter().rev() {
            match EVENTS.iter().find(|(_, name)| *name == property) {
                Some((event, _)) => out.events |= event,
                None => {
                    let steps: Vec<String> = path.into_actions().iter().map(|a| format!("  {a:?}")).collect();
                    out.lost = Some((property, steps.len(), steps.join("\n")));
                }
            }
        }
        out
    }
}

/// Play at random for so long.
fn play(world: World, time: Duration) -> Searched {
    let name = world.name;
    let checker = world.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).timeout(time);
    let checker = checker.spawn_simulation(1, UniformChooser).join();
    let out = Searched::of(&checker, checker.state_count());
    println!(
        "{name}: {} steps at random in {} s, at most {} in one play",
        out.states,
        time.as_secs(),
        checker.max_depth()
    );
    out
}

/// Nothing was lost, and everything happened that should.
fn nothing_is_lost(all: impl Iterator<Item = (&'static str, Searched)>) {
    let mut events = 0;
    for (name, found) in all {
        assert!(found.states > 1000, "{name}");
        events |= found.events;
        if let Some((property, _, way)) = found.lost {
            panic!("{name}: not {property}:\n{way}");
        }
    }
    for (event, name) in EVENTS {
        assert!(events & event != 0, "this never happens: {name}");
    }
}

fn nothing_is_lost_at_random(time: Duration) {
    nothing_is_lost(large_worlds().into_iter().map(|w| (w.name, play(w, time))));
}

#[test]
fn nothing_is_lost_at_random_in_large_worlds() {
    nothing_is_lost_at_random(Duration::from_secs(5));
}

#[test]
#[ignore = "takes 20 minutes"]
fn nothing_is_lost_in_long_plays_in_large_worlds() {
    nothing_is_lost_at_random(Duration::from_secs(300));
}

#[test]
fn nothing_is_lost_in_any_order() {
    nothing_is_lost(worlds().into_iter().map(|w| (w.name, search(w, 2, 1_500_000))));
}

#[test]
#[ignore = "takes minutes and several gigabytes"]
fn nothing_is_lost_in_any_order_of_larger_worlds() {
    let more = |w: World| World { tries: 1, crashes: 1, slow_looks: true, bury: true, ..w };
    let all = worlds().into_iter().map(more).chain(large_worlds());
    nothing_is_lost(all.map(|w| (w.name, search(w, 2, 8_000_000))));
}

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../format-spec/81-model.md");
const BEGIN: &str = "<!-- mutations -->\n";
const END: &str = "<!-- end -->";

/// Each rule is needed: without it, something is lost.
#[test]
fn every_rule_is_needed() {
    let mut table = String::from("\n| left out | in the world of | what does not hold then |\n|---|---|---|\n");
    let mut useless = vec![];
    for (without, what) in RULES {
        println!("{what}");
        let found = worlds().into_iter().find_map(|world| {
            let name = world.name;
            let found = search(World { without, ..world }, 1, 5_000_000);
            found.lost.map(|(property, _, _)| (name, property))
        });
        let Some((name, property)) = found else {
            useless.push(what);
            continue;
        };
        table += &format!("| {what} | {name} | {property} |\n");
    }
    for without in SPARE {
        let lost = |world| search(World { without, ..world }, 1, 300_000).lost;
        assert!(worlds().into_iter().find_map(lost).is_none(), "{without:?} belongs into the table");
    }
    assert!(useless.is_empty(), "nothing is lost without {useless:#?}");
    let page = std::fs::read_to_string(TABLE).expect("the page is there");
    let (head, rest) = page.split_once(BEGIN).expect("the page has a table");
    let (old, tail) = rest.split_once(END).expect("the table ends");
    table += "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(TABLE, format!("{head}{BEGIN}{table}{END}{tail}")).expect("writable");
    } else {
        assert_eq!(old, table, "UPDATE=1 writes the table");
    }
}
