//! The line that approves with plain kubectl.

use std::collections::BTreeSet;

use serde_json::json;
use turnpike_crds::ApprovalRequest;

/// The command, with a place for the reader's user name. Where groups are asked for, it names them; whoever is in
/// some of them only leaves out the others.
pub(super) fn line(request: &ApprovalRequest) -> String {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let asked = request.spec.requires.iter().filter_map(|r| r.approvers.as_ref());
    let groups: BTreeSet<&String> = asked.flat_map(|a| &a.groups).collect();
    let mut review = json!({"decision": "Approve", "digest": request.spec.digest});
    if !groups.is_empty() {
        review["groups"] = json!(groups);
    }
    review["reason"] = json!("WHY");
    let patch = json!({"status": {"reviews": {"YOUR-USER-NAME": review}}});
    format!(
        "kubectl patch apr {name} -n {namespace} --subresource=status --type=merge -p {}",
        quoted(&patch.to_string())
    )
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
