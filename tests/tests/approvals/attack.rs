//! One attack on an approval request: who tries what, on a request in which state, and what has to stop it.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::bench::{AGENTS, Bench, State};

/// What is tried. Each but the last four writes the status.
#[derive(Clone)]
pub enum Way {
    /// `kubectl patch --subresource=status --type=merge`.
    Merge(Value),
    /// `kubectl patch --subresource=status --type=json`.
    Json(Value),
    /// `kubectl apply --server-side --subresource=status`, of this status.
    Apply(Value),
    /// A PUT of the whole object with this status merged into its own.
    Put(Value),
    /// `kubectl patch --type=merge` of the object, not of its status.
    Object(Value),
    /// A POST of a request that is a copy, with this merged into it.
    Create(Value),
    /// `kubectl delete`.
    Delete,
    /// A DELETE of the collection, with a selector that fits.
    DeleteCollection,
}

/// What stops an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The admission policy, with this in its message. Without it the attack gets through.
    Guard(&'static str),
    /// The schema or the authorizer, with this in their message.
    Server(&'static str),
    /// Nothing: it is taken, and changes nothing.
    Ignored,
}

pub struct Attack {
    /// Name of the case and of its request.
    pub name: &'static str,
    pub who: &'static str,
    /// Whom it is tried as, by `--as`.
    pub impersonating: Option<&'static str>,
    /// Whose call the request is of.
    pub agent: &'static str,
    pub on: State,
    pub way: Way,
    pub stop: Stop,
}

impl Attack {
    pub fn new(name: &'static str, who: &'static str, on: State, way: Way, stop: Stop) -> Self {
        Self {
            name,
            who,
            impersonating: None,
            agent: "agents/coder",
            on,
            way,
            stop,
        }
    }

    pub fn impersonating(self, whom: &'static str) -> Self {
        Self {
            impersonating: Some(whom),
            ..self
        }
    }

    pub fn agent(self, agent: &'static str) -> Self {
        Self { agent, ..self }
    }

    /// Tries it on a new request, and says what is wrong: with the guard, each has to be stopped by what is
    /// meant to stop it, and to change nothing; without, what the guard stops has to get through.
    pub async fn run(&self, bench: &Bench, guarded: bool) -> Result<()> {
        let case = format!("{}-{}", self.name, if guarded { "guarded" } else { "open" });
        bench.prepare(&case, self.agent, self.on).await?;
        let before = bench.look(&case).await?;
        let refusal = self.attempt(bench, &case).await?;
        let after = bench.look(&case).await?;
        let stop = match self.stop {
            Stop::Guard(_) if !guarded => {
                ensure!(refusal.is_none(), "refused without the guard: {refusal:?}");
                ensure!(before != after, "without the guard, it changes nothing");
                return Ok(());
            }
            stop => stop,
        };
        ensure!(
            before == after,
            "GOT THROUGH: {refusal:?}\nbefore: {}\nafter: {}",
            serde_json::to_string(&before)?,
            serde_json::to_string(&after)?
        );
        let by_policy = "ValidatingAdmissionPolicy 'turnpike-approvals' with binding 'turnpike-approvals' denied request: ";
        let stopped = match (stop, &refusal) {
            (Stop::Guard(words), Some(told)) => told.contains(&format!("{by_policy}{words}")),
            (Stop::Server(words), Some(told)) => told.contains(words) && !told.contains(by_policy),
            (Stop::Ignored, None) => true,
            _ => false,
        };
        ensure!(stopped, "stopped by something else than {stop:?}: {refusal:?}");
        Ok(())
    }

    /// What the API server says against it; nothing where it takes it.
    async fn attempt(&self, bench: &Bench, name: &str) -> Result<Option<String>> {
        let status = "--subresource=status";
        let (args, stdin) = match &self.way {
            Way::Merge(patch) => (
                vec![
                    "patch".into(),
                    "apr".into(),
                    name.into(),
                    status.into(),
                    "--type=merge".into(),
                    "-p".into(),
                    patch.to_string(),
                ],
                None,
            ),
            Way::Json(patch) => (
                vec![
                    "patch".into(),
                    "apr".into(),
                    name.into(),
                    status.into(),
                    "--type=json".into(),
                    "-p".into(),
                    patch.to_string(),
                ],
                None,
            ),
            Way::Object(patch) => (
                vec![
                    "patch".into(),
                    "apr".into(),
                    name.into(),
                    "--type=merge".into(),
                    "-p".into(),
                    patch.to_string(),
                ],
                None,
            ),
            Way::Apply(wanted) => {
                let object = json!({
                    "apiVersion": "turnpike.dev/v1alpha1",
                    "kind": "ApprovalRequest",
                    "metadata": {"name": name, "namespace": AGENTS},
                    "status": wanted,
                });
                let apply = ["apply", "--server-side", "--force-conflicts", status, "-f", "-"];
                (apply.map(str::to_owned).to_vec(), Some(object.to_string()))
            }
            Way::Delete => (
                vec!["delete".into(), "apr".into(), name.into(), "--wait=false".into()],
                None,
            ),
            Way::Put(wanted) => {
                let mut object = bench.get(name).await?;
                merge(&mut object["status"], wanted);
                return refusal(bench.put_status(self.who, name, &object).await);
            }
            Way::Create(wanted) => {
                let mut object = crate::bench::request(name, self.agent);
                merge(&mut object, wanted);
                return refusal(bench.send(self.who, &Method::POST, "", &object).await);
            }
            Way::DeleteCollection => {
                let path = format!("?labelSelector=case%3D{name}");
                return refusal(bench.send(self.who, &Method::DELETE, &path, &Value::Null).await);
            }
        };
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        if let Some(whom) = self.impersonating {
            args.extend(["--as", whom]);
        }
        let output = bench.kubectl(self.who, &args, stdin.as_deref()).await?;
        Ok((!output.status.success()).then_some(output.stderr))
    }
}

fn refusal(answer: Result<Value>) -> Result<Option<String>> {
    match answer {
        Ok(_) => Ok(None),
        Err(error) => match error.downcast::<kube::Error>()? {
            kube::Error::Api(status) => Ok(Some(status.message)),
            other => Err(other.into()),
        },
    }
}

/// A JSON merge patch (RFC 7396).
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in fields {
        match (value, object.as_object_mut()) {
            (Value::Null, Some(object)) => drop(object.remove(name)),
            (value, _) => merge(&mut object[name], value),
        }
    }
}
