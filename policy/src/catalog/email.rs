//! The project behind a service account's address.

/// The project that owns a service account, where its address tells:
/// `x@PROJECT.iam.gserviceaccount.com`, `x@NAME.DOMAIN.iam.gserviceaccount.com` (project `DOMAIN:NAME`), and
/// `PROJECT@appspot.gserviceaccount.com`. Google's own agents and default accounts tell only a number, or
/// nothing: `None`. Domains are compared without case, and projects have no capital letters.
pub(super) fn project_of(address: &str) -> Option<String> {
    let address = address.to_ascii_lowercase();
    let (local, domain) = address.split_once('@')?;
    let project = match domain.strip_suffix(".iam.gserviceaccount.com") {
        Some(project) => project,
        None if domain == "appspot.gserviceaccount.com" => local,
        None => return None,
    };
    // Google's service agents live in projects of Google's own, `gcp-sa-...`; their addresses are as good as
    // any for telling which project they are in.
    match project.split_once('.') {
        Some((name, domain)) if !name.is_empty() && !domain.is_empty() => Some(format!("{domain}:{name}")),
        Some(_) => None,
        None => (!project.is_empty()).then(|| project.to_owned()),
    }
}
