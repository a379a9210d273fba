//! Running a condition on a scene, within a number of steps.
//!
//! The semantics are those of CEL, with `&&`, `||`, `all` and `exists` that have an answer where an error on one
//! side cannot change it. They are stricter in one place: a value of the body that is compared with one of
//! another type is an error and not unequal, because Google reads `"5"` and `5` as the same number and `1` as
//! the name of an enum's value, and a rule that denies must not be passed by by spelling.

use std::sync::Arc;

use super::{
    MAX_ELEMENTS, MAX_NESTING,
    error::EvalError,
    node::{Arithmetic, Function, Key, Loop, LoopKind, Node, Order},
    operations::{self, Steps},
    scene::Scene,
    spelling,
    value::{Items, List, Map, Repeated, Text, Value},
};

/// Names of members that are compared in one step.
const KEYS_A_STEP: usize = 16;

type Answer<'a> = Result<Value<'a>, EvalError>;

/// One evaluation.
pub(super) struct Evaluation<'a> {
    scene: Scene<'a>,
    pub(super) steps: Steps,
    /// The variables of the macros around, outermost first.
    locals: [Value<'a>; MAX_NESTING],
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(scene: Scene<'a>) -> Self {
        Self {
            scene,
            steps: Steps::all(),
            locals: [const { Value::Null }; MAX_NESTING],
        }
    }

    /// Whether `node` is true.
    pub(super) fn truth(&mut self, node: &'a Node) -> Result<bool, EvalError> {
        match node {
            Node::Not(of) => {
                self.steps.spend(1)?;
                Ok(!self.truth(of)?)
            }
            Node::And(sides) => self.both(sides, false),
            Node::Or(sides) => self.both(sides, true),
            Node::Equal(sides) => self.sides_equal(sides),
            Node::Unequal(sides) => Ok(!self.sides_equal(sides)?),
            Node::HasField(field) => {
                self.steps.spend(1)?;
                Ok(self.scene.look(*field)?.is_some())
            }
            other => match self.value(other)? {
                Value::Bool(flag) => Ok(flag),
                _ => Err(EvalError::Type("a condition")),
            },
        }
    }

    /// `&&` (decided by false) and `||` (decided by true): an error on one side stands only where the other side
    /// does not decide.
    fn both(&mut self, sides: &'a [Node; 2], decides: bool) -> Result<bool, EvalError> {
        self.steps.spend(1)?;
        let [left, right] = sides;
        let left = self.truth(left);
        if left == Ok(decides) {
            return Ok(decides);
        }
        match self.truth(right) {
            Ok(right) if right == decides => Ok(decides),
            right => left.and(right),
        }
    }

    /// The value of `node`.
    pub(super) fn value(&mut self, node: &'a Node) -> Answer<'a> {
        match node {
            Node::Not(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::Equal(_)
            | Node::Unequal(_)
            | Node::HasField(_) => return self.truth(node).map(Value::Bool),
            _ => self.steps.spend(1)?,
        }
        match node {
            Node::Constant(value) => Ok(value.lend()),
            Node::Field(field) => self.scene.read(*field),
            Node::Local(slot) => self
                .locals
                .get(*slot)
                .cloned()
                .ok_or(EvalError::Type("a variable")),
            Node::Member(of, key) => {
                let of = self.value(of)?;
                self.member(&of, key)?
                    .ok_or_else(|| EvalError::Absent((&key.path).into()))
            }
            Node::HasMember(of, key) => {
                let of = self.value(of)?;
                Ok(Value::Bool(self.has_member(&of, key)?))
            }
            Node::Index(sides, path) => self.index(sides, path),
            Node::Negate(of) => match self.value(of)? {
                Value::Int(int) => int.checked_neg().map(Value::Int).ok_or(EvalError::Overflow("-")),
                Value::Double(double) => Ok(Value::Double(-double)),
                _ => Err(EvalError::Type("-")),
            },
            Node::Choose(parts) => {
                let [test, yes, no] = parts.as_ref();
                if self.truth(test)? {
                    self.value(yes)
                } else {
                    self.value(no)
                }
            }
            Node::Order(order, sides) => self.order(*order, sides).map(Value::Bool),
            Node::In(sides) => self.contained(sides).map(Value::Bool),
            Node::Arithmetic(operation, sides) => self.arithmetic(*operation, sides),
            Node::List(items) => {
                let items: Result<Arc<[_]>, _> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(List::Shared(items?)))
            }
            Node::Map(entries) => self.map(entries),
            Node::Loop(of) => self.go_through(of),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Matches(of, pattern) => match self.value(of)? {
                Value::Text(text) => pattern.is_in(text.as_str(), &mut self.steps).map(Value::Bool),
                _ => Err(EvalError::Type("matches()")),
            },
            Node::TimePart(part, of, zone) => {
                let of = self.value(of)?;
                operations::time_part(*part, &of, *zone)
            }
            Node::NameStartsWith(start) => match self.value(start)? {
                Value::Text(start) => self.scene.name_starts_with(start.as_str()).map(Value::Bool),
                _ => Err(EvalError::Type("startsWith()")),
            },
            Node::Not(_)
            | Node::And(_)
            | Node::Or(_)
            | Node::Equal(_)
            | Node::Unequal(_)
            | Node::HasField(_) => Err(EvalError::Type("a condition")),
        }
    }

    /// A member of a map, if it is there.
    fn member(&mut self, of: &Value<'a>, key: &Key) -> Result<Option<Value<'a>>, EvalError> {
        let Value::Map(map) = of else {
            return Err(EvalError::Type("a member"));
        };
        let found = map
            .get(&key.name)
            .map_err(|Repeated| EvalError::Repeated((&key.path).into()))?;
        only_spelling(&mut self.steps, map, key)?;
        Ok(found)
    }

    /// Whether a map has a member. It may come more than once: it is there then.
    fn has_member(&mut self, of: &Value<'a>, key: &Key) -> Result<bool, EvalError> {
        let Value::Map(map) = of else {
            return Err(EvalError::Type("has()"));
        };
        only_spelling(&mut self.steps, map, key)?;
        Ok(map.contains(&key.name))
    }

    fn index(&mut self, sides: &'a [Node; 2], path: &Arc<str>) -> Answer<'a> {
        let [of, index] = sides;
        match (self.value(of)?, self.value(index)?) {
            (Value::List(list), Value::Int(index)) => usize::try_from(index)
                .ok()
                .and_then(|index| list.get(index))
                .ok_or_else(|| EvalError::OutOfRange(path.into())),
            (of @ Value::Map(_), Value::Text(name)) => {
                let key = Key::of(name.as_str(), Arc::clone(path));
                self.member(&of, &key)?
                    .ok_or_else(|| EvalError::Absent(path.into()))
            }
            _ => Err(EvalError::Type("[]")),
        }
    }

    fn sides_equal(&mut self, sides: &'a [Node; 2]) -> Result<bool, EvalError> {
        self.steps.spend(1)?;
        let [left, right] = sides;
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.equal(&left, &right)
    }

    fn order(&mut self, order: Order, sides: &'a [Node; 2]) -> Result<bool, EvalError> {
        let [left, right] = sides;
        let (left, right) = (self.value(left)?, self.value(right)?);
        if let (Value::Text(a), Value::Text(b)) = (&left, &right) {
            self.steps.spend_text(a.as_str().len().min(b.as_str().len()))?;
        }
        let ordering = operations::order(&left, &right).ok_or(EvalError::Type(order.sign()))?;
        Ok(match order {
            Order::Less => ordering.is_lt(),
            Order::LessEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterEqual => ordering.is_ge(),
        })
    }

    fn arithmetic(&mut self, operation: Arithmetic, sides: &'a [Node; 2]) -> Answer<'a> {
        let [left, right] = sides;
        let (left, right) = (self.value(left)?, self.value(right)?);
        operations::arithmetic(&mut self.steps, operation, &left, &right)
    }

    fn call(&mut self, function: Function, arguments: &'a [Node]) -> Answer<'a> {
        let mut values = arguments.iter();
        let first = match values.next() {
            Some(node) => self.value(node)?,
            None => return Err(EvalError::Type(function.sign())),
        };
        let second = match values.next() {
            Some(node) => Some(self.value(node)?),
            None => None,
        };
        operations::apply(&mut self.steps, function, first, second)
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Answer<'a> {
        let mut made: Vec<(Text<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Value::Text(key) = self.value(key)? else {
                return Err(EvalError::Type("a key of a map"));
            };
            if made.iter().any(|(there, _)| there.as_str() == key.as_str()) {
                return Err(EvalError::Repeated("a key of a map".into()));
            }
            let value = self.value(value)?;
            made.push((key, value));
        }
        Ok(Value::Map(Map::Shared(made.into())))
    }

    fn go_through(&mut self, of: &'a Loop) -> Answer<'a> {
        let (count, items) = match self.value(&of.range)? {
            Value::List(list) => (list.len(), Items::of_list(list)),
            Value::Map(map) => (map.len(), Items::keys_of(map)),
            _ => return Err(EvalError::Type("a macro over elements")),
        };
        if count > MAX_ELEMENTS {
            return Err(EvalError::TooLarge("the list or map of a macro"));
        }
        match of.kind {
            LoopKind::All => self.decided_by(of, items, false).map(Value::Bool),
            LoopKind::Exists => self.decided_by(of, items, true).map(Value::Bool),
            LoopKind::ExistsOne => {
                let mut found = 0_usize;
                for item in items {
                    self.bind(of, item)?;
                    found += usize::from(self.truth(&of.body)?);
                }
                Ok(Value::Bool(found == 1))
            }
            LoopKind::Collect => {
                let mut made = Vec::new();
                for item in items {
                    self.bind(of, item)?;
                    let taken = match &of.guard {
                        Some(guard) => self.truth(guard)?,
                        None => true,
                    };
                    if taken {
                        made.push(self.value(&of.body)?);
                    }
                }
                Ok(Value::List(List::Shared(made.into())))
            }
        }
    }

    /// `all` (decided by false) and `exists` (decided by true).
    fn decided_by(&mut self, of: &'a Loop, items: Items<'a>, decides: bool) -> Result<bool, EvalError> {
        let mut answer = Ok(!decides);
        for item in items {
            self.bind(of, item)?;
            match self.truth(&of.body) {
                Ok(truth) if truth == decides => return Ok(decides),
                Ok(_) => {}
                Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
                error => answer = error,
            }
        }
        answer
    }

    /// Gives the variable of a macro its next value.
    fn bind(&mut self, of: &Loop, item: Value<'a>) -> Result<(), EvalError> {
        self.steps.spend(1)?;
        match self.locals.get_mut(of.slot) {
            Some(local) => {
                *local = item;
                Ok(())
            }
            None => Err(EvalError::Type("a variable")),
        }
    }
}

/// That a member of the body or a parameter is not (also) there in another spelling.
pub(super) fn only_spelling(steps: &mut Steps, map: &Map<'_>, key: &Key) -> Result<(), EvalError> {
    if let Map::Claims(_) | Map::Shared(_) = map {
        return Ok(());
    }
    steps.spend(map.len() / KEYS_A_STEP)?;
    let is_other = |given: &str| spelling::is_other_of(given, &key.name);
    let other = match map {
        Map::Json(members) => members.keys().any(|given| is_other(given)),
        Map::Pairs(pairs) => pairs.iter().any(|(given, _)| is_other(given)),
        Map::Claims(_) | Map::Shared(_) => false,
    };
    match other {
        true => Err(EvalError::OtherSpelling((&key.path).into())),
        false => Ok(()),
    }
}
