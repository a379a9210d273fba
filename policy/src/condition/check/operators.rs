//! Operators: which types they take, and what they give.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};

use super::{Checked, Checker, lower_case, path};
use crate::condition::{
    environment::{Field, Type},
    error::EvalError,
    node::{Arithmetic, Key, Node, Order},
    operations::{self, Steps},
    parse::Fault,
    value::Value,
};

impl Checker<'_> {
    /// An operator; `None` where the call is not one.
    pub(super) fn operator(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Result<Checked, Fault>> {
        let name = call.func_name.as_str();
        Some(match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [of]) => self.not(of),
            (operators::NEGATE, [of]) => self.negate(of),
            (operators::LOGICAL_AND, [left, right]) => self.logical(left, right, "&&", Node::And),
            (operators::LOGICAL_OR, [left, right]) => self.logical(left, right, "||", Node::Or),
            (operators::CONDITIONAL, [test, yes, no]) => self.choose(expr, test, yes, no),
            (operators::EQUALS, [left, right]) => self.equality(expr, left, right, Node::Equal),
            (operators::NOT_EQUALS, [left, right]) => self.equality(expr, left, right, Node::Unequal),
            (operators::LESS, [left, right]) => self.order(expr, left, right, Order::Less),
            (operators::LESS_EQUALS, [left, right]) => self.order(expr, left, right, Order::LessEqual),
            (operators::GREATER, [left, right]) => self.order(expr, left, right, Order::Greater),
            (operators::GREATER_EQUALS, [left, right]) => self.order(expr, left, right, Order::GreaterEqual),
            (operators::IN, [left, right]) => self.contained(expr, left, right),
            (operators::INDEX, [of, index]) => self.index(expr, of, index),
            (operators::ADD, [left, right]) => self.arithmetic(expr, left, right, Arithmetic::Add),
            (operators::SUBSTRACT, [left, right]) => self.arithmetic(expr, left, right, Arithmetic::Subtract),
            (operators::MULTIPLY, [left, right]) => self.arithmetic(expr, left, right, Arithmetic::Multiply),
            (operators::DIVIDE, [left, right]) => self.arithmetic(expr, left, right, Arithmetic::Divide),
            (operators::MODULO, [left, right]) => self.arithmetic(expr, left, right, Arithmetic::Remainder),
            (operators::OPT_SELECT | operators::OPT_INDEX, _) => Err(Fault::new(
                self.places.token(expr),
                "there are no optional values in conditions: use has()",
            )),
            _ => return None,
        })
    }

    fn not(&mut self, of: &IdedExpr) -> Result<Checked, Fault> {
        let of = self.wanted(of, &Type::Bool, "`!`")?;
        Ok(Checked::new(Node::Not(Box::new(of.node)), Type::Bool, of.cost))
    }

    fn negate(&mut self, of: &IdedExpr) -> Result<Checked, Fault> {
        let checked = self.value(of)?;
        if !checked.kind.is_number() && checked.kind != Type::Dyn {
            return Err(Fault::new(
                self.places.start(of),
                format!(
                    "`-` needs a number here, and this is {}",
                    checked.kind.with_article()
                ),
            ));
        }
        Ok(Checked::new(
            Node::Negate(Box::new(checked.node)),
            checked.kind,
            checked.cost,
        ))
    }

    fn logical(
        &mut self,
        left: &IdedExpr,
        right: &IdedExpr,
        sign: &str,
        make: impl FnOnce(Box<[Node; 2]>) -> Node,
    ) -> Result<Checked, Fault> {
        let by = format!("`{sign}`");
        let left = self.wanted(left, &Type::Bool, &by)?;
        let right = self.wanted(right, &Type::Bool, &by)?;
        let cost = left.cost.saturating_add(right.cost);
        Ok(Checked::new(
            make(Box::new([left.node, right.node])),
            Type::Bool,
            cost,
        ))
    }

    fn choose(
        &mut self,
        expr: &IdedExpr,
        test: &IdedExpr,
        yes: &IdedExpr,
        no: &IdedExpr,
    ) -> Result<Checked, Fault> {
        let test = self.wanted(test, &Type::Bool, "`?`")?;
        let (yes, no) = (self.value(yes)?, self.value(no)?);
        let Some(kind) = yes.kind.join(&no.kind) else {
            return Err(Fault::new(
                self.places.token(expr),
                format!(
                    "both answers of `?` are of one type, and these are {} and {}",
                    yes.kind.with_article(),
                    no.kind.with_article()
                ),
            ));
        };
        let cost = test.cost.saturating_add(yes.cost.max(no.cost));
        Ok(Checked::new(
            Node::Choose(Box::new([test.node, yes.node, no.node])),
            kind,
            cost,
        ))
    }

    fn equality(
        &mut self,
        expr: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
        make: impl FnOnce(Box<[Node; 2]>) -> Node,
    ) -> Result<Checked, Fault> {
        let (left, right) = self.compared(left, right)?;
        if !left.kind.comparable(&right.kind) {
            let message = match (&left.kind, &right.kind) {
                (Type::Null, kind) | (kind, Type::Null) => {
                    format!(
                        "{} is never null: use has() for what can be absent",
                        kind.with_article()
                    )
                }
                (left, right) => format!(
                    "{} is never equal to {}",
                    left.with_article(),
                    right.with_article()
                ),
            };
            return Err(Fault::new(self.places.token(expr), message));
        }
        let cost = left.cost.saturating_add(right.cost);
        Ok(Checked::new(
            make(Box::new([left.node, right.node])),
            Type::Bool,
            cost,
        ))
    }

    /// Both sides of a comparison.
    fn compared(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<(Checked, Checked), Fault> {
        let (a, b) = (self.value(left)?, self.value(right)?);
        for (field, literal, at) in [(&a, &b, right), (&b, &a, left)] {
            if let (Node::Field(Field::Risk), Node::Constant(Value::Int(score))) =
                (&field.node, &literal.node)
                && !(0..=100).contains(score)
            {
                return Err(Fault::new(self.places.start(at), "a risk is between 0 and 100"));
            }
        }
        Ok((a, b))
    }

    fn order(
        &mut self,
        expr: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
        order: Order,
    ) -> Result<Checked, Fault> {
        let (left, right) = self.compared(left, right)?;
        let ordered = |kind: &Type| {
            matches!(
                kind,
                Type::Int | Type::Double | Type::String | Type::Timestamp | Type::Duration | Type::Dyn
            )
        };
        if !(ordered(&left.kind) && ordered(&right.kind) && left.kind.comparable(&right.kind)) {
            let sign = order.sign();
            let message = if left.kind == right.kind {
                format!("`{sign}` does not order values of type {}", left.kind)
            } else {
                format!(
                    "`{sign}` does not order {} and {}",
                    left.kind.with_article(),
                    right.kind.with_article()
                )
            };
            return Err(Fault::new(self.places.token(expr), message));
        }
        let cost = left.cost.saturating_add(right.cost);
        Ok(Checked::new(
            Node::Order(order, Box::new([left.node, right.node])),
            Type::Bool,
            cost,
        ))
    }

    fn contained(&mut self, expr: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Result<Checked, Fault> {
        let (needle, hay) = (self.value(left)?, self.value(right)?);
        let message = match &hay.kind {
            Type::List(item) if !needle.kind.comparable(item) => Some(format!(
                "{} is never in {}",
                needle.kind.with_article(),
                hay.kind.with_article()
            )),
            Type::Map(key, _) if !needle.kind.fits(key) => Some(format!(
                "{} is never a key of {}",
                needle.kind.with_article(),
                hay.kind.with_article()
            )),
            Type::List(_) | Type::Map(..) | Type::Dyn => None,
            Type::String => {
                Some("`in` looks into a list or a map; for a string write b.contains(a)".to_owned())
            }
            kind => Some(format!(
                "`in` looks into a list or a map, and this is {}",
                kind.with_article()
            )),
        };
        if let Some(message) = message {
            return Err(Fault::new(self.places.token(expr), message));
        }
        if let (Node::Field(Field::RequestHeaders), Some(name)) = (&hay.node, needle.literal()) {
            lower_case(name, self.places.start(left))?;
        }
        let elements = super::macros::elements(&hay.node);
        let cost = needle.cost.saturating_add(hay.cost).saturating_add(elements);
        Ok(Checked::new(
            Node::In(Box::new([needle.node, hay.node])),
            Type::Bool,
            cost,
        ))
    }

    fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, index: &IdedExpr) -> Result<Checked, Fault> {
        let checked = self.value(of)?;
        let by = self.value(index)?;
        let cost = checked.cost.saturating_add(by.cost);
        let fits = match (&checked.kind, &by.kind) {
            (Type::List(_), Type::Int | Type::Dyn) | (Type::Map(..), Type::String | Type::Dyn) => true,
            (Type::Dyn, Type::Int | Type::String | Type::Dyn) => true,
            (Type::List(_) | Type::Map(..) | Type::Dyn, _) => false,
            (kind, _) => {
                return Err(Fault::new(
                    self.places.token(expr),
                    format!("{} has no elements", kind.with_article()),
                ));
            }
        };
        if !fits {
            let wanted = match &checked.kind {
                Type::List(_) => "an int",
                Type::Map(..) => "a string",
                _ => "an int or a string",
            };
            return Err(Fault::new(
                self.places.start(index),
                format!(
                    "{} is indexed with {wanted}, and this is {}",
                    checked.kind.with_article(),
                    by.kind.with_article()
                ),
            ));
        }
        if let Some(name) = by.literal() {
            let kind = self.member_kind(&checked, name, self.places.start(index))?;
            let key = Key::of(name, path(expr));
            return Ok(Checked::new(
                Node::Member(Box::new(checked.node), key),
                kind,
                cost,
            ));
        }
        let kind = match &checked.kind {
            Type::List(item) | Type::Map(_, item) => item.as_ref().clone(),
            _ => Type::Dyn,
        };
        Ok(Checked::new(
            Node::Index(Box::new([checked.node, by.node]), path(expr)),
            kind,
            cost,
        ))
    }

    fn arithmetic(
        &mut self,
        expr: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
        operation: Arithmetic,
    ) -> Result<Checked, Fault> {
        let at = self.places.token(expr);
        let (first, second) = (left, right);
        let left = self.value(first)?;
        if let (Arithmetic::Subtract, Node::Member(_, key), Type::String, Expr::Ident(rest)) =
            (operation, &left.node, &left.kind, &second.expr)
        {
            return Err(Fault::new(
                self.places.start(first),
                format!(
                    "`-` does not take a string: a name with a dash is written as x[\"{}-{rest}\"]",
                    key.name
                ),
            ));
        }
        let right = self.value(second)?;
        let Some(kind) = result(operation, &left.kind, &right.kind) else {
            let both_numbers = left.kind.is_number() && right.kind.is_number();
            let hint = if both_numbers && operation != Arithmetic::Remainder {
                ": convert one with double() or int()"
            } else {
                ""
            };
            return Err(Fault::new(
                at,
                format!(
                    "`{}` does not take {} and {}{hint}",
                    operation.sign(),
                    left.kind.with_article(),
                    right.kind.with_article()
                ),
            ));
        };
        if let (Arithmetic::Divide | Arithmetic::Remainder, Node::Constant(Value::Int(0))) =
            (operation, &right.node)
        {
            return Err(Fault::new(at, "division by zero"));
        }
        if let (Node::Constant(a), Node::Constant(b)) = (&left.node, &right.node) {
            return match operations::arithmetic(&mut Steps::all(), operation, a, b) {
                Ok(value) => Ok(Checked::constant(value, kind)),
                Err(EvalError::Overflow(_)) => Err(Fault::new(at, "this overflows")),
                Err(error) => Err(Fault::new(at, error.to_string())),
            };
        }
        let cost = left.cost.saturating_add(right.cost);
        Ok(Checked::new(
            Node::Arithmetic(operation, Box::new([left.node, right.node])),
            kind,
            cost,
        ))
    }
}

/// What `left OPERATION right` is.
fn result(operation: Arithmetic, left: &Type, right: &Type) -> Option<Type> {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    match (operation, left, right) {
        (_, Type::Int, Type::Int) => Some(Type::Int),
        (Add | Subtract | Multiply | Divide, Type::Double, Type::Double) => Some(Type::Double),
        (Add, Type::String, Type::String) => Some(Type::String),
        (Add | Subtract, Type::Duration, Type::Duration) => Some(Type::Duration),
        (Add | Subtract, Type::Timestamp, Type::Duration) | (Add, Type::Duration, Type::Timestamp) => {
            Some(Type::Timestamp)
        }
        (Subtract, Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
        (_, Type::Dyn, other) | (_, other, Type::Dyn) => {
            let taken = match other {
                Type::Dyn | Type::Int => true,
                Type::Double => operation != Remainder,
                Type::String => operation == Add,
                Type::Timestamp | Type::Duration => matches!(operation, Add | Subtract),
                _ => false,
            };
            taken.then_some(Type::Dyn)
        }
        _ => None,
    }
}
