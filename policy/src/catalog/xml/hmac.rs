//! HMAC keys in the XML API: `?Action=` names the method, as in Amazon's IAM.

use smallvec::SmallVec;

use super::{XmlRefusal, json, unknown};
use crate::{
    canonical::Target,
    catalog::{Catalog, Classified, Unlisted, email},
};

/// `Action`, verb, the JSON request (`{b}` is the project, `{o}` the key), parameters that must be there, and those
/// that may.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ACTIONS: &[Row] = &[
    (
        "ListAccessKeys",
        "GET",
        "GET projects/{b}/hmacKeys",
        &[],
        &["MaxItems", "Marker", "UserName"],
    ),
    (
        "CreateAccessKey",
        "POST",
        "POST projects/{b}/hmacKeys",
        &["UserName"],
        &[],
    ),
    (
        "UpdateAccessKey",
        "POST",
        "PUT projects/{b}/hmacKeys/{o}",
        &["AccessKeyId", "Status"],
        &["UserName"],
    ),
    (
        "DeleteAccessKey",
        "POST",
        "DELETE projects/{b}/hmacKeys/{o}",
        &["AccessKeyId"],
        &["UserName"],
    ),
];

/// Where the project stands that neither the address of a service account nor a header tells. No literal matches it.
pub(super) const ANY_PROJECT: &str = "-";

pub(super) fn classify(catalog: &Catalog, target: &Target) -> Result<Classified, Unlisted> {
    let value = |name: &'static str| {
        target
            .query_value(name)
            .map_err(|_| Unlisted::AmbiguousParameter { parameter: name })
    };
    let action = value("Action")?.unwrap_or_default();
    let Some((_, _, template, needs, takes)) = ACTIONS
        .iter()
        .find(|(name, verb, ..)| *name == action && *verb == target.verb())
    else {
        return Err(unknown(target));
    };
    for (name, _) in target.query_pairs() {
        if name != "Action" && !needs.contains(&name.as_ref()) && !takes.contains(&name.as_ref()) {
            return Err(XmlRefusal::Parameter {
                parameter: name.into_owned(),
                verb: format!("{} {action}", target.verb()),
            }
            .into());
        }
    }
    for name in *needs {
        if value(name)?.is_none_or(|v| v.is_empty()) {
            return Err(XmlRefusal::MissingParameter {
                parameter: name,
                verb: format!("{} {action}", target.verb()),
            }
            .into());
        }
    }
    let owner = value("UserName")?.and_then(|address| email::project_of(&address));
    let project = owner.as_deref().unwrap_or(ANY_PROJECT);
    let key = value("AccessKeyId")?.unwrap_or_default();
    // Ids of keys are letters and digits; whatever else it is, it is no other part of a path.
    if !key.bytes().all(|b| b.is_ascii_alphanumeric()) || project.contains(['/', '%', '?', '#']) {
        return Err(Unlisted::UnsafeName {
            method: "the XML API of Cloud Storage",
        });
    }
    json(catalog, target, template, project, &key)
}

/// Puts the project that a header names into the calls.
pub(super) fn in_project(found: &mut Classified, header: &str) -> Result<(), XmlRefusal> {
    let mut calls: SmallVec<[_; 2]> = SmallVec::new();
    calls.push(&mut found.call);
    calls.extend(found.also.iter_mut());
    for call in calls {
        for resource in &mut call.resources {
            match resource.project.as_deref() {
                Some(ANY_PROJECT) => {
                    let rest = resource.name.strip_prefix("projects/-").map(str::to_owned);
                    let Some(rest) = rest else { continue };
                    resource.name = format!("projects/{header}{rest}");
                    resource.project = Some(header.to_owned());
                }
                Some(owner) if owner != header => {
                    return Err(XmlRefusal::Project {
                        header: header.to_owned(),
                        owner: owner.to_owned(),
                    });
                }
                Some(_) => {}
                // A list or a new bucket: the JSON API has the project in the query.
                None if resource.name == "projects/_" => {
                    resource.name = format!("projects/{header}");
                    resource.project = Some(header.to_owned());
                }
                None => {}
            }
        }
    }
    Ok(())
}
