//! Groups cover what they say, over the whole catalogue.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    PolicySet,
    call::{Call, Transport},
    caller::{Caller, Identity},
    definition::{AgentMatch, Effect, LimitsDef, Mode, PolicyDef, RuleDef},
    glob::{GlobError, MethodGlob},
    set::Hits,
};

fn groups() -> &'static Groups {
    Groups::embedded().unwrap()
}

fn methods(name: &str) -> Vec<&'static str> {
    groups().methods(find(name).unwrap()).map(|(id, _)| id).collect()
}

#[test]
fn rows_are_well_formed() {
    let mut names = BTreeSet::new();
    for row in ids().map(GroupId::row) {
        let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(row.name.split(['.', '-']).all(part), "{}", row.name);
        assert!(names.insert(row.name), "{} stands twice", row.name);
        assert!(row.about.ends_with('.'), "{}", row.name);
    }
    assert!(names.len() >= 40, "{}", names.len());
}

/// A glob that no method needs was meant for one that is called otherwise.
#[test]
fn every_glob_of_the_table_does_something() {
    let ids = groups().catalog.ids();
    let mut idle = Vec::new();
    for row in super::ids().map(GroupId::row) {
        for part in row.parts {
            let suits = |at: usize| {
                let traits = groups().traits[at];
                traits.contains(part.with) && traits.bits() & part.without.bits() == 0
            };
            let parse = |text: &&'static str| (*text, MethodGlob::parse(text).unwrap());
            let include: Vec<_> = part.include.iter().map(parse).collect();
            let exclude: Vec<_> = part.exclude.iter().map(parse).collect();
            let suiting: Vec<&str> = (0..)
                .zip(ids)
                .filter(|(at, _)| suits(*at))
                .map(|(_, id)| *id)
                .collect();
            let included: Vec<&str> = suiting
                .iter()
                .copied()
                .filter(|id| include.iter().any(|(_, glob)| glob.matches(id)))
                .collect();
            for (text, glob) in &include {
                let used = included
                    .iter()
                    .any(|id| glob.matches(id) && !exclude.iter().any(|(_, no)| no.matches(id)));
                if !used {
                    idle.push(format!("{}: includes {text}", row.name));
                }
            }
            for (text, glob) in &exclude {
                if !included.iter().any(|id| glob.matches(id)) {
                    idle.push(format!("{}: excludes {text}", row.name));
                }
            }
        }
    }
    assert_eq!(idle, [] as [String; 0]);
}

#[test]
fn a_method_has_the_same_traits_wherever_it_stands() {
    let mut seen: BTreeMap<String, Traits> = BTreeMap::new();
    let rest = groups().catalog.methods().map(|m| (m.id.to_owned(), m.traits));
    for (id, traits) in rest.chain(GrpcCatalog::embedded().unwrap().own_methods()) {
        let first = *seen.entry(id.clone()).or_insert(traits);
        assert_eq!(first, traits, "{id}");
    }
    // Traits of every method are known.
    assert_eq!(seen.len(), groups().catalog.ids().len());
}

