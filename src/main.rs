//! The program `orlop`: everything is in the library's `cli` room.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(orlop::cli::run(std::env::args_os()))
}
