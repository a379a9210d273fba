//! The hub's reports, and the gate on files: one request for a call, spent once, and how waits end.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ResourceExt;
use tokio_util::sync::CancellationToken;
use turnpike_compiler::approval::Found;
use turnpike_crds::{
    AgentIdentity, ApprovalRequest, ApprovalRequestSpec, ApprovalRequestStatus, CallSummary, Phase,
    PolicyReference,
};
use uuid::Uuid;

use super::{Gate, Held, StoreError, Waited, file::FileStore, hub::Hub, phase};

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn held(letter: char) -> Held {
    let spec = ApprovalRequestSpec {
        agent: AgentIdentity {
            name: "agents/coder".to_owned(),
            issuer: None,
            session: None,
        },
        call: CallSummary {
            method: "run.namespaces.services.create".to_owned(),
            verb: "POST".to_owned(),
            url: "https://run.googleapis.com/x".to_owned(),
            ..CallSummary::default()
        },
        policies: vec![PolicyReference {
            namespace: "agents".to_owned(),
            name: "coder".to_owned(),
            uid: "u".to_owned(),
            generation: 1,
            rule: "deploy".to_owned(),
        }],
        requires: Vec::new(),
        risk: None,
        findings: Vec::new(),
        digest: digest(letter),
        expires_at: Time(Timestamp::UNIX_EPOCH),
    };
    Held {
        namespace: "agents".to_owned(),
        prefix: "coder".to_owned(),
        digest: spec.digest.parse().unwrap(),
        spec,
        hold_for: Duration::from_secs(10),
        expires_after: Duration::from_secs(3600),
    }
}

const MOST_OPEN: usize = 4;

struct Bench {
    hub: Arc<Hub>,
    store: Arc<FileStore>,
    gate: Arc<Gate>,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::default());
        let store = FileStore::open(dir.path().to_owned(), hub.clone(), |_| Found::Unknown).unwrap();
        let stop = CancellationToken::new();
        let gate = Gate::new(
            store.clone(),
            hub.clone(),
            "replica".to_owned(),
            MOST_OPEN,
            stop.clone(),
        );
        Self {
            hub,
            store,
            gate: Arc::new(gate),
            stop,
            _dir: dir,
        }
    }

    fn path(&self, request: &ApprovalRequest) -> std::path::PathBuf {
        self._dir.path().join(format!("{}.yaml", request.name_any()))
    }

    /// Writes a phase into the file, as settled reviews would, and reads the folder again.
    async fn decide(&self, request: &ApprovalRequest, phase: Phase) -> ApprovalRequest {
        let mut decided = request.clone();
        decided.status = Some(ApprovalRequestStatus {
            phase: Some(phase),
            ..ApprovalRequestStatus::default()
        });
        let path = self._dir.path().join(format!("{}.yaml", request.name_any()));
        std::fs::write(path, serde_json::to_string(&decided).unwrap()).unwrap();
        self.store.refresh().await;
        decided
    }
}

fn end(waited: &Waited) -> &'static str {
    match waited {
        Waited::Approved(_) => "approved",
        Waited::Denied(_) => "denied",
        Waited::Expired(_) => "expired",
        Waited::Superseded(_) => "superseded",
        Waited::Spent(_) => "spent",
        Waited::StillPending(_) => "pending",
        Waited::Gone { .. } => "gone",
    }
}

#[tokio::test]
async fn one_call_has_one_open_request_and_another_call_another() {
    let bench = Bench::new();
    let first = bench.gate.open(&held('a')).await.unwrap();
    assert_eq!(phase(&first), Phase::Pending);
    assert_eq!(first.namespace().as_deref(), Some("agents"));
    assert_eq!(bench.gate.open(&held('a')).await.unwrap(), first);
    let other = bench.gate.open(&held('b')).await.unwrap();
    assert_ne!(other.name_any(), first.name_any());

    // Other rules ask for themselves; so does the same call once its request is spent or over.
    let mut changed = held('a');
    changed.spec.policies[0].generation = 2;
    let changed = bench.gate.open(&changed).await.unwrap();
    assert_ne!(changed.name_any(), first.name_any());
    for over in [Phase::Consumed, Phase::Expired, Phase::Superseded] {
        let now = bench.gate.open(&held('a')).await.unwrap();
        bench.decide(&now, over).await;
        let next = bench.gate.open(&held('a')).await.unwrap();
        assert_ne!(next.name_any(), now.name_any(), "{over:?}");
    }
    // A denial is an answer to the same call as long as it could have been approved.
    let now = bench.gate.open(&held('a')).await.unwrap();
    bench.decide(&now, Phase::Denied).await;
    assert_eq!(
        bench.gate.open(&held('a')).await.unwrap().name_any(),
        now.name_any()
    );
}

