//! The built-in factors: names, points, what they look at, words for people, and where Google documents it.
//!
//! `docs/risk.md` is made from this table and from those of [`super::methods`] and [`super::body`].

/// A built-in factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    /// Its name, as weights name it.
    pub name: &'static str,
    /// What it adds to the score where a policy gives no weight.
    pub points: u8,
    /// What it looks at.
    pub looks_at: LooksAt,
    /// What is said to people where it counts.
    pub words: &'static str,
    /// When it counts, in a sentence or two.
    pub counts: &'static str,
    /// Pages of Google's documents to check it against. Empty for what is not about Google.
    pub sources: &'static [&'static str],
}

/// What a factor looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LooksAt {
    /// The method and its traits.
    Method,
    /// The body, the query and the headers of the request.
    Body,
    /// The time of the call.
    Time,
    /// What the agent did before.
    History,
}

impl LooksAt {
    /// In a word, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Body => "body",
            Self::Time => "time",
            Self::History => "history",
        }
    }
}

/// The place of a factor in [`FACTORS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Id {
    Read,
    Change,
    Destructive,
    Iam,
    ReturnsCredentials,
    NetworkExposure,
    DeletesProject,
    DestroysKeys,
    DeletesData,
    PublicAccess,
    OpenNetwork,
    PublicIngress,
    ExternalAddress,
    BasicRole,
    EscalatingRole,
    AuditOff,
    ProtectionOff,
    UnreadableBody,
    OffHours,
    Burst,
    FirstUse,
}

impl Id {
    pub(super) fn factor(self) -> &'static Factor {
        // In range: a test compares the two lists, and the array's length is the number of variants.
        &FACTORS[self as usize]
    }
}

