//! Conditions: the `when:` of a rule, an expression in [CEL](https://cel.dev) that is true or false for a call.
//!
//! The `cel` crate parses; the types, the bounds and the evaluation are ours, so that everything that can be
//! known to be wrong is said when a policy is compiled, an evaluation has a bound, and nothing of a request is
//! copied before it is read. [`Condition::compile`] is used wherever a policy is read, so what is admitted runs.
//!
//! # Names
//!
//! ```text
//! method                 string     the method's id, such as storage.objects.insert
//! api                    string     the API, such as storage
//! resource.name          string     what the call acts on; a call on two resources is asked about each
//! resource.project       string     id or number of its project, where the call tells it
//! resource.location      string     its location, region or zone
//! resource.type          string     its collection, such as functions; empty where there is none
//! resource.id            string     the last part of its name; absent for a call on the collection
//! request.verb           string     such as POST
//! request.host           string     such as storage.googleapis.com
//! request.query          map        parameters by name
//! request.headers        map        headers by name, in lower case
//! request.size           int        bytes of the body, where they are known
//! request.body           dyn        JSON
//! agent.namespace        string     of a ServiceAccount
//! agent.serviceAccount   string     its name
//! agent.claims           map        string claims of an OIDC token; empty for a ServiceAccount
//! agent.session          string     one run of the agent
//! now                    timestamp
//! risk                   int        0 to 100
//! ```
//!
//! What may be absent is asked for with `has()`: fields of `resource`, `request.size`, `request.body` and its
//! members, `agent.namespace`, `agent.serviceAccount` and claims, headers and parameters. Reading what is absent
//! is an error.
//!
//! A call that creates something, or acts on any (`-`), does not tell the whole name. Reading `resource.name` or
//! `resource.id` is an error then, and so is `has()` of them, with one exception:
//! `resource.name.startsWith("..")` has an answer wherever the known part decides.
//!
//! `request.verb`, `request.query` and `request.body` are those of REST: reading them is an error for calls by gRPC, by
//! the XML API of Cloud Storage, which have them elsewhere. The calls of a batch have those of their parts; where a part
//! is not known, reading them is an error, and so is reading `request.headers`. Methods that only gRPC has are read by the JSON form of their message.
//!
//! A header or a parameter that comes twice has no one value: reading it is an error. So is reading a member of
//! the body or a parameter that is there under the other spelling Google takes for it (`fooBar`, `foo_bar`), and
//! comparing a value of the body with one of another type, because `"5"` and `5` are the same to Google.
//!
//! # Operators, macros and functions
//!
//! ```text
//! && || ! ?:  == != < <= > >=  in  + - * / %  [] .
//! has(x.f)
//! list.all(v, ..)  list.exists(v, ..)  list.exists_one(v, ..)  list.filter(v, ..)
//! list.map(v, ..)  list.map(v, .., ..)                   a map is gone through by its keys
//! s.startsWith(t)  s.endsWith(t)  s.contains(t)
//! s.matches("..")  matches(s, "..")                      RE2 syntax; the pattern is a literal, found anywhere
//!                                                        unless ^ and $ hold it; \d, \s and \w are of ASCII
//! s.lowerAscii()  s.upperAscii()  s.trim()  s.split(t)
//! size(x)  x.size()                                      characters, elements or entries
//! int(x)  double(x)  string(x)  timestamp(x)  duration(x)
//! t.getFullYear()  t.getMonth()  t.getDate()  t.getDayOfMonth()  t.getDayOfWeek()  t.getDayOfYear()
//! t.getHours()  t.getMinutes()  t.getSeconds()  t.getMilliseconds()
//!                                                        in UTC, or of ("Europe/Berlin"), ("+02:00");
//!                                                        months, days of the week (Sunday) and of the year,
//!                                                        and getDayOfMonth() count from 0
//! d.getHours()  d.getMinutes()  d.getSeconds()  d.getMilliseconds()      the whole duration in that unit
//! ```
//!
//! # Bounds
//!
//! A text has 1,024 characters at most, its tree is 40 deep, and macros are nested twice. What it is estimated
//! to take and what it takes while it runs are bounded by 100,000 steps; a list that is gone through has 10,000
//! elements at most.
//!
//! # Errors
//!
//! An evaluation that fails tightens ([`EvalError`]). `&&`, `||`, `all` and `exists` have an answer in spite of
//! an error where the other parts decide it, as CEL says.

mod check;
mod environment;
mod equal;
mod error;
mod eval;
mod meant;
mod node;
mod operations;
mod parse;
mod pattern;
mod scene;
mod spelling;
mod time;
mod value;

use std::{fmt, sync::Arc};

use environment::Field;
pub use error::{ConditionError, EvalError, Part};
use node::Node;
use parse::Fault;
pub use scene::Scene;

/// Characters that an expression may have.
pub const MAX_CHARACTERS: usize = 1_024;
/// How deep macros over elements may be nested.
const MAX_NESTING: usize = 2;
/// Elements of one list or map that a macro goes through, or `in` searches.
const MAX_ELEMENTS: usize = 10_000;

/// A compiled condition. Cloning it copies a pointer.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    root: Node,
    reads: Reads,
}

/// What a condition reads that somebody must provide for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reads {
    /// `request.body`, or whether there is one.
    pub body: bool,
    /// `request.headers`
    pub headers: bool,
    /// `request.query`
    pub query: bool,
    /// `request.size`
    pub size: bool,
    /// `risk`
    pub risk: bool,
    /// `now`
    pub now: bool,
}

impl Reads {
    fn note(&mut self, field: Field) {
        match field {
            Field::RequestBody => self.body = true,
            Field::RequestHeaders => self.headers = true,
            Field::RequestQuery => self.query = true,
            Field::RequestSize => self.size = true,
            Field::Risk => self.risk = true,
            Field::Now => self.now = true,
            _ => {}
        }
    }

    /// What either reads.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            body: self.body || other.body,
            headers: self.headers || other.headers,
            query: self.query || other.query,
            size: self.size || other.size,
            risk: self.risk || other.risk,
            now: self.now || other.now,
        }
    }
}

impl Condition {
    /// Compiles an expression: its syntax, its types, its patterns and its cost.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line and column.
    pub fn compile(text: &str) -> Result<Self, ConditionError> {
        if let Some((at, _)) = text.char_indices().nth(MAX_CHARACTERS) {
            let count = text.chars().count();
            let message =
                format!("a condition has {MAX_CHARACTERS} characters at most, and this has {count}");
            return Err(Fault::new(at, message).in_text(text));
        }
        if text.trim().is_empty() {
            return Err(Fault::new(
                0,
                "the condition is empty: write an expression, or leave `when` out",
            )
            .in_text(text));
        }
        let (root, reads) = parse::with_tree(text, check::check)?;
        Ok(Self(Arc::new(Compiled {
            text: text.into(),
            root,
            reads,
        })))
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it reads.
    pub fn reads(&self) -> Reads {
        self.0.reads
    }

    /// Whether it is true of a scene.
    ///
    /// # Errors
    ///
    /// Why there is no answer. The caller tightens: an error counts as a match of a rule that denies or holds,
    /// and as no match of a rule that allows.
    pub fn holds(&self, scene: &Scene<'_>) -> Result<bool, EvalError> {
        eval::Evaluation::new(*scene).truth(&self.0.root)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text()).finish()
    }
}
