//! One RPC, and the calls that its messages make.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    Ungrpc,
    binding::{Binding, Direct, Kind, Plan},
    data::Line,
    wire::{self, Value},
};
use crate::{
    call::{Call, Resource, Scope, Transport},
    canonical::{Malformed, Target},
    catalog::{Catalog, Classified, Unlisted, is_ambiguous, pairs_in},
};

/// A method on a host.
#[derive(Debug, Clone)]
pub struct GrpcMethod<'c> {
    catalog: &'c Catalog,
    service: &'static str,
    /// The host's service, in the sense of the catalogue.
    owner: &'static str,
    host: Box<str>,
    line: Line,
    plan: Arc<Plan>,
}

/// What a message names: the values of all fields that tell what a call acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    values: SmallVec<[Option<Box<str>>; 2]>,
}

impl Names {
    /// Whether a later message of a stream names nothing else than the first one; a later one may leave names
    /// out.
    pub fn within(&self, first: &Self) -> bool {
        let same = |(later, first): (&Option<Box<str>>, &Option<Box<str>>)| later.is_none() || later == first;
        self.values.len() == first.values.len() && self.values.iter().zip(&first.values).all(same)
    }
}

impl<'c> GrpcMethod<'c> {
    pub(super) fn new(
        catalog: &'c Catalog,
        service: &'static str,
        owner: &'static str,
        host: &str,
        line: Line,
    ) -> Option<Self> {
        Some(Self {
            catalog,
            service,
            owner,
            host: host.into(),
            plan: Arc::new(Plan::parse(line.bindings)?),
            line,
        })
    }

    /// `google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion`
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.service, self.line.name)
    }

    /// `("google.cloud.secretmanager.v1.SecretManagerService", "AccessSecretVersion")`
    pub fn service_and_name(&self) -> (&'static str, &'static str) {
        (self.service, self.line.name)
    }

    /// Whether the client may send more than one message.
    pub fn client_streaming(&self) -> bool {
        matches!(self.line.streams, "c" | "b")
    }

    /// Whether the server may send more than one message.
    pub fn server_streaming(&self) -> bool {
        matches!(self.line.streams, "s" | "b")
    }

    /// The calls that the request makes, by its (first) message.
    ///
    /// # Errors
    /// [`Ungrpc`] where the message does not say clearly what it acts on.
    pub fn classify(&self, message: &[u8]) -> Result<Classified, Ungrpc> {
        let plan = &*self.plan;
        let values = wire::scan(message, &plan.fields)?;
        let fitting: SmallVec<[(&Binding, String); 2]> = plan
            .bindings
            .iter()
            .filter_map(|binding| Some((binding, binding.expand(&values)?)))
            .collect();
        let given = (0..).zip(&values).filter(|(_, value)| value.is_some());
        let given = given.fold(0u64, |set, (at, _)| set | 1 << at) & plan.naming;
        let used = fitting
            .iter()
            .fold(0u64, |set, (binding, _)| set | binding.fields);
        if fitting.is_empty() && given == 0 {
            return Err(Ungrpc::NameMissing {
                method: self.full_name(),
            });
        }
        let unused = given & !used;
        if fitting.is_empty() || unused != 0 {
            // Where none is unused, values of each form stand where another one is needed.
            let at = if unused == 0 { given } else { unused }.trailing_zeros();
            let field = plan.fields.get(at as usize);
            return Err(Ungrpc::NameUnknown {
                method: self.full_name(),
                field: field.map(ToString::to_string).unwrap_or_default(),
            });
        }
        let within = |a: u64, b: u64| a != b && a & b == a;
        let mut calls = SmallVec::<[Call; 2]>::new();
        for (binding, text) in &fitting {
            if fitting
                .iter()
                .any(|(other, _)| within(binding.fields, other.fields))
            {
                continue;
            }
            for call in self.calls(binding, text)? {
                let same = |c: &Call| c.method == call.method && c.resources == call.resources;
                if !calls.iter().any(same) {
                    calls.push(call);
                }
            }
        }
        let mut calls = calls.into_iter();
        let call = calls.next().ok_or_else(|| self.damaged())?;
        Ok(Classified {
            call,
            also: calls.collect(),
        })
    }

    /// What a message names, to compare the messages of a stream.
    ///
    /// # Errors
    /// [`Ungrpc`] where the message is malformed.
    pub fn names(&self, message: &[u8]) -> Result<Names, Ungrpc> {
        let text = |value: Option<Value<'_>>| match value? {
            Value::Text(text) => Some(text.into()),
            Value::Number(number) => Some(number.to_string().into()),
        };
        let values = wire::scan(message, &self.plan.fields)?;
        Ok(Names {
            values: values.into_iter().map(text).collect(),
        })
    }

    fn calls(&self, binding: &Binding, text: &str) -> Result<SmallVec<[Call; 2]>, Ungrpc> {
        let mut calls = SmallVec::<[Call; 2]>::new();
        match &binding.kind {
            Kind::Rest(verb) => {
                let target = Target::new(verb, &self.host, text).map_err(Ungrpc::Name)?;
                let found = self.catalog.classify_message(&target)?;
                calls.push(found.call);
                calls.extend(found.also);
                for call in &mut calls {
                    call.transport = Transport::Grpc;
                }
            }
            Kind::Direct(direct) => calls.push(self.direct(direct, text)?),
        }
        Ok(calls)
    }

    fn direct(&self, direct: &Direct, name: &str) -> Result<Call, Ungrpc> {
        let own;
        let id = match direct.id {
            Some(id) => id,
            None => {
                own = self.full_name();
                &own
            }
        };
        let index = self.catalog.index_of(id).ok_or_else(|| self.damaged())?;
        let method = self
            .catalog
            .ids()
            .get(index.as_usize())
            .ok_or_else(|| self.damaged())?;
        let resource = if direct.unnamed || name.is_empty() {
            None
        } else {
            Some(resource(method, direct, name)?)
        };
        Ok(Call {
            method,
            index,
            api: direct
                .id
                .and_then(|id| id.split('.').next())
                .unwrap_or(self.owner),
            version: direct.version,
            traits: direct.traits,
            transport: Transport::Grpc,
            resources: resource.into_iter().collect(),
        })
    }

    fn damaged(&self) -> Ungrpc {
        Ungrpc::Damaged {
            method: self.full_name(),
        }
    }
}

/// The resource of a name that came as it is.
fn resource(method: &'static str, direct: &Direct, name: &str) -> Result<Resource, Ungrpc> {
    if name.split(['/', '\\']).any(|step| matches!(step, "." | "..")) {
        return Err(Ungrpc::Name(Malformed::DotSegment));
    }
    if name.chars().any(char::is_control) {
        return Err(Ungrpc::Name(Malformed::ControlCharacter));
    }
    if is_ambiguous(method, name) {
        return Err(Unlisted::UnsafeName { method }.into());
    }
    let (project, location) = pairs_in(name, None);
    let id = if direct.of_parent {
        None
    } else {
        let behind = format!("/{}/", direct.collection);
        let rest = name.split_once(&behind).map(|(_, rest)| rest);
        rest.or_else(|| name.rsplit('/').next()).map(str::to_owned)
    };
    Ok(Resource {
        name: name.to_owned(),
        project,
        location,
        kind: direct.collection,
        id,
        scope: if direct.below { Scope::Below } else { Scope::Exact },
    })
}
