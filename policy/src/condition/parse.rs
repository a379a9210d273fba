//! From a text to the AST of the `cel` crate, and from its places to lines and columns.
//!
//! The parser and whatever walks a tree that is not bounded yet run on a thread of their own with a large stack:
//! a text of the longest length can nest deep enough to overflow a small one. Macros are not expanded here:
//! [`super::check`] reads them as they are written.

use cel::{
    Env, ParseError,
    common::ast::{CallExpr, Expr, IdedExpr, SelectExpr, SourceInfo, operators},
};

use super::error::ConditionError;

/// Stack of the thread that parses. It is reserved, and used only as far as it is needed.
const STACK: usize = 64 * 1024 * 1024;

/// What is said of a tree with more levels than are looked at.
pub(super) const NESTED: &str = "nested too deeply";

/// What is wrong, and where, in bytes from the start of the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    /// The same by line and column of `text`.
    pub(super) fn in_text(self, text: &str) -> ConditionError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or("");
        ConditionError {
            line: count(before.matches('\n').count()),
            column: count(line.chars().count()),
            message: self.message,
        }
    }
}

/// A count from 0 as one from 1.
fn count(before: usize) -> u32 {
    u32::try_from(before).unwrap_or(u32::MAX - 1) + 1
}

/// Parses `text` and gives its tree to `read`, where there is room for any tree.
pub(super) fn with_tree<T: Send>(
    text: &str,
    read: impl FnOnce(&IdedExpr, Places<'_>) -> Result<T, Fault> + Send,
) -> Result<T, ConditionError> {
    let first_column = |message: &str| Fault::new(0, message).in_text(text);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("condition".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                // An environment without macros, functions or types: all of these are ours.
                let program = Env::default()
                    .compile(text)
                    .map_err(|errors| said_plainly(text, &errors.errors))?;
                let places = Places {
                    text,
                    source: program.source_info(),
                };
                read(program.expression(), places).map_err(|fault| fault.in_text(text))
            })
            .map_err(|error| first_column(&format!("no thread to parse the expression on: {error}")))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(first_column("the expression cannot be parsed")))
    })
}

/// Where the parts of a tree stand in its text.
#[derive(Clone, Copy)]
pub(super) struct Places<'t> {
    text: &'t str,
    source: &'t SourceInfo,
}

impl Places<'_> {
    /// The token that the node is made at: a name, a literal, an operator, a dot, an opening bracket.
    pub(super) fn token(&self, expr: &IdedExpr) -> usize {
        self.source
            .offset_for(expr.id)
            .map_or(0, |(start, _)| start as usize)
    }

    /// Where the expression begins.
    pub(super) fn start(&self, expr: &IdedExpr) -> usize {
        match &expr.expr {
            Expr::Select(select) => self.start(&select.operand),
            Expr::Call(call) => match (&call.target, call.args.first()) {
                (Some(target), _) => self.start(target),
                (None, Some(first)) if is_infix(&call.func_name) => self.start(first),
                (None, _) if is_prefix(&call.func_name) => self.token(expr),
                (None, _) => self.function(expr, call),
            },
            // A literal below zero is made at its digits; the sign stands before them.
            Expr::Literal(_) => {
                let at = self.token(expr);
                let before = self.text.get(..at).unwrap_or("").trim_end();
                let negative = matches!(&expr.expr, Expr::Literal(literal) if is_negative(literal));
                if negative && before.ends_with('-') {
                    before.len() - 1
                } else {
                    at
                }
            }
            _ => self.token(expr),
        }
    }

    /// The field that is selected.
    pub(super) fn field(&self, expr: &IdedExpr, select: &SelectExpr) -> usize {
        let dot = self.token(expr);
        let after = self.text.get(dot + 1..).unwrap_or("");
        let field = after.trim_start();
        if field.starts_with(&select.field) {
            dot + 1 + (after.len() - field.len())
        } else {
            dot
        }
    }

    /// The name of the function or method that is called.
    pub(super) fn function(&self, expr: &IdedExpr, call: &CallExpr) -> usize {
        let bracket = self.token(expr);
        let before = self.text.get(..bracket).unwrap_or("").trim_end();
        if before.ends_with(&call.func_name) {
            before.len() - call.func_name.len()
        } else {
            bracket
        }
    }
}

