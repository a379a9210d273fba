//! Assumptions about conditions, and how to say in which of them something is so.

use std::collections::BTreeSet;

/// What a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Truth {
    /// It does not hold.
    No,
    /// It holds.
    Yes,
    /// It cannot be evaluated.
    Failed,
}

/// One condition that is in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The expression.
    pub(super) text: String,
    /// Whether failing is a case of its own: it is where rules that allow and rules that restrict share it.
    pub(super) may_fail: bool,
}

impl Question {
    fn answers(&self) -> &'static [Truth] {
        match self.may_fail {
            false => &[Truth::No, Truth::Yes],
            true => &[Truth::No, Truth::Yes, Truth::Failed],
        }
    }
}

/// All ways to answer; `None` where there are more than `most`.
pub(super) fn assumptions(questions: &[Question], most: usize) -> Option<Vec<Vec<Truth>>> {
    let mut all: Vec<Vec<Truth>> = vec![Vec::new()];
    for question in questions {
        let answers = question.answers();
        if all.len().checked_mul(answers.len()).is_none_or(|n| n > most) {
            return None;
        }
        all = all
            .iter()
            .flat_map(|before| answers.iter().map(move |answer| [&**before, &[*answer]].concat()))
            .collect();
    }
    Some(all)
}

/// Says in words in which assumptions something is so; `None` where it is so in all.
pub(super) fn when(questions: &[Question], holds: &BTreeSet<Vec<Truth>>) -> Option<String> {
    type Cube = Vec<Option<Truth>>;
    let mut cubes: BTreeSet<Cube> = holds
        .iter()
        .map(|assumption| assumption.iter().map(|t| Some(*t)).collect())
        .collect();
    // Cubes that differ in one place only, where all its answers occur, are one without it.
    loop {
        let mut wider = BTreeSet::new();
        for cube in &cubes {
            for (at, question) in questions.iter().enumerate() {
                let with = |answer| {
                    let mut other = cube.clone();
                    other[at] = answer;
                    other
                };
                let all = question.answers().iter().all(|a| cubes.contains(&with(Some(*a))));
                if cube[at].is_some() && all {
                    wider.insert(with(None));
                }
            }
        }
        let before = cubes.len();
        cubes.extend(wider);
        if cubes.len() == before {
            break;
        }
    }
    let within = |small: &Cube, wide: &Cube| {
        small != wide && small.iter().zip(wide).all(|(s, w)| w.is_none() || s == w)
    };
    let mut widest: Vec<&Cube> = cubes
        .iter()
        .filter(|cube| !cubes.iter().any(|other| within(cube, other)))
        .collect();
    // Of these, as few as say all; the widest first.
    widest.sort_by_key(|cube| cube.iter().flatten().count());
    let mut left = holds.clone();
    let mut told = Vec::new();
    for cube in widest {
        let before = left.len();
        left.retain(|assumption| {
            let covered = cube.iter().zip(assumption);
            !covered.into_iter().all(|(c, a)| c.is_none_or(|c| c == *a))
        });
        if left.len() < before {
            told.push(cube);
        }
    }
    let words = |cube: &Cube| {
        let parts: Vec<String> = questions
            .iter()
            .zip(cube)
            .filter_map(|(question, answer)| {
                let text = &question.text;
                Some(match (*answer)? {
                    Truth::Yes => text.clone(),
                    Truth::No => format!("not ({text})"),
                    Truth::Failed => format!("({text}) cannot be evaluated"),
                })
            })
            .collect();
        parts.join(" and ")
    };
    let told: Vec<String> = told.into_iter().map(words).collect();
    match told.as_slice() {
        [all] if all.is_empty() => None,
        _ => Some(told.join("; or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_put_into_few_words() {
        let question = |text: &str, may_fail| Question {
            text: text.to_owned(),
            may_fail,
        };
        let two = [question("a", false), question("b", false)];
        let failing = [question("a", true)];
        let say = |questions: &[Question], holds: &dyn Fn(&[Truth]) -> bool| {
            let all = assumptions(questions, 100).unwrap();
            when(questions, &all.into_iter().filter(|a| holds(a)).collect())
        };
        let yes = Truth::Yes;
        let found = [
            say(&two, &|_| true),
            say(&two, &|a| a[0] == yes),
            say(&two, &|a| a[0] == yes && a[1] == yes),
            say(&two, &|a| a[0] == yes || a[1] != yes),
            say(&two, &|a| (a[0] == yes) != (a[1] == yes)),
            say(&failing, &|a| a[0] != Truth::No),
            say(&failing, &|a| a[0] == Truth::Failed),
        ];
        let expected = [
            None,
            Some("a"),
            Some("a and b"),
            Some("not (b); or a"),
            Some("not (a) and b; or a and not (b)"),
            Some("a; or (a) cannot be evaluated"),
            Some("(a) cannot be evaluated"),
        ];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
        assert_eq!(assumptions(&two, 3), None);
        assert_eq!(assumptions(&[], 3), Some(vec![vec![]]));
    }
}
