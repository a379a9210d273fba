//! The compilation of one policy.

mod approval;

use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};

use turnpike_crds::{self as crds, AgentPolicy};
use turnpike_policy::{
    condition::Condition,
    definition::{
        AgentMatch, BodyRetention, CredentialDef, CredentialSource, CustomDetector, CustomFactor,
        DEFAULT_SCOPE, Effect, ImpersonateDef, LimitsDef, MaskDef, Mode, OutboundDef, PolicyDef, RiskDef,
        RuleDef,
    },
    detect::{Detectors, Reason},
    glob::{GlobError, MethodGlob, ResourceGlob},
    groups,
    mask::FieldPath,
    risk::{FACTORS, is_factor},
};

use crate::{FieldError, FieldErrors, duration::parse_duration, selector, similar::nearest};

/// What the meaning of a policy depends on besides its text.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Turnpike's own namespace: policies there may select agents of any namespace.
    pub gateway_namespace: &'a str,
    /// The labels of each namespace, which selectors of namespaces are matched with.
    pub namespaces: &'a NamespaceLabels,
}

/// Labels by namespace.
pub type NamespaceLabels = BTreeMap<String, BTreeMap<String, String>>;

static NO_NAMESPACES: NamespaceLabels = BTreeMap::new();

impl<'a> Context<'a> {
    /// Where no namespace is known: selectors of namespaces select none.
    pub fn without_namespaces(gateway_namespace: &'a str) -> Self {
        Self {
            gateway_namespace,
            namespaces: &NO_NAMESPACES,
        }
    }
}

const DEFAULT_RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Audience of tokens for Turnpike where a policy names none.
pub const DEFAULT_AUDIENCE: &str = "turnpike";

/// Compiles a policy. Whether its namespace may use what it names, a credential or the agents of an OIDC
/// issuer, is not asked here: the operator knows namespaces, and files have the owner of their folder.
///
/// # Errors
/// Every wrong field with its path.
pub fn compile(policy: &AgentPolicy, context: &Context<'_>) -> Result<PolicyDef, FieldErrors> {
    let mut errors = Errors::default();
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let name = policy.metadata.name.clone().unwrap_or_default();
    if namespace.is_empty() {
        errors.add(
            "metadata.namespace",
            "a policy needs a namespace: it selects agents of its own",
        );
    }
    if name.is_empty() {
        errors.add("metadata.name", "a policy needs a name");
    }
    let spec = &policy.spec;
    if spec.agents.is_empty() {
        errors.add(
            "spec.agents",
            "name at least one agent: a policy without agents selects nobody",
        );
    }
    let agents = spec
        .agents
        .iter()
        .enumerate()
        .flat_map(|(i, a)| agent(a, &format!("spec.agents[{i}]"), &namespace, context, &mut errors))
        .collect();
    let credential = spec.credential.as_ref().and_then(|c| credential(c, &mut errors));
    let rules = rules(&spec.rules, &mut errors);
    let risk = spec.risk.as_ref().map(|r| risk(r, &mut errors));
    let limits = spec
        .limits
        .as_ref()
        .map_or_else(LimitsDef::default, |l| limits(l, &mut errors));
    let outbound = outbound(&spec.secrets, &mut errors);
    let masks = masks(&spec.secrets, &mut errors);
    let record_bodies = spec.recording.as_ref().and_then(|r| recording(r, &mut errors));
    errors.into_result(PolicyDef {
        namespace,
        name,
        uid: policy.metadata.uid.clone().unwrap_or_default(),
        generation: policy.metadata.generation.unwrap_or_default(),
        mode: match spec.mode {
            crds::Mode::Enforce => Mode::Enforce,
            crds::Mode::DryRun => Mode::DryRun,
        },
        suspend: spec.suspend,
        agents,
        credential,
        rules,
        risk,
        limits,
        outbound,
        masks,
        record_bodies,
    })
}

#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError::new(path, message));
    }

    fn keep<T, E: Display>(&mut self, path: impl Into<String>, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(path, error.to_string());
                None
            }
        }
    }

    fn into_result<T>(self, value: T) -> Result<T, FieldErrors> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(FieldErrors(self.0))
        }
    }
}

