//! Garbage collection, every interleaving of it in small worlds: no order of requests, no delay, no
//! crash and no sleeper loses what somebody was told is kept.
//!
//! `--ignored` looks at larger worlds. Each rule of the protocol is left out once, and then something
//! is lost: `format-spec/81-model.md` has the table, which `UPDATE=1` writes.

#[path = "model/state.rs"]
mod state;
#[path = "model/world.rs"]
mod world;

use std::time::{Duration, Instant};

use state::*;
use stateright::{Checker, HasDiscoveries, Model, Property};
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
        beats: 1,
        tries: 1,
        crashes: 0,
        repack: false,
        late_puts: true,
        bury: true,
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
            clients: vec![0b101, 0b110],
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

fn search(world: World, limit: Duration) -> (bool, usize, Option<String>) {
    let name = world.name;
    let began = Instant::now();
    let checker = world.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).timeout(limit).spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().next();
    let told = found.map(|(property, path)| {
        let steps: Vec<String> = path.into_actions().iter().map(|a| format!("  {a:?}")).collect();
        format!("{property}:\n{}", steps.join("\n"))
    });
    let done = checker.is_done();
    println!(
        "{name}: {states} states in {:.1} s{}",
        began.elapsed().as_secs_f64(),
        if done { "" } else { ", not all" }
    );
    (done, states, told)
}

#[test]
fn nothing_is_lost_in_any_order() {
    for world in worlds() {
        let name = world.name;
        let (_, states, lost) = search(world, Duration::from_secs(600));
        assert!(states > 1000, "{name}");
        if let Some(lost) = lost {
            panic!("{name}: {lost}");
        }
    }
}
