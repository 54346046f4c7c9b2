//! What a storage was found to do.

use serde_json::{Map, Value, json};

use super::escape::Names;
use super::table::Table;
use super::wire;

/// One answer.
#[derive(Debug, Clone)]
pub struct Row {
    /// As programs know it.
    pub key: &'static str,
    /// What was asked, in words.
    pub what: &'static str,
    /// The answer in words.
    pub told: String,
    /// The answer if it is yes or no; `None` too if nobody may know.
    pub good: Option<bool>,
    /// The answer if it is a number.
    pub number: Option<i64>,
}

impl Row {
    /// Yes, no, or that it was refused.
    pub fn answer(key: &'static str, what: &'static str, good: Option<bool>) -> Self {
        let told = match good {
            Some(true) => "yes",
            Some(false) => "no",
            None => "refused",
        };
        Self { key, what, told: told.into(), good, number: None }
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Storage<'a> {
    /// Where.
    pub place: &'a str,
    /// Whether garbage can be collected there.
    pub collects: bool,
    /// Whether nothing there is ever late.
    pub fresh: bool,
    /// The answers.
    pub rows: Vec<Row>,
}

impl Storage<'_> {
    /// A table, and what it means.
    pub fn text(&self, names: Names) -> String {
        let mut table = Table::new(["Storage", ""]);
        for row in &self.rows {
            table.row(vec![row.what.to_owned(), row.told.clone()]);
        }
        let collects = match (self.collects, self.fresh) {
            (true, true) => "backups and `orlop prune`, at once too, are safe there",
            (true, false) => "backups and `orlop prune` are safe there; --now is not, since what is new may be unseen",
            (false, _) => {
                "backups are safe there; `orlop prune` is not, since nobody promises that a name is taken once"
            }
        };
        table.render(&[format!("{}: {collects}", names.text(self.place))])
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        let value = |row: &Row| row.number.map_or_else(|| json!(row.good), |n| json!(n));
        let found: Map<String, Value> = self.rows.iter().map(|row| (row.key.to_owned(), value(row))).collect();
        wire::line(&json!({
            "message_type": "storage",
            "place": self.place,
            "collects": self.collects,
            "fresh": self.fresh,
            "found": found,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_in_words_and_for_programs() {
        let rows = vec![
            Row::answer("ranges", "pieces come", Some(true)),
            Row::answer("deletes", "can be deleted", None),
            Row { number: Some(-3), told: "-3 s".into(), ..Row::answer("clock_ahead", "clock", None) },
        ];
        let mut all = Storage { place: "s3:h/b", collects: true, fresh: true, rows };
        let text = all.text(Names::Raw);
        assert!(text.contains("pieces come") && text.contains("refused") && text.contains("at once too"), "{text}");
        let json: Value = serde_json::from_str(&all.json()).expect("JSON");
        assert_eq!(json["found"]["deletes"], Value::Null);
        assert_eq!((&json["found"]["clock_ahead"], &json["collects"]), (&json!(-3), &json!(true)));
        all.collects = false;
        assert!(all.text(Names::Raw).contains("is not"));
    }
}
