//! The table of functions and methods: what they take and what they give.
//!
//! `matches()`, the parts of times and the macros are not in it: [`super::calls`] and [`super::macros`] know them.

use crate::condition::{environment::Type, node::Function};

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `x.f(..)`
    Method,
    /// `f(x)`
    Global,
    /// Both.
    Either,
}

/// What may stand as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Double,
    String,
    Timestamp,
    Duration,
    List,
    Map,
}

impl Kind {
    pub(super) fn takes(self, kind: &Type) -> bool {
        matches!(
            (self, kind),
            (_, Type::Dyn)
                | (Self::Bool, Type::Bool)
                | (Self::Int, Type::Int)
                | (Self::Double, Type::Double)
                | (Self::String, Type::String)
                | (Self::Timestamp, Type::Timestamp)
                | (Self::Duration, Type::Duration)
                | (Self::List, Type::List(_))
                | (Self::Map, Type::Map(..))
        )
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Map => "map",
        }
    }
}

/// A function.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) style: Style,
    pub(super) function: Function,
    /// For each argument, what it may be; the receiver of a method comes first.
    pub(super) takes: &'static [&'static [Kind]],
    pub(super) gives: fn() -> Type,
}

fn bool() -> Type {
    Type::Bool
}

fn int() -> Type {
    Type::Int
}

fn double() -> Type {
    Type::Double
}

fn string() -> Type {
    Type::String
}

fn strings() -> Type {
    Type::list(Type::String)
}

fn timestamp() -> Type {
    Type::Timestamp
}

fn duration() -> Type {
    Type::Duration
}

const fn row(
    name: &'static str,
    style: Style,
    function: Function,
    takes: &'static [&'static [Kind]],
    gives: fn() -> Type,
) -> Row {
    Row {
        name,
        style,
        function,
        takes,
        gives,
    }
}

const TEXT: &[Kind] = &[Kind::String];
const SIZED: &[Kind] = &[Kind::String, Kind::List, Kind::Map];
const TO_INT: &[Kind] = &[Kind::Int, Kind::Double, Kind::String, Kind::Timestamp];
const TO_DOUBLE: &[Kind] = &[Kind::Double, Kind::Int, Kind::String];
const TO_STRING: &[Kind] = &[
    Kind::String,
    Kind::Bool,
    Kind::Int,
    Kind::Double,
    Kind::Timestamp,
    Kind::Duration,
];
const TO_TIMESTAMP: &[Kind] = &[Kind::Timestamp, Kind::String, Kind::Int];
const TO_DURATION: &[Kind] = &[Kind::Duration, Kind::String];

/// All functions of the table.
pub(super) const FUNCTIONS: &[Row] = &[
    row(
        "startsWith",
        Style::Method,
        Function::StartsWith,
        &[TEXT, TEXT],
        bool,
    ),
    row("endsWith", Style::Method, Function::EndsWith, &[TEXT, TEXT], bool),
    row("contains", Style::Method, Function::Contains, &[TEXT, TEXT], bool),
    row("size", Style::Either, Function::Size, &[SIZED], int),
    row("lowerAscii", Style::Method, Function::LowerAscii, &[TEXT], string),
    row("upperAscii", Style::Method, Function::UpperAscii, &[TEXT], string),
    row("trim", Style::Method, Function::Trim, &[TEXT], string),
    row("split", Style::Method, Function::Split, &[TEXT, TEXT], strings),
    row("int", Style::Global, Function::Int, &[TO_INT], int),
    row("double", Style::Global, Function::Double, &[TO_DOUBLE], double),
    row("string", Style::Global, Function::String, &[TO_STRING], string),
    row(
        "timestamp",
        Style::Global,
        Function::Timestamp,
        &[TO_TIMESTAMP],
        timestamp,
    ),
    row(
        "duration",
        Style::Global,
        Function::Duration,
        &[TO_DURATION],
        duration,
    ),
];
