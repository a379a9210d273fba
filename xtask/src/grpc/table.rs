//! Writing the table's text; its format is described in `policy/src/grpc/mod.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, ensure};
use prost_reflect::{
    DescriptorPool, ExtensionDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};
use turnpike_policy::{
    call::{Call, Traits},
    canonical::Target,
    catalog::Catalog,
};

use super::{
    by_hand,
    http::{self, Part, Rule, Variable},
    mixins,
    own::{self, Named},
    source,
};

/// The text, and lines for the person who made it.
pub(super) struct Table {
    pub(super) text: String,
    pub(super) summary: String,
}

/// Counts of what became of the RPCs.
#[derive(Debug, Default)]
struct Counts {
    services: usize,
    rpcs: usize,
    joined: usize,
    partly: usize,
    own: usize,
    other_version: usize,
    refused: Vec<String>,
    unlisted: BTreeMap<String, usize>,
}

/// Renders all services of the pool.
pub(super) fn render(pool: &DescriptorPool, catalog: &Catalog) -> anyhow::Result<Table> {
    let rest = Rest::of(catalog);
    let extension = |name: &str| pool.get_extension_by_name(name).with_context(|| name.to_owned());
    let (http, default_host) = (
        extension("google.api.http")?,
        extension("google.api.default_host")?,
    );
    let mut text = format!("turnpike-grpc 1 {}\n", source::VERSION);
    let mut counts = Counts::default();
    let mut services: Vec<_> = pool.services().collect();
    services.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    for service in &services {
        let name = service.full_name();
        if let Some(mixin) = mixins::MIXINS.iter().find(|m| m.service == name) {
            counts.services += 1;
            counts.rpcs += service.methods().len();
            mixed_in(catalog, mixin, service, &mut text)?;
            continue;
        }
        let Some(host) = host(service, &default_host) else {
            counts.refused.push(format!("{name} {}", service.methods().len()));
            continue;
        };
        let writer = Writer {
            rest: &rest,
            host: &host,
            http: &http,
            shared: shared(service, &http)?,
        };
        writeln!(text, ".{name} {host}")?;
        counts.services += 1;
        for method in service.methods() {
            counts.rpcs += 1;
            let line = writer
                .line(&method, &mut counts)
                .with_context(|| method.full_name().to_owned())?;
            writeln!(text, "{line}")?;
        }
    }
    ensure!(text.is_ascii(), "the table must be ASCII");
    Ok(Table {
        text,
        summary: summary(&counts),
    })
}

/// The host of a service, without its domain.
fn host(service: &ServiceDescriptor, default_host: &ExtensionDescriptor) -> Option<String> {
    let by_hand = by_hand::HOSTS
        .iter()
        .find(|(name, _)| *name == service.full_name());
    if let Some((_, host)) = by_hand {
        return Some((*host).to_owned());
    }
    let options = service.options();
    let given = options.get_extension(default_host);
    let host = given.as_str()?.strip_suffix(".googleapis.com")?;
    (!host.is_empty() && !host.contains('.')).then(|| host.to_owned())
}

/// Fields and patterns by which the RPCs of a service name things.
fn shared(
    service: &ServiceDescriptor,
    http: &ExtensionDescriptor,
) -> anyhow::Result<BTreeSet<(String, String)>> {
    let mut shared = BTreeSet::new();
    for method in service.methods() {
        for rule in http::rules(http, &method)? {
            for part in http::parts(&rule.path)? {
                if let Part::Variable(Variable { field, pattern }) = part {
                    shared.insert((field, pattern));
                }
            }
        }
    }
    Ok(shared)
}

fn mixed_in(
    catalog: &Catalog,
    mixin: &mixins::Mixin,
    service: &ServiceDescriptor,
    text: &mut String,
) -> anyhow::Result<()> {
    for (host, methods) in mixins::bindings(catalog, mixin) {
        writeln!(text, ".{} {host}", mixin.service)?;
        for (name, bindings) in methods {
            let method = service
                .methods()
                .find(|m| m.name() == name)
                .with_context(|| name.to_owned())?;
            let bindings: Vec<_> = bindings
                .iter()
                .map(|b| numbered(b, &method.input()))
                .collect::<anyhow::Result<_>>()?;
            writeln!(text, "{name} {} {}", streams(&method), bindings.join(" "))?;
        }
    }
    Ok(())
}

struct Writer<'a> {
    rest: &'a Rest<'a>,
    host: &'a str,
    http: &'a ExtensionDescriptor,
    shared: BTreeSet<(String, String)>,
}

