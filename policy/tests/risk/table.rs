//! Calls with their bodies, and what they score.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnpike_policy::request::Body;

use crate::scored::{Sent, shown};

/// A request, its body (`null` for none), and its score.
type Row = (&'static str, Value, &'static str);

fn check(rows: &[Row]) {
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|(line, body, wanted)| {
            let sent = if body.is_null() {
                Body::Absent
            } else {
                Body::Json(body)
            };
            let found = shown(&Sent::new(line, sent).score(&BTreeMap::new()));
            (found != *wanted).then(|| format!("{line} {body}\n  is     {found}\n  wanted {wanted}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const PROJECT: &str = "POST https://cloudresourcemanager.googleapis.com/v1/projects/p:setIamPolicy";
const BUCKET: &str = "PATCH https://storage.googleapis.com/storage/v1/b/b";
const FIREWALL: &str = "POST https://compute.googleapis.com/compute/v1/projects/p/global/firewalls";
const SQL: &str = "PATCH https://sqladmin.googleapis.com/v1/projects/p/instances/i";

#[test]
fn what_the_method_alone_is_worth() {
    let none = || json!(null);
    check(&[
        (
            "GET https://storage.googleapis.com/storage/v1/b/b/o/o",
            none(),
            "0",
        ),
        (
            "GET https://storage.googleapis.com/storage/v1/b/b/iam",
            none(),
            "0",
        ),
        (
            "POST https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=media&name=o",
            none(),
            "10 = change 10",
        ),
        (
            "DELETE https://storage.googleapis.com/storage/v1/b/b/o/o",
            none(),
            "35 = destructive 25 + change 10",
        ),
        (
            "DELETE https://storage.googleapis.com/storage/v1/b/b",
            none(),
            "65 = deletes-data 30 + destructive 25 + change 10",
        ),
        (
            "DELETE https://bigquery.googleapis.com/bigquery/v2/projects/p/datasets/d?deleteContents=true",
            none(),
            "65 = deletes-data 30 + destructive 25 + change 10",
        ),
        (
            "DELETE https://sqladmin.googleapis.com/v1/projects/p/instances/i",
            none(),
            "65 = deletes-data 30 + destructive 25 + change 10",
        ),
        (
            "DELETE https://sqladmin.googleapis.com/v1/projects/p/instances/i/backupRuns/3",
            none(),
            "65 = deletes-data 30 + destructive 25 + change 10",
        ),
        (
            "DELETE https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i",
            none(),
            "65 = deletes-data 30 + destructive 25 + change 10",
        ),
        (
            "DELETE https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d",
            none(),
            "65 = deletes-data 30 + destructive 25 + change 10",
        ),
        (
            "DELETE https://cloudresourcemanager.googleapis.com/v3/projects/p",
            none(),
            "85 = deletes-project 50 + destructive 25 + change 10",
        ),
        (
            "DELETE https://cloudresourcemanager.googleapis.com/v3/liens/l",
            none(),
            "65 = protection-off 30 + destructive 25 + change 10",
        ),
        (
            "POST https://cloudkms.googleapis.com/v1/projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1:destroy",
            json!({}),
            "75 = destroys-keys 40 + destructive 25 + change 10",
        ),
        (
            "DELETE https://secretmanager.googleapis.com/v1/projects/p/secrets/s",
            none(),
            "75 = destroys-keys 40 + destructive 25 + change 10",
        ),
        (
            "GET https://secretmanager.googleapis.com/v1/projects/p/secrets/s/versions/1:access",
            none(),
            "35 = returns-credentials 35",
        ),
        (
            "POST https://iam.googleapis.com/v1/projects/p/serviceAccounts/a@p.iam.gserviceaccount.com/keys",
            json!({}),
            "65 = returns-credentials 35 + iam 20 + change 10",
        ),
        (
            "POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken",
            json!({"scope": ["https://www.googleapis.com/auth/cloud-platform"]}),
            "65 = returns-credentials 35 + iam 20 + change 10",
        ),
        (
            "DELETE https://logging.googleapis.com/v2/projects/p/sinks/s",
            none(),
            "70 = audit-off 35 + destructive 25 + change 10",
        ),
        (
            "POST https://logging.googleapis.com/v2/projects/p/exclusions",
            json!({"name": "e", "filter": "true"}),
            "45 = audit-off 35 + change 10",
        ),
        (
            "DELETE https://monitoring.googleapis.com/v3/projects/p/alertPolicies/1",
            none(),
            "70 = audit-off 35 + destructive 25 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/global/networks/n/addPeering",
            json!({}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            "POST https://dns.googleapis.com/dns/v1/projects/p/managedZones/z/rrsets",
            json!({"name": "a.example."}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i/addAccessConfig?networkInterface=nic0",
            json!({}),
            "40 = external-address 15 + network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i/stop",
            none(),
            "10 = change 10",
        ),
    ]);
}

#[test]
fn who_gets_access() {
    check(&[
        (
            PROJECT,
            json!({"policy": {"bindings": [{"role": "roles/viewer", "members": ["user:a@example.com"]}]}}),
            "30 = iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [
                {"role": "roles/viewer", "members": ["user:a@example.com"]},
                {"role": "roles/storage.objectViewer", "members": ["user:a@example.com", "allUsers", "allAuthenticatedUsers"]},
            ]}}),
            "80 = public-access 50 (bindings[1].members[1]: allUsers, and 1 more) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [{"role": "roles/owner", "members": ["user:a@example.com"]}, {"role": "roles/editor", "members": []}]}}),
            "70 = basic-role 40 (bindings[0].role: roles/owner, and 1 more) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [{"role": "roles/iam.serviceAccountTokenCreator", "members": ["user:a@example.com"]}]}}),
            "60 = escalating-role 30 (bindings[0].role: roles/iam.serviceAccountTokenCreator) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [{"role": "roles/resourcemanager.projectIamAdmin", "members": ["user:a@example.com"]}]}}),
            "60 = escalating-role 30 (bindings[0].role: roles/resourcemanager.*Admin) + iam 20 + change 10",
        ),
        // Google's servers read names in snake case too, and values in other cases are not let through for that.
        (
            PROJECT,
            json!({"Policy": {"BINDINGS": [{"Role": "ROLES/OWNER", "members": [" allusers "]}]}}),
            "100 = public-access 50 (bindings[0].members[0]: allUsers) + basic-role 40 (bindings[0].role: roles/owner) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [], "auditConfigs": [{"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ", "exemptedMembers": ["user:a@example.com"]}]}]}}),
            "65 = audit-off 35 (auditLogConfigs[0].exemptedMembers: given) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": []}, "updateMask": "bindings,etag,auditConfigs"}),
            "65 = audit-off 35 (auditConfigs: reset by the update mask) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [], "audit_configs": []}}),
            "65 = audit-off 35 (auditConfigs: removed) + iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": []}, "updateMask": "bindings,etag"}),
            "30 = iam 20 + change 10",
        ),
        (
            PROJECT,
            json!({"policy": {"bindings": [{"role": "roles/owner", "members": ["allUsers"]}, {"role": "roles/run.admin", "members": []}], "auditConfigs": []}}),
            "100 = public-access 50 (bindings[0].members[0]: allUsers) + basic-role 40 (bindings[0].role: roles/owner) + audit-off 35 (auditConfigs: removed) + escalating-role 30 (bindings[1].role: roles/run.admin) + iam 20 + change 10",
        ),
        (
            "PUT https://storage.googleapis.com/storage/v1/b/b/iam",
            json!({"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}),
            "80 = public-access 50 (bindings[0].members[0]: allUsers) + iam 20 + change 10",
        ),
        (
            "POST https://run.googleapis.com/v2/projects/p/locations/l/services/s:setIamPolicy",
            json!({"policy": {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}]}}),
            "80 = public-access 50 (bindings[0].members[0]: allUsers) + iam 20 + change 10",
        ),
        (
            "POST https://pubsub.googleapis.com/v1/projects/p/topics/t:setIamPolicy",
            json!({"policy": {"bindings": [{"role": "roles/pubsub.publisher", "members": ["allAuthenticatedUsers"]}]}}),
            "80 = public-access 50 (bindings[0].members[0]: allAuthenticatedUsers) + iam 20 + change 10",
        ),
        (
            "POST https://cloudkms.googleapis.com/v1/projects/p/locations/l/keyRings/r/cryptoKeys/k:setIamPolicy",
            json!({"policy": {"bindings": [{"role": "roles/cloudkms.admin", "members": ["user:a@example.com"]}]}}),
            "60 = escalating-role 30 (bindings[0].role: roles/cloudkms.admin) + iam 20 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i/setIamPolicy",
            json!({"bindings": [{"role": "roles/editor", "members": ["allUsers"]}]}),
            "100 = public-access 50 (bindings[0].members[0]: allUsers) + basic-role 40 (bindings[0].role: roles/editor) + iam 20 + change 10",
        ),
        (
            "POST https://iam.googleapis.com/v1/projects/p/roles",
            json!({"roleId": "r", "role": {"includedPermissions": ["storage.objects.get", "iam.serviceAccounts.actAs", "pubsub.topics.setIamPolicy"]}}),
            "60 = escalating-role 30 (includedPermissions[1]: iam.serviceAccounts.actAs, and 1 more) + iam 20 + change 10",
        ),
        (
            "POST https://storage.googleapis.com/storage/v1/b/b/acl",
            json!({"entity": "allUsers", "role": "READER"}),
            "80 = public-access 50 (entity: allUsers) + iam 20 + change 10",
        ),
        (
            "PATCH https://storage.googleapis.com/storage/v1/b/b/acl/allAuthenticatedUsers",
            json!({"role": "READER"}),
            "80 = public-access 50 (entity: allAuthenticatedUsers) + iam 20 + change 10",
        ),
        (
            "DELETE https://storage.googleapis.com/storage/v1/b/b/acl/allUsers",
            json!(null),
            "55 = destructive 25 + iam 20 + change 10",
        ),
        (
            BUCKET,
            json!({"acl": [{"entity": "user-a@example.com", "role": "OWNER"}], "defaultObjectAcl": [{"entity": "allUsers", "role": "READER"}]}),
            "80 = public-access 50 (defaultObjectAcl[0].entity: allUsers) + iam 20 + change 10",
        ),
        (
            "POST https://storage.googleapis.com/storage/v1/b?project=p&predefinedAcl=publicRead",
            json!({"name": "b"}),
            "80 = public-access 50 (predefinedAcl: everybody) + iam 20 + change 10",
        ),
        (
            "POST https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=resumable",
            json!({"name": "o", "acl": [{"entity": "allUsers", "role": "READER"}]}),
            "80 = public-access 50 (acl[0].entity: allUsers) + iam 20 + change 10",
        ),
        (
            "POST https://storage.googleapis.com/storage/v1/b/b/o/o/compose?destinationPredefinedAcl=publicRead",
            json!({"sourceObjects": [{"name": "a"}]}),
            "80 = public-access 50 (destinationPredefinedAcl: everybody) + iam 20 + change 10",
        ),
        (
            "PATCH https://bigquery.googleapis.com/bigquery/v2/projects/p/datasets/d",
            json!({"access": [{"role": "OWNER", "specialGroup": "projectOwners"}, {"role": "READER", "specialGroup": "allAuthenticatedUsers"}]}),
            "60 = public-access 50 (access[1].specialGroup: allAuthenticatedUsers) + change 10",
        ),
        (
            "POST https://bigquery.googleapis.com/bigquery/v2/projects/p/datasets",
            json!({"access": [{"role": "READER", "iamMember": "allUsers"}]}),
            "60 = public-access 50 (access[0].iamMember: allUsers) + change 10",
        ),
        (
            "POST https://www.googleapis.com/drive/v3/files/f/permissions",
            json!({"role": "reader", "type": "anyone"}),
            "80 = public-access 50 (type: anyone) + iam 20 + change 10",
        ),
    ]);
}

