//! Conditions that differ by blanks alone, said in the same words.
//!
//! A comparison takes conditions for the same where their texts are. Blanks mean nothing between tokens, so they are
//! looked past here; that two texts in different words may come to the same is not seen.

use crate::definition::{CustomFactor, PolicyDef, RuleDef};

/// The new policies, whose conditions have the words of the old ones where they differ by blanks alone.
pub fn in_the_words_of(old: &[PolicyDef], new: Vec<PolicyDef>) -> Vec<PolicyDef> {
    let mut texts: Vec<(String, &str)> = old
        .iter()
        .flat_map(conditions)
        .map(|text| (without_blanks(text), text))
        .collect();
    // Of several that differ by blanks alone, the same one always.
    texts.sort();
    let in_words = |text: String| {
        let bare = without_blanks(&text);
        let known = |old: &&(String, &str)| old.0 == bare;
        // The very text stays as it is.
        match texts.iter().filter(known).any(|(_, old)| *old == text) {
            true => text,
            false => texts
                .iter()
                .find(known)
                .map_or(text, |(_, old)| (*old).to_owned()),
        }
    };
    let rule = |rule: RuleDef| RuleDef {
        when: rule.when.map(in_words),
        ..rule
    };
    let factor = |factor: CustomFactor| CustomFactor {
        when: in_words(factor.when),
        ..factor
    };
    new.into_iter()
        .map(|policy| PolicyDef {
            rules: policy.rules.into_iter().map(rule).collect(),
            risk: policy.risk.map(|mut risk| {
                risk.factors = risk.factors.into_iter().map(factor).collect();
                risk
            }),
            ..policy
        })
        .collect()
}

fn conditions(policy: &PolicyDef) -> impl Iterator<Item = &str> {
    let rules = policy.rules.iter().filter_map(|rule| rule.when.as_deref());
    let factors = policy.risk.iter().flat_map(|risk| &risk.factors);
    rules.chain(factors.map(|factor| factor.when.as_str()))
}

/// The tokens, with a blank between two where they would run together without it. A text with comments, or with
/// texts in which backslashes or several quotes stand, is left as it is.
fn without_blanks(text: &str) -> String {
    if text.contains(['\\', '#']) || text.contains("//") || text.contains("\"\"\"") || text.contains("'''") {
        return text.to_owned();
    }
    let mut bare = String::with_capacity(text.len());
    let mut quote = None;
    let mut blank = false;
    for c in text.chars() {
        match quote {
            Some(open) => {
                bare.push(c);
                if c == open {
                    quote = None;
                }
            }
            None if c.is_ascii_whitespace() => blank = true,
            None => {
                let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '\'');
                let joined = |before: char| {
                    (word(before) && word(c))
                        || (c.is_ascii_punctuation() && before == c)
                        || "=<>!&|".contains(before) && "=&|".contains(c)
                };
                if blank && bare.chars().next_back().is_some_and(joined) {
                    bare.push(' ');
                }
                blank = false;
                bare.push(c);
                if matches!(c, '"' | '\'') {
                    quote = Some(c);
                }
            }
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::without_blanks;

    #[test]
    fn blanks_between_tokens_mean_nothing_and_others_stay() {
        let same = [
            ("risk < 60", "risk  <\n 60"),
            ("risk < 60", "risk<60"),
            (" a.b == 'x  y' ", "a.b=='x  y'"),
            ("f(a, b) && !c", "f( a,b )&&!c"),
            ("x in [1, 2]", "x   in [1,2]"),
        ];
        for (one, other) in same {
            assert_eq!(without_blanks(one), without_blanks(other), "{one:?} {other:?}");
        }
        let different = [
            ("a == 'x y'", "a == 'x  y'"),
            ("a == \"x y\"", "a == \"xy\""),
            ("x in y", "xin y"),
            ("a - -b", "a --b"),
            ("a < = b", "a <= b"),
            ("a // b == c", "a // b\n== c"),
            ("a == 'x\\' y'", "a == 'x\\'  y'"),
            ("1 .2", "1.2"),
        ];
        for (one, other) in different {
            assert_ne!(without_blanks(one), without_blanks(other), "{one:?} {other:?}");
        }
    }
}
