//! Conditions: what they answer for a call, and when they have no answer.

mod spelling;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use smallvec::smallvec;
use turnpike_policy::{
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    condition::{Condition, EvalError, Scene},
    request::{Body, Form, RequestFacts},
};

/// What a scene is made of; each test changes what it is about.
struct Stage {
    caller: Caller,
    call: Call,
    resource: Option<Resource>,
    form: Form,
    verb: &'static str,
    query: Vec<(&'static str, &'static str)>,
    headers: Vec<(&'static str, &'static str)>,
    size: Option<u64>,
    body: Told,
    risk: Option<u8>,
}

/// A body that a stage owns.
enum Told {
    Unread,
    Absent,
    Json(Value),
    Unreadable,
}

fn resource(name: &str, kind: &'static str, scope: Scope) -> Resource {
    let parts: Vec<&str> = name.split('/').collect();
    let after = |word: &str| {
        let at = parts.iter().position(|part| *part == word)?;
        parts.get(at + 1).map(|part| (*part).to_owned())
    };
    Resource {
        name: name.into(),
        project: after("projects").filter(|project| project != "_"),
        location: after("locations"),
        kind,
        id: after(kind),
        scope,
    }
}

impl Default for Stage {
    fn default() -> Self {
        let resource = resource(
            "projects/acme/locations/us-central1/functions/billing",
            "functions",
            Scope::Exact,
        );
        Self {
            caller: Caller {
                identity: Identity::ServiceAccount {
                    namespace: "agents".into(),
                    name: "coder".into(),
                },
                issuer: "https://kubernetes.default.svc".into(),
                session: "run-7".into(),
                pod: None,
            },
            call: Call {
                method: "cloudfunctions.projects.locations.functions.patch",
                index: MethodIndex(0),
                api: "cloudfunctions",
                version: "v2",
                traits: Traits::CHANGE,
                transport: Transport::Rest,
                resources: smallvec![resource.clone()],
            },
            resource: Some(resource),
            form: Form::Rest,
            verb: "PATCH",
            query: vec![("updateMask", "labels"), ("tag", "a"), ("tag", "b")],
            headers: vec![("x-goog-user-project", "acme"), ("accept", "application/json")],
            size: Some(2_048),
            body: Told::Json(json!({
                "labels": {"env": "production", "team": "core"},
                "replicas": 3,
                "ratio": 1.5,
                "public": true,
                "ingress": "ALLOW_ALL",
                "bindings": [
                    {"role": "roles/viewer", "members": ["user:a@acme", "allUsers"]},
                    {"role": "roles/owner", "members": ["user:b@acme"]},
                ],
                "sizeBytes": "1073741824",
                "nothing": null,
                "mixed": [1, "one", true],
                "service_account": "x@acme.iam",
            })),
            risk: Some(40),
        }
    }
}

impl Stage {
    fn oidc() -> Self {
        let claims = BTreeMap::from([("repository".to_owned(), "acme/app".to_owned())]);
        Self {
            caller: Caller {
                identity: Identity::Oidc {
                    issuer: "https://ci.acme".into(),
                    subject: "repo:acme/app".into(),
                    audiences: vec!["turnpike".into()],
                    claims,
                },
                issuer: "https://ci.acme".into(),
                session: "s".into(),
                pod: None,
            },
            ..Self::default()
        }
    }

    fn on(name: &str, kind: &'static str, scope: Scope) -> Self {
        Self {
            resource: Some(resource(name, kind, scope)),
            ..Self::default()
        }
    }

    fn with_body(body: Told) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    fn ask(&self, text: &str) -> Result<bool, EvalError> {
        let condition = Condition::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let request = RequestFacts {
            form: self.form,
            verb: self.verb,
            host: "cloudfunctions.googleapis.com",
            query: &self.query,
            headers: &self.headers,
            size: self.size,
            body: match &self.body {
                Told::Unread => Body::Unread,
                Told::Absent => Body::Absent,
                Told::Json(json) => Body::Json(json),
                Told::Unreadable => Body::Unreadable,
            },
            parts: &[],
        };
        condition.holds(&Scene {
            caller: &self.caller,
            call: &self.call,
            resource: self.resource.as_ref(),
            request: &request,
            now: "2026-03-02T08:30:15.250Z".parse::<Timestamp>().unwrap(),
            risk: self.risk,
        })
    }

