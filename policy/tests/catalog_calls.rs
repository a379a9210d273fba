//! What requests are taken for: URLs as real clients write them, and the whole call.

use std::fmt::Write as _;

use turnpike_policy::{
    call::{Call, Resource, Scope},
    canonical::Target,
    catalog::Catalog,
};

/// `METHOD API VERSION | NAME project=.. location=.. kind=.. id=.. below | TRAITS`, with ` + ` before further
/// resources and ` ?? ` before further readings; a refusal is its code.
fn describe(verb: &str, url: &str) -> String {
    let target = match Target::from_url(verb, url) {
        Ok(target) => target,
        Err(e) => return format!("malformed {}", e.reason()),
    };
    let catalog = Catalog::embedded().expect("the embedded catalogue loads");
    match catalog.classify(&target) {
        Ok(found) => {
            let mut text = call(&found.call);
            for other in &found.also {
                let _ = write!(text, " ?? {}", call(other));
            }
            text
        }
        Err(e) => format!("unlisted {}", e.reason()),
    }
}

fn call(call: &Call) -> String {
    let resources: Vec<_> = call.resources.iter().map(resource).collect();
    let traits: Vec<_> = call.traits.names().collect();
    let (method, api, version) = (call.method, call.api, call.version);
    format!(
        "{method} {api} {version} | {} | {}",
        resources.join(" + "),
        traits.join(" ")
    )
}

fn resource(resource: &Resource) -> String {
    let mut text = resource.name.clone();
    let parts = [
        ("project", resource.project.as_deref()),
        ("location", resource.location.as_deref()),
        ("kind", Some(resource.kind).filter(|k| !k.is_empty())),
        ("id", resource.id.as_deref()),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value}");
        }
    }
    if resource.scope == Scope::Below {
        text.push_str(" below");
    }
    text
}

/// Compares a table of `VERB URL` lines, each followed by what it is.
fn check(table: &str) {
    let lines: Vec<_> = table.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(lines.len() % 2, 0, "a request and its call on two lines");
    let (mut expected, mut actual) = (String::new(), String::new());
    for pair in lines.chunks(2) {
        let (verb, url) = pair[0].split_once(' ').expect("VERB URL");
        let _ = write!(expected, "{}\n  {}\n", pair[0], pair[1]);
        let _ = write!(actual, "{}\n  {}\n", pair[0], describe(verb, url));
    }
    if expected != actual {
        println!("{actual}");
    }
    assert_eq!(expected, actual);
}