/// All built-in factors.
pub const FACTORS: &[Factor; 21] = &[
    Factor {
        name: "read",
        points: 0,
        looks_at: LooksAt::Method,
        words: "reads",
        counts: "The method only reads.",
        sources: &["https://docs.cloud.google.com/apis/design/standard_methods"],
    },
    Factor {
        name: "change",
        points: 10,
        looks_at: LooksAt::Method,
        words: "may change something",
        counts: "The method may change something. Every method either reads or changes.",
        sources: &["https://docs.cloud.google.com/apis/design/standard_methods"],
    },
    Factor {
        name: "destructive",
        points: 25,
        looks_at: LooksAt::Method,
        words: "deletes, destroys or resets",
        counts: "The method is a DELETE, or its name says that something is taken away.",
        sources: &["https://docs.cloud.google.com/apis/design/standard_methods"],
    },
    Factor {
        name: "iam",
        points: 20,
        looks_at: LooksAt::Method,
        words: "changes who may do what",
        counts: "The method changes an IAM policy, an access control list, a role, a service account or another part of \
                 access control, or makes a token.",
        sources: &[
            "https://docs.cloud.google.com/iam/docs/overview",
            "https://docs.cloud.google.com/storage/docs/access-control/lists",
        ],
    },
    Factor {
        name: "returns-credentials",
        points: 35,
        looks_at: LooksAt::Method,
        words: "answers with a credential or a secret",
        counts: "The answer holds key material, a token, a password, the payload of a secret or a signed URL.",
        sources: &[
            "https://docs.cloud.google.com/iam/docs/best-practices-for-managing-service-account-keys",
            "https://docs.cloud.google.com/secret-manager/docs/access-control",
        ],
    },
    Factor {
        name: "network-exposure",
        points: 15,
        looks_at: LooksAt::Method,
        words: "changes what the network lets through",
        counts: "The method changes firewalls, load balancers, external addresses, routes, peerings, tunnels or DNS \
                 records.",
        sources: &[
            "https://docs.cloud.google.com/firewall/docs/firewalls",
            "https://docs.cloud.google.com/load-balancing/docs/forwarding-rule-concepts",
            "https://docs.cloud.google.com/vpc/docs/vpc-peering",
            "https://docs.cloud.google.com/dns/docs/zones",
        ],
    },
    Factor {
        name: "deletes-project",
        points: 50,
        looks_at: LooksAt::Method,
        words: "shuts down a project or folder",
        counts: "The method deletes a project, a folder or a billing link that a project lives from.",
        sources: &[
            "https://docs.cloud.google.com/resource-manager/docs/creating-managing-projects",
            "https://docs.cloud.google.com/billing/docs/how-to/modify-project",
        ],
    },
    Factor {
        name: "destroys-keys",
        points: 40,
        looks_at: LooksAt::Method,
        words: "destroys keys or secrets",
        counts: "The method destroys a key version of Cloud KMS, or deletes a secret or a version of one: what is \
                 encrypted with it, or logs in with it, is lost.",
        sources: &[
            "https://docs.cloud.google.com/kms/docs/destroy-restore",
            "https://docs.cloud.google.com/secret-manager/docs/delete-secret",
        ],
    },
    Factor {
        name: "deletes-data",
        points: 30,
        looks_at: LooksAt::Method,
        words: "deletes what holds data, or a backup of it",
        counts: "The method deletes a whole store of data: a bucket, a dataset or table, a database or its instance, a \
                 disk or a virtual machine, a cluster, a snapshot or a backup.",
        sources: &[
            "https://docs.cloud.google.com/storage/docs/deleting-buckets",
            "https://docs.cloud.google.com/bigquery/docs/managing-datasets",
            "https://docs.cloud.google.com/sql/docs/mysql/delete-instance",
            "https://docs.cloud.google.com/compute/docs/instances/deleting-instance",
        ],
    },
    Factor {
        name: "public-access",
        points: 50,
        looks_at: LooksAt::Body,
        words: "gives access to everybody",
        counts: "The request names allUsers or allAuthenticatedUsers where access is granted, takes a predefined list \
                 that does, or switches off the check of who calls.",
        sources: &[
            "https://docs.cloud.google.com/iam/docs/principals-overview",
            "https://docs.cloud.google.com/storage/docs/access-control/making-data-public",
            "https://docs.cloud.google.com/bigquery/docs/reference/rest/v2/datasets",
            "https://docs.cloud.google.com/run/docs/authenticating/public",
        ],
    },
    Factor {
        name: "open-network",
        points: 35,
        looks_at: LooksAt::Body,
        words: "lets any address of the internet in",
        counts: "A range of addresses that is let in spans a large part of the internet: an IPv4 prefix shorter than \
                 /8 or an IPv6 prefix shorter than /16, so also 0.0.0.0/0 in halves; or no range is given where that \
                 means any; or the list of networks of a control plane is switched off.",
        sources: &[
            "https://docs.cloud.google.com/firewall/docs/firewalls",
            "https://docs.cloud.google.com/sql/docs/mysql/authorize-networks",
            "https://docs.cloud.google.com/kubernetes-engine/docs/concepts/network-isolation",
        ],
    },
    Factor {
        name: "public-ingress",
        points: 20,
        looks_at: LooksAt::Body,
        words: "can be reached from the internet",
        counts: "A service or load balancer takes requests from the internet. Who may call it is still decided by IAM.",
        sources: &[
            "https://docs.cloud.google.com/run/docs/securing/ingress",
            "https://docs.cloud.google.com/functions/docs/networking/network-settings",
            "https://docs.cloud.google.com/load-balancing/docs/forwarding-rule-concepts",
        ],
    },
    Factor {
        name: "external-address",
        points: 15,
        looks_at: LooksAt::Body,
        words: "gets an external address",
        counts: "A virtual machine, database or other instance gets an address of the internet.",
        sources: &[
            "https://docs.cloud.google.com/compute/docs/ip-addresses/configure-static-external-ip-address",
            "https://docs.cloud.google.com/alloydb/docs/connect-public-ip",
        ],
    },
    Factor {
        name: "basic-role",
        points: 40,
        looks_at: LooksAt::Body,
        words: "grants a role over everything",
        counts: "A policy that is set holds one of the basic roles that change everything: roles/owner, roles/editor, \
                 roles/admin, roles/writer. A policy is set whole, so it counts although the grant may have been there \
                 before.",
        sources: &["https://docs.cloud.google.com/iam/docs/roles-overview"],
    },
    Factor {
        name: "escalating-role",
        points: 30,
        looks_at: LooksAt::Body,
        words: "grants a role from which more can be had",
        counts: "A policy that is set, or a custom role, lets its holder act as service accounts, make their keys and \
                 tokens, or change who may do what.",
        sources: &[
            "https://docs.cloud.google.com/iam/docs/service-account-permissions",
            "https://docs.cloud.google.com/iam/docs/best-practices-service-accounts",
            "https://docs.cloud.google.com/iam/docs/roles-permissions/iam",
            "https://docs.cloud.google.com/iam/docs/roles-permissions/resourcemanager",
        ],
    },
    Factor {
        name: "audit-off",
        points: 35,
        looks_at: LooksAt::Body,
        words: "turns off logs, audit or alerts",
        counts: "Logs or their sinks, buckets and alerts are deleted or disabled, entries are excluded, principals are \
                 exempted from audit, or a resource stops writing its logs. Some methods do nothing else and count \
                 whatever their body says.",
        sources: &[
            "https://docs.cloud.google.com/logging/docs/audit/configure-data-access",
            "https://docs.cloud.google.com/logging/docs/routing/overview",
            "https://docs.cloud.google.com/vpc/docs/using-flow-logs",
            "https://docs.cloud.google.com/kubernetes-engine/docs/how-to/config-logging-monitoring",
        ],
    },
    Factor {
        name: "protection-off",
        points: 30,
        looks_at: LooksAt::Body,
        words: "turns off a protection",
        counts: "Protection from deletion, backups, retention, soft delete, versioning or holds are switched off, or \
                 the ban on public access to a bucket is lifted, on a resource that exists; or what guards others is \
                 deleted: a lien, an organization policy, a deny policy, a perimeter, a schedule of backups.",
        sources: &[
            "https://docs.cloud.google.com/compute/docs/instances/preventing-accidental-vm-deletion",
            "https://docs.cloud.google.com/sql/docs/mysql/deletion-protection",
            "https://docs.cloud.google.com/storage/docs/soft-delete",
            "https://docs.cloud.google.com/storage/docs/public-access-prevention",
            "https://docs.cloud.google.com/resource-manager/docs/project-liens",
        ],
    },
    Factor {
        name: "unreadable-body",
        points: 20,
        looks_at: LooksAt::Body,
        words: "has a body that could not be read",
        counts: "The body of a method that a factor looks at is not JSON or is too large. It then counts for as many \
                 points as all of those factors together, so that nothing is gained by hiding it.",
        sources: &[],
    },
    Factor {
        name: "off-hours",
        points: 0,
        looks_at: LooksAt::Time,
        words: "is made outside of working hours",
        counts: "It is Saturday or Sunday, or between 20:00 and 06:00, in UTC. It counts for nothing unless a policy \
                 gives it a weight; other hours are a factor of the policy's own.",
        sources: &[],
    },
    Factor {
        name: "burst",
        points: 10,
        looks_at: LooksAt::History,
        words: "comes much faster than this agent's last hour",
        counts: "The agent made 60 calls or more in the last minute, and more than five times its average of the other \
                 minutes of the last hour.",
        sources: &[],
    },
    Factor {
        name: "first-use",
        points: 5,
        looks_at: LooksAt::History,
        words: "is the first use of the method by this agent",
        counts: "No call of this method by this agent was let through before, as far as the replica remembers. It does \
                 not count in a replica's first hour.",
        sources: &[],
    },
];

/// Whether a factor is built in.
pub fn is_factor(name: &str) -> bool {
    FACTORS.iter().any(|factor| factor.name == name)
}
