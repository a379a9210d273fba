//! The attacks that must not get through.

use serde_json::{Value, json};

use crate::attack::{Attack, Stop, Way};
use crate::bench::{
    ADMIN, ALICE, BOB, CAROL, CI, CODER, DAVE, OIDC_ROBOT, OPERATOR, PROXY, ROBOT, State, consumption,
    digest, review,
};

const OWN_KEY: &str = "a review is written under your own user name alone, which is ";
const ACCOUNT: &str = "a ServiceAccount approves nothing, whatever it is granted";
const REQUESTER: &str = "nobody approves a call of their own";
const ONCE: &str = "a review is final: it is neither changed nor removed";
const LATE: &str = "the request is ";
const DIGEST: &str = "the review is of another call: the digest of this one is sha256:";
const GROUPS: &str = "a review names only groups that you are in";
const VERB: &str = "you may not approve calls under every policy that asks: have the verb \"approve\" granted on \
    agentpolicies agents/coder, turnpike-system/floor, agents/coder";
const TURNPIKE: &str = "all of the status but your own review is written by Turnpike";
const OPERATORS_PART: &str = "the operator settles reviews and writes none, and spends no approval";
const PROXYS_PART: &str = "a proxy writes that an approval is spent, and no other part of the status";
const SPENT: &str = "an approval is spent once, while the request is Approved, and stays spent";
const FINAL: &str = "decisions are final, and a request that is decided is never opened again";
const CREATE: &str = "a proxy alone makes approval requests";
const DELETE: &str = "approval requests are removed by the operator, or by people who may delete them";
const OBJECT: &str =
    "labels, annotations, owners and finalizers of an approval request stay as the proxy made them";
const IMMUTABLE: &str = "the spec of an approval request is immutable";

fn approve(who: &str) -> Way {
    Way::Merge(review(who, "Approve"))
}

fn status(fields: Value) -> Value {
    json!({"status": fields})
}

/// Every attack, its name once.
pub fn attacks() -> Vec<Attack> {
    [reviews(), states(), accounts(), objects()]
        .into_iter()
        .flatten()
        .collect()
}

