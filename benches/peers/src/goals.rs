//! What this project wants to reach, and whether it does.

use crate::metric::Metric;
use crate::peers::{BARE, KITEX_POOL, OURS, OURS_OFF, OURS_ON, OURS_POOL, Peer, VOLO_POOL};
use crate::placement::Placement;
use crate::results::Table;

/// Ours, in one metric of one workload, compared with somebody's, or with a number.
struct Goal {
    who: &'static str,
    workload: &'static str,
    placement: Placement,
    metric: Metric,
    bound: Bound,
}

/// Peers with a connection for each call in flight.
const POOLS: &[&str] = &[VOLO_POOL, KITEX_POOL];

/// What is counted has a little of the measuring in it, such as room for the latencies.
const MEASURING: f64 = 1.02;

enum Bound {
    /// So many times what this peer has, at least if more is better, at most if not.
    Times(f64, &'static str),
    /// So many times what the best of all but the yardstick, ourselves and these has.
    TimesBest(f64, &'static [&'static str]),
    /// At most.
    Most(f64),
    /// So many times our own figure in another workload, at most.
    OfOwn(f64, &'static str),
}

use Bound::{Most, OfOwn, Times, TimesBest};
use Metric::{
    Bandwidth, BuildSeconds, ClientAllocations, P50, P99, P999, Rate, ServerAllocations,
    ServerMemory,
};
use Placement::{OneCore, TwoCores};

const fn goal(workload: &'static str, placement: Placement, metric: Metric, bound: Bound) -> Goal {
    Goal {
        who: OURS,
        workload,
        placement,
        metric,
        bound,
    }
}

const GOALS: &[Goal] = &[
    goal("1", OneCore, P50, Times(1.10, BARE)),
    goal("1", OneCore, P50, Times(0.70, "tarpc")),
    goal("1", OneCore, P50, Times(0.30, "tonic")),
    goal("1", TwoCores, P50, Times(1.05, BARE)),
    goal("1", TwoCores, P50, Times(0.95, "tarpc")),
    goal("64", OneCore, Rate, Times(10.0, "tarpc")),
    goal("64", OneCore, Rate, TimesBest(20.0, &["tarpc"])),
    goal("64", OneCore, Rate, Times(0.65, BARE)),
    goal("64", TwoCores, Rate, Times(3.5, "tarpc")),
    goal("64", TwoCores, Rate, Times(10.0, "tonic")),
    goal("64", TwoCores, Rate, Times(0.80, BARE)),
    goal("1024", OneCore, Rate, Times(10.0, "tarpc")),
    goal("1024", OneCore, Rate, Times(0.65, BARE)),
    goal("1024", TwoCores, Rate, Times(6.5, "tarpc")),
    goal("1024", TwoCores, Rate, Times(0.80, BARE)),
    goal("4096", OneCore, Rate, Times(7.0, "tarpc")),
    goal("8x32", OneCore, Rate, Times(7.0, "tarpc")),
    goal("8x32", OneCore, Rate, Times(0.75, BARE)),
    goal("8x32", TwoCores, Rate, Times(6.5, "tarpc")),
    goal("8x32", TwoCores, Rate, Times(0.90, BARE)),
    goal("record", OneCore, Rate, Times(5.0, "tarpc")),
    goal("record", OneCore, Rate, TimesBest(10.0, &["tarpc"])),
    goal("record", TwoCores, Rate, Times(3.0, "tarpc")),
    goal("pending", OneCore, Rate, Times(5.0, "tarpc")),
    // On one connection against the best of all, however many connections that has; and like with
    // like.
    goal("16KiB", OneCore, Bandwidth, TimesBest(1.0, &[])),
    goal("16KiB", TwoCores, Bandwidth, TimesBest(1.0, &[])),
    goal("64KiB", OneCore, Bandwidth, TimesBest(1.0, &[])),
    goal("1MiB", OneCore, Bandwidth, TimesBest(1.0, &[])),
    goal("64KiB", OneCore, Bandwidth, Times(1.0, VOLO_POOL)).of(OURS_POOL),
    goal("1MiB", OneCore, Bandwidth, Times(1.0, VOLO_POOL)).of(OURS_POOL),
    goal("64KiB", OneCore, Bandwidth, TimesBest(1.0, POOLS)),
    goal("1MiB", OneCore, Bandwidth, TimesBest(1.0, POOLS)),
    goal("stream", OneCore, Rate, Times(10.0, "tonic")),
    goal("stream", TwoCores, Rate, Times(10.0, "tonic")),
    goal("stream16KiB", OneCore, Rate, TimesBest(1.0, &[])),
    goal("stream16KiB", TwoCores, Rate, TimesBest(1.0, &[])),
    goal("stream64KiB", OneCore, Rate, Times(0.8, BARE)),
    goal("stream64KiB", TwoCores, Rate, Times(0.8, BARE)),
    goal("open12k", OneCore, P50, Times(1.1, BARE)),
    goal("open12k", OneCore, P99, Times(1.3, BARE)),
    goal("open12k", OneCore, P999, Times(2.0, BARE)),
    goal("open25k", OneCore, P50, Times(1.1, BARE)),
    goal("open25k", OneCore, P99, Times(1.3, BARE)),
    goal("open25k", OneCore, P999, Times(2.0, BARE)),
    goal("slow", OneCore, P99, OfOwn(2.0, "open12k")),
    // The bare loop has a task for each call that computes: it stalls no other on its connection.
    goal("busy", OneCore, P99, Times(1.3, BARE)),
    goal("busy", TwoCores, P99, Times(1.3, BARE)),
    goal("cost64", OneCore, ClientAllocations, Most(1.0)),
    goal("cost64", OneCore, ServerAllocations, Most(2.0)),
    goal("idle", OneCore, ServerMemory, Most(4096.0)),
    goal("switches", OneCore, Rate, Times(0.95, OURS_OFF)),
    goal("switches", OneCore, Rate, Times(0.95, OURS_OFF)).of(OURS_ON),
    goal("build", TwoCores, BuildSeconds, Times(0.75, "tarpc")),
    goal("build", TwoCores, BuildSeconds, Times(0.4, "tonic")),
];

impl Goal {
    /// Of a variant of this project.
    const fn of(self, who: &'static str) -> Self {
        Self { who, ..self }
    }

