//! What people type and write into files: what is understood and can be told is told, and understood again as
//! the same.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use orlop::cli::args::{KeepFor, Louder, MaxUnused, Percent, TagList, When, parse_duration};
use orlop::cli::commands::recovery::{from_words, to_words};
use orlop::cli::password::{key_in, password_in, split_command};
use orlop::cli::reference::Reference;
use orlop::plan::filter::{
    Case, ConfigFiles, GitConfig, GitRules, IgnoreSettings, IgnoreStack, Patterns, Tag, TrackedPaths, join,
    read_pattern_file,
};
use orlop::plan::lists::{self, Look};
use orlop::plan::size;
use orlop::plan::subset::{GROUPS_MAX, Subset};
use orlop::plan::timetable::Timetable;
use orlop::retain::{Count, GroupBy, Policy, Schedule, Span, Style, Target};
use orlop::storage::{Location, Options};

/// A time that brings its zone along: the crate of zones is none of ours here.
const UTC: &str = "2000-01-01T00:00:00Z";

/// A disk where every directory has one entry.
struct OneByOne;

impl Look for OneByOne {
    fn exists(&mut self, _: &[u8]) -> bool {
        true
    }
    fn names(&mut self, _: &[u8]) -> Vec<Vec<u8>> {
        vec![b"a.log".to_vec()]
    }
}

/// Pattern files, ignore files of git's kind, and lists of files; each is asked about a few paths, the last of
/// its own lines among them.
pub fn patterns(data: &[u8]) {
    let own = data.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    let own = [b"/", own.strip_prefix(b"/").unwrap_or(own)].concat();
    let paths: [&[u8]; 4] = [b"/a.log", b"/home/b/.git/config", b"/a/a/a/a/a/a/a/a/a/a/b", &own];
    let env = |name: &[u8]| (name != b"NO").then(|| name.to_vec());
    let file = read_pattern_file(b"fuzz", data, &env);
    for case in [Case::Sensitive, Case::Insensitive] {
        let Ok(patterns) = Patterns::compile(file.patterns.clone(), case) else { continue };
        for path in paths {
            let reach = patterns.reach(path);
            assert_eq!(reach.selected, patterns.matches(path));
            let below = join(path, b"a.log");
            assert!(reach.below || !patterns.matches(&below), "what has no hope below is not entered");
        }
    }

    let settings =
        IgnoreSettings { git: GitRules::Everywhere, names: vec![b".ignore".to_vec()], ..IgnoreSettings::default() };
    for name in [&b".gitignore"[..], b".ignore"] {
        let stack = IgnoreStack::new(settings.clone()).enter(b"/", &[(b".git", b""), (name, data)], None);
        for path in paths {
            let _ = (stack.verdict(path, false), stack.verdict(path, true));
        }
    }

    // What git writes beside its files. An index without a checksum ends in zeros.
    let mut itself = |_: &[u8]| Some(data.to_vec());
    let mut files = ConfigFiles { home: Some(b"/home"), read: &mut itself };
    let _ = GitConfig::default().add(b"fuzz", data, &mut files);
    for index in [&[data, &[0; 20]].concat()[..], data] {
        let _ = TrackedPaths::parse(index, false, Case::Sensitive);
    }

    let globs = lists::files_from("fuzz", data).unwrap_or_default();
    for line in globs {
        lists::expand(&line.glob, &mut OneByOne).expect("it was looked at when it was read");
    }
    let verbatim = lists::files_from_verbatim(data);
    assert!(verbatim.iter().eq(lists::changed_files(data).iter().map(|(_, path)| path)));
    if let Ok(names) = lists::files_from_raw("fuzz", data) {
        let again: Vec<u8> = names.iter().flat_map(|name| name.iter().chain(b"\0")).copied().collect();
        assert_eq!(again, data);
    }
}

/// Values of flags and variables.
pub fn words(data: &[u8]) {
    let typed = OsStr::from_bytes(data);
    match Location::parse(typed) {
        Err(_) | Ok(Location::Local(_)) => {}
        Ok(place) => {
            if let Ok(again) = Location::parse(OsStr::new(&place.place())) {
                assert_eq!(again, place);
            }
        }
    }
    let _ = Reference::parse(typed);
    let _ = Tag::parse(data);
    let _ = password_in(data);
    if let Some(key) = key_in(data) {
        assert!(data.starts_with(orlop::id::hex(&*key).as_bytes()));
    }
    if let Some(secret) = from_words(data) {
        let again = to_words(&secret).expect("a secret has words");
        assert_eq!(from_words(again.as_bytes()).map(|s| *s.expose()), Some(*secret.expose()));
    }

    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(options) = Options::parse(text.lines()) {
        Options::KNOWN.iter().for_each(|(name, _)| drop(options.number(name)));
    }
    let _ = split_command(text);
    let _ = parse_duration(text);
    let _ = size::Span::parse(text);
    if let Ok(bytes) = size::parse_bytes(text) {
        assert!(i64::try_from(bytes).is_ok());
    }
    match Subset::parse(text) {
        Ok(Subset::Group { group, groups }) => assert!((1..=groups).contains(&group) && groups <= GROUPS_MAX),
        Ok(Subset::Percent(share)) => assert!(share > 0.0 && share <= 100.0),
        Ok(Subset::Bytes(0)) => panic!("nothing would be read"),
        Ok(Subset::Bytes(_)) | Err(_) => {}
    }
    if let Ok(table) = text.parse::<Timetable>() {
        let limited = (0..1440).any(|minute| table.at(minute).is_some());
        assert!(!limited || !table.is_unlimited());
    }
    if let Ok((every, unit)) = Schedule::interval(text) {
        let told = Schedule { every, unit, count: 1 }.to_string();
        assert_eq!(Schedule::interval(told.split(' ').next().unwrap_or_default()), Ok((every, unit)));
    }
    if let Ok(count) = text.parse::<Count>() {
        assert_eq!(count.to_string().parse(), Ok(count));
    }
    let Ok(When::At(at)) = UTC.parse() else { panic!("that is a time") };
    let utc = at.time_zone();
    if let Ok(when) = text.parse::<When>() {
        let _ = when.resolve(utc);
    }
    let _ = (text.parse::<Louder>(), text.parse::<MaxUnused>(), text.parse::<TagList>(), text.parse::<KeepFor>());
    let _ = (GroupBy::parse(text), orlop::model::GroupBy::parse(text), Style::parse(text));
    if let Ok(Percent(share)) = text.parse() {
        assert!(share > 0.0 && share <= 100.0);
    }
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.to_string().parse(), Ok(span));
        for sec in [0, 1_700_000_000, i64::MIN, i64::MAX] {
            let at = orlop::model::Time { sec, nsec: 0 };
            let _ = (span.before(at, 3600, utc), span.after(at, i32::MIN, utc));
        }
    }
}

/// Files with several settings: profiles, policies.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(file) = orlop::cli::config::parse(text, Some(Path::new("/home/b")), Path::new("orlop.toml")) {
        let _ = file.choose(Some("a"), "orlop.toml".into());
    }
    let Ok(When::At(at)) = UTC.parse() else { panic!("that is a time") };
    let zone = |name: &str| (name == "UTC").then(|| at.time_zone().clone());
    if let Ok(policy) = Policy::parse(text, &zone) {
        assert_eq!(Policy::parse(&policy.to_json(), &zone), Ok(policy.clone()));
        let _ = policy.to_string();
    }
    if let Some(target) = Target::parse(text) {
        assert_eq!(Target::parse(&target.to_name()), Some(target));
    }
}
