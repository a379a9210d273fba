//! What is wrong with a condition is said where it is wrong, and no text takes long to be refused.

use turnpike_policy::condition::{Condition, ConditionError, MAX_CHARACTERS};

/// Expressions with the line, the column and the words of their error.
fn errors(rows: &[(&str, u32, u32, &str)]) {
    for (text, line, column, message) in rows {
        let expected = ConditionError {
            line: *line,
            column: *column,
            message: (*message).to_owned(),
        };
        assert_eq!(Condition::compile(text).map(|_| ()), Err(expected), "{text}");
    }
}

#[test]
fn names_that_do_not_exist() {
    errors(&[
        (
            "verb == \"GET\"",
            1,
            1,
            "unknown name `verb`: did you mean `request.verb`?",
        ),
        (
            "resource.nam == \"x\"",
            1,
            10,
            "resource has no field `nam`: did you mean `name`?",
        ),
        (
            "resource.kind == \"x\"",
            1,
            10,
            "resource has no field `kind`: did you mean `type`?",
        ),
        (
            "request.method == \"GET\"",
            1,
            9,
            "request has no field `method`: did you mean `verb`?",
        ),
        (
            "foo.bar == 1",
            1,
            1,
            "unknown name `foo`: there are method, api, now, risk, resource, request, agent",
        ),
        (
            "agent.service_account == \"x\"",
            1,
            7,
            "agent has no field `service_account`: did you mean `serviceAccount`?",
        ),
        (
            "resource . colour == 1",
            1,
            12,
            "resource has no field `colour`: there are name, project, location, type, id",
        ),
        (
            "has(resource.ids)",
            1,
            14,
            "resource has no field `ids`: did you mean `id`?",
        ),
        (
            "resource.id.startWith(\"x\")",
            1,
            13,
            "unknown method `startWith`: did you mean `startsWith`?",
        ),
        (
            "len(resource.id) == 1",
            1,
            1,
            "unknown function `len`: there are size, int, double, string, timestamp, duration, has, matches",
        ),
        (
            "now.getHours(\"Mars\") == 1",
            1,
            14,
            "unknown time zone \"Mars\": write one such as \"Europe/Berlin\" or \"+02:00\"",
        ),
        (
            "[1].all(x, y == 1)",
            1,
            12,
            "unknown name `y`: there are method, api, now, risk, resource, request, agent, x",
        ),
        (
            ".risk == 1",
            1,
            2,
            "unknown name `.risk`: names have no leading dot",
        ),
        (
            "type(risk) == int",
            1,
            1,
            "unknown function `type`: there are size, int, double, string, timestamp, duration, has, matches",
        ),
        (
            "dyn(risk) == 1",
            1,
            1,
            "unknown function `dyn`: there are size, int, double, string, timestamp, duration, has, matches",
        ),
        (
            "request.verb == \"é\" && resource.kind == \"x\"",
            1,
            33,
            "resource has no field `kind`: did you mean `type`?",
        ),
        (
            "kind == 1",
            1,
            1,
            "unknown name `kind`: there are method, api, now, risk, resource, request, agent",
        ),
        (
            "risk == 100 || resource.name.foo()",
            1,
            30,
            "unknown method `foo`: there are startsWith, endsWith, contains, size, lowerAscii, upperAscii, trim, split, matches, all, exists, exists_one, existsOne, map, filter",
        ),
        (
            "foo()",
            1,
            1,
            "unknown function `foo`: there are size, int, double, string, timestamp, duration, has, matches",
        ),
        (
            "request.body.x.y(1)",
            1,
            16,
            "unknown method `y`: there are startsWith, endsWith, contains, size, lowerAscii, upperAscii, trim, split, matches, all, exists, exists_one, existsOne, map, filter",
        ),
        (
            "math.max(1, 2) == 2",
            1,
            1,
            "unknown name `math`: there are method, api, now, risk, resource, request, agent",
        ),
        (
            "request.size > 1 && request.sizes > 1",
            1,
            29,
            "request has no field `sizes`: did you mean `size`?",
        ),
    ]);
}