    /// The number that ours is held against, and where it comes from.
    fn limit(&self, tables: &[Table]) -> Option<(f64, String)> {
        let table = find(tables, self.workload, self.placement)?;
        let of = |peer: &str| Some(table.row(peer)?.figure(self.metric)?.median);
        match self.bound {
            Times(factor, peer) => Some((factor * of(peer)?, format!("{factor} × {peer}"))),
            TimesBest(factor, but) => {
                let others = table.rows.iter().map(|row| row.peer);
                let others = others.filter(|peer| Peer::is_other(peer) && !but.contains(peer));
                let figures = others.filter_map(|peer| Some((of(peer)?, peer)));
                let (best, peer) = figures.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
                let but = match but {
                    [] => String::new(),
                    but => format!(" but {}", but.join(", ")),
                };
                Some((
                    factor * best,
                    format!("{factor} × {peer}, the best of the others{but}"),
                ))
            }
            Most(limit) => Some((limit * MEASURING, "a number".to_owned())),
            OfOwn(factor, workload) => {
                let other = find(tables, workload, self.placement)?;
                let own = other.row(self.who)?.figure(self.metric)?.median;
                Some((factor * own, format!("{factor} × ours in `{workload}`")))
            }
        }
    }

    fn verdict(&self, tables: &[Table]) -> Option<String> {
        let table = find(tables, self.workload, self.placement)?;
        let ours = table.row(self.who)?.figure(self.metric)?.median;
        let (limit, source) = self.limit(tables)?;
        let (holds, sign) = match self.metric.more_is_better() {
            true => (ours >= limit, '≥'),
            false => (ours <= limit, '≤'),
        };
        let verdict = match (holds, table.doubts().is_empty()) {
            (_, false) => "in doubt",
            (true, _) => "holds",
            (false, _) => "MISSED",
        };
        let [ours, limit] = [ours, limit].map(|value| self.metric.show(value));
        let (workload, place) = (self.workload, self.placement.name());
        let (metric, who) = (self.metric.title(), self.who);
        Some(format!(
            "{verdict:<8}  {workload}, {place}: {who} has {ours} {metric} {sign} {limit} ({source})"
        ))
    }
}

fn find<'a>(tables: &'a [Table], workload: &str, placement: Placement) -> Option<&'a Table> {
    tables
        .iter()
        .find(|table| table.workload == workload && table.placement == placement)
}

/// Of the goals for which everything was measured, a line each.
pub(crate) fn verdicts(tables: &[Table]) -> Vec<String> {
    GOALS
        .iter()
        .filter_map(|goal| goal.verdict(tables))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::GOALS;
    use crate::workloads;

    #[test]
    fn every_goal_is_about_something_that_is_measured() {
        let all = workloads::all();
        for goal in GOALS {
            let found = all.iter().find(|workload| workload.name == goal.workload);
            assert!(
                found.is_some_and(
                    |load| load.metrics.contains(&goal.metric) && load.is_at(goal.placement)
                ),
                "{}",
                goal.workload
            );
        }
    }
}
