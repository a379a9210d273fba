//! Working out which segments of a template name the resource; the notation is that of
//! `policy/src/catalog/recipe.rs`.
//!
//! Discovery does not say what a path names, so this goes by its conventions:
//! - what stands before the version, and the version, is no part of a name;
//! - literals behind the last variable are a collection (`.../functions`), or repeat the method
//!   (`.../instances/{instance}/start`) and then name nothing;
//! - a call on a collection that does not just read acts on something below the parent.

use turnpike_policy::call::Traits;

use super::{
    document::{Document, Method},
    template::{Segment, Template, Text},
};

/// The recipe of a method's resources.
pub(super) fn recipe(document: &Document, method: &Method, template: &Template, traits: Traits) -> String {
    if document.name == "storage"
        && let Some(two) = copies(template)
    {
        return two;
    }
    Plan::new(document, method, template, traits).map_or_else(|| "-".to_owned(), |plan| plan.text())
}

struct Plan<'a> {
    segments: &'a [Segment],
    style: &'static str,
    /// Ranges of the name.
    name: (usize, usize),
    kind: String,
    id: Option<(usize, usize)>,
    query_id: Option<String>,
    kind_before_id: bool,
    below: bool,
    query_project: bool,
    pairs_in_name: bool,
    service_accounts: bool,
    apps_are_projects: bool,
}

impl<'a> Plan<'a> {
    fn new(document: &Document, method: &Method, template: &'a Template, traits: Traits) -> Option<Self> {
        let segments = template.segments.as_slice();
        let start = name_start(template);
        let storage = document.name == "storage";
        let is_variable = |s: &Segment| s.variable.is_some() || s.literal().is_none();
        let variables_end = segments
            .iter()
            .rposition(is_variable)
            .map_or(start, |at| at + 1)
            .max(start);
        let mut end = segments.len();
        while end > variables_end && repeats(method, &segments[end - 1]) {
            end -= 1;
        }
        if is_iam_policy(method) && variables_end > start {
            end = variables_end;
        }
        if end == start {
            return None;
        }
        let read = traits.contains(Traits::READ);
        // A literal that repeats the method (`/insertAll`) stands behind what exists already.
        let creates =
            end == segments.len() && ["create", "insert"].iter().any(|c| method.verb().starts_with(c));
        let mut plan = Plan {
            segments,
            style: if storage { "s" } else { "" },
            name: (start, variables_end),
            kind: String::new(),
            id: None,
            query_id: None,
            kind_before_id: false,
            below: false,
            query_project: false,
            pairs_in_name: segments[start..].iter().enumerate().any(|(at, s)| free(at, s)),
            service_accounts: matches!(document.name.as_str(), "iam" | "iamcredentials"),
            apps_are_projects: document.name == "appengine",
        };
        if end > variables_end {
            let collection = &segments[end - 1];
            plan.kind = plan.spelled(collection.literal()?);
            plan.name.1 = end - 1;
            if let Some(at) = (variables_end..end).find(|at| segments[*at].literal() == Some("aggregated")) {
                plan.name.1 = at;
            }
            plan.below = !read;
            plan.kind_before_id = true;
        } else {
            let last = &segments[end - 1];
            match last.literal() {
                // A singleton such as `.../settings`, part of the name by the variable's pattern.
                Some(literal) => plan.kind = literal.to_owned(),
                None => {
                    let run = segments[start..end].iter().rposition(|s| s.literal().is_some());
                    let from = run.map_or(start, |at| start + at + 1);
                    if let Some(literal) = run.and_then(|at| segments[start + at].literal()) {
                        plan.kind = plan.spelled(literal);
                    }
                    plan.id = Some((from, end));
                }
            }
            plan.below = creates && method.http_method == "POST" && last.literal().is_none();
            if plan.below {
                plan.id = None;
            }
        }
        if creates && plan.below {
            plan.query_id = id_parameter(method, &plan.kind);
        }
        if storage && plan.name.0 == plan.name.1 && method.query_parameters().any(|p| p == "project") {
            plan.query_project = true;
        }
        if document.name == "run"
            && segments[start..]
                .iter()
                .any(|s| s.literal() == Some("namespaces"))
        {
            plan.style = "r";
        }
        Some(plan)
    }

    fn spelled(&self, literal: &str) -> String {
        match (self.style, literal) {
            ("s", "b") => "buckets".to_owned(),
            ("s", "o") => "objects".to_owned(),
            _ => literal.to_owned(),
        }
    }

    /// The variable behind the first of these literals.
    fn behind(&self, literals: &[&str]) -> Option<usize> {
        let pair = |pair: &[Segment]| {
            pair[0].literal().is_some_and(|l| literals.contains(&l)) && pair[1].text == Text::Any
        };
        self.segments.windows(2).position(pair).map(|at| at + 1)
    }

