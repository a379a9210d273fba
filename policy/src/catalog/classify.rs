//! From a target to a call.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{
    Catalog, Classified, Row, Unlisted, Verb,
    hosts::Host,
    names,
    recipe::{Match, holds_slash},
    trie::{Element, Hit, NodeId, Path},
    xml::{self, XmlRefusal},
};
use crate::{
    call::{Call, Traits, Transport},
    canonical::{Alt, Target, decode_segment},
};

/// What the path's first segments say about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// The method itself.
    Plain,
    /// Below `/upload` or `/resumable/upload`.
    Upload,
    /// Below `/download`.
    Download,
}

/// Whether the query's parameters have to be those of the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Query {
    /// As it came from a client.
    Given,
    /// As the gateway has made it of a message.
    Made,
}

pub(super) fn classify(catalog: &Catalog, target: &Target) -> Result<Classified, Unlisted> {
    if xml::is_xml(catalog, target) {
        return xml::classify(catalog, target);
    }
    classify_json(catalog, target)
}

/// As [`classify`], but for the XML API of Cloud Storage.
pub(super) fn classify_json(catalog: &Catalog, target: &Target) -> Result<Classified, Unlisted> {
    classify_split(catalog, target, Query::Given)
}

/// As [`classify_json`], but parameters may be any.
pub(super) fn classify_message(catalog: &Catalog, target: &Target) -> Result<Classified, Unlisted> {
    classify_split(catalog, target, Query::Made)
}