/// By people who write reviews.
fn reviews() -> Vec<Attack> {
    use State::{Approved, Consumed, Denied, Expired, Pending, Reviewed};
    use Stop::{Guard, Server};
    let named = json!({"decision": "Approve"});
    let other = format!("sha256:{}", "b".repeat(64));
    let of_another = json!({"reviews": {ALICE: {"decision": "Approve", "digest": other}}});
    // She is in "people" alone.
    let grouped = json!({"reviews": {ALICE: {"decision": "Approve", "groups": ["people", "security"]}}});
    let at = |who: &str| format!("/status/reviews/{who}");
    vec![
        Attack::new("forged-name", ALICE, Pending, approve(DAVE), Guard(OWN_KEY)),
        Attack::new(
            "forged-name-of-nobody",
            ALICE,
            Pending,
            approve("eve"),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "forged-name-in-other-case",
            ALICE,
            Pending,
            approve("Alice@acme.example"),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "forged-beside-own",
            ALICE,
            Pending,
            Way::Merge(status(json!({"reviews": {ALICE: named, DAVE: named}}))),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "forged-by-json-patch",
            ALICE,
            Pending,
            Way::Json(json!([{"op": "add", "path": "/status/reviews", "value": {DAVE: named}}])),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "forged-by-apply",
            ALICE,
            Pending,
            Way::Apply(json!({"reviews": {DAVE: named}})),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "forged-by-put",
            ALICE,
            Pending,
            Way::Put(json!({"reviews": {DAVE: named}})),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "forged-by-administrator",
            ADMIN,
            Pending,
            approve(DAVE),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "impersonated-without-right",
            CAROL,
            Pending,
            approve(ALICE),
            Server("cannot impersonate resource \"users\""),
        )
        .impersonating(ALICE),
        // Who impersonates is judged as the one who is impersonated, whatever else he may do.
        Attack::new(
            "impersonated-without-verb",
            ADMIN,
            Pending,
            approve(CAROL),
            Guard(VERB),
        )
        .impersonating(CAROL),
        Attack::new(
            "impersonated-agent",
            ADMIN,
            Pending,
            approve(CODER),
            Guard(ACCOUNT),
        )
        .impersonating(CODER),
        Attack::new(
            "impersonated-forged",
            ADMIN,
            Pending,
            approve(ALICE),
            Guard(OWN_KEY),
        )
        .impersonating(DAVE),
        Attack::new("agents-account", CODER, Pending, approve(CODER), Guard(ACCOUNT)),
        Attack::new(
            "agents-account-for-another",
            CODER,
            Pending,
            approve(CODER),
            Guard(ACCOUNT),
        )
        .agent("agents/other"),
        Attack::new("account-of-ci", CI, Pending, approve(CI), Guard(ACCOUNT)),
        Attack::new(
            "account-denies",
            CI,
            Pending,
            Way::Merge(review(CI, "Deny")),
            Guard(ACCOUNT),
        ),
        Attack::new(
            "account-in-a-persons-name",
            CODER,
            Pending,
            approve(ALICE),
            Guard(OWN_KEY),
        ),
        Attack::new("own-call", ROBOT, Pending, approve(ROBOT), Guard(REQUESTER)).agent(ROBOT),
        Attack::new(
            "own-call-by-prefixed-name",
            OIDC_ROBOT,
            Pending,
            approve(OIDC_ROBOT),
            Guard(REQUESTER),
        )
        .agent(ROBOT),
        Attack::new("owner-without-verb", CAROL, Pending, approve(CAROL), Guard(VERB)),
        Attack::new("one-policy-of-two", BOB, Pending, approve(BOB), Guard(VERB)),
        Attack::new(
            "denial-without-verb",
            CAROL,
            Pending,
            Way::Merge(review(CAROL, "Deny")),
            Guard(VERB),
        ),
        Attack::new(
            "second-write",
            DAVE,
            Reviewed,
            Way::Merge(review(DAVE, "Deny")),
            Guard(ONCE),
        ),
        Attack::new(
            "second-write-of-words",
            DAVE,
            Reviewed,
            Way::Merge(status(
                json!({"reviews": {DAVE: {"reason": "on second thoughts"}}}),
            )),
            Guard(ONCE),
        ),
        Attack::new(
            "second-write-by-apply",
            DAVE,
            Reviewed,
            Way::Apply(json!({"reviews": {DAVE: {"decision": "Deny"}}})),
            Guard(ONCE),
        ),
        Attack::new(
            "own-removal",
            DAVE,
            Reviewed,
            Way::Merge(status(json!({"reviews": {DAVE: null}}))),
            Guard(ONCE),
        ),
        Attack::new(
            "removal-of-anothers",
            ALICE,
            Reviewed,
            Way::Json(json!([{"op": "remove", "path": at(DAVE)}])),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "removal-of-all",
            ALICE,
            Reviewed,
            Way::Merge(status(json!({"reviews": null}))),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "removal-of-the-status",
            ALICE,
            Reviewed,
            Way::Json(json!([{"op": "remove", "path": "/status"}])),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "exchange-of-anothers",
            ALICE,
            Reviewed,
            Way::Json(json!([{"op": "move", "from": at(DAVE), "path": at(ALICE)}])),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "changed-digest",
            ALICE,
            Pending,
            Way::Merge(status(of_another)),
            Guard(DIGEST),
        ),
        Attack::new(
            "foreign-group",
            ALICE,
            Pending,
            Way::Merge(status(grouped)),
            Guard(GROUPS),
        ),
        Attack::new(
            "late-approval-after-denial",
            ALICE,
            Denied,
            approve(ALICE),
            Guard(LATE),
        ),
        Attack::new(
            "late-denial-after-approval",
            ALICE,
            Approved,
            Way::Merge(review(ALICE, "Deny")),
            Guard(LATE),
        ),
        Attack::new(
            "late-approval-after-expiry",
            ALICE,
            Expired,
            approve(ALICE),
            Guard(LATE),
        ),
        Attack::new(
            "late-approval-after-spending",
            ALICE,
            Consumed,
            approve(ALICE),
            Guard(LATE),
        ),
    ]
}

