//! Conditions over generated texts, expressions and scenes: nothing panics, what is well typed compiles, and
//! where our evaluator has an answer the interpreter of the `cel` crate has the same.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use cel::{Context, Env, Value as Cel, extensions};
use jiff::Timestamp;
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};
use turnpike_policy::{
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    condition::{Condition, EvalError, MAX_CHARACTERS, Scene},
    request::{Body, Form, RequestFacts},
};

/// What a scene is made of.
#[derive(Debug, Clone)]
struct Stage {
    caller: Caller,
    resource: Option<Resource>,
    verb: &'static str,
    query: BTreeMap<&'static str, &'static str>,
    headers: BTreeMap<&'static str, &'static str>,
    size: Option<u64>,
    body: Option<Value>,
    seconds: i64,
    risk: u8,
}

const TEXTS: [&str; 7] = ["", "a", "b", "ab", "a/b", "é", "POST"];
const NAMES: [&str; 4] = ["a", "b", "c", "fooBar"];

fn text_of() -> impl Strategy<Value = &'static str> {
    select(&TEXTS[..])
}

fn json_of(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..60).prop_map(Value::from),
        (-4_i32..4).prop_map(|n| json!(f64::from(n) / 2.0)),
        text_of().prop_map(Value::from),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        2 => leaf,
        1 => prop::collection::vec(json_of(depth - 1), 0..4).prop_map(Value::from),
        2 => prop::collection::btree_map(select(vec!["a", "b", "c", "fooBar", "foo_bar"]), json_of(depth - 1), 0..4)
            .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
    ]
    .boxed()
}

fn stages() -> impl Strategy<Value = Stage> {
    let identity = prop_oneof![
        (text_of(), text_of()).prop_map(|(namespace, name)| Identity::ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        }),
        prop::collection::btree_map(select(&NAMES[..]), text_of(), 0..3).prop_map(|claims| Identity::Oidc {
            issuer: "i".into(),
            subject: "s".into(),
            audiences: vec![],
            claims: claims
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }),
    ];
    let pairs = || prop::collection::btree_map(select(&NAMES[..3]), text_of(), 0..3);
    let resource = (
        select(vec!["projects/acme/things/a", "projects/ab", "a/b"]),
        prop::option::of(text_of()),
        prop::option::of(text_of()),
        prop::option::of(text_of()),
        select(vec!["a", "things"]),
    )
        .prop_map(|(name, project, location, id, kind)| Resource {
            name: name.into(),
            project: project.map(Into::into),
            location: location.map(Into::into),
            kind,
            id: id.map(Into::into),
            scope: Scope::Exact,
        });
    let request = (text_of(), pairs(), pairs(), prop::option::of(0_u64..50));
    let rest = (
        prop::option::weighted(0.9, json_of(3)),
        -3_000_000_000_i64..5_000_000_000,
        0_u8..=100,
    );
    (identity, prop::option::weighted(0.9, resource), request, rest).prop_map(
        |(identity, resource, (verb, query, headers, size), (body, seconds, risk))| Stage {
            caller: Caller {
                identity,
                issuer: "i".into(),
                session: "ab".into(),
                pod: None,
            },
            resource,
            verb,
            query,
            headers,
            size,
            body,
            seconds,
            risk,
        },
    )
}

impl Stage {
    fn ask(&self, condition: &Condition) -> Result<bool, EvalError> {
        self.ask_with(
            condition,
            self.query.iter().map(|(name, value)| (*name, *value)).collect(),
        )
    }

    /// The same with the query's parameters in the other order, which CEL leaves open.
    fn ask_turned(&self, condition: &Condition) -> Result<bool, EvalError> {
        let query = self.query.iter().rev();
        self.ask_with(condition, query.map(|(name, value)| (*name, *value)).collect())
    }