#[test]
fn operands_of_the_wrong_type() {
    errors(&[
        ("resource.type == 5", 1, 15, "a string is never equal to an int"),
        ("risk == \"high\"", 1, 6, "an int is never equal to a string"),
        ("risk && true", 1, 1, "`&&` needs a bool here, and this is an int"),
        (
            "true || request.verb",
            1,
            9,
            "`||` needs a bool here, and this is a string",
        ),
        (
            "!resource.id",
            1,
            2,
            "`!` needs a bool here, and this is a string",
        ),
        (
            "resource.name",
            1,
            1,
            "a condition is true or false, and this is a string",
        ),
        (
            "risk + 1",
            1,
            1,
            "a condition is true or false, and this is an int",
        ),
        (
            "resource == request",
            1,
            1,
            "resource is a group of fields, such as resource.name",
        ),
        (
            "resource",
            1,
            1,
            "resource is a group of fields, such as resource.name",
        ),
        (
            "size(agent) == 1",
            1,
            6,
            "agent is a group of fields, such as agent.namespace",
        ),
        (
            "resource.id == null",
            1,
            13,
            "a string is never null: use has() for what can be absent",
        ),
        ("risk > \"5\"", 1, 6, "`>` does not order an int and a string"),
        ("true < false", 1, 6, "`<` does not order values of type bool"),
        ("now > 5", 1, 5, "`>` does not order a timestamp and an int"),
        ("now - 5 > now", 1, 5, "`-` does not take a timestamp and an int"),
        (
            "risk + 1.5 > 2.0",
            1,
            6,
            "`+` does not take an int and a double: convert one with double() or int()",
        ),
        (
            "\"a\" + 1 == \"a1\"",
            1,
            5,
            "`+` does not take a string and an int",
        ),
        (
            "-resource.id == 1",
            1,
            2,
            "`-` needs a number here, and this is a string",
        ),
        ("risk / 0 == 1", 1, 6, "division by zero"),
        ("1 % 0 == 1", 1, 3, "division by zero"),
        ("9223372036854775807 + 1 > 0", 1, 21, "this overflows"),
        (
            "\"x\" in resource.name",
            1,
            5,
            "`in` looks into a list or a map; for a string write b.contains(a)",
        ),
        ("5 in [\"a\"]", 1, 3, "an int is never in a list(string)"),
        (
            "risk in request.headers",
            1,
            6,
            "an int is never a key of a map(string, string)",
        ),
        (
            "resource.id in risk",
            1,
            13,
            "`in` looks into a list or a map, and this is an int",
        ),
        (
            "[1, \"a\"].size() == 2",
            1,
            5,
            "elements of a list are of one type: the others are int, and this is a string",
        ),
        (
            "{\"a\": 1, \"b\": \"c\"}.a == 1",
            1,
            15,
            "values of a map are of one type: the others are int, and this is a string",
        ),
        (
            "{1: 2}[1] == 2",
            1,
            2,
            "a key of a map needs a string here, and this is an int",
        ),
        (
            "{\"a\": 1, \"a\": 2}.a == 1",
            1,
            10,
            "this key is in the map already",
        ),
        ("resource.id[0] == \"x\"", 1, 12, "a string has no elements"),
        (
            "request.headers[1] == \"x\"",
            1,
            17,
            "a map(string, string) is indexed with a string, and this is an int",
        ),
        (
            "[1][\"a\"] == 1",
            1,
            5,
            "a list(int) is indexed with an int, and this is a string",
        ),
        (
            "request.body[true] == 1",
            1,
            14,
            "a value of the body is indexed with an int or a string, and this is a bool",
        ),
        (
            "[1].all(x, x == \"a\")",
            1,
            14,
            "an int is never equal to a string",
        ),
        (
            "risk > 1 ? 1 : \"a\"",
            1,
            10,
            "both answers of `?` are of one type, and these are an int and a string",
        ),
        (
            "risk ? true : false",
            1,
            1,
            "`?` needs a bool here, and this is an int",
        ),
        (
            "risk > 1 ? true : 5 == 5.0 && \"a\"",
            1,
            31,
            "`&&` needs a bool here, and this is a string",
        ),
        ("risk == 5u", 1, 9, "numbers have no `u` here: leave it out"),
        (
            "resource.id == b\"x\"",
            1,
            16,
            "there are no bytes in conditions: write a string",
        ),
        (
            "resource.?id == \"x\"",
            1,
            9,
            "there are no optional values in conditions: use has()",
        ),
        (
            "request.body[?\"x\"] == 1",
            1,
            13,
            "there are no optional values in conditions: use has()",
        ),
        (
            "[?1] == [1]",
            1,
            1,
            "there are no optional elements in conditions",
        ),
        ("Foo{a: 1} == 1", 1, 4, "messages are not made in conditions"),
        (
            "risk > 1 &&\n  resource.type == 5",
            2,
            17,
            "a string is never equal to an int",
        ),
        ("true < risk", 1, 6, "`<` does not order a bool and an int"),
        ("risk > 101", 1, 8, "a risk is between 0 and 100"),
        ("-1 == risk", 1, 1, "a risk is between 0 and 100"),
        (
            "request.headers.x-goog == \"a\"",
            1,
            1,
            "`-` does not take a string: a name with a dash is written as x[\"x-goog\"]",
        ),
        ("'a' == \"b\" == 5", 1, 12, "a bool is never equal to an int"),
    ]);
}

