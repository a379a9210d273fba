//! Which query parameters a method has, and what is said of one that it has not.
//!
//! Google's transcoding reads every parameter as a field of the request, those that discovery does not list too: one
//! that nobody knows could change what a rule looks at in the body. So a parameter is a system parameter, one of the
//! method's by discovery, one of [`UNDOCUMENTED`], or refused. Values are not judged here.

use super::{Unlisted, names::is_snake_of};
use crate::{
    canonical::{Target, is_system_parameter},
    similar::nearest,
};

/// Beyond this, a name is none that anyone has misspelled, and is cut off in a refusal.
const LONGEST_NAME: usize = 64;

/// Parameters that Google takes and discovery does not list. Methods are a whole id, the beginning of ids (with a dot
/// behind) or the end of ids (with a dot before).
///
/// Most are what the clients in `google-cloud-sdk` send, which are made from later or fuller documents; the ones of
/// BigQuery are the Python library's, those of Prometheus and FHIR are those standards' own.
const UNDOCUMENTED: &[(&str, &[&str])] = &[
    (".projects.locations.list", &["includeUnrevealedLocations"]),
    (
        "apigee.organizations.apiproducts.list",
        &["filter", "pageSize", "pageToken"],
    ),
    ("apigee.organizations.delete", &["hardDelete"]),
    (
        "apigee.organizations.developers.list",
        &["filter", "pageSize", "pageToken"],
    ),
    (
        "apigee.organizations.instances.create",
        &["environments", "runtimeVersion"],
    ),
    ("apigee.organizations.securityFeedback.list", &["filter"]),
    (
        "artifactregistry.projects.locations.repositories.dockerImages.list",
        &["filter"],
    ),
    ("bigquery.jobs.cancel", &["projection"]),
    ("bigquery.jobs.get", &["projection"]),
    (
        "cloudasset.analyzeIamPolicy",
        &["analysisQuery.options.includeDenyPolicyAnalysis"],
    ),
    ("compute.advice.capacity", &["size"]),
    ("dataproc.projects.locations.sessions.list", &["orderBy"]),
    ("discovery.apis.list", &["label"]),
    (
        "gkehub.projects.locations.memberships.generateConnectManifest",
        &["cpuRequest", "memLimit", "memRequest"],
    ),
    (
        "gkeonprem.projects.locations.vmwareClusters.patch",
        &["allowMissing"],
    ),
    (
        "gkeonprem.projects.locations.vmwareClusters.vmwareNodePools.patch",
        &["allowMissing"],
    ),
    (
        "healthcare.projects.locations.datasets.fhirStores.fhir.",
        &["_elements", "_format", "_pretty", "_summary"],
    ),
    (
        "iam.projects.locations.oauthClients.credentials.delete",
        &["validateOnly"],
    ),
    ("iam.projects.locations.oauthClients.delete", &["validateOnly"]),
    ("monitoring.projects.location.prometheus.api.v1.", &["match[]"]),
    ("run.namespaces.jobs.delete", &["force"]),
    (
        "servicemanagement.services.get",
        &["consumerProjectId", "expand", "view"],
    ),
    (
        "servicemanagement.services.list",
        &["category", "consumerProjectId"],
    ),
    ("servicemanagement.services.rollouts.create", &["force"]),
    (
        "sql.instances.delete",
        &[
            "retainBackups",
            "retainBackupsExpiryTime",
            "retainBackupsTtlDays",
            "skipFinalBackup",
        ],
    ),
    ("sql.instances.patch", &["enforcePsaWriteEndpoint"]),
    ("sql.instances.update", &["enforcePsaWriteEndpoint"]),
    ("sql.operations.list", &["filter"]),
    (
        "vmwareengine.projects.locations.privateClouds.loggingServers.delete",
        &["etag"],
    ),
    (
        "vmwareengine.projects.locations.privateClouds.subnets.list",
        &["filter", "orderBy"],
    ),
];

/// Methods whose parameters are words of their users' data, which no document can list: searches by FHIR and DICOMweb.
/// Ids begin so.
const SEARCHES: &[&str] = &[
    "healthcare.projects.locations.datasets.dicomStores.searchFor",
    "healthcare.projects.locations.datasets.dicomStores.studies.searchFor",
    "healthcare.projects.locations.datasets.dicomStores.studies.series.searchFor",
    "healthcare.projects.locations.datasets.fhirStores.fhir.Observation-lastn",
    "healthcare.projects.locations.datasets.fhirStores.fhir.conditional",
    "healthcare.projects.locations.datasets.fhirStores.fhir.search",
];

/// The distinct sets of parameters, and the distinct names that they are made of.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    names: Vec<&'static str>,
    /// All sets, one behind the other: numbers of names.
    members: Vec<u16>,
    /// Where each set begins; the last one ends at the end.
    starts: Vec<u32>,
}

impl Parameters {
    /// Adds a name; its number is how many were there before.
    pub(super) fn add_name(&mut self, name: &'static str) {
        self.names.push(name);
    }

    /// Adds a set of numbers of names. `None` where one is no name's.
    pub(super) fn add_set(&mut self, members: impl Iterator<Item = &'static str>) -> Option<()> {
        self.starts.push(u32::try_from(self.members.len()).ok()?);
        for member in members {
            let member: u16 = member.parse().ok()?;
            self.names.get(usize::from(member))?;
            self.members.push(member);
        }
        Some(())
    }

