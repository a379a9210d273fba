//! The two spellings of a field: Google's JSON parser reads `fooBar` and `foo_bar` as the same field.

/// The other spelling of a name that has one.
///
/// ```text
/// fooBar   foo_bar
/// foo_bar  fooBar
/// foo      none
/// ```
pub(super) fn other(name: &str) -> Option<Box<str>> {
    let other = if name.contains('_') {
        camel(name)
    } else {
        snake(name)
    };
    (other != name).then(|| other.into())
}

fn camel(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            made.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            made.push(c);
        }
    }
    made
}

fn snake(name: &str) -> String {
    let mut made = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            made.push('_');
        }
        made.push(c.to_ascii_lowercase());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let rows = [
            ("fooBar", Some("foo_bar")),
            ("foo_bar", Some("fooBar")),
            ("foo", None),
            ("", None),
            ("ipCidrRange", Some("ip_cidr_range")),
            ("x-goog", None),
        ];
        for (name, expected) in rows {
            assert_eq!(other(name).as_deref(), expected, "{name}");
        }
    }
}
