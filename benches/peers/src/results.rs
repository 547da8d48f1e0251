//! All that was measured, and figures made of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metric::Metric;
use crate::neighbours::SLOWDOWN_MAX;
use crate::noise::{Calibration, OTHERS_MAX, SPREAD_MAX};
use crate::peers::BARE;
use crate::placement::Placement;
use crate::run::Sample;
use crate::workloads::Workload;

/// One workload at one placement, by all peers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) placement: Placement,
    pub(crate) workload: &'static str,
    #[serde(skip)]
    pub(crate) what: &'static str,
    #[serde(skip)]
    pub(crate) metrics: &'static [Metric],
    pub(crate) calibrations: [Calibration; 2],
    /// In the order of the peers.
    pub(crate) rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    /// One a round.
    pub(crate) samples: Vec<Sample>,
    /// Why there is none.
    pub(crate) failure: Option<String>,
}

/// Median and range of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self {
            median,
            least,
            most,
        })
    }

    pub(crate) fn spread(self) -> f64 {
        (self.most - self.least) / self.median
    }
}

impl Row {
    pub(crate) fn figure(&self, metric: Metric) -> Option<Figure> {
        let values = self
            .samples
            .iter()
            .filter_map(|sample| sample.metrics.get(&metric));
        Figure::of(values.copied().collect())
    }

    /// True if its medians are those of cores with neighbours.
    fn is_slowed_down(&self) -> bool {
        let slowdowns = self.samples.iter().map(|sample| sample.slowdown);
        Figure::of(slowdowns.collect()).is_some_and(|figure| figure.median > SLOWDOWN_MAX)
    }
}

impl Table {
    pub(crate) fn new(
        placement: Placement,
        workload: &Workload,
        calibrations: [Calibration; 2],
        rows: Vec<Row>,
    ) -> Self {
        Self {
            placement,
            workload: workload.name,
            what: workload.what,
            metrics: workload.metrics,
            calibrations,
            rows,
        }
    }

    /// What peers are compared by.
    pub(crate) fn headline(&self) -> Metric {
        self.metrics[0]
    }

    pub(crate) fn row(&self, peer: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.peer == peer)
    }

    /// The headline of one peer relative to another's.
    pub(crate) fn ratio(&self, peer: &str, to: &str) -> Option<f64> {
        let figure = |name| self.row(name)?.figure(self.headline());
        Some(figure(peer)?.median / figure(to)?.median)
    }

    /// Why nothing can be concluded, if nothing can.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.headline().is_counted() {
            return doubts;
        }
        for (when, seen) in ["before", "after"].iter().zip(self.calibrations) {
            if !seen.is_quiet() {
                let lost = seen.lost * 100.0;
                doubts.push(format!("{when} it, a loop lost {lost:.1} % of its time"));
            }
        }
        let samples = self.rows.iter().flat_map(|row| &row.samples);
        let others = Figure::of(samples.map(|sample| sample.others).collect());
        if let Some(others) = others.filter(|others| others.median > OTHERS_MAX) {
            doubts.push(format!(
                "others used {:.0} % of both cores",
                others.median * 100.0
            ));
        }
        let slowed = self.rows.iter().filter(|row| row.is_slowed_down());
        let slowed: Vec<_> = slowed.map(|row| row.peer).collect();
        if !slowed.is_empty() {
            let slowed = slowed.join(", ");
            doubts.push(format!("neighbours slowed most rounds down of {slowed}"));
        }
        let yardstick = self.row(BARE).and_then(|row| row.figure(self.headline()));
        // Of a tail, rounds differ on the quietest machine, and so they do where the scheduler
        // decides anew in each of them who runs beside whom.
        let repeats = self.headline() == Metric::Rate && self.placement != Placement::TwoCores;
        let yardstick = yardstick.filter(|_| repeats);
        if let Some(figure) = yardstick.filter(|figure| figure.spread() > SPREAD_MAX) {
            let spread = figure.spread() * 100.0;
            doubts.push(format!("rounds of the yardstick are {spread:.0} % apart"));
        }
        doubts
    }
}

/// By placement, in the order of the workloads.
pub(crate) fn by_placement(tables: &[Table]) -> BTreeMap<Placement, Vec<&Table>> {
    let mut all: BTreeMap<Placement, Vec<&Table>> = BTreeMap::new();
    for table in tables {
        all.entry(table.placement).or_default().push(table);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::Figure;

    #[test]
    fn a_figure_is_median_and_range() {
        let figure = |values: &[f64]| Figure::of(values.to_vec());
        let of = |median, least, most| {
            Some(Figure {
                median,
                least,
                most,
            })
        };
        assert_eq!(figure(&[3.0, 1.0, 2.0]), of(2.0, 1.0, 3.0));
        assert_eq!(figure(&[4.0, 1.0, 2.0, 3.0]), of(2.5, 1.0, 4.0));
        assert_eq!(figure(&[]), None);
    }
}
