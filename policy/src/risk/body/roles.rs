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
pub(super) const ESCALATING: Names = Names {
    patterns: &["roles/resourcemanager.*Admin"],
    whole: &[
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
    ],
};

/// Permissions of custom roles that do the same. `*` stands for letters and dots.
pub(super) const PERMISSIONS: Names = Names {
    patterns: &["*.setIamPolicy"],
    whole: &[
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
    ],
};

/// A list of names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// With one `*` each.
    patterns: &'static [&'static str],
    whole: &'static [&'static str],
}

impl Names {
    /// All of them, as they are written.
    pub(super) fn all(self) -> impl Iterator<Item = &'static str> {
        self.patterns.iter().chain(self.whole).copied()
    }

    /// The one that a name is, or fits, whatever its case.
    pub(super) fn of(self, name: &str) -> Option<&'static str> {
        let whole = self.whole.iter().find(|whole| whole.eq_ignore_ascii_case(name));
        whole
            .or_else(|| self.patterns.iter().find(|pattern| fits(pattern, name)))
            .copied()
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else {
        return false;
    };
    let name = name.as_bytes();
    name.len() >= start.len() + end.len()
        && name[..start.len()].eq_ignore_ascii_case(start.as_bytes())
        && name[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}