    /// Each expression with its answer.
    fn answers(&self, rows: &[(&str, Result<bool, EvalError>)]) {
        for (text, expected) in rows {
            assert_eq!(&self.ask(text), expected, "{text}");
        }
    }

    /// Expressions that all are true.
    fn all_true(&self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.ask(text), Ok(true), "{text}");
        }
    }
}

fn absent(name: &'static str) -> Result<bool, EvalError> {
    Err(EvalError::Absent(name.into()))
}

#[test]
fn every_name_is_what_the_call_says() {
    Stage::default().all_true(&[
        r#"method == "cloudfunctions.projects.locations.functions.patch""#,
        r#"api == "cloudfunctions""#,
        r#"resource.name == "projects/acme/locations/us-central1/functions/billing""#,
        r#"resource.project == "acme""#,
        r#"resource.location == "us-central1""#,
        r#"resource.type == "functions""#,
        r#"resource.id == "billing""#,
        r#"request.verb == "PATCH""#,
        r#"request.host == "cloudfunctions.googleapis.com""#,
        r#"request.query.updateMask == "labels""#,
        r#"request.headers["x-goog-user-project"] == "acme""#,
        r#"request.headers.accept.startsWith("application/")"#,
        "request.size == 2048",
        r#"request.body.labels.env == "production""#,
        r#"agent.namespace == "agents""#,
        r#"agent.serviceAccount == "coder""#,
        "size(agent.claims) == 0",
        r#"agent.session == "run-7""#,
        r#"now == timestamp("2026-03-02T08:30:15.250Z")"#,
        "risk == 40",
    ]);
}

#[test]
fn operators() {
    Stage::default().all_true(&[
        "1 + 2 * 3 == 7",
        "7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1",
        "1.5 * 2.0 == 3.0",
        "risk + 1 > 40 && risk - 1 < 40 && risk * 2 == 80 && risk % 7 == 5 && risk / 3 == 13",
        "1 == 1.0 && 1 < 1.5 && 2.5 >= 2",
        r#""a" + "b" == "ab" && "a" < "b""#,
        "!(risk == 41) && risk != 41",
        r#"risk > 50 ? false : resource.id == "billing""#,
        r#"resource.type in ["functions", "services"]"#,
        r#"!(resource.type in ["services"]) && "x-goog-user-project" in request.headers"#,
        r#""team" in request.body.labels && !("who" in request.body.labels)"#,
        r#"[1, 2, 3][1] == 2 && {"a": 1}["a"] == 1 && {"a": 1}.a == 1 && "a" in {"a": 1}"#,
        r#"[1, 2] == [1, 2] && [1, 2] != [2, 1] && {"a": 1} == {"a": 1} && [] != [1]"#,
        r#"[risk, 2] == [40, 2] && {"a": risk} != {"a": 1}"#,
        "-risk == -40 && - (1.5) == -1.5",
        "request.body.bindings[1].role == \"roles/owner\"",
        "request.body.replicas + 1 == 4 && request.body.ratio < 2",
        "request.body.nothing == null && request.body.replicas != null",
        "request.body.public",
    ]);
}