fn agent(
    agent: &crds::AgentSelector,
    path: &str,
    namespace: &str,
    context: &Context<'_>,
    errors: &mut Errors,
) -> Vec<AgentMatch> {
    match (&agent.service_account, &agent.oidc) {
        (Some(account), None) => {
            let exact = |text: &str| (text != "*").then(|| text.to_owned());
            if let Some(selector) = &account.namespace_selector {
                let path = format!("{path}.serviceAccount.namespaceSelector");
                if namespace != context.gateway_namespace {
                    errors.add(
                        path,
                        format!(
                            "only policies in {} may select namespaces; one in {namespace} selects agents of its own",
                            context.gateway_namespace
                        ),
                    );
                    return Vec::new();
                }
                if account.namespace.is_some() {
                    errors.add(path, "set at most one of namespace and namespaceSelector");
                    return Vec::new();
                }
                if errors.keep(path, selector::check(selector)).is_none() {
                    return Vec::new();
                }
                let selected = context
                    .namespaces
                    .iter()
                    .filter(|(_, labels)| selector::matches(selector, labels))
                    .map(|(of, _)| of.clone());
                return vec![AgentMatch::Namespaces {
                    namespaces: Arc::new(selected.collect()),
                    name: exact(&account.name),
                }];
            }
            let of = account.namespace.as_deref().unwrap_or(namespace);
            if of != namespace && namespace != context.gateway_namespace {
                errors.add(
                    format!("{path}.serviceAccount.namespace"),
                    format!(
                        "a policy selects agents of its own namespace ({namespace}); only policies in \
                         {} may select others",
                        context.gateway_namespace
                    ),
                );
                return Vec::new();
            }
            vec![AgentMatch::ServiceAccount {
                namespace: exact(of),
                name: exact(&account.name),
            }]
        }
        (None, Some(oidc)) => {
            if oidc.subject.is_none() && oidc.claims.is_empty() {
                errors.add(
                    format!("{path}.oidc"),
                    "set subject or claims: an issuer alone would select everybody it knows",
                );
                return Vec::new();
            }
            vec![AgentMatch::Oidc {
                issuer: oidc.issuer.clone(),
                audience: oidc
                    .audience
                    .clone()
                    .unwrap_or_else(|| DEFAULT_AUDIENCE.to_owned()),
                subject: oidc.subject.clone(),
                claims: oidc.claims.clone(),
            }]
        }
        _ => {
            errors.add(path, "set exactly one of serviceAccount and oidc");
            Vec::new()
        }
    }
}

fn credential(spec: &crds::CredentialSpec, errors: &mut Errors) -> Option<Arc<CredentialDef>> {
    let source = match (&spec.ambient, &spec.service_account_key) {
        (Some(_), Some(_)) => {
            errors.add(
                "spec.credential",
                "set at most one of ambient and serviceAccountKey",
            );
            return None;
        }
        (_, Some(key)) => CredentialSource::Key {
            secret: key.secret_ref.name.clone(),
            key: key.secret_ref.key.clone(),
        },
        (_, None) => CredentialSource::Ambient,
    };
    Some(Arc::new(CredentialDef {
        source,
        impersonate: spec.impersonate.as_ref().map(|i| ImpersonateDef {
            service_account: i.service_account.clone(),
            delegates: i.delegates.clone(),
        }),
        scopes: if spec.scopes.is_empty() {
            vec![DEFAULT_SCOPE.to_owned()]
        } else {
            spec.scopes.clone()
        },
    }))
}

fn rules(rules: &[crds::PolicyRule], errors: &mut Errors) -> Vec<RuleDef> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut compiled = Vec::with_capacity(rules.len());
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        if let Some(first) = seen.insert(&rule.name, i) {
            errors.add(
                format!("{path}.name"),
                format!(
                    "{:?} is the name of spec.rules[{first}] too: records and approvals name rules",
                    rule.name
                ),
            );
        }
        if rule.methods.is_empty() {
            errors.add(
                format!("{path}.methods"),
                "name at least one method, or ** for all",
            );
        }
        let methods = rule
            .methods
            .iter()
            .enumerate()
            .filter_map(|(m, text)| glob(format!("{path}.methods[{m}]"), MethodGlob::parse(text), errors))
            .collect();
        let resources = rule
            .resources
            .iter()
            .enumerate()
            .filter_map(|(r, text)| {
                glob(
                    format!("{path}.resources[{r}]"),
                    ResourceGlob::parse(text),
                    errors,
                )
            })
            .collect();
        if rule.approval.is_some() && rule.effect != crds::Effect::RequireApproval {
            errors.add(
                format!("{path}.approval"),
                "approval settings need effect RequireApproval",
            );
        }
        compiled.push(RuleDef {
            name: rule.name.clone(),
            effect: effect(rule.effect),
            methods,
            resources,
            when: rule
                .when
                .as_deref()
                .and_then(|text| condition(text, &format!("{path}.when"), errors).map(|_| text.to_owned())),
            message: rule.message.clone(),
            approval: rule
                .approval
                .as_ref()
                .map(|a| approval::compile(a, &format!("{path}.approval"), errors))
                .unwrap_or_default(),
        });
    }
    compiled
}

