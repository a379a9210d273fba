//! The claim that no way round the gate leads to what a policy forbids: every way, for hundreds of harmful methods,
//! against a stand-in that believes everything. Behind it are controls which show that it can fail.
//!
//! In the suite it tries a few methods, which takes seconds; `cargo xtask prove bypass` tries all, by the variable
//! `BYPASS_METHODS`.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use turnpike_tests::{
    lenient::{
        Lenient, Table,
        names::may_mean,
        reading::{Execution, executions},
    },
    raw::{
        Attempt, How,
        case::{
            self, Case, cases,
            resources::{self, FORBIDDEN, ResourceCase},
        },
        downgraded,
        proof::{Reached, attempt_all, reached},
        ways::{self, FAMILIES, Handed, RESOURCE_FAMILIES, Speaker},
    },
    turnpike::standalone::{
        Folder, Standalone,
        client::{Agent, Answer},
    },
};

const AGENT: &str = "agents/coder";
/// The agent that may do nothing but what the allowed resources need.
const WRITER: &str = "agents/writer";

/// As many of the cases as are to be tried: all of them, or a tenth.
fn some<C>(mut cases: Vec<C>) -> Result<Vec<C>> {
    let count = match std::env::var("BYPASS_METHODS") {
        Ok(count) => count.parse()?,
        Err(_) => case::COUNT / 10,
    };
    ensure!(count <= case::COUNT, "there are {} methods", case::COUNT);
    let share = cases.len() * count / case::COUNT;
    cases.truncate(share);
    Ok(cases)
}

fn ids(cases: &[Case]) -> BTreeSet<&str> {
    let rpcs = cases
        .iter()
        .filter_map(|c| c.rpc.as_ref())
        .map(|r| r.own_id.as_str());
    cases.iter().map(|c| c.id).chain(rpcs).collect()
}

