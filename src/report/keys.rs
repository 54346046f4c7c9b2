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
    /// Who made it; empty if nobody said.
    pub user: String,
    /// Where; empty if nobody said.
    pub host: String,
    /// When.
    pub created: Time,
}

/// A table.
pub fn text(rows: &[Row], names: Names, zone: &TimeZone) -> String {
    let mut table = Table::new([" ID", "User", "Host", "Created", "Kind", "Role", "Client"]);
    for row in rows {
        let mark = if row.current { '*' } else { ' ' };
        table.row(vec![
            format!("{mark}{}", row.id.short()),
            names.text(&row.user),
            names.text(&row.host),
            units::wall_clock(row.created, zone),
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
    user_name: &'a str,
    host_name: &'a str,
    created: String,
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
    Json {
        current: row.current,
        id: row.id.hex(),
        user_name: &row.user,
        host_name: &row.host,
        created: units::wall_clock(row.created, zone),
        kind: &row.kind,
        role: &row.role,
        client: &row.client,
    }
}
