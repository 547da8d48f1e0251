//! A table on the terminal.

use std::fmt::Write;

use super::{cells, failure, titles};
use crate::results::Table;

pub(crate) fn table(table: &Table) -> String {
    let mut text = format!(
        "\n{}, {}: {}\n",
        table.workload,
        table.placement.name(),
        table.what
    );
    let rows = table.rows.iter().filter(|row| row.failure.is_none());
    let mut lines = vec![titles(table)];
    lines.extend(rows.map(|row| cells(table, row)));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
    for line in &lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    for failure in table.rows.iter().filter_map(failure) {
        let _ = writeln!(text, "  {failure}");
    }
    for doubt in table.doubts() {
        let _ = writeln!(text, "  ! {doubt}");
    }
    text
}
