//! What policies are loaded from: bundles of the operator, and YAML files of standalone mode. A bundle that loads is
//! written and loads to the same; what compiles can be put to work.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnpike_compiler::{Bundle, Context, load};
use turnpike_policy::PolicySet;

fuzz_target!(|text: &str| {
    if let Ok(bundle) = Bundle::from_json(text) {
        round_trip(&bundle);
        PolicySet::new(bundle.policies);
    }
    if let Ok(policies) = load::policies(text, &Context::without_namespaces("turnpike-system")) {
        for policy in &policies {
            round_trip(&Bundle::new(policy.namespace.clone(), vec![policy.clone()]));
        }
        PolicySet::new(policies);
    }
    if let Err(problems) = load::approval_request(text) {
        assert!(!problems.is_empty(), "a refusal says why");
    }
});

fn round_trip(bundle: &Bundle) {
    let text = bundle.to_json();
    let again = Bundle::from_json(&text).expect("a bundle that was written loads");
    assert_eq!(&again, bundle);
    assert_eq!(again.digest(), bundle.digest());
}
