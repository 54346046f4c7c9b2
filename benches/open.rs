//! How long it takes until a repository is open: with a password, with a key file.

mod common;
#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;

use common::{median, tell_count};
use orlop::crypto::Secret;
use orlop::format::keys::Credential;
use orlop::repo::{self, InitOptions};
use orlop::storage::{LocalStorage, Storage};

type Way = (&'static str, fn() -> Credential);

fn main() {
    let place = tempfile::tempdir().unwrap();
    let credentials: [Way; 3] = [
        ("with a password", || Credential::Password(b"correct horse".to_vec().into())),
        ("with a key file", || Credential::Raw(Secret::new([7; 32]))),
        ("without any secret", || Credential::Nothing),
    ];
    for (what, credential) in credentials {
        let path = place.path().join(what);
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&path).unwrap());
        let options = InitOptions {
            credential: credential(),
            recovery: true,
            compression: 3,
            suite: None,
            undelete_window: orlop::repo::UNDELETE_WINDOW,
            mirror_of: None,
            cut_like: None,
        };
        repo::init(&storage, &options).unwrap();
        let time = median(9, || (), |()| drop(repo::open(storage.clone(), &credential(), None).unwrap()));
        tell_count(&format!("open {what}"), time, 1);
    }
}
