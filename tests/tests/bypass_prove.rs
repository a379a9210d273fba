//! The claim that no way round the gate leads to what a policy forbids: every way, for hundreds of harmful methods,
//! against a stand-in that believes everything. Behind it are controls which show that it can fail.
//!
//! In the suite it tries a few methods, which takes seconds; `cargo xtask prove bypass` tries all, by the variable
//! `BYPASS_METHODS`.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, ensure};
use turnpike_tests::{
    lenient::{Lenient, Table, reading::executions},
    raw::{
        case::{self, Case, cases},
        proof::{attempt_all, reached},
        ways::{self, FAMILIES},
    },
    turnpike::standalone::Standalone,
};

const AGENT: &str = "agents/coder";

/// The methods to try.
fn some_cases() -> Result<Vec<Case>> {
    let count = match std::env::var("BYPASS_METHODS") {
        Ok(count) => count.parse()?,
        Err(_) => 24,
    };
    let mut cases = cases()?;
    ensure!(count <= cases.len(), "there are {} methods", cases.len());
    cases.truncate(count);
    Ok(cases)
}

fn ids(cases: &[Case]) -> BTreeSet<&str> {
    cases.iter().map(|c| c.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_round_leads_to_what_is_forbidden() -> Result<()> {
    let cases = some_cases()?;
    let table = Table::new()?;
    let stand_in = Lenient::start().await?;
    let gate = Standalone::start(&stand_in, &case::guarding(&cases, &[])).await?;
    let agent = gate.agent(AGENT)?;

    // The neighbours arrive, and none of them looks like harm.
    attempt_all(&agent, &cases, |case, speaker| {
        let bytes = speaker.request("GET", &case.sibling, &case.host, "", "");
        let host = case.host.clone();
        let how = turnpike_tests::raw::How::Request { host, bytes };
        vec![turnpike_tests::raw::Attempt {
            way: "a neighbour",
            how,
        }]
    })
    .await?;
    let messages = stand_in.take();
    for case in &cases {
        let arrived = messages.iter().any(|m| m.target == case.sibling);
        ensure!(arrived, "{} {} did not arrive", case.host, case.sibling);
    }
    assert_eq!(reached(&table, &messages, &ids(&cases)), BTreeSet::new());

    let mut tried = 0;
    for (family, make) in FAMILIES {
        let begun = Instant::now();
        let count = attempt_all(&agent, &cases, make).await?;
        println!("{family}: {count} in {:.1?}", begun.elapsed());
        tried += count;
    }
    let messages = stand_in.take();
    let reached = reached(&table, &messages, &ids(&cases));
    println!(
        "{} requests arrived of what the policy allows; {} methods",
        messages.len(),
        cases.len()
    );
    println!(
        "bypass: {tried} tried, {} reached Google as something the policy forbids",
        reached.len()
    );
    ensure!(reached.is_empty(), "{reached:#?}");
    Ok(())
}

/// With a policy that allows everything, every method arrives and is seen for what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_is_seen_for_what_it_is() -> Result<()> {
    let cases = cases()?;
    let table = Table::new()?;
    let stand_in = Lenient::start().await?;
    let gate = Standalone::start(&stand_in, &case::open()).await?;
    let agent = gate.agent(AGENT)?;
    attempt_all(&agent, &cases, |case, speaker| {
        ways::family("plain", case, speaker)
    })
    .await?;
    let seen = stand_in.messages();
    let seen: BTreeSet<String> = seen
        .iter()
        .flat_map(|m| executions(&table, m))
        .map(|e| e.id)
        .collect();
    let missed: Vec<_> = cases.iter().filter(|c| !seen.contains(c.id)).collect();
    ensure!(missed.is_empty(), "{missed:#?}");
    Ok(())
}
