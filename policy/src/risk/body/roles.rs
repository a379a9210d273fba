//! Principals, roles and permissions that are worth more than they look.

/// Everybody, as the APIs name them. The last two are of deny policies and of newer allow policies.
pub(super) const EVERYBODY: &[&str] = &[
    "allUsers",
    "allAuthenticatedUsers",
    "principalSet://goog/public:all",
    "principalSet://goog/public:allAuthenticatedUsers",
];

/// Basic roles that change everything in a project, a folder or an organization.
pub(super) const BASIC: &[&str] = &["roles/owner", "roles/editor", "roles/admin", "roles/writer"];

/// Predefined roles whose holders can get more than the role says: by acting as service accounts, making their keys
/// or tokens, changing policies and roles, or changing the boundaries that hold them back. `*` stands for letters.
pub(super) const ESCALATING: &[&str] = &[
    "roles/iam.serviceAccountTokenCreator",
    "roles/iam.serviceAccountOpenIdTokenCreator",
    "roles/iam.serviceAccountUser",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/iam.serviceAccountCreator",
    "roles/iam.workloadIdentityUser",
    "roles/iam.workloadIdentityPoolAdmin",
    "roles/iam.workforcePoolAdmin",
    "roles/iam.securityAdmin",
    "roles/iam.roleAdmin",
    "roles/iam.organizationRoleAdmin",
    "roles/iam.denyAdmin",
    "roles/iam.admin",
    "roles/resourcemanager.*Admin",
    "roles/resourcemanager.projectMover",
    "roles/orgpolicy.policyAdmin",
    "roles/accesscontextmanager.policyAdmin",
    "roles/privilegedaccessmanager.admin",
    "roles/billing.admin",
    "roles/cloudbuild.builds.editor",
    "roles/deploymentmanager.editor",
    "roles/config.admin",
    "roles/compute.admin",
    "roles/compute.instanceAdmin",
    "roles/compute.instanceAdmin.v1",
    "roles/compute.osAdminLogin",
    "roles/cloudfunctions.admin",
    "roles/cloudfunctions.developer",
    "roles/run.admin",
    "roles/container.admin",
    "roles/composer.admin",
    "roles/dataflow.admin",
    "roles/dataproc.admin",
    "roles/secretmanager.admin",
    "roles/storage.admin",
    "roles/cloudkms.admin",
    "roles/logging.admin",
];

/// Permissions of custom roles that do the same. `*` stands for letters and dots.
pub(super) const PERMISSIONS: &[&str] = &[
    "*.setIamPolicy",
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.getAccessToken",
    "iam.serviceAccounts.getOpenIdToken",
    "iam.serviceAccounts.implicitDelegation",
    "iam.serviceAccounts.signBlob",
    "iam.serviceAccounts.signJwt",
    "iam.serviceAccountKeys.create",
    "iam.roles.create",
    "iam.roles.update",
    "iam.denypolicies.update",
    "iam.denypolicies.delete",
    "orgpolicy.policy.set",
    "deploymentmanager.deployments.create",
    "cloudbuild.builds.create",
];

/// Whether a name fits a pattern with at most one `*`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let eq = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    match pattern.split_once('*') {
        None => eq(pattern.as_bytes(), name.as_bytes()),
        Some((start, end)) => {
            let name = name.as_bytes();
            name.len() >= start.len() + end.len()
                && eq(&name[..start.len()], start.as_bytes())
                && eq(&name[name.len() - end.len()..], end.as_bytes())
        }
    }
}
