//! The list of ways to unlock a repository: restic's table and keys, with what orlop knows more.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::escape::Names;
use super::table::Table;
use super::{units, wire};
use crate::id::SlotId;
use crate::model::Time;

/// One way to unlock.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub id: SlotId,
    /// The one in use now.
    pub current: bool,
    /// `password`, `key file`, `recovery`, `none`.
    pub kind: String,
    /// `owner`, `client`, …
    pub role: String,
    /// The client it is for; empty for none.
    pub client: String,
    /// Who made it, where and when; `None` if the key in use may not know.
    pub made: Option<Made>,
}

/// What whoever made a way to unlock wrote in it.
#[derive(Debug, Clone)]
pub struct Made {
    /// Who; empty if nobody said.
    pub user: String,
    /// Where; empty if nobody said.
    pub host: String,
    /// When.
    pub created: Time,
}

/// What stands in the table for what is not known.
const UNKNOWN: &str = "-";

/// A table.
pub fn text(rows: &[Row], names: Names, zone: &TimeZone) -> String {
    let mut table = Table::new([" ID", "User", "Host", "Created", "Kind", "Role", "Client"]);
    for row in rows {
        let mark = if row.current { '*' } else { ' ' };
        let made = |what: &dyn Fn(&Made) -> String| row.made.as_ref().map_or_else(|| UNKNOWN.to_owned(), what);
        table.row(vec![
            format!("{mark}{}", row.id.short()),
            made(&|m| names.text(&m.user)),
            made(&|m| names.text(&m.host)),
            made(&|m| units::wall_clock(m.created, zone)),
            row.kind.clone(),
            row.role.clone(),
            names.text(&row.client),
        ]);
    }
    table.render(&[])
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    current: bool,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    kind: &'a str,
    role: &'a str,
    client: &'a str,
}

/// One JSON document.
pub fn json(rows: &[Row], zone: &TimeZone) -> String {
    let keys: Vec<Json<'_>> = rows.iter().map(|r| json_of(r, zone)).collect();
    wire::line(&keys)
}

fn json_of<'a>(row: &'a Row, zone: &TimeZone) -> Json<'a> {
    let made = row.made.as_ref();
    Json {
        current: row.current,
        id: row.id.hex(),
        user_name: made.map(|m| &*m.user),
        host_name: made.map(|m| &*m.host),
        created: made.map(|m| units::wall_clock(m.created, zone)),
        kind: &row.kind,
        role: &row.role,
        client: &row.client,
    }
}