    fn ask_with(&self, condition: &Condition, query: Vec<(&str, &str)>) -> Result<bool, EvalError> {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, *value)).collect();
        let request = RequestFacts {
            form: Form::Rest,
            verb: self.verb,
            host: "a.googleapis.com",
            query: &query,
            headers: &headers,
            size: self.size,
            body: self.body.as_ref().map_or(Body::Absent, Body::Json),
            parts: &[],
        };
        let call = Call {
            method: "a.things.get",
            index: MethodIndex(0),
            api: "a",
            version: "v1",
            traits: Traits::READ,
            transport: Transport::Rest,
            resources: Default::default(),
        };
        condition.holds(&Scene {
            caller: &self.caller,
            call: &call,
            resource: self.resource.as_ref(),
            request: &request,
            now: Timestamp::from_second(self.seconds).unwrap(),
            risk: Some(self.risk),
        })
    }

    /// The same scene as variables of the `cel` crate.
    fn context(&self, env: &Arc<Env>) -> Context<'static, 'static> {
        let mut context = Context::with_env(Arc::clone(env));
        let fields = |pairs: Vec<(&str, Option<Cel>)>| {
            let there = pairs
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            Cel::Map(there.collect::<HashMap<_, _>>().into())
        };
        let texts = |pairs: &BTreeMap<&str, &str>| {
            fields(
                pairs
                    .iter()
                    .map(|(name, value)| (*name, Some(Cel::from(*value))))
                    .collect(),
            )
        };
        let text = |text: Option<&str>| text.map(Cel::from);
        let resource = self.resource.as_ref();
        let optional = |of: fn(&Resource) -> Option<&str>| text(resource.and_then(of));
        let (namespace, name, claims) = match &self.caller.identity {
            Identity::ServiceAccount { namespace, name } => {
                (Some(namespace.as_str()), Some(name.as_str()), None)
            }
            Identity::Oidc { claims, .. } => (None, None, Some(claims)),
        };
        let claims: BTreeMap<&str, &str> = claims
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let now = chrono::DateTime::from_timestamp(self.seconds, 0).unwrap();
        for (name, value) in [
            ("method", Cel::from("a.things.get")),
            ("api", Cel::from("a")),
            ("now", Cel::Timestamp(now.fixed_offset())),
            ("risk", Cel::Int(self.risk.into())),
            (
                "resource",
                fields(vec![
                    ("name", optional(|resource| Some(&resource.name))),
                    ("project", optional(|resource| resource.project.as_deref())),
                    ("location", optional(|resource| resource.location.as_deref())),
                    ("type", optional(|resource| Some(resource.kind))),
                    ("id", optional(|resource| resource.id.as_deref())),
                ]),
            ),
            (
                "request",
                fields(vec![
                    ("verb", text(Some(self.verb))),
                    ("host", text(Some("a.googleapis.com"))),
                    ("query", Some(texts(&self.query))),
                    ("headers", Some(texts(&self.headers))),
                    ("size", self.size.map(|size| Cel::Int(size.try_into().unwrap()))),
                    ("body", self.body.as_ref().map(cel_of)),
                ]),
            ),
            (
                "agent",
                fields(vec![
                    ("namespace", text(namespace)),
                    ("serviceAccount", text(name)),
                    ("claims", Some(texts(&claims))),
                    ("session", text(Some("ab"))),
                ]),
            ),
        ] {
            context.add_variable_from_value(name, value);
        }
        context
    }
}

/// A JSON document as a value of the `cel` crate, with whole numbers as ints.
fn cel_of(json: &Value) -> Cel {
    match json {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Cel::Float(number.as_f64().unwrap()), Cel::Int),
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(cel_of).collect())),
        Value::Object(members) => {
            let members: HashMap<String, Cel> = members
                .iter()
                .map(|(name, value)| (name.clone(), cel_of(value)))
                .collect();
            Cel::Map(members.into())
        }
    }
}

/// Expressions of one type each, with the variables of the macros around.
#[derive(Clone, Copy)]
struct Grammar {
    depth: u32,
    texts_bound: usize,
}

const VARIABLES: [&str; 2] = ["v", "w"];

impl Grammar {
    fn below(self) -> Self {
        Self {
            depth: self.depth - 1,
            ..self
        }
    }

    fn with_variable(self) -> Self {
        Self {
            texts_bound: self.texts_bound + 1,
            ..self.below()
        }
    }

    fn one_of(texts: Vec<&'static str>) -> BoxedStrategy<String> {
        select(texts).prop_map(str::to_owned).boxed()
    }

