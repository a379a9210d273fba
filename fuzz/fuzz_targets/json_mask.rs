//! Masking: after a plan of `**.NAME`, nothing below a field of that name is told, and masking again changes nothing.
//!
//! Input: the field's path up to a line feed, then a JSON answer.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use turnpike_compiler::{Bundle, Context, load};
use turnpike_policy::{
    PolicySet,
    call::Call,
    caller::{Caller, Identity},
    canonical::Target,
    catalog::Catalog,
    mask::FieldPath,
};

const POLICY: &str = r#"
apiVersion: turnpike.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: agents}
spec:
  agents: [{serviceAccount: {name: coder}}]
  rules: [{name: all, effect: Allow, methods: ["**"]}]
  secrets: {fields: [{methods: ["**"], paths: ["secret"]}]}
"#;

fuzz_target!(|text: &str| {
    let Some((path, answer)) = text.split_once('\n') else {
        return;
    };
    let (Ok(path), Ok(answer)) = (FieldPath::parse(path), serde_json::from_str::<Value>(answer)) else {
        return;
    };
    let name = path.as_str().strip_prefix("**.").filter(|name| is_name(name));
    let set = policies(path.clone());
    let plan = set.mask_plan(&caller(), &[call()]);
    let mut masked = answer.clone();
    let found = plan.apply(&mut masked);
    if let Some(name) = name {
        check(&masked, &spelled(name), false);
    }
    let mut again = masked.clone();
    plan.apply(&mut again);
    assert_eq!(again, masked);
    if found.is_empty() && name.is_some() {
        check(&answer, &spelled(path.as_str().trim_start_matches("**.")), false);
    }
});

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['.', '*', '['])
}

/// A name as masking compares it.
fn spelled(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Fails where a value is told below a field of this name.
fn check(value: &Value, name: &str, below: bool) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                check(value, name, below || spelled(field) == name);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| check(value, name, below)),
        Value::String(text) => assert!(
            !below || text.is_empty() || text.starts_with("[MASKED:"),
            "{text:?} is told"
        ),
        Value::Number(number) => assert!(!below, "{number} is told"),
        Value::Bool(_) | Value::Null => {}
    }
}

fn policies(path: FieldPath) -> PolicySet {
    static COMPILED: OnceLock<String> = OnceLock::new();
    let text = COMPILED.get_or_init(|| {
        let context = Context::without_namespaces("turnpike-system");
        let policies = load::policies(POLICY, &context).expect("the policy compiles");
        Bundle::new("agents", policies).to_json()
    });
    let mut policies = Bundle::from_json(text).expect("it loads").policies;
    for mask in policies.iter_mut().flat_map(|policy| &mut policy.masks) {
        mask.paths = vec![path.clone()];
    }
    PolicySet::new(policies)
}

fn caller() -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".to_owned(),
            name: "coder".to_owned(),
        },
        issuer: json!(null).to_string(),
        session: String::new(),
        pod: None,
    }
}

fn call() -> Call {
    let target = Target::new("GET", "storage.googleapis.com", "/storage/v1/b/bucket").expect("a target");
    let catalog = Catalog::embedded().expect("the catalogue is well formed");
    catalog.classify(&target).expect("a method").call
}