#[test]
fn cloud_storage() {
    check(
        r"
GET https://storage.googleapis.com/storage/v1/b?project=acme-dev
  storage.buckets.list storage v1 | projects/acme-dev project=acme-dev kind=buckets | read
POST https://storage.googleapis.com/storage/v1/b?project=acme-dev
  storage.buckets.insert storage v1 | projects/acme-dev project=acme-dev kind=buckets below | change
GET https://storage.googleapis.com/storage/v1/b
  storage.buckets.list storage v1 | projects/_ kind=buckets | read
GET https://storage.googleapis.com/storage/v1/b?project=acme-dev&project=acme-prod
  unlisted QUERY_PARAMETER_REPEATED
GET https://storage.googleapis.com/storage/v1/b/reports
  storage.buckets.get storage v1 | projects/_/buckets/reports kind=buckets id=reports | read
GET https://storage.googleapis.com/storage/v1/b/reports/o?prefix=2026%2F&alt=json
  storage.objects.list storage v1 | projects/_/buckets/reports kind=objects | read
GET https://storage.googleapis.com/storage/v1/b/reports/o/2026%2Fq1.csv?alt=media
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/2026/q1.csv kind=objects id=2026/q1.csv | read
GET https://storage.googleapis.com/download/storage/v1/b/reports/o/2026%2Fq1.csv?alt=media
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/2026/q1.csv kind=objects id=2026/q1.csv | read
GET https://www.googleapis.com/download/storage/v1/b/reports/o/2026%2Fq1.csv?alt=media
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/2026/q1.csv kind=objects id=2026/q1.csv | read
GET https://content-storage.googleapis.com/download/storage/v1/b/reports/o/2026%2Fq1.csv?generation=1&alt=media
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/2026/q1.csv kind=objects id=2026/q1.csv | read
GET https://storage.googleapis.com/storage/v1/b/reports/o/b%2F..%2Fc
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/b/../c kind=objects id=b/../c | read
GET https://storage.googleapis.com/storage/v1/b/reports%2F..%2Fprod/o/x
  unlisted UNSAFE_RESOURCE_NAME
GET https://storage.googleapis.com/storage/v1/b/reports%2Fprod/o/x
  unlisted UNSAFE_RESOURCE_NAME
POST https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=media&name=2026%2Fq2.csv
  storage.objects.insert storage v1 | projects/_/buckets/reports/objects/2026/q2.csv kind=objects id=2026/q2.csv | change
POST https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=multipart
  storage.objects.insert storage v1 | projects/_/buckets/reports kind=objects below | change
POST https://storage.googleapis.com/resumable/upload/storage/v1/b/reports/o?uploadType=resumable&name=big.bin
  storage.objects.insert storage v1 | projects/_/buckets/reports/objects/big.bin kind=objects id=big.bin | change
PUT https://storage.googleapis.com/resumable/upload/storage/v1/b/reports/o?uploadType=resumable&name=big.bin&upload_id=ABg5
  storage.objects.insert storage v1 | projects/_/buckets/reports/objects/big.bin kind=objects id=big.bin | change
PUT https://storage.googleapis.com/upload/storage/v1/b/reports/o?upload_id=ABg5
  storage.objects.insert storage v1 | projects/_/buckets/reports kind=objects below | change
DELETE https://storage.googleapis.com/upload/storage/v1/b/reports/o?upload_id=ABg5
  storage.objects.insert storage v1 | projects/_/buckets/reports kind=objects below | change
PUT https://storage.googleapis.com/upload/storage/v1/b/reports/o?uploadType=media&name=x
  unlisted VERB_NOT_IN_CATALOG
POST https://storage.googleapis.com/storage/v1/b/reports/o?name=a&name=b
  unlisted QUERY_PARAMETER_REPEATED
POST https://storage.googleapis.com/storage/v1/b/reports/o/a%2Fb/rewriteTo/b/archive/o/c%2Fd
  storage.objects.rewrite storage v1 | projects/_/buckets/archive/objects/c/d kind=objects id=c/d + projects/_/buckets/reports/objects/a/b kind=objects id=a/b | change
POST https://storage.googleapis.com/storage/v1/b/reports/o/a/copyTo/b/archive/o/b
  storage.objects.copy storage v1 | projects/_/buckets/archive/objects/b kind=objects id=b + projects/_/buckets/reports/objects/a kind=objects id=a | change
POST https://storage.googleapis.com/storage/v1/b/reports/o/a/moveTo/o/b
  storage.objects.move storage v1 | projects/_/buckets/reports/objects/b kind=objects id=b + projects/_/buckets/reports/objects/a kind=objects id=a | change
POST https://storage.googleapis.com/storage/v1/b/reports/o/all/compose
  storage.objects.compose storage v1 | projects/_/buckets/reports/objects/all kind=objects id=all | change
DELETE https://storage.googleapis.com/storage/v1/b/reports/o/a
  storage.objects.delete storage v1 | projects/_/buckets/reports/objects/a kind=objects id=a | change destructive
GET https://storage.googleapis.com/storage/v1/b/reports/iam
  storage.buckets.getIamPolicy storage v1 | projects/_/buckets/reports kind=buckets id=reports | read iam
GET https://storage.googleapis.com/storage/v1/b/reports/iam/testPermissions?permissions=storage.objects.get
  storage.buckets.testIamPermissions storage v1 | projects/_/buckets/reports kind=buckets id=reports | read iam
POST https://storage.googleapis.com/storage/v1/b/reports/o/a/acl
  storage.objectAccessControls.insert storage v1 | projects/_/buckets/reports/objects/a kind=acl below | change iam
POST https://storage.googleapis.com/storage/v1/projects/acme-dev/hmacKeys?serviceAccountEmail=ci@acme-dev.iam.gserviceaccount.com
  storage.projects.hmacKeys.create storage v1 | projects/acme-dev project=acme-dev kind=hmacKeys below | change iam returns-credentials
GET https://storage.mtls.googleapis.com/storage/v1/b/reports
  storage.buckets.get storage v1 | projects/_/buckets/reports kind=buckets id=reports | read
GET https://storage.us-central1.rep.googleapis.com/storage/v1/b/reports
  storage.buckets.get storage v1 | projects/_/buckets/reports kind=buckets id=reports | read
GET https://storage.us.rep.mtls.googleapis.com/storage/v1/b/reports
  storage.buckets.get storage v1 | projects/_/buckets/reports kind=buckets id=reports | read
GET https://www.googleapis.com/storage/v1/b/reports
  storage.buckets.get storage v1 | projects/_/buckets/reports kind=buckets id=reports | read
GET https://storage-agents.p.googleapis.com/storage/v1/b/reports
  storage.buckets.get storage v1 | projects/_/buckets/reports kind=buckets id=reports | read
GET https://reports.storage.googleapis.com/2026/q1.csv
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/2026/q1.csv kind=objects id=2026/q1.csv | read
GET https://storage.googleapis.com/reports/2026/q1.csv
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/2026/q1.csv kind=objects id=2026/q1.csv | read
POST https://storage.googleapis.com/batch/storage/v1
  unlisted BATCH_REQUEST
",
    );
}

