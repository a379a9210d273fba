//! The table: which fields of which methods are looked at, and for what.
//!
//! Names were taken from the discovery documents; a path may have anything before the names that are given here, so
//! that the same row serves every version of an API, and the forms of gRPC.

use serde_json::{Map, Value};

use super::{is::Is, same_name};
use crate::risk::factors::Id;

type Fields = &'static [&'static [&'static str]];
type Methods = &'static [&'static str];
/// Whether an object is harmless although a field of it is not, such as a firewall rule that denies.
type Excuse = fn(&Map<String, Value>) -> bool;

/// A row.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) factor: Id,
    pub(super) methods: Methods,
    /// By which names the path of a field ends.
    pub(super) fields: Fields,
    pub(super) is: Is,
    /// Asked of the object that has the first of the names.
    pub(super) excuse: Option<Excuse>,
    /// What it means that the field is not there.
    pub(super) absent: Option<Absent>,
    /// For these of the methods, by their ids, it does not count that the body can't be read.
    pub(super) lenient: Methods,
}

/// What the lack of a field means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absent {
    /// For these methods.
    pub(super) on: Methods,
    /// In words.
    pub(super) means: &'static str,
    /// Whole paths of the field, from the body: a field of its name elsewhere is not the field.
    pub(super) unless_at: Fields,
    /// Asked of the whole body.
    pub(super) excuse: Option<Excuse>,
}

impl Probe {
    /// The last name of the first field, for people.
    pub(super) fn first_name(&self) -> &'static str {
        self.fields
            .first()
            .and_then(|names| names.last())
            .copied()
            .unwrap_or("field")
    }

    const fn excused(mut self, by: Excuse) -> Self {
        self.excuse = Some(by);
        self
    }

    const fn absent(mut self, on: Methods, unless_at: Fields, means: &'static str) -> Self {
        self.absent = Some(Absent {
            on,
            means,
            unless_at,
            excuse: None,
        });
        self
    }

    /// The lack of a field is harmless where this says so of the body.
    const fn absence_excused(mut self, by: Excuse) -> Self {
        if let Some(absent) = &mut self.absent {
            absent.excuse = Some(by);
        }
        self
    }

    const fn lenient(mut self, methods: Methods) -> Self {
        self.lenient = methods;
        self
    }
}

const fn row(factor: Id, methods: Methods, fields: Fields, is: Is) -> Probe {
    Probe {
        factor,
        methods,
        fields,
        is,
        excuse: None,
        absent: None,
        lenient: &[],
    }
}

/// Methods whose body holds an IAM policy or bindings of one.
const POLICIES: Methods = &["**.setIamPolicy", "servicenetworking.services.roles.add"];
const FIREWALL_POLICIES: Methods = &[
    "compute.firewallPolicies.addRule",
    "compute.firewallPolicies.patchRule",
    "compute.firewallPolicies.insert",
    "compute.firewallPolicies.patch",
    "compute.networkFirewallPolicies.addRule",
    "compute.networkFirewallPolicies.patchRule",
    "compute.networkFirewallPolicies.insert",
    "compute.networkFirewallPolicies.patch",
    "compute.regionNetworkFirewallPolicies.addRule",
    "compute.regionNetworkFirewallPolicies.patchRule",
    "compute.regionNetworkFirewallPolicies.insert",
    "compute.regionNetworkFirewallPolicies.patch",
];
const SQL: Methods = &[
    "sql.instances.insert",
    "sql.instances.patch",
    "sql.instances.update",
    "sql.instances.clone",
    "sql.instances.restoreBackup",
    "sql.instances.pointInTimeRestore",
];
const RUN: Methods = &[
    "run.**.services.create",
    "run.**.services.patch",
    "run.**.services.replaceService",
    "run.**.instances.create",
    "run.**.instances.patch",
    "run.**.instances.replaceInstance",
];
const RUN_WHOLE: Methods = &[
    "run.**.services.create",
    "run.**.services.replaceService",
    "run.**.instances.create",
    "run.**.instances.replaceInstance",
];
const SQL_CHANGED: Methods = &["sql.instances.patch", "sql.instances.update"];
const BUCKET_CHANGED: Methods = &["storage.buckets.patch", "storage.buckets.update"];

