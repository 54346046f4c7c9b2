//! The program from outside, with repositories: what people type, and what they see.

#[path = "support/noise.rs"]
mod noise;
#[path = "cli/world.rs"]
mod world;

#[path = "cli/bad_inputs.rs"]
mod bad_inputs;
#[path = "cli/changed.rs"]
mod changed;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/copy.rs"]
mod copy;
#[path = "cli/disks.rs"]
mod disks;
#[path = "cli/dot.rs"]
mod dot;
#[path = "cli/fanout.rs"]
mod fanout;
#[path = "cli/fidelity.rs"]
mod fidelity;
#[path = "cli/finding.rs"]
mod finding;
#[path = "cli/flags.rs"]
mod flags;
#[path = "cli/generate.rs"]
mod generate;
#[path = "cli/hooks.rs"]
mod hooks;
#[path = "cli/interrupted.rs"]
mod interrupted;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/moved.rs"]
mod moved;
#[path = "cli/named.rs"]
mod named;
#[path = "cli/objects.rs"]
mod objects;
#[path = "cli/past.rs"]
mod past;
#[path = "cli/prune.rs"]
mod prune;
#[path = "cli/quickstart.rs"]
mod quickstart;
#[path = "cli/remake.rs"]
mod remake;
#[path = "cli/retention.rs"]
mod retention;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/sources.rs"]
mod sources;
#[path = "cli/targets.rs"]
mod targets;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/transcript.rs"]
mod transcript;
#[path = "cli/vanishing.rs"]
mod vanishing;
#[path = "cli/wire.rs"]
mod wire;
