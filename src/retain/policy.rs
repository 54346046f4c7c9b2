//! Policies as they are stored: what they are for, and what they say, in JSON.
//!
//! ```json
//! {"keep_daily": 7, "keep_within": "2d", "keep_tags": [["a", "b"]],
//!  "schedules": [{"interval": "1w", "count": 4}], "max_backups": 40, "zone": "Europe/Berlin"}
//! ```
//! A list alone is its schedules. `format-spec/70-snapshot.md` has every field.

use std::fmt;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::{Count, GroupKey, Period, Rules, Schedule, Span, Style};

/// What to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// restic's rules.
    pub rules: Rules,
    /// Schedule counts; they overlay, and do not share counts.
    pub schedules: Option<Vec<Schedule>>,
    /// No more than so many in all.
    pub max_backups: Option<u32>,
    /// Of those made by hand the newest so many, whatever the rules and schedules say.
    pub manual_count: Option<u32>,
    /// Where schedules cut their periods; the zone of the machine if `None`.
    pub zone: Option<TimeZone>,
    /// How rules count; restic's way if `None`.
    pub style: Option<Style>,
    /// Take nothing over from policies for more.
    pub alone: bool,
}

impl Policy {
    /// The template: the newest of each of two days.
    pub fn template() -> Self {
        let daily = Schedule { every: 1, unit: super::Unit::Day, count: 2 };
        Self { schedules: Some(vec![daily]), ..Self::default() }
    }

    /// How its rules count.
    pub fn style(&self) -> Style {
        self.style.unwrap_or_default()
    }

    /// It says nothing, so nothing goes.
    pub fn is_empty(&self) -> bool {
        !self.keeps() && self.max_backups.is_none() && self.manual_count.is_none()
    }

    /// It limits what may stay, and nothing that it says keeps anything.
    pub fn only_limits(&self) -> bool {
        !self.is_empty() && !self.keeps()
    }

    /// A rule or a schedule keeps something; a limit only takes from what these keep.
    pub(super) fn keeps(&self) -> bool {
        !self.rules.is_empty() || self.schedules.as_ref().is_some_and(|all| !all.is_empty())
    }

    /// This one, with what it does not say from a policy for more.
    pub fn inherit(mut self, wider: &Self) -> Self {
        if self.alone {
            return self;
        }
        let (mine, theirs) = (&mut self.rules, &wider.rules);
        mine.last = mine.last.or(theirs.last);
        mine.within = mine.within.or(theirs.within);
        for i in 0..Period::ALL.len() {
            mine.counts[i] = mine.counts[i].or(theirs.counts[i]);
            mine.within_periods[i] = mine.within_periods[i].or(theirs.within_periods[i]);
        }
        if mine.tags.is_empty() {
            mine.tags.clone_from(&theirs.tags);
        }
        if mine.ids.is_empty() {
            mine.ids.clone_from(&theirs.ids);
        }
        self.schedules = self.schedules.or_else(|| wider.schedules.clone());
        self.max_backups = self.max_backups.or(wider.max_backups);
        self.manual_count = self.manual_count.or(wider.manual_count);
        self.zone = self.zone.or_else(|| wider.zone.clone());
        self.style = self.style.or(wider.style);
        self.alone = wider.alone;
        self
    }

    /// Read what is stored or typed. Errors begin with the field that is wrong. `zone` finds a zone by
    /// its name.
    pub fn parse(text: &str, zone: &dyn Fn(&str) -> Option<TimeZone>) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
        match value {
            Value::Array(list) => Ok(Self { schedules: Some(schedules(&list, "")?), ..Self::default() }),
            Value::Object(fields) => object(&fields, zone),
            _ => Err("it is neither a list of schedules nor an object".into()),
        }
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        let mut out = Map::new();
        let count = |c: Count| match c {
            Count::Some(n) => Value::from(n),
            Count::Unlimited => Value::from("unlimited"),
        };
        let mut put = |name: String, value: Option<Value>| {
            if let Some(value) = value {
                out.insert(name, value);
            }
        };
        let rules = &self.rules;
        put("keep_last".into(), rules.last.map(count));
        put("keep_within".into(), rules.within.map(|s| s.to_string().into()));
        for (i, period) in Period::ALL.iter().enumerate() {
            put(format!("keep_{}", period.word()), rules.counts[i].map(count));
            put(format!("keep_within_{}", period.word()), rules.within_periods[i].map(|s| s.to_string().into()));
        }
        put("keep_tags".into(), (!rules.tags.is_empty()).then(|| rules.tags.clone().into()));
        put("keep_ids".into(), (!rules.ids.is_empty()).then(|| rules.ids.clone().into()));
        put("schedules".into(), self.schedules.as_ref().map(|all| all.iter().map(schedule_json).collect()));
        put("max_backups".into(), self.max_backups.map(Value::from));
        put("manual_count".into(), self.manual_count.map(Value::from));
        put("zone".into(), self.zone.as_ref().and_then(TimeZone::iana_name).map(Value::from));
        put("style".into(), self.style.map(|s| s.name().into()));
        put("inherit".into(), self.alone.then_some(false.into()));
        Value::Object(out).to_string()
    }
}