#[tokio::test]
async fn an_agent_has_so_many_open_requests_and_no_more() {
    let bench = Bench::new();
    let all = ['a', 'b', 'c', 'd', 'e', 'f'].map(held);
    // At once: those that are being created count.
    let opened = futures::future::join_all(all.iter().map(|held| bench.gate.open(held))).await;
    let open: Vec<&ApprovalRequest> = opened.iter().flatten().collect();
    assert_eq!(open.len(), MOST_OPEN);
    for refused in opened.iter().filter_map(|o| o.as_ref().err()) {
        assert!(matches!(refused, StoreError::TooMany(MOST_OPEN)), "{refused}");
    }
    // The same call asks for nothing new, and another agent has its own.
    assert_eq!(&bench.gate.open(&held('a')).await.unwrap(), open[0]);
    let mut other = held('f');
    other.prefix = "other".to_owned();
    other.spec.agent.name = "agents/other".to_owned();
    bench.gate.open(&other).await.unwrap();
    // What is decided makes room.
    bench.decide(open[0], Phase::Denied).await;
    bench.gate.open(&held('e')).await.unwrap();
    assert!(matches!(
        bench.gate.open(&held('f')).await,
        Err(StoreError::TooMany(MOST_OPEN))
    ));
}

#[tokio::test]
async fn an_approval_is_spent_once_and_only_while_it_is_one() {
    let bench = Bench::new();
    let pending = bench.gate.open(&held('a')).await.unwrap();
    let spend = |request: ApprovalRequest| bench.gate.spend(request, Uuid::now_v7());
    assert!(matches!(spend(pending.clone()).await, Err(StoreError::Changed)));

    let approved = bench.decide(&pending, Phase::Approved).await;
    let (one, other) = tokio::join!(spend(approved.clone()), spend(approved.clone()));
    let mut ends = [one.is_ok(), other.is_ok()];
    ends.sort_unstable();
    assert_eq!(ends, [false, true]);
    let latest = bench.hub.latest("agents", &pending.name_any()).unwrap();
    assert_eq!(phase(&latest), Phase::Consumed);
    assert!(matches!(spend(approved).await, Err(StoreError::Changed)));

    // Whoever rewrites what was asked for has approved something else.
    let pending = bench.gate.open(&held('b')).await.unwrap();
    let approved = bench.decide(&pending, Phase::Approved).await;
    let mut rewritten = approved.clone();
    rewritten.spec.call.verb = "DELETE".to_owned();
    assert!(matches!(spend(rewritten).await, Err(StoreError::Changed)));
    assert!(spend(approved).await.is_ok());
}

#[tokio::test]
async fn a_wait_ends_as_the_request_does() {
    for (to, expected) in [
        (Phase::Approved, "approved"),
        (Phase::Denied, "denied"),
        (Phase::Expired, "expired"),
        (Phase::Consumed, "spent"),
        (Phase::Superseded, "superseded"),
    ] {
        // Decided while it waits, and before it does.
        for before in [false, true] {
            let bench = Bench::new();
            let request = bench.gate.open(&held('a')).await.unwrap();
            let waiting = bench.gate.wait(request.clone(), Duration::from_secs(10));
            let deciding = async {
                if !before {
                    tokio::task::yield_now().await;
                }
                bench.decide(&request, to).await;
            };
            let waited = match before {
                true => {
                    deciding.await;
                    waiting.await
                }
                false => tokio::join!(waiting, deciding).0,
            };
            assert_eq!(end(&waited), expected, "{to:?}, before: {before}");
        }
    }
}

#[tokio::test]
async fn a_wait_ends_with_its_time_its_request_or_its_file() {
    let bench = Bench::new();
    let request = bench.gate.open(&held('a')).await.unwrap();
    let waited = bench.gate.wait(request.clone(), Duration::from_millis(1)).await;
    assert_eq!(end(&waited), "pending");

    let mut short = held('b');
    short.expires_after = Duration::ZERO;
    let over = bench.gate.open(&short).await.unwrap();
    let waited = bench.gate.wait(over, Duration::from_secs(10)).await;
    assert_eq!(end(&waited), "expired");

    let path = bench._dir.path().join(format!("{}.yaml", request.name_any()));
    let waiting = bench.gate.wait(request.clone(), Duration::from_secs(10));
    let deleting = async {
        tokio::task::yield_now().await;
        std::fs::remove_file(&path).unwrap();
        bench.store.refresh().await;
    };
    assert_eq!(end(&tokio::join!(waiting, deleting).0), "gone");

    // Who stops holds nobody up, and leaves the request to the next replica.
    let request = bench.gate.open(&held('d')).await.unwrap();
    bench.stop.cancel();
    let waited = bench.gate.wait(request, Duration::from_secs(10)).await;
    assert_eq!(end(&waited), "pending");

    // A file that cannot be read leaves its request as it was.
    let request = bench.gate.open(&held('c')).await.unwrap();
    let path = bench._dir.path().join(format!("{}.yaml", request.name_any()));
    std::fs::write(&path, "spec: [").unwrap();
    bench.store.refresh().await;
    assert_eq!(
        bench.hub.latest("agents", &request.name_any()),
        Some(Arc::new(request))
    );
}

