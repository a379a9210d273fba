//! Groups of services that run things, or look after them. `read` changes nothing; `write`, `run` and the like do what one
//! works with every day, delete nothing and share nothing; `admin` is everything that changes the service, access to it
//! included.

use super::{
    common::{changes, reads, works},
    row::{Part, Row},
};
use crate::call::Traits;

pub(super) const ROWS: &[Row] = &[
    // Functions and Cloud Run
    Row::allow(
        "functions.read",
        "See functions, their operations and runtimes.",
        &[reads(&["cloudfunctions.**"])],
    ),
    Row::allow(
        "functions.deploy",
        "Deploy functions as gcloud does: create and update them, upload their source, follow the operation. Who \
         may call them is set by setIamPolicy, which is not in it.",
        &[
            works(&[
                "cloudfunctions.**.functions.create",
                "cloudfunctions.**.functions.patch",
            ]),
            // It answers with a signed URL, which the agent gets sealed.
            Part::of(&["cloudfunctions.**.functions.generateUploadUrl"]),
            reads(&["cloudfunctions.**", "cloudbuild.**.getDefaultServiceAccount"]),
        ],
    ),
    Row::allow(
        "functions.invoke",
        "Call functions through the API, as `gcloud functions call` does.",
        &[works(&["cloudfunctions.**.functions.call"])],
    ),
    Row::allow(
        "functions.admin",
        "Everything that changes functions: also delete them, and set who may call them.",
        &[changes(&["cloudfunctions.**"])],
    ),
    Row::allow(
        "run.read",
        "See services, jobs, worker pools, revisions and executions of Cloud Run.",
        &[reads(&["run.**"])],
    ),
    Row::allow(
        "run.deploy",
        "Deploy services, jobs and worker pools of Cloud Run, from images or source, and follow the operation. Who \
         may call them is set by setIamPolicy, which is not in it.",
        &[
            works(&[
                "run.**.services.create",
                "run.**.services.patch",
                "run.**.services.replaceService",
                "run.**.jobs.create",
                "run.**.jobs.patch",
                "run.**.jobs.replaceJob",
                "run.**.workerPools.create",
                "run.**.workerPools.patch",
                "run.**.workerpools.create",
                "run.**.workerpools.replaceWorkerPool",
                "run.**.builds.submit",
                "run.**.sourceUploads.upload",
            ]),
            reads(&["run.**"]),
        ],
    ),
    Row::allow(
        "run.jobs",
        "Run jobs of Cloud Run, and follow and cancel their executions.",
        &[
            works(&["run.**.jobs.run", "run.**.executions.cancel"]),
            reads(&[
                "run.**.jobs.**",
                "run.**.executions.**",
                "run.**.tasks.*",
                "run.**.operations.*",
            ]),
        ],
    ),
    Row::allow(
        "run.admin",
        "Everything that changes Cloud Run: also delete, map domains, and set who may call.",
        &[changes(&["run.**"])],
    ),
    // Secrets and keys
    Row::allow(
        "secrets.list",
        "See which secrets and versions there are, not what is in them.",
        &[reads(&["secretmanager.**"])],
    ),
    Row::allow(
        "secrets.read",
        "Read secrets: which there are, and their payloads. What the agent sees of a payload is masked by default.",
        &[
            reads(&["secretmanager.**"]),
            Part::of(&["secretmanager.**.versions.access"]),
        ],
    ),
    Row::allow(
        "secrets.write",
        "Make secrets, add versions, rotate, enable and disable. Nothing is destroyed or shared.",
        &[works(&["secretmanager.**"])],
    ),
    Row::allow(
        "secrets.admin",
        "Everything that changes secrets: also delete and destroy them, and set who may read them.",
        &[changes(&["secretmanager.**"])],
    ),
    Row::allow(
        "kms.read",
        "See keys, versions and public keys of Cloud KMS.",
        &[reads(&["cloudkms.**"]).but(&["**.exportTrustedKeyWrappedCryptoKeyVersion"])],
    ),
    Row::allow(
        "kms.use",
        "Use keys: encrypt, decrypt, sign, verify, random bytes. What is decrypted is an answer with a secret, and \
         masked by default.",
        &[Part::of(&[
            "cloudkms.**.cryptoKeys.encrypt",
            "cloudkms.**.cryptoKeys.decrypt",
            "cloudkms.**.cryptoKeyVersions.asymmetricDecrypt",
            "cloudkms.**.cryptoKeyVersions.asymmetricSign",
            "cloudkms.**.cryptoKeyVersions.decapsulate",
            "cloudkms.**.cryptoKeyVersions.getPublicKey",
            "cloudkms.**.cryptoKeyVersions.mac*",
            "cloudkms.**.cryptoKeyVersions.raw*",
            "cloudkms.**.generateRandomBytes",
        ])],
    ),
    Row::allow(
        "kms.admin",
        "Make, change, import, export, disable, destroy and restore keys, and set who may use them.",
        &[
            Part::of(&["cloudkms.**"])
                .but(&[
                    "cloudkms.**.encrypt",
                    "cloudkms.**.asymmetricSign",
                    "cloudkms.**.mac*",
                    "cloudkms.**.raw*",
                    "cloudkms.**.generateRandomBytes",
                ])
                .with(Traits::CHANGE)
                .without(Traits::RETURNS_CREDENTIALS),
            Part::of(&["cloudkms.**.exportTrustedKeyWrappedCryptoKeyVersion"]),
        ],
    ),
    // Machines, networks, clusters
    Row::allow(
        "compute.read",
        "See machines, disks, images, networks and everything else of Compute Engine, serial ports included.",
        &[reads(&["compute.**"])],
    ),
    Row::allow(
        "compute.operate",
        "Start, stop, suspend, resume and reset machines, alone and in groups.",
        &[Part::of(&[
            "compute.instances.start",
            "compute.instances.startWithEncryptionKey",
            "compute.instances.stop",
            "compute.instances.suspend",
            "compute.instances.resume",
            "compute.instances.reset",
            "compute.*nstanceGroupManagers.startInstances",
            "compute.*nstanceGroupManagers.stopInstances",
            "compute.*nstanceGroupManagers.suspendInstances",
            "compute.*nstanceGroupManagers.resumeInstances",
        ])],
    ),
    Row::allow(
        "compute.network",
        "Make, change and delete networks, subnets, routes, firewalls, addresses, load balancers and VPNs.",
        &[changes(&[
            "compute.*ddresses.*",
            "compute.*ackendBuckets.*",
            "compute.*ackendServices.*",
            "compute.*irewallPolicies.*",
            "compute.*etworkFirewallPolicies.*",
            "compute.*orwardingRules.*",
            "compute.*ealthCheck*.*",
            "compute.*etworkEndpointGroups.*",
            "compute.*slCertificates.*",
            "compute.*slPolicies.*",
            "compute.*ecurityPolicies.*",
            "compute.*arget*Proxies.*",
            "compute.*rlMaps.*",
            "compute.*pnGateways.*",
            "compute.firewalls.*",
            "compute.interconnect*.*",
            "compute.networkAttachments.*",
            "compute.networkEdgeSecurityServices.*",
            "compute.networks.*",
            "compute.packetMirrorings.*",
            "compute.regionNetworkPolicies.*",
            "compute.routers.*",
            "compute.routes.*",
            "compute.serviceAttachments.*",
            "compute.subnetworks.*",
            "compute.targetInstances.*",
            "compute.targetPools.*",
            "compute.vpnTunnels.*",
        ])],
    ),
    Row::allow(
        "compute.admin",
        "Everything that changes Compute Engine, networks and access included.",
        &[changes(&["compute.**"])],
    ),
    Row::allow(
        "container.read",
        "See clusters, node pools and operations of GKE. Clusters of old can hold a client key, which is masked.",
        &[Part::of(&["container.**"])
            .with(Traits::READ)
            .without(Traits::IAM)],
    ),
    Row::allow(
        "container.deploy",
        "Make and change clusters and node pools, and upgrade them. Nothing is deleted.",
        &[works(&["container.**"]).but(&["**.setLegacyAbac", "**.legacyAbac", "**.setMasterAuth"])],
    ),
    Row::allow(
        "container.admin",
        "Everything that changes clusters and node pools: also delete them, and their authentication.",
        &[changes(&["container.**"])],
    ),
    Row::allow(
        "dns.read",
        "See zones, record sets and policies of Cloud DNS.",
        &[reads(&["dns.**"])],
    ),
    Row::allow(
        "dns.admin",
        "Change and delete zones, record sets and policies of Cloud DNS.",
        &[changes(&["dns.**"])],
    ),
    // Builds and artifacts
    Row::allow(
        "cloudbuild.read",
        "See builds, triggers and connections of Cloud Build.",
        &[reads(&["cloudbuild.**"])],
    ),
    Row::allow(
        "cloudbuild.run",
        "Start, retry and cancel builds, run triggers, and follow them. A build runs any steps with its service \
         account.",
        &[
            works(&[
                "cloudbuild.**.builds.create",
                "cloudbuild.**.builds.retry",
                "cloudbuild.**.builds.cancel",
                "cloudbuild.**.triggers.run",
            ]),
            reads(&[
                "cloudbuild.**.builds.*",
                "cloudbuild.**.triggers.*",
                "cloudbuild.**.operations.*",
            ]),
        ],
    ),
    Row::allow(
        "artifactregistry.read",
        "See repositories and download what is in them, through the API.",
        &[reads(&["artifactregistry.**"])],
    ),
    Row::allow(
        "artifactregistry.write",
        "Upload and import artifacts, and set tags, through the API.",
        &[works(&[
            "artifactregistry.**.upload",
            "artifactregistry.**.import",
            "artifactregistry.**.tags.*",
            "artifactregistry.**.attachments.create",
        ])],
    ),
    Row::allow(
        "artifactregistry.admin",
        "Everything that changes Artifact Registry: repositories, rules, deletion and access.",
        &[changes(&["artifactregistry.**"])],
    ),
    Row::allow(
        "deploy.release",
        "Make releases and rollouts of Cloud Deploy, and follow them. Approving a rollout is not in it.",
        &[
            works(&[
                "clouddeploy.**.releases.create",
                "clouddeploy.**.rollouts.create",
                "clouddeploy.**.rollouts.retryJob",
            ]),
            reads(&["clouddeploy.**"]),
        ],
    ),
    // Operations
    Row::allow(
        "logging.read",
        "Read log entries, and see logs, sinks, buckets and views.",
        &[reads(&["logging.**"]), works(&["logging.entries.tail"])],
    ),
    Row::allow(
        "logging.write",
        "Write log entries.",
        &[works(&["logging.entries.write"])],
    ),
    Row::allow(
        "monitoring.read",
        "Read metrics, alerts, dashboards and uptime checks.",
        &[
            reads(&["monitoring.**"]).but(&["**.getVerificationCode"]),
            works(&["monitoring.**.api.v1.series", "monitoring.**.api.v1.labels"]),
        ],
    ),
    Row::allow(
        "monitoring.write",
        "Write points of metrics.",
        &[works(&[
            "monitoring.projects.timeSeries.create",
            "monitoring.projects.metricDescriptors.create",
        ])],
    ),
    Row::allow(
        "tasks.enqueue",
        "Put tasks into queues of Cloud Tasks, and run jobs of Cloud Scheduler that are there.",
        &[
            works(&[
                "cloudtasks.**.tasks.create",
                "cloudtasks.**.tasks.batchCreate",
                "cloudtasks.**.tasks.buffer",
                "cloudscheduler.**.jobs.run",
            ]),
            reads(&["cloudtasks.**", "cloudscheduler.**"]),
        ],
    ),
    Row::allow(
        "workflows.run",
        "Run workflows, and follow and cancel their executions.",
        &[
            works(&[
                "workflowexecutions.**.executions.create",
                "workflowexecutions.**.executions.cancel",
            ]),
            reads(&["workflowexecutions.**", "workflows.**"]),
        ],
    ),
    Row::allow(
        "models.predict",
        "Ask models of Vertex AI and of the Gemini API: generate, predict, embed, count tokens.",
        &[
            works(&[
                "aiplatform.**.*redict",
                "aiplatform.**.predictLongRunning",
                "aiplatform.**.*enerateContent",
                "aiplatform.**.computeTokens",
                "aiplatform.**.embedContent",
                "aiplatform.**.explain",
                "aiplatform.**.fetchPredictOperation",
                "google.ai.generativelanguage.**.*enerateContent",
                "google.ai.generativelanguage.**.*EmbedContent*",
            ]),
            reads(&[
                "aiplatform.**.countTokens",
                "google.ai.generativelanguage.**.CountTokens",
            ]),
        ],
    ),
    // Projects
    Row::allow(
        "resourcemanager.read",
        "See projects, folders, organisations, tags and liens.",
        &[reads(&["cloudresourcemanager.**"])],
    ),
    Row::allow(
        "resourcemanager.admin",
        "Make, change, move and delete projects and folders, tags and liens, and set their policies.",
        &[changes(&["cloudresourcemanager.**"])],
    ),
    Row::allow(
        "serviceusage.read",
        "See which services a project uses, and their quotas.",
        &[reads(&["serviceusage.**"])],
    ),
    Row::allow(
        "serviceusage.enable",
        "Enable services of a project.",
        &[works(&[
            "serviceusage.services.enable",
            "serviceusage.services.batchEnable",
        ])],
    ),
];
