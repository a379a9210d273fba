//! The type checker: from the AST of a text to a [`Node`] that runs, or to what is wrong and where.
//!
//! Every name, field, function and operator is resolved here against the tables of
//! [`super::environment`] and [`functions`], so that what can be known to be wrong is known when a policy is
//! compiled. What is in the body is `dyn` and judged when it is there.

mod calls;
mod functions;
mod macros;
mod operators;

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr};

use super::{
    Reads,
    environment::{self, Field, Object, Type},
    meant::hint,
    node::{Key, Node},
    operations::MAX_STEPS,
    parse::{Fault, NESTED, Places},
    value::{List, Value},
};

/// How deep an expression may be nested.
const MAX_DEPTH: usize = 40;

/// Checks a whole expression: it has to be a bool and within the steps that an evaluation may take.
pub(super) fn check(expr: &IdedExpr, places: Places<'_>) -> Result<(Node, Reads), Fault> {
    let mut checker = Checker {
        places,
        locals: Vec::new(),
        reads: Reads::default(),
        depth: 0,
    };
    let checked = checker.value(expr)?;
    if !matches!(checked.kind, Type::Bool | Type::Dyn) {
        return Err(Fault::new(
            places.start(expr),
            format!(
                "a condition is true or false, and this is {}",
                checked.kind.with_article()
            ),
        ));
    }
    if checked.cost > u64::from(MAX_STEPS) {
        return Err(Fault::new(places.start(expr), too_costly(checked.cost)));
    }
    Ok((checked.node, checker.reads))
}

fn too_costly(cost: u64) -> String {
    format!("this could take {cost} steps, and a condition may take {MAX_STEPS}")
}

/// A checked part.
struct Checked {
    node: Node,
    kind: Type,
    /// Steps that it is estimated to take.
    cost: u64,
}

impl Checked {
    fn new(node: Node, kind: Type, cost: u64) -> Self {
        Self {
            node,
            kind,
            cost: cost.saturating_add(1),
        }
    }

    fn constant(value: Value<'static>, kind: Type) -> Self {
        Self::new(Node::Constant(value), kind, 0)
    }

    /// The text of a constant that is one.
    fn literal(&self) -> Option<&str> {
        match &self.node {
            Node::Constant(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        }
    }
}

struct Checker<'t> {
    places: Places<'t>,
    /// The variables of the macros around, outermost first.
    locals: Vec<(String, Type)>,
    reads: Reads,
    depth: usize,
}