#[test]
fn compute_engine() {
    check(
        r"
GET https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances/web-1
  compute.instances.get compute v1 | projects/acme-dev/zones/us-central1-a/instances/web-1 project=acme-dev location=us-central1-a kind=instances id=web-1 | read
GET https://www.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances
  compute.instances.list compute v1 | projects/acme-dev/zones/us-central1-a project=acme-dev location=us-central1-a kind=instances | read
GET https://compute.googleapis.com/compute/v1/projects/acme-dev/aggregated/instances
  compute.instances.aggregatedList compute v1 | projects/acme-dev project=acme-dev kind=instances | read
POST https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances
  compute.instances.insert compute v1 | projects/acme-dev/zones/us-central1-a project=acme-dev location=us-central1-a kind=instances below | change
POST https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances/web-1/stop
  compute.instances.stop compute v1 | projects/acme-dev/zones/us-central1-a/instances/web-1 project=acme-dev location=us-central1-a kind=instances id=web-1 | change
POST https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances/web-1/setMetadata
  compute.instances.setMetadata compute v1 | projects/acme-dev/zones/us-central1-a/instances/web-1 project=acme-dev location=us-central1-a kind=instances id=web-1 | change
DELETE https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances/web-1
  compute.instances.delete compute v1 | projects/acme-dev/zones/us-central1-a/instances/web-1 project=acme-dev location=us-central1-a kind=instances id=web-1 | change destructive
GET https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances/web-1/serialPort?port=1
  compute.instances.getSerialPortOutput compute v1 | projects/acme-dev/zones/us-central1-a/instances/web-1 project=acme-dev location=us-central1-a kind=instances id=web-1 | read
GET https://compute.googleapis.com/compute/v1/projects/acme-dev/global/images/family/getIamPolicy
  compute.images.getFromFamily compute v1 | projects/acme-dev/global/images/family/getIamPolicy project=acme-dev kind=family id=getIamPolicy | read ?? compute.images.getIamPolicy compute v1 | projects/acme-dev/global/images/family project=acme-dev kind=images id=family | read iam
POST https://compute.googleapis.com/compute/v1/projects/acme-dev/global/firewalls
  compute.firewalls.insert compute v1 | projects/acme-dev/global project=acme-dev kind=firewalls below | change
GET https://compute.googleapis.com/compute/v1/projects/example.com%3Aacme/regions/europe-west1/subnetworks/default
  compute.subnetworks.get compute v1 | projects/example.com:acme/regions/europe-west1/subnetworks/default project=example.com:acme location=europe-west1 kind=subnetworks id=default | read
GET https://compute.googleapis.com/compute/v1/projects/acme-dev%2Fzones/zones/us-central1-a/instances/web-1
  unlisted UNSAFE_RESOURCE_NAME
POST https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/operations/op-1/wait
  compute.zoneOperations.wait compute v1 | projects/acme-dev/zones/us-central1-a/operations/op-1 project=acme-dev location=us-central1-a kind=operations id=op-1 | read
",
    );
}

#[test]
fn bigquery() {
    check(
        r"
GET https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/datasets/sales/tables/orders
  bigquery.tables.get bigquery v2 | projects/acme-dev/datasets/sales/tables/orders project=acme-dev kind=tables id=orders | read
POST https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/queries
  bigquery.jobs.query bigquery v2 | projects/acme-dev project=acme-dev kind=queries below | change
POST https://www.googleapis.com/bigquery/v2/projects/acme-dev/jobs
  bigquery.jobs.insert bigquery v2 | projects/acme-dev project=acme-dev kind=jobs below | change
POST https://www.googleapis.com/upload/bigquery/v2/projects/acme-dev/jobs?uploadType=resumable
  bigquery.jobs.insert bigquery v2 | projects/acme-dev project=acme-dev kind=jobs below | change
POST https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/datasets/sales/tables/orders/insertAll
  bigquery.tabledata.insertAll bigquery v2 | projects/acme-dev/datasets/sales/tables/orders project=acme-dev kind=tables id=orders | change
GET https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/datasets/sales/tables/orders/data
  bigquery.tabledata.list bigquery v2 | projects/acme-dev/datasets/sales/tables/orders project=acme-dev kind=data | read
",
    );
}

