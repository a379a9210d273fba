//! Calls of functions and methods.

use cel::common::ast::{CallExpr, IdedExpr};

use super::{
    Checked, Checker, are,
    functions::{FUNCTIONS, Kind, Row, Style},
    macros,
};
use crate::condition::{
    environment::{Field, Type},
    error::EvalError,
    meant::{hint, meant},
    node::{Function, Node},
    operations::{self, Steps},
    parse::Fault,
    pattern::Pattern,
    time::{TIME_PARTS, TimePart, Zone},
};

impl Checker<'_> {
    /// An operator, a macro, a function or a method.
    pub(super) fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Checked, Fault> {
        if let Some(target) = &call.target {
            return self.method(expr, target, call);
        }
        if let Some(checked) = self.operator(expr, call) {
            return checked;
        }
        let name = call.func_name.as_str();
        if name == "has" {
            return self.has(expr, call);
        }
        let arguments: Vec<&IdedExpr> = call.args.iter().collect();
        if name == "matches" {
            return self.matches(expr, call, &arguments);
        }
        match FUNCTIONS.iter().find(|row| row.name == name) {
            Some(row) if row.style != Style::Method => self.apply(expr, call, row, &arguments),
            _ => Err(self.unknown(expr, call)),
        }
    }

    fn method(&mut self, expr: &IdedExpr, target: &IdedExpr, call: &CallExpr) -> Result<Checked, Fault> {
        let name = call.func_name.as_str();
        if macros::NAMES.contains(&name) {
            return self.go_through(expr, target, call);
        }
        let arguments: Vec<&IdedExpr> = std::iter::once(target).chain(&call.args).collect();
        if name == "matches" {
            return self.matches(expr, call, &arguments);
        }
        if let Some((_, part)) = TIME_PARTS.iter().find(|(part, _)| *part == name) {
            return self.time_part(expr, call, *part, &arguments);
        }
        match FUNCTIONS.iter().find(|row| row.name == name) {
            Some(row) if row.style != Style::Global => self.apply(expr, call, row, &arguments),
            _ => Err(self.unknown(expr, call)),
        }
    }

    /// That there is no such function, or that it is called in another way.
    fn unknown(&mut self, expr: &IdedExpr, call: &CallExpr) -> Fault {
        let name = call.func_name.as_str();
        let at = self.places.function(expr, call);
        let global = |row: &&Row| row.style != Style::Method;
        let of_table = |wanted: bool| {
            FUNCTIONS
                .iter()
                .filter(move |row| {
                    if wanted {
                        global(row)
                    } else {
                        row.style != Style::Global
                    }
                })
                .map(|row| row.name)
        };
        let globals: Vec<&str> = of_table(true).chain(["has", "matches"]).collect();
        let methods: Vec<&str> = of_table(false).chain(["matches"]).chain(macros::NAMES).collect();
        let parts = TIME_PARTS.iter().map(|(part, _)| *part);
        match &call.target {
            Some(target) => {
                // An unknown name before the dot is what is wrong first: there are no functions with a dot.
                if let Err(fault) = self.value(target) {
                    return fault;
                }
                if globals.contains(&name) {
                    return Fault::new(at, format!("{name}() is a function: write {name}(..)"));
                }
                let parts: Vec<&str> = parts.collect();
                let hint = hint(
                    name,
                    if meant(name, &parts).is_some() {
                        &parts
                    } else {
                        &methods
                    },
                );
                Fault::new(at, format!("unknown method `{name}`: {hint}"))
            }
            None if methods.contains(&name) || parts.clone().any(|part| part == name) => {
                Fault::new(at, format!("{name}() is a method: write x.{name}(..)"))
            }
            None => Fault::new(at, format!("unknown function `{name}`: {}", hint(name, &globals))),
        }
    }

    /// Checks how many arguments there are besides a receiver.
    fn count(&self, expr: &IdedExpr, call: &CallExpr, counts: &[usize]) -> Result<(), Fault> {
        let receiver = usize::from(call.target.is_some());
        let there = call.args.len();
        if counts.iter().any(|count| count - receiver == there) {
            return Ok(());
        }
        let takes: Vec<String> = counts
            .iter()
            .map(|count| (count - receiver).to_string())
            .collect();
        let plural = if takes.last().is_some_and(|last| last == "1") {
            ""
        } else {
            "s"
        };
        Err(Fault::new(
            self.places.function(expr, call),
            format!(
                "{}() takes {} argument{plural}, and there {}",
                call.func_name,
                takes.join(" or "),
                are(there)
            ),
        ))
    }

    fn argument(&mut self, argument: &IdedExpr, takes: &[Kind], name: &str) -> Result<Checked, Fault> {
        let checked = self.value(argument)?;
        if takes.iter().any(|kind| kind.takes(&checked.kind)) {
            return Ok(checked);
        }
        let names: Vec<&str> = takes.iter().map(|kind| kind.name()).collect();
        let wanted = match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
        let article = if wanted.starts_with('i') { "an" } else { "a" };
        Err(Fault::new(
            self.places.start(argument),
            format!(
                "{name}() needs {article} {wanted} here, and this is {}",
                checked.kind.with_article()
            ),
        ))
    }

    fn apply(
        &mut self,
        expr: &IdedExpr,
        call: &CallExpr,
        row: &Row,
        arguments: &[&IdedExpr],
    ) -> Result<Checked, Fault> {
        self.count(expr, call, &[row.takes.len()])?;
        let mut nodes = Vec::with_capacity(arguments.len());
        let mut cost = 0_u64;
        for (argument, takes) in arguments.iter().zip(row.takes) {
            let checked = self.argument(argument, takes, row.name)?;
            cost = cost.saturating_add(checked.cost);
            nodes.push(checked.node);
        }
        let kind = (row.gives)();
        if let [Node::Constant(first), rest @ ..] = nodes.as_slice()
            && let second @ (None | Some(Node::Constant(_))) = rest.first()
        {
            let second = match second {
                Some(Node::Constant(value)) => Some(value.clone()),
                _ => None,
            };
            return match operations::apply(&mut Steps::all(), row.function, first.clone(), second) {
                Ok(value) => Ok(Checked::constant(value, kind)),
                Err(error) => Err(Fault::new(
                    arguments.first().map_or(0, |first| self.places.start(first)),
                    never(row.function, &error),
                )),
            };
        }
        if row.function == Function::StartsWith
            && matches!(nodes.first(), Some(Node::Field(Field::ResourceName)))
            && let Some(start) = nodes.pop()
        {
            return Ok(Checked::new(Node::NameStartsWith(Box::new(start)), kind, cost));
        }
        Ok(Checked::new(Node::Call(row.function, nodes.into()), kind, cost))
    }

    fn matches(
        &mut self,
        expr: &IdedExpr,
        call: &CallExpr,
        arguments: &[&IdedExpr],
    ) -> Result<Checked, Fault> {
        self.count(expr, call, &[2])?;
        let [of, pattern] = arguments else {
            return Err(Fault::new(
                self.places.function(expr, call),
                "matches() takes a text and a pattern",
            ));
        };
        let of = self.argument(of, &[Kind::String], "matches")?;
        let at = self.places.start(pattern);
        let checked = self.argument(pattern, &[Kind::String], "matches")?;
        let Some(text) = checked.literal() else {
            return Err(Fault::new(at, "the pattern of matches() is written as a literal"));
        };
        let pattern = Pattern::compile(text).map_err(|message| Fault::new(at, message))?;
        Ok(Checked::new(
            Node::Matches(Box::new(of.node), pattern),
            Type::Bool,
            of.cost,
        ))
    }

    fn time_part(
        &mut self,
        expr: &IdedExpr,
        call: &CallExpr,
        part: TimePart,
        arguments: &[&IdedExpr],
    ) -> Result<Checked, Fault> {
        self.count(expr, call, &[1, 2])?;
        let name = call.func_name.as_str();
        let of_durations = matches!(
            part,
            TimePart::Hours | TimePart::Minutes | TimePart::Seconds | TimePart::Milliseconds
        );
        let (of, zone) = match arguments {
            [of, zone] => (of, Some(zone)),
            [of, ..] => (of, None),
            [] => return Err(Fault::new(self.places.function(expr, call), "a part of what?")),
        };
        let takes: &[Kind] = if of_durations && zone.is_none() {
            &[Kind::Timestamp, Kind::Duration]
        } else {
            &[Kind::Timestamp]
        };
        let of = self.argument(of, takes, name)?;
        let zone = match zone {
            None => Zone::Utc,
            Some(zone) => {
                let at = self.places.start(zone);
                let checked = self.argument(zone, &[Kind::String], name)?;
                let Some(text) = checked.literal() else {
                    return Err(Fault::new(
                        at,
                        format!("the time zone of {name}() is written as a literal"),
                    ));
                };
                Zone::parse(text).ok_or_else(|| {
                    Fault::new(
                        at,
                        format!(
                            "unknown time zone {text:?}: write one such as \"Europe/Berlin\" or \"+02:00\""
                        ),
                    )
                })?
            }
        };
        Ok(Checked::new(
            Node::TimePart(part, Box::new(of.node), zone),
            Type::Int,
            of.cost,
        ))
    }
}

/// What to say of a function that fails on its constants.
fn never(function: Function, error: &EvalError) -> String {
    match (function, error) {
        (Function::Timestamp, EvalError::Conversion(_)) => {
            "timestamp() needs a time such as \"2026-01-31T08:00:00Z\"".to_owned()
        }
        (Function::Duration, EvalError::Conversion(_)) => {
            "duration() needs one such as \"90s\" or \"1h30m\"".to_owned()
        }
        (_, error) => error.to_string(),
    }
}