impl Checker<'_> {
    /// Checks a part that has to be a value.
    fn value(&mut self, expr: &IdedExpr) -> Result<Checked, Fault> {
        let checked = self.part(expr)?;
        match checked.kind {
            Type::Object(object) => Err(Fault::new(
                self.places.start(expr),
                format!(
                    "{object} is {}",
                    checked.kind.with_article(),
                    object = object.name()
                ),
            )),
            _ => Ok(checked),
        }
    }

    /// Checks a part that has to be of one type.
    fn wanted(&mut self, expr: &IdedExpr, wanted: &Type, by: &str) -> Result<Checked, Fault> {
        let checked = self.value(expr)?;
        if checked.kind.fits(wanted) {
            return Ok(checked);
        }
        Err(Fault::new(
            self.places.start(expr),
            format!(
                "{by} needs {} here, and this is {}",
                wanted.with_article(),
                checked.kind.with_article()
            ),
        ))
    }

    /// Checks a part, which may be a group of fields.
    fn part(&mut self, expr: &IdedExpr) -> Result<Checked, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(self.places.token(expr), NESTED));
        }
        self.depth += 1;
        let checked = match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(expr, list),
            Expr::Map(map) => self.map(expr, map),
            Expr::Struct(_) => Err(Fault::new(
                self.places.token(expr),
                "messages are not made in conditions",
            )),
            Expr::Comprehension(_) | Expr::Unspecified => Err(Fault::new(
                self.places.token(expr),
                "this cannot stand in a condition",
            )),
        };
        self.depth -= 1;
        checked
    }

    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Result<Checked, Fault> {
        let fault = |message: &str| Err(Fault::new(self.places.start(expr), message));
        match literal {
            LiteralValue::Boolean(flag) => Ok(Checked::constant(Value::Bool(*flag.inner()), Type::Bool)),
            LiteralValue::Int(int) => Ok(Checked::constant(Value::Int(*int.inner()), Type::Int)),
            LiteralValue::Double(double) => {
                Ok(Checked::constant(Value::Double(*double.inner()), Type::Double))
            }
            LiteralValue::String(text) => Ok(Checked::constant(Value::owned(text.inner()), Type::String)),
            LiteralValue::Null => Ok(Checked::constant(Value::Null, Type::Null)),
            LiteralValue::UInt(_) => fault("numbers have no `u` here: leave it out"),
            LiteralValue::Bytes(_) => fault("there are no bytes in conditions: write a string"),
        }
    }

    fn name(&mut self, expr: &IdedExpr, name: &str) -> Result<Checked, Fault> {
        if let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name)
            && let Some((_, kind)) = self.locals.get(slot)
        {
            return Ok(Checked::new(Node::Local(slot), kind.clone(), 0));
        }
        if let Some(row) = environment::find(None, name) {
            self.reads.note(row.field);
            return Ok(Checked::new(Node::Field(row.field), (row.kind)(), 0));
        }
        if let Some(object) = environment::find_object(name) {
            return Ok(Checked::new(Node::Constant(Value::Null), Type::Object(object), 0));
        }
        let hint = match environment::FIELDS.iter().find(|row| row.name == name) {
            Some(row) => format!("did you mean `{}`?", row.path),
            None if name.starts_with('.') => "names have no leading dot".to_owned(),
            None => {
                let mut names: Vec<&str> = environment::top_names().collect();
                names.extend(self.locals.iter().map(|(local, _)| local.as_str()));
                hint(name, &names)
            }
        };
        Err(Fault::new(
            self.places.token(expr),
            format!("unknown name `{name}`: {hint}"),
        ))
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Result<Checked, Fault> {
        let of = self.part(&select.operand)?;
        match &of.kind {
            Type::Object(object) => {
                let row = self.field(expr, select, *object)?;
                self.reads.note(row.field);
                Ok(Checked::new(Node::Field(row.field), (row.kind)(), 0))
            }
            Type::Dyn | Type::Map(..) => {
                let at = self.places.field(expr, select);
                let kind = self.member_kind(&of, &select.field, at)?;
                let key = Key::of(&select.field, path(expr));
                Ok(Checked::new(Node::Member(Box::new(of.node), key), kind, of.cost))
            }
            kind => Err(Fault::new(
                self.places.field(expr, select),
                format!("{} has no fields", kind.with_article()),
            )),
        }
    }

    /// The row of a field of a group.
    fn field(
        &self,
        expr: &IdedExpr,
        select: &SelectExpr,
        object: Object,
    ) -> Result<&'static environment::FieldRow, Fault> {
        let name = select.field.as_str();
        environment::find(Some(object), name).ok_or_else(|| {
            let names: Vec<&str> = environment::field_names(object).collect();
            let hint = hint(name, &names);
            Fault::new(
                self.places.field(expr, select),
                format!("{} has no field `{name}`: {hint}", object.name()),
            )
        })
    }

    /// The type of a member that is named by a literal.
    fn member_kind(&self, of: &Checked, name: &str, at: usize) -> Result<Type, Fault> {
        if matches!(of.node, Node::Field(Field::RequestHeaders)) {
            lower_case(name, at)?;
        }
        Ok(match &of.kind {
            Type::Map(_, value) => value.as_ref().clone(),
            _ => Type::Dyn,
        })
    }

    fn list(&mut self, expr: &IdedExpr, list: &ListExpr) -> Result<Checked, Fault> {
        if !list.optional_indices.is_empty() {
            return Err(Fault::new(
                self.places.token(expr),
                "there are no optional elements in conditions",
            ));
        }
        let mut kind: Option<Type> = None;
        let mut cost = 0_u64;
        let mut nodes = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            let checked = self.value(element)?;
            kind = Some(match kind {
                None => checked.kind,
                Some(kind) => kind.join(&checked.kind).ok_or_else(|| {
                    Fault::new(
                        self.places.start(element),
                        format!(
                            "elements of a list are of one type: the others are {}, and this is {}",
                            kind,
                            checked.kind.with_article()
                        ),
                    )
                })?,
            });
            cost = cost.saturating_add(checked.cost);
            nodes.push(checked.node);
        }
        let kind = Type::list(kind.unwrap_or(Type::Dyn));
        let constants: Option<Arc<[_]>> = nodes
            .iter()
            .map(|node| match node {
                Node::Constant(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let node = match constants {
            Some(constants) => Node::Constant(Value::List(List::Shared(constants))),
            None => Node::List(nodes.into()),
        };
        Ok(Checked::new(node, kind, cost))
    }

    fn map(&mut self, expr: &IdedExpr, map: &MapExpr) -> Result<Checked, Fault> {
        let mut kind: Option<Type> = None;
        let mut cost = 0_u64;
        let mut nodes = Vec::with_capacity(map.entries.len());
        let mut keys: Vec<String> = Vec::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Fault::new(
                    self.places.token(expr),
                    "a map is made of keys and values",
                ));
            };
            if entry.optional {
                return Err(Fault::new(
                    self.places.start(&entry.key),
                    "there are no optional entries in conditions",
                ));
            }
            let key = self.wanted(&entry.key, &Type::String, "a key of a map")?;
            if let Some(name) = key.literal() {
                if keys.iter().any(|key| key == name) {
                    return Err(Fault::new(
                        self.places.start(&entry.key),
                        "this key is in the map already",
                    ));
                }
                keys.push(name.to_owned());
            }
            let value = self.value(&entry.value)?;
            kind = Some(match kind {
                None => value.kind,
                Some(kind) => kind.join(&value.kind).ok_or_else(|| {
                    Fault::new(
                        self.places.start(&entry.value),
                        format!(
                            "values of a map are of one type: the others are {}, and this is {}",
                            kind,
                            value.kind.with_article()
                        ),
                    )
                })?,
            });
            cost = cost.saturating_add(key.cost).saturating_add(value.cost);
            nodes.push((key.node, value.node));
        }
        let kind = Type::Map(Box::new(Type::String), Box::new(kind.unwrap_or(Type::Dyn)));
        Ok(Checked::new(Node::Map(nodes.into()), kind, cost))
    }
}

