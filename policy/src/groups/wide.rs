//! Groups across services, and what they have in common.

use super::row::{Part, Row};
use crate::call::Traits;

const READ: Traits = Traits::READ;
const CHANGE: Traits = Traits::CHANGE;
const DESTRUCTIVE: Traits = Traits::DESTRUCTIVE;
const IAM: Traits = Traits::IAM;
const CREDENTIALS: Traits = Traits::RETURNS_CREDENTIALS;

/// Methods that set who may do what on one resource, and those of lists of such rules.
const SET_ACCESS: &[&str] = &["**.setIamPolicy", "**.SetIamPolicy"];

pub(super) const ROWS: &[Row] = &[
    Row::allow(
        "read",
        "Look at anything: get, list, search, fetch and query, in every service. No method that answers with \
         credentials, and none whose name leaves open whether it changes something.",
        &[Part::of(&[
            "**.get*",
            "**.list*",
            "**.search*",
            "**.lookup*",
            "**.fetch*",
            "**.query*",
            "**.find*",
            "**.count*",
            "**.describe*",
            "**.retrieve*",
            "**.aggregated*",
            "**.batchGet*",
            "**.batchget",
            "**.batchRead",
            "**.batchRun*",
            "**.run*Query",
            "**.run*Report",
            "**.partition*",
            "**.read*",
            "**.test*Permissions",
            "**.wait",
            "**.validate",
            "**.download",
            "google.**.Get*",
            "google.**.List*",
            "google.**.Search*",
            "google.**.Lookup*",
            "google.**.Fetch*",
            "google.**.Query*",
            "google.**.Read*",
            "google.**.BatchGet*",
            "google.**.SampleRowKeys",
        ])
        // Names of keys, tokens and passwords that the catalogue does not know as credentials.
        .but(&[
            "**.*Token",
            "**.*Tokens",
            "**.*AuthToken*",
            "**.*Secret",
            "**.*Password",
            "**.*VerificationCode",
        ])
        .with(READ)
        .without(CREDENTIALS)],
    ),
    Row::restrict(
        "change",
        "Everything that may change something, in every service.",
        &[
            Part::of(&["**"]).with(CHANGE),
            // They change something with a GET, or by a name that sounds like reading.
            Part::of(&[
                "adsensehost.associationsessions.start",
                "aiplatform.**.datasetVersions.restore",
                "beyondcorp.organizations.locations.subscriptions.cancel",
                "beyondcorp.organizations.locations.subscriptions.restart",
                "cloudbilling.organizations.billingAccounts.move",
                "datalabeling.projects.operations.cancel",
                "developerconnect.**.users.startOAuthFlow",
                "developerconnect.**.users.finishOAuthFlow",
                "discoveryengine.**.userEvents.collect",
                "displayvideo.customBiddingAlgorithms.uploadRules",
                "displayvideo.customBiddingAlgorithms.uploadScript",
                "firebaseappdistribution.projects.apps.releases.tests.cancel",
                "recommendationengine.**.userEvents.collect",
                "retail.**.userEvents.collect",
                "google.cloud.bigquery.storage.**.BatchCommitWriteStreams",
            ]),
        ],
    ),
    Row::restrict(
        "destructive",
        "Everything that deletes, destroys, purges, removes or resets, in every service, and what moves or renames \
         objects of Cloud Storage.",
        &[
            Part::of(&["**"]).with(DESTRUCTIVE),
            Part::of(&[
                "storage.objects.move",
                "storage.folders.rename",
                "privateca.**.certificates.revoke",
                "pubsub.**.subscriptions.detach",
                "pubsub.**.subscriptions.seek",
                "sql.instances.restoreBackup",
                "sql.instances.pointInTimeRestore",
            ])
            .with(CHANGE),
        ],
    ),
    Row::restrict(
        "credentials",
        "Everything that answers with keys, tokens, passwords, payloads of secrets or signed URLs, reads and changes.",
        &[
            Part::of(&["**"]).with(CREDENTIALS),
            // Their answers hold what proves who somebody is, though discovery does not say so.
            Part::of(&[
                "sql.connect.generateEphemeral",
                "sql.sslCerts.createEphemeral",
                "google.cloud.iamconnectorcredentials.**",
                "google.cloud.memorystore.**.*AuthToken*",
                "google.cloud.biglake.**.LoadIcebergTableCredentials",
                "discoveryengine.**.getConnectorSecret",
                "threatintelligence.**.getPassword",
            ]),
        ],
    ),
    Row::allow(
        "iam.read",
        "See who may do what: policies, roles, service accounts and their keys' names, permissions that one has.",
        &[Part::of(&["**"]).with(READ.union(IAM)).without(CREDENTIALS)],
    ),
    Row::restrict(
        "iam.change",
        "Everything that changes who may do what: IAM policies, access control lists, roles, service accounts, \
         identity pools, organisation policies, perimeters.",
        &[Part::of(&["**"]).with(CHANGE.union(IAM))],
    ),
    Row::restrict(
        "iam.escalation",
        "Ways to more rights than one has: changing who may do what, acting as a service account, making keys and \
         tokens, attaching another identity or SSH keys to what runs, users of databases, tags that conditions of \
         policies read.",
        &[
            Part::of(&["**"]).with(CHANGE.union(IAM)),
            Part::of(&["**"]).with(CHANGE.union(CREDENTIALS)),
            Part::of(&[
                "apikeys.projects.locations.keys.*",
                "cloudresourcemanager.tagBindings.*",
                "cloudresourcemanager.locations.tagBindingCollections.*",
                "cloudresourcemanager.tagValues.*",
                "compute.instances.setServiceAccount",
                "compute.instances.setMetadata",
                "compute.projects.setCommonInstanceMetadata",
                "compute.projects.setDefaultServiceAccount",
                "container.**.clusters.setLegacyAbac",
                "container.**.clusters.legacyAbac",
                "container.**.clusters.setMasterAuth",
                "dataproc.projects.regions.clusters.injectCredentials",
                "sql.users.insert",
                "sql.users.update",
                "sql.sslCerts.*",
                "sql.connect.generateEphemeral",
                "serviceusage.services.generateServiceIdentity",
                "google.cloud.privilegedaccessmanager.**",
                "google.iam.**",
            ])
            .with(CHANGE),
        ],
    ),
    Row::restrict(
        "sharing",
        "What makes a resource readable or writable for others, also for everybody: IAM policies, access control \
         lists of Cloud Storage, access lists of BigQuery datasets, listings.",
        &[
            Part::of(SET_ACCESS),
            Part::of(&[
                "storage.*AccessControls.*",
                "bigquery.datasets.insert",
                "bigquery.datasets.patch",
                "bigquery.datasets.update",
                "bigquery.rowAccessPolicies.*",
                "analyticshub.**",
                "drive.permissions.*",
                "cloudfunctions.**.functions.generateDownloadUrl",
            ])
            .with(CHANGE),
        ],
    ),
    Row::restrict(
        "network.exposure",
        "What can make something reachable from the Internet: firewalls, external addresses, load balancers, public \
         ingress of Cloud Run and App Engine, networks of databases and clusters, peerings, VPN, gateways, public DNS.",
        &[Part::of(&[
            "compute.firewalls.*",
            "compute.firewallPolicies.*",
            "compute.networkFirewallPolicies.*",
            "compute.regionNetworkFirewallPolicies.*",
            "compute.organizationSecurityPolicies.*",
            "compute.securityPolicies.*",
            "compute.regionSecurityPolicies.*",
            "compute.forwardingRules.*",
            "compute.globalForwardingRules.*",
            "compute.addresses.insert",
            "compute.globalAddresses.insert",
            "compute.target*Proxies.*",
            "compute.regionTarget*Proxies.*",
            "compute.targetInstances.*",
            "compute.targetPools.*",
            "compute.urlMaps.*",
            "compute.regionUrlMaps.*",
            "compute.*ackendServices.*",
            "compute.*ackendBuckets.*",
            "compute.regionBackend*.*",
            "compute.instances.insert",
            "compute.instances.bulkInsert",
            "compute.regionInstances.bulkInsert",
            "compute.instances.*AccessConfig",
            "compute.instances.setTags",
            "compute.instances.updateNetworkInterface",
            "compute.instances.addNetworkInterface",
            "compute.instanceTemplates.insert",
            "compute.regionInstanceTemplates.insert",
            "compute.networks.*",
            "compute.subnetworks.*",
            "compute.routes.*",
            "compute.routers.*",
            "compute.serviceAttachments.*",
            "compute.networkAttachments.*",
            "compute.interconnect*.*",
            "compute.*pnGateways.*",
            "compute.externalVpnGateways.*",
            "compute.vpnTunnels.*",
            "compute.packetMirrorings.*",
            "compute.public*Prefixes.*",
            "compute.globalPublicDelegatedPrefixes.*",
            "run.**.services.create",
            "run.**.services.patch",
            "run.**.services.replaceService",
            "run.**.instances.create",
            "run.**.instances.patch",
            "run.**.instances.replaceInstance",
            "run.**.domainmappings.*",
            "run.**.setIamPolicy",
            "cloudfunctions.**.functions.create",
            "cloudfunctions.**.functions.patch",
            "cloudfunctions.**.functions.setIamPolicy",
            "appengine.**.firewall.ingressRules.*",
            "appengine.**.services.patch",
            "appengine.**.versions.create",
            "appengine.**.domainMappings.*",
            "sql.instances.insert",
            "sql.instances.patch",
            "sql.instances.update",
            "sql.instances.clone",
            "alloydb.**.instances.create",
            "alloydb.**.instances.patch",
            "alloydb.**.instances.createsecondary",
            "container.**.clusters.create",
            "container.**.clusters.update",
            "container.**.clusters.setNetworkPolicy",
            "apigateway.**.gateways.*",
            "networkservices.**",
            "networksecurity.**",
            "networkconnectivity.**",
            "servicenetworking.**",
            "vpcaccess.**",
            "dns.changes.create",
            "dns.resourceRecordSets.*",
            "dns.managedZones.*",
            "dns.policies.*",
            "dns.responsePolicies.*",
            "dns.responsePolicyRules.*",
            "notebooks.**.instances.create",
            "workstations.**.create",
            "firebasehosting.**",
        ])
        .with(CHANGE)],
    ),
    Row::restrict(
        "billing",
        "What changes who pays and how much: billing accounts and their projects, budgets, commitments, \
         reservations, quotas.",
        &[
            Part::of(&[
                "cloudbilling.**",
                "billingbudgets.**",
                "compute.regionCommitments.*",
                "compute.reservations.*",
                "compute.futureReservations.*",
                "bigqueryreservation.**",
                "serviceusage.services.consumerQuotaMetrics.**",
            ])
            .with(CHANGE),
            // It moves an account, with a GET.
            Part::of(&["cloudbilling.organizations.billingAccounts.move"]),
        ],
    ),
    Row::restrict(
        "logging.disable",
        "What takes logs, audit logs or alarms away, or leads them elsewhere: sinks, exclusions, log buckets, their \
         views and links, settings, deleting logs, alert policies, muted findings. Audit settings of an IAM policy \
         are set with it: group:iam.change.",
        &[Part::of(&[
            "logging.**.sinks.*",
            "logging.**.exclusions.*",
            "logging.**.buckets.*",
            "logging.**.buckets.links.*",
            "logging.**.buckets.views.*",
            "logging.**.logs.delete",
            "logging.**.logScopes.*",
            "logging.**.updateSettings",
            "logging.**.updateCmekSettings",
            "logging.updateSettings",
            "logging.updateCmekSettings",
            "monitoring.projects.alertPolicies.*",
            "monitoring.projects.notificationChannels.*",
            "monitoring.projects.snoozes.*",
            "securitycenter.**.muteConfigs.*",
            "securitycenter.**.notificationConfigs.*",
            "container.**.clusters.setLogging",
            "container.**.clusters.logging",
            "container.**.clusters.setMonitoring",
            "container.**.clusters.monitoring",
            "cloudasset.feeds.*",
        ])
        .with(CHANGE)],
    ),
];