/// Sets when a file was last changed, in days before now; a file is trusted to stay as it is after seconds.
fn changed_before(path: &std::path::Path, days: u64) {
    let then = std::time::SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(then).unwrap();
}

#[tokio::test]
async fn only_files_that_changed_are_read_again_and_expiry_needs_no_file() {
    let bench = Bench::new();
    let mut short = held('a');
    short.expires_after = Duration::from_secs(2);
    let request = bench.gate.open(&short).await.unwrap();
    let path = bench.path(&request);
    let latest = || bench.hub.latest("agents", &request.name_any());
    changed_before(&path, 1);
    bench.store.refresh().await;
    // The same length, inode and time of change: what is in it now is not looked at.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("POST", "HEAD")).unwrap();
    changed_before(&path, 1);
    let stamp = std::fs::metadata(&path).unwrap().modified().unwrap();
    bench.store.refresh().await;
    let read = latest().unwrap().spec.call.verb.clone();
    // Both times were a day ago, but not the same nanosecond.
    assert_eq!(read, "HEAD");
    std::fs::write(&path, text.replace("POST", "EDIT")).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(stamp).unwrap();
    bench.store.refresh().await;
    assert_eq!(latest().unwrap().spec.call.verb, "HEAD");
    // It expires all the same, and its file says so.
    let expired = async {
        while phase(&latest().unwrap()) != Phase::Expired {
            bench.store.refresh().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), expired)
        .await
        .unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("phase: Expired"));
}

#[tokio::test]
async fn files_of_what_is_over_for_a_week_are_removed() {
    let bench = Bench::new();
    for (letter, to, days, kept) in [
        ('a', Phase::Consumed, 8, false),
        ('b', Phase::Consumed, 6, true),
        ('c', Phase::Expired, 8, false),
        // A denial answers the same call until its time is over.
        ('d', Phase::Denied, 8, true),
        ('e', Phase::Approved, 8, true),
    ] {
        let request = bench.gate.open(&held(letter)).await.unwrap();
        bench.decide(&request, to).await;
        changed_before(&bench.path(&request), days);
        bench.store.refresh().await;
        let there = bench.path(&request).exists();
        let told = bench.hub.latest("agents", &request.name_any()).is_some();
        assert_eq!((there, told), (kept, kept), "{to:?} {days}");
    }
}

#[tokio::test]
async fn the_hub_tells_every_change_and_misses_none_before_it_was_asked() {
    let hub = Hub::default();
    let request = |name: &str, verb: &str| {
        let mut request = ApprovalRequest::new(name, held('a').spec);
        request.metadata.namespace = Some("agents".to_owned());
        request.spec.call.verb = verb.to_owned();
        request
    };
    let mut early = hub.subscribe("agents", "one");
    hub.put(request("one", "GET"));
    let mut late = hub.subscribe("agents", "one");
    for changes in [&mut early, &mut late] {
        assert_eq!(changes.next().await.as_deref(), Some(&request("one", "GET")));
    }
    // A list is the whole truth: what is not in it is gone, what is in it is told.
    hub.put(request("two", "GET"));
    let mut two = hub.subscribe("agents", "two");
    assert!(two.next().await.is_some());
    hub.replace_all(vec![request("one", "PUT")]);
    assert_eq!(early.next().await.as_deref(), Some(&request("one", "PUT")));
    assert_eq!(two.next().await, None);
    assert_eq!(hub.latest("agents", "two"), None);
    // Who waits for a request that no list has yet is not told that it is gone.
    let mut unborn = hub.subscribe("agents", "three");
    hub.replace_all(vec![request("one", "PUT")]);
    hub.put(request("three", "GET"));
    assert!(unborn.next().await.is_some());
    hub.remove("agents", "three");
    assert_eq!(unborn.next().await, None);
}
