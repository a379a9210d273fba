//! Spellings and types that are not passed by: what a parser could read as the value that is asked for is an error.

use serde_json::json;
use turnpike_policy::condition::EvalError;

use super::{Stage, Told};

#[test]
fn another_spelling_of_a_field_is_not_passed_by() {
    let spelling = |path: &'static str| Err(EvalError::OtherSpelling(path.into()));
    Stage::default().answers(&[
        (
            r#"request.body.serviceAccount == "x""#,
            spelling("request.body.serviceAccount"),
        ),
        (
            "has(request.body.serviceAccount)",
            spelling("request.body.serviceAccount"),
        ),
        (
            r#""serviceAccount" in request.body"#,
            spelling("a key that `in` looks for"),
        ),
        (
            r#"request.body["serviceAccount"] == "x""#,
            spelling("request.body[\"serviceAccount\"]"),
        ),
        (r#"request.body.service_account == "x@acme.iam""#, Ok(true)),
        (
            r#"request.body.size_bytes == "1""#,
            spelling("request.body.size_bytes"),
        ),
    ]);
    let both = Stage::with_body(Told::Json(json!({"fooBar": 1, "foo_bar": 2})));
    both.answers(&[
        ("request.body.fooBar == 1", spelling("request.body.fooBar")),
        ("has(request.body.foo_bar)", spelling("request.body.foo_bar")),
    ]);
}

#[test]
fn another_spelling_of_an_enum_s_value_is_not_passed_by() {
    let spelling = || Err(EvalError::OtherSpelling("a value of the request".into()));
    let all = r#"request.body.ingress == "INGRESS_TRAFFIC_ALL""#;
    for given in [
        "1",
        "ingress_traffic_all",
        "ingress-traffic-all",
        "ingressTrafficAll",
    ] {
        let body = Stage::with_body(Told::Json(json!({"ingress": given, "names": ["x", given]})));
        body.answers(&[
            (all, spelling()),
            (r#"request.body.ingress != "INGRESS_TRAFFIC_ALL""#, spelling()),
            (
                r#"request.body.ingress in ["ALL", "INGRESS_TRAFFIC_ALL"]"#,
                spelling(),
            ),
            (r#""INGRESS_TRAFFIC_ALL" in request.body.names"#, spelling()),
            // What is no name of an enum's value has one spelling, and so has what is not of the body.
            (r#"request.body.ingress == "all""#, Ok(false)),
            (r#"request.body.ingress.lowerAscii() == "all""#, Ok(false)),
        ]);
    }
    Stage::with_body(Told::Json(json!({"ingress": "INGRESS_TRAFFIC_NONE"}))).answers(&[(all, Ok(false))]);
    Stage::default().answers(&[
        (r#"request.verb == "post""#, Ok(false)),
        (r#""1" == "ALL""#, Ok(false)),
    ]);
}

#[test]
fn values_of_another_type_are_an_error_and_not_unequal() {
    let wrong = |operation: &'static str| Err(EvalError::Type(operation));
    Stage::default().answers(&[
        (r#"request.body.replicas == "3""#, wrong("==")),
        (r#"request.body.replicas != "3""#, wrong("==")),
        ("request.body.sizeBytes == 1073741824", wrong("==")),
        ("request.body.ingress == 1", wrong("==")),
        (r#"request.body.replicas in ["3", "4"]"#, wrong("==")),
        (r#""one" in request.body.mixed"#, Ok(true)),
        (r#""two" in request.body.mixed"#, wrong("==")),
        (r#"request.body.sizeBytes > 5"#, wrong(">")),
        (r#"request.body.labels.startsWith("x")"#, wrong("startsWith()")),
        (r#"request.body.replicas.env == 1"#, wrong("a member")),
        (r#"has(request.body.replicas.env)"#, wrong("has()")),
        (
            r#"request.body.replicas.all(x, x == 1)"#,
            wrong("a macro over elements"),
        ),
        (r#"request.body.replicas && true"#, wrong("a condition")),
        (r#"request.body.ingress"#, wrong("a condition")),
        (r#"request.body.labels[0] == 1"#, wrong("[]")),
        (r#"-request.body.labels == 1"#, wrong("-")),
        (r#"request.body.labels + 1 == 1"#, wrong("+")),
        (r#"1 in request.body.replicas"#, wrong("in")),
        (
            r#"request.body.replicas.getHours() == 1"#,
            wrong("a part of a time"),
        ),
        (r#"request.body.replicas.matches("x")"#, wrong("matches()")),
        (
            r#"int(request.body.ingress) == 1"#,
            Err(EvalError::Conversion("int()")),
        ),
        (
            r#"timestamp(request.body.ingress) < now"#,
            Err(EvalError::Conversion("timestamp()")),
        ),
        ("request.body.mixed == [1, 2, 3]", wrong("==")),
        ("request.body.mixed == [5, 2, 3]", Ok(false)),
    ]);
}