impl fmt::Display for Policy {
    /// `keep 7 daily, 4 weekly snapshots and …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.rules;
        let counted = |n: Option<Count>, what: &str| match n {
            None | Some(Count::Some(0)) => None,
            Some(Count::Some(n)) => Some(format!("{n} {what}")),
            Some(Count::Unlimited) => Some(format!("all {what}")),
        };
        let mut counts: Vec<String> = counted(rules.last, "latest").into_iter().collect();
        counts.extend(rules.counts.iter().zip(Period::ALL).filter_map(|(n, p)| counted(*n, p.word())));
        let mut parts = Vec::new();
        if !counts.is_empty() {
            parts.push(format!("{} snapshots", counts.join(", ")));
        }
        for (span, period) in rules.within_periods.iter().zip(Period::ALL) {
            parts.extend(span.map(|s| format!("{} snapshots within {s}", period.word())));
        }
        parts.extend(rules.within.map(|s| format!("all snapshots within {s} of the newest")));
        parts.extend(rules.tags.iter().map(|t| format!("all snapshots with tags [{}]", t.join(", "))));
        parts.extend(rules.ids.iter().map(|id| format!("those whose ids begin with {id}")));
        parts.extend(self.schedules.iter().flatten().map(|s| format!("schedule {s}")));
        parts.extend(self.manual_count.map(|n| format!("{n} made by hand")));
        let at_most = self.max_backups.map(|n| format!(", no more than {n} in all")).unwrap_or_default();
        let zone = self.zone.as_ref().and_then(TimeZone::iana_name).map(|z| format!(" (days begin in {z})"));
        let zone = zone.filter(|_| self.schedules.is_some()).unwrap_or_default();
        let zone = match self.style() {
            Style::Restic => zone,
            other => format!("{zone}, counted as {} does", other.name()),
        };
        match parts.is_empty() {
            true if at_most.is_empty() => f.write_str("nothing is said"),
            true => write!(f, "keep{}", at_most.trim_start_matches(',')),
            false => write!(f, "keep {}{at_most}{zone}", parts.join(", ")),
        }
    }
}

fn schedule_json(s: &Schedule) -> Value {
    let text = s.to_string();
    let interval = text.split(' ').next().unwrap_or_default();
    serde_json::json!({"interval": interval, "count": s.count})
}

fn object(fields: &Map<String, Value>, zone: &dyn Fn(&str) -> Option<TimeZone>) -> Result<Policy, String> {
    let mut policy = Policy::default();
    for (name, value) in fields {
        let wrong = |why: String| format!("{name}: {why}");
        if rule(&mut policy.rules, name, value).map_err(wrong)? {
            continue;
        }
        match name.as_str() {
            "schedules" => {
                let list = value.as_array().ok_or_else(|| wrong("it is no list".into()))?;
                policy.schedules = Some(schedules(list, name)?);
            }
            "max_backups" => policy.max_backups = Some(positive(value).map_err(wrong)?),
            "manual_count" => policy.manual_count = Some(positive(value).map_err(wrong)?),
            "zone" => {
                let typed = value.as_str().ok_or_else(|| wrong("it is no text".into()))?;
                let unknown = || wrong(format!("'{typed}' is no time zone that is known here"));
                policy.zone = Some(zone(typed).ok_or_else(unknown)?);
            }
            "style" => {
                let typed = value.as_str().ok_or_else(|| wrong("it is no text".into()))?;
                policy.style = Some(Style::parse(typed).map_err(wrong)?);
            }
            "inherit" => policy.alone = !value.as_bool().ok_or_else(|| wrong("it is neither true nor false".into()))?,
            _ => return Err(wrong(format!("no policy has such a field; there are {}", field_names().join(", ")))),
        }
    }
    Ok(policy)
}

