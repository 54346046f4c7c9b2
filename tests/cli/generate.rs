//! Man pages and completions: whole, and accepted by those who read them.

use std::process::Command;

use super::world::World;

const SHELLS: [(&str, &str); 5] =
    [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish"), ("elvish", "elvish"), ("powershell", "pwsh")];

#[test]
fn completions_know_every_command() {
    let world = World::new();
    for (shell, _) in SHELLS {
        let text = world.ok(&format!("generate --{shell}-completion -"));
        for word in ["quickstart", "backup", "exclude-larger-than", "password-file"] {
            assert!(text.contains(word), "{shell}: no {word}");
        }
        world.ok(&format!("generate --{shell}-completion @/file"));
        assert_eq!(std::fs::read_to_string(world.path("file")).expect("written"), text);
    }
    let err = world.fails("generate --bash-completion @/no/such/folder/x", 1);
    assert!(err.contains("writing") && err.contains("/no/such/folder/x"), "{err}");
    world.fails("generate --man @/no/such/folder", 1);
}

/// Shells that are there read what was written for them.
#[test]
fn shells_accept_their_completions() {
    let world = World::new();
    for (shell, program) in SHELLS {
        world.ok(&format!("generate --{shell}-completion @/file"));
        let mut check = Command::new(program);
        match shell {
            "powershell" => {
                check.args(["-NoProfile", "-Command", "$null = [scriptblock]::Create((Get-Content -Raw file))"])
            }
            "elvish" => check.args(["-compileonly", "file"]),
            _ => check.args(["-n", "file"]),
        };
        let Ok(output) = check.current_dir(world.path("")).output() else { continue };
        let err = String::from_utf8_lossy(&output.stderr);
        // Without a terminal elvish has no editor that could complete anything, and says so.
        let no_editor = shell == "elvish" && err.matches("rror: ").count() == 1 && err.contains("$edit:completion");
        assert!(output.status.success() || no_editor, "{shell}: {err}");
    }
    // And one is asked for real.
    world.ok("generate --bash-completion @/file");
    let ask = "source ./file; COMP_WORDS=(orlop quick); COMP_CWORD=1; COMP_LINE='orlop quick'; _orlop orlop quick orlop; echo ${COMPREPLY[@]}";
    let answer = Command::new("bash").args(["-c", ask]).current_dir(world.path("")).output().expect("bash is there");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "quickstart");
}

#[test]
fn man_pages_are_there_for_every_command() {
    let world = World::new();
    std::fs::create_dir(world.path("man")).expect("ours");
    world.ok("generate --man @/man");
    let page = |name: &str| {
        std::fs::read_to_string(world.path(&format!("man/{name}.1"))).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    for name in ["orlop", "orlop-backup", "orlop-quickstart", "orlop-key-add", "orlop-config-show"] {
        let text = page(name);
        assert!(text.contains(".TH") && text.contains(&name.replace('-', "\\-")), "{name}");
    }
    assert!(page("orlop-backup").contains("exclude\\-larger\\-than"));
    assert!(page("orlop-backup").contains("Examples:"));
    // Pages are read where there is nothing but ASCII, too.
    let mut man = Command::new("man");
    man.args(["--warnings", "-l", "man/orlop-backup.1"]).current_dir(world.path("")).env("LC_ALL", "C");
    if let Ok(output) = man.output() {
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && err.is_empty(), "{err}");
    }
}

/// What every command's help has.
#[test]
fn help_has_groups_and_examples() {
    use clap::CommandFactory;
    let mut root = orlop::cli::args::Cli::command().disable_help_subcommand(true);
    root.build();
    let mut todo = vec![root];
    while let Some(mut command) = todo.pop() {
        todo.extend(command.get_subcommands().cloned());
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        let leaf = command.get_subcommands().next().is_none();
        let simple = command.get_arguments().all(|a| a.is_global_set() || a.get_id() == "help");
        assert!(!leaf || simple || help.contains("Example"), "{name} has no examples:\n{help}");
    }
    let world = World::new();
    let help = world.ok("backup --help");
    for heading in
        ["What to back up:", "What to leave out:", "Repository and password:", "Global options:", "Examples:"]
    {
        assert!(help.contains(heading), "{heading}");
    }
    assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
}
