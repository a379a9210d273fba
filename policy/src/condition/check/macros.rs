//! Macros: `has()`, and those that go through lists and maps.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};

use super::{Checked, Checker, are, path, too_costly};
use crate::condition::{
    MAX_NESTING, environment,
    environment::{Field, Type},
    node::{Key, Loop, LoopKind, Node},
    operations::MAX_STEPS,
    parse::Fault,
    value::Value,
};

/// Elements that the estimate takes a list or a map of the request to have.
const ASSUMED_ELEMENTS: u64 = 32;

/// The names of the macros of lists and maps, as they are called.
pub(super) const NAMES: [&str; 6] = ["all", "exists", "exists_one", "existsOne", "map", "filter"];

impl Checker<'_> {
    /// `has(x.f)`.
    pub(super) fn has(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Checked, Fault> {
        let [argument] = call.args.as_slice() else {
            return Err(Fault::new(
                self.places.function(expr, call),
                format!("has() takes 1 argument, and there {}", are(call.args.len())),
            ));
        };
        let start = self.places.start(argument);
        let select = match &argument.expr {
            Expr::Select(select) => select,
            Expr::Ident(name) if environment::find(None, name).is_some() => {
                return Err(Fault::new(start, format!("{name} is always there")));
            }
            Expr::Call(index) if index.func_name == operators::INDEX => {
                return Err(Fault::new(
                    start,
                    "has() takes a field: for a[\"b\"] write \"b\" in a",
                ));
            }
            _ => return Err(Fault::new(start, "has() takes a field, such as has(resource.id)")),
        };
        let of = self.part(&select.operand)?;
        match &of.kind {
            Type::Object(object) => {
                let row = self.field(argument, select, *object)?;
                if !row.may_be_absent {
                    return Err(Fault::new(start, format!("{} is always there", row.path)));
                }
                self.reads.note(row.field);
                Ok(Checked::new(Node::HasField(row.field), Type::Bool, 0))
            }
            Type::Dyn | Type::Map(..) => {
                self.member_kind(&of, &select.field, self.places.field(argument, select))?;
                let key = Key::of(&select.field, path(argument));
                Ok(Checked::new(
                    Node::HasMember(Box::new(of.node), key),
                    Type::Bool,
                    of.cost,
                ))
            }
            kind => Err(Fault::new(
                self.places.field(argument, select),
                format!("{} has no fields", kind.with_article()),
            )),
        }
    }

    /// `x.all(v, ..)` and its like.
    pub(super) fn go_through(
        &mut self,
        expr: &IdedExpr,
        target: &IdedExpr,
        call: &CallExpr,
    ) -> Result<Checked, Fault> {
        let name = call.func_name.as_str();
        let at = self.places.function(expr, call);
        let (variable, first, second) = match (name, call.args.as_slice()) {
            (_, [variable, first]) => (variable, first, None),
            ("map", [variable, first, second]) => (variable, first, Some(second)),
            (_, arguments) => {
                let takes = if name == "map" {
                    "2 or 3 arguments"
                } else {
                    "2 arguments"
                };
                return Err(Fault::new(
                    at,
                    format!(
                        "{name}() takes {takes}, a variable first, and there {}",
                        are(arguments.len())
                    ),
                ));
            }
        };
        let range = self.value(target)?;
        let item = match &range.kind {
            Type::List(item) => item.as_ref().clone(),
            Type::Map(key, _) => key.as_ref().clone(),
            Type::Dyn => Type::Dyn,
            kind => {
                return Err(Fault::new(
                    self.places.start(target),
                    format!(
                        "{name}() goes through a list or a map, and this is {}",
                        kind.with_article()
                    ),
                ));
            }
        };
        let variable = self.variable(variable, name)?;
        let slot = self.locals.len();
        if slot == MAX_NESTING {
            return Err(Fault::new(
                at,
                format!("macros are nested {MAX_NESTING} deep at most"),
            ));
        }
        self.locals.push((variable, item.clone()));
        let parts = self.parts(name, first, second, slot, item);
        self.locals.pop();
        let parts = parts?;
        let cost = range
            .cost
            .saturating_add(elements(&range.node).saturating_mul(parts.cost.saturating_add(1)));
        if cost > u64::from(MAX_STEPS) {
            return Err(Fault::new(at, too_costly(cost)));
        }
        let node = Node::Loop(Box::new(Loop {
            kind: parts.kind,
            slot,
            range: range.node,
            guard: parts.guard,
            body: parts.body,
        }));
        Ok(Checked::new(node, parts.gives, cost))
    }

    /// The name of the variable of a macro.
    fn variable(&self, argument: &IdedExpr, macro_name: &str) -> Result<String, Fault> {
        let at = self.places.start(argument);
        let Expr::Ident(variable) = &argument.expr else {
            return Err(Fault::new(
                at,
                format!("the first argument of {macro_name}() is the name of a variable"),
            ));
        };
        let taken = environment::top_names().any(|name| name == variable)
            || self.locals.iter().any(|(local, _)| local == variable);
        if taken || variable.starts_with('.') {
            return Err(Fault::new(
                at,
                format!("`{variable}` has a meaning already: take another name"),
            ));
        }
        Ok(variable.clone())
    }

    /// What is done with each element.
    fn parts(
        &mut self,
        name: &str,
        first: &IdedExpr,
        second: Option<&IdedExpr>,
        slot: usize,
        item: Type,
    ) -> Result<Parts, Fault> {
        let by = format!("{name}()");
        let kind = match name {
            "all" => LoopKind::All,
            "exists" => LoopKind::Exists,
            "exists_one" | "existsOne" => LoopKind::ExistsOne,
            _ => LoopKind::Collect,
        };
        if kind != LoopKind::Collect {
            let body = self.wanted(first, &Type::Bool, &by)?;
            return Ok(Parts {
                kind,
                guard: None,
                body: body.node,
                cost: body.cost,
                gives: Type::Bool,
            });
        }
        let (guard, body) = match (name, second) {
            ("filter", _) => (
                Some(self.wanted(first, &Type::Bool, &by)?),
                Checked::new(Node::Local(slot), item, 0),
            ),
            (_, Some(second)) => (Some(self.wanted(first, &Type::Bool, &by)?), self.value(second)?),
            (_, None) => (None, self.value(first)?),
        };
        let guard_cost = guard.as_ref().map_or(0, |guard| guard.cost);
        Ok(Parts {
            kind,
            cost: body.cost.saturating_add(guard_cost),
            guard: guard.map(|guard| guard.node),
            body: body.node,
            gives: Type::list(body.kind),
        })
    }
}

struct Parts {
    kind: LoopKind,
    guard: Option<Node>,
    body: Node,
    cost: u64,
    gives: Type,
}

/// How many elements a list or a map is estimated to have.
pub(super) fn elements(node: &Node) -> u64 {
    let exactly = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    match node {
        Node::Constant(Value::List(list)) => exactly(list.len()),
        Node::List(items) => exactly(items.len()),
        Node::Map(entries) => exactly(entries.len()),
        Node::Field(Field::AgentClaims) => ASSUMED_ELEMENTS / 2,
        _ => ASSUMED_ELEMENTS,
    }
}
