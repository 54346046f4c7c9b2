//! Reasons, refusals, and what no other program can be asked about.

use std::sync::Arc;

use orlop::error::{Error, ErrorKind};
use orlop::event::ItemKind;
use orlop::plan::filter::{
    Case, Decision, GitRules, Head, IgnoreSettings, IgnoreStack, Level, Origin, Patterns, Selection, Tag, Verdict,
    WorkTree, read_pattern_file,
};

fn flags(patterns: &[&str], case: Case) -> Patterns {
    let given = patterns.iter().map(|p| (p.as_bytes().to_vec(), Origin::Flag("--exclude")));
    Patterns::compile(given, case).unwrap()
}

fn reason(decision: Decision<'_>) -> String {
    match decision {
        Decision::Keep => "keep".into(),
        Decision::Drop { rule } => rule.to_string(),
    }
}

#[test]
fn the_last_match_decides_and_is_named() {
    let file = read_pattern_file(b"/etc/ex", b"# c\n*.log\n!keep.log\n", &|_| None);
    let given = [(b"*.o".to_vec(), Origin::Flag("--exclude"))].into_iter().chain(file.patterns);
    let selection = Selection {
        exclude: Patterns::compile(given, Case::Sensitive).unwrap(),
        iexclude: flags(&["*.TMP"], Case::Insensitive),
        bytes_max: Some(10),
        ..Selection::default()
    };
    let level = selection.start();
    for (path, size, expected) in [
        ("/a/x.o", 0, "--exclude \"*.o\""),
        ("/a/x.log", 0, "/etc/ex:2 \"*.log\""),
        ("/a/keep.log", 0, "keep"),
        ("/a/x.Tmp", 0, "--exclude \"*.TMP\""),
        ("/a/x", 11, "it is larger than 10 bytes"),
        ("/a/x", 10, "keep"),
    ] {
        assert_eq!(reason(selection.decide(&level, path.as_bytes(), ItemKind::File, size)), expected, "{path}");
    }
    assert!(selection.decide(&level, b"/a/x", ItemKind::Dir, 4096).is_keep());
}

#[test]
fn every_bad_pattern_is_named_with_its_place() {
    let file = read_pattern_file(b"ex", b"ok\n!/a/x[\n", &|_| None);
    let given = [(b"[]".to_vec(), Origin::Flag("--exclude"))].into_iter().chain(file.patterns);
    let error = Error::from(Patterns::compile(given, Case::Sensitive).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("--exclude \"[]\": a ] in a class where a character is expected at byte 1"), "{text}");
    assert!(text.contains("ex:2 \"!/a/x[\": a class that is not closed at byte 5"), "{text}");
}

/// A list as generators write them must not cost a comparison per line and path.
#[test]
fn long_lists_are_filed() {
    let many: Vec<String> = (0..20_000).map(|n| format!("/home/user/{n}/cache")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["*.o", "node_modules"]).collect();
    let patterns = flags(&many, Case::Sensitive);
    let hits = (0..20_000).filter(|n| patterns.matches(format!("/home/user/{n}/data/x{}.o", n % 7).as_bytes())).count();
    assert_eq!(hits, 20_000);
    assert!(patterns.matches(b"/home/user/19999/cache/x"));
    assert!(!patterns.matches(b"/home/user/20000/cache/x"));
}

#[test]
fn deep_paths_and_many_wildcards() {
    let deep = "/a".repeat(500);
    assert!(flags(&["**/a/**/a/**/b"], Case::Sensitive).last_match(deep.as_bytes()).is_none());
    assert!(flags(&["/**/a/**/a/**/a"], Case::Sensitive).matches(deep.as_bytes()));
}

fn git(settings: GitRules) -> Arc<IgnoreStack> {
    let names = vec![b".skip".to_vec(), b".skip2".to_vec()];
    IgnoreStack::new(IgnoreSettings { git: settings, names, ..IgnoreSettings::default() })
}

/// `.git` with nothing in it.
fn top() -> Option<WorkTree> {
    Some(WorkTree::default())
}

fn says(stack: &IgnoreStack, path: &str, is_dir: bool) -> String {
    match stack.verdict(path.as_bytes(), is_dir) {
        Verdict::Silent => "-".into(),
        Verdict::Kept(rule) => format!("keep {rule}"),
        Verdict::Tracked(rule) => format!("tracked {rule}"),
        Verdict::Excluded(rule) => format!("drop {rule}"),
    }
}

