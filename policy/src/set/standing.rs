//! What holds for an agent whatever it calls: how much it may do, and whether it is suspended.
//!
//! It says what policies say, and counts nothing.

use super::{PolicyId, PolicySet, selects};
use crate::{
    caller::Caller,
    definition::{LimitsDef, Mode, PolicyDef},
};

impl PolicySet {
    /// Whether any policy suspends its agents.
    pub fn suspends(&self) -> bool {
        self.suspends
    }

    /// The policy that suspends the caller, in DryRun too; where several do, the first by namespace and name.
    pub fn suspended_by(&self, caller: &Caller) -> Option<&PolicyDef> {
        self.suspender(caller).map(|id| self.policy(id))
    }

    /// The same by its number.
    pub(crate) fn suspender(&self, caller: &Caller) -> Option<PolicyId> {
        if !self.suspends {
            return None;
        }
        let mut found: Option<u32> = None;
        self.for_standing(caller, |number, policy| {
            if policy.suspend && found.is_none_or(|first| number < first) {
                found = Some(number);
            }
        });
        found.map(PolicyId)
    }

    /// How much the caller may do: the lowest of each limit of the policies in force that select him.
    pub fn limits_of(&self, caller: &Caller) -> LimitsDef {
        self.lowest(caller, Mode::Enforce)
    }

    /// What [`Self::limits_of`] would be of the policies in DryRun alone.
    pub fn limits_tried_on(&self, caller: &Caller) -> LimitsDef {
        self.lowest(caller, Mode::DryRun)
    }

    /// The policy in force that sets the lowest of one limit for the caller; where several do, the first by
    /// namespace and name.
    pub fn limited_by(
        &self,
        caller: &Caller,
        limit: impl Fn(&LimitsDef) -> Option<u64>,
    ) -> Option<&PolicyDef> {
        let mut found: Option<(u64, u32)> = None;
        self.for_standing(caller, |number, policy| {
            if policy.mode == Mode::Enforce
                && let Some(value) = limit(&policy.limits)
                && found.is_none_or(|lowest| (value, number) < lowest)
            {
                found = Some((value, number));
            }
        });
        self.policies.get(found?.1 as usize)
    }

    fn lowest(&self, caller: &Caller, mode: Mode) -> LimitsDef {
        let mut limits = LimitsDef::default();
        if self.limits {
            self.for_standing(caller, |_, policy| {
                if policy.mode == mode {
                    limits = limits.and(policy.limits);
                }
            });
        }
        limits
    }

    /// Visits the policies that suspend or limit the caller, perhaps twice.
    fn for_standing(&self, caller: &Caller, mut visit: impl FnMut(u32, &PolicyDef)) {
        self.for_shelves(caller, |shelf, sure| {
            for number in &shelf.with_standing {
                let policy = &self.policies[*number as usize];
                if sure || selects(policy, caller) {
                    visit(*number, policy);
                }
            }
        });
    }
}