#[test]
fn iam_and_projects() {
    check(
        r"
POST https://iam.googleapis.com/v1/projects/-/serviceAccounts/ci@acme-dev.iam.gserviceaccount.com/keys?alt=json
  iam.projects.serviceAccounts.keys.create iam v1 | projects/acme-dev/serviceAccounts/ci@acme-dev.iam.gserviceaccount.com project=acme-dev kind=keys below | change iam returns-credentials
POST https://iam.googleapis.com/v1/projects/acme-dev/serviceAccounts/root%40acme-prod.iam.gserviceaccount.com/keys
  iam.projects.serviceAccounts.keys.create iam v1 | projects/acme-prod/serviceAccounts/root@acme-prod.iam.gserviceaccount.com project=acme-prod kind=keys below | change iam returns-credentials
POST https://iam.googleapis.com/v1/projects/acme-dev/serviceAccounts/root@Acme-Prod.IAM.GServiceAccount.com/keys
  iam.projects.serviceAccounts.keys.create iam v1 | projects/acme-prod/serviceAccounts/root@Acme-Prod.IAM.GServiceAccount.com project=acme-prod kind=keys below | change iam returns-credentials
GET https://iam.googleapis.com/v1/projects/-/serviceAccounts/1234-compute@developer.gserviceaccount.com
  iam.projects.serviceAccounts.get iam v1 | projects/-/serviceAccounts/1234-compute@developer.gserviceaccount.com project=- kind=serviceAccounts id=1234-compute@developer.gserviceaccount.com | read iam
GET https://iam.googleapis.com/v1/projects/-/serviceAccounts/ci@acme.example.com.iam.gserviceaccount.com
  iam.projects.serviceAccounts.get iam v1 | projects/example.com:acme/serviceAccounts/ci@acme.example.com.iam.gserviceaccount.com project=example.com:acme kind=serviceAccounts id=ci@acme.example.com.iam.gserviceaccount.com | read iam
POST https://iam.googleapis.com/v1/projects/acme-dev/serviceAccounts
  iam.projects.serviceAccounts.create iam v1 | projects/acme-dev project=acme-dev kind=serviceAccounts below | change iam
POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/ci@acme-dev.iam.gserviceaccount.com:generateAccessToken
  iamcredentials.projects.serviceAccounts.generateAccessToken iamcredentials v1 | projects/acme-dev/serviceAccounts/ci@acme-dev.iam.gserviceaccount.com project=acme-dev kind=serviceAccounts id=ci@acme-dev.iam.gserviceaccount.com | change iam returns-credentials
POST https://sts.googleapis.com/v1/token
  sts.token sts v1 |  | change iam returns-credentials
POST https://cloudresourcemanager.googleapis.com/v1/projects/acme-dev:setIamPolicy
  cloudresourcemanager.projects.setIamPolicy cloudresourcemanager v1 | projects/acme-dev project=acme-dev kind=projects id=acme-dev | change iam
POST https://cloudresourcemanager.googleapis.com/v3/projects/acme-dev:getIamPolicy
  cloudresourcemanager.projects.getIamPolicy cloudresourcemanager v3 | projects/acme-dev project=acme-dev kind=projects id=acme-dev | read iam
POST https://cloudresourcemanager.googleapis.com/v1/projects/acme-dev%3AsetIamPolicy
  cloudresourcemanager.projects.setIamPolicy cloudresourcemanager v1 | projects/acme-dev project=acme-dev kind=projects id=acme-dev | change iam
GET https://cloudresourcemanager.googleapis.com/v1/projects/example.com:acme
  cloudresourcemanager.projects.get cloudresourcemanager v1 | projects/example.com:acme project=example.com:acme kind=projects id=example.com:acme | read
GET https://cloudresourcemanager.googleapis.com/v1/projects
  cloudresourcemanager.projects.list cloudresourcemanager v1 | projects kind=projects | read
",
    );
}

#[test]
fn functions_and_run() {
    check(
        r"
POST https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions?functionId=billing
  cloudfunctions.projects.locations.functions.create cloudfunctions v2 | projects/acme-dev/locations/us-central1/functions/billing project=acme-dev location=us-central1 kind=functions id=billing | change
POST https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions?function_id=billing
  cloudfunctions.projects.locations.functions.create cloudfunctions v2 | projects/acme-dev/locations/us-central1/functions/billing project=acme-dev location=us-central1 kind=functions id=billing | change
POST https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions?functionId=billing&function_id=other
  unlisted QUERY_PARAMETER_REPEATED
POST https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions
  cloudfunctions.projects.locations.functions.create cloudfunctions v2 | projects/acme-dev/locations/us-central1 project=acme-dev location=us-central1 kind=functions below | change
POST https://cloudfunctions.googleapis.com/v1/projects/acme-dev/locations/us-central1/functions
  cloudfunctions.projects.locations.functions.create cloudfunctions v1 | projects/acme-dev/locations/us-central1 project=acme-dev location=us-central1 kind=functions below | change
POST https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions:generateUploadUrl?alt=json
  cloudfunctions.projects.locations.functions.generateUploadUrl cloudfunctions v2 | projects/acme-dev/locations/us-central1 project=acme-dev location=us-central1 kind=functions below | change returns-credentials
PATCH https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/functions/billing?updateMask=labels
  cloudfunctions.projects.locations.functions.patch cloudfunctions v2 | projects/acme-dev/locations/us-central1/functions/billing project=acme-dev location=us-central1 kind=functions id=billing | change
GET https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/-/functions
  cloudfunctions.projects.locations.functions.list cloudfunctions v2 | projects/acme-dev/locations/- project=acme-dev location=- kind=functions | read
GET https://cloudfunctions.googleapis.com/v2/projects/acme-dev/locations/us-central1/operations/operation-1
  cloudfunctions.projects.locations.operations.get cloudfunctions v2 | projects/acme-dev/locations/us-central1/operations/operation-1 project=acme-dev location=us-central1 kind=operations id=operation-1 | read
PUT https://us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services/web
  run.namespaces.services.replaceService run v1 | projects/acme-dev/locations/us-central1/services/web project=acme-dev location=us-central1 kind=services id=web | change
GET https://us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services
  run.namespaces.services.list run v1 | projects/acme-dev/locations/us-central1 project=acme-dev location=us-central1 kind=services | read
GET https://run.googleapis.com/apis/serving.knative.dev/v1/namespaces/acme-dev/services
  run.namespaces.services.list run v1 | projects/acme-dev/locations/- project=acme-dev location=- kind=services | read
POST https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId=web
  run.projects.locations.services.create run v2 | projects/acme-dev/locations/us-central1/services/web project=acme-dev location=us-central1 kind=services id=web | change
POST https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/jobs/nightly:run
  run.projects.locations.jobs.run run v2 | projects/acme-dev/locations/us-central1/jobs/nightly project=acme-dev location=us-central1 kind=jobs id=nightly | change
",
    );
}

