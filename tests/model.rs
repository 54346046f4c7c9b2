//! Garbage collection, every interleaving of it in small worlds: no order of requests, no delay, no
//! crash and no sleeper loses what somebody was told is kept.
//!
//! `--ignored` looks at larger worlds. Each rule of the protocol is left out once, and then something
//! is lost: `format-spec/81-model.md` has the table, which `UPDATE=1` writes.

#[path = "model/state.rs"]
mod state;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};
use world::*;

/// The worlds that are searched through, from the smallest on.
fn worlds() -> Vec<World> {
    let base = World {
        name: "one backup, one collector",
        delays: false,
        slow_listings: true,
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
    let done = states < most;
    let mut out = Searched { states, lost: None, events: 0 };
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
    let all = if done { "" } else { ", not all there are" };
    println!("{name}: {states} states in {:.1} s{all}", began.elapsed().as_secs_f64());
    out
}

fn nothing_is_lost(most: usize) {
    let mut events = 0;
    for world in worlds() {
        let name = world.name;
        let found = search(world, 2, most);
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

#[test]
fn nothing_is_lost_in_any_order() {
    nothing_is_lost(1_500_000);
}

#[test]
#[ignore = "takes half an hour and several gigabytes"]
fn nothing_is_lost_in_any_order_of_larger_worlds() {
    nothing_is_lost(30_000_000);
}

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/format-spec/81-model.md");
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
