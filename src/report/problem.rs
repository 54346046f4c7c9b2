//! An error as people see it: what happened, while doing what, why, and what to try.
//!
//! ```text
//! error[damaged]: pack 7f3a… is not what it claims to be
//!   while reading snapshot 91b0…
//!   caused by: sealed frame 14 does not authenticate
//! hint: `orlop check` says what else is affected
//! more: `orlop explain damaged`
//! ```

use super::Style;
use super::escape::{Names, harmless_lines};
use crate::error::{Error, ErrorKind};

/// The whole message, with a line end.
pub fn render(error: &Error, style: Style) -> String {
    let safe = |text: &str| match style.names {
        Names::Raw => text.to_owned(),
        Names::Escaped => harmless_lines(text),
    };
    let heading = format!("error[{}]:", error.kind().slug());
    let mut out = format!("{} {}\n", style.strong(&heading), safe(error.what()));
    for doing in error.context() {
        let doing = safe(doing);
        let lead = if doing.starts_with("while ") { "" } else { "while " };
        out.push_str(&format!("  {lead}{doing}\n"));
    }
    for cause in causes(error) {
        out.push_str(&format!("  caused by: {}\n", indent(&safe(&cause))));
    }
    for hint in error.hints() {
        out.push_str(&format!("{} {}\n", style.strong("hint:"), safe(hint)));
    }
    if error.kind() != ErrorKind::Cancelled {
        out.push_str(&format!("more: `orlop explain {}`\n", error.kind().slug()));
    }
    out
}

/// The chain of causes, outermost first.
pub fn causes(error: &Error) -> Vec<String> {
    let mut out = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        out.push(match cause.downcast_ref::<Error>() {
            Some(ours) => ours.what().to_owned(),
            None => cause.to_string(),
        });
        next = cause.source();
    }
    out
}

fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Error {
        let inner = Error::new(ErrorKind::Storage, "the inner thing").because("disk\nfull");
        Error::new(ErrorKind::Damaged, "pack \x1b[31m is bad")
            .because(inner)
            .doing("reading snapshot 1f")
            .doing("reading snapshot 1f")
            .doing("while checking")
            .hint("run `orlop check`")
    }

    #[test]
    fn every_part_has_its_line() {
        let style = Style { names: Names::Escaped, color: false };
        assert_eq!(
            render(&sample(), style),
            "error[damaged]: pack \\x1b[31m is bad\n  while reading snapshot 1f\n  while checking\n  \
             caused by: the inner thing\n  caused by: disk\n    full\nhint: run `orlop check`\nmore: `orlop explain damaged`\n"
        );
    }

    #[test]
    fn colour_marks_headings_only() {
        let style = Style { names: Names::Raw, color: true };
        let text = render(&Error::cancelled(), style);
        assert_eq!(text, "\x1b[1merror[cancelled]:\x1b[0m stopped on request\n");
    }
}
