//! The tables of a document, between two marks in it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::{cells, failure, titles};
use crate::results::{Table, by_placement};
use crate::{Result, goals};

const BEGIN: &str = "<!-- begin of what benches/peers wrote -->\n";
const END: &str = "<!-- end of what benches/peers wrote -->\n";

/// The file, if there is a place for the tables in it: to be known before an hour of measuring.
pub(crate) fn marked(file: PathBuf) -> Result<PathBuf> {
    split(&read(&file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

pub(crate) fn write(
    file: &Path,
    svg: Option<&Path>,
    circumstances: &[String],
    remarks: &[String],
    tables: &[Table],
) -> Result<()> {
    let text = read(file)?;
    let (before, after) = split(&text)?;
    let image = svg.map_or(String::new(), |svg| image(file, svg));
    let tables = document(circumstances, remarks, tables);
    Ok(fs::write(file, format!("{before}{image}{tables}{after}"))?)
}

/// The plot, as seen from the document.
fn image(file: &Path, svg: &Path) -> String {
    let folder = file.parent().unwrap_or(Path::new(""));
    let path = svg.strip_prefix(folder).unwrap_or(svg);
    format!("\n![The plot of the main workloads]({})\n", path.display())
}

fn read(file: &Path) -> Result<String> {
    Ok(fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// What stands before and after the tables, marks included.
fn split(text: &str) -> Result<(&str, &str)> {
    let begin = text.find(BEGIN).map(|at| at + BEGIN.len());
    let end = text.find(END);
    match begin.zip(end) {
        Some((begin, end)) if begin <= end => Ok((&text[..begin], &text[end..])),
        _ => Err(format!("no place for the tables: {BEGIN}{END}").into()),
    }
}

fn document(circumstances: &[String], remarks: &[String], tables: &[Table]) -> String {
    let mut text = String::from("\n");
    if !remarks.is_empty() {
        let _ = writeln!(text, "**A draft: {}.**\n", remarks.join("; "));
    }
    for line in circumstances {
        let _ = writeln!(text, "- {line}");
    }
    let verdicts = goals::verdicts(tables);
    if !verdicts.is_empty() {
        let _ = writeln!(text, "\n### Goals\n\n```text\n{}\n```", verdicts.join("\n"));
    }
    for (placement, tables) in by_placement(tables) {
        let _ = writeln!(text, "\n### {}\n", capitalised(placement.what()));
        for one in tables {
            text.push_str(&table(one));
        }
    }
    text
}

fn table(table: &Table) -> String {
    let mut text = format!("#### `{}`: {}\n\n", table.workload, table.what);
    let titles = titles(table);
    let _ = writeln!(text, "| {} |", titles.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(titles.len() - 1));
    for row in table.rows.iter().filter(|row| row.failure.is_none()) {
        let _ = writeln!(text, "| {} |", cells(table, row).join(" | "));
    }
    let failures: Vec<_> = table.rows.iter().filter_map(failure).collect();
    if !failures.is_empty() {
        let _ = writeln!(text, "\nNot measured: {}.", failures.join("; "));
    }
    let doubts = table.doubts();
    if !doubts.is_empty() {
        let _ = writeln!(text, "\nIn doubt: {}.", doubts.join("; "));
    }
    text.push('\n');
    text
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, image, split};

    #[test]
    fn what_stands_around_the_tables_stays() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let (before, after) = split(&text).unwrap();
        assert_eq!(format!("{before}{after}"), format!("a\n{BEGIN}{END}b\n"));
        let plot = image("docs/a.md".as_ref(), "docs/b.svg".as_ref());
        assert!(plot.contains("(b.svg)"), "{plot}");
        assert!(split(BEGIN).is_err() && split(&format!("{END}{BEGIN}")).is_err());
    }
}