#[test]
fn secrets_keys_and_topics() {
    check(
        r"
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/latest:access?%24alt=json%3Benum-encoding%3Dint
  secretmanager.projects.secrets.versions.access secretmanager v1 | projects/acme-dev/secrets/db/versions/latest project=acme-dev kind=versions id=latest | read returns-credentials
GET https://secretmanager.us-east4.rep.googleapis.com/v1/projects/acme-dev/locations/us-east4/secrets/db/versions/1:access
  secretmanager.projects.locations.secrets.versions.access secretmanager v1 | projects/acme-dev/locations/us-east4/secrets/db/versions/1 project=acme-dev location=us-east4 kind=versions id=1 | read returns-credentials
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1%3Aaccess
  secretmanager.projects.secrets.versions.access secretmanager v1 | projects/acme-dev/secrets/db/versions/1 project=acme-dev kind=versions id=1 | read returns-credentials ?? secretmanager.projects.secrets.versions.get secretmanager v1 | projects/acme-dev/secrets/db/versions/1:access project=acme-dev kind=versions id=1:access | read
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:access?alt=media
  unlisted MEDIA_NOT_OFFERED
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets
  secretmanager.projects.secrets.list secretmanager v1 | projects/acme-dev project=acme-dev kind=secrets | read
POST https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets?secretId=db
  secretmanager.projects.secrets.create secretmanager v1 | projects/acme-dev/secrets/db project=acme-dev kind=secrets id=db | change
POST https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:destroy
  secretmanager.projects.secrets.versions.destroy secretmanager v1 | projects/acme-dev/secrets/db/versions/1 project=acme-dev kind=versions id=1 | change destructive
GET https://secretmanager.googleapis.com/v1/projects/acme-dev%2Fsecrets/secrets/db
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/..%2F..%2Facme-prod
  unlisted UNSAFE_RESOURCE_NAME
POST https://cloudkms.googleapis.com/v1/projects/acme-dev/locations/global/keyRings?keyRingId=main
  cloudkms.projects.locations.keyRings.create cloudkms v1 | projects/acme-dev/locations/global/keyRings/main project=acme-dev location=global kind=keyRings id=main | change
POST https://cloudkms.googleapis.com/v1/projects/acme-dev/locations/global/keyRings/main/cryptoKeys/k:decrypt
  cloudkms.projects.locations.keyRings.cryptoKeys.decrypt cloudkms v1 | projects/acme-dev/locations/global/keyRings/main/cryptoKeys/k project=acme-dev location=global kind=cryptoKeys id=k | change returns-credentials
PUT https://pubsub.googleapis.com/v1/projects/acme-dev/topics/orders
  pubsub.projects.topics.create pubsub v1 | projects/acme-dev/topics/orders project=acme-dev kind=topics id=orders | change
POST https://pubsub.googleapis.com/v1/projects/acme-dev/topics/orders:publish
  pubsub.projects.topics.publish pubsub v1 | projects/acme-dev/topics/orders project=acme-dev kind=topics id=orders | change
",
    );
}