#[test]
fn groups_for_everyday_work_hold_nothing_grave() {
    // What its sentence says although its kind does not.
    let exceptions = [
        ("secrets.read", Traits::RETURNS_CREDENTIALS),
        ("kms.use", Traits::RETURNS_CREDENTIALS),
        ("functions.deploy", Traits::RETURNS_CREDENTIALS),
        ("container.read", Traits::RETURNS_CREDENTIALS),
        ("compute.operate", Traits::DESTRUCTIVE),
        ("iam.read", Traits::IAM),
        ("read", Traits::IAM),
        ("storage.delete", Traits::DESTRUCTIVE),
    ];
    let reading = |name: &str| name == "read" || name.ends_with(".read") || name.ends_with(".list");
    let changing_reads = [
        "firestore.**.documents.listen",
        "spanner.**.sessions.*",
        "google.bigtable.v2.Bigtable.PingAndWarm",
        "google.cloud.bigquery.storage.**",
        "logging.entries.tail",
        "monitoring.**.api.v1.*",
    ]
    .map(|glob| MethodGlob::parse(glob).unwrap());
    let mut wrong = Vec::new();
    for id in ids().filter(|id| id.row().purpose == Purpose::Allow) {
        let row = id.row();
        let except = exceptions
            .iter()
            .filter(|(name, _)| *name == row.name)
            .fold(Traits::NONE, |all, (_, traits)| all | *traits);
        let mut grave = Traits::NONE;
        if !row.name.ends_with(".admin") && row.name != "compute.network" {
            grave = Traits::DESTRUCTIVE | Traits::IAM | Traits::RETURNS_CREDENTIALS;
        }
        for (method, traits) in groups().methods(id) {
            if traits.bits() & grave.bits() & !except.bits() != 0 {
                wrong.push(format!("{}: {method} {traits:?}", row.name));
            }
            let changes = traits.contains(Traits::CHANGE);
            if reading(row.name) && changes && !changing_reads.iter().any(|g| g.matches(method)) {
                wrong.push(format!("{}: {method} changes", row.name));
            }
            if row.name.ends_with(".admin") && traits.contains(Traits::RETURNS_CREDENTIALS) {
                wrong.push(format!("{}: {method} returns credentials", row.name));
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}

#[test]
fn groups_that_restrict_leave_nothing_out() {
    let all = |traits: Traits| -> BTreeSet<&str> {
        let ids = groups().catalog.ids().iter().copied();
        ids.zip(&groups().traits)
            .filter(|(_, of)| of.contains(traits))
            .map(|(id, _)| id)
            .collect()
    };
    let iam = Traits::CHANGE | Traits::IAM;
    for (name, traits) in [
        ("change", Traits::CHANGE),
        ("destructive", Traits::DESTRUCTIVE),
        ("credentials", Traits::RETURNS_CREDENTIALS),
        ("iam.change", iam),
        ("iam.escalation", iam),
    ] {
        let group: BTreeSet<&str> = methods(name).into_iter().collect();
        let missing: Vec<_> = all(traits).difference(&group).copied().collect();
        assert_eq!(missing, [] as [&str; 0], "{name}");
    }
}

#[test]
fn what_some_groups_hold() {
    assert_eq!(
        methods("storage.write"),
        [
            "storage.folders.insert",
            "storage.objects.compose",
            "storage.objects.copy",
            "storage.objects.insert",
            "storage.objects.patch",
            "storage.objects.restore",
            "storage.objects.rewrite",
            "storage.objects.update",
        ]
    );
    assert_eq!(
        methods("pubsub.publish"),
        [
            "pubsub.projects.topics.get",
            "pubsub.projects.topics.publish",
            "pubsub.topics.get",
            "pubsub.topics.publish",
            "pubsub.topics.publishBatch",
        ]
    );
    assert_eq!(
        methods("serviceusage.enable"),
        [
            "serviceusage.services.batchEnable",
            "serviceusage.services.enable"
        ]
    );
    let rows = [
        ("read", "storage.objects.get", true),
        ("read", "google.bigtable.v2.Bigtable.ReadRows", true),
        ("read", "secretmanager.projects.secrets.versions.access", false),
        ("read", "cloudbilling.organizations.billingAccounts.move", false),
        (
            "read",
            "google.cloud.bigquery.storage.v1.BigQueryWrite.BatchCommitWriteStreams",
            false,
        ),
        ("read", "container.projects.locations.clusters.get", false),
        ("storage.admin", "storage.projects.hmacKeys.create", false),
        (
            "iam.escalation",
            "iamcredentials.projects.serviceAccounts.generateAccessToken",
            true,
        ),
        ("iam.escalation", "compute.instances.setServiceAccount", true),
        ("iam.escalation", "storage.buckets.setIamPolicy", true),
        ("iam.escalation", "storage.objects.insert", false),
        ("destructive", "storage.objects.move", true),
        ("network.exposure", "compute.firewalls.insert", true),
        ("network.exposure", "compute.firewalls.list", false),
        ("logging.disable", "logging.projects.sinks.delete", true),
        ("logging.disable", "logging.entries.write", false),
        ("run.deploy", "run.namespaces.services.create", true),
        (
            "run.deploy",
            "run.projects.locations.services.setIamPolicy",
            false,
        ),
        ("no such group", "storage.objects.get", false),
    ];
    for (group, method, expected) in rows {
        let held = find(group).is_some_and(|id| groups().of_id(method).has(id));
        assert_eq!(held, expected, "{method} in {group}");
    }
    assert_eq!(groups().of_id("storage.objects.nothing"), Membership::default());
    assert_eq!(
        MethodGlob::parse("group:storage.reed"),
        Err(GlobError::UnknownGroup("storage.reed".into()))
    );
}

/// Whatever the method, a policy set finds the rules that name a group of it, and no others, by the text of the group.
#[test]
fn rules_with_groups_match_their_methods_and_no_others() {
    let rule = |id: GroupId| RuleDef {
        name: id.row().name.replace('.', "-"),
        effect: Effect::Allow,
        methods: vec![MethodGlob::parse(&format!("{PREFIX}{}", id.row().name)).unwrap()],
        resources: Vec::new(),
        when: None,
        message: None,
        approval: Default::default(),
    };
    let set = PolicySet::new(vec![PolicyDef {
        namespace: "agents".into(),
        name: "all".into(),
        uid: String::new(),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents: vec![AgentMatch::ServiceAccount {
            namespace: None,
            name: None,
        }],
        credential: None,
        rules: ids().map(rule).collect(),
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: Vec::new(),
        record_bodies: None,
    }]);
    let caller = Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".into(),
            name: "coder".into(),
        },
        issuer: String::new(),
        session: String::new(),
        pod: None,
    };
    let mut held = 0;
    for (index, method) in (0..).map(MethodIndex).zip(groups().catalog.ids()) {
        let call = |index| Call {
            method,
            index,
            api: "",
            version: "",
            traits: Traits::NONE,
            transport: Transport::Rest,
            resources: Default::default(),
        };
        let found = |index| -> BTreeSet<String> {
            let mut hits = Hits::new();
            set.candidates(&caller, &call(index), (0, 0), &mut |hit| hits.push(hit));
            hits.iter().map(|hit| set.globs(hit).0.to_owned()).collect()
        };
        let wanted: BTreeSet<String> = groups()
            .of_id(method)
            .iter()
            .map(|id| format!("{PREFIX}{}", id.row().name))
            .collect();
        held += usize::from(!wanted.is_empty());
        assert_eq!(found(index), wanted, "{method}");
        // The index of another catalogue does not lead astray.
        if index.0 % 101 == 0 {
            assert_eq!(found(MethodIndex(0)), wanted, "{method}");
        }
        for id in ids() {
            let glob = &set.policies()[0].rules[usize::from(id.0)].methods[0];
            assert_eq!(glob.matches(method), groups().of_id(method).has(id), "{method}");
        }
    }
    println!(
        "groups: {held} of {} methods are in some group",
        groups().catalog.ids().len()
    );
}