#[test]
fn macros() {
    Stage::default().all_true(&[
        r#"request.body.bindings.exists(b, b.role == "roles/owner")"#,
        r#"request.body.bindings.exists(b, b.members.exists(m, m in ["allUsers", "allAuthenticatedUsers"]))"#,
        r#"!request.body.bindings.all(b, b.role.startsWith("roles/o"))"#,
        r#"request.body.bindings.exists_one(b, b.role == "roles/viewer")"#,
        r#"request.body.bindings.existsOne(b, b.role == "roles/viewer")"#,
        r#"request.body.bindings.map(b, b.role) == ["roles/viewer", "roles/owner"]"#,
        r#"request.body.bindings.map(b, b.role != "roles/owner", b.role) == ["roles/viewer"]"#,
        r#"request.body.bindings.filter(b, size(b.members) > 1).size() == 1"#,
        r#"request.body.labels.all(k, k in ["env", "team"])"#,
        r#"request.query.exists(k, k == "tag")"#,
        r#"request.headers.all(h, h != "authorization")"#,
        r#"[1, 2, 3].map(x, x * x).filter(y, y > 1) == [4, 9]"#,
        r#"[].all(x, x == 1) && ![].exists(x, x == 1)"#,
        r#"{"a": 1}.map(k, k + "!") == ["a!"]"#,
        r#"agent.claims.all(c, c == "none")"#,
        r#"[[1], [2, 3]].exists(x, x.exists(y, y == 3))"#,
    ]);
}

#[test]
fn functions() {
    Stage::default().all_true(&[
        r#"resource.id.endsWith("ing") && resource.id.contains("ill") && !resource.id.startsWith("x")"#,
        r#"resource.name.matches("^projects/[a-z]+/") && matches(resource.id, "l{2}")"#,
        r#"!resource.id.matches("^ill")"#,
        r#"request.verb.lowerAscii() == "patch" && "é".upperAscii() == "é""#,
        r#"" a ".trim() == "a" && request.verb.trim() == "PATCH""#,
        r#"resource.name.split("/")[1] == "acme" && "ab".split("") == ["a", "b"] && "".split(",") == [""]"#,
        r#"request.verb.lowerAscii().split("t") == ["pa", "ch"] && request.verb.lowerAscii().split("").size() == 5"#,
        r#"size("é") == 1 && "abc".size() == 3 && size([1]) == 1 && size({"a": 1}) == 1"#,
        r#"int("42") == 42 && int(1.9) == 1 && int(-1.9) == -1 && int(timestamp("1970-01-01T00:01:00Z")) == 60"#,
        r#"double("1.5") == 1.5 && double(2) == 2.0"#,
        r#"string(1) == "1" && string(true) == "true" && string(duration("90m")) == "5400s""#,
        r#"string(timestamp("2026-01-01T01:00:00+01:00")) == "2026-01-01T00:00:00Z" && string(1.5) == "1.5""#,
        r#"int(request.body.sizeBytes) > 1000000000"#,
    ]);
}

#[test]
fn times() {
    Stage::default().all_true(&[
        r#"now > timestamp("2026-03-01T00:00:00Z") && now - duration("1h") < now"#,
        r#"now - timestamp("2026-03-02T08:00:00Z") < duration("31m")"#,
        r#"now + duration("30m") == duration("30m") + now"#,
        "now.getFullYear() == 2026 && now.getMonth() == 2 && now.getDate() == 2 && now.getDayOfMonth() == 1",
        "now.getDayOfWeek() == 1 && now.getDayOfYear() == 60",
        "now.getHours() == 8 && now.getMinutes() == 30 && now.getSeconds() == 15 && now.getMilliseconds() == 250",
        r#"now.getHours("Europe/Berlin") == 9 && now.getHours("-08:00") == 0 && now.getDayOfWeek("+20:00") == 2"#,
        r#"duration("90m").getHours() == 1 && duration("90m").getMinutes() == 90 && duration("1.5s").getMilliseconds() == 1500"#,
        r#"duration("1h") + duration("30m") == duration("90m") && duration("1h") > duration("-1h")"#,
        "timestamp(0) == timestamp(\"1970-01-01T00:00:00Z\")",
    ]);
}