impl Writer<'_> {
    fn line(&self, method: &MethodDescriptor, counts: &mut Counts) -> anyhow::Result<String> {
        let (service, name) = (method.parent_service(), method.name());
        let given = by_hand::BINDINGS
            .iter()
            .find(|(s, m, _)| *s == service.full_name() && *m == name);
        let mut bindings = match given {
            Some((_, _, bindings)) => bindings.split_whitespace().map(str::to_owned).collect(),
            None => self.by_rules(method, counts)?,
        };
        let also = by_hand::ALSO
            .iter()
            .filter(|(s, m, _)| *s == service.full_name() && *m == name);
        bindings.extend(also.map(|(_, _, binding)| (*binding).to_owned()));
        let own = bindings
            .iter()
            .filter(|b| b.starts_with("N:") && b.split(':').nth(5) == Some(""))
            .count();
        match own {
            0 => counts.joined += 1,
            own if own == bindings.len() => counts.own += 1,
            _ => counts.partly += 1,
        }
        if own > 0 {
            *counts.unlisted.entry(self.host.to_owned()).or_default() += 1;
        }
        let mut numbers = Vec::new();
        for binding in &bindings {
            let binding = numbered(binding, &method.input()).with_context(|| binding.clone())?;
            if !numbers.contains(&binding) {
                numbers.push(binding);
            }
        }
        Ok(format!("{name} {} {}", streams(method), numbers.join(" ")))
    }

    /// Bindings from the RPC's own rules, or from those of the RPC that it is like.
    fn by_rules(&self, method: &MethodDescriptor, counts: &mut Counts) -> anyhow::Result<Vec<String>> {
        let service = method.parent_service();
        let mut rules = http::rules(self.http, method)?;
        let like = by_hand::LIKE
            .iter()
            .find(|(s, m, _)| *s == service.full_name() && *m == method.name());
        if let Some((.., other)) = like {
            let other = service
                .methods()
                .find(|m| m.name() == *other)
                .with_context(|| format!("there is no {other}"))?;
            rules = http::rules(self.http, &other)?;
        }
        let input = method.input();
        let version = own::version_of(service.package_name());
        let mut bindings = Vec::new();
        let mut unlisted = Vec::new();
        let mut ids = BTreeSet::new();
        let all: Vec<Vec<Part>> = rules
            .iter()
            .map(|r| http::parts(&r.path))
            .collect::<Result<_, _>>()?;
        for (rule, parts) in rules.iter().zip(&all) {
            let readable = |p: &Part| match p {
                Part::Text(_) => true,
                Part::Variable(v) => http::numbers(&input, &v.field).is_some(),
            };
            if !parts.iter().all(readable) {
                continue;
            }
            match self.rest.join(self.host, rule, parts) {
                Some(joined) => {
                    counts.other_version += usize::from(joined.other_version);
                    ids.insert((joined.id, joined.traits.bits()));
                    bindings.push(format!(
                        "{}{}{}",
                        joined.verb,
                        joined.path,
                        query(joined.verb, &all, &input)
                    ));
                }
                None => unlisted.push((rule.verb, parts)),
            }
        }
        // A form of the name that discovery leaves out makes no other method of it.
        let same = match (ids.len(), ids.first()) {
            (1, Some((id, bits))) => Traits::from_bits(*bits).map(|traits| (*id, traits)),
            _ => None,
        };
        for (verb, parts) in unlisted {
            let (id, traits) = match same {
                Some(same) => same,
                None => ("", own::traits(self.host, method, verb)?),
            };
            let reads = traits.contains(Traits::READ);
            bindings.push(Named::of(parts, reads).text(traits, version, id));
        }
        if bindings.is_empty() {
            let traits = own::traits(self.host, method, 'P')?;
            let mut names: Vec<_> = own::shared_fields(&self.shared, &input)
                .into_iter()
                .map(|variable| Named::of(&[Part::Variable(variable)], true).text(traits, version, ""))
                .collect();
            if names.is_empty() {
                names.push(Named::nothing().text(traits, version, ""));
            }
            bindings = names;
        }
        Ok(bindings)
    }
}

/// Ids of what is made, which REST has in the query; what one of the RPC's paths holds is no parameter.
fn query(verb: char, paths: &[Vec<Part>], input: &MessageDescriptor) -> String {
    if verb != 'P' {
        return String::new();
    }
    let in_path = |name: &str| {
        let mut parts = paths.iter().flatten();
        parts.any(|p| matches!(p, Part::Variable(v) if v.field == name))
    };
    let mut parameters = Vec::new();
    for field in input.fields() {
        let text = matches!(field.kind(), prost_reflect::Kind::String) && !field.is_list();
        if text && field.name().ends_with("_id") && field.name() != "request_id" && !in_path(field.name()) {
            parameters.push(format!("{}={{{}}}", field.json_name(), field.name()));
        }
    }
    match parameters.is_empty() {
        true => String::new(),
        false => format!("?{}", parameters.join("&")),
    }
}

fn streams(method: &MethodDescriptor) -> char {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => '-',
        (true, false) => 'c',
        (false, true) => 's',
        (true, true) => 'b',
    }
}

/// A binding with the numbers of its fields in the place of their names.
fn numbered(binding: &str, input: &MessageDescriptor) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut left = binding;
    while let Some((before, rest)) = left.split_once('{') {
        let (variable, behind) = rest.split_once('}').context("an open brace")?;
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "@"));
        let numbers = http::numbers(input, field).with_context(|| format!("there is no field {field}"))?;
        let pattern = if pattern == "@" {
            String::new()
        } else {
            format!("={pattern}")
        };
        write!(out, "{before}{{{numbers}{pattern}}}")?;
        left = behind;
    }
    out.push_str(left);
    Ok(out)
}

