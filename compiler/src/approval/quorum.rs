//! Whether the approvals of a request are enough: how many count, and for what it takes.

use turnpike_crds::{ApprovalRequirement, Approvers};

/// One person's approval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Approval<'a> {
    /// His user name.
    pub(super) who: &'a str,
    /// The groups that he counts for.
    pub(super) groups: &'a [String],
}

/// How far the approvals of a request go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Approvals that count, over all that is required.
    pub given: usize,
    /// Approvals that it takes.
    pub needed: usize,
    /// Users whose approval counts for nothing that is required.
    pub uncounted: Vec<String>,
}

impl Tally {
    /// Whether it is enough.
    pub fn is_met(&self) -> bool {
        self.given >= self.needed
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.given, self.needed)
    }
}

/// Counts approvals for all that is required. Where nothing is, one approval of anybody is enough.
pub(super) fn tally(requires: &[ApprovalRequirement], approvals: &[Approval<'_>]) -> Tally {
    let one = [ApprovalRequirement {
        approvals: 1,
        ..ApprovalRequirement::default()
    }];
    let requires = if requires.is_empty() { &one } else { requires };
    let mut tally = Tally::default();
    for requirement in requires {
        let needed = usize::try_from(requirement.approvals).unwrap_or(1).max(1);
        let counted = approvals.iter().filter(|a| counts(requirement, a));
        let given = match requirement.distinct_groups {
            false => counted.count(),
            true => different_groups(requirement, &counted.copied().collect::<Vec<_>>()),
        };
        tally.given += given.min(needed);
        tally.needed += needed;
    }
    tally.uncounted = approvals
        .iter()
        .filter(|a| !requires.iter().any(|r| counts(r, a)))
        .map(|a| a.who.to_owned())
        .collect();
    tally
}

fn counts(requirement: &ApprovalRequirement, approval: &Approval<'_>) -> bool {
    let Some(Approvers { users, groups }) = &requirement.approvers else {
        // Different groups of nobody named are none.
        return !requirement.distinct_groups;
    };
    users.iter().any(|user| user == approval.who)
        || groups.iter().any(|group| approval.groups.contains(group))
}

/// How many groups can be given an approver each, nobody twice: the largest matching of groups and people, found by
/// augmenting paths. There are at most 64 people and 32 groups.
fn different_groups(requirement: &ApprovalRequirement, approvals: &[Approval<'_>]) -> usize {
    let groups = requirement.approvers.as_ref().map_or(&[][..], |a| &a.groups);
    let mut taken: Vec<Option<usize>> = vec![None; groups.len()];
    (0..approvals.len())
        .filter(|person| {
            place(
                *person,
                groups,
                approvals,
                &mut taken,
                &mut vec![false; groups.len()],
            )
        })
        .count()
}

/// Gives a person a group, moving others where that makes room.
fn place(
    person: usize,
    groups: &[String],
    approvals: &[Approval<'_>],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (g, group) in groups.iter().enumerate() {
        if !approvals.get(person).is_some_and(|a| a.groups.contains(group)) {
            continue;
        }
        if tried.get_mut(g).is_none_or(|t| std::mem::replace(t, true)) {
            continue;
        }
        let free = match taken.get(g).copied().flatten() {
            None => true,
            Some(other) => place(other, groups, approvals, taken, tried),
        };
        if free && let Some(slot) = taken.get_mut(g) {
            *slot = Some(person);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use turnpike_crds::{ApprovalRequirement, Approvers};

    use super::{Approval, tally};

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// `NUMBER[!] users ; groups`, with `!` for different groups; approvals as `name:group,group`.
    fn counted(requires: &[&str], approvals: &str) -> (String, Vec<String>) {
        let requires: Vec<ApprovalRequirement> = requires
            .iter()
            .map(|text| {
                let (head, who) = text.split_once(' ').unwrap_or((text, ";"));
                let (users, groups) = who.split_once(';').unwrap();
                let approvers = Approvers {
                    users: names(users),
                    groups: names(groups),
                };
                ApprovalRequirement {
                    approvals: head.trim_end_matches('!').parse().unwrap(),
                    approvers: (approvers != Approvers::default()).then_some(approvers),
                    distinct_groups: head.ends_with('!'),
                }
            })
            .collect();
        let people: Vec<(&str, Vec<String>)> = approvals
            .split_whitespace()
            .map(|text| {
                let (who, groups) = text.split_once(':').unwrap_or((text, ""));
                (who, names(&groups.replace(',', " ")))
            })
            .collect();
        let approvals: Vec<Approval<'_>> = people
            .iter()
            .map(|(who, groups)| Approval { who, groups })
            .collect();
        let tally = tally(&requires, &approvals);
        (tally.to_string(), tally.uncounted)
    }

    #[test]
    fn approvals_count_for_what_they_may() {
        let cases: [(&[&str], &str, &str, &str); 17] = [
            (&[], "", "0/1", ""),
            (&[], "alice", "1/1", ""),
            (&["2"], "alice", "1/2", ""),
            (&["2"], "alice bob carol", "2/2", ""),
            (&["1 alice ;"], "bob", "0/1", "bob"),
            (&["1 alice ;"], "bob alice", "1/1", "bob"),
            (&["1 alice ; sre"], "bob:dev,sre", "1/1", ""),
            (&["1 ; sre"], "bob:srex carol", "0/1", "bob carol"),
            // One approval can count for several, and each is met by itself.
            (&["1 ; sre", "1 ; sec"], "bob:sre,sec", "2/2", ""),
            (&["2 ; sre", "1 ; sec"], "bob:sre,sec", "2/3", ""),
            (&["1 alice ;", "2"], "bob carol", "2/3", ""),
            // Two of one group are not two groups, and nobody counts for two.
            (&["2! ; sre sec"], "bob:sre carol:sre", "1/2", ""),
            (&["2! ; sre sec"], "bob:sre,sec", "1/2", ""),
            // Whoever came first makes room for one who fits in one place only.
            (&["2! ; sre sec"], "bob:sre,sec carol:sre", "2/2", ""),
            (&["3! ; a b c"], "x:a,b y:a z:b,c", "3/3", ""),
            (&["3! ; a b c"], "x:a,b y:a z:b", "2/3", ""),
            // Different groups without any named can never be met.
            (&["1!"], "alice:sre", "0/1", "alice"),
        ];
        for (requires, approvals, expected, uncounted) in cases {
            assert_eq!(
                counted(requires, approvals),
                (expected.to_owned(), names(uncounted)),
                "{requires:?} with {approvals:?}"
            );
        }
    }
}