#[test]
fn other_services() {
    check(
        r"
GET https://firestore.googleapis.com/v1/projects/acme-dev/databases/(default)/documents/users/alice
  firestore.projects.databases.documents.get firestore v1 | projects/acme-dev/databases/(default)/documents/users/alice project=acme-dev kind=documents id=users/alice | read
GET https://firestore.googleapis.com/v1/projects/acme-dev/databases/(default)/documents/users/alice/posts
  firestore.projects.databases.documents.list firestore v1 | projects/acme-dev/databases/(default)/documents/users/alice/posts project=acme-dev kind=documents id=users/alice/posts | read ?? firestore.projects.databases.documents.get firestore v1 | projects/acme-dev/databases/(default)/documents/users/alice/posts project=acme-dev kind=documents id=users/alice/posts | read
POST https://firestore.googleapis.com/v1/projects/acme-dev/databases/(default)/documents/users?documentId=bob
  firestore.projects.databases.documents.createDocument firestore v1 | projects/acme-dev/databases/(default)/documents/users/bob project=acme-dev kind=documents id=bob | change
POST https://firestore.googleapis.com/v1/projects/acme-dev/databases/(default)/documents/users/alice:runQuery
  firestore.projects.databases.documents.runQuery firestore v1 | projects/acme-dev/databases/(default)/documents/users/alice project=acme-dev kind=documents id=users/alice | read
GET https://artifactregistry.googleapis.com/v1/projects/acme-dev/locations/us/repositories/npm/packages/%40acme%2Fweb
  artifactregistry.projects.locations.repositories.packages.get artifactregistry v1 | projects/acme-dev/locations/us/repositories/npm/packages/@acme%2Fweb project=acme-dev location=us kind=packages id=@acme%2Fweb | read
GET https://dns.googleapis.com/dns/v1/projects/acme-dev/managedZones/corp/rrsets
  dns.resourceRecordSets.list dns v1 | projects/acme-dev/managedZones/corp project=acme-dev kind=rrsets | read
GET https://www.googleapis.com/sql/v1beta4/projects/acme-dev/instances/main
  sql.instances.get sqladmin v1beta4 | projects/acme-dev/instances/main project=acme-dev kind=instances id=main | read
DELETE https://sqladmin.googleapis.com/sql/v1beta4/projects/acme-dev/instances/main/users?name=root
  sql.users.delete sqladmin v1beta4 | projects/acme-dev/instances/main project=acme-dev kind=users below | change destructive
GET https://container.googleapis.com/v1/projects/acme-dev/zones/us-central1-a/clusters/prod
  container.projects.zones.clusters.get container v1 | projects/acme-dev/zones/us-central1-a/clusters/prod project=acme-dev location=us-central1-a kind=clusters id=prod | read returns-credentials
POST https://container.googleapis.com/v1/projects/acme-dev/zones/us-central1-a/clusters/prod/addons
  container.projects.zones.clusters.addons container v1 | projects/acme-dev/zones/us-central1-a/clusters/prod project=acme-dev location=us-central1-a kind=clusters id=prod | change
POST https://logging.googleapis.com/v2/entries:list
  logging.entries.list logging v2 | entries kind=entries | read
GET https://cloudbuild.googleapis.com/v1/operations/build/acme-dev/xyz
  cloudbuild.operations.get cloudbuild v1 | operations/build/acme-dev/xyz kind=operations id=build/acme-dev/xyz | read
GET https://serviceusage.googleapis.com/v1/projects/acme-dev/services/run.googleapis.com
  serviceusage.services.get serviceusage v1 | projects/acme-dev/services/run.googleapis.com project=acme-dev kind=services id=run.googleapis.com | read
POST https://serviceusage.googleapis.com/v1/projects/acme-dev/services/run.googleapis.com:enable
  serviceusage.services.enable serviceusage v1 | projects/acme-dev/services/run.googleapis.com project=acme-dev kind=services id=run.googleapis.com | change
GET https://artifactregistry.googleapis.com/v1/projects/acme-dev/locations/us/repositories/r/packages/p/versions/sha256:4f0a
  artifactregistry.projects.locations.repositories.packages.versions.get artifactregistry v1 | projects/acme-dev/locations/us/repositories/r/packages/p/versions/sha256:4f0a project=acme-dev location=us kind=versions id=sha256:4f0a | read
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1%3Apeek
  secretmanager.projects.secrets.versions.get secretmanager v1 | projects/acme-dev/secrets/db/versions/1:peek project=acme-dev kind=versions id=1:peek | read
GET https://storage.googleapis.com/storage/v1/b/reports/o/a:get
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/a:get kind=objects id=a:get | read
GET https://drive.googleapis.com/drive/v3/files/abc?alt=media
  drive.files.get drive v3 | files/abc kind=files id=abc | read
GET https://www.googleapis.com/drive/v3/files/abc
  drive.files.get drive v3 | files/abc kind=files id=abc | read
POST https://addressvalidation.googleapis.com/v1:validateAddress
  addressvalidation.validateAddress addressvalidation v1 |  | change
GET https://us-central1-aiplatform.googleapis.com/v1/projects/acme-dev/locations/us-central1/models/m1
  aiplatform.projects.locations.models.get aiplatform v1 | projects/acme-dev/locations/us-central1/models/m1 project=acme-dev location=us-central1 kind=models id=m1 | read
POST https://us-central1-aiplatform.googleapis.com/v1/projects/acme-dev/locations/us-central1/endpoints/e1/invoke/v1/chat/completions
  aiplatform.projects.locations.endpoints.invoke.invoke aiplatform v1 | projects/acme-dev/locations/us-central1/endpoints/e1/invoke/v1/chat/completions project=acme-dev location=us-central1 kind=invoke id=v1/chat/completions | change
GET https://appengine.googleapis.com/v1/apps/acme-dev/services
  appengine.apps.services.list appengine v1 | apps/acme-dev project=acme-dev kind=services | read
GET https://logging.googleapis.com/v2/projects/acme-dev/sinks/all
  logging.projects.sinks.get logging v2 | projects/acme-dev/sinks/all project=acme-dev kind=sinks id=all | read
POST https://remotebuildexecution.googleapis.com/v2/actions:execute
  remotebuildexecution.actions.execute remotebuildexecution v2 | actions kind=actions below | change
GET https://admin.googleapis.com/admin/directory/v1/users/alice%40example.com
  directory.users.get admin directory_v1 | users/alice@example.com kind=users id=alice@example.com | read
GET https://gmail.googleapis.com/gmail/v1/users/me/messages
  gmail.users.messages.list gmail v1 | users/me kind=messages | read
POST https://www.googleapis.com/upload/drive/v3/files?uploadType=multipart
  drive.files.create drive v3 | files kind=files below | change
PATCH https://www.googleapis.com/upload/drive/v3/files/abc?uploadType=media
  drive.files.update drive v3 | files/abc kind=files id=abc | change
",
    );
}

