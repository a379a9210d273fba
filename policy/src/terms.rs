//! What an approval takes: how long a call is held for it and how long it is good, how many people have to give it,
//! and who counts. It says how the terms of several rules combine, and judges no review.

use serde::{Deserialize, Serialize};

/// What one rule asks of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalDef {
    /// The connection is held this long, in milliseconds.
    pub hold_for_ms: u64,
    /// The request can be decided, and its approval be used, this long after its creation, in milliseconds.
    pub expires_after_ms: u64,
    /// What the agent is told when nobody has decided by then.
    #[serde(default)]
    pub on_hold_end: HoldEnd,
    /// Who has to approve.
    #[serde(default)]
    pub quorum: Quorum,
}

impl Default for ApprovalDef {
    fn default() -> Self {
        Self {
            hold_for_ms: 4 * 60 * 1000,
            expires_after_ms: 24 * 60 * 60 * 1000,
            on_hold_end: HoldEnd::default(),
            quorum: Quorum::default(),
        }
    }
}

/// What an agent is told when its call was held long enough, in order of strictness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HoldEnd {
    /// To come back.
    Retry,
    /// That it is refused as long as nobody approves.
    #[default]
    Fail,
}

/// How many people have to approve, and who counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quorum {
    /// How many.
    pub approvals: u8,
    /// Users who count, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups whose members count, sorted. Without users and groups, everybody counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whether each approval has to come from another one of the groups.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distinct_groups: bool,
}

impl Default for Quorum {
    fn default() -> Self {
        Self {
            approvals: 1,
            users: Vec::new(),
            groups: Vec::new(),
            distinct_groups: false,
        }
    }
}

impl Quorum {
    /// Whether everybody counts.
    pub fn is_open(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether whatever meets this meets `other` too.
    fn covers(&self, other: &Self) -> bool {
        let same_people = self.users == other.users
            && self.groups == other.groups
            && self.distinct_groups >= other.distinct_groups;
        self.approvals >= other.approvals && (other.is_open() || same_people)
    }
}

/// What an approval takes by all rules that want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The shortest time that a rule holds the connection, in milliseconds.
    pub hold_for_ms: u64,
    /// The shortest life of the request, in milliseconds.
    pub expires_after_ms: u64,
    /// The strictest answer at the end of the hold.
    pub on_hold_end: HoldEnd,
    /// All of these have to be met; never empty. What another one covers is left out.
    pub quorums: Vec<Quorum>,
}

impl Terms {
    /// Combines what the rules ask: nothing that one of them asks is lost. Of no rules, the default.
    pub fn combined<'a>(rules: impl IntoIterator<Item = &'a ApprovalDef>) -> Self {
        let mut rules = rules.into_iter();
        let default = ApprovalDef::default();
        let first = rules.next().unwrap_or(&default);
        let mut terms = Self {
            hold_for_ms: first.hold_for_ms,
            expires_after_ms: first.expires_after_ms,
            on_hold_end: first.on_hold_end,
            quorums: vec![first.quorum.clone()],
        };
        for rule in rules {
            terms.hold_for_ms = terms.hold_for_ms.min(rule.hold_for_ms);
            terms.expires_after_ms = terms.expires_after_ms.min(rule.expires_after_ms);
            terms.on_hold_end = terms.on_hold_end.max(rule.on_hold_end);
            if !terms.quorums.iter().any(|q| q.covers(&rule.quorum)) {
                terms.quorums.retain(|q| !rule.quorum.covers(q));
                terms.quorums.push(rule.quorum.clone());
            }
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::{ApprovalDef, HoldEnd, Quorum, Terms};

    fn quorum(approvals: u8, users: &[&str], groups: &[&str], distinct_groups: bool) -> Quorum {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Quorum {
            approvals,
            users: owned(users),
            groups: owned(groups),
            distinct_groups,
        }
    }

    fn of(quorums: &[Quorum]) -> Vec<Quorum> {
        let rules: Vec<ApprovalDef> = quorums
            .iter()
            .map(|quorum| ApprovalDef {
                quorum: quorum.clone(),
                ..ApprovalDef::default()
            })
            .collect();
        Terms::combined(&rules).quorums
    }

    #[test]
    fn what_another_covers_is_left_out_and_nothing_else() {
        let open = |n| quorum(n, &[], &[], false);
        let alice = || quorum(1, &["alice"], &[], false);
        let bob = || quorum(1, &["bob"], &[], false);
        let teams = |n, distinct| quorum(n, &[], &["sec", "sre"], distinct);
        let cases: [(&[Quorum], &[Quorum]); 8] = [
            (&[], &[open(1)]),
            (&[open(1), open(3), open(2)], &[open(3)]),
            (&[open(1), alice()], &[alice()]),
            (&[alice(), open(1)], &[alice()]),
            (&[alice(), open(2)], &[alice(), open(2)]),
            (&[alice(), bob(), alice()], &[alice(), bob()]),
            (
                &[teams(2, false), teams(1, true)],
                &[teams(2, false), teams(1, true)],
            ),
            (&[teams(2, false), teams(2, true)], &[teams(2, true)]),
        ];
        for (asked, left) in cases {
            assert_eq!(of(asked), left, "{asked:?}");
        }
    }

    #[test]
    fn the_shortest_times_and_the_strictest_end_count() {
        let rule = |hold_for_ms, expires_after_ms, on_hold_end| ApprovalDef {
            hold_for_ms,
            expires_after_ms,
            on_hold_end,
            quorum: Quorum::default(),
        };
        let rules = [rule(10, 300, HoldEnd::Retry), rule(20, 200, HoldEnd::Fail)];
        assert_eq!(
            Terms::combined(&rules),
            Terms {
                hold_for_ms: 10,
                expires_after_ms: 200,
                on_hold_end: HoldEnd::Fail,
                quorums: vec![Quorum::default()],
            }
        );
        assert_eq!(Terms::combined(&rules[..1]).on_hold_end, HoldEnd::Retry);
    }
}
