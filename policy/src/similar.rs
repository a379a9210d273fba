//! The name that was probably meant. It proposes; nothing is ever taken for what it proposes.

/// The candidate that a name is most like, where one is like it at all. Of two that are equally near, the
/// first in the alphabet.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = 2.max(name.chars().count() / 3);
    candidates
        .into_iter()
        // The difference in length is the least that the distance can be, and costs nothing to know.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= far * 4)
        .map(|candidate| (distance(name, candidate), candidate))
        // Two names without one letter in common are not alike, however short they are.
        .filter(|(distance, candidate)| *distance <= far && *distance < candidate.len().max(name.len()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance without regard to the case of ASCII letters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_what_is_alike_is_proposed() {
        let fields = ["methods", "message", "name", "resources", "id"];
        let found = [
            "method",
            "METHODS",
            "mesage",
            "nam",
            "x",
            "",
            "resourcesOf",
            "något",
        ]
        .map(|name| (name, nearest(name, fields)));
        assert_eq!(
            found,
            [
                ("method", Some("methods")),
                ("METHODS", Some("methods")),
                ("mesage", Some("message")),
                ("nam", Some("name")),
                ("x", None),
                ("", None),
                ("resourcesOf", Some("resources")),
                ("något", None),
            ]
        );
    }
}
