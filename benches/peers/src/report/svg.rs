//! The plot: a panel for each workload and placement, a bar for each peer.

use std::fmt::Write;

use crate::peers::OURS;
use crate::results::{Figure, Table};

/// What is shown of all that was measured.
const SHOWN: [&str; 6] = ["1", "64", "1024", "8x32", "record", "64KiB"];

const PANEL_WIDTH: usize = 460;
const NAME_WIDTH: usize = 90;
const BAR_WIDTH: usize = 240;
const BAR_HEIGHT: usize = 16;
const TITLE_HEIGHT: usize = 44;
const HEAD_HEIGHT: usize = 40;

pub(crate) fn plot(machine: &str, remarks: &[String], tables: &[Table]) -> String {
    let shown: Vec<_> = SHOWN
        .iter()
        .flat_map(|name| tables.iter().filter(move |t| t.workload == *name))
        .collect();
    let bars = shown
        .iter()
        .map(|table| bars(table).len())
        .max()
        .unwrap_or(0);
    let panel_height = TITLE_HEIGHT + bars * (BAR_HEIGHT + 6) + 16;
    let (width, height) = (
        2 * PANEL_WIDTH,
        HEAD_HEIGHT + shown.len().div_ceil(2) * panel_height,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let mut head = machine.to_owned();
    if !remarks.is_empty() {
        head = format!("A draft: {}. {head}", remarks.join("; "));
    }
    text(&mut svg, 10, 22, "fill=\"#555\"", &head);
    for (index, table) in shown.iter().enumerate() {
        let left = (index % 2) * PANEL_WIDTH;
        let top = HEAD_HEIGHT + (index / 2) * panel_height;
        panel(&mut svg, table, left, top);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Those who have a figure, best first.
fn bars(table: &Table) -> Vec<(&'static str, Figure)> {
    let metric = table.headline();
    let figures = table
        .rows
        .iter()
        .filter_map(|row| Some((row.peer, row.figure(metric)?)));
    let mut bars: Vec<_> = figures.collect();
    bars.sort_by(|(_, a), (_, b)| match metric.more_is_better() {
        true => b.median.total_cmp(&a.median),
        false => a.median.total_cmp(&b.median),
    });
    bars
}

fn panel(svg: &mut String, table: &Table, left: usize, top: usize) {
    let metric = table.headline();
    text(svg, left + 10, top + 18, "font-weight=\"bold\"", table.what);
    let doubt = if table.doubts().is_empty() {
        ""
    } else {
        "in doubt: "
    };
    let unit = format!("{doubt}{}, {}", metric.title(), table.placement.what());
    text(
        svg,
        left + 10,
        top + 34,
        "fill=\"#555\" font-size=\"11\"",
        &unit,
    );
    let bars = bars(table);
    let most = bars
        .iter()
        .map(|(_, figure)| figure.most)
        .fold(0.0, f64::max);
    let pixels = |value: f64| value / most * BAR_WIDTH as f64;
    for (index, (peer, figure)) in bars.iter().enumerate() {
        let y = top + TITLE_HEIGHT + index * (BAR_HEIGHT + 6);
        let (x, base) = (left + NAME_WIDTH, y + BAR_HEIGHT - 4);
        let colour = if *peer == OURS { "#d95f02" } else { "#7a8ba3" };
        text(svg, left + 10, base, "", peer);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>",
            pixels(figure.median).max(0.5),
        );
        // The range, as a line over the end of the bar.
        let (from, to) = (
            x as f64 + pixels(figure.least),
            x as f64 + pixels(figure.most),
        );
        let middle = y + BAR_HEIGHT / 2;
        let _ = writeln!(
            svg,
            "<line x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\" stroke=\"black\"/>",
        );
        let value = metric.show(figure.median);
        text(
            svg,
            x + pixels(figure.most) as usize + 6,
            base,
            "font-size=\"11\"",
            &value,
        );
    }
}

fn text(svg: &mut String, x: usize, y: usize, style: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" {style}>{text}</text>");
}
