//! Metadata of what was restored, and what of it could not be brought back.

use std::sync::atomic::Ordering::Relaxed;

use super::Run;
use crate::format::pack;
use crate::model::Node;
use crate::model::ext::Extras;
use crate::target::{Applied, Object, Withheld, apply_metadata};

/// Why something was withheld.
pub(super) const WITHHELD: &str = "only root restores it, from a snapshot that the owner's key signed";

/// What of one file is not as it was.
struct Lack {
    slug: &'static str,
    during: &'static str,
    /// Nobody could do better here.
    limit: bool,
    what: String,
}

impl Run<'_> {
    pub(super) fn metadata(&self, object: &Object<'_>, node: &Node, path: &dyn Fn() -> Vec<u8>) {
        let mut lost = 0;
        let (mut extras, wrong) = Extras::from_ext(&node.ext, |id, _| {
            let value = self.reader.fetch(pack::Kind::Data, id).map(|b| b.to_vec()).ok();
            lost += usize::from(value.is_none());
            value
        });
        extras.xattrs.retain(|x| self.options.xattrs.wants(&x.name));
        self.births.fetch_add(u64::from(extras.btime.is_some()), Relaxed);
        let applied = apply_metadata(object, node, &extras, &self.policy);
        if lost == 0 && wrong.is_empty() && applied.is_complete() {
            return;
        }
        let path = self.shown(&path());
        if lost > 0 {
            self.cx.problem("damaged", &path, "read", format!("{lost} extended attributes are lost"));
        }
        for e in wrong {
            self.cx.problem("damaged", &path, "decode", e.to_string());
        }
        self.tell_lacks(&path, applied);
    }

    /// Tell what of the metadata is not as it was: of each kind once, that is, once for each file.
    fn tell_lacks(&self, path: &[u8], applied: Applied) {
        let mut kinds: Vec<Lack> = Vec::new();
        let mut note = |slug, during, limit, what: String| match kinds.iter_mut().find(|k| k.slug == slug) {
            Some(k) => {
                k.limit &= limit;
                k.what += &format!("; {what}");
            }
            None => kinds.push(Lack { slug, during, limit, what }),
        };
        let named = |xattr: &[u8], what: &str| match xattr {
            [] => what.to_owned(),
            name => format!("{}: {what}", String::from_utf8_lossy(name)),
        };
        for f in &applied.failures {
            note(f.slug(), f.during, f.is_limit(), named(&f.xattr, &f.why.to_string()));
        }
        for w in &applied.withheld {
            let what = if let Withheld::Xattr(name) = w { named(name, WITHHELD) } else { WITHHELD.to_owned() };
            note(w.slug(), "set", true, what);
        }
        for k in kinds {
            match k.limit {
                true => self.cx.lost(k.slug, path, k.during, k.what),
                false => self.cx.problem(k.slug, path, k.during, k.what),
            }
        }
    }
}