#[test]
fn work_trees_begin_and_end() {
    let outside = git(GitRules::WorkTrees).enter(b"/h", &[(b".gitignore", b"*")], None);
    assert_eq!(says(&outside, "/h/x", false), "-", "no work tree, no rules");
    let everywhere = git(GitRules::Everywhere).enter(b"/h", &[(b".gitignore", b"*")], None);
    assert_eq!(says(&everywhere, "/h/x", false), "drop /h/.gitignore:1 \"*\"");

    let excludes = vec![(b"/h/w/.git/info/exclude".to_vec(), b"x".to_vec())];
    let work_tree = WorkTree { excludes, ..WorkTree::default() };
    let tree = outside.enter(b"/h/w", &[(b".gitignore", b"*.log\nout/\n")], Some(work_tree));
    assert_eq!(says(&tree, "/h/w/a.log", false), "drop /h/w/.gitignore:1 \"*.log\"");
    assert_eq!(says(&tree, "/h/w/x", false), "drop /h/w/.git/info/exclude:1 \"x\"");
    let inner = tree.enter(b"/h/w/sub", &[], top());
    assert_eq!(says(&inner, "/h/w/sub/a.log", false), "-", "another work tree has its own rules");
    let metadata = tree.enter(b"/h/w/.git", &[], None).enter(b"/h/w/.git/logs", &[(b".gitignore", b"*")], None);
    assert_eq!(says(&metadata, "/h/w/.git/logs/a.log", false), "-", "a repository is whole or worthless");
}

#[test]
fn below_the_excluded_nothing_comes_back_unless_named() {
    let tree = git(GitRules::WorkTrees).enter(b"/w", &[(b".gitignore", b"out/\n")], top());
    let out = tree.enter(b"/w/out", &[(b".gitignore", b"!*")], None);
    assert_eq!(says(&out, "/w/out/x", false), "drop /w/.gitignore:1 \"out/\"");
    let named = tree.enter_named(b"/w/out", &[(b".gitignore", b"!x")], None);
    assert_eq!(says(&named, "/w/out/x", false), "keep /w/out/.gitignore:1 \"!x\"");
    assert_eq!(says(&named, "/w/out/y", false), "-");
}

#[test]
fn named_files_go_before_git() {
    let contents: [(&[u8], &[u8]); 3] =
        [(b".gitignore", b"*.log"), (b".skip", b"!a.log\n/.git/objects"), (b".skip2", b"b\n!c")];
    let tree = git(GitRules::WorkTrees).enter(b"/w", &contents, top());
    assert_eq!(says(&tree, "/w/a.log", false), "keep /w/.skip:1 \"!a.log\"");
    assert_eq!(says(&tree, "/w/b.log", false), "drop /w/.gitignore:1 \"*.log\"");
    assert_eq!(says(&tree, "/w/b", false), "drop /w/.skip2:1 \"b\"");
    let metadata = tree.enter(b"/w/.git", &[], None);
    assert_eq!(says(&metadata, "/w/.git/objects", true), "drop /w/.skip:2 \"/.git/objects\"");
}

#[test]
fn levels_read_what_they_need() {
    let selection = Selection {
        tags: vec![Tag::parse(b".nobackup").unwrap(), Tag::caches()],
        ignore: IgnoreSettings { git: GitRules::WorkTrees, ..IgnoreSettings::default() },
        ..Selection::default()
    };
    let mut asked: Vec<String> = Vec::new();
    let mut read = |name: &[u8], most: usize| {
        asked.push(format!("{} {}", String::from_utf8_lossy(name), most == 43));
        match name {
            b"CACHEDIR.TAG" => Head::Bytes(b"Signature: 0".to_vec()),
            b".gitignore" => Head::Bytes(b"*.o".to_vec()),
            b".git" | b".git/objects" | b".git/refs" => Head::Unreadable,
            b".git/HEAD" => Head::Bytes(Vec::new()),
            _ => Head::Absent,
        }
    };
    let names: [&[u8]; 4] = [b".git", b".gitignore", b"CACHEDIR.TAG", b"x.o"];
    let (level, doubts): (Level, _) = selection.enter(&selection.start(), b"/w", &names, &mut read);
    let of_git = ["", "/HEAD", "/HEAD", "/commondir", "/objects", "/refs", "/config", "/index", "/info/exclude"];
    let of_git = of_git.map(|name| format!(".git{name} false"));
    assert_eq!(asked[..2], ["CACHEDIR.TAG true", ".gitignore false"]);
    assert_eq!(asked[2..], of_git);
    assert_eq!(doubts.len(), 1);
    assert_eq!(doubts[0].path, b"/w/CACHEDIR.TAG");
    assert_eq!(reason(selection.decide(&level, b"/w/x.o", ItemKind::File, 1)), "/w/.gitignore:1 \"*.o\"");
    assert!(selection.decide(&level, b"/w/x", ItemKind::File, 1).is_keep());
    let (tagged, _) = selection.enter(&level, b"/w/t", &[b".nobackup"], &mut |_, _| Head::Absent);
    assert_eq!(reason(selection.decide(&tagged, b"/w/t/y", ItemKind::Dir, 0)), ".nobackup is in the same directory");
    assert!(selection.decide(&tagged, b"/w/t/.nobackup", ItemKind::File, 0).is_keep());
}
