//! A condition as it runs: checked, with every name, function and constant resolved.

use std::sync::Arc;

use super::{
    environment::Field,
    pattern::Pattern,
    time::{TimePart, Zone},
    value::Value,
};

/// An expression. Its parts have the types that the operation takes, or are dyn.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    Field(Field),
    HasField(Field),
    /// The variable of the macro at this nesting, from 0.
    Local(usize),
    Member(Box<Node>, Key),
    HasMember(Box<Node>, Key),
    Index(Box<[Node; 2]>, Arc<str>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Choose(Box<[Node; 3]>),
    Equal(Box<[Node; 2]>),
    Unequal(Box<[Node; 2]>),
    Order(Order, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Loop(Box<Loop>),
    Call(Function, Box<[Node]>),
    /// `matches()` with its pattern compiled.
    Matches(Box<Node>, Pattern),
    TimePart(TimePart, Box<Node>, Zone),
    /// `resource.name.startsWith(..)`, which can have an answer where the whole name is not known.
    NameStartsWith(Box<Node>),
}

/// The name of a member, resolved when the condition was compiled.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: Arc<str>,
    /// The member as the expression writes it, for errors.
    pub(super) path: Arc<str>,
}

impl Key {
    /// The member `name`, which the expression writes as `path`.
    pub(super) fn of(name: &str, path: Arc<str>) -> Self {
        Self {
            name: name.into(),
            path,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    /// The operator, as errors say it.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Order {
    /// The operator, as errors say it.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

/// A macro over the elements of a list or the keys of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    /// Which variable.
    pub(super) slot: usize,
    pub(super) range: Node,
    /// For `map` of three arguments and `filter`: what elements are taken.
    pub(super) guard: Option<Node>,
    /// The predicate, or what is collected.
    pub(super) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `filter`.
    Collect,
}

/// A function with values for arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    StartsWith,
    EndsWith,
    Contains,
    Size,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Int,
    Double,
    String,
    Timestamp,
    Duration,
}

impl Function {
    /// The function, as errors say it.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::StartsWith => "startsWith()",
            Self::EndsWith => "endsWith()",
            Self::Contains => "contains()",
            Self::Size => "size()",
            Self::LowerAscii => "lowerAscii()",
            Self::UpperAscii => "upperAscii()",
            Self::Trim => "trim()",
            Self::Split => "split()",
            Self::Int => "int()",
            Self::Double => "double()",
            Self::String => "string()",
            Self::Timestamp => "timestamp()",
            Self::Duration => "duration()",
        }
    }
}