fn classify_split(catalog: &Catalog, target: &Target, query: Query) -> Result<Classified, Unlisted> {
    let mut found = classify_whole(catalog, target, query)?;
    if let Some(split) = split_at_escapes(target, &found)? {
        match classify_whole(catalog, &split, query) {
            Ok(other) => {
                let new = std::iter::once(other.call)
                    .chain(other.also)
                    .filter(|call| *call != found.call && !found.also.contains(call))
                    .collect::<SmallVec<[Call; 1]>>();
                found.also.extend(new);
            }
            // A server that splits there finds nothing to call.
            Err(Unlisted::UnknownMethod { .. } | Unlisted::UnknownVerb { .. }) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(found)
}

/// The target that a server sees which decodes before it splits: `accounts/a%2Fadclients` is the account `a/adclients`
/// by Google's rules of transcoding, and a list of another collection for that server. `None` where no name holds a
/// slash, and in Cloud Storage, where buckets may not and names of objects are full of them.
fn split_at_escapes(target: &Target, found: &Classified) -> Result<Option<Target>, Unlisted> {
    let path = target.path();
    if found.call.api == "storage" || !holds_slash(path) {
        return Ok(None);
    }
    let split = path.replace("%2F", "/").replace("%5C", "/");
    let steps = split.split('/').filter(|step| !step.is_empty());
    let mut whole: String = steps.flat_map(|step| ["/", step]).collect();
    if !target.query().is_empty() {
        whole.push('?');
        whole.push_str(target.query());
    }
    match Target::new(target.verb(), target.host(), &whole) {
        Ok(split) => Ok(Some(split)),
        Err(_) => Err(Unlisted::UnsafeName {
            method: found.call.method,
        }),
    }
}

/// Classifies a path by its segments as they stand.
fn classify_whole(catalog: &Catalog, target: &Target, query: Query) -> Result<Classified, Unlisted> {
    let Some(host) = catalog.host(target.host()) else {
        return Err(Unlisted::UnknownHost {
            host: target.host().to_owned(),
        });
    };
    if host.service == "storage"
        && let Some(parameter) = xml::signature(target)
    {
        return Err(XmlRefusal::SignedUrl { parameter }.into());
    }
    // Displayvideo has templates that begin with `download`, so the path as it is comes first.
    let mut search = Search {
        catalog,
        target,
        query,
        found: SmallVec::new(),
        other_verb: false,
        custom_verb: None,
    };
    search.run(host, Entry::Plain, 0);
    if search.found.is_empty() {
        match (target.segment(0), target.segment(1)) {
            ("upload", _) => search.run(host, Entry::Upload, 1),
            ("resumable", "upload") => search.run(host, Entry::Upload, 2),
            ("download", _) => search.run(host, Entry::Download, 1),
            ("batch", _) => {
                return Err(Unlisted::Batch {
                    service: host.service,
                });
            }
            _ => {}
        }
    }
    search.finish(host)
}

/// A template that fits, with the verb.
struct Found {
    hit: Hit,
    entry: Entry,
    skipped: usize,
}

struct Search<'a> {
    catalog: &'a Catalog,
    target: &'a Target,
    query: Query,
    found: SmallVec<[Found; 4]>,
    /// Whether a template fits with another verb.
    other_verb: bool,
    /// What looks like a custom verb behind a name that would fit otherwise.
    custom_verb: Option<&'a str>,
}

impl Search<'_> {
    fn run(&mut self, host: Host<'_>, entry: Entry, skipped: usize) {
        let catalog = self.catalog;
        // On the legacy host, services share one name and are told apart by their first segment.
        let legacy = || catalog.legacy.get(self.target.segment(skipped)).copied();
        let elsewhere = if host.service == "www" { legacy() } else { None };
        for service in [Some(host.service), elsewhere].into_iter().flatten() {
            if let Some(root) = catalog.services.get(service) {
                self.run_below(*root, entry, skipped);
            }
        }
    }

    fn run_below(&mut self, root: NodeId, entry: Entry, skipped: usize) {
        let (catalog, target) = (self.catalog, self.target);
        let verb = Verb::parse(target.verb());
        // The session of a resumable upload is its method's, whatever verb carries its chunks.
        let session = is_session(entry, target);
        let custom = custom_verb(target).or_else(|| catalog.disguised_verb(target));
        catalog.trie.walk(root, &TargetPath(target), skipped, &mut |hit| {
            let row = &catalog.rows[hit.row as usize];
            let usable = match entry {
                Entry::Plain => true,
                Entry::Upload => row.uploads,
                Entry::Download => row.downloads,
            };
            if !usable {
                return;
            }
            if !session && verb != Some(row.verb) {
                self.other_verb |= !hit.by_case;
            } else if custom.is_some() && catalog.may_be_custom_verb(row) {
                self.custom_verb = custom;
            } else {
                self.found.push(Found { hit, entry, skipped });
            }
        });
    }

    fn finish(mut self, host: Host<'_>) -> Result<Classified, Unlisted> {
        // A literal in another case is a second reading for servers that mind none, and no first one.
        if self.found.iter().all(|f| f.hit.by_case) {
            self.found.clear();
        }
        if self.found.len() > 1 {
            self.drop_less_specific();
        }
        let mut calls = SmallVec::<[Call; 2]>::new();
        for found in &self.found {
            calls.extend(self.calls(found, host)?);
        }
        let mut calls = calls.into_iter();
        if let Some(call) = calls.next() {
            return Ok(Classified {
                call,
                also: calls.collect(),
            });
        }
        let target = self.target;
        let (host_name, verb, path) = (
            target.host().to_owned(),
            target.verb().to_owned(),
            target.path().to_owned(),
        );
        if let Some(custom) = self.custom_verb {
            return Err(Unlisted::UnknownCustomVerb {
                custom: custom.to_owned(),
            });
        }
        if self.other_verb {
            return Err(Unlisted::UnknownVerb {
                host: host_name,
                verb,
                path,
            });
        }
        Err(Unlisted::UnknownMethod {
            host: host_name,
            verb,
            path,
        })
    }

    /// Orders by specificity, from left to right, and drops what another template is more specific than.
    fn drop_less_specific(&mut self) {
        let (catalog, rows) = (self.catalog, &self.catalog.rows);
        let elements = |f: &Found| rows[f.hit.row as usize].elements;
        let rank = |f: &Found| {
            let mut ranks: SmallVec<[u8; 16]> = catalog
                .trie
                .elements(elements(f))
                .iter()
                .map(|e| e.rank())
                .collect();
            // What goes on behind a run of segments says more than what ends with it.
            ranks.push(u8::MAX);
            (f.hit.by_case, ranks, f.hit.row, f.hit.loose)
        };
        self.found.sort_by_cached_key(rank);
        // The same template, found strictly and by its escapes.
        self.found.dedup_by_key(|f| f.hit.row);
        // Google's router cuts a verb that it knows off before it looks at the path, and then takes no
        // template without it.
        let verb = self
            .found
            .iter()
            .any(|f| !f.hit.loose && catalog.trie.has_verb(elements(f)));
        let beaten = |f: &Found| {
            let better = |g: &Found| !g.hit.loose && catalog.trie.more_specific(elements(g), elements(f));
            (verb && !catalog.trie.has_verb(elements(f))) || self.found.iter().any(better)
        };
        let kept: SmallVec<[bool; 4]> = self.found.iter().map(|f| !beaten(f)).collect();
        let mut kept = kept.into_iter();
        self.found.retain(|_| kept.next().unwrap_or(true));
    }

    /// The sets of parameters that a reading may have: of templates that nobody can tell apart, those of all, because
    /// Google takes the request for one of them. What only a lenient server would take it for has its own.
    fn sets(&self, found: &Found) -> SmallVec<[u16; 4]> {
        let strict = |f: &Found| !f.hit.loose && !f.hit.by_case;
        let set = |f: &Found| self.catalog.rows[f.hit.row as usize].parameters;
        match strict(found) {
            true => self.found.iter().filter(|f| strict(f)).map(set).collect(),
            false => SmallVec::from_iter([set(found)]),
        }
    }

    /// The call of a row: two where it acts on nothing by its path, and on something by its query.
    fn calls(&self, found: &Found, host: Host<'_>) -> Result<SmallVec<[Call; 2]>, Unlisted> {
        let catalog = self.catalog;
        let row: &Row = &catalog.rows[found.hit.row as usize];
        let api = &catalog.apis[usize::from(row.api)];
        let method = catalog.ids[row.id.as_usize()];
        let media = self.target.alt() == Alt::Media && found.entry != Entry::Upload;
        if media && !row.downloads {
            return Err(Unlisted::MediaNotOffered { method });
        }
        let matched = Match {
            target: self.target,
            trie: &catalog.trie,
            elements: catalog.trie.elements(row.elements),
            skipped: found.skipped,
            rest: usize::from(found.hit.rest),
            method,
            host_location: host.location,
        };
        let mut resources = SmallVec::new();
        let recipes = &catalog.recipes[row.recipe as usize];
        for recipe in recipes {
            resources.push(matched.resource(recipe)?);
        }
        let changes = row.traits.contains(Traits::CHANGE);
        let more = names::in_query(&matched, changes, recipes, &resources)?;
        if self.query == Query::Given {
            let session = is_session(found.entry, self.target);
            let sets = self.sets(found);
            catalog.parameters.check(self.target, method, &sets, session)?;
        }
        let nameless = resources.is_empty();
        let call = |resources| Call {
            method,
            index: row.id,
            api: api.name,
            version: api.version,
            traits: row.traits,
            transport: Transport::Rest,
            resources,
        };
        let mut calls = SmallVec::new();
        if nameless && !more.is_empty() {
            calls.push(call(resources));
            calls.push(call(more));
        } else {
            resources.extend(more);
            calls.push(call(resources));
        }
        Ok(calls)
    }
}