#[test]
fn what_the_query_names_besides() {
    check(
        r"
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?name=projects%2Facme-dev%2Fsecrets%2Fdb
  unlisted UNKNOWN_PARAMETER
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?$name=projects/acme-prod/secrets/db
  malformed QUERY_SYSTEM_PARAMETER_UNKNOWN
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?name=projects/acme-prod/secrets/db
  unlisted UNKNOWN_PARAMETER
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?NAME=//secretmanager.googleapis.com/projects/acme-prod/secrets/db
  unlisted UNKNOWN_PARAMETER
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?secret.name=projects/acme-prod/secrets/db
  unlisted UNKNOWN_PARAMETER
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?name=projects%252Facme-prod
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?name=projects/acme-dev/../acme-prod
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?name=other
  unlisted UNKNOWN_PARAMETER
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?secretId=other
  unlisted QUERY_NAMES_ANOTHER_RESOURCE
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?secret=db&project=acme-dev
  unlisted UNKNOWN_PARAMETER
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db?project_id=acme-prod
  unlisted QUERY_NAMES_ANOTHER_RESOURCE
GET https://compute.googleapis.com/compute/v1/projects/acme-dev/zones/us-central1-a/instances/vm?zone=europe-west1-b
  unlisted QUERY_NAMES_ANOTHER_RESOURCE
GET https://compute.googleapis.com/compute/v1/projects/acme-dev/global/images?zone=europe-west1-b
  compute.images.list compute v1 | projects/acme-dev/global project=acme-dev kind=images | read
GET https://aiplatform.googleapis.com/v1/datasets?parent=projects/acme-dev/locations/us-central1
  aiplatform.datasets.list aiplatform v1 | datasets kind=datasets + projects/acme-dev/locations/us-central1 project=acme-dev location=us-central1 kind=datasets id=us-central1 | read
GET https://cloudbuild.googleapis.com/v1/projects/acme-dev/builds/b?name=projects/acme-prod/locations/global/builds/b
  cloudbuild.projects.builds.get cloudbuild v1 | projects/acme-dev/builds/b project=acme-dev kind=builds id=b + projects/acme-prod/locations/global/builds/b project=acme-prod location=global kind=builds id=b | read
GET https://androidmanagement.googleapis.com/v1/enterprises?projectId=acme-dev
  androidmanagement.enterprises.list androidmanagement v1 | enterprises kind=enterprises + projects/acme-dev project=acme-dev kind=projects below | read
GET https://storage.googleapis.com/storage/v1/b/reports/o/y?bucket=prod-data
  unlisted QUERY_NAMES_ANOTHER_RESOURCE
POST https://storage.googleapis.com/storage/v1/b/reports/o?name=projects/x
  storage.objects.insert storage v1 | projects/_/buckets/reports/objects/projects/x kind=objects id=projects/x | change
POST https://storage.googleapis.com/storage/v1/b/reports/o/x/copyTo/b/reports/o/y?destinationBucket=prod-data
  unlisted QUERY_NAMES_ANOTHER_RESOURCE
",
    );
}