#[test]
fn calls_of_functions() {
    errors(&[
        (
            "startsWith(resource.id, \"x\")",
            1,
            1,
            "startsWith() is a method: write x.startsWith(..)",
        ),
        ("risk.int() == 1", 1, 6, "int() is a function: write int(..)"),
        (
            "resource.id.startsWith()",
            1,
            13,
            "startsWith() takes 1 argument, and there are 0",
        ),
        (
            "resource.id.startsWith(\"a\", \"b\")",
            1,
            13,
            "startsWith() takes 1 argument, and there are 2",
        ),
        (
            "resource.id.startsWith(5)",
            1,
            24,
            "startsWith() needs a string here, and this is an int",
        ),
        (
            "risk.startsWith(\"a\")",
            1,
            1,
            "startsWith() needs a string here, and this is an int",
        ),
        (
            "size(5) == 1",
            1,
            6,
            "size() needs a string, list or map here, and this is an int",
        ),
        (
            "resource.id.matches(\"(\")",
            1,
            21,
            "not a pattern: unclosed group",
        ),
        (
            "resource.id.matches(\"[z-a]\")",
            1,
            21,
            "not a pattern: invalid character class range, the start must be <= the end",
        ),
        (
            "resource.id.matches(resource.type)",
            1,
            21,
            "the pattern of matches() is written as a literal",
        ),
        (
            "resource.id.matches(\"\\\\pL{1000}\")",
            1,
            21,
            "this pattern is too large when it is compiled",
        ),
        (
            "resource.id.matches(5)",
            1,
            21,
            "matches() needs a string here, and this is an int",
        ),
        (
            "timestamp(\"yesterday\") < now",
            1,
            11,
            "timestamp() needs a time such as \"2026-01-31T08:00:00Z\"",
        ),
        (
            "duration(\"1 day\") < duration(\"1h\")",
            1,
            10,
            "duration() needs one such as \"90s\" or \"1h30m\"",
        ),
        ("int(\"x\") == 1", 1, 5, "int() cannot convert this value"),
        (
            "now.getHours(resource.id) == 1",
            1,
            14,
            "the time zone of getHours() is written as a literal",
        ),
        (
            "now.getDate(1) == 2",
            1,
            13,
            "getDate() needs a string here, and this is an int",
        ),
        (
            "risk.getHours() == 1",
            1,
            1,
            "getHours() needs a timestamp or duration here, and this is an int",
        ),
        (
            "duration(\"1h\").getDate() == 1",
            1,
            1,
            "getDate() needs a timestamp here, and this is a duration",
        ),
        (
            "risk > 1\n  && risk.startsWith(\"ü\")\n",
            2,
            6,
            "startsWith() needs a string here, and this is an int",
        ),
        (
            "resource.name.startsWith(risk)",
            1,
            26,
            "startsWith() needs a string here, and this is an int",
        ),
    ]);
}