    fn text(&self) -> String {
        let range = |(start, end): (usize, usize)| {
            if end == start + 1 {
                start.to_string()
            } else {
                format!("{start}-{end}")
            }
        };
        let mut fields = Vec::new();
        if self.name.0 < self.name.1 {
            fields.push(format!("n{}", range(self.name)));
        }
        if !self.kind.is_empty() {
            fields.push(format!("k{}", self.kind));
        }
        fields.extend(self.id.map(|id| format!("i{}", range(id))));
        let mut holders = vec!["projects"];
        if self.style == "r" {
            holders.push("namespaces");
        }
        if self.apps_are_projects {
            holders.push("apps");
        }
        fields.extend(self.behind(&holders).map(|at| format!("p{at}")));
        fields.extend(
            self.behind(&["locations", "regions", "zones"])
                .map(|at| format!("l{at}")),
        );
        if self.service_accounts {
            fields.extend(self.behind(&["serviceAccounts"]).map(|at| format!("e{at}")));
        }
        let multi = |s: &Segment| s.variable.as_ref().is_some_and(|(_, multi)| *multi);
        let bits = self
            .segments
            .iter()
            .enumerate()
            .filter(|(_, s)| multi(s))
            .fold(0u32, |m, (at, _)| m | 1 << at);
        if bits != 0 {
            fields.push(format!("m{bits:x}"));
        }
        fields.extend(self.query_id.iter().map(|q| format!("q{q}")));
        let marks = [
            (self.query_id.is_some() && self.kind_before_id, "j"),
            (self.below, "b"),
            (self.query_project, "P"),
            (self.pairs_in_name, "v"),
            (!self.style.is_empty(), self.style),
        ];
        fields.extend(
            marks
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, mark)| mark.to_owned()),
        );
        if fields.is_empty() {
            "-".to_owned()
        } else {
            fields.join(",")
        }
    }
}

/// Whether a part of a multi-segment variable stands for parts of any kind, so that only the request tells
/// whether it holds a project: `**`, or a variable where a collection would stand.
fn free(at: usize, segment: &Segment) -> bool {
    let multi = segment.variable.as_ref().is_some_and(|(_, multi)| *multi);
    segment.text == Text::Rest || (at == 0 && multi && segment.text == Text::Any)
}

/// Where names begin: behind the version, or behind the service's path.
fn name_start(template: &Template) -> usize {
    let fixed = template
        .segments
        .iter()
        .take_while(|s| s.variable.is_none() && s.literal().is_some());
    let version = fixed.map(|s| s.literal().is_some_and(is_version)).position(|v| v);
    version.map_or(template.service_segments, |at| at + 1)
}

fn is_version(text: &str) -> bool {
    let mut letters = text.bytes();
    matches!(text, "alpha" | "beta")
        || (letters.next() == Some(b'v') && letters.next().is_some_and(|b| b.is_ascii_digit()))
}

/// Whether a literal says again what the method's id says.
fn repeats(method: &Method, segment: &Segment) -> bool {
    let Some(literal) = segment.literal() else {
        return false;
    };
    if segment.verb.is_some() || literal.eq_ignore_ascii_case(method.collection()) {
        return false;
    }
    let verb = method.verb().to_ascii_lowercase();
    literal.starts_with('$') || (literal.len() > 2 && verb.contains(&literal.to_ascii_lowercase()))
}

pub(super) fn is_iam_policy(method: &Method) -> bool {
    let verb = method.verb().to_ascii_lowercase();
    verb.contains("iampolic") || verb.contains("iampermissions")
}

/// Query parameters with an id whose name does not tell the collection.
const ID_PARAMETERS: &[(&str, &str)] = &[
    ("storage.objects.insert", "name"),
    (
        "cloudbuild.projects.githubEnterpriseConfigs.create",
        "gheConfigId",
    ),
    (
        "cloudbuild.projects.locations.githubEnterpriseConfigs.create",
        "gheConfigId",
    ),
    (
        "firebasedatabase.projects.locations.instances.create",
        "databaseId",
    ),
    (
        "identitytoolkit.projects.defaultSupportedIdpConfigs.create",
        "idpId",
    ),
    (
        "identitytoolkit.projects.tenants.defaultSupportedIdpConfigs.create",
        "idpId",
    ),
];

/// The query parameter with the id of what a method creates: `functionId` for `functions`, also
/// `skillRevisionId` for `revisions` and `configId` for `notificationConfigs`.
fn id_parameter(method: &Method, kind: &str) -> Option<String> {
    if let Some((_, parameter)) = ID_PARAMETERS.iter().find(|(id, _)| *id == method.id) {
        return method
            .query_parameters()
            .find(|p| p == parameter)
            .map(str::to_owned);
    }
    let kind = kind.to_ascii_lowercase();
    let singulars = [
        kind.strip_suffix("ies").map(|stem| format!("{stem}y")),
        kind.strip_suffix("es").map(str::to_owned),
        kind.strip_suffix('s').map(str::to_owned),
        Some(kind.clone()),
    ];
    let fits = |parameter: &&str| {
        let Some(base) = parameter.strip_suffix("Id").map(str::to_ascii_lowercase) else {
            return false;
        };
        !base.starts_with("replace")
            && base != "request"
            && singulars
                .iter()
                .flatten()
                .any(|one| base.ends_with(one) || one.ends_with(&base))
    };
    method.query_parameters().find(fits).map(str::to_owned)
}

/// Cloud Storage's `copyTo`, `rewriteTo` and `moveTo`: destination, then source.
fn copies(template: &Template) -> Option<String> {
    let at = template
        .segments
        .iter()
        .position(|s| matches!(s.literal(), Some("copyTo" | "rewriteTo" | "moveTo")))?;
    let start = name_start(template);
    let end = template.segments.len();
    let source = format!("n{start}-{at},kobjects,i{},s", at - 1);
    let destination = match template.segments[at + 1].literal() {
        Some("b") => format!("n{}-{end}", at + 1),
        // A move stays in its bucket.
        _ => format!("n{start}-{}.{}-{end}", start + 2, at + 1),
    };
    Some(format!("{destination},kobjects,i{},s;{source}", end - 1))
}
