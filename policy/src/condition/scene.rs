//! What a condition looks at, and how each of its names is read.
//!
//! A name has three states: it is there, it is absent, or it is not known. `has()` tells the first two apart;
//! the third is always an error, because a condition must not be true of a name that the call could escape.

use jiff::Timestamp;

use super::{
    environment::{FIELDS, Field},
    error::EvalError,
    value::{Map, Value},
};
use crate::{
    call::{Call, Resource, Scope},
    caller::{Caller, Identity},
    request::{Body, Form, RequestFacts},
};

/// What ids of methods begin with that no REST method stands for: they are the names of their RPCs.
const ONLY_GRPC: &str = "google.";

/// One call as a condition sees it. A call on two resources is two scenes.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// What is called.
    pub call: &'a Call,
    /// The resource that the rule is asked about; `None` for a method that names none.
    pub resource: Option<&'a Resource>,
    /// The request that makes the call.
    pub request: &'a RequestFacts<'a>,
    /// When.
    pub now: Timestamp,
    /// The score of the call, 0 to 100, once there is one.
    pub risk: Option<u8>,
}

impl<'a> Scene<'a> {
    /// The value of a field, or that it is absent.
    pub(super) fn look(&self, field: Field) -> Result<Option<Value<'a>>, EvalError> {
        Ok(match field {
            Field::Method => Some(Value::text(self.call.method)),
            Field::Api => Some(Value::text(self.call.api)),
            Field::Now => Some(Value::Time(self.now)),
            Field::Risk => Some(Value::Int(self.risk.ok_or(EvalError::RiskUnknown)?.into())),
            Field::ResourceName
            | Field::ResourceProject
            | Field::ResourceLocation
            | Field::ResourceType
            | Field::ResourceId => match self.resource {
                Some(resource) => of_resource(resource, field)?.map(Value::text),
                None => None,
            },
            Field::RequestVerb => {
                self.told_by(field, &[Form::Rest])?;
                Some(Value::text(self.request.verb))
            }
            Field::RequestHost => Some(Value::text(self.request.host)),
            Field::RequestQuery => {
                self.told_by(field, &[Form::Rest])?;
                Some(Value::Map(Map::Pairs(self.request.query)))
            }
            Field::RequestHeaders => {
                self.told_by(field, &[Form::Rest, Form::Other])?;
                Some(Value::Map(Map::Pairs(self.request.headers)))
            }
            // A size that no int can count is larger than any that it is compared with.
            Field::RequestSize => self
                .request
                .size
                .map(|size| Value::Int(i64::try_from(size).unwrap_or(i64::MAX))),
            Field::RequestBody => {
                let json = match self.request.body {
                    Body::Json(json) => Some(Value::json(json)),
                    Body::Absent => None,
                    Body::Unread => return Err(EvalError::BodyUnread),
                    Body::Unreadable => return Err(EvalError::BodyUnreadable),
                };
                // A message has more in it than the body that REST has, and perhaps a level above it.
                if !self.call.method.starts_with(ONLY_GRPC) {
                    self.told_by(field, &[Form::Rest])?;
                }
                json
            }
            Field::AgentNamespace => match &self.caller.identity {
                Identity::ServiceAccount { namespace, .. } => Some(Value::text(namespace)),
                Identity::Oidc { .. } => None,
            },
            Field::AgentServiceAccount => match &self.caller.identity {
                Identity::ServiceAccount { name, .. } => Some(Value::text(name)),
                Identity::Oidc { .. } => None,
            },
            Field::AgentClaims => Some(Value::Map(Map::Claims(match &self.caller.identity {
                Identity::ServiceAccount { .. } => None,
                Identity::Oidc { claims, .. } => Some(claims),
            }))),
            Field::AgentSession => Some(Value::text(&self.caller.session)),
        })
    }

    /// Whether the request is in a form that tells a field.
    fn told_by(&self, field: Field, forms: &[Form]) -> Result<(), EvalError> {
        match forms.contains(&self.request.form) {
            true => Ok(()),
            false => Err(EvalError::OtherForm(path(field))),
        }
    }

    /// The value of a field, which has to be there.
    pub(super) fn read(&self, field: Field) -> Result<Value<'a>, EvalError> {
        self.look(field)?
            .ok_or_else(|| EvalError::Absent(path(field).into()))
    }

    /// Whether the resource's name starts with `start`, as far as the call tells its name.
    pub(super) fn name_starts_with(&self, start: &str) -> Result<bool, EvalError> {
        let resource = self
            .resource
            .ok_or_else(|| EvalError::Absent(path(Field::ResourceName).into()))?;
        let (known, whole) = known_name(resource);
        if whole {
            return Ok(known.starts_with(start));
        }
        // What comes after the known part is anything, behind a slash where the known part ends in none.
        let slash = if known.is_empty() || known.ends_with('/') {
            ""
        } else {
            "/"
        };
        match start.strip_prefix(known) {
            Some("") => Ok(true),
            Some(rest) if rest == slash => Ok(true),
            Some(rest) if rest.starts_with(slash) => Err(EvalError::Open("resource.name")),
            Some(_) => Ok(false),
            None => Ok(known.starts_with(start)),
        }
    }
}

/// The part of the name that the call tells, and whether that is all of it.
fn known_name(resource: &Resource) -> (&str, bool) {
    let name = resource.name.as_str();
    let mut at = 0;
    for segment in name.split('/') {
        if segment == "-" {
            return (name.get(..at).unwrap_or(""), false);
        }
        at += segment.len() + 1;
    }
    (name, resource.scope == Scope::Exact)
}

fn of_resource(resource: &Resource, field: Field) -> Result<Option<&str>, EvalError> {
    let closed = |text: Option<&'_ str>| {
        if text == Some("-") {
            Err(EvalError::Open(path(field)))
        } else {
            Ok(())
        }
    };
    match field {
        Field::ResourceName | Field::ResourceId => {
            let (_, whole) = known_name(resource);
            if !whole {
                return Err(EvalError::Open(path(field)));
            }
            Ok(if field == Field::ResourceName {
                Some(resource.name.as_str())
            } else {
                resource.id.as_deref()
            })
        }
        Field::ResourceProject => {
            closed(resource.project.as_deref())?;
            Ok(resource.project.as_deref())
        }
        Field::ResourceLocation => {
            closed(resource.location.as_deref())?;
            Ok(resource.location.as_deref())
        }
        _ => Ok(Some(resource.kind)),
    }
}

/// The whole name of a field.
pub(super) fn path(field: Field) -> &'static str {
    FIELDS
        .iter()
        .find(|row| row.field == field)
        .map_or("", |row| row.path)
}
