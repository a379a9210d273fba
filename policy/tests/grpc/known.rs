//! Methods that agents use, and what they are decided as.

use turnpike_policy::{call::Transport, canonical::Target};

use super::{
    catalog, classify,
    message::{text, texts},
    method, said,
};

const SECRETS: &str = "google.cloud.secretmanager.v1.SecretManagerService";
const STORAGE: &str = "google.storage.v2.Storage";
const VERSION: &str = "projects/acme/secrets/db/versions/latest";

#[test]
fn a_secret_by_grpc_is_the_call_that_its_url_makes() {
    let found = classify(
        "secretmanager",
        &format!("{SECRETS}/AccessSecretVersion"),
        &text(&[1], VERSION),
    );
    let target = Target::new(
        "GET",
        "secretmanager.googleapis.com",
        &format!("/v1/{VERSION}:access"),
    );
    let mut rest = catalog().classify(&target.expect("a target")).expect("a call");
    assert_eq!(rest.call.method, "secretmanager.projects.secrets.versions.access");
    rest.call.transport = Transport::Grpc;
    assert_eq!(found, Ok(rest));
}

/// Host, RPC, fields, and what it is.
type Case<'a> = (&'a str, &'a str, &'a [(&'a [u32], &'a str)], &'a str);

fn check(cases: &[Case<'_>]) {
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|(host, path, fields, expected)| {
            let actual = said(&classify(host, path, &texts(fields)));
            (actual != *expected).then(|| format!("{host} {path}\n- {expected}\n+ {actual}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn calls_of_agents() {
    let bucket = "projects/_/buckets/b";
    check(&[
        (
            "secretmanager",
            "google.cloud.secretmanager.v1.SecretManagerService/CreateSecret",
            &[(&[1], "projects/acme"), (&[2], "db")],
            "secretmanager.projects.secrets.create projects/acme/secrets/db",
        ),
        // A version that discovery does not list is the same method.
        (
            "secretmanager",
            "google.cloud.secrets.v1beta1.SecretManagerService/AccessSecretVersion",
            &[(&[1], VERSION)],
            "secretmanager.projects.secrets.versions.access projects/acme/secrets/db/versions/latest",
        ),
        (
            "secretmanager",
            "$rpc/google.cloud.secretmanager.v1.SecretManagerService/GetSecret",
            &[(&[1], "projects/acme/secrets/db")],
            "secretmanager.projects.secrets.get projects/acme/secrets/db",
        ),
        (
            "pubsub",
            "google.pubsub.v1.Publisher/Publish",
            &[(&[1], "projects/acme/topics/t")],
            "pubsub.projects.topics.publish projects/acme/topics/t",
        ),
        (
            "pubsub",
            "google.pubsub.v1.Subscriber/StreamingPull",
            &[(&[1], "projects/acme/subscriptions/s")],
            "pubsub.projects.subscriptions.pull projects/acme/subscriptions/s",
        ),
        (
            "storage",
            "google.storage.v2.Storage/ReadObject",
            &[(&[1], bucket), (&[2], "q1/sales.csv")],
            "storage.objects.get projects/_/buckets/b/objects/q1/sales.csv",
        ),
        (
            "storage",
            "google.storage.v2.Storage/WriteObject",
            &[(&[2, 1, 1], "q1/sales.csv"), (&[2, 1, 2], bucket)],
            "storage.objects.insert projects/_/buckets/b/objects/q1/sales.csv",
        ),
        (
            "storage",
            "google.storage.v2.Storage/WriteObject",
            &[(&[1], "opaque/id")],
            "storage.objects.insert",
        ),
        (
            "storage",
            "google.storage.v2.Storage/DeleteObject",
            &[(&[1], bucket), (&[2], "a/../b")],
            "storage.objects.delete projects/_/buckets/b/objects/a/../b",
        ),
        (
            "storage",
            "google.storage.v2.Storage/RewriteObject",
            &[
                (&[2], bucket),
                (&[3], "from"),
                (&[24], "to"),
                (&[25], "projects/_/buckets/c"),
            ],
            "storage.objects.rewrite projects/_/buckets/c/objects/to projects/_/buckets/b/objects/from",
        ),
        (
            "storage",
            "google.storage.v2.Storage/SetIamPolicy",
            &[(&[1], bucket)],
            "storage.buckets.setIamPolicy projects/_/buckets/b",
        ),
        (
            "storage",
            "google.storage.v2.Storage/ListBuckets",
            &[(&[1], "projects/acme")],
            "storage.buckets.list projects/acme",
        ),
        (
            "storage",
            "google.storage.control.v2.StorageControl/DeleteFolder",
            &[(&[6], "projects/_/buckets/b/folders/x/y/")],
            "storage.folders.delete projects/_/buckets/b/folders/x/y/",
        ),
        (
            "cloudkms",
            "google.cloud.kms.v1.KeyManagementService/Decrypt",
            &[(&[1], "projects/acme/locations/eu/keyRings/r/cryptoKeys/k")],
            "cloudkms.projects.locations.keyRings.cryptoKeys.decrypt projects/acme/locations/eu/keyRings/r/cryptoKeys/k",
        ),
        (
            "iam",
            "google.iam.admin.v1.IAM/CreateServiceAccountKey",
            &[(&[1], "projects/-/serviceAccounts/ci@acme.iam.gserviceaccount.com")],
            "iam.projects.serviceAccounts.keys.create projects/acme/serviceAccounts/ci@acme.iam.gserviceaccount.com",
        ),
        (
            "spanner",
            "google.spanner.v1.Spanner/ExecuteSql",
            &[(&[1], "projects/acme/instances/i/databases/d/sessions/s")],
            "spanner.projects.instances.databases.sessions.executeSql projects/acme/instances/i/databases/d/sessions/s",
        ),
        (
            "firestore",
            "google.firestore.v1.Firestore/RunQuery",
            &[(&[1], "projects/acme/databases/(default)/documents")],
            "firestore.projects.databases.documents.runQuery projects/acme/databases/(default)/documents",
        ),
        (
            "firestore",
            "google.firestore.v1.Firestore/GetDocument",
            &[(&[1], "projects/acme/databases/(default)/documents/users/alice")],
            "firestore.projects.databases.documents.get projects/acme/databases/(default)/documents/users/alice",
        ),
        (
            "bigtable",
            "google.bigtable.v2.Bigtable/ReadRows",
            &[(&[1], "projects/acme/instances/i/tables/t")],
            "google.bigtable.v2.Bigtable.ReadRows projects/acme/instances/i/tables/t",
        ),
        (
            "bigquerystorage",
            "google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows",
            &[(&[1], "projects/acme/datasets/d/tables/t/_default")],
            "google.cloud.bigquery.storage.v1.BigQueryWrite.AppendRows projects/acme/datasets/d/tables/t/_default",
        ),
        (
            "us-central1-aiplatform",
            "google.cloud.aiplatform.v1.PredictionService/Predict",
            &[(&[1], "projects/acme/locations/us-central1/endpoints/e")],
            "aiplatform.projects.locations.endpoints.predict projects/acme/locations/us-central1/endpoints/e",
        ),
        (
            "compute",
            "google.cloud.compute.v1.Instances/Get",
            &[
                (&[227_560_217], "acme"),
                (&[3_744_684], "z"),
                (&[18_257_045], "vm"),
            ],
            "compute.instances.get projects/acme/zones/z/instances/vm",
        ),
    ]);
}

#[test]
fn services_of_every_host_are_told_by_the_host() {
    let policy = "google.iam.v1.IAMPolicy/SetIamPolicy";
    let operation = "google.longrunning.Operations/GetOperation";
    check(&[
        (
            "pubsub",
            policy,
            &[(&[1], "projects/acme/topics/t")],
            "pubsub.projects.topics.setIamPolicy projects/acme/topics/t",
        ),
        (
            "cloudkms",
            policy,
            &[(&[1], "projects/acme/locations/eu/keyRings/r")],
            "cloudkms.projects.locations.keyRings.setIamPolicy projects/acme/locations/eu/keyRings/r",
        ),
        (
            "cloudkms",
            policy,
            &[(&[1], "projects/acme/topics/t")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
        (
            "spanner",
            operation,
            &[(&[1], "projects/acme/instances/i/operations/o")],
            "spanner.projects.instances.operations.get projects/acme/instances/i/operations/o",
        ),
        (
            "cloudfunctions",
            operation,
            &[(&[1], "projects/acme/locations/eu/operations/o")],
            "cloudfunctions.projects.locations.operations.get projects/acme/locations/eu/operations/o",
        ),
        // What is no operation is none, although the host has a method for its name.
        (
            "spanner",
            operation,
            &[(&[1], "projects/acme/instances/i")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
        (
            "storage",
            operation,
            &[(&[1], "projects/_/buckets/b/operations/o")],
            "storage.buckets.operations.get projects/_/buckets/b/operations/o",
        ),
        (
            "secretmanager",
            "google.cloud.location.Locations/ListLocations",
            &[(&[1], "projects/acme")],
            "secretmanager.projects.locations.list projects/acme",
        ),
    ]);
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let access = "google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion";
    check(&[
        ("pubsub", access, &[(&[1], VERSION)], "GRPC_SERVICE_NOT_OF_HOST"),
        ("nonsense", access, &[(&[1], VERSION)], "HOST_NOT_IN_CATALOG"),
        (
            "secretmanager",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            &[],
            "GRPC_SERVICE_NOT_IN_CATALOG",
        ),
        (
            "secretmanager",
            "grpc.health.v1.Health/Check",
            &[],
            "GRPC_SERVICE_NOT_IN_CATALOG",
        ),
        (
            "secretmanager",
            "google.cloud.secretmanager.v1.SecretManagerService/PeekSecretVersion",
            &[(&[1], VERSION)],
            "GRPC_METHOD_NOT_IN_CATALOG",
        ),
        (
            "secretmanager",
            "google.cloud.secretmanager.v1.SecretManagerService/access",
            &[(&[1], VERSION)],
            "GRPC_METHOD_NOT_IN_CATALOG",
        ),
        ("secretmanager", "AccessSecretVersion", &[], "GRPC_PATH_MALFORMED"),
        ("secretmanager", "a.B/C/D", &[], "GRPC_PATH_MALFORMED"),
        ("secretmanager", "a.B/%43", &[], "GRPC_PATH_MALFORMED"),
        ("secretmanager", access, &[], "GRPC_NAME_MISSING"),
        ("secretmanager", access, &[(&[1], "")], "GRPC_NAME_MISSING"),
        (
            "secretmanager",
            access,
            &[(&[1], "projects/acme/secrets/db")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
        (
            "secretmanager",
            access,
            &[(&[1], "projects//secrets/db/versions/1")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
        (
            "secretmanager",
            access,
            &[(&[1], "projects/acme/secrets/../versions/1")],
            "UNSAFE_RESOURCE_NAME",
        ),
        (
            "secretmanager",
            access,
            &[(&[1], "projects/acme/secrets/a%2Fb/versions/1")],
            "UNSAFE_RESOURCE_NAME",
        ),
        (
            "secretmanager",
            access,
            &[(&[1], "projects/acme/secrets/a\u{0}b/versions/1")],
            "UNSAFE_RESOURCE_NAME",
        ),
        (
            "bigtable",
            "google.bigtable.v2.Bigtable/ReadRows",
            &[(&[1], "projects/acme/instances/../tables/t")],
            "UNSAFE_RESOURCE_NAME",
        ),
        (
            "storage",
            "google.storage.v2.Storage/ReadObject",
            &[(&[1], "projects/acme/buckets/b"), (&[2], "o")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
        (
            "storage",
            "google.storage.v2.Storage/ReadObject",
            &[(&[2], "o")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
    ]);
}

/// A message that names two things is decided as both.
#[test]
fn two_names_are_two_calls() {
    check(&[
        (
            "container",
            "google.container.v1.ClusterManager/GetCluster",
            &[
                (&[1], "acme"),
                (&[2], "z"),
                (&[3], "old"),
                (&[5], "projects/acme/locations/z/clusters/new"),
            ],
            "container.projects.locations.clusters.get projects/acme/locations/z/clusters/new + \
             container.projects.zones.clusters.get projects/acme/zones/z/clusters/old",
        ),
        (
            "container",
            "google.container.v1.ClusterManager/GetCluster",
            &[(&[1], "acme"), (&[5], "projects/acme/locations/z/clusters/new")],
            "GRPC_NAME_NOT_IN_CATALOG",
        ),
        (
            "bigtable",
            "google.bigtable.v2.Bigtable/MutateRow",
            &[
                (&[1], "projects/acme/instances/i/tables/t"),
                (&[6], "projects/acme/instances/i/tables/u/authorizedViews/v"),
            ],
            "google.bigtable.v2.Bigtable.MutateRow projects/acme/instances/i/tables/t + \
             google.bigtable.v2.Bigtable.MutateRow projects/acme/instances/i/tables/u/authorizedViews/v",
        ),
    ]);
}

#[test]
fn streams_and_their_later_messages() {
    let kinds = |service: &str, path: &str| {
        let method = method(service, path).expect("a method");
        (method.client_streaming(), method.server_streaming())
    };
    assert_eq!(
        kinds("pubsub", "google.pubsub.v1.Publisher/Publish"),
        (false, false)
    );
    assert_eq!(
        kinds("pubsub", "google.pubsub.v1.Subscriber/StreamingPull"),
        (true, true)
    );
    assert_eq!(kinds("storage", &format!("{STORAGE}/ReadObject")), (false, true));
    assert_eq!(kinds("storage", &format!("{STORAGE}/WriteObject")), (true, false));

    let write = method("storage", &format!("{STORAGE}/WriteObject")).expect("a method");
    assert_eq!(write.service_and_name(), (STORAGE, "WriteObject"));
    assert_eq!(write.full_name(), "google.storage.v2.Storage.WriteObject");
    let names = |fields: &[(&[u32], &str)]| write.names(&texts(fields)).expect("well-formed");
    let first = names(&[(&[2, 1, 1], "o"), (&[2, 1, 2], "projects/_/buckets/b")]);
    assert!(names(&[]).within(&first));
    assert!(names(&[(&[2, 1, 1], "o")]).within(&first));
    assert!(!names(&[(&[2, 1, 1], "p")]).within(&first));
    assert!(!names(&[(&[1], "upload")]).within(&first));
    assert!(!first.within(&names(&[])));
}