/// Keeps a glob, or says what is wrong with it: at its column where it has one, and with the group that was meant.
fn glob<T>(path: String, parsed: Result<T, GlobError>, errors: &mut Errors) -> Option<T> {
    let error = match parsed {
        Ok(glob) => return Some(glob),
        Err(error) => error,
    };
    errors.0.push(match &error {
        GlobError::Character(_, column) => {
            FieldError::new(path, error.to_string()).at(1, u32::try_from(*column).unwrap_or(1))
        }
        GlobError::UnknownGroup(name) => {
            let column = groups::PREFIX.len() as u32 + 1;
            FieldError::new(path, format!("{error}; {}", group_hint(name))).at(1, column)
        }
        _ => FieldError::new(path, error.to_string()),
    });
    None
}

fn group_hint(name: &str) -> String {
    let names = || groups::ids().map(|id| id.row().name);
    if let Some(meant) = nearest(name, names()) {
        return format!("did you mean {}{meant}?", groups::PREFIX);
    }
    let service = name.split('.').next().unwrap_or(name);
    let of_service: Vec<&str> = names()
        .filter(|known| {
            known
                .strip_prefix(service)
                .is_some_and(|rest| rest.starts_with('.'))
        })
        .collect();
    if of_service.is_empty() {
        "`kubectl turnpike explain group:` lists them".to_owned()
    } else {
        format!("there are {}", of_service.join(", "))
    }
}

/// Compiles a condition; the text is what is kept.
fn condition(text: &str, path: &str, errors: &mut Errors) -> Option<Condition> {
    match Condition::compile(text) {
        Ok(condition) => Some(condition),
        Err(error) => {
            errors
                .0
                .push(FieldError::new(path, error.message).at(error.line, error.column));
            None
        }
    }
}

fn effect(effect: crds::Effect) -> Effect {
    match effect {
        crds::Effect::Allow => Effect::Allow,
        crds::Effect::Deny => Effect::Deny,
        crds::Effect::RequireApproval => Effect::RequireApproval,
    }
}

fn risk(risk: &crds::Risk, errors: &mut Errors) -> RiskDef {
    let mut points = |value: i32, path: String| match u8::try_from(value) {
        Ok(points) if points <= 100 => points,
        _ => {
            errors.add(
                path,
                format!("{value} is no number of points: they go from 0 to 100"),
            );
            100
        }
    };
    let approve_above = risk
        .approve_above
        .map(|p| points(p, "spec.risk.approveAbove".to_owned()));
    let deny_above = risk
        .deny_above
        .map(|p| points(p, "spec.risk.denyAbove".to_owned()));
    let weights = risk
        .weights
        .iter()
        .map(|(name, p)| (name.clone(), points(*p, format!("spec.risk.weights.{name}"))))
        .collect();
    let factors = risk
        .factors
        .iter()
        .enumerate()
        .map(|(i, f)| CustomFactor {
            name: f.name.clone(),
            when: f.when.clone(),
            points: points(f.points, format!("spec.risk.factors[{i}].points")),
        })
        .collect();
    for name in risk.weights.keys().filter(|name| !is_factor(name)) {
        let known = FACTORS.iter().map(|f| f.name);
        let hint = nearest(name, known).map_or_else(String::new, |n| format!("; did you mean {n}?"));
        errors.add(
            format!("spec.risk.weights.{name}"),
            format!("there is no built-in factor of this name{hint}"),
        );
    }
    match (approve_above, deny_above) {
        (None, None) => errors.add(
            "spec.risk",
            "set approveAbove or denyAbove: a score alone does nothing",
        ),
        (Some(approve), Some(deny)) if approve > deny => errors.add(
            "spec.risk.approveAbove",
            format!("{approve} is above denyAbove ({deny}): nothing would be left to approve"),
        ),
        _ => {}
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, factor) in risk.factors.iter().enumerate() {
        let path = format!("spec.risk.factors[{i}].when");
        if condition(&factor.when, &path, errors).is_some_and(|c| c.reads().risk) {
            errors.add(
                path,
                "a factor of the risk cannot name risk: it would depend on itself",
            );
        }
        if is_factor(&factor.name) {
            errors.add(
                format!("spec.risk.factors[{i}].name"),
                format!(
                    "{:?} is a built-in factor; give this one another name, or that one other points in spec.risk.weights",
                    factor.name
                ),
            );
        }
        if let Some(first) = seen.insert(&factor.name, i) {
            errors.add(
                format!("spec.risk.factors[{i}].name"),
                format!("{:?} is the name of spec.risk.factors[{first}] too", factor.name),
            );
        }
    }
    RiskDef {
        approve_above,
        deny_above,
        weights,
        factors,
        approval: risk
            .approval
            .as_ref()
            .map(|a| approval::compile(a, "spec.risk.approval", errors))
            .unwrap_or_default(),
    }
}

