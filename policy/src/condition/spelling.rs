//! Spellings that Google's JSON parser reads as the same: of a field, `fooBar` and `foo_bar`; of the value of an enum,
//! its name, its number as a string, and by leniency its name in other case or with dashes.

/// Whether a name may be read as the field `name`, and is written in another way.
///
/// ```text
/// fooBar       foo_bar, FooBar
/// IPProtocol   I_p_protocol, ip_protocol
/// ```
pub(super) fn is_other_of(given: &str, name: &str) -> bool {
    given != name && letters(given, b"_").eq(letters(name, b"_"))
}

/// Whether a text that was sent, and is not `meant`, may mean the same to a lenient parser: of a switch, anything but
/// its two names; of an enum's value, its number or its name in another spelling.
///
/// ```text
/// meant                 may be it                           is another value
/// INGRESS_TRAFFIC_ALL   ingress-traffic-all, "1"            INGRESS_TRAFFIC_NONE
/// publicRead            PUBLIC_READ, public-read            private
/// true                  True, t, 1, on, nothing             false
/// all                   nothing: no name of such a value
/// ```
pub(super) fn may_be_value(given: &str, meant: &str) -> bool {
    if let "true" | "false" = meant {
        return !matches!(given, "true" | "false");
    }
    let of = |allowed: fn(&u8) -> bool| meant.bytes().all(|b| allowed(&b));
    let is_constant = meant.starts_with(|c: char| c.is_ascii_uppercase())
        && of(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_');
    let is_camel = meant.starts_with(|c: char| c.is_ascii_lowercase())
        && meant.bytes().any(|b| b.is_ascii_uppercase())
        && of(u8::is_ascii_alphanumeric);
    if !is_constant && !is_camel {
        return false;
    }
    let number = given.trim();
    let number = number.strip_prefix(['-', '+']).unwrap_or(number);
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (is_constant && is_number) || letters(given, b"_- ").eq(letters(meant, b"_- "))
}

/// The letters of a name, in one case and without what may stand between them.
fn letters(text: &str, between: &'static [u8]) -> impl Iterator<Item = u8> {
    let kept = text.bytes().filter(|b| !between.contains(b));
    kept.map(|b| b.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields() {
        let rows = [
            ("foo_bar", "fooBar", true),
            ("fooBar", "foo_bar", true),
            ("FooBar", "fooBar", true),
            ("I_p_protocol", "IPProtocol", true),
            ("config_1x", "config1x", true),
            ("fooBar", "fooBar", false),
            ("foo-bar", "fooBar", false),
            ("foo", "bar", false),
            ("", "", false),
        ];
        for (given, name, expected) in rows {
            assert_eq!(is_other_of(given, name), expected, "{given} and {name}");
        }
    }

    #[test]
    fn values() {
        let all = "INGRESS_TRAFFIC_ALL";
        let rows = [
            ("ingress_traffic_all", all, true),
            ("ingress-traffic-all", all, true),
            ("ingressTrafficAll", all, true),
            ("1", all, true),
            ("-1", "ALL", true),
            (" 7 ", "ALL", true),
            ("INGRESS_TRAFFIC_NONE", all, false),
            ("", "ALL", false),
            ("1a", "ALL", false),
            ("PUBLIC_READ", "publicRead", true),
            ("public-read", "publicRead", true),
            ("private", "publicRead", false),
            ("1", "publicRead", false),
            ("ALL", "all", false),
            ("7", "projects/7", false),
            ("True", "true", true),
            ("", "true", true),
            ("1", "false", true),
            ("false", "true", false),
        ];
        for (given, meant, expected) in rows {
            assert_eq!(may_be_value(given, meant), expected, "{given} and {meant}");
        }
    }
}