#[test]
fn what_the_network_lets_in() {
    check(&[
        (
            FIREWALL,
            json!({"name": "f", "direction": "INGRESS", "sourceRanges": ["10.0.0.0/8"], "allowed": [{"IPProtocol": "tcp"}]}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            FIREWALL,
            json!({"name": "f", "sourceRanges": ["10.0.0.0/8", "0.0.0.0/0"], "allowed": [{"IPProtocol": "tcp"}]}),
            "60 = open-network 35 (sourceRanges[1]: any address) + network-exposure 15 + change 10",
        ),
        (
            FIREWALL,
            json!({"name": "f", "sourceRanges": ["0.0.0.0/1", "128.0.0.0/1", "::/0"]}),
            "60 = open-network 35 (sourceRanges[0]: any address) + network-exposure 15 + change 10",
        ),
        (
            FIREWALL,
            json!({"name": "f", "allowed": [{"IPProtocol": "all"}]}),
            "60 = open-network 35 (no sourceRanges, which means any address) + network-exposure 15 + change 10",
        ),
        (
            FIREWALL,
            json!({"name": "f", "sourceTags": ["web"], "allowed": [{"IPProtocol": "all"}]}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            FIREWALL,
            json!({"name": "f", "direction": "EGRESS", "sourceRanges": ["0.0.0.0/0"]}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            FIREWALL,
            json!({"name": "f", "sourceRanges": ["0.0.0.0/0"], "denied": [{"IPProtocol": "all"}]}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            "PATCH https://compute.googleapis.com/compute/v1/projects/p/global/firewalls/f",
            json!({"logConfig": {"enable": false}}),
            "60 = audit-off 35 (logConfig.enable: off) + network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/global/firewallPolicies/f/addRule",
            json!({"action": "allow", "direction": "INGRESS", "match": {"srcIpRanges": ["::/0"]}}),
            "60 = open-network 35 (match.srcIpRanges[0]: any address) + network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/locations/global/firewallPolicies/f/addRule",
            json!({"action": "allow", "direction": "INGRESS", "match": {"srcIpRanges": ["::/0"]}}),
            "60 = open-network 35 (match.srcIpRanges[0]: any address) + network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/locations/global/firewallPolicies/f/addRule",
            json!({"action": "deny", "match": {"srcIpRanges": ["0.0.0.0/0"]}}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            SQL,
            json!({"settings": {"ipConfiguration": {"ipv4Enabled": true, "authorizedNetworks": [{"value": "203.0.113.0/24"}, {"value": "0.0.0.0/0"}]}}}),
            "60 = open-network 35 (authorizedNetworks[1].value: any address) + external-address 15 (ipConfiguration.ipv4Enabled: on) + change 10",
        ),
        (
            "POST https://run.googleapis.com/v2/projects/p/locations/l/services?serviceId=s",
            json!({"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY", "template": {}}),
            "10 = change 10",
        ),
        (
            "POST https://run.googleapis.com/v2/projects/p/locations/l/services?serviceId=s",
            json!({"template": {}}),
            "30 = public-ingress 20 (no ingress, which means all traffic) + change 10",
        ),
        (
            "PATCH https://run.googleapis.com/v2/projects/p/locations/l/services/s",
            json!({"template": {}}),
            "10 = change 10",
        ),
        (
            "PATCH https://run.googleapis.com/v2/projects/p/locations/l/services/s",
            json!({"ingress": 1, "invokerIamDisabled": true}),
            "80 = public-access 50 (invokerIamDisabled: on) + public-ingress 20 (ingress: all traffic) + change 10",
        ),
        (
            "PUT https://us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/p/services/s",
            json!({"metadata": {"annotations": {"run.googleapis.com/ingress": "all", "run.googleapis.com/invoker-iam-disabled": "true"}}}),
            "80 = public-access 50 (annotations.run.googleapis.com/invoker-iam-disabled: on) + public-ingress 20 (annotations.run.googleapis.com/ingress: all traffic) + change 10",
        ),
        (
            "PUT https://us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/p/services/s",
            json!({"metadata": {"annotations": {"run.googleapis.com/ingress": "internal"}}}),
            "10 = change 10",
        ),
        (
            "POST https://cloudfunctions.googleapis.com/v2/projects/p/locations/l/functions?functionId=f",
            json!({"serviceConfig": {"ingressSettings": "ALLOW_ALL"}}),
            "30 = public-ingress 20 (ingressSettings: all traffic) + change 10",
        ),
        (
            "POST https://cloudfunctions.googleapis.com/v2/projects/p/locations/l/functions?functionId=f",
            json!({"serviceConfig": {"ingressSettings": "ALLOW_INTERNAL_ONLY"}}),
            "10 = change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/global/forwardingRules",
            json!({"loadBalancingScheme": "EXTERNAL_MANAGED"}),
            "45 = public-ingress 20 (loadBalancingScheme: external) + network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/regions/r/forwardingRules",
            json!({"name": "f"}),
            "45 = public-ingress 20 (no loadBalancingScheme, which means an external one) + network-exposure 15 + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/regions/r/forwardingRules",
            json!({"loadBalancingScheme": "INTERNAL"}),
            "25 = network-exposure 15 + change 10",
        ),
        (
            "PUT https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
            json!({"update": {"desiredMasterAuthorizedNetworksConfig": {"enabled": true, "cidrBlocks": [{"cidrBlock": "0.0.0.0/0"}]}}}),
            "45 = open-network 35 (cidrBlocks[0].cidrBlock: any address) + change 10",
        ),
        (
            "PUT https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
            json!({"update": {"desiredMasterAuthorizedNetworksConfig": {"enabled": false}}}),
            "45 = open-network 35 (desiredMasterAuthorizedNetworksConfig.enabled: off) + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances",
            json!({"networkInterfaces": [{"network": "n"}, {"accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}]}),
            "25 = external-address 15 (networkInterfaces[1].accessConfigs: given) + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances",
            json!({"networkInterfaces": [{"accessConfigs": []}]}),
            "10 = change 10",
        ),
    ]);
}

#[test]
fn what_is_switched_off() {
    check(&[
        (
            "PUT https://logging.googleapis.com/v2/projects/p/sinks/s",
            json!({"disabled": true, "exclusions": [{"name": "e"}]}),
            "45 = audit-off 35 (disabled: on, and 1 more) + change 10",
        ),
        (
            "PATCH https://logging.googleapis.com/v2/projects/p/locations/global/buckets/_Default?updateMask=retentionDays",
            json!({"retentionDays": 1}),
            "45 = audit-off 35 (retentionDays: too little) + change 10",
        ),
        (
            "PATCH https://logging.googleapis.com/v2/projects/p/locations/global/buckets/_Default?updateMask=retention_days",
            json!({}),
            "45 = audit-off 35 (retentionDays: reset by the update mask) + change 10",
        ),
        (
            "PATCH https://logging.googleapis.com/v2/projects/p/locations/global/buckets/_Default?updateMask=retentionDays",
            json!({"retentionDays": 365}),
            "10 = change 10",
        ),
        (
            "PATCH https://compute.googleapis.com/compute/v1/projects/p/regions/r/subnetworks/s",
            json!({"enableFlowLogs": false}),
            "45 = audit-off 35 (enableFlowLogs: off) + change 10",
        ),
        (
            "POST https://container.googleapis.com/v1/projects/p/locations/l/clusters/c:setLogging",
            json!({"loggingService": "none"}),
            "45 = audit-off 35 (loggingService: none) + change 10",
        ),
        (
            "PUT https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
            json!({"update": {"desiredLoggingConfig": {"componentConfig": {"enableComponents": []}}}}),
            "45 = audit-off 35 (desiredLoggingConfig.componentConfig.enableComponents: removed) + change 10",
        ),
        (
            BUCKET,
            json!({"logging": null}),
            "45 = audit-off 35 (logging: removed) + change 10",
        ),
        (
            BUCKET,
            json!({"versioning": {"enabled": false}, "softDeletePolicy": {"retentionDurationSeconds": "0"}}),
            "40 = protection-off 30 (versioning.enabled: off, and 1 more) + change 10",
        ),
        (
            BUCKET,
            json!({"retentionPolicy": null}),
            "40 = protection-off 30 (retentionPolicy: removed) + change 10",
        ),
        (
            BUCKET,
            json!({"iamConfiguration": {"publicAccessPrevention": "inherited"}}),
            "40 = protection-off 30 (publicAccessPrevention: inherited) + change 10",
        ),
        (
            BUCKET,
            json!({"iamConfiguration": {"publicAccessPrevention": "enforced"}, "versioning": {"enabled": true}, "labels": {"a": "b"}}),
            "10 = change 10",
        ),
        (
            BUCKET,
            json!({"lifecycle": {"rule": [{"action": {"type": "SetStorageClass"}}, {"action": {"type": "Delete"}, "condition": {"age": 0}}]}}),
            "40 = deletes-data 30 (action.type: Delete) + change 10",
        ),
        (
            "PATCH https://storage.googleapis.com/storage/v1/b/b/o/o",
            json!({"temporaryHold": false}),
            "40 = protection-off 30 (temporaryHold: off) + change 10",
        ),
        (
            SQL,
            json!({"settings": {"deletionProtectionEnabled": false}}),
            "40 = protection-off 30 (deletionProtectionEnabled: off) + change 10",
        ),
        (
            SQL,
            json!({"settings": {"backupConfiguration": {"enabled": false, "pointInTimeRecoveryEnabled": false}}}),
            "40 = protection-off 30 (backupConfiguration.enabled: off, and 1 more) + change 10",
        ),
        (
            SQL,
            json!({"settings": {"deletionProtectionEnabled": true}}),
            "10 = change 10",
        ),
        (
            "PUT https://sqladmin.googleapis.com/v1/projects/p/instances/i",
            json!({"settings": {"tier": "t"}}),
            "40 = protection-off 30 (no deletionProtectionEnabled, which means that it is off) + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i/setDeletionProtection?deletionProtection=false",
            json!(null),
            "40 = protection-off 30 (deletionProtection: off) + change 10",
        ),
        (
            "POST https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i/setDeletionProtection?deletionProtection=true",
            json!(null),
            "10 = change 10",
        ),
        (
            "PATCH https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d?updateMask=enableDropProtection",
            json!({}),
            "40 = protection-off 30 (enableDropProtection: reset by the update mask) + change 10",
        ),
        (
            "PATCH https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d?updateMask=enable_drop_protection",
            json!(null),
            "40 = protection-off 30 (enableDropProtection: reset by the update mask) + change 10",
        ),
        (
            "PATCH https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d?updateMask=enableDropProtection",
            json!({"enableDropProtection": true}),
            "10 = change 10",
        ),
        (
            "PATCH https://firestore.googleapis.com/v1/projects/p/databases/d",
            json!({"deleteProtectionState": "DELETE_PROTECTION_DISABLED"}),
            "40 = protection-off 30 (deleteProtectionState: off) + change 10",
        ),
        (
            "PUT https://cloudbilling.googleapis.com/v1/projects/p/billingInfo",
            json!({"billingAccountName": ""}),
            "60 = deletes-project 50 (billingAccountName: removed) + change 10",
        ),
        (
            "PUT https://cloudbilling.googleapis.com/v1/projects/p/billingInfo",
            json!({"billingAccountName": "billingAccounts/1"}),
            "10 = change 10",
        ),
        (
            "PATCH https://secretmanager.googleapis.com/v1/projects/p/secrets/s?updateMask=ttl",
            json!({"ttl": "1s"}),
            "50 = destroys-keys 40 (ttl: given) + change 10",
        ),
        (
            "POST https://storagebatchoperations.googleapis.com/v1/projects/p/locations/global/jobs?jobId=j",
            json!({"deleteObject": {}}),
            "40 = deletes-data 30 (deleteObject: given) + change 10",
        ),
    ]);
}

/// A field counts as given where the method has it and nowhere else: some servers pass over what they do not know.
#[test]
fn what_stands_elsewhere_does_not_count_as_given() {
    const RUN: &str = "POST https://run.googleapis.com/v2/projects/p/locations/l/services?serviceId=s";
    const DATABASE: &str = "PATCH https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d";
    const MASKED: &str = "PATCH https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d?updateMask=enableDropProtection";
    const OPEN: &str =
        "60 = open-network 35 (no sourceRanges, which means any address) + network-exposure 15 + change 10";
    const ALL: &str = "30 = public-ingress 20 (no ingress, which means all traffic) + change 10";
    const RESET: &str = "40 = protection-off 30 (enableDropProtection: reset by the update mask) + change 10";
    check(&[
        (FIREWALL, json!({"sourceRanges": []}), OPEN),
        (
            FIREWALL,
            json!({"sourceRanges": null, "other": {"sourceRanges": ["10.0.0.0/8"]}}),
            OPEN,
        ),
        // Two spellings: which one counts is not known.
        (
            FIREWALL,
            json!({"direction": "EGRESS", "DIRECTION": "INGRESS"}),
            OPEN,
        ),
        (
            FIREWALL,
            json!({"sourceRanges": ["10.0.0.0/8"], "source_ranges": ["10.0.0.0/8"]}),
            OPEN,
        ),
        (RUN, json!({"labels": {"ingress": "internal"}}), ALL),
        // As gRPC has it.
        (
            RUN,
            json!({"parent": "projects/p", "service": {"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY"}}),
            "10 = change 10",
        ),
        (RUN, json!({"parent": "projects/p", "service": {}}), ALL),
        (MASKED, json!({"other": {"enableDropProtection": true}}), RESET),
        (
            DATABASE,
            json!({"database": {"name": "d"}, "updateMask": {"paths": ["enable_drop_protection"]}}),
            RESET,
        ),
        (
            DATABASE,
            json!({"database": {"enableDropProtection": true}, "updateMask": {"paths": ["enable_drop_protection"]}}),
            "10 = change 10",
        ),
        (
            DATABASE,
            json!({"name": "d", "fieldMask": "name"}),
            "10 = change 10",
        ),
        (
            DATABASE,
            json!({"database": {"enableDropProtection": true}, "other": {}, "updateMask": "enableDropProtection"}),
            RESET,
        ),
        (
            DATABASE,
            json!({"database": {"enableDropProtection": true}, "updateMask": "*"}),
            "10 = change 10",
        ),
        (
            DATABASE,
            json!({"name": "d", "updateMask": "*"}),
            "40 = protection-off 30 (deletionProtection: reset by the update mask) + change 10",
        ),
    ]);
}