/// Whether a URL is that of an upload's session.
fn is_session(entry: Entry, target: &Target) -> bool {
    entry == Entry::Upload && target.query_pairs().any(|(name, _)| name == "upload_id")
}

impl Catalog {
    /// Whether Google's router may cut a verb off a path that fits this row: the service has methods with
    /// custom verbs, and this one is not, but ends in a variable.
    fn may_be_custom_verb(&self, row: &Row) -> bool {
        let elements = self.trie.elements(row.elements);
        let open = matches!(elements.last(), Some(Element::Variable | Element::Rest));
        open && self
            .verb_services
            .contains(self.apis[usize::from(row.api)].service)
    }

    /// The end of the path where it is a custom verb that the table has, for a server that minds no case, or cuts
    /// off what stands behind it: `:ACCESS`, `:access%20`, `%3Aaccess%3Bx`. An escaped verb that is spelled right
    /// is another reading, and not meant.
    fn disguised_verb<'t>(&self, target: &'t Target) -> Option<&'t str> {
        let raw = target.segment(target.segment_count().checked_sub(1)?);
        if !raw.contains(':') && !raw.contains("%3A") {
            return None;
        }
        let decoded = decode_segment(raw, false);
        let first = decoded.split(CUT).next().unwrap_or(&decoded);
        let disguised = [first, &decoded].into_iter().any(|name| {
            let behind = name.trim_end_matches(':').rsplit_once(':').map(|(_, verb)| verb);
            let word = behind.and_then(|verb| verb.split(CUT).next());
            let known = word.and_then(|word| self.verbs.get(&word.to_ascii_lowercase()));
            let spelled = |verb: &str| decoded.strip_suffix(verb).is_some_and(|name| name.ends_with(':'));
            known.is_some_and(|verb| !spelled(verb))
        });
        disguised.then_some(raw)
    }
}

/// What servers cut off behind a word, or trim.
const CUT: [char; 8] = [' ', '\t', ';', '?', '#', '/', '\\', ','];

/// The end of the path where it reads like a custom verb, `:peek`: a letter in lower case and only letters.
///
/// Discovery does not list every method that Google serves. `versions/1:peek` fits the template of
/// `versions.get`, and must not pass for it. A colon that belongs to a name is followed by something else
/// (`sha256:4f..`), or is written `%3A`; projects of a domain (`example.com:acme`) are the one exception.
fn custom_verb(target: &Target) -> Option<&str> {
    let last = target.segment_count().checked_sub(1)?;
    let (name, verb) = target.segment(last).rsplit_once(':')?;
    let like_verb =
        verb.starts_with(|c: char| c.is_ascii_lowercase()) && verb.bytes().all(|b| b.is_ascii_alphabetic());
    let project = name.contains('.') && last > 0 && target.segment(last - 1) == "projects";
    (like_verb && !project).then_some(verb)
}

/// A target's path for the trie.
struct TargetPath<'a>(&'a Target);

impl Path for TargetPath<'_> {
    fn len(&self) -> usize {
        self.0.segment_count()
    }

    fn raw(&self, index: usize) -> &str {
        self.0.segment(index)
    }

    fn decoded(&self, index: usize) -> Option<Cow<'_, str>> {
        let raw = self.0.segment(index);
        raw.contains('%').then(|| decode_segment(raw, true))
    }
}
