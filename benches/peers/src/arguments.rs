//! The command line.

use std::path::PathBuf;

use crate::peers::{self, PEERS};
use crate::placement::Placement;
use crate::plan::Plan;
use crate::workloads::{self, Workload};
use crate::{Result, report};

const HELP: &str = "\
Measures this project side by side with its peers.

    cargo run --release --manifest-path benches/peers/Cargo.toml -- [options]

  --quick            short windows: to see whether it works, not to conclude from
  --peer NAMES       only these, separated by commas; may be repeated
  --workload NAMES   only these
  --placement NAMES  only these; by default one-core and two-cores
  --rounds N         how often everything is measured; 5, and 3 with --quick
  --window MS        how long one measurement takes; 2000, and 300 with --quick
  --json FILE        write every figure of every round
  --markdown FILE    put the tables between the two marks in FILE
  --svg FILE         write the plot
  --draft            write tables and plot even if nothing can be concluded; they say so
  --list             tell the names of peers, workloads and placements
";

/// Nothing if all that was asked for is to be told something.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Plan>> {
    let mut plan = Plan::default();
    let (mut peer_names, mut workload_names) = (Vec::new(), Vec::new());
    let mut placements = Vec::new();
    let (mut rounds, mut window_ms) = (None, None);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{option} needs a value"));
        match &*option {
            "--quick" => plan.quick = true,
            "--draft" => plan.draft = true,
            "--peer" => peer_names.extend(names(&value()?)),
            "--workload" => workload_names.extend(names(&value()?)),
            "--placement" => placements.extend(names(&value()?)),
            "--rounds" => rounds = Some(value()?.parse()?),
            "--window" => window_ms = Some(value()?.parse()?),
            "--json" => plan.json = Some(PathBuf::from(value()?)),
            "--markdown" => plan.markdown = Some(report::markdown::marked(value()?.into())?),
            "--svg" => plan.svg = Some(PathBuf::from(value()?)),
            "--list" => {
                list();
                return Ok(None);
            }
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(None);
            }
            _ => return Err(format!("unknown option {option}; --help lists them").into()),
        }
    }
    plan.rounds = rounds.unwrap_or(if plan.quick { 3 } else { 5 });
    plan.window_ms = window_ms.unwrap_or(if plan.quick { 300 } else { 2000 });
    if plan.rounds == 0 || plan.window_ms == 0 {
        return Err("--rounds and --window are at least 1".into());
    }
    plan.peers = pick("peer", &peer_names, PEERS, |peer| peer.name)?;
    plan.asked_for_peers = !peer_names.is_empty();
    plan.workloads = pick("workload", &workload_names, &workloads::all(), |load| {
        load.name
    })?;
    plan.placements = pick("placement", &placements, &Placement::ALL, |place| {
        place.name()
    })?;
    if placements.is_empty() {
        plan.placements.retain(|place| *place != Placement::Split);
    }
    Ok(Some(plan))
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// All, if none is named; in their own order.
fn pick<T: Clone>(
    kind: &str,
    names: &[String],
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<T>> {
    let known = |wanted: &String| all.iter().any(|one| name(one) == wanted);
    if let Some(unknown) = names.iter().find(|wanted| !known(wanted)) {
        return Err(format!("no {kind} `{unknown}`; --list tells the names").into());
    }
    let wanted = |one: &&T| names.is_empty() || names.iter().any(|wanted| wanted == name(one));
    Ok(all.iter().filter(wanted).cloned().collect())
}

fn list() {
    println!("peers:");
    for peer in peers::PEERS {
        println!("  {:<12} {}", peer.name, peer.what);
    }
    println!("workloads:");
    for Workload { name, what, .. } in workloads::all() {
        println!("  {name:<12} {what}");
    }
    println!("placements:");
    for place in Placement::ALL {
        println!("  {:<12} {}", place.name(), place.what());
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn parsed(line: &str) -> crate::Result<Option<crate::plan::Plan>> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn names_are_picked_in_their_own_order_and_unknown_ones_refused() {
        let plan = parsed("--quick --peer tarpc,bare --peer ours --workload 64")
            .unwrap()
            .unwrap();
        let names: Vec<_> = plan.peers.iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["bare", "ours", "tarpc"]);
        assert_eq!(
            (plan.rounds, plan.workloads.len(), plan.placements.len()),
            (3, 1, 2)
        );
        assert!(parsed("--peer nobody").is_err_and(|error| error.to_string().contains("nobody")));
        for wrong in ["--peer", "--rounds 0", "--rounds x", "--what"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