#[test]
fn macros_over_elements() {
    errors(&[
        (
            "[1].all(x) == true",
            1,
            5,
            "all() takes 2 arguments, a variable first, and there is 1",
        ),
        (
            "[1].all(x, x) == true",
            1,
            12,
            "all() needs a bool here, and this is an int",
        ),
        (
            "[1].map(x, 1, 2, 3) == [1]",
            1,
            5,
            "map() takes 2 or 3 arguments, a variable first, and there are 4",
        ),
        (
            "risk.all(x, x == 1)",
            1,
            1,
            "all() goes through a list or a map, and this is an int",
        ),
        (
            "[1].all(1, true)",
            1,
            9,
            "the first argument of all() is the name of a variable",
        ),
        (
            "[1].all(risk, true)",
            1,
            9,
            "`risk` has a meaning already: take another name",
        ),
        (
            "[1].all(x, [1].all(x, true))",
            1,
            20,
            "`x` has a meaning already: take another name",
        ),
        (
            "[1].all(x, [1].all(y, [1].all(z, x + y + z > 0)))",
            1,
            27,
            "macros are nested 2 deep at most",
        ),
        (
            "[1].all(x)",
            1,
            5,
            "all() takes 2 arguments, a variable first, and there is 1",
        ),
    ]);
}

#[test]
fn fields_and_whether_they_are_there() {
    errors(&[
        ("risk.low == 1", 1, 6, "an int has no fields"),
        (
            "request.headers.Accept == \"x\"",
            1,
            17,
            "names of headers are in lower case here: write `accept`",
        ),
        (
            "request.headers[\"X-Goog\"] == \"x\"",
            1,
            17,
            "names of headers are in lower case here: write `x-goog`",
        ),
        (
            "\"X-Goog\" in request.headers",
            1,
            1,
            "names of headers are in lower case here: write `x-goog`",
        ),
        (
            "has(request.headers.Cookie)",
            1,
            21,
            "names of headers are in lower case here: write `cookie`",
        ),
        ("has(request.verb)", 1, 5, "request.verb is always there"),
        ("has(risk)", 1, 5, "risk is always there"),
        (
            "has(resource)",
            1,
            5,
            "has() takes a field, such as has(resource.id)",
        ),
        (
            "has(request.headers[\"x\"])",
            1,
            5,
            "has() takes a field: for a[\"b\"] write \"b\" in a",
        ),
        (
            "has(resource.name, 1)",
            1,
            1,
            "has() takes 1 argument, and there are 2",
        ),
        ("has(resource.id.x)", 1, 17, "a string has no fields"),
        ("has(1)", 1, 5, "has() takes a field, such as has(resource.id)"),
        ("has()", 1, 1, "has() takes 1 argument, and there are 0"),
    ]);
}

#[test]
fn what_does_not_parse() {
    errors(&[
        (
            "",
            1,
            1,
            "the condition is empty: write an expression, or leave `when` out",
        ),
        (
            "  ",
            1,
            1,
            "the condition is empty: write an expression, or leave `when` out",
        ),
        ("risk ==", 1, 8, "the expression ends too early"),
        ("risk = 5", 1, 6, "unexpected `=`: write == to compare"),
        ("risk == 5 and true", 1, 11, "unexpected `and`: write && for and"),
        ("risk == 5 or true", 1, 11, "unexpected `or`: write || for or"),
        ("risk & 1", 1, 6, "unexpected `&`: write && for and"),
        ("risk | 1", 1, 6, "unexpected `|`: write || for or"),
        ("(risk == 5", 1, 11, "`)` is missing at the end"),
        ("risk == 5)", 1, 10, "unexpected `)`"),
        (
            "resource.id == \"x",
            1,
            16,
            "this text has no end: a quote is missing, or a backslash stands before a character that it cannot escape",
        ),
        (
            "resource.id == \"\\q\"",
            1,
            16,
            "this text has no end: a quote is missing, or a backslash stands before a character that it cannot escape",
        ),
        ("risk == 99999999999999999999", 1, 9, "this number is too large"),
        ("risk @ 5", 1, 6, "unexpected `@`"),
        ("if risk == 5", 1, 1, "`if` is a reserved word"),
        ("1 2", 1, 3, "unexpected `2`"),
        ("[1,", 1, 4, "`]` is missing at the end"),
        ("{\"a\" 1}", 1, 6, "`:` is missing before `1`"),
        ("risk > 1 ? true", 1, 16, "the expression ends too early"),
        ("resource..id == \"x\"", 1, 10, "unexpected `..`"),
        ("é == 1", 1, 1, "unexpected `é`"),
        ("resource.id == \"ü\" @ 5", 1, 20, "unexpected `@`"),
        ("not has(resource.id)", 1, 5, "unexpected `has`: write ! for not"),
        (
            "resource.name.startsWith('projects/prod-') && request.verb = 'POST'",
            1,
            60,
            "unexpected `=`: write == to compare",
        ),
    ]);
}

