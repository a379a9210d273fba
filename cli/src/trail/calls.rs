//! From events to calls: what belongs to one call is put together, and calls that are alike are counted.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use turnpike_audit::{
    Phase, Verdict,
    read::{AuditEvent, EventReading, EventResource},
};
use turnpike_policy::{
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    catalog::Catalog,
    definition::Effect,
    whatif::{Recorded, RecordedAgent, RecordedAnswer, RecordedRule},
};

/// Calls, as far as their events were read.
#[derive(Debug)]
pub(super) struct Calls<'c> {
    table: Table<'c>,
    /// By the call's id.
    calls: HashMap<String, OneCall>,
}

/// One call.
#[derive(Debug)]
struct OneCall {
    facts: Facts,
    at: Timestamp,
    held: bool,
    passed: bool,
    reason: String,
}

/// What calls that are counted together share. Resources and methods are kept as text; they are taken apart once for
/// all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Facts {
    agent: Option<RecordedAgent>,
    session: String,
    verb: String,
    host: String,
    operation: String,
    api: String,
    grpc: bool,
    readings: Vec<(String, usize)>,
    resources: Vec<NamedResource>,
    rules: Vec<RecordedRule>,
    would: Option<Effect>,
    credential: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct NamedResource {
    name: String,
    kind: String,
    id: Option<String>,
    location: Option<String>,
    below: bool,
}

impl<'c> Calls<'c> {
    pub(super) fn new(catalog: &'c Catalog) -> Self {
        Self {
            table: Table::new(catalog),
            calls: HashMap::new(),
        }
    }

    /// Adds an event. Events may come in any order, and more than once.
    pub(super) fn add(&mut self, event: &AuditEvent) {
        let turnpike = &event.unmapped.turnpike;
        let call = self
            .calls
            .entry(event.metadata.correlation_uid.clone())
            .or_insert_with(|| OneCall {
                facts: facts(event),
                at: event.time_dt,
                held: false,
                passed: false,
                reason: turnpike.reason.clone(),
            });
        // What was decided first is what the policies said; what came of a hold is told later.
        if event.time_dt < call.at {
            call.at = event.time_dt;
            let credential = call.facts.credential.take();
            call.facts = facts(event);
            call.facts.credential = call.facts.credential.take().or(credential);
            call.reason = turnpike.reason.clone();
        }
        call.held |= turnpike.phase == Phase::Held || turnpike.reason == "APPROVED";
        call.passed |= matches!(turnpike.phase, Phase::Intent | Phase::Outcome);
        if call.facts.credential.is_none() {
            call.facts.credential = turnpike.credential.clone();
        }
    }

    /// All calls, those that are alike together, in an order that does not depend on that of the events.
    pub(super) fn finish(self) -> Vec<Recorded> {
        let mut alike: BTreeMap<(Facts, RecordedAnswer, String), Vec<Timestamp>> = BTreeMap::new();
        let Self { table, calls } = self;
        for call in calls.into_values() {
            let answer = match (call.held, call.passed) {
                (true, _) => RecordedAnswer::Held,
                (false, true) => RecordedAnswer::Allowed,
                (false, false) => RecordedAnswer::Refused,
            };
            alike
                .entry((call.facts, answer, call.reason))
                .or_default()
                .push(call.at);
        }
        alike
            .into_iter()
            .map(|((facts, answer, reason), mut times)| {
                times.sort_unstable();
                Recorded {
                    calls: table.calls(&facts),
                    agent: facts.agent,
                    session: facts.session,
                    verb: facts.verb,
                    host: facts.host,
                    operation: facts.operation,
                    answer,
                    reason,
                    rules: facts.rules,
                    would: facts.would,
                    credential: facts.credential,
                    times,
                }
            })
            .collect()
    }
}