/// What came of a family of ways.
struct Tried {
    count: usize,
    reached: BTreeSet<Reached>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_round_leads_to_what_is_forbidden() -> Result<()> {
    let table = Table::new()?;
    let methods = methods(&table).await?;
    let resources = resources(&table).await?;
    let all: BTreeSet<_> = methods.reached.union(&resources.reached).collect();
    println!(
        "bypass: {} tried, {} reached Google as something the policy forbids",
        methods.count + resources.count,
        all.len()
    );
    ensure!(all.is_empty(), "{all:#?}");
    Ok(())
}

/// Methods that are denied, whatever they act on.
async fn methods(table: &Table) -> Result<Tried> {
    let cases = some(cases()?)?;
    let stand_in = Lenient::start().await?;
    let gate = Standalone::start(&stand_in, &case::guarding(&cases, &[])).await?;
    let agent = gate.agent(AGENT)?;
    let none = Handed::default();
    let forbidden = ids(&cases);
    let is_forbidden = |execution: &Execution| forbidden.contains(execution.id.as_str());

    // The neighbours arrive, and none of them looks like harm.
    attempt_all(&agent, &cases, &none, |case, speaker| {
        vec![neighbour(case, speaker)]
    })
    .await?;
    let messages = stand_in.take();
    for case in &cases {
        let arrived = messages.iter().any(|m| m.target == case.sibling);
        ensure!(arrived, "{} {} did not arrive", case.host, case.sibling);
    }
    assert_eq!(reached(table, &messages, is_forbidden), BTreeSet::new());

    let mut count = 0;
    for (family, make) in FAMILIES {
        let begun = Instant::now();
        let tried = attempt_all(&agent, &cases, &none, make).await?;
        println!("{family}: {tried} in {:.1?}", begun.elapsed());
        count += tried;
    }
    let messages = stand_in.take();
    println!(
        "{} requests arrived of what the policy allows; {} methods, {} of them by gRPC too",
        messages.len(),
        cases.len(),
        cases.iter().filter(|c| c.rpc.is_some()).count()
    );
    Ok(Tried {
        count,
        reached: reached(table, &messages, is_forbidden),
    })
}

fn neighbour(case: &Case, speaker: Speaker<'_>) -> Attempt {
    Attempt {
        way: "a neighbour",
        how: How::Request {
            bytes: speaker.request("GET", &case.sibling, &case.host, "", ""),
            host: case.host.clone(),
        },
    }
}

/// Whether somebody would take what a request names for a forbidden resource.
fn is_forbidden_name(execution: &Execution) -> bool {
    execution.names.iter().any(|name| may_mean(name, FORBIDDEN))
}

/// Resources that are denied to one agent, and not allowed to another, whatever is done with them.
async fn resources(table: &Table) -> Result<Tried> {
    let cases = some(resources::cases()?)?;
    let stand_in = Lenient::start().await?;
    let folder = Folder::new(&stand_in)?;
    for (name, policy) in resources::policies(&cases) {
        folder.write_policy(name, &policy)?;
    }
    let gate = folder.start().await?;
    let mut count = 0;
    let mut arrived = 0;
    let mut all = BTreeSet::new();
    for name in [AGENT, WRITER] {
        let agent = gate.agent(name)?;
        let handed = handed_out(&agent).await?;
        // The same method arrives for what is allowed, and so does its neighbour.
        attempt_all(&agent, &cases, &handed, |resource, speaker| {
            let case = &resource.case;
            let bytes = speaker.request(case.verb, &resource.open, &case.host, "", "");
            let how = How::Request {
                host: case.host.clone(),
                bytes,
            };
            let way = "what is allowed";
            vec![neighbour(case, speaker), Attempt { way, how }]
        })
        .await?;
        let messages = stand_in.take();
        for ResourceCase { case, open, .. } in &cases {
            for target in [&case.sibling, open] {
                let arrived = messages.iter().any(|m| m.target == *target);
                ensure!(arrived, "{name}: {} {target} did not arrive", case.host);
            }
        }
        assert_eq!(reached(table, &messages, is_forbidden_name), BTreeSet::new());
        for (family, make) in FAMILIES {
            let begun = Instant::now();
            let tried = attempt_all(&agent, &cases, &handed, |r, speaker| make(&r.case, speaker)).await?;
            println!("{family} to resources: {tried} in {:.1?}", begun.elapsed());
            count += tried;
        }
        for (family, make) in RESOURCE_FAMILIES {
            let begun = Instant::now();
            let tried = attempt_all(&agent, &cases, &handed, make).await?;
            println!("{family}: {tried} in {:.1?}", begun.elapsed());
            count += tried;
        }
        let messages = stand_in.take();
        arrived += messages.len();
        all.extend(reached(table, &messages, is_forbidden_name));
    }
    println!(
        "{arrived} requests arrived for resources that are allowed; {} methods, {} of them by gRPC too, by two agents",
        cases.len(),
        cases.iter().filter(|c| c.open_message.is_some()).count()
    );
    Ok(Tried { count, reached: all })
}

/// What the gate hands out to an agent for what it may do.
async fn handed_out(agent: &Agent) -> Result<Handed> {
    let begun = "storage.googleapis.com/upload/storage/v1/b/open-1/o?uploadType=resumable&name=item-1";
    let begun = agent.call("POST", begun, "").await?;
    let url = "cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions/open-1:generateDownloadUrl";
    let url = agent.call("POST", url, "{}").await?;
    let location = begun.headers.get("location").and_then(|v| v.to_str().ok());
    let answer = url.json();
    let below = |from: &Answer, url: Option<&str>| -> Result<String> {
        let path = url.and_then(|u| u.strip_prefix("https://storage.googleapis.com"));
        Ok(path
            .with_context(|| format!("hands nothing out: {}", from.text()))?
            .to_owned())
    };
    Ok(Handed {
        session: below(&begun, location)?,
        signed: below(&url, answer["downloadUrl"].as_str())?,
    })
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
    attempt_all(&agent, &cases, &Handed::default(), |case, speaker| {
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
    ":method CONNECT",
    ":method CONNECT as it should be",
    ":path with an asterisk",
    ":protocol",
    "OPTIONS",
    "PROPFIND",
    "SOCKS 4",
    "SOCKS 5",
    "TRACE",
    "TRACK",
    "X-Goog-Request-Params",
    "a length longer than DATA",
    "a long GET of a neighbour with a verb",
    "a long GET with a line end",
    "a method of WebDAV",
    "a verb with more",
    "a withheld body",
    "absolute-form with a host as user",
    "an empty :path",
    "h2c on the port",
    "no :method",
    "no :path",
    "the PROXY protocol",
];

/// Without a gate, the stand-in takes the ways for what they are: each hides the harmful method from somebody.
#[tokio::test]
async fn the_stand_in_believes_every_way() -> Result<()> {
    // Deletes what a neighbour reads, and reads what a neighbour does not.
    let wanted = [
        "secretmanager.projects.secrets.versions.access",
        "pubsub.projects.topics.delete",
    ];
    let handed = Handed::default();
    let speaker = Speaker {
        token: "x",
        handed: &handed,
    };
    let mut control = Control::new()?;
    for case in cases()?.iter().filter(|c| wanted.contains(&c.id)) {
        let forbidden = ids(std::slice::from_ref(case));
        for attempt in FAMILIES.iter().flat_map(|(_, make)| make(case, speaker)) {
            let is_forbidden = |execution: &Execution| forbidden.contains(execution.id.as_str());
            control.attempt(attempt, is_forbidden).await?;
        }
    }
    control.check(BELIEVED_BY_NOBODY)
}

/// Ways to resources that lead nobody anywhere: a name with another one in it is neither of them.
const RESOURCES_OF_NOBODY: &[&str] = &[
    "a rewrite with an encoded slash",
    "an encoded backslash behind the name",
    "an encoded slash and more behind the name",
];

/// The same for the ways to resources.
#[tokio::test]
async fn the_stand_in_believes_every_way_to_a_resource() -> Result<()> {
    let wanted = [
        "storage.objects.get",
        "secretmanager.projects.secrets.get",
        "compute.instances.delete",
    ];
    let handed = Handed {
        session: "/upload/storage/v1/b/open-1/o?uploadType=resumable&name=item-1&upload_id=sealed".to_owned(),
        signed: "/open-1/source.zip?turnpike-signed=sealed".to_owned(),
    };
    let speaker = Speaker {
        token: "x",
        handed: &handed,
    };
    let mut control = Control::new()?;
    for resource in resources::cases()?.iter().filter(|r| wanted.contains(&r.case.id)) {
        for attempt in RESOURCE_FAMILIES
            .iter()
            .flat_map(|(_, make)| make(resource, speaker))
        {
            control.attempt(attempt, is_forbidden_name).await?;
        }
    }
    control.check(RESOURCES_OF_NOBODY)
}

/// Ways that lead to a stand-in without a gate before it.
struct Control {
    table: Table,
    believed: BTreeSet<&'static str>,
    missed: BTreeSet<&'static str>,
}

impl Control {
    fn new() -> Result<Self> {
        Ok(Self {
            table: Table::new()?,
            believed: BTreeSet::new(),
            missed: BTreeSet::new(),
        })
    }

    /// Says the bytes of an attempt to a stand-in. A stream of HTTP/2 is said as a careless front end passes it on.
    async fn attempt(
        &mut self,
        Attempt { way, how }: Attempt,
        is_forbidden: impl Fn(&Execution) -> bool,
    ) -> Result<()> {
        let all = match how {
            How::Request { bytes, .. } | How::Bytes { bytes, .. } | How::Plain(bytes) => vec![bytes],
            How::Stream {
                fields,
                body,
                trailers,
                ..
            } => downgraded(&fields, body.as_deref(), &trailers),
        };
        for bytes in all {
            let stand_in = Lenient::start().await?;
            let mut stream = TcpStream::connect(stand_in.addr()).await?;
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            // It ends when it has read all; how is the same to everybody here.
            stream.read_to_end(&mut Vec::new()).await.ok();
            match reached(&self.table, &stand_in.take(), &is_forbidden).is_empty() {
                true => self.missed.insert(way),
                false => self.believed.insert(way),
            };
        }
        Ok(())
    }

    /// Ways that were believed by nobody are these.
    fn check(&self, by_nobody: &[&str]) -> Result<()> {
        let missed: Vec<_> = self.missed.difference(&self.believed).copied().collect();
        println!("{} ways are believed", self.believed.len());
        assert_eq!(missed, by_nobody);
        Ok(())
    }
}
