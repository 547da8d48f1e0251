//! What was measured, for people and for programs.

pub(crate) mod markdown;
pub(crate) mod svg;
pub(crate) mod text;

use serde_json::json;

use crate::machine::Machine;
use crate::metric::Metric;
use crate::results::{Figure, Row, Table};

/// Every figure of every round.
pub(crate) fn json(
    machine: &Machine,
    circumstances: &[String],
    remarks: &[String],
    tables: &[Table],
) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&json!({
        "machine": machine,
        "circumstances": circumstances,
        "conclusive": remarks.is_empty(),
        "remarks": remarks,
        "tables": tables,
    }))
}

/// Column titles of a table.
fn titles(table: &Table) -> Vec<String> {
    let metrics = table.metrics.iter().map(|metric| metric.title().to_owned());
    let ratios = ["of bare", "of ours"].map(str::to_owned);
    ["peer".to_owned()]
        .into_iter()
        .chain(metrics)
        .chain(ratios)
        .collect()
}

/// The cells of a row: the headline with its range, the other medians, the ratios.
fn cells(table: &Table, row: &Row) -> Vec<String> {
    let mut cells = vec![row.peer.to_owned()];
    for (index, &metric) in table.metrics.iter().enumerate() {
        cells.push(match row.figure(metric) {
            Some(figure) if index == 0 => with_range(metric, figure),
            Some(figure) => metric.show(figure.median),
            None => "–".to_owned(),
        });
    }
    for to in [crate::peers::BARE, crate::peers::OURS] {
        let ratio = table.ratio(row.peer, to);
        cells.push(ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.3}")));
    }
    cells
}

fn with_range(metric: Metric, figure: Figure) -> String {
    let [median, least, most] = [figure.median, figure.least, figure.most].map(|v| metric.show(v));
    format!("{median} ({least}–{most})")
}

/// What a row says instead of figures.
fn failure(row: &Row) -> Option<String> {
    let failure = row.failure.as_ref()?;
    Some(format!("{}: {failure}", row.peer))
}
