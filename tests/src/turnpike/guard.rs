//! The chart's admission policy on approval requests, as Helm would install it.
//!
//! It takes a second or two until an API server heeds a policy that is new, and as long until it forgets one.

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::cluster::{SOON, render};
use crate::control_plane::ControlPlane;
use crate::process::eventually;

/// A part of what the API server says to somebody who is no proxy and makes a request.
const REFUSAL: &str = "a proxy alone makes approval requests";
/// The name of policy and binding.
const NAME: &str = "turnpike-approvals";

/// Installs the policy for a release in the namespace `own`, and waits until the API server heeds it.
///
/// # Errors
/// The API server refuses it, or does not heed it.
pub async fn install(plane: &ControlPlane, own: &str) -> Result<()> {
    let manifest = render("approval-guard.yaml", own)?;
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    plane.admin().kubectl(&apply, Some(&manifest)).await?.success()?;
    eventually(SOON, || async {
        match heeded(plane).await? {
            true => Ok(()),
            false => bail!("the API server does not heed the admission policy"),
        }
    })
    .await
}

/// Takes the binding away, and waits until the API server heeds the policy no more.
///
/// # Errors
/// The API server refuses, or goes on heeding it.
pub async fn remove(plane: &ControlPlane) -> Result<()> {
    let delete = ["delete", "validatingadmissionpolicybinding", NAME];
    plane.admin().kubectl(&delete, None).await?.success()?;
    eventually(SOON, || async {
        ensure!(
            !heeded(plane).await?,
            "the API server still heeds the admission policy"
        );
        Ok(())
    })
    .await
}

async fn heeded(plane: &ControlPlane) -> Result<bool> {
    let request = json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"generateName": "forged-", "namespace": "default"},
        "spec": {
            "agent": {"name": "default/nobody"},
            "call": {"method": "m", "resources": [], "verb": "GET", "url": "u", "bodyBytes": 0},
            "policies": [{"namespace": "default", "name": "none", "uid": "1", "generation": 1, "rule": "none"}],
            "digest": format!("sha256:{}", "0".repeat(64)),
            "expiresAt": "2020-01-01T00:00:00Z",
        },
    });
    let create = ["create", "--dry-run=server", "-f", "-"];
    let output = plane.admin().kubectl(&create, Some(&request.to_string())).await?;
    match output.status.success() {
        true => Ok(false),
        false if output.stderr.contains(REFUSAL) => Ok(true),
        false => bail!("{}", output.stderr),
    }
}
