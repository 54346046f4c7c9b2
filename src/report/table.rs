//! A plain table with a rule above and below its rows; cells may have several lines.

use super::escape::width;

/// Rows in the making.
#[derive(Debug, Default)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Put an empty line before each row but the first line of all.
    pub airy: bool,
}

impl Table {
    /// Columns by their headings; spaces in a heading keep its column at least that wide.
    pub fn new<const N: usize>(heads: [&str; N]) -> Self {
        let heads = heads.iter().map(|h| (*h).to_owned()).collect();
        Self { heads, ..Self::default() }
    }
    /// One more column.
    pub fn column(&mut self, head: &str) {
        self.heads.push(head.to_owned());
    }
    /// One more row, a cell for each column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    /// All of it, then the footer's lines.
    pub fn render(&self, footer: &[String]) -> String {
        let widths = self.widths();
        let gaps = 2 * widths.len().saturating_sub(1);
        let rule = "-".repeat(widths.iter().sum::<usize>() + gaps);
        let mut out = String::new();
        push_row(&mut out, &self.heads, &widths);
        out.push_str(&rule);
        out.push('\n');
        for (i, row) in self.rows.iter().enumerate() {
            if self.airy && i > 0 {
                out.push('\n');
            }
            push_row(&mut out, row, &widths);
        }
        out.push_str(&rule);
        out.push('\n');
        for line in footer {
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |cell: &String| cell.split('\n').map(width).max().unwrap_or(0);
        let mut widths: Vec<usize> = self.heads.iter().map(widest).collect();
        for row in &self.rows {
            for (w, cell) in widths.iter_mut().zip(row) {
                *w = (*w).max(widest(cell));
            }
        }
        widths
    }
}

fn push_row(out: &mut String, cells: &[String], widths: &[usize]) {
    let lines: Vec<Vec<&str>> = cells.iter().map(|c| c.split('\n').collect()).collect();
    let height = lines.iter().map(Vec::len).max().unwrap_or(1);
    for i in 0..height {
        let mut line = String::new();
        for (cell, &w) in lines.iter().zip(widths) {
            let text = cell.get(i).copied().unwrap_or("");
            line.push_str(text);
            line.push_str(&" ".repeat(w.saturating_sub(width(text)) + 2));
        }
        out.push_str(line.trim_end_matches(' '));
        out.push('\n');
    }
}
