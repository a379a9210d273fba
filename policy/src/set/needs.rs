//! What has to be read of a request before it can be decided.

use crate::{
    call::Call,
    caller::Caller,
    definition::{Effect, Mode},
    risk,
    set::PolicySet,
};

/// What a decision looks at besides the call itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// The body, as JSON.
    pub body: Need,
    /// What secrets the body holds.
    pub search: Need,
    /// Verb, host, parameters and headers, which conditions may name, and which add to a risk.
    pub head: bool,
}

/// Whether something is needed, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing asks for it.
    #[default]
    No,
    /// Only policies in DryRun, or the record, ask for it: they must change no answer, so it is read where that can do
    /// no harm.
    DryRun,
    /// The decision takes it.
    Yes,
}

impl Need {
    fn by(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Yes,
            Mode::DryRun => Self::DryRun,
        }
    }
}

impl PolicySet {
    /// What has to be read before these calls can be decided.
    pub fn needs(&self, caller: &Caller, calls: &[Call]) -> Needs {
        let mut needs = Needs::default();
        let telling = calls.iter().any(risk::body_matters);
        for (c, call) in (0u16..).zip(calls) {
            for (r, _) in (0u16..).zip(0..call.resources.len().max(1)) {
                self.candidates(caller, call, (c, r), &mut |hit| {
                    let Some(condition) = self.condition(hit.rule) else {
                        return;
                    };
                    let reads = condition.reads();
                    needs.head = true;
                    if reads.body || (reads.risk && telling) {
                        needs.body = needs.body.max(Need::by(self.rule(hit.rule).policy.mode));
                    }
                });
            }
        }
        self.for_risk(caller, |id, policy| {
            let factors = self.conditions.of_factors(id);
            needs.head = true;
            if telling || factors.iter().any(|f| f.reads().body) {
                needs.body = needs.body.max(Need::by(policy.mode));
            }
        });
        self.for_outbound(caller, |_, policy| {
            let Some(says) = &policy.outbound else { return };
            // What is only to be recorded changes no answer either.
            let decides = says.requests.max(says.unscannable) > Effect::Allow;
            let need = if decides {
                Need::by(policy.mode)
            } else {
                Need::DryRun
            };
            needs.search = needs.search.max(need);
        });
        needs
    }
}