/// The rows for bodies.
pub(super) const PROBES: &[Probe] = &[
    // Who may do what: google.iam.v1.Policy and AuditConfig; roles in a service producer's networks.
    row(
        Id::PublicAccess,
        POLICIES,
        &[&["bindings", "members"], &["policyBinding", "member"]],
        Is::Everybody,
    ),
    row(
        Id::BasicRole,
        POLICIES,
        &[&["bindings", "role"], &["policyBinding", "role"]],
        Is::BasicRole,
    ),
    row(
        Id::EscalatingRole,
        POLICIES,
        &[&["bindings", "role"], &["policyBinding", "role"]],
        Is::EscalatingRole,
    ),
    row(
        Id::AuditOff,
        &["**.setIamPolicy"],
        &[&["auditLogConfigs", "exemptedMembers"]],
        Is::Given,
    ),
    row(
        Id::AuditOff,
        &["**.setIamPolicy"],
        &[&["auditConfigs"]],
        Is::Empty,
    ),
    row(
        Id::EscalatingRole,
        &["iam.**.roles.create", "iam.**.roles.patch"],
        &[&["includedPermissions"]],
        Is::EscalatingPermission,
    ),
    // Cloud Storage: BucketAccessControl, ObjectAccessControl, within their parents too.
    row(
        Id::PublicAccess,
        &[
            "storage.bucketAccessControls.*",
            "storage.defaultObjectAccessControls.*",
            "storage.objectAccessControls.*",
            "storage.buckets.insert",
            "storage.buckets.patch",
            "storage.buckets.update",
            "storage.objects.patch",
            "storage.objects.update",
            "storage.objects.copy",
            "storage.objects.rewrite",
            "storage.objects.compose",
            "storage.objects.insert",
            "storagebatchoperations.**.jobs.create",
        ],
        &[
            &["acl", "entity"],
            &["defaultObjectAcl", "entity"],
            &["grants", "entity"],
            &["entity"],
        ],
        Is::Everybody,
    )
    // An upload's body is content.
    .lenient(&["storage.objects.insert"]),
    // BigQuery: Dataset.access, RowAccessPolicy, DataPolicy.
    row(
        Id::PublicAccess,
        &[
            "bigquery.datasets.insert",
            "bigquery.datasets.patch",
            "bigquery.datasets.update",
        ],
        &[&["access", "specialGroup"], &["access", "iamMember"]],
        Is::Everybody,
    ),
    row(
        Id::PublicAccess,
        &[
            "bigquery.rowAccessPolicies.insert",
            "bigquery.rowAccessPolicies.update",
            "bigquerydatapolicy.**.dataPolicies.addGrantees",
            "bigquerydatapolicy.**.dataPolicies.create",
            "bigquerydatapolicy.**.dataPolicies.patch",
        ],
        &[&["grantees"]],
        Is::Everybody,
    ),
    // Drive and Calendar: Permission, AclRule.
    row(
        Id::PublicAccess,
        &["drive.permissions.*"],
        &[&["type"]],
        Is::OneOf(&["anyone"], "anyone"),
    ),
    row(
        Id::PublicAccess,
        &["calendar.acl.*"],
        &[&["scope", "type"]],
        Is::OneOf(&["default"], "everybody"),
    ),
    // Cloud Run v2 and v1: Service, Instance.
    row(
        Id::PublicAccess,
        RUN,
        &[
            &["invokerIamDisabled"],
            &["annotations", "run.googleapis.com/invoker-iam-disabled"],
        ],
        Is::On,
    ),
    row(
        Id::PublicIngress,
        RUN,
        &[&["ingress"], &["annotations", "run.googleapis.com/ingress"]],
        Is::OneOf(
            &[
                "INGRESS_TRAFFIC_ALL",
                "INGRESS_TRAFFIC_UNSPECIFIED",
                "all",
                "0",
                "1",
            ],
            "all traffic",
        ),
    )
    .absent(
        RUN_WHOLE,
        &[
            &["ingress"],
            &["service", "ingress"],
            &["instance", "ingress"],
            &["metadata", "annotations", "run.googleapis.com/ingress"],
        ],
        "all traffic",
    ),
    // Cloud Functions v2 and v1, App Engine.
    row(
        Id::PublicIngress,
        &[
            "cloudfunctions.**.functions.create",
            "cloudfunctions.**.functions.patch",
        ],
        &[&["ingressSettings"]],
        Is::OneOf(
            &["ALLOW_ALL", "INGRESS_SETTINGS_UNSPECIFIED", "0", "1"],
            "all traffic",
        ),
    )
    .absent(
        &["cloudfunctions.**.functions.create"],
        &[
            &["ingressSettings"],
            &["serviceConfig", "ingressSettings"],
            &["function", "ingressSettings"],
            &["function", "serviceConfig", "ingressSettings"],
        ],
        "all traffic",
    ),
    row(
        Id::PublicIngress,
        &["appengine.**.services.patch"],
        &[&["networkSettings", "ingressTrafficAllowed"]],
        Is::OneOf(
            &[
                "INGRESS_TRAFFIC_ALLOWED_ALL",
                "INGRESS_TRAFFIC_ALLOWED_UNSPECIFIED",
                "0",
                "1",
            ],
            "all traffic",
        ),
    ),
    // Load balancers: ForwardingRule.
    row(
        Id::PublicIngress,
        &[
            "compute.forwardingRules.insert",
            "compute.globalForwardingRules.insert",
        ],
        &[&["loadBalancingScheme"]],
        Is::OneOf(
            &["EXTERNAL", "EXTERNAL_MANAGED", "EXTERNAL_PASSTHROUGH"],
            "external",
        ),
    )
    .absent(
        &[
            "compute.forwardingRules.insert",
            "compute.globalForwardingRules.insert",
        ],
        &[&["loadBalancingScheme"]],
        "an external one",
    ),
    // Firewalls: Firewall, FirewallPolicyRule; App Engine's; VMware Engine's.
    row(
        Id::OpenNetwork,
        &[
            "compute.firewalls.insert",
            "compute.firewalls.patch",
            "compute.firewalls.update",
        ],
        &[&["sourceRanges"]],
        Is::OpenRange,
    )
    .excused(lets_nothing_in)
    .absent(
        &["compute.firewalls.insert", "compute.firewalls.update"],
        &[&["sourceRanges"]],
        "any address",
    )
    .absence_excused(names_other_sources),
    row(
        Id::OpenNetwork,
        FIREWALL_POLICIES,
        &[&["match", "srcIpRanges"]],
        Is::OpenRange,
    )
    .excused(lets_nothing_in),
    row(
        Id::OpenNetwork,
        &["appengine.**.firewall.ingressRules.*"],
        &[&["sourceRange"]],
        Is::OpenRange,
    )
    .excused(lets_nothing_in),
    row(
        Id::OpenNetwork,
        &["vmwareengine.**.externalAccessRules.*"],
        &[&["sourceIpRanges", "ipAddressRange"]],
        Is::OpenRange,
    )
    .excused(lets_nothing_in),
    // Networks that may reach a database or a control plane.
    row(
        Id::OpenNetwork,
        SQL,
        &[&["authorizedNetworks", "value"]],
        Is::OpenRange,
    ),
    row(
        Id::OpenNetwork,
        &[
            "datamigration.**.connectionProfiles.create",
            "datamigration.**.connectionProfiles.patch",
        ],
        &[
            &["authorizedNetworks", "value"],
            &["authorizedExternalNetworks", "cidrRange"],
        ],
        Is::OpenRange,
    ),
    row(
        Id::OpenNetwork,
        &[
            "alloydb.**.instances.create",
            "alloydb.**.instances.createsecondary",
            "alloydb.**.instances.patch",
        ],
        &[&["authorizedExternalNetworks", "cidrRange"]],
        Is::OpenRange,
    ),
    row(
        Id::OpenNetwork,
        &["container.**.clusters.create", "container.**.clusters.update"],
        &[&["cidrBlocks", "cidrBlock"]],
        Is::OpenRange,
    ),
    row(
        Id::OpenNetwork,
        &["container.**.clusters.update"],
        &[
            &["desiredMasterAuthorizedNetworksConfig", "enabled"],
            &["authorizedNetworksConfig", "enabled"],
        ],
        Is::Off,
    ),
    row(
        Id::OpenNetwork,
        &[
            "composer.**.environments.create",
            "composer.**.environments.patch",
        ],
        &[&["cidrBlocks", "cidrBlock"], &["allowedIpRanges", "value"]],
        Is::OpenRange,
    ),
    // Addresses of the internet: NetworkInterface, IpConfiguration and their like.
    row(
        Id::ExternalAddress,
        &[
            "backupdr.**.backups.restore",
            "compute.instances.insert",
            "compute.instances.update",
            "compute.instances.bulkInsert",
            "compute.instances.addNetworkInterface",
            "compute.instances.updateNetworkInterface",
            "compute.instanceTemplates.insert",
            "compute.machineImages.insert",
            "compute.regionInstances.bulkInsert",
            "compute.regionInstanceTemplates.insert",
        ],
        &[
            &["networkInterfaces", "accessConfigs"],
            &["networkInterfaces", "ipv6AccessConfigs"],
            &["accessConfigs"],
            &["ipv6AccessConfigs"],
        ],
        Is::Given,
    ),
    row(
        Id::ExternalAddress,
        SQL,
        &[&["ipConfiguration", "ipv4Enabled"]],
        Is::On,
    ),
    row(
        Id::ExternalAddress,
        &[
            "alloydb.**.instances.create",
            "alloydb.**.instances.createsecondary",
            "alloydb.**.instances.patch",
            "looker.**.instances.create",
            "looker.**.instances.patch",
            "tpu.**.nodes.create",
            "tpu.**.queuedResources.create",
        ],
        &[&["enablePublicIp"], &["publicIpEnabled"], &["enableExternalIps"]],
        Is::On,
    ),
    // Logs: LogSink, LogBucket, Settings; AlertPolicy.
    row(
        Id::AuditOff,
        &[
            "logging.**.sinks.create",
            "logging.**.sinks.patch",
            "logging.**.sinks.update",
        ],
        &[&["disabled"]],
        Is::On,
    ),
    row(
        Id::AuditOff,
        &["logging.**.sinks.patch", "logging.**.sinks.update"],
        &[&["exclusions"]],
        Is::Given,
    ),
    row(
        Id::AuditOff,
        &["logging.**.buckets.patch", "logging.**.buckets.updateAsync"],
        &[&["retentionDays"]],
        Is::AtMost(29),
    ),
    row(
        Id::AuditOff,
        &["logging.**.updateSettings"],
        &[&["disableDefaultSink"]],
        Is::On,
    ),
    row(
        Id::AuditOff,
        &["monitoring.projects.alertPolicies.patch"],
        &[&["enabled"]],
        Is::Off,
    ),
    // Logs of resources that exist.
    row(
        Id::AuditOff,
        &[
            "compute.subnetworks.patch",
            "compute.backendServices.patch",
            "compute.backendServices.update",
            "compute.regionBackendServices.patch",
            "compute.regionBackendServices.update",
            "compute.firewalls.patch",
            "compute.firewalls.update",
            "compute.routers.patch",
            "compute.routers.update",
        ],
        &[&["enableFlowLogs"], &["logConfig", "enable"]],
        Is::Off,
    ),
    row(
        Id::AuditOff,
        &[
            "compute.firewallPolicies.patchRule",
            "compute.networkFirewallPolicies.patchRule",
            "compute.regionNetworkFirewallPolicies.patchRule",
            "dns.managedZones.patch",
            "dns.managedZones.update",
            "dns.policies.patch",
            "dns.policies.update",
        ],
        &[&["enableLogging"]],
        Is::Off,
    ),
    row(
        Id::AuditOff,
        &[
            "container.**.clusters.setLogging",
            "container.**.clusters.logging",
            "container.**.clusters.update",
        ],
        &[&["loggingService"], &["desiredLoggingService"]],
        Is::OneOf(&["none"], "none"),
    ),
    row(
        Id::AuditOff,
        &["container.**.clusters.update"],
        &[&["desiredLoggingConfig", "componentConfig", "enableComponents"]],
        Is::Empty,
    ),
    row(Id::AuditOff, BUCKET_CHANGED, &[&["logging"]], Is::Empty),
    // Protection from deletion.
    row(
        Id::ProtectionOff,
        &[
            "bigtableadmin.**.tables.patch",
            "compute.instances.update",
            "file.**.instances.patch",
            "metastore.**.services.patch",
            "notebooks.**.instances.patch",
            "redis.**.clusters.patch",
            "spanner.**.databases.patch",
            "sql.instances.patch",
        ],
        &[
            &["deletionProtection"],
            &["deletionProtectionEnabled"],
            &["enableDeletionProtection"],
            &["enableDropProtection"],
        ],
        Is::Off,
    ),
    row(
        Id::ProtectionOff,
        &["sql.instances.update"],
        &[&["deletionProtectionEnabled"]],
        Is::Off,
    )
    .absent(
        &["sql.instances.update"],
        &[
            &["settings", "deletionProtectionEnabled"],
            &["body", "settings", "deletionProtectionEnabled"],
        ],
        "that it is off",
    ),
    row(
        Id::ProtectionOff,
        &["firestore.projects.databases.patch"],
        &[&["deleteProtectionState"], &["pointInTimeRecoveryEnablement"]],
        Is::OneOf(
            &["DELETE_PROTECTION_DISABLED", "POINT_IN_TIME_RECOVERY_DISABLED"],
            "off",
        ),
    ),
    // Backups and retention.
    row(
        Id::ProtectionOff,
        SQL_CHANGED,
        &[
            &["backupConfiguration", "enabled"],
            &["backupConfiguration", "pointInTimeRecoveryEnabled"],
        ],
        Is::Off,
    ),
    row(
        Id::ProtectionOff,
        BUCKET_CHANGED,
        &[&["softDeletePolicy", "retentionDurationSeconds"]],
        Is::AtMost(0),
    ),
    row(
        Id::ProtectionOff,
        BUCKET_CHANGED,
        &[&["retentionPolicy"], &["softDeletePolicy"]],
        Is::Empty,
    ),
    row(
        Id::ProtectionOff,
        BUCKET_CHANGED,
        &[&["versioning", "enabled"]],
        Is::Off,
    ),
    row(
        Id::ProtectionOff,
        BUCKET_CHANGED,
        &[&["publicAccessPrevention"]],
        Is::OneOf(&["inherited", "unspecified"], "inherited"),
    ),
    row(
        Id::ProtectionOff,
        &["storage.objects.patch", "storage.objects.update"],
        &[&["temporaryHold"], &["eventBasedHold"]],
        Is::Off,
    ),
    row(
        Id::ProtectionOff,
        &["storage.objects.patch", "storage.objects.update"],
        &[&["retention"]],
        Is::Empty,
    ),
    // Data that goes by way of a body.
    row(
        Id::DeletesData,
        BUCKET_CHANGED,
        &[&["action", "type"]],
        Is::OneOf(&["Delete"], "Delete"),
    ),
    row(
        Id::DeletesData,
        &["storagebatchoperations.**.jobs.create"],
        &[&["deleteObject"]],
        Is::Present,
    ),
    row(
        Id::DestroysKeys,
        &["secretmanager.**.secrets.patch"],
        &[&["ttl"], &["expireTime"]],
        Is::Given,
    ),
    row(
        Id::DeletesProject,
        &["cloudbilling.projects.updateBillingInfo"],
        &[&["billingAccountName"]],
        Is::Empty,
    )
    .absent(
        &["cloudbilling.projects.updateBillingInfo"],
        &[
            &["billingAccountName"],
            &["projectBillingInfo", "billingAccountName"],
        ],
        "that billing ends",
    ),
];

