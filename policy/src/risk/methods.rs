//! Factors that a method's id alone decides: what it exposes, and what is lost with it.
//!
//! Patterns are written as in rules: `*` is one segment of an id, `**` any number of them. They are asked of
//! methods that may change something only, so a pattern need not leave out those that read.

use std::sync::LazyLock;

use super::{factors::Id, pattern::Patterns, tally::Tally};
use crate::call::{Call, Traits};

/// The table. A test finds each pattern in the catalogue.
const TABLE: &[(Id, &[&str])] = &[
    (
        Id::NetworkExposure,
        &[
            "appengine.**.firewall.ingressRules.*",
            "compute.firewalls.*",
            "compute.firewallPolicies.*",
            "compute.networkFirewallPolicies.*",
            "compute.regionNetworkFirewallPolicies.*",
            "compute.securityPolicies.*",
            "compute.regionSecurityPolicies.*",
            "compute.organizationSecurityPolicies.*",
            "compute.forwardingRules.*",
            "compute.globalForwardingRules.*",
            "compute.addresses.insert",
            "compute.globalAddresses.insert",
            "compute.instances.addAccessConfig",
            "compute.instances.updateAccessConfig",
            "compute.instances.addNetworkInterface",
            "compute.networks.addPeering",
            "compute.networks.updatePeering",
            "compute.networks.requestRemovePeering",
            "compute.networks.removePeering",
            "compute.routes.*",
            "compute.routers.insert",
            "compute.routers.patch",
            "compute.routers.update",
            "compute.vpnTunnels.*",
            "compute.vpnGateways.*",
            "compute.targetVpnGateways.*",
            "compute.externalVpnGateways.*",
            "compute.interconnects.*",
            "compute.interconnectAttachments.*",
            "compute.packetMirrorings.*",
            "compute.serviceAttachments.*",
            "dns.changes.create",
            "dns.managedZones.create",
            "dns.managedZones.patch",
            "dns.managedZones.update",
            "dns.resourceRecordSets.*",
            "dns.policies.*",
            "dns.responsePolicies.*",
            "dns.responsePolicyRules.*",
            "networksecurity.**.authzPolicies.*",
            "networksecurity.**.gatewaySecurityPolicies.**",
            "networkservices.**.gateways.*",
            "networkconnectivity.**.spokes.*",
            "networkconnectivity.**.policyBasedRoutes.*",
            "run.**.domainmappings.create",
            "servicenetworking.services.connections.*",
            "vmwareengine.**.externalAddresses.*",
            "vmwareengine.**.externalAccessRules.*",
            "vmwareengine.**.networkPeerings.*",
        ],
    ),
    (
        Id::DeletesProject,
        &[
            "cloudresourcemanager.folders.delete",
            "cloudresourcemanager.projects.delete",
        ],
    ),
    (
        Id::DestroysKeys,
        &[
            "cloudkms.**.cryptoKeyVersions.destroy",
            "cloudkms.**.cryptoKeys.delete",
            "cloudkms.**.cryptoKeyVersions.delete",
            "secretmanager.**.secrets.delete",
            "secretmanager.**.versions.destroy",
        ],
    ),
    (
        Id::DeletesData,
        &[
            "alloydb.**.clusters.delete",
            "alloydb.**.instances.delete",
            "alloydb.**.backups.delete",
            "artifactregistry.**.repositories.delete",
            "backupdr.**.backups.delete",
            "backupdr.**.backupVaults.delete",
            "backupdr.**.dataSources.remove",
            "bigquery.datasets.delete",
            "bigquery.tables.delete",
            "bigtableadmin.projects.instances.delete",
            "bigtableadmin.**.clusters.delete",
            "bigtableadmin.**.backups.delete",
            "bigtableadmin.**.tables.delete",
            "bigtableadmin.**.tables.dropRowRange",
            "compute.disks.delete",
            "compute.regionDisks.delete",
            "compute.images.delete",
            "compute.instances.delete",
            "compute.instanceGroupManagers.deleteInstances",
            "compute.regionInstanceGroupManagers.deleteInstances",
            "compute.instantSnapshots.delete",
            "compute.regionInstantSnapshots.delete",
            "compute.machineImages.delete",
            "compute.snapshots.delete",
            "compute.regionSnapshots.delete",
            "compute.storagePools.delete",
            "container.**.clusters.delete",
            "file.**.instances.delete",
            "file.**.backups.delete",
            "file.**.snapshots.delete",
            "file.**.shares.delete",
            "firestore.projects.databases.delete",
            "firestore.projects.databases.bulkDeleteDocuments",
            "firestore.**.backups.delete",
            "gkebackup.**.backups.delete",
            "healthcare.**.datasets.delete",
            "healthcare.**.dicomStores.delete",
            "healthcare.**.fhirStores.delete",
            "healthcare.**.fhirStores.bulkDelete",
            "healthcare.**.hl7V2Stores.delete",
            "managedkafka.**.clusters.delete",
            "managedkafka.**.topics.delete",
            "memcache.**.instances.delete",
            "metastore.**.services.delete",
            "metastore.**.backups.delete",
            "netapp.**.volumes.delete",
            "netapp.**.snapshots.delete",
            "netapp.**.backups.delete",
            "netapp.**.backupVaults.delete",
            "notebooks.**.instances.delete",
            "redis.**.instances.delete",
            "redis.**.clusters.delete",
            "redis.**.backups.delete",
            "spanner.projects.instances.delete",
            "spanner.**.databases.dropDatabase",
            "spanner.**.backups.delete",
            "sql.instances.delete",
            "sql.databases.delete",
            "sql.backupRuns.delete",
            "sql.backups.deleteBackup",
            "sql.Backups.DeleteBackup",
            "storage.buckets.delete",
            "storage.folders.delete",
            "storage.folders.deleteRecursive",
            "storage.managedFolders.delete",
        ],
    ),
    (Id::ExternalAddress, &["compute.instances.addAccessConfig"]),
    (
        Id::AuditOff,
        &[
            "accessapproval.**.deleteAccessApprovalSettings",
            "cloudasset.feeds.delete",
            "compute.packetMirrorings.delete",
            "logging.**.sinks.delete",
            "logging.**.exclusions.create",
            "logging.**.exclusions.patch",
            "logging.**.logs.delete",
            "logging.**.buckets.delete",
            "logging.**.metrics.delete",
            "monitoring.projects.alertPolicies.delete",
            "monitoring.projects.notificationChannels.delete",
            "monitoring.projects.uptimeCheckConfigs.delete",
            "securitycenter.**.muteConfigs.create",
            "securitycenter.**.muteConfigs.patch",
            "securitycenter.**.findings.setMute",
            "securitycenter.**.findings.bulkMute",
            "securitycenter.**.notificationConfigs.delete",
            "securitycenter.**.bigQueryExports.delete",
            "securitycenter.**.customModules.delete",
        ],
    ),
    (
        Id::ProtectionOff,
        &[
            "accesscontextmanager.**.servicePerimeters.delete",
            "backupdr.**.backupPlanAssociations.delete",
            "backupdr.**.backupPlans.delete",
            "cloudresourcemanager.liens.delete",
            "compute.disks.removeResourcePolicies",
            "compute.regionDisks.removeResourcePolicies",
            "compute.instances.removeResourcePolicies",
            "compute.resourcePolicies.delete",
            "compute.securityPolicies.delete",
            "compute.securityPolicies.removeRule",
            "firestore.**.backupSchedules.delete",
            "gkebackup.**.backupPlans.delete",
            "iam.policies.delete",
            "orgpolicy.**.policies.delete",
            "spanner.**.backupSchedules.delete",
        ],
    ),
];

/// The patterns of the methods for which a factor counts whatever their body says, factor by factor.
pub fn methods() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    TABLE.iter().map(|(id, patterns)| (id.factor().name, *patterns))
}

/// Adds what the ids decide.
pub(super) fn judge(call: &Call, tally: &mut Tally<'_>) {
    if reads_only(call) {
        return;
    }
    static ROWS: LazyLock<Patterns<Id>> = LazyLock::new(|| {
        let rows = TABLE
            .iter()
            .flat_map(|(id, patterns)| patterns.iter().map(move |pattern| (*pattern, *id)));
        Patterns::new(rows)
    });
    for id in ROWS.of(call.method) {
        tally.add(*id);
    }
}

/// Whether a call certainly changes nothing.
pub(super) fn reads_only(call: &Call) -> bool {
    call.traits.contains(Traits::READ) && !call.traits.contains(Traits::CHANGE)
}
