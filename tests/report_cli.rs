//! The program from outside: what works without any repository.

use std::process::{Command, Output};

fn orlop(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    command.args(line.split_whitespace()).env_clear().output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it is UTF-8")
}

#[test]
fn version_and_help() {
    let text = stdout(&orlop("version"));
    assert!(text.starts_with("orlop "), "{text}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&orlop("--json version"))).expect("one JSON document");
    assert_eq!(json["message_type"], "version");
    let bare = orlop("");
    assert_eq!((code(&bare), stderr(&bare).as_str()), (0, ""));
    for command in "quickstart config generate init backup snapshots ls dump restore check key list cat".split(' ') {
        let help = orlop(&format!("{command} --help"));
        assert_eq!(code(&help), 0);
        assert!(stdout(&help).contains("Usage: orlop"), "{command}");
        assert!(stdout(&bare).contains(command), "{command}");
    }
}

#[test]
fn restic_commands_are_answered_by_name() {
    let mount = orlop("-r /x mount /mnt --allow-other");
    assert_eq!(code(&mount), 1);
    assert!(stderr(&mount).contains("`mount`, which in restic"), "{}", stderr(&mount));
    let json = orlop("forget --json");
    let message: serde_json::Value = serde_json::from_str(&stderr(&json)).expect("a JSON line");
    assert_eq!((&message["message_type"], &message["code"]), (&"exit_error".into(), &1.into()));
}

#[test]
fn mistakes_have_exit_code_1_as_in_restic() {
    for line in ["frobnicate", "backup --frobnicate", "ls", "--limit-upload 1 backup x"] {
        assert_eq!(code(&orlop(line)), 1, "{line}");
    }
    assert!(stderr(&orlop("bakup")).contains("'backup'"), "a suggestion");
}