    fn text(self) -> BoxedStrategy<String> {
        let mut names = vec![
            "method",
            "api",
            "resource.name",
            "resource.project",
            "resource.location",
            "resource.type",
            "resource.id",
            "request.verb",
            "request.host",
            "request.query.a",
            "request.headers.b",
            "request.headers[\"c\"]",
            "agent.namespace",
            "agent.serviceAccount",
            "agent.session",
            "agent.claims.fooBar",
        ];
        names.extend(&VARIABLES[..self.texts_bound]);
        let leaf = prop_oneof![
            2 => Self::one_of(names),
            1 => text_of().prop_map(|text| format!("{text:?}")),
        ];
        if self.depth == 0 {
            return leaf.boxed();
        }
        let of = self.below();
        prop_oneof![
            4 => leaf,
            1 => (of.text(), of.text()).prop_map(|(a, b)| format!("({a} + {b})")),
            1 => (of.text(), select(vec!["lowerAscii", "upperAscii", "trim"])).prop_map(|(a, f)| format!("{a}.{f}()")),
            1 => (of.boolean(), of.text(), of.text()).prop_map(|(test, a, b)| format!("({test} ? {a} : {b})")),
            1 => (of.texts(), 0..3).prop_map(|(list, at)| format!("{list}[{at}]")),
            1 => of.int().prop_map(|int| format!("string({int})")),
            1 => of.duration().prop_map(|duration| format!("string({duration})")),
        ]
        .boxed()
    }

    fn texts(self) -> BoxedStrategy<String> {
        let leaf = prop::collection::vec(text_of(), 0..4).prop_map(|texts| format!("{texts:?}"));
        if self.depth == 0 {
            return leaf.boxed();
        }
        let of = self.below();
        let mut ways = vec![
            leaf.boxed(),
            prop::collection::vec(of.text(), 1..3)
                .prop_map(|texts| format!("[{}]", texts.join(", ")))
                .boxed(),
            (of.text(), text_of())
                .prop_map(|(text, by)| format!("{text}.split({by:?})"))
                .boxed(),
        ];
        if self.texts_bound < VARIABLES.len() {
            let variable = VARIABLES[self.texts_bound];
            let inner = self.with_variable();
            let gone_through = prop_oneof![of.texts(), Just("request.query".to_owned())].boxed();
            ways.push(
                (gone_through.clone(), inner.boolean())
                    .prop_map(move |(list, test)| format!("{list}.filter({variable}, {test})"))
                    .boxed(),
            );
            ways.push(
                (gone_through.clone(), inner.text())
                    .prop_map(move |(list, text)| format!("{list}.map({variable}, {text})"))
                    .boxed(),
            );
            ways.push(
                (gone_through, inner.boolean(), inner.text())
                    .prop_map(move |(list, test, text)| format!("{list}.map({variable}, {test}, {text})"))
                    .boxed(),
            );
        }
        proptest::strategy::Union::new(ways).boxed()
    }

