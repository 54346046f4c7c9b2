//! Pages on what goes wrong, from the one file that has them all.

const ALL: &str = include_str!("../docs/errors.md");

/// Every slug that has a page.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    sections().map(|(slug, _)| slug)
}

/// The page of a slug, without its heading.
pub fn page(slug: &str) -> Option<&'static str> {
    sections().find(|(known, _)| *known == slug).map(|(_, page)| page)
}

fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let parts = ALL.split("\n## ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(slug, page)| (slug.trim(), page.trim()))
}

/// The slugs in a line or more, for whoever does not know them.
pub fn list() -> String {
    slugs().map(|slug| format!("{slug}\n")).collect()
}