fn facts(event: &AuditEvent) -> Facts {
    let turnpike = &event.unmapped.turnpike;
    Facts {
        agent: agent(event),
        session: event
            .actor
            .session
            .as_ref()
            .map_or_else(String::new, |s| s.uid.clone()),
        verb: event.http_request.http_method.clone(),
        host: event.http_request.url.hostname.clone(),
        operation: event.api.operation.clone(),
        api: event
            .api
            .service
            .as_ref()
            .map_or_else(String::new, |s| s.name.clone()),
        grpc: turnpike.transport == "grpc",
        readings: turnpike
            .readings
            .iter()
            .map(|EventReading { method, resources }| (method.clone(), *resources))
            .collect(),
        resources: event
            .resources
            .iter()
            .enumerate()
            .map(|(at, resource)| named(resource, turnpike.below.contains(&at)))
            .collect(),
        rules: turnpike
            .rules
            .iter()
            .filter_map(|rule| {
                Some(RecordedRule {
                    policy: rule.policy.clone(),
                    rule: rule.rule.clone(),
                    effect: match rule.effect.as_str() {
                        "Allow" => Effect::Allow,
                        "RequireApproval" => Effect::RequireApproval,
                        "Deny" => Effect::Deny,
                        // Of a newer proxy: nothing here knows what it would mean.
                        _ => return None,
                    },
                    enforced: rule.mode != "DryRun",
                })
            })
            .collect(),
        would: turnpike.would.map(|verdict| match verdict {
            Verdict::Allow => Effect::Allow,
            Verdict::Hold => Effect::RequireApproval,
            Verdict::Deny => Effect::Deny,
        }),
        credential: turnpike.credential.clone(),
    }
}

fn agent(event: &AuditEvent) -> Option<RecordedAgent> {
    let user = &event.actor.user;
    match user.name.split_once('/') {
        Some((namespace, name)) if !user.domain.is_empty() && namespace == user.domain => {
            Some(RecordedAgent::ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ if user.uid.is_empty() => None,
        _ => Some(RecordedAgent::Oidc {
            issuer: event
                .actor
                .idp
                .as_ref()
                .map_or_else(String::new, |idp| idp.name.clone()),
            subject: user.uid.clone(),
        }),
    }
}

fn named(resource: &EventResource, below: bool) -> NamedResource {
    NamedResource {
        name: resource.name.clone(),
        kind: resource.kind.clone(),
        id: resource.uid.clone(),
        location: resource.region.clone(),
        below,
    }
}

/// What the catalogue tells of methods.
#[derive(Debug)]
struct Table<'c> {
    catalog: &'c Catalog,
    /// By method, its API and what is known of it.
    methods: Vec<(Option<&'static str>, Traits)>,
    /// Names of APIs and of collections.
    words: HashMap<&'static str, &'static str>,
}

impl<'c> Table<'c> {
    fn new(catalog: &'c Catalog) -> Self {
        let mut methods = vec![(None, Traits::NONE); catalog.ids().len()];
        let mut words: HashMap<&str, &str> = catalog.collections().map(|kind| (kind, kind)).collect();
        for method in catalog.methods() {
            if let Some((api, traits)) = methods.get_mut(method.index.as_usize()) {
                *api = Some(method.api);
                *traits |= method.traits;
            }
            words.insert(method.api, method.api);
        }
        Self {
            catalog,
            methods,
            words,
        }
    }

    fn word(&self, text: &str) -> Option<&'static str> {
        self.words.get(text).copied()
    }

    /// The calls of a request; none where one of them is not known.
    fn calls(&self, facts: &Facts) -> Vec<Call> {
        let mut rest = facts.resources.as_slice();
        let alone = [(facts.operation.clone(), rest.len())];
        let readings = match facts.readings.as_slice() {
            [] => &alone,
            several => several,
        };
        let calls: Option<Vec<Call>> = readings
            .iter()
            .map(|(method, count)| {
                let (own, after) = rest.split_at_checked(*count)?;
                rest = after;
                self.call(method, own, facts)
            })
            .collect();
        calls.unwrap_or_default()
    }

    fn call(&self, method: &str, resources: &[NamedResource], facts: &Facts) -> Option<Call> {
        let index: MethodIndex = self.catalog.index_of(method)?;
        let method: &'static str = self.catalog.ids().get(index.as_usize())?;
        let (api, traits) = self.methods.get(index.as_usize()).copied()?;
        // What has no REST form is the API's that the record names.
        let api = api.or_else(|| self.word(&facts.api)).unwrap_or(method);
        Some(Call {
            method,
            index,
            api,
            // Neither rules nor conditions look at it.
            version: "",
            traits,
            transport: if facts.grpc {
                Transport::Grpc
            } else {
                Transport::Rest
            },
            resources: resources.iter().map(|r| self.resource(r)).collect(),
        })
    }

    fn resource(&self, named: &NamedResource) -> Resource {
        let project = named
            .name
            .strip_prefix("projects/")
            .and_then(|rest| rest.split('/').next())
            .filter(|project| *project != "_");
        Resource {
            name: named.name.clone(),
            project: project.map(str::to_owned),
            location: named.location.clone(),
            kind: self.word(&named.kind).unwrap_or(""),
            id: named.id.clone(),
            scope: if named.below { Scope::Below } else { Scope::Exact },
        }
    }
}