/// `is 1`, `are 2`.
fn are(count: usize) -> String {
    if count == 1 {
        "is 1".to_owned()
    } else {
        format!("are {count}")
    }
}

/// Names of headers are in lower case, so that another name is never there.
fn lower_case(name: &str, at: usize) -> Result<(), Fault> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Fault::new(
            at,
            format!(
                "names of headers are in lower case here: write `{}`",
                name.to_ascii_lowercase()
            ),
        ));
    }
    Ok(())
}

/// An expression as errors of an evaluation name it: its names as they are written, without what is computed.
fn path(expr: &IdedExpr) -> Arc<str> {
    let mut made = String::new();
    write_path(expr, &mut made);
    made.into()
}

fn write_path(expr: &IdedExpr, made: &mut String) {
    match &expr.expr {
        Expr::Ident(name) => made.push_str(name),
        Expr::Select(select) => {
            write_path(&select.operand, made);
            made.push('.');
            made.push_str(&select.field);
        }
        Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
            if let [of, index] = call.args.as_slice() {
                write_path(of, made);
                match &index.expr {
                    Expr::Literal(LiteralValue::String(text)) => {
                        made.push_str(&format!("[{:?}]", text.inner()))
                    }
                    Expr::Literal(LiteralValue::Int(int)) => made.push_str(&format!("[{}]", int.inner())),
                    _ => made.push_str("[..]"),
                }
            }
        }
        _ => made.push_str("(..)"),
    }
}