fn is_negative(literal: &cel::common::ast::LiteralValue) -> bool {
    use cel::common::ast::LiteralValue;
    match literal {
        LiteralValue::Int(int) => *int.inner() < 0,
        LiteralValue::Double(double) => double.inner().is_sign_negative(),
        _ => false,
    }
}

fn is_infix(name: &str) -> bool {
    name.starts_with('_') || name == operators::IN
}

fn is_prefix(name: &str) -> bool {
    name == operators::LOGICAL_NOT || name == operators::NEGATE
}

/// The first thing that the parser found wrong, in words for people.
fn said_plainly(text: &str, errors: &[ParseError]) -> ConditionError {
    // What the parser says of trees it could not finish has no place of its own; a syntax error stands beside it.
    let error = errors
        .iter()
        .find(|error| !error.msg.starts_with("Incomplete") && !error.msg.starts_with("No `"))
        .or(errors.first());
    let Some(error) = error else {
        return Fault::new(0, "the expression cannot be parsed").in_text(text);
    };
    if error.msg.to_ascii_lowercase().contains("recursion limit") {
        return Fault::new(deepest(text), NESTED).in_text(text);
    }
    let place = |from: isize| u32::try_from(from.max(1)).unwrap_or(1);
    ConditionError {
        line: place(error.pos.0),
        column: place(error.pos.1),
        message: words(&error.msg, before(text, error.pos)),
    }
}

/// What stands before a line and a column of `text`, in that line.
fn before(text: &str, (line, column): (isize, isize)) -> &str {
    let at = |from: isize| usize::try_from(from - 1).unwrap_or(0);
    let line = text.lines().nth(at(line)).unwrap_or("");
    let end = line
        .char_indices()
        .nth(at(column))
        .map_or(line.len(), |(end, _)| end);
    line.get(..end).unwrap_or(line).trim_end()
}

fn words(message: &str, before: &str) -> String {
    if let Some(word) = message.strip_prefix("reserved identifier: ") {
        return format!("`{word}` is a reserved word");
    }
    if message.starts_with("invalid ") && message.contains("literal") {
        return "this number is too large".to_owned();
    }
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if let Some(at) = message.strip_prefix("token recognition error at: ") {
        return unknown_token(quoted(at));
    }
    if let Some(rest) = message.strip_prefix("missing ") {
        return match rest.split_once(" at ") {
            Some((what, at)) if quoted(at) == "<EOF>" => format!("`{}` is missing at the end", quoted(what)),
            Some((what, at)) => format!("`{}` is missing before `{}`", quoted(what), quoted(at)),
            None => format!("missing {rest}"),
        };
    }
    for start in [
        "extraneous input ",
        "mismatched input ",
        "no viable alternative at input ",
    ] {
        if let Some(rest) = message.strip_prefix(start) {
            let found = quoted(rest.split(" expecting ").next().unwrap_or(rest));
            return match found {
                "<EOF>" => "the expression ends too early".to_owned(),
                "and" => "unexpected `and`: write && for and".to_owned(),
                "or" => "unexpected `or`: write || for or".to_owned(),
                found if before == "not" || before.ends_with(" not") => {
                    format!("unexpected `{found}`: write ! for not")
                }
                found => format!("unexpected `{found}`"),
            };
        }
    }
    // What the library tells of its own insides is for nobody.
    match message.contains(['{', '\n']) {
        true => "the expression cannot be parsed here".to_owned(),
        false => message.to_owned(),
    }
}

/// Where the first of the innermost brackets is: what the parser gave up at has no place of its own.
fn deepest(text: &str) -> usize {
    let (mut depth, mut most, mut place) = (0_usize, 0, 0);
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => {
                depth += 1;
                if depth > most {
                    (most, place) = (depth, at);
                }
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    place
}

/// What stands between the quotes of `'..'`.
fn quoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''))
        .unwrap_or(text)
}

fn unknown_token(token: &str) -> String {
    let token = token.trim_end();
    let quote = |text: &str| text.starts_with(['"', '\'']);
    if quote(token) || quote(token.trim_start_matches(['r', 'R', 'b', 'B'])) {
        return "this text has no end: a quote is missing, or a backslash stands before a character that it cannot escape"
            .to_owned();
    }
    match token {
        "=" => "unexpected `=`: write == to compare".to_owned(),
        "&" => "unexpected `&`: write && for and".to_owned(),
        "|" => "unexpected `|`: write || for or".to_owned(),
        token => format!("unexpected `{token}`"),
    }
}
