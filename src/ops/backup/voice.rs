//! What is told of one repository among several: with its name.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::event::{Event, Notice, Observer, Problem};

/// Puts a repository's name to what is told of it, and counts its trouble apart from that of the source.
pub struct Voice<'a> {
    inner: &'a dyn Observer,
    /// How it is named; not at all where it is the only one.
    pub name: Option<&'a str>,
    /// Problems that are this repository's alone.
    pub problems: AtomicU64,
}

impl<'a> Voice<'a> {
    /// Tells `inner`.
    pub fn new(inner: &'a dyn Observer, name: Option<&'a str>) -> Self {
        Self { inner, name, problems: AtomicU64::new(0) }
    }
}

impl Observer for Voice<'_> {
    fn on(&self, event: &Event<'_>) {
        if matches!(event, Event::Problem(_)) {
            self.problems.fetch_add(1, Relaxed);
        }
        match (self.name, event) {
            (Some(name), Event::Notice(n)) => {
                let message = format!("{name}: {}", n.message);
                self.inner.on(&Event::Notice(&Notice { slug: n.slug, message }));
            }
            // What is about the repository as a whole names it as its subject.
            (Some(name), Event::Problem(p)) if p.subject != name.as_bytes() => {
                let message = format!("{}, in {name}", p.message);
                self.inner.on(&Event::Problem(&Problem { message, ..(*p).clone() }));
            }
            _ => self.inner.on(event),
        }
    }
    fn wants_items(&self) -> bool {
        self.inner.wants_items()
    }
}
