//! Hooks: what runs when, what it is told, and what becomes of one that hangs, fails or is missing.

use std::time::{Duration, Instant};

use super::world::{PASSWORD, Ran, World};

/// A world whose only profile has these hooks. `note NAME` appends to a file what hooks are told.
fn world(hooks: &str) -> World {
    let world = World::with_password();
    let here = world.path("").display().to_string();
    let here = here.trim_end_matches('/');
    world.write("note", format!("echo \"$1: hook=$ORLOP_HOOK code=$ORLOP_EXIT_CODE id=${{ORLOP_SNAPSHOT_ID:+yes}} error=${{ORLOP_ERROR:+yes}}\" >> {here}/told\n"));
    let note = |name: &str| format!("[\"sh\", \"{here}/note\", \"{name}\"]");
    let mut file = format!(
        "[profiles.p]\nrepo = \"{here}/repo\"\n[profiles.p.backup]\nsources = [\"{here}/src\"]\n[profiles.p.hooks]\n"
    );
    for name in ["before", "after", "failed", "finally"] {
        if !hooks.contains(&format!("{name} =")) {
            file += &format!("{name} = {}\n", note(name));
        }
    }
    world.write("orlop.toml", file + &hooks.replace('@', here));
    world
}

fn backup(world: &World, more: &str) -> Ran {
    world.run_with(&format!("-P p --config @/orlop.toml backup {more}"), &[("ORLOP_REPOSITORY", "")])
}

fn told(world: &World) -> String {
    std::fs::read_to_string(world.path("told")).unwrap_or_default()
}

#[test]
fn around_a_backup_that_goes_well() {
    let world = world("");
    let ran = backup(&world, "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = "before: hook=before code= id= error=\nafter: hook=after code=0 id=yes error=\n\
                    finally: hook=finally code=0 id=yes error=\n";
    assert_eq!(told(&world), expected);
    backup(&world, "--dry-run");
    assert_eq!(told(&world), expected, "a dry run runs none");
    let mut inside = world.command("-P p --config @/orlop.toml backup");
    assert!(inside.env("ORLOP_HOOK", "before").output().expect("it starts").status.success());
    assert_eq!(told(&world), expected, "a backup in a hook does not run them again");
}

#[test]
fn around_a_backup_in_part_and_one_that_fails() {
    let world = world("");
    let ran = backup(&world, "@/src @/missing");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(told(&world).contains("after: hook=after code=3 id=yes"), "{}", told(&world));
    std::fs::remove_file(world.path("told")).expect("ours");
    std::fs::rename(world.path("repo"), world.path("gone")).expect("ours");
    assert_eq!(backup(&world, "").code, 10);
    let told = told(&world);
    assert!(told.contains("failed: hook=failed code=10 id= error=yes\nfinally: hook=finally code=10"), "{told}");
    assert!(!told.contains("after"), "{told}");
}

#[test]
fn before_that_fails_stops_the_backup() {
    for (hook, message) in [
        (
            "before = [[\"true\"], [\"sh\", \"-c\", \"exit 7\"], [\"touch\", \"@/never\"]]\n",
            "\"sh\" failed with exit code 7",
        ),
        ("before = [\"/no/such/program\"]\n", "there is no program \"/no/such/program\""),
        ("before = [\"@/src/one.txt\"]\n", "cannot be started"),
        ("before = [\"sh\", \"-c\", \"kill -9 $$\"]\n", "was ended by signal 9"),
    ] {
        let world = world(hook);
        let ran = backup(&world, "");
        assert_eq!(ran.code, 1, "{hook}{}", ran.err);
        for needle in [message, "`before` failed", "nothing was backed up", "orlop.toml:"] {
            assert!(ran.err.contains(needle), "no {needle:?} in {}", ran.err);
        }
        assert!(world.snapshots().is_empty() && !world.path("never").exists(), "{hook}");
        assert!(told(&world).contains("failed: hook=failed code=1"), "{}", told(&world));
        assert!(told(&world).contains("finally: "), "{}", told(&world));
    }
}

#[test]
fn later_ones_that_fail_make_it_partial() {
    for name in ["after", "finally"] {
        let world = world(&format!("{name} = [[\"false\"], [\"touch\", \"@/next\"]]\n"));
        let ran = backup(&world, "");
        assert_eq!(ran.code, 3, "{name}: {}", ran.err);
        assert!(
            ran.err.contains("\"false\" failed with exit code 1") && ran.err.contains("or a hook failed"),
            "{}",
            ran.err
        );
        assert_eq!(world.snapshots().len(), 1, "{name}: the snapshot stands");
        assert!(world.path("next").exists(), "the next one runs");
    }
    let world = world("failed = [\"false\"]\nbefore = [\"sh\", \"-c\", \"exit 9\"]\n");
    let ran = backup(&world, "");
    assert!(ran.code == 1 && ran.err.contains("exit code 9"), "the first failure decides: {}", ran.err);
}

#[test]
fn one_that_hangs_is_ended_with_all_it_started() {
    let world = world(
        "timeout = \"3s\"\nbefore = [\"sh\", \"-c\", \"trap '' TERM; sleep 300 & echo $! > @/pid; wait; sleep 300\"]\n",
    );
    let begun = Instant::now();
    let ran = backup(&world, "");
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(ran.err.contains("was not done after 3 s") && ran.err.contains("`timeout`"), "{}", ran.err);
    let pid = std::fs::read_to_string(world.path("pid")).expect("it was started");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "its child is gone: {stat}");
    assert!(world.snapshots().is_empty());
}

#[test]
fn secrets_and_standard_output_are_not_theirs() {
    let world = world("before = [\"sh\", \"-c\", \"env > @/env; echo from the hook\"]\n");
    let ran = backup(&world, "--json");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("from the hook") && ran.out.lines().all(|l| l.starts_with('{')), "{}", ran.out);
    let env = std::fs::read_to_string(world.path("env")).expect("it was written");
    assert!(!env.contains(PASSWORD) && env.contains("ORLOP_PROFILE=p"), "{env}");
    assert!(env.contains(&format!("ORLOP_REPOSITORY={}", world.path("repo").display())), "{env}");
}

#[test]
fn stopping_ends_a_hook_that_runs() {
    let world = world("before = [\"sh\", \"-c\", \"touch @/started; sleep 300\"]\n");
    let mut command = world.command("-P p --config @/orlop.toml backup");
    let child = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while !world.path("started").exists() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let ran = Ran::of(child.wait_with_output().expect("ours"));
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(told(&world).contains("failed: hook=failed code=130"), "{}", told(&world));
}