#[test]
fn what_is_too_deep_or_too_costly() {
    errors(&[
        (
            "request.query.all(x, request.query.all(y, x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y && x != y))",
            1,
            15,
            "this could take 110689 steps, and a condition may take 100000",
        ),
        (
            "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 == 1",
            1,
            7,
            "nested too deeply",
        ),
        (
            &format!("'(((' == 'x' || {}1{} == 1", "(".repeat(110), ")".repeat(110)),
            1,
            126,
            "nested too deeply",
        ),
    ]);
}

#[test]
fn texts_have_a_length() {
    let longest = |end: &str| format!("{}{end}", " ".repeat(MAX_CHARACTERS - end.chars().count()));
    assert!(Condition::compile(&longest("risk > 1")).is_ok());
    let at_the_end = Condition::compile(&longest("\"\u{e9}\" == 1"));
    assert_eq!(at_the_end.map(|_| ()).unwrap_err().column, 1_021);
    let error = Condition::compile(&format!("{} ", longest("risk > 1"))).unwrap_err();
    let expected = ConditionError {
        line: 1,
        column: 1_025,
        message: "a condition has 1024 characters at most, and this has 1025".to_owned(),
    };
    assert_eq!(error, expected);
}

#[test]
fn hostile_texts_are_refused_and_overflow_no_stack() {
    let fill = |part: &str| part.chars().cycle().take(MAX_CHARACTERS).collect::<String>();
    let chain = |part: &str, end: &str| {
        let count = (MAX_CHARACTERS - end.chars().count()) / part.chars().count();
        format!("{}{end}", part.repeat(count))
    };
    let around = |open: &str, inner: &str, close: &str| {
        let count = (MAX_CHARACTERS - inner.len()) / (open.len() + close.len());
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    let texts = [
        fill("("),
        fill("!"),
        fill("-"),
        fill("["),
        fill("{"),
        fill("?"),
        fill(")"),
        fill("\""),
        fill("'"),
        fill("\\"),
        fill("`"),
        fill("/*"),
        fill("\u{e9}"),
        fill("a("),
        fill("a["),
        fill("a{"),
        fill("x?"),
        fill("a b "),
        fill("f(a,[b,{c:d?e:f("),
        chain("1+", "1"),
        chain("\"\"+", "\"\""),
        chain("a.", "a"),
        chain("request.body.", "x"),
        chain("x?x:", "x"),
        chain("true?true:", "true"),
        chain("a<", "a"),
        chain("!-", "a"),
        chain("- ", "1"),
        chain("a||b&&", "a"),
        chain("[1].all(a,", "1"),
        around("(", "true == 1", ")"),
        around("[", "", "]"),
        around("{\"\":", "1", "}"),
        around("has(", "a.b", ")"),
        around("!(", "1", ")"),
    ];
    for text in texts {
        assert!(text.chars().count() <= MAX_CHARACTERS, "{text}");
        let error = Condition::compile(&text).map(|_| ()).expect_err(&text);
        assert!(
            error.line == 1 && error.column >= 1 && error.column <= 1_025,
            "{text}: {error}"
        );
        assert!(!error.message.is_empty(), "{text}");
    }
}

#[test]
fn long_chains_of_alternatives_are_fine() {
    let names: Vec<String> = (0..50).map(|n| format!("risk == {n}")).collect();
    assert!(Condition::compile(&names.join(" || ")).is_ok());
}