#[test]
fn what_is_absent_is_an_error_unless_it_was_asked_for() {
    let listing = Stage::on("projects/acme/locations/us-central1", "functions", Scope::Exact);
    listing.answers(&[
        ("has(resource.id)", Ok(false)),
        (r#"resource.id == "x""#, absent("resource.id")),
        (r#"!has(resource.id) || resource.id == "x""#, Ok(true)),
        (
            r#"resource.name == "projects/acme/locations/us-central1""#,
            Ok(true),
        ),
    ]);
    let bucket = Stage::on("projects/_/buckets/b", "buckets", Scope::Exact);
    bucket.answers(&[
        ("has(resource.project)", Ok(false)),
        (r#"resource.project != "prod""#, absent("resource.project")),
        (r#"resource.location == "eu""#, absent("resource.location")),
        (r#"resource.id == "b""#, Ok(true)),
    ]);
    let none = Stage {
        resource: None,
        ..Stage::default()
    };
    none.answers(&[
        ("has(resource.name) || has(resource.type)", Ok(false)),
        (r#"resource.name == "x""#, absent("resource.name")),
        (r#"resource.name.startsWith("x")"#, absent("resource.name")),
        (r#"resource.type == "x""#, absent("resource.type")),
    ]);
    Stage::default().answers(&[
        (
            r#"request.headers.cookie == "x""#,
            absent("request.headers.cookie"),
        ),
        (
            r#"request.headers["x-a"] == "x""#,
            absent("request.headers[\"x-a\"]"),
        ),
        ("has(request.headers.cookie)", Ok(false)),
        ("has(request.headers.accept)", Ok(true)),
        ("has(agent.claims.repository)", Ok(false)),
        ("request.body.who == 1", absent("request.body.who")),
        (
            "request.body.bindings[0].who == 1",
            absent("request.body.bindings[0].who"),
        ),
        ("has(request.body.who)", Ok(false)),
        ("has(request.body.labels.env)", Ok(true)),
        ("has(request.body.who.what)", absent("request.body.who")),
        ("has(request.body.nothing)", Ok(true)),
        (
            "request.body.bindings[2].role == \"x\"",
            Err(EvalError::OutOfRange("request.body.bindings[2]".into())),
        ),
        (
            "request.body.bindings[0 - 1].role == \"x\"",
            Err(EvalError::OutOfRange("request.body.bindings[..]".into())),
        ),
    ]);
    Stage {
        size: None,
        ..Stage::default()
    }
    .answers(&[
        ("has(request.size)", Ok(false)),
        ("request.size > 1", absent("request.size")),
    ]);
    Stage {
        risk: None,
        ..Stage::default()
    }
    .answers(&[("risk > 1", Err(EvalError::RiskUnknown))]);
}

#[test]
fn callers_of_oidc_have_claims_and_no_namespace() {
    Stage::oidc().answers(&[
        ("has(agent.namespace) || has(agent.serviceAccount)", Ok(false)),
        (r#"agent.namespace == "agents""#, absent("agent.namespace")),
        (
            r#"agent.serviceAccount == "coder""#,
            absent("agent.serviceAccount"),
        ),
        (r#"agent.claims.repository == "acme/app""#, Ok(true)),
        (r#"agent.claims["repository"].startsWith("acme/")"#, Ok(true)),
        ("has(agent.claims.ref)", Ok(false)),
        (r#"agent.claims.ref == "x""#, absent("agent.claims.ref")),
    ]);
}

/// A rule must not be passed by by the choice of a form in which a call has its verb and its parameters elsewhere.
#[test]
fn what_stands_elsewhere_in_another_form_is_not_known() {
    let unknown = |name: &'static str| Err(EvalError::OtherForm(name));
    let of = |form, method| {
        let mut stage = Stage {
            form,
            ..Stage::default()
        };
        stage.call.method = method;
        stage
    };
    let rest = "cloudfunctions.projects.locations.functions.patch";
    for form in [Form::Other, Form::Batch] {
        of(form, rest).answers(&[
            (r#"request.verb == "DELETE""#, unknown("request.verb")),
            ("has(request.query.force)", unknown("request.query")),
            (r#""force" in request.query"#, unknown("request.query")),
            (r#"request.query.all(p, p != "force")"#, unknown("request.query")),
            (r#"request.host == "cloudfunctions.googleapis.com""#, Ok(true)),
            ("request.size > 1", Ok(true)),
            (r#"request.verb == "DELETE" || risk > 1"#, Ok(true)),
        ]);
        let mut with_body = of(form, rest);
        with_body.answers(&[
            ("has(request.body.x)", unknown("request.body")),
            ("has(request.body)", unknown("request.body")),
        ]);
        with_body.body = Told::Unreadable;
        with_body.answers(&[("has(request.body)", Err(EvalError::BodyUnreadable))]);
        with_body.body = Told::Absent;
        with_body.answers(&[("has(request.body)", unknown("request.body"))]);
    }
    of(Form::Other, rest).answers(&[("has(request.headers.accept)", Ok(true))]);
    of(Form::Batch, rest).answers(&[("has(request.headers.accept)", unknown("request.headers"))]);
    // A method that only gRPC has is not told in any other form.
    of(Form::Other, "google.bigtable.v2.Bigtable.MutateRow").answers(&[
        ("has(request.body.labels)", Ok(true)),
        ("has(request.body.x)", Ok(false)),
    ]);
}

#[test]
fn bodies_that_nobody_can_read_have_no_answer() {
    let unread = [
        ("has(request.body)", Err(EvalError::BodyUnread)),
        ("has(request.body.x)", Err(EvalError::BodyUnread)),
        ("request.body.x == 1", Err(EvalError::BodyUnread)),
        (r#"request.verb == "GET" && request.body.x == 1"#, Ok(false)),
        (r#"request.body.x == 1 && request.verb == "GET""#, Ok(false)),
    ];
    Stage::with_body(Told::Unread).answers(&unread);
    Stage::with_body(Told::Unreadable).answers(&[
        ("has(request.body)", Err(EvalError::BodyUnreadable)),
        ("request.body.x == 1", Err(EvalError::BodyUnreadable)),
    ]);
    Stage::with_body(Told::Absent).answers(&[
        ("has(request.body)", Ok(false)),
        ("has(request.body) && has(request.body.x)", Ok(false)),
        ("has(request.body.x)", absent("request.body")),
        ("request.body.x == 1", absent("request.body")),
    ]);
}

#[test]
fn names_that_a_call_does_not_tell_are_not_read() {
    let open = |name: &'static str| Err(EvalError::Open(name));
    let created = Stage::on("projects/acme/locations/eu", "functions", Scope::Below);
    created.answers(&[
        (
            r#"resource.name == "projects/acme/locations/eu""#,
            open("resource.name"),
        ),
        (
            r#"resource.name != "projects/acme/locations/eu""#,
            open("resource.name"),
        ),
        (r#"resource.id == "x""#, open("resource.id")),
        ("has(resource.id)", open("resource.id")),
        ("!has(resource.name)", open("resource.name")),
        (r#"resource.name.endsWith("x")"#, open("resource.name")),
        (
            r#"resource.project == "acme" && resource.location == "eu" && resource.type == "functions""#,
            Ok(true),
        ),
        // What is known of the name can decide.
        (r#"resource.name.startsWith("projects/acme/")"#, Ok(true)),
        (
            r#"resource.name.startsWith("projects/acme/locations/eu")"#,
            Ok(true),
        ),
        (
            r#"resource.name.startsWith("projects/acme/locations/eu/")"#,
            Ok(true),
        ),
        (
            r#"resource.name.startsWith("projects/acme/locations/eu/functions/x")"#,
            open("resource.name"),
        ),
        (
            r#"resource.name.startsWith("projects/acme/locations/eu-west1")"#,
            Ok(false),
        ),
        (r#"resource.name.startsWith("projects/prod/")"#, Ok(false)),
        (r#"resource.name.startsWith("")"#, Ok(true)),
    ]);
    let any = Stage::on("projects/acme/locations/-/functions/f", "functions", Scope::Exact);
    any.answers(&[
        (
            r#"resource.name == "projects/acme/locations/-/functions/f""#,
            open("resource.name"),
        ),
        (r#"resource.id == "f""#, open("resource.id")),
        (r#"resource.location == "-""#, open("resource.location")),
        (r#"resource.location != "prod""#, open("resource.location")),
        ("has(resource.location)", open("resource.location")),
        (r#"resource.project == "acme""#, Ok(true)),
        (
            r#"resource.name.startsWith("projects/acme/locations/")"#,
            Ok(true),
        ),
        (
            r#"resource.name.startsWith("projects/acme/locations/e")"#,
            open("resource.name"),
        ),
        (
            r#"resource.name.startsWith("projects/acme/locations/-")"#,
            open("resource.name"),
        ),
        (r#"resource.name.startsWith("projects/prod")"#, Ok(false)),
    ]);
    let project = Stage::on("projects/-/serviceAccounts/a", "serviceAccounts", Scope::Exact);
    project.answers(&[
        (r#"resource.project == "acme""#, open("resource.project")),
        (r#"resource.name.startsWith("projects/")"#, Ok(true)),
        (
            r#"resource.name.startsWith("projects/acme")"#,
            open("resource.name"),
        ),
    ]);
}

#[test]
fn what_comes_twice_has_no_one_value() {
    let repeated = |path: &'static str| Err(EvalError::Repeated(path.into()));
    Stage::default().answers(&[
        (r#"request.query.tag == "a""#, repeated("request.query.tag")),
        (
            r#"request.query["tag"] == "b""#,
            repeated("request.query[\"tag\"]"),
        ),
        (
            r#"request.query[resource.type == "functions" ? "tag" : "x"] == "b""#,
            repeated("request.query[..]"),
        ),
        ("has(request.query.tag)", Ok(true)),
        (r#""tag" in request.query"#, Ok(true)),
        (r#"request.query.updateMask == "labels""#, Ok(true)),
    ]);
}

#[test]
fn errors_are_absorbed_only_where_they_cannot_change_the_answer() {
    let error = || Err(EvalError::Absent("request.body.x".into()));
    Stage::default().answers(&[
        ("request.body.x == 1 || true", Ok(true)),
        ("true || request.body.x == 1", Ok(true)),
        ("request.body.x == 1 || false", error()),
        ("false || request.body.x == 1", error()),
        ("request.body.x == 1 && false", Ok(false)),
        ("request.body.x == 1 && true", error()),
        ("!(request.body.x == 1)", error()),
        ("request.body.x == 1 ? true : true", error()),
        ("true ? true : request.body.x == 1", Ok(true)),
        ("[1, 2].exists(i, i == 2 || request.body.x == 1)", Ok(true)),
        ("[1, 2].exists(i, i == 3 || request.body.x == 1)", error()),
        ("[1, 2].all(i, i == 1 && request.body.x == 1)", Ok(false)),
        ("[1, 2].all(i, i > 0 && request.body.x == 1)", error()),
        ("[1, 2].exists_one(i, i == 1 || request.body.x == 1)", error()),
        ("[1, 2].filter(i, request.body.x == i).size() == 0", error()),
    ]);
}

#[test]
fn arithmetic_that_has_no_result_is_an_error() {
    Stage::default().answers(&[
        ("risk / (risk - 40) == 1", Err(EvalError::DivisionByZero)),
        ("risk % (risk - 40) == 1", Err(EvalError::DivisionByZero)),
        ("risk + 9223372036854775807 > 0", Err(EvalError::Overflow("+"))),
        ("risk * 9223372036854775807 > 0", Err(EvalError::Overflow("*"))),
        (
            "-(risk - 41 + -9223372036854775807) > 0",
            Err(EvalError::Overflow("-")),
        ),
        (
            r#"now + duration("80000000h") > now"#,
            Err(EvalError::Overflow("+")),
        ),
        (
            r#"now.getHours() == 8 && now - duration("20000000h") < now"#,
            Err(EvalError::Overflow("-")),
        ),
    ]);
}

#[test]
fn evaluations_are_bounded() {
    let list = |count: usize| Told::Json(json!({"list": vec![1; count], "long": "x".repeat(1 << 20)}));
    Stage::with_body(list(10_000)).answers(&[
        ("request.body.list.all(x, x == 1)", Ok(true)),
        (
            "request.body.list.all(x, request.body.list.all(y, x == y))",
            Err(EvalError::TooCostly),
        ),
        (
            "request.body.list.exists(x, request.body.list.exists(y, x != y)) || true",
            Err(EvalError::TooCostly),
        ),
        (
            "request.body.list.map(x, request.body.long + request.body.long).size() > 1",
            Err(EvalError::TooCostly),
        ),
        ("2 in request.body.list", Ok(false)),
        ("request.body.list == request.body.list", Ok(true)),
        (
            "request.body.list.exists(x, request.body.list == request.body.list && x == 2)",
            Err(EvalError::TooCostly),
        ),
        (
            "request.body.long.split(\"\").size() > 1",
            Err(EvalError::TooLarge("what split() makes")),
        ),
        (
            "request.body.long.matches(\"y\")",
            Err(EvalError::TooLarge("a text that matches() looks through")),
        ),
        ("request.body.long.contains(\"y\")", Ok(false)),
    ]);
    // A pattern costs by its size: this one is looked for in a name, and not in a long text.
    let text = |length: usize| Told::Json(json!({"x": "ab".repeat(length / 2)}));
    let pattern = r#"request.body.x.matches("b[ab]{300}[^ab]")"#;
    Stage::with_body(text(1_000)).answers(&[(pattern, Ok(false))]);
    Stage::with_body(text(60_000)).answers(&[(pattern, Err(EvalError::TooCostly))]);
    Stage::with_body(text(10_000)).answers(&[(r#"request.body.x.matches("^\\w{1,63}$")"#, Ok(false))]);
    Stage::with_body(list(10_001)).answers(&[
        (
            "request.body.list.all(x, x == 1)",
            Err(EvalError::TooLarge("the list or map of a macro")),
        ),
        (
            "1 in request.body.list",
            Err(EvalError::TooLarge("the list of `in`")),
        ),
        (
            "request.body.list.size() == 10001 && request.body.list[10000] == 1",
            Ok(true),
        ),
    ]);
}

#[test]
fn the_deepest_evaluation_needs_little_stack() {
    // The deepest that compiles, over two of the deepest bodies that parse, compared member by member.
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let body: Value = serde_json::from_str(&format!(r#"{{"a": {deep}, "b": {deep}}}"#)).unwrap();
    let text = format!(
        "{}request.body.a == request.body.b{}",
        "!(".repeat(36),
        ")".repeat(36)
    );
    let evaluated = std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || Stage::with_body(Told::Json(body)).ask(&text))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(evaluated, Ok(true));
}

#[test]
fn what_a_condition_reads_is_known() {
    let rows = [
        (r#"request.verb == "GET""#, ""),
        ("has(request.body)", "body"),
        ("request.body.x == 1 && risk > 1", "body risk"),
        ("has(request.headers.a) || has(request.query.b)", "headers query"),
        ("request.size > 1 && now > timestamp(0)", "size now"),
        ("[1].exists(x, request.body.x == x)", "body"),
    ];
    for (text, expected) in rows {
        let reads = Condition::compile(text).unwrap().reads();
        let named = [
            ("body", reads.body),
            ("headers", reads.headers),
            ("query", reads.query),
            ("size", reads.size),
            ("risk", reads.risk),
            ("now", reads.now),
        ];
        let names: Vec<&str> = named
            .into_iter()
            .filter(|(_, read)| *read)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names.join(" "), expected, "{text}");
    }
}

#[test]
fn a_condition_is_its_text() {
    let condition = Condition::compile("risk > 1").unwrap();
    assert_eq!(condition.text(), "risk > 1");
    assert_eq!(format!("{condition:?}"), "Condition(\"risk > 1\")");
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&condition);
}