/// All that [`object`] and [`rule`] know.
fn field_names() -> Vec<String> {
    let periods = |begin: &'static str| Period::ALL.into_iter().map(move |p| format!("{begin}{}", p.word()));
    let others =
        ["keep_tags", "keep_ids", "schedules", "max_backups", "manual_count", "zone", "style", "inherit"].into_iter();
    let rules = ["keep_last"].into_iter().map(str::to_owned).chain(periods("keep_"));
    let within = ["keep_within"].into_iter().map(str::to_owned).chain(periods("keep_within_"));
    rules.chain(within).chain(others.map(str::to_owned)).collect()
}

/// Whether the field is one of restic's rules.
fn rule(rules: &mut Rules, name: &str, value: &Value) -> Result<bool, String> {
    let period = |word: &str| Period::ALL.iter().position(|p| p.word() == word);
    let Some(which) = name.strip_prefix("keep_") else { return Ok(false) };
    match which {
        "last" => rules.last = Some(count(value)?),
        "within" => rules.within = Some(span(value)?),
        "tags" => rules.tags = lists(value)?,
        "ids" => rules.ids = texts(value)?,
        _ => match (period(which), which.strip_prefix("within_").and_then(period)) {
            (Some(i), _) => rules.counts[i] = Some(count(value)?),
            (_, Some(i)) => rules.within_periods[i] = Some(span(value)?),
            _ => return Ok(false),
        },
    }
    Ok(true)
}

fn count(value: &Value) -> Result<Count, String> {
    match value {
        Value::String(text) => text.parse(),
        Value::Number(n) => n.to_string().parse(),
        _ => Err("it is neither a count nor 'unlimited'".into()),
    }
}

fn span(value: &Value) -> Result<Span, String> {
    value.as_str().ok_or("it is not a span of time like 1y5m7d2h")?.parse()
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let text =
        |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| "there is something in it that is no text".into());
    value.as_array().ok_or("it is no list")?.iter().map(text).collect()
}

fn lists(value: &Value) -> Result<Vec<Vec<String>>, String> {
    value.as_array().ok_or("it is no list of lists")?.iter().map(texts).collect()
}

fn positive(value: &Value) -> Result<u32, String> {
    match value.as_u64() {
        Some(0) => Err("0 would keep nothing".into()),
        Some(n) => u32::try_from(n).map_err(|_| format!("{n} is too large")),
        // What is a whole number and does not fit is too large as well.
        None if value.as_f64().is_some_and(|f| f >= 1e9) => Err(format!("{value} is too large")),
        None => Err(format!("{value} is no count of 1 or more")),
    }
}

fn schedules(list: &[Value], of: &str) -> Result<Vec<Schedule>, String> {
    let one = |(i, value): (usize, &Value)| {
        let here = format!("{of}[{i}]");
        let fields = value.as_object().ok_or_else(|| format!("{here}: it is no object with interval and count"))?;
        let known = |name: &&String| !matches!(name.as_str(), "interval" | "count");
        if let Some(name) = fields.keys().find(known) {
            return Err(format!("{here}.{name}: no schedule has such a field"));
        }
        let field = |name| fields.get(name).ok_or_else(|| format!("{here}.{name}: it is missing"));
        let interval = field("interval")?.as_str().ok_or_else(|| format!("{here}.interval: it is no text"))?;
        let (every, unit) = Schedule::interval(interval).map_err(|why| format!("{here}.interval: {why}"))?;
        let count = positive(field("count")?).map_err(|why| format!("{here}.count: {why}"))?;
        Ok(Schedule { every, unit, count })
    };
    list.iter().enumerate().map(one).collect()
}

/// What a stored policy is for: all snapshots with these facts. The fewer it names, the wider it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Of exactly these paths, ascending.
    pub paths: Option<Vec<String>>,
    /// With this label.
    pub label: Option<String>,
    /// Of this host.
    pub host: Option<String>,
}