#[test]
fn what_is_no_call() {
    check(
        r"
GET https://example.com/storage/v1/b
  unlisted HOST_NOT_IN_CATALOG
GET https://storage.googleapis.com.evil.example/storage/v1/b
  unlisted HOST_NOT_IN_CATALOG
GET https://tunnel.cloudproxy.app/v4/connect
  unlisted HOST_NOT_IN_CATALOG
GET https://x.y.z.googleapis.com/v1/projects
  unlisted HOST_NOT_IN_CATALOG
GET https://run-preview-storage.googleapis.com/storage/v1/b/x
  unlisted HOST_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v9/projects/acme-dev/secrets
  unlisted METHOD_NOT_IN_CATALOG
HEAD https://storage.googleapis.com/storage/v1/b/reports/o/x
  unlisted VERB_NOT_IN_CATALOG
POST https://storage.googleapis.com/storage/v1/b/reports/o/x
  unlisted VERB_NOT_IN_CATALOG
GET https://storage.googleapis.com/Storage/v1/b/reports
  unlisted METHOD_NOT_IN_CATALOG
GET https://storage.googleapis.com/
  storage.buckets.list storage v1 | projects/_ kind=buckets | read
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:peek
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:ACCESS
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:Access
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:access%20
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:access%3Bx
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:access%23x
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1:access%3Fx=y
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1%3AACCESS
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1%3Aaccess%2F
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions/1%3Aaccess%3Bx=y%3Az
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db/versions:peek
  unlisted METHOD_NOT_IN_CATALOG
GET https://cloudresourcemanager.googleapis.com/v1/projects/acme:dev
  unlisted CUSTOM_VERB_NOT_IN_CATALOG
POST https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets?secretId=..%2F..%2Facme-prod%2Fsecrets%2Fdb
  unlisted UNSAFE_RESOURCE_NAME
POST https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets?secretId=..
  unlisted UNSAFE_RESOURCE_NAME
GET https://storage.googleapis.com/storage/v1/b?project=acme-dev%2Fx
  unlisted UNSAFE_RESOURCE_NAME
POST https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets?SECRETID=db
  unlisted QUERY_PARAMETER_REPEATED
POST https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets?secretId=d%2562
  unlisted UNSAFE_RESOURCE_NAME
GET https://storage.googleapis.com/storage/v1/b/reports%5Cfolders
  unlisted UNSAFE_RESOURCE_NAME
GET https://www.googleapis.com/drive/v3/changes/STARTPAGETOKEN
  unlisted METHOD_NOT_IN_CATALOG
GET https://www.googleapis.com/drive/v2/changes/startpagetoken
  drive.changes.get drive v2 | changes/startpagetoken kind=changes id=startpagetoken | read ?? drive.changes.getStartPageToken drive v2 | changes kind=changes | read
GET https://secretmanager.googleapis.com/V1/projects/acme-dev/secrets/db
  unlisted METHOD_NOT_IN_CATALOG
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db%2Fversions
  secretmanager.projects.secrets.get secretmanager v1 | projects/acme-dev/secrets/db%2Fversions project=acme-dev kind=secrets id=db%2Fversions | read ?? secretmanager.projects.secrets.versions.list secretmanager v1 | projects/acme-dev/secrets/db project=acme-dev kind=versions | read
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db%5Cversions
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db%3Fx
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db%23x
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db%3Bx
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db%20
  unlisted UNSAFE_RESOURCE_NAME
GET https://secretmanager.googleapis.com/v1/projects/ACME-DEV/secrets/db
  unlisted UNSAFE_RESOURCE_NAME
GET https://bigquery.googleapis.com/bigquery/v2/projects/acme-dev/datasets/d/tables/two%20words
  bigquery.tables.get bigquery v2 | projects/acme-dev/datasets/d/tables/two words project=acme-dev kind=tables id=two words | read
GET https://storage.googleapis.com/storage/v1/b/reports%23x/o/y
  unlisted UNSAFE_RESOURCE_NAME
GET https://storage.googleapis.com/storage/v1/b/REPORTS/o/y
  unlisted UNSAFE_RESOURCE_NAME
GET https://storage.googleapis.com/storage/v1/b/reports/o/y%3Fz%23%20
  storage.objects.get storage v1 | projects/_/buckets/reports/objects/y?z#  kind=objects id=y?z#  | read
GET https://firestore.googleapis.com/v1/projects/acme-dev/databases/d/documents/users/what%3F
  firestore.projects.databases.documents.get firestore v1 | projects/acme-dev/databases/d/documents/users/what? project=acme-dev kind=documents id=users/what? | read
GET https://www.googleapis.com/calendar/v3/calendars/en.usa%23holiday@group.v.calendar.google.com
  calendar.calendars.get calendar v3 | calendars/en.usa#holiday@group.v.calendar.google.com kind=calendars id=en.usa#holiday@group.v.calendar.google.com | read
POST https://www.googleapis.com/batch/drive/v3
  unlisted BATCH_REQUEST
GET https://secretmanager.googleapis.com/%76%31/projects/acme-dev/secrets
  secretmanager.projects.secrets.list secretmanager v1 | projects/acme-dev project=acme-dev kind=secrets | read
",
    );
}
