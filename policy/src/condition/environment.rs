//! The names that a condition may say, and their types.
//!
//! The tables here are the whole environment: what is not in them is refused when a condition is compiled.

use std::fmt;

/// The static type of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Double,
    String,
    Null,
    Timestamp,
    Duration,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// Known only when the request is: the body and what is in it.
    Dyn,
    /// A group of fields, which is no value itself.
    Object(Object),
}

impl Type {
    /// A list of `item`.
    pub(super) fn list(item: Type) -> Self {
        Self::List(Box::new(item))
    }

    /// A map from texts to texts: headers, parameters, claims.
    pub(super) fn texts() -> Self {
        Self::Map(Box::new(Self::String), Box::new(Self::String))
    }

    /// Whether the type is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    /// Whether values of both types could be equal.
    pub(super) fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(_), _) | (_, Self::Object(_)) => false,
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(a), Self::List(b)) => a.comparable(b),
            (Self::Map(a, x), Self::Map(b, y)) => a.comparable(b) && x.comparable(y),
            (a, b) => a == b || (a.is_number() && b.is_number()),
        }
    }

    /// The one type of two branches or elements: equal, or dyn where one of them is.
    pub(super) fn join(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Object(_), _) | (_, Self::Object(_)) => None,
            (Self::Dyn, _) | (_, Self::Dyn) => Some(Self::Dyn),
            (Self::List(a), Self::List(b)) => Some(Self::list(a.join(b)?)),
            (Self::Map(a, x), Self::Map(b, y)) => Some(Self::Map(Box::new(a.join(b)?), Box::new(x.join(y)?))),
            (a, b) => (a == b).then(|| a.clone()),
        }
    }

    /// Whether a value of this type may stand where `wanted` is needed; dyn is judged when it is known.
    pub(super) fn fits(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Object(_), _) => false,
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(a), Self::List(b)) => a.fits(b),
            (Self::Map(a, x), Self::Map(b, y)) => a.fits(b) && x.fits(y),
            (a, b) => a == b,
        }
    }

    /// The type with its article, as messages say it: `a string`, `an int`.
    pub(super) fn with_article(&self) -> String {
        match self {
            Self::Int => format!("an {self}"),
            Self::Null => self.to_string(),
            Self::Dyn => "a value of the body".to_owned(),
            Self::Object(object) => format!("a group of fields, such as {}", object.example()),
            _ => format!("a {self}"),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Null => f.write_str("null"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Dyn => f.write_str("dyn"),
            Self::Object(object) => f.write_str(object.name()),
        }
    }
}

/// A name whose fields are values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Resource,
    Request,
    Agent,
}

impl Object {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Request => "request",
            Self::Agent => "agent",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Resource => "resource.name",
            Self::Request => "request.verb",
            Self::Agent => "agent.namespace",
        }
    }
}

/// What a condition reads of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Method,
    Api,
    Now,
    Risk,
    ResourceName,
    ResourceProject,
    ResourceLocation,
    ResourceType,
    ResourceId,
    RequestVerb,
    RequestHost,
    RequestQuery,
    RequestHeaders,
    RequestSize,
    RequestBody,
    AgentNamespace,
    AgentServiceAccount,
    AgentClaims,
    AgentSession,
}

/// A row of the environment.
pub(super) struct FieldRow {
    /// The group, or `None` for a name of its own.
    pub(super) object: Option<Object>,
    pub(super) name: &'static str,
    /// The whole name, as errors say it.
    pub(super) path: &'static str,
    pub(super) field: Field,
    pub(super) kind: fn() -> Type,
    /// Whether `has()` may ask for it.
    pub(super) may_be_absent: bool,
}

const fn row(
    object: Option<Object>,
    name: &'static str,
    path: &'static str,
    field: Field,
    kind: fn() -> Type,
    may_be_absent: bool,
) -> FieldRow {
    FieldRow {
        object,
        name,
        path,
        field,
        kind,
        may_be_absent,
    }
}

fn text() -> Type {
    Type::String
}

fn int() -> Type {
    Type::Int
}

fn time() -> Type {
    Type::Timestamp
}

fn any() -> Type {
    Type::Dyn
}

const RESOURCE: Option<Object> = Some(Object::Resource);
const REQUEST: Option<Object> = Some(Object::Request);
const AGENT: Option<Object> = Some(Object::Agent);

/// All that a condition may read.
pub(super) const FIELDS: &[FieldRow] = &[
    row(None, "method", "method", Field::Method, text, false),
    row(None, "api", "api", Field::Api, text, false),
    row(None, "now", "now", Field::Now, time, false),
    row(None, "risk", "risk", Field::Risk, int, false),
    row(RESOURCE, "name", "resource.name", Field::ResourceName, text, true),
    row(
        RESOURCE,
        "project",
        "resource.project",
        Field::ResourceProject,
        text,
        true,
    ),
    row(
        RESOURCE,
        "location",
        "resource.location",
        Field::ResourceLocation,
        text,
        true,
    ),
    row(RESOURCE, "type", "resource.type", Field::ResourceType, text, true),
    row(RESOURCE, "id", "resource.id", Field::ResourceId, text, true),
    row(REQUEST, "verb", "request.verb", Field::RequestVerb, text, false),
    row(REQUEST, "host", "request.host", Field::RequestHost, text, false),
    row(
        REQUEST,
        "query",
        "request.query",
        Field::RequestQuery,
        Type::texts,
        false,
    ),
    row(
        REQUEST,
        "headers",
        "request.headers",
        Field::RequestHeaders,
        Type::texts,
        false,
    ),
    row(REQUEST, "size", "request.size", Field::RequestSize, int, true),
    row(REQUEST, "body", "request.body", Field::RequestBody, any, true),
    row(
        AGENT,
        "namespace",
        "agent.namespace",
        Field::AgentNamespace,
        text,
        true,
    ),
    row(
        AGENT,
        "serviceAccount",
        "agent.serviceAccount",
        Field::AgentServiceAccount,
        text,
        true,
    ),
    row(
        AGENT,
        "claims",
        "agent.claims",
        Field::AgentClaims,
        Type::texts,
        false,
    ),
    row(
        AGENT,
        "session",
        "agent.session",
        Field::AgentSession,
        text,
        false,
    ),
];

/// The row of `name` in a group, or of a name of its own.
pub(super) fn find(object: Option<Object>, name: &str) -> Option<&'static FieldRow> {
    FIELDS.iter().find(|row| row.object == object && row.name == name)
}

/// The group called `name`.
pub(super) fn find_object(name: &str) -> Option<Object> {
    [Object::Resource, Object::Request, Object::Agent]
        .into_iter()
        .find(|object| object.name() == name)
}

/// The names that can stand alone.
pub(super) fn top_names() -> impl Iterator<Item = &'static str> {
    let objects = [Object::Resource, Object::Request, Object::Agent]
        .into_iter()
        .map(Object::name);
    FIELDS
        .iter()
        .filter(|row| row.object.is_none())
        .map(|row| row.name)
        .chain(objects)
}

/// The names of the fields of a group.
pub(super) fn field_names(object: Object) -> impl Iterator<Item = &'static str> {
    FIELDS
        .iter()
        .filter(move |row| row.object == Some(object))
        .map(|row| row.name)
}