fn limits(limits: &crds::Limits, errors: &mut Errors) -> LimitsDef {
    fn number<T: TryFrom<V>, V: Copy + Display>(
        value: Option<V>,
        field: &str,
        errors: &mut Errors,
    ) -> Option<T> {
        let value = value?;
        match T::try_from(value) {
            Ok(number) => Some(number),
            Err(_) => {
                errors.add(
                    format!("spec.limits.{field}"),
                    format!("{value} is no limit: it must be 0 or more"),
                );
                None
            }
        }
    }
    LimitsDef {
        calls_per_minute: number(limits.calls_per_minute, "callsPerMinute", errors),
        changes_per_hour: number(limits.changes_per_hour, "changesPerHour", errors),
        held_calls: number(limits.held_calls, "heldCalls", errors),
        bytes_out_per_hour: number(limits.bytes_out_per_hour, "bytesOutPerHour", errors),
    }
}

fn outbound(secrets: &crds::Secrets, errors: &mut Errors) -> Option<OutboundDef> {
    let says = secrets.requests.is_some() || secrets.unscannable.is_some() || !secrets.detectors.is_empty();
    let requests = secrets.requests.map_or(Effect::Allow, effect);
    let unscannable = secrets.unscannable.map_or(requests, effect);
    if secrets.approval.is_some()
        && requests.max(unscannable) != Effect::RequireApproval
        && requests.min(unscannable) != Effect::RequireApproval
    {
        errors.add(
            "spec.secrets.approval",
            "approval settings need requests or unscannable RequireApproval",
        );
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, detector) in secrets.detectors.iter().enumerate() {
        if let Some(first) = seen.insert(&detector.name, i) {
            errors.add(
                format!("spec.secrets.detectors[{i}].name"),
                format!(
                    "{:?} is the name of spec.secrets.detectors[{first}] too",
                    detector.name
                ),
            );
        }
    }
    for (i, detector) in secrets.detectors.iter().enumerate() {
        let custom = custom_detector(detector);
        if let Err(error) = Detectors::new(std::slice::from_ref(&custom)) {
            let (field, message) = match error.reason {
                // There is no other custom one here.
                Reason::Taken => ("name", "a built-in detector has this name".to_owned()),
                Reason::Name => ("name", error.reason.to_string()),
                Reason::Keyword => ("keywords", error.reason.to_string()),
                _ => ("pattern", error.reason.to_string()),
            };
            let wrong = FieldError::new(format!("spec.secrets.detectors[{i}].{field}"), message);
            errors.0.push(match error.column().map(u32::try_from) {
                Some(Ok(column)) => wrong.at(1, column),
                _ => wrong,
            });
        }
    }
    let approval = secrets
        .approval
        .as_ref()
        .map(|a| approval::compile(a, "spec.secrets.approval", errors))
        .unwrap_or_default();
    says.then(|| OutboundDef {
        requests,
        unscannable,
        approval,
        detectors: secrets.detectors.iter().map(custom_detector).collect(),
    })
}

fn custom_detector(detector: &crds::SecretDetector) -> CustomDetector {
    CustomDetector {
        name: detector.name.clone(),
        pattern: detector.pattern.clone(),
        keywords: detector.keywords.clone(),
    }
}

fn masks(secrets: &crds::Secrets, errors: &mut Errors) -> Vec<MaskDef> {
    let mut compiled = Vec::with_capacity(secrets.fields.len());
    for (i, field) in secrets.fields.iter().enumerate() {
        let path = format!("spec.secrets.fields[{i}]");
        if field.methods.is_empty() {
            errors.add(
                format!("{path}.methods"),
                "name at least one method, or ** for all",
            );
        }
        if field.paths.is_empty() {
            errors.add(format!("{path}.paths"), "name at least one field");
        }
        compiled.push(MaskDef {
            methods: field
                .methods
                .iter()
                .enumerate()
                .filter_map(|(m, text)| glob(format!("{path}.methods[{m}]"), MethodGlob::parse(text), errors))
                .collect(),
            paths: field
                .paths
                .iter()
                .enumerate()
                .filter_map(|(p, text)| errors.keep(format!("{path}.paths[{p}]"), FieldPath::parse(text)))
                .collect(),
            kind: field.kind.clone().unwrap_or_else(|| "policy".to_owned()),
        });
    }
    compiled
}

fn recording(recording: &crds::Recording, errors: &mut Errors) -> Option<BodyRetention> {
    let keep = match &recording.retention {
        None => Some(DEFAULT_RETENTION),
        Some(text) => errors.keep("spec.recording.retention", parse_duration(text)),
    }?;
    match recording.bodies {
        crds::BodyRecording::None => None,
        crds::BodyRecording::Masked => Some(BodyRetention {
            keep_ms: keep.as_millis() as u64,
        }),
    }
}
