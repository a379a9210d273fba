//! The conditions of a set's rules and factors of risk, compiled once; equal texts share a program.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use crate::{
    condition::{Condition, ConditionError, EvalError, Reads, Scene},
    definition::PolicyDef,
};

/// A condition as a set runs it. The compiler has accepted its text; should this build read the text otherwise,
/// it cannot be evaluated, which tightens.
#[derive(Debug)]
pub struct SetCondition(Result<Condition, ConditionError>);

/// Why a condition has no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoValue {
    /// It does not compile.
    #[error("the condition does not compile: {0}")]
    Broken(#[from] ConditionError),
    /// What it names is not there, or it costs too much.
    #[error(transparent)]
    Failed(#[from] EvalError),
}

impl SetCondition {
    /// The program of a text. A set is built anew for every change of a policy, and nearly all texts stay what they
    /// were: a program that any set still runs is taken from there.
    fn shared(text: &str) -> Arc<Self> {
        static RUNNING: LazyLock<Mutex<HashMap<String, Weak<SetCondition>>>> = LazyLock::new(Mutex::default);
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = running.get(text).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Self(Condition::compile(text)));
        if running.len() == running.capacity() {
            running.retain(|_, program| program.strong_count() > 0);
        }
        running.insert(text.to_owned(), Arc::downgrade(&new));
        new
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// [`NoValue`]: then it counts as what is stricter.
    pub fn holds(&self, scene: &Scene<'_>) -> Result<bool, NoValue> {
        match &self.0 {
            Ok(condition) => Ok(condition.holds(scene)?),
            Err(error) => Err(NoValue::Broken(error.clone())),
        }
    }

    /// What it looks at.
    pub fn reads(&self) -> Reads {
        self.0
            .as_ref()
            .map_or_else(|_| Reads::default(), Condition::reads)
    }
}

#[derive(Debug, Default)]
pub(super) struct Conditions {
    rules: Vec<Option<Arc<SetCondition>>>,
    /// Of the factors of each policy.
    factors: Vec<Box<[Arc<SetCondition>]>>,
}

impl Conditions {
    pub(super) fn new(policies: &[PolicyDef]) -> Self {
        let mut made = Self::default();
        for policy in policies {
            for rule in &policy.rules {
                made.rules.push(rule.when.as_deref().map(SetCondition::shared));
            }
            let factors = policy.risk.iter().flat_map(|risk| &risk.factors);
            made.factors
                .push(factors.map(|f| SetCondition::shared(&f.when)).collect());
        }
        made
    }

    pub(super) fn of_rule(&self, rule: super::RuleId) -> Option<&SetCondition> {
        self.rules.get(rule.0 as usize)?.as_deref()
    }

    pub(super) fn of_factors(&self, policy: super::PolicyId) -> &[Arc<SetCondition>] {
        self.factors.get(policy.0 as usize).map_or(&[], |all| all)
    }
}