impl Target {
    /// As the name of a policy: `{}` is for all.
    pub fn to_name(&self) -> String {
        let mut out = Map::new();
        let mut put = |name: &str, value: Option<Value>| value.map(|v| out.insert(name.into(), v));
        put("host", self.host.clone().map(Value::from));
        put("label", self.label.clone().map(Value::from));
        put("paths", self.paths.clone().map(Value::from));
        Value::Object(out).to_string()
    }

    /// The inverse; `None` for what is the name of something else.
    pub fn parse(name: &str) -> Option<Self> {
        let Value::Object(fields) = serde_json::from_str(name).ok()? else { return None };
        let mut out = Self::default();
        for (key, value) in &fields {
            match key.as_str() {
                "host" => out.host = Some(value.as_str()?.to_owned()),
                "label" => out.label = Some(value.as_str()?.to_owned()),
                "paths" => out.paths = Some(texts(value).ok()?),
                _ => return None,
            }
        }
        Some(out)
    }

    /// Whether it is for this group.
    pub fn covers(&self, group: &GroupKey) -> bool {
        let paths = |mine: &Vec<String>| {
            let theirs = group.paths.as_deref().unwrap_or_default();
            mine.len() == theirs.len() && mine.iter().all(|p| theirs.iter().any(|t| t == p.as_bytes()))
        };
        self.host.as_ref().is_none_or(|h| group.host.as_ref() == Some(h))
            && self.label.as_ref().is_none_or(|l| group.label.as_ref() == Some(l))
            && self.paths.as_ref().is_none_or(paths)
    }

    /// What is sure to be true of every group that it is for.
    pub fn to_group(&self) -> GroupKey {
        let paths = self.paths.as_ref().map(|all| all.iter().map(|p| p.clone().into_bytes()).collect());
        GroupKey { host: self.host.clone(), label: self.label.clone(), paths, ..GroupKey::default() }
    }

    /// Policies for paths are nearer than those for labels, and these than those for hosts.
    fn nearness(&self) -> (bool, bool, bool) {
        (self.paths.is_some(), self.label.is_some(), self.host.is_some())
    }
}

