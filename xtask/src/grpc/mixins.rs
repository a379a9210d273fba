//! Services that every API may serve under one name: which methods they stand for is told by the host, so their
//! bindings are made from the catalogue's own rows.

use std::collections::{BTreeMap, BTreeSet};

use turnpike_policy::catalog::{Catalog, Method};

use super::{by_hand, own::is_version};

/// A service that many hosts serve.
pub(super) struct Mixin {
    pub(super) service: &'static str,
    /// RPC, the end of the REST id, what stands behind the name in the path, the field.
    methods: &'static [(&'static str, &'static str, &'static str, &'static str)],
}

/// All of them.
pub(super) const MIXINS: &[Mixin] = &[
    Mixin {
        service: "google.longrunning.Operations",
        methods: &[
            ("ListOperations", ".operations.list", "/operations", "name"),
            ("GetOperation", ".operations.get", "", "name"),
            ("DeleteOperation", ".operations.delete", "", "name"),
            ("CancelOperation", ".operations.cancel", ":cancel", "name"),
            ("WaitOperation", ".operations.wait", ":wait", "name"),
        ],
    },
    Mixin {
        service: "google.iam.v1.IAMPolicy",
        methods: &[
            ("SetIamPolicy", ".setIamPolicy", ":setIamPolicy", "resource"),
            ("GetIamPolicy", ".getIamPolicy", ":getIamPolicy", "resource"),
            (
                "TestIamPermissions",
                ".testIamPermissions",
                ":testIamPermissions",
                "resource",
            ),
        ],
    },
    Mixin {
        service: "google.cloud.location.Locations",
        methods: &[
            ("ListLocations", ".locations.list", "/locations", "name"),
            ("GetLocation", ".locations.get", "", "name"),
        ],
    },
];

/// Bindings by host, then by RPC, with the names of fields.
pub(super) fn bindings(
    catalog: &Catalog,
    mixin: &Mixin,
) -> BTreeMap<&'static str, BTreeMap<&'static str, Vec<String>>> {
    let mut hosts: BTreeMap<_, BTreeMap<_, Vec<String>>> = BTreeMap::new();
    // A pattern that several versions have is bound to one of them.
    let mut seen = BTreeSet::new();
    let mut rows: Vec<Method<'_>> = catalog.methods().collect();
    rows.sort_by_key(|m| (preliminary(m.version), m.service, m.id, m.template));
    for row in &rows {
        for (rpc, id, behind, field) in mixin.methods {
            let Some(name) = name_of(row, id, behind) else {
                continue;
            };
            let letter = letter(row.verb);
            let version = row
                .template
                .split_once(&format!("/{name}"))
                .map_or("", |(v, _)| v);
            let mut forms = vec![format!("{letter}/{version}/{{{field}={name}}}{behind}")];
            if *rpc == "ListOperations" {
                if name.is_empty() {
                    forms.clear();
                }
                // Some services take the parent's name, some that of the collection.
                let whole = [name, "operations"]
                    .iter()
                    .filter(|p| !p.is_empty())
                    .copied()
                    .collect::<Vec<_>>()
                    .join("/");
                let version = version_of_template(row.template);
                forms.push(format!("{letter}/{version}/{{{field}={whole}}}"));
            }
            for form in forms {
                let pattern = form.split_once('{').map_or("", |(_, p)| p).to_owned();
                if seen.insert((row.service, *rpc, row.id, pattern)) {
                    hosts
                        .entry(row.service)
                        .or_default()
                        .entry(*rpc)
                        .or_default()
                        .push(form);
                }
            }
        }
    }
    if mixin.service == "google.longrunning.Operations" {
        for (rpc, binding) in by_hand::STORAGE_OPERATIONS {
            let storage = hosts.entry("storage").or_default();
            storage.entry(*rpc).or_default().push((*binding).to_owned());
        }
    }
    hosts
}

/// The part of a row's template that an RPC has as its name.
fn name_of<'t>(row: &Method<'t>, id: &str, behind: &str) -> Option<&'t str> {
    if !row.id.ends_with(id) {
        return None;
    }
    let version = version_of_template(row.template);
    let rest = row.template.strip_prefix(version)?;
    let name = rest.strip_suffix(behind)?;
    let name = name.strip_prefix('/').unwrap_or(name);
    let listed = id.ends_with(".list");
    let plain = !version.is_empty() && !name.contains(':') && (listed || !name.is_empty());
    plain.then_some(name)
}

/// The first segment of a template where it is a version, otherwise nothing.
fn version_of_template(template: &str) -> &str {
    template
        .split('/')
        .next()
        .filter(|first| is_version(first))
        .unwrap_or_default()
}

fn preliminary(version: &str) -> bool {
    version.contains("alpha") || version.contains("beta")
}

fn letter(verb: &str) -> char {
    match verb {
        "POST" => 'P',
        "PUT" => 'U',
        "PATCH" => 'A',
        "DELETE" => 'D',
        _ => 'G',
    }
}