/// The REST methods that bindings are looked up in.
struct Rest<'a> {
    catalog: &'a Catalog,
    /// Versions by which paths of a service begin, stable ones first, newest first.
    versions: BTreeMap<&'static str, Vec<String>>,
}

/// A rule as the REST method it stands for.
struct Joined {
    verb: char,
    path: String,
    other_version: bool,
    id: &'static str,
    traits: Traits,
}

impl<'a> Rest<'a> {
    fn of(catalog: &'a Catalog) -> Self {
        let mut found: BTreeMap<&'static str, BTreeSet<(bool, std::cmp::Reverse<String>)>> = BTreeMap::new();
        for method in catalog.methods() {
            for segment in method.template.split('/').filter(|s| own::is_version(s)) {
                let preliminary =
                    segment.contains("alpha") || segment.contains("beta") || segment.contains('p');
                found
                    .entry(method.service)
                    .or_default()
                    .insert((preliminary, std::cmp::Reverse(segment.to_owned())));
            }
        }
        let plain =
            |set: BTreeSet<(bool, std::cmp::Reverse<String>)>| set.into_iter().map(|(_, v)| v.0).collect();
        Self {
            catalog,
            versions: found.into_iter().map(|(s, set)| (s, plain(set))).collect(),
        }
    }

    /// The rule, where the catalogue has its path: as it stands, in another version that REST still lists, or with
    /// the other verb of a custom method.
    fn join(&self, host: &str, rule: &Rule, parts: &[Part]) -> Option<Joined> {
        let versions = self.versions.get(host).map_or(&[][..], Vec::as_slice);
        let verbs: &[char] = match rule.verb {
            'G' if rule.path.contains("}:") => &['G', 'P'],
            'P' if rule.path.contains("}:") => &['P', 'G'],
            'A' => &['A', 'U'],
            'U' => &['U', 'A'],
            'G' => &['G'],
            'P' => &['P'],
            _ => &['D'],
        };
        let mut paths = vec![(pathed(parts), false)];
        if let Some(Part::Text(first)) = parts.first()
            && let Some(version) = first.split('/').find(|s| own::is_version(s))
        {
            for other in versions.iter().filter(|v| *v != version) {
                let mut parts = parts.to_vec();
                let text = first.replacen(&format!("/{version}"), &format!("/{other}"), 1);
                parts[0] = Part::Text(text);
                paths.push((pathed(&parts), true));
            }
        }
        for (path, other_version) in paths {
            for verb in verbs {
                if let Some(found) = self.find(host, *verb, &path) {
                    return Some(Joined {
                        verb: *verb,
                        path,
                        other_version,
                        id: found.method,
                        traits: found.traits,
                    });
                }
            }
        }
        None
    }

    fn find(&self, host: &str, verb: char, path: &str) -> Option<Call> {
        let verb = match verb {
            'G' => "GET",
            'P' => "POST",
            'U' => "PUT",
            'A' => "PATCH",
            _ => "DELETE",
        };
        let sample = sample(path);
        let target = Target::new(verb, &format!("{host}.googleapis.com"), &sample).ok()?;
        self.catalog.classify(&target).ok().map(|found| found.call)
    }
}

/// The path as the table writes it, with the names of fields.
fn pathed(parts: &[Part]) -> String {
    let mut path = String::new();
    for part in parts {
        match part {
            Part::Text(text) => path.push_str(text),
            Part::Variable(v) => path.push_str(&format!("{{{}={}}}", v.field, v.pattern)),
        }
    }
    path
}

/// A path that fits.
fn sample(path: &str) -> String {
    let mut out = String::new();
    let mut left = path;
    while let Some((before, rest)) = left.split_once('{') {
        let (variable, behind) = rest.split_once('}').unwrap_or((rest, ""));
        let pattern = variable.split_once('=').map_or("@", |(_, p)| p);
        out.push_str(before);
        let segments = pattern.split('/').map(|s| match s {
            "**" => "x1/x2",
            "*" | "@" => "x3",
            literal => literal,
        });
        out.push_str(&segments.collect::<Vec<_>>().join("/"));
        left = behind;
    }
    out.push_str(left);
    out
}

fn summary(counts: &Counts) -> String {
    let mut unlisted: Vec<_> = counts.unlisted.iter().collect();
    unlisted.sort_by_key(|(host, number)| (std::cmp::Reverse(**number), host.as_str()));
    let unlisted: Vec<_> = unlisted
        .iter()
        .take(40)
        .map(|(host, n)| format!("{host} {n}"))
        .collect();
    format!(
        "{} services, {} RPCs: {} are REST methods, {} partly, {} have ids of their own; {} bindings by another \
         version\nrefused, because no host is known: {}\nmost ids of their own: {}",
        counts.services,
        counts.rpcs,
        counts.joined,
        counts.partly,
        counts.own,
        counts.other_version,
        counts.refused.join(", "),
        unlisted.join(", ")
    )
}