    /// Whether there is a set of this number.
    pub(super) fn has_set(&self, set: u16) -> bool {
        usize::from(set) < self.starts.len()
    }

    /// The names of a set, as discovery spells them.
    pub(super) fn of(&self, set: u16) -> impl Iterator<Item = &'static str> {
        let at = |set: usize| self.starts.get(set).map(|start| *start as usize);
        let set = usize::from(set);
        let end = at(set + 1).unwrap_or(self.members.len());
        let members = at(set).and_then(|start| self.members.get(start..end));
        let names = members.into_iter().flatten();
        names.filter_map(|number| self.names.get(usize::from(*number)).copied())
    }

    /// Bytes of memory, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        self.names.capacity() * size_of::<&str>() + self.members.capacity() * 2 + self.starts.capacity() * 4
    }

    /// Refuses a parameter that a method does not have; `sets` are those that it may be of. `session` is the URL of an upload's session, which Google has
    /// made up and only the gateway knows.
    pub(super) fn check(
        &self,
        target: &Target,
        method: &'static str,
        sets: &[u16],
        session: bool,
    ) -> Result<(), Unlisted> {
        if session {
            return Ok(());
        }
        let own = || sets.iter().flat_map(|set| self.of(*set));
        for (given, _) in target.query_pairs() {
            let known = is_system_parameter(&given)
                || own().any(|name| is_spelling_of(name, &given))
                || undocumented(method).any(|name| is_spelling_of(name, &given))
                || SEARCHES.iter().any(|search| method.starts_with(search));
            if !known {
                let parameter: String = given.chars().take(LONGEST_NAME).collect();
                let meant = match given.len() <= LONGEST_NAME {
                    true => nearest(&parameter, own().chain(undocumented(method))),
                    false => None,
                };
                return Err(Unlisted::UnknownParameter {
                    method,
                    hint: Hint(meant.map(str::to_owned)),
                    parameter,
                });
            }
        }
        Ok(())
    }
}

/// The name that was probably meant, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(Option<String>);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => f.write_str("; leave it out, or send it in the body where the method takes it there."),
        }
    }
}

fn undocumented(method: &str) -> impl Iterator<Item = &'static str> {
    let fits = move |pattern: &str| match (pattern.strip_suffix('.'), pattern.strip_prefix('.')) {
        (Some(_), _) => method.starts_with(pattern),
        (None, Some(_)) => method.ends_with(pattern),
        (None, None) => method == pattern,
    };
    let rows = UNDOCUMENTED.iter().filter(move |(pattern, _)| fits(pattern));
    rows.flat_map(|(_, names)| names.iter().copied())
}

/// Whether a parameter is called so: as discovery has it or, as Google takes both, in the other case of `snake_case`
/// and `camelCase`, each part of `a.b.c` for itself.
fn is_spelling_of(name: &str, given: &str) -> bool {
    if name == given {
        return true;
    }
    let (mut names, mut givens) = (name.split('.'), given.split('.'));
    loop {
        match (names.next(), givens.next()) {
            (None, None) => return true,
            (Some(name), Some(given)) => {
                if name != given && !is_snake_of(name, given) && !is_snake_of(given, name) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let fits = [
            ("pageSize", "pageSize"),
            ("pageSize", "page_size"),
            ("page_size", "pageSize"),
            (
                "options.requestedPolicyVersion",
                "options.requested_policy_version",
            ),
            (
                "formatOptions.useInt64Timestamp",
                "format_options.useInt64Timestamp",
            ),
            ("start-index", "start-index"),
        ];
        let other = [
            ("pageSize", "PageSize"),
            ("pageSize", "pagesize"),
            ("pageSize", "page__size"),
            ("pageSize", "_page_size"),
            ("pageSize", "page_Size"),
            ("pageSize", "page_size_"),
            ("pageSize", "pageSize.value"),
            ("pageSize", "pageSize."),
            ("pageSize", ".pageSize"),
            ("pageSize", " pageSize"),
            ("pageSize", "pageSize[]"),
            ("pageSize", ""),
            ("options.requestedPolicyVersion", "options"),
            ("options.requestedPolicyVersion", "options_requestedPolicyVersion"),
            ("options.requestedPolicyVersion", "requestedPolicyVersion"),
        ];
        assert_eq!(fits.map(|(name, given)| is_spelling_of(name, given)), [true; 6]);
        assert_eq!(
            other.map(|(name, given)| is_spelling_of(name, given)),
            [false; 15]
        );
    }

    #[test]
    fn what_discovery_does_not_list_is_of_its_methods_only() {
        let of = |method| undocumented(method).collect::<Vec<_>>();
        assert_eq!(of("bigquery.jobs.get"), ["projection"]);
        assert_eq!(of("bigquery.jobs.getQueryResults"), [""; 0]);
        assert_eq!(of("ids.projects.locations.list"), ["includeUnrevealedLocations"]);
        assert_eq!(
            of("monitoring.projects.location.prometheus.api.v1.labels"),
            ["match[]"]
        );
    }
}