/// By people who write what is Turnpike's.
fn states() -> Vec<Attack> {
    use State::{Approved, Consumed, Denied, Pending};
    use Stop::Guard;
    let own = json!({ALICE: {"decision": "Approve"}});
    let condition = json!([{"type": "Approved", "status": "True", "reason": "Approved", "message": "by me",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let by = |name, who, on, fields| Attack::new(name, who, on, Way::Merge(status(fields)), Guard(TURNPIKE));
    vec![
        by("phase-by-approver", ALICE, Pending, json!({"phase": "Approved"})),
        by(
            "phase-beside-review",
            ALICE,
            Pending,
            json!({"phase": "Approved", "reviews": own}),
        ),
        by("phase-by-owner", CAROL, Pending, json!({"phase": "Approved"})),
        by("phase-by-agent", CODER, Pending, json!({"phase": "Approved"})),
        by(
            "phase-by-administrator",
            ADMIN,
            Pending,
            json!({"phase": "Approved"}),
        ),
        by("phase-removed", ALICE, Denied, json!({"phase": null})),
        by(
            "conditions-by-approver",
            ALICE,
            Pending,
            json!({"conditions": condition}),
        ),
        by(
            "decided-by-approver",
            ALICE,
            Pending,
            json!({"decidedBy": [DAVE]}),
        ),
        by("reason-by-approver", ALICE, Pending, json!({"reason": "fine"})),
        by("reopening", ALICE, Denied, json!({"phase": "Pending"})),
        by(
            "spending-by-approver",
            ALICE,
            Approved,
            json!({"consumption": consumption("me")}),
        ),
        by(
            "spending-undone-by-approver",
            ALICE,
            Consumed,
            json!({"consumption": null, "phase": "Approved"}),
        ),
        Attack::new(
            "phase-by-apply",
            ALICE,
            Pending,
            Way::Apply(json!({"phase": "Approved"})),
            Guard(TURNPIKE),
        ),
        Attack::new(
            "phase-by-put",
            ALICE,
            Pending,
            Way::Put(json!({"phase": "Approved"})),
            Guard(TURNPIKE),
        ),
    ]
}

/// By Turnpike's own accounts, beyond their parts: what somebody could do who has taken one over.
fn accounts() -> Vec<Attack> {
    use State::{Approved, Consumed, Denied, Expired, Pending};
    use Stop::Guard;
    let spent = |by: &str| json!({"consumption": consumption(by)});
    vec![
        Attack::new("proxy-approves", PROXY, Pending, approve(PROXY), Guard(ACCOUNT)),
        Attack::new("proxy-forges", PROXY, Pending, approve(ALICE), Guard(OWN_KEY)),
        Attack::new(
            "proxy-settles",
            PROXY,
            Pending,
            Way::Put(json!({"phase": "Approved"})),
            Guard(PROXYS_PART),
        ),
        Attack::new(
            "proxy-settles-and-spends",
            PROXY,
            Pending,
            Way::Put(json!({"phase": "Approved", "consumption": consumption("proxy-0")})),
            Guard(PROXYS_PART),
        ),
        Attack::new(
            "proxy-writes-conditions",
            PROXY,
            Approved,
            Way::Put(json!({"reason": "fine"})),
            Guard(PROXYS_PART),
        ),
        Attack::new(
            "proxy-spends-undecided",
            PROXY,
            Pending,
            Way::Put(spent("proxy-0")),
            Guard(SPENT),
        ),
        Attack::new(
            "proxy-spends-denied",
            PROXY,
            Denied,
            Way::Put(spent("proxy-0")),
            Guard(SPENT),
        ),
        Attack::new(
            "proxy-spends-expired",
            PROXY,
            Expired,
            Way::Put(spent("proxy-0")),
            Guard(SPENT),
        ),
        Attack::new(
            "proxy-spends-twice",
            PROXY,
            Consumed,
            Way::Put(spent("proxy-1")),
            Guard(SPENT),
        ),
        Attack::new(
            "proxy-unspends",
            PROXY,
            Consumed,
            Way::Put(json!({"consumption": null})),
            Guard(SPENT),
        ),
        Attack::new("proxy-deletes", PROXY, Denied, Way::Delete, Guard(DELETE)),
        Attack::new(
            "operator-forges",
            OPERATOR,
            Pending,
            approve(ALICE),
            Guard(OWN_KEY),
        ),
        Attack::new(
            "operator-approves",
            OPERATOR,
            Pending,
            approve(OPERATOR),
            Guard(ACCOUNT),
        ),
        Attack::new(
            "operator-spends",
            OPERATOR,
            Approved,
            Way::Put(spent("operator")),
            Guard(OPERATORS_PART),
        ),
        Attack::new(
            "operator-reopens",
            OPERATOR,
            Denied,
            Way::Put(json!({"phase": "Pending"})),
            Guard(FINAL),
        ),
        Attack::new(
            "operator-approves-after-denial",
            OPERATOR,
            Denied,
            Way::Put(json!({"phase": "Approved"})),
            Guard(FINAL),
        ),
        Attack::new(
            "operator-revives",
            OPERATOR,
            Consumed,
            Way::Put(json!({"phase": "Approved"})),
            Guard(FINAL),
        ),
        Attack::new(
            "operator-reopens-approved",
            OPERATOR,
            Approved,
            Way::Put(json!({"phase": "Pending"})),
            Guard(FINAL),
        ),
        Attack::new(
            "operator-creates",
            OPERATOR,
            State::Deleted,
            Way::Create(json!({})),
            Guard(CREATE),
        ),
    ]
}

/// On the object itself: its spec, its metadata, its beginning and its end.
fn objects() -> Vec<Attack> {
    use State::{Approved, Deleted, Denied, Pending};
    use Stop::{Guard, Ignored, Server};
    let on = |name, who, patch, stop| Attack::new(name, who, Pending, Way::Object(patch), stop);
    let approved = json!({"phase": "Approved", "reviews": {ALICE: {"decision": "Approve"}}});
    let owner =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1", "controller": true}]);
    vec![
        on(
            "spec-edited",
            ALICE,
            json!({"spec": {"call": {"method": "storage.buckets.delete"}}}),
            Server(IMMUTABLE),
        ),
        on(
            "digest-edited",
            ADMIN,
            json!({"spec": {"digest": digest().replace('a', "b")}}),
            Server(IMMUTABLE),
        ),
        on(
            "expiry-edited",
            ALICE,
            json!({"spec": {"expiresAt": "2199-01-01T00:00:00Z"}}),
            Server(IMMUTABLE),
        ),
        on(
            "policies-edited",
            ALICE,
            json!({"spec": {"policies": []}}),
            Server("spec.policies"),
        ),
        Attack::new(
            "spec-by-status",
            ALICE,
            Pending,
            Way::Merge(json!({"spec": {"expiresAt": "2199-01-01T00:00:00Z"}})),
            Ignored,
        ),
        on("status-by-object", ALICE, json!({"status": approved}), Ignored),
        on(
            "labelled",
            ALICE,
            json!({"metadata": {"labels": {"turnpike.dev/probe": "true"}}}),
            Guard(OBJECT),
        ),
        on(
            "annotated",
            CAROL,
            json!({"metadata": {"annotations": {"turnpike.dev/approved": "true"}}}),
            Guard(OBJECT),
        ),
        on(
            "given-an-owner",
            CAROL,
            json!({"metadata": {"ownerReferences": owner}}),
            Guard(OBJECT),
        ),
        on(
            "kept-by-finalizer",
            CAROL,
            json!({"metadata": {"finalizers": ["acme.example/keep"]}}),
            Guard(OBJECT),
        ),
        on(
            "labelled-by-proxy",
            PROXY,
            json!({"metadata": {"labels": {"case": "other"}}}),
            Guard(OBJECT),
        ),
        Attack::new(
            "created-by-approver",
            ALICE,
            Deleted,
            Way::Create(json!({})),
            Guard(CREATE),
        ),
        Attack::new(
            "created-by-agent",
            CODER,
            Deleted,
            Way::Create(json!({})),
            Guard(CREATE),
        ),
        Attack::new(
            "created-by-administrator",
            ADMIN,
            Deleted,
            Way::Create(json!({})),
            Guard(CREATE),
        ),
        // The one who deleted it makes it anew, approved.
        Attack::new(
            "deleted-and-recreated",
            CAROL,
            Deleted,
            Way::Create(json!({"status": approved})),
            Guard(CREATE),
        ),
        Attack::new(
            "copied",
            CAROL,
            Approved,
            Way::Create(json!({"metadata": {"name": "copy"}, "status": approved})),
            Guard(CREATE),
        ),
        Attack::new("deleted-by-agent", CODER, Denied, Way::Delete, Guard(DELETE)),
        Attack::new(
            "deleted-by-agent-as-collection",
            CODER,
            Denied,
            Way::DeleteCollection,
            Guard(DELETE),
        ),
        Attack::new("deleted-by-requester", ROBOT, Denied, Way::Delete, Guard(DELETE)).agent(ROBOT),
    ]
}