/// A row for parameters or headers.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) factor: Id,
    pub(super) methods: Methods,
    pub(super) names: &'static [&'static str],
    pub(super) is: Is,
}

/// Predefined access control lists that share with everybody, by their names in JSON and in XML.
const PREDEFINED: Is = Is::OneOf(
    &[
        "publicRead",
        "publicReadWrite",
        "authenticatedRead",
        "public-read",
        "public-read-write",
        "authenticated-read",
    ],
    "everybody",
);

/// The rows for parameters of the query.
pub(super) const QUERY: &[Named] = &[
    Named {
        factor: Id::PublicAccess,
        methods: &["storage.**"],
        names: &[
            "predefinedAcl",
            "predefinedDefaultObjectAcl",
            "destinationPredefinedAcl",
        ],
        is: PREDEFINED,
    },
    Named {
        factor: Id::ProtectionOff,
        methods: &["compute.instances.setDeletionProtection"],
        names: &["deletionProtection"],
        is: Is::Off,
    },
];

/// The rows for headers.
pub(super) const HEADERS: &[Named] = &[Named {
    factor: Id::PublicAccess,
    methods: &["storage.**"],
    names: &["x-goog-acl"],
    is: PREDEFINED,
}];

/// Whether a rule of a firewall denies, or is about what goes out.
fn lets_nothing_in(rule: &Map<String, Value>) -> bool {
    let text = |name: &str| get(rule, name).and_then(Value::as_str);
    let listed = |name: &str| {
        get(rule, name)
            .and_then(Value::as_array)
            .is_some_and(|items| !items.is_empty())
    };
    let outward = text("direction").is_some_and(|direction| direction.eq_ignore_ascii_case("EGRESS"));
    let denies = text("action").is_some_and(|action| {
        let action = action.to_ascii_lowercase();
        action.starts_with("deny")
    });
    outward || denies || (listed("denied") && !listed("allowed"))
}

/// Whether the rule of a firewall without source ranges lets in less than any address.
fn names_other_sources(rule: &Map<String, Value>) -> bool {
    let listed = |name: &str| {
        get(rule, name)
            .and_then(Value::as_array)
            .is_some_and(|items| !items.is_empty())
    };
    lets_nothing_in(rule) || listed("sourceTags") || listed("sourceServiceAccounts")
}

/// A field by its name. One that is there twice in different spellings has no value that could be relied on.
fn get<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let mut found = object.iter().filter(|(given, _)| same_name(given, name));
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}