    fn int(self) -> BoxedStrategy<String> {
        let leaf = prop_oneof![
            Self::one_of(vec!["risk", "request.size"]),
            (-3_i64..60).prop_map(|int| int.to_string()),
        ];
        if self.depth == 0 {
            return leaf.boxed();
        }
        let of = self.below();
        let part = select(vec![
            "FullYear",
            "Month",
            "Date",
            "DayOfMonth",
            "DayOfWeek",
            "DayOfYear",
            "Hours",
            "Minutes",
            "Seconds",
            "Milliseconds",
        ]);
        let zone = select(vec![
            "",
            "\"UTC\"",
            "\"Europe/Berlin\"",
            "\"-03:30\"",
            "\"America/New_York\"",
        ]);
        prop_oneof![
            3 => leaf,
            2 => (of.int(), select(vec!["+", "-", "*", "/", "%"]), of.int()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            1 => of.text().prop_map(|text| format!("{text}.size()")),
            1 => of.texts().prop_map(|texts| format!("size({texts})")),
            1 => of.text().prop_map(|text| format!("int({text})")),
            1 => of.int().prop_map(|int| format!("-({int})")),
            1 => (of.time(), part, zone).prop_map(|(time, part, zone)| format!("{time}.get{part}({zone})")),
            1 => (of.duration(), select(vec!["Hours", "Minutes", "Seconds", "Milliseconds"])).prop_map(|(of, part)| format!("{of}.get{part}()")),
            1 => of.body().prop_map(|body| format!("int({body})")),
        ]
        .boxed()
    }

    /// Times are written in UTC: the crate reads their parts on the clock they are written with, and CEL in UTC.
    fn time(self) -> BoxedStrategy<String> {
        let leaf = Self::one_of(vec![
            "now",
            "timestamp(\"2026-01-31T08:00:00Z\")",
            "timestamp(\"1969-12-31T23:59:59.5Z\")",
            "timestamp(1000000000)",
        ]);
        if self.depth == 0 {
            return leaf;
        }
        let of = self.below();
        prop_oneof![2 => leaf, 1 => (of.time(), select(vec!["+", "-"]), of.duration()).prop_map(|(a, op, b)| format!("({a} {op} {b})"))].boxed()
    }

    fn duration(self) -> BoxedStrategy<String> {
        let leaf = Self::one_of(vec![
            "duration(\"0\")",
            "duration(\"90m\")",
            "duration(\"-1.5h\")",
            "duration(\"1h2m3.004s\")",
            "duration(\"7us\")",
        ]);
        if self.depth == 0 {
            return leaf;
        }
        let of = self.below();
        prop_oneof![
            2 => leaf,
            1 => (of.time(), of.time()).prop_map(|(a, b)| format!("({a} - {b})")),
            1 => (of.duration(), select(vec!["+", "-"]), of.duration()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        ]
        .boxed()
    }

    /// Something of the body.
    fn body(self) -> BoxedStrategy<String> {
        let step = prop_oneof![
            4 => select(&NAMES[..]).prop_map(|name| format!(".{name}")),
            1 => (0..3).prop_map(|at| format!("[{at}]")),
            1 => select(&NAMES[..]).prop_map(|name| format!("[{name:?}]")),
        ];
        prop::collection::vec(step, 0..3)
            .prop_map(|steps| format!("request.body{}", steps.concat()))
            .boxed()
    }

    fn boolean(self) -> BoxedStrategy<String> {
        let has = Self::one_of(vec![
            "true",
            "false",
            "has(resource.id)",
            "has(resource.project)",
            "has(request.size)",
            "has(request.body)",
            "has(agent.namespace)",
            "has(request.query.b)",
            "has(agent.claims.a)",
            "(\"a\" in request.headers)",
        ]);
        let of_body = self.body().prop_filter_map("a member", |body| {
            body.rsplit_once('.')
                .filter(|(_, name)| NAMES.contains(name))
                .map(|_| format!("has({body})"))
        });
        if self.depth == 0 {
            return prop_oneof![2 => has, 1 => of_body].boxed();
        }
        let of = self.below();
        let compare = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
        let pair = |a: BoxedStrategy<String>, b: BoxedStrategy<String>| {
            (a, compare(), b).prop_map(|(a, op, b)| format!("({a} {op} {b})"))
        };
        let mut ways = vec![
            has,
            of_body.boxed(),
            (of.boolean(), select(vec!["&&", "||"]), of.boolean())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})"))
                .boxed(),
            of.boolean().prop_map(|of| format!("!({of})")).boxed(),
            (of.boolean(), of.boolean(), of.boolean())
                .prop_map(|(test, a, b)| format!("({test} ? {a} : {b})"))
                .boxed(),
            pair(of.text(), of.text()).boxed(),
            pair(of.int(), of.int()).boxed(),
            (of.int(), compare(), (-4_i32..40))
                .prop_map(|(a, op, b)| format!("({a} {op} {:?})", f64::from(b) / 2.0))
                .boxed(),
            pair(of.time(), of.time()).boxed(),
            pair(of.duration(), of.duration()).boxed(),
            (of.texts(), of.texts())
                .prop_map(|(a, b)| format!("({a} == {b})"))
                .boxed(),
            (
                of.text(),
                select(vec!["startsWith", "endsWith", "contains"]),
                of.text(),
            )
                .prop_map(|(a, f, b)| format!("{a}.{f}({b})"))
                .boxed(),
            (of.text(), of.texts())
                .prop_map(|(a, b)| format!("({a} in {b})"))
                .boxed(),
            (of.body(), select(vec!["==", "!="]), of.body())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})"))
                .boxed(),
            pair(of.body(), of.text()).boxed(),
            pair(of.body(), of.int()).boxed(),
            of.body().prop_map(|body| format!("({body} == null)")).boxed(),
            (of.text(), of.body())
                .prop_map(|(a, b)| format!("({a} in {b})"))
                .boxed(),
            (of.body(), of.int())
                .prop_map(|(a, b)| format!("({a} + {b} > 1)"))
                .boxed(),
        ];
        if self.texts_bound < VARIABLES.len() {
            let variable = VARIABLES[self.texts_bound];
            let gone_through = prop_oneof![of.texts(), Self::one_of(vec!["request.headers", "agent.claims"])];
            let name = select(vec!["all", "exists", "exists_one"]);
            ways.push(
                (gone_through, name, self.with_variable().boolean())
                    .prop_map(move |(list, name, test)| format!("{list}.{name}({variable}, {test})"))
                    .boxed(),
            );
            ways.push(
                (of.body(), select(vec!["all", "exists"]), text_of())
                    .prop_map(move |(body, name, text)| {
                        format!("{body}.{name}({variable}, {variable} == {text:?})")
                    })
                    .boxed(),
            );
        }
        proptest::strategy::Union::new(ways).boxed()
    }
}

