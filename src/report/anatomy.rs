//! The bytes of an object with what they mean.

use serde::Serialize;

use super::wire;

/// A field.
#[derive(Debug, Serialize)]
pub struct Field<'a> {
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it has.
    pub length: usize,
    /// Its name.
    pub field: &'a str,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<&'a str>,
    /// What that means.
    pub meaning: &'a str,
}

/// What was found out about a file.
#[derive(Debug, Serialize)]
pub struct Anatomy<'a> {
    /// The file, or the name of the object.
    pub object: &'a str,
    /// Its length.
    pub length: u64,
    /// In order.
    pub fields: Vec<Field<'a>>,
    /// What its sealed parts say, if they were opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<&'a str>,
}

/// Lines, and below them what was sealed.
pub fn text(a: &Anatomy<'_>) -> String {
    let mut out = format!("{}: {} bytes\n", a.object, a.length);
    for f in &a.fields {
        let shown = [f.value, Some(f.meaning)].into_iter().flatten().filter(|t| !t.is_empty());
        let shown: Vec<&str> = shown.collect();
        out += &format!("{:08x} {:>9}  {:14} {}\n", f.offset, f.length, f.field, shown.join(": "));
    }
    if let Some(opened) = a.opened {
        out += &format!("\nopened:\n{}\n", opened.trim_end());
    }
    out
}

/// One JSON document.
pub fn json(a: &Anatomy<'_>) -> String {
    wire::line(a)
}
