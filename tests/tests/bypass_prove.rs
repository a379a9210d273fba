//! The claim that no way round the gate leads to what a policy forbids: every way, for hundreds of harmful methods,
//! against a stand-in that believes everything. Behind it are controls which show that it can fail.
//!
//! In the suite it tries a few methods, which takes seconds; `cargo xtask prove bypass` tries all, by the variable
//! `BYPASS_METHODS`.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use turnpike_tests::{
    lenient::{Lenient, Table, reading::executions},
    raw::{
        Attempt, How,
        case::{self, Case, cases},
        proof::{attempt_all, reached},
        ways::{self, FAMILIES, Speaker},
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
    let rpcs = cases
        .iter()
        .filter_map(|c| c.rpc.as_ref())
        .map(|r| r.own_id.as_str());
    cases.iter().map(|c| c.id).chain(rpcs).collect()
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
        let how = How::Request { host, bytes };
        vec![Attempt {
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
        "{} requests arrived of what the policy allows; {} methods, {} of them by gRPC too",
        messages.len(),
        cases.len(),
        cases.iter().filter(|c| c.rpc.is_some()).count()
    );
    println!(
        "bypass: {tried} tried, {} reached Google as something the policy forbids",
        reached.len()
    );
    ensure!(reached.is_empty(), "{reached:#?}");
    Ok(())
}

/// RPCs that no policy lets pass: their answers may hold secrets, and nobody could find them.
const WITHOUT_DESCRIPTOR: &[&str] = &["google.cloud.iap.v1beta1.IdentityAwareProxyAdminV1Beta1.SetIamPolicy"];

/// With a policy that allows everything, every method arrives and is seen for what it is, by REST and by gRPC.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_is_seen_for_what_it_is() -> Result<()> {
    let cases = cases()?;
    let table = Table::new()?;
    let stand_in = Lenient::start().await?;
    let gate = Standalone::start(&stand_in, &case::open()).await?;
    let agent = gate.agent(AGENT)?;
    attempt_all(&agent, &cases, |case, speaker| {
        let mut attempts = ways::family("plain", case, speaker);
        let forms = ways::family("forms", case, speaker).into_iter();
        attempts.extend(forms.filter(|a| a.way == "gRPC"));
        attempts
    })
    .await?;
    let messages = stand_in.messages();
    let seen: BTreeSet<String> = messages
        .iter()
        .flat_map(|m| executions(&table, m))
        .map(|e| e.id)
        .collect();
    let all = ids(&cases);
    let missed: Vec<&str> = all.iter().copied().filter(|id| !seen.contains(*id)).collect();
    println!("{} methods and RPCs are seen", all.len());
    assert_eq!(missed, WITHOUT_DESCRIPTOR);
    Ok(())
}

/// Ways that no server of HTTP could be led by: verbs that do no harm, other protocols, and what is tried for its
/// effect on the gate alone.
const BELIEVED_BY_NOBODY: &[&str] = &[
    "OPTIONS",
    "PROPFIND",
    "SOCKS 4",
    "SOCKS 5",
    "TRACE",
    "TRACK",
    "X-Goog-Request-Params",
    "a long GET of a neighbour with a verb",
    "a long GET with a line end",
    "a method of WebDAV",
    "a verb with more",
    "a withheld body",
    "absolute-form with a host as user",
    "h2c on the port",
    "the PROXY protocol",
];

/// Without a gate, the stand-in takes the ways for what they are: each hides the harmful method from somebody.
#[tokio::test]
async fn the_stand_in_believes_every_way() -> Result<()> {
    let cases = cases()?;
    let table = Table::new()?;
    // Deletes what a neighbour reads, and reads what a neighbour does not.
    let wanted = [
        "secretmanager.projects.secrets.versions.access",
        "pubsub.projects.topics.delete",
    ];
    let mut missed = BTreeSet::new();
    let mut believed = BTreeSet::new();
    for case in cases.iter().filter(|c| wanted.contains(&c.id)) {
        let speaker = Speaker { token: "x" };
        for (_, make) in FAMILIES {
            for Attempt { way, how } in make(case, speaker) {
                let (How::Request { bytes, .. } | How::Bytes { bytes, .. } | How::Plain(bytes)) = how else {
                    continue;
                };
                let stand_in = Lenient::start().await?;
                let mut stream = TcpStream::connect(stand_in.addr()).await?;
                stream.write_all(&bytes).await?;
                stream.shutdown().await?;
                // It ends when it has read all; how is the same to everybody here.
                stream.read_to_end(&mut Vec::new()).await.ok();
                let messages = stand_in.take();
                match reached(&table, &messages, &ids(std::slice::from_ref(case))).is_empty() {
                    true => missed.insert(way),
                    false => believed.insert(way),
                };
            }
        }
    }
    let missed: Vec<_> = missed.difference(&believed).copied().collect();
    println!("{} ways are believed", believed.len());
    assert_eq!(missed, BELIEVED_BY_NOBODY);
    Ok(())
}