/// What a compiler may say of a well-typed expression: its constants can have no value, or one that is never met.
fn is_of_constants(message: &str) -> bool {
    [
        "division by zero",
        "a risk is between 0 and 100",
        "cannot convert this value",
        "overflows",
        "could take",
    ]
    .iter()
    .any(|known| message.contains(known))
}

fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).unwrap();
        Arc::new(env)
    })
}

#[test]
fn well_typed_expressions_compile_and_agree_with_the_interpreter_of_cel() {
    let cases = 1_500;
    let mut agreed = 0_u32;
    let mut undecided = 0_u32;
    let strategy = (
        Grammar {
            depth: 3,
            texts_bound: 0,
        }
        .boolean(),
        prop::collection::vec(stages(), 3),
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(cases));
    let counts = std::cell::RefCell::new((&mut agreed, &mut undecided));
    let outcome = runner.run(&strategy, |(text, stages)| {
        prop_assume!(text.chars().count() <= MAX_CHARACTERS);
        let condition = match Condition::compile(&text) {
            Ok(condition) => condition,
            Err(error) => {
                prop_assert!(is_of_constants(&error.message), "{text}: {error}");
                return Ok(());
            }
        };
        let program = environment().compile(&text).unwrap();
        for stage in stages {
            let ours = (stage.ask(&condition), stage.ask_turned(&condition));
            let theirs = program.execute(&stage.context(environment()));
            let mut counts = counts.borrow_mut();
            match ours {
                // A query has two parameters at most: these are all orders that it can be gone through in.
                (Ok(one), Ok(other)) if one != other => {
                    prop_assert!(matches!(theirs, Ok(Cel::Bool(_))), "{text}: {theirs:?}");
                    *counts.1 += 1;
                }
                (Ok(ours), Ok(_)) => {
                    prop_assert_eq!(theirs, Ok(Cel::Bool(ours)), "{}", text);
                    *counts.0 += 1;
                }
                (Err(_), _) | (_, Err(_)) => *counts.1 += 1,
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert!(
        agreed > cases && undecided > cases / 4,
        "{agreed} agreed, {undecided} undecided"
    );
}

/// Pieces that texts are made of, wrong ones included.
const PIECES: &[&str] = &[
    "risk",
    "resource",
    "request",
    "agent",
    "now",
    "method",
    ".",
    ".name",
    ".id",
    ".type",
    ".body",
    ".headers",
    ".query",
    ".x",
    ".all(",
    ".exists(",
    ".map(",
    ".filter(",
    ".startsWith(",
    ".matches(",
    ".size(",
    ".split(",
    ".getHours(",
    "has(",
    "size(",
    "int(",
    "timestamp(",
    "duration(",
    "string(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    " in ",
    "v",
    "v, ",
    "1",
    "0",
    "-9223372036854775808",
    "9223372036854775807",
    "1.5",
    "1e308",
    "0x7f",
    "5u",
    "\"a\"",
    "'b'",
    "\"\"\"",
    "r\"\\d\"",
    "b\"x\"",
    "\"\\n\"",
    "\"\\u00e9\"",
    "é",
    "\"",
    "'",
    "\\",
    "`",
    "null",
    "true",
    "false",
    " ",
    "\n",
    "\t",
    "// c\n",
    "#",
    "@",
    "\u{0}",
    "if",
    "a.b{c: 1}",
    "\u{1f600}",
    "=",
    "&",
    "|",
];

#[test]
fn no_text_panics() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1_500));
    let strategy = (prop::collection::vec(select(PIECES), 0..40), stages());
    let outcome = runner.run(&strategy, |(pieces, stage)| {
        let text = pieces.concat();
        match Condition::compile(&text) {
            Ok(condition) => {
                // Whatever the answer is: it is there.
                let first = stage.ask(&condition);
                prop_assert_eq!(stage.ask(&condition), first, "{}", text);
            }
            Err(error) => {
                let lines = u32::try_from(text.matches('\n').count()).unwrap() + 1;
                prop_assert!((1..=lines).contains(&error.line), "{text:?}: {error}");
                let line = text.split('\n').nth(error.line as usize - 1).unwrap();
                let last = u32::try_from(line.chars().count()).unwrap() + 1;
                prop_assert!((1..=last).contains(&error.column), "{text:?}: {error}");
                prop_assert_ne!(error.message, "the expression cannot be parsed", "{}", text);
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
