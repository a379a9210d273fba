//! Tables of calls and how they must be decided, as a person writes them in YAML.
//!
//! ```yaml
//! defaults: {as: agents/coder}
//! must_allow:
//!   - call: GET https://storage.googleapis.com/storage/v1/b/acme-dev-data/o/report.csv
//! must_hold:
//!   - name: a deploy
//!     call: POST https://cloudfunctions.googleapis.com/v2/projects/acme/locations/us-central1/functions
//!     body: {name: billing}
//!     rule: deploy
//! must_deny:
//!   - as: {iss: https://ci.example, sub: repo/acme, claims: {ref: main}}
//!     grpc: google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion
//!     message: {1: projects/acme/secrets/db/versions/1}
//!     reason: RULE_DENIED
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;
use turnpike_compiler::load::{self, Problem};
use turnpike_policy::{definition::Effect, risk::Pace};

use crate::offline::{Agent, Circumstances, Message, Request, Road, Search};

/// A call of a table, and what must become of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) must: Effect,
    pub(super) name: String,
    pub(super) request: Request,
    pub(super) circumstances: Circumstances,
    pub(super) expected: Expected,
}

/// What must be true of the decision besides its effect.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The rule that decides.
    pub(super) rule: Option<String>,
    /// The code.
    pub(super) reason: Option<String>,
    /// The method that the request is taken for.
    pub(super) method: Option<String>,
}

/// Reads a table; files that it names are relative to its own folder.
///
/// # Errors
/// What is wrong with it, with its position: with the text the first thing, with rows everything.
pub(super) fn read(text: &str, folder: &Path) -> Result<Vec<Row>, Vec<Problem>> {
    let table: Table = load::typed(text).map_err(|problem| vec![problem])?;
    let lists = [
        (Effect::Allow, table.must_allow),
        (Effect::Deny, table.must_deny),
        (Effect::RequireApproval, table.must_hold),
    ];
    if lists.iter().all(|(_, list)| list.is_empty()) {
        return Err(vec![Problem {
            line: 1,
            column: 1,
            path: None,
            message: "the table holds no call: list some under must_allow, must_hold or must_deny".to_owned(),
        }]);
    }
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (must, list) in lists {
        for entry in list {
            let (line, column) = (entry.referenced.line(), entry.referenced.column());
            match entry.value.row(must, (line, column), &table.defaults, folder) {
                Ok(row) => rows.push(row),
                Err(message) => wrong.push(Problem {
                    line,
                    column,
                    path: None,
                    message,
                }),
            }
        }
    }
    rows.sort_by_key(|row| (row.line, row.column));
    wrong.sort_by_key(|problem| (problem.line, problem.column));
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    must_allow: Vec<Spanned<Entry>>,
    #[serde(default)]
    must_deny: Vec<Spanned<Entry>>,
    #[serde(default)]
    must_hold: Vec<Spanned<Entry>>,
}

/// What holds for all rows that do not say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(rename = "as")]
    agent: Option<Agent>,
    at: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    #[serde(rename = "as")]
    agent: Option<Agent>,
    /// `VERB URL`
    call: Option<String>,
    /// `[HOST/]package.Service/Method`
    grpc: Option<String>,
    #[serde(default)]
    message: Message,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    body_file: Option<PathBuf>,
    at: Option<String>,
    /// What a search for secrets finds, in the place of what it does find.
    secrets: Option<Vec<String>>,
    #[serde(default)]
    unscannable: bool,
    #[serde(default)]
    pace: EntryPace,
    rule: Option<String>,
    reason: Option<String>,
    method: Option<String>,
}

/// What the agent did before.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryPace {
    #[serde(default)]
    first_use: bool,
    #[serde(default)]
    last_minute: u32,
    #[serde(default)]
    last_hour: u32,
}

/// When calls are made that say no time, so that a table means the same every day: a Tuesday at noon.
const NOON: &str = "2026-01-06T12:00:00Z";

impl Entry {
    fn row(
        self,
        must: Effect,
        (line, column): (u64, u64),
        defaults: &Defaults,
        folder: &Path,
    ) -> Result<Row, String> {
        let agent = self
            .agent
            .as_ref()
            .or(defaults.agent.as_ref())
            .ok_or("say whose call it is, as: NAMESPACE/NAME")?;
        let (road, call) = road(self.call, self.grpc, self.message)?;
        let at = self.at.as_deref().or(defaults.at.as_deref()).unwrap_or(NOON);
        let now: Timestamp = at
            .parse()
            .map_err(|e| format!("at: {at:?} is no time such as {NOON}: {e}"))?;
        let caller = agent.caller();
        let headers = defaults.headers.clone().into_iter().chain(self.headers);
        let headers: BTreeMap<String, String> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let search = match (self.secrets, self.unscannable) {
            (None, false) => Search::Really,
            (kinds, unscannable) => Search::Pretended {
                kinds: kinds.unwrap_or_default(),
                unscannable,
            },
        };
        Ok(Row {
            line,
            column,
            must,
            name: self.name.unwrap_or_else(|| format!("{} {call}", caller.name())),
            request: Request {
                road,
                headers: headers.into_iter().collect(),
                body: body(self.body, self.body_file, folder)?,
                search,
            },
            circumstances: Circumstances {
                caller,
                now,
                pace: Pace {
                    first_use: self.pace.first_use,
                    last_minute: self.pace.last_minute,
                    last_hour: self.pace.last_hour,
                },
            },
            expected: Expected {
                rule: self.rule,
                reason: self.reason,
                method: self.method,
            },
        })
    }
}

/// How a call travels, and how it reads.
fn road(call: Option<String>, grpc: Option<String>, message: Message) -> Result<(Road, String), String> {
    match (call, grpc) {
        (Some(call), None) => {
            let (verb, url) = call
                .split_once(char::is_whitespace)
                .ok_or_else(|| format!("call: {call:?} is no VERB URL, such as GET https://..."))?;
            let road = Road::Rest {
                verb: verb.to_owned(),
                url: url.trim().to_owned(),
            };
            Ok((road, call))
        }
        (None, Some(path)) => {
            let parts = path.trim_start_matches('/').split('/').count();
            let (host, method) = match path.split_once('/') {
                Some((host, method)) if parts == 3 => (Some(host.to_owned()), method.to_owned()),
                _ if parts == 2 => (None, path.clone()),
                _ => return Err(format!("grpc: {path:?} is no [HOST/]package.Service/Method")),
            };
            let road = Road::Grpc {
                host,
                path: method,
                message,
            };
            Ok((road, path))
        }
        _ => Err("say the call, as call: VERB URL or grpc: package.Service/Method, one of them".to_owned()),
    }
}

fn body(inline: Option<Value>, file: Option<PathBuf>, folder: &Path) -> Result<Option<Vec<u8>>, String> {
    match (inline, file) {
        (Some(_), Some(_)) => Err("give body or body_file, not both".to_owned()),
        (Some(Value::String(text)), None) => Ok(Some(text.into_bytes())),
        (Some(value), None) => Ok(Some(value.to_string().into_bytes())),
        (None, Some(file)) => {
            let path = folder.join(file);
            let bytes = fs::read(&path);
            bytes
                .map(Some)
                .map_err(|e| format!("body_file: {} cannot be read: {e}", path.display()))
        }
        (None, None) => Ok(None),
    }
}
