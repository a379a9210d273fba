//! Traits: what is known of a method from its verb, its name and what it answers.
//!
//! Where a name leaves it open, a method changes: only names on the tables here read with a POST. Methods that
//! run statements (`bigquery.jobs.query`, `executeSql`) change, because a statement may.

use turnpike_policy::call::Traits;

use super::{
    document::{Document, Method},
    recipe::is_iam_policy,
    secrets,
};

/// First words of method names that only read, although they are sent with POST: requests too long for a URL.
const READING_WORDS: &[&str] = &[
    "get",
    "list",
    "search",
    "lookup",
    "find",
    "count",
    "read",
    "query",
    "aggregated",
    "retrieve",
    "analyze",
];

/// Names that only read, whole.
const READING_NAMES: &[&str] = &[
    "testIamPermissions",
    "testPermissions",
    "batchGet",
    "batchGetAssetsHistory",
    "batchGetEffectiveIamPolicies",
    "batchLookup",
    "batchRead",
    "batchReport",
    "runQuery",
    "runAggregationQuery",
    "partitionQuery",
    "runReport",
    "runPivotReport",
    "runRealtimeReport",
    "batchRunReports",
    "batchRunPivotReports",
    "partitionRead",
    "fetchStaticIps",
    "lookupEntry",
    "troubleshoot",
    "validate",
    "wait",
    "executeGraphqlRead",
];

/// Methods that the words above would take for reading, and that may change something.
const CHANGING: &[&str] = &[
    // Any SQL, also statements that write.
    "bigquery.jobs.query",
    // Adds to a conversation.
    "analyzeContent",
    // Sends a mail.
    "getOobConfirmationCode",
];

/// Words in method names that take something away.
const DESTROYING_WORDS: &[&str] = &[
    "abandon",
    "clear",
    "delete",
    "destroy",
    "drop",
    "erase",
    "expunge",
    "purge",
    "remove",
    "reset",
    "terminate",
    "truncate",
    "uninstall",
    "wipe",
];

/// APIs that are about who may do what.
const IAM_APIS: &[&str] = &[
    "accesscontextmanager",
    "iam",
    "iamcredentials",
    "orgpolicy",
    "policysimulator",
    "policytroubleshooter",
    "privilegedaccessmanager",
    "sts",
];

/// Collections that are access control lists, or credentials.
const IAM_COLLECTIONS: &[&str] = &[
    "acl",
    "bucketAccessControls",
    "defaultObjectAccessControls",
    "hmacKeys",
    "objectAccessControls",
    "permissions",
    "projectAccessControls",
    "rowAccessPolicies",
];

/// The traits of a method.
pub(super) fn traits(document: &Document, method: &Method) -> Traits {
    let mut traits = if reads(method) {
        Traits::READ
    } else {
        Traits::CHANGE
    };
    if method.http_method == "DELETE" || (!reads(method) && destroys(method)) {
        traits |= Traits::DESTRUCTIVE;
    }
    let about_access = is_iam_policy(method)
        || method.verb().ends_with("OrgPolicy")
        || IAM_APIS.contains(&document.name.as_str())
        || IAM_COLLECTIONS.contains(&method.collection());
    if about_access {
        traits |= Traits::IAM;
    }
    if secrets::returns_credentials(document, method) {
        traits |= Traits::RETURNS_CREDENTIALS;
    }
    traits
}

fn reads(method: &Method) -> bool {
    if method.http_method == "GET" {
        return true;
    }
    if method.http_method != "POST"
        || CHANGING.contains(&method.id.as_str())
        || CHANGING.contains(&method.verb())
    {
        return false;
    }
    let first = words(method.verb()).into_iter().next().unwrap_or_default();
    READING_NAMES.contains(&method.verb()) || READING_WORDS.contains(&first.as_str())
}

/// Whether the name says that something goes: `cancelWipe` and `setDiskAutoDelete` do not.
fn destroys(method: &Method) -> bool {
    let words = words(method.verb());
    let harmless = words
        .first()
        .is_some_and(|first| matches!(first.as_str(), "cancel" | "set"));
    !harmless && words.iter().any(|word| DESTROYING_WORDS.contains(&word.as_str()))
}

/// The words of a name in camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() || words.is_empty() || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}