/// What all policies that cover a group say together: the nearer ones first, and what these leave
/// open from the wider ones. `None` if none covers it.
pub fn for_group<'p>(policies: impl IntoIterator<Item = &'p (Target, Policy)>, group: &GroupKey) -> Option<Policy> {
    let mut covering: Vec<&(Target, Policy)> = policies.into_iter().filter(|(t, _)| t.covers(group)).collect();
    covering.sort_by_key(|(t, _)| std::cmp::Reverse(t.nearness()));
    covering.into_iter().map(|(_, p)| p.clone()).reduce(|near, wide| near.inherit(&wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Option<TimeZone> {
        (name == "UTC").then_some(TimeZone::UTC)
    }
    fn policy(text: &str) -> Result<Policy, String> {
        Policy::parse(text, &zone)
    }

    #[test]
    fn what_is_stored_comes_back() {
        for text in [
            r#"{"keep_last":3,"keep_daily":"unlimited","keep_within_weekly":"1y2m","keep_tags":[["a","b"],[""]]}"#,
            r#"{"schedules":[{"interval":"6h","count":4},{"interval":"1M","count":12}],"max_backups":9,"zone":"UTC"}"#,
            r#"{"manual_count":2,"inherit":false,"keep_ids":["ab"],"keep_within":"2d","keep_hourly":0}"#,
            "{}",
        ] {
            let parsed = policy(text).expect(text);
            assert_eq!(policy(&parsed.to_json()), Ok(parsed), "{text}");
        }
        let list = policy(r#"[{"interval":"1d","count":2}]"#).expect("a list alone");
        assert_eq!(list, Policy::template());
        assert!(policy(r#"{"keep_last":0,"schedules":[]}"#).expect("it says nothing").is_empty());
    }

    #[test]
    fn an_unknown_field_lists_those_that_are_known() {
        let error = policy(r#"{"keep_dayly":1}"#).expect_err("there is no such field");
        let listed = error.split_once("there are ").expect("it lists them").1.split(", ");
        let mut names: Vec<&str> = listed.collect();
        for name in &names {
            // Whatever is wrong with a null, it is not that nobody knows the field.
            let error = policy(&format!(r#"{{"{name}":null}}"#)).expect_err("null means nothing");
            assert!(!error.contains("no policy has such a field"), "{error}");
        }
        let all = r#"{"keep_last":1,"keep_hourly":1,"keep_yearly":1,"keep_within":"1d","keep_within_daily":"1d",
            "keep_tags":[["a"]],"keep_ids":["ab"],"schedules":[{"interval":"1d","count":1}],"max_backups":1,
            "manual_count":1,"zone":"UTC","style":"borg","inherit":false}"#;
        let Ok(Value::Object(all)) = serde_json::from_str(&policy(all).expect("ok").to_json()) else { panic!("JSON") };
        assert!(all.keys().all(|k| names.contains(&k.as_str())), "{names:?}");
        names.dedup();
        assert_eq!(names.len(), 20);
    }

    #[test]
    fn errors_name_the_field() {
        for (text, field) in [
            (r#"[{"interval":"1d","count":0}]"#, "[0].count: 0"),
            (r#"[{"interval":"1d","count":1},{"interval":"0d","count":1}]"#, "[1].interval: "),
            (r#"[{"interval":"1q","count":1}]"#, "[0].interval: the unit"),
            (r#"[{"interval":"99999999999d","count":1}]"#, "[0].interval: the number"),
            (r#"[{"interval":"1d","count":99999999999}]"#, "[0].count: 99999999999 is too large"),
            (r#"[{"interval":"1d","count":999999999999999999999}]"#, "[0].count: "),
            (r#"[{"interval":"1d","count":-1}]"#, "[0].count: "),
            (r#"[{"interval":"1d","count":1.5}]"#, "[0].count: "),
            (r#"[{"interval":"1d"}]"#, "[0].count: it is missing"),
            (r#"[{"interval":"1d","count":1,"x":1}]"#, "[0].x: "),
            (r#"{"schedules":[{"interval":"d","count":1}]}"#, "schedules[0].interval: "),
            (r#"{"schedules":7}"#, "schedules: "),
            (r#"{"max_backups":0}"#, "max_backups: "),
            (r#"{"keep_daily":-1}"#, "keep_daily: "),
            (r#"{"keep_dayly":1}"#, "keep_dayly: "),
            (r#"{"keep_within":"1w"}"#, "keep_within: 'w'"),
            (r#"{"zone":"Mars/Olympus"}"#, "zone: 'Mars"),
            ("7", "it is neither"),
            ("{", "it is not JSON"),
        ] {
            let error = policy(text).expect_err(text);
            assert!(error.starts_with(field), "{text}: {error}");
        }
    }

    #[test]
    fn nearer_policies_come_first() {
        let target = |name: &str| Target::parse(name).expect(name);
        let all = [
            (target("{}"), policy(r#"{"keep_last":1,"keep_daily":7,"max_backups":50}"#).expect("ok")),
            (target(r#"{"host":"a"}"#), policy(r#"{"keep_daily":3}"#).expect("ok")),
            (target(r#"{"paths":["/x"]}"#), policy(r#"{"keep_last":0,"keep_weekly":2}"#).expect("ok")),
            (target(r#"{"label":"db"}"#), policy(r#"{"keep_last":9,"inherit":false}"#).expect("ok")),
        ];
        let group = |host: &str, path: &str, label: &str| GroupKey {
            host: Some(host.into()),
            paths: Some(vec![path.into()]),
            label: Some(label.into()),
            ..GroupKey::default()
        };
        let says = |key: GroupKey| for_group(&all, &key).map(|p| p.to_json()).expect("one is for all");
        assert_eq!(says(group("b", "/y", "")), r#"{"keep_daily":7,"keep_last":1,"max_backups":50}"#);
        let near = r#"{"keep_daily":3,"keep_last":0,"keep_weekly":2,"max_backups":50}"#;
        assert_eq!(says(group("a", "/x", "")), near);
        assert_eq!(says(group("a", "/y", "db")), r#"{"inherit":false,"keep_last":9}"#);
        assert_eq!(for_group(&all[1..3], &group("b", "/y", "")), None);
        for (t, _) in &all {
            assert_eq!(Target::parse(&t.to_name()).as_ref(), Some(t));
        }
        assert_eq!(Target::parse("nightly"), None, "the name of something else");
    }
}
