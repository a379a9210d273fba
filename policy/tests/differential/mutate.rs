//! A fixed set of mutations of a URL: what is tried to make a gate and a server differ about it.

use crate::{
    forms::{AUTHORITIES, PARAMETERS, PATH_FORMS, SEGMENT_FORMS},
    plain::{Plain, Url, with_query},
};

/// A mutation of a plain URL.
pub(crate) struct Mutation {
    /// Which, for messages.
    pub(crate) kind: &'static str,
    pub(crate) url: Url,
    /// Google is known to take it for the plain one, though its text is another.
    pub(crate) same_to_google: bool,
}

/// All mutations of a plain URL, always the same.
pub(crate) fn all(plain: &Plain<'_>) -> Vec<Mutation> {
    let mut to = Mutations {
        plain,
        made: Vec::with_capacity(400),
    };
    to.segments();
    to.paths();
    to.queries();
    to.authorities_and_verbs();
    to.made
}

struct Mutations<'p, 'm> {
    plain: &'p Plain<'m>,
    made: Vec<Mutation>,
}

impl Mutations<'_, '_> {
    fn add(&mut self, kind: &'static str, url: Url) {
        self.made.push(Mutation {
            kind,
            url,
            same_to_google: false,
        });
    }

    /// The first segment, the last one, the project or the first name, and what stands before the last.
    fn segments(&mut self) {
        let segments: Vec<&str> = self.plain.path.split('/').skip(1).collect();
        let last = segments.len() - 1;
        let name = segments.iter().position(|s| !self.plain.literals.contains(s));
        let mut places = vec![0, name.unwrap_or(0), last.saturating_sub(1), last];
        places.sort_unstable();
        places.dedup();
        for place in places {
            let with = |form: &str| {
                let mut changed: Vec<&str> = segments.clone();
                changed[place] = form;
                format!("/{}", changed.join("/"))
            };
            for (kind, form) in SEGMENT_FORMS {
                self.add(kind, self.plain.with_path(&with(&filled(form, segments[place]))));
            }
            if place > 0 {
                for (kind, joint) in [
                    ("slash encoded", "%2F"),
                    ("slash encoded, lower case", "%2f"),
                    ("slash encoded twice", "%252F"),
                    ("slash overlong", "%c0%af"),
                    ("slash full-width", "%EF%BC%8F"),
                    ("slash a backslash", "\\"),
                    ("slash an encoded backslash", "%5C"),
                    ("slash and dots", "/%2e%2e%2f"),
                ] {
                    let (before, behind) = (segments[..place].join("/"), segments[place..].join("/"));
                    self.add(kind, self.plain.with_path(&format!("/{before}{joint}{behind}")));
                }
            }
        }
        self.addresses(&segments);
    }

    /// The address of a service account says its project, whatever stands before and in whatever case.
    fn addresses(&mut self, segments: &[&str]) {
        let Some(at) = segments.iter().position(|s| s.contains("@acme-dev.iam.")) else {
            return;
        };
        let Some(project) = segments[..at].iter().position(|s| *s == "acme-dev") else {
            return;
        };
        for (kind, owner, address) in [
            (
                "address below another project",
                "other-prod",
                segments[at].to_owned(),
            ),
            ("address below all projects", "-", segments[at].to_owned()),
            ("address in upper case", "-", segments[at].to_uppercase()),
            (
                "address encoded",
                "other-prod",
                segments[at].replace('@', "%40").replace('.', "%2E"),
            ),
        ] {
            let mut changed: Vec<&str> = segments.to_vec();
            (changed[project], changed[at]) = (owner, &address);
            let url = self.plain.with_path(&format!("/{}", changed.join("/")));
            self.made.push(Mutation {
                kind,
                url,
                same_to_google: kind != "address in upper case",
            });
        }
    }

    fn paths(&mut self) {
        let path = &self.plain.path;
        for (kind, form) in PATH_FORMS {
            self.add(kind, self.plain.with_path(&form.replace("{}", path)));
        }
        let literals = |change: fn(&str) -> String| {
            let part = |s: &str| match self.plain.literals.contains(s) {
                true => change(s),
                false => s.to_owned(),
            };
            let segment = |s: &str| s.split(':').map(part).collect::<Vec<_>>().join(":");
            path.split('/').map(segment).collect::<Vec<_>>().join("/")
        };
        let changed = [
            (
                "whole path in upper case",
                path.to_uppercase().replace("%2f", "%2F"),
            ),
            ("whole path in lower case", path.to_lowercase()),
            ("literals in upper case", literals(str::to_uppercase)),
            ("literals in lower case", literals(str::to_lowercase)),
            ("whole path encoded", format!("/{}", encoded(&path[1..], 1))),
            ("colon encoded", path.replace(':', "%3A")),
            ("colon encoded, lower case", path.replace(':', "%3a")),
            ("colon encoded twice", path.replace(':', "%253A")),
            ("colon full-width", path.replace(':', "%EF%BC%9A")),
            ("slash before the colon", path.replace(':', "/:")),
            ("parameter before the colon", path.replace(':', ";x=y:")),
            ("two colons", path.replace(':', "::")),
            ("no slash first", path[1..].to_owned()),
            (
                "absolute form",
                format!("https://{}{path}", self.plain.url.authority),
            ),
            (
                "authority in the path",
                format!("//{}{path}", self.plain.url.authority),
            ),
        ];
        for (kind, path) in changed {
            self.add(kind, self.plain.with_path(&path));
        }
        if let Some((name, verb)) = path.rsplit_once(':') {
            self.add(
                "verb encoded",
                self.plain.with_path(&format!("{name}:{}", encoded(verb, 1))),
            );
            self.add(
                "verb with a fragment",
                self.plain.with_path(&format!("{name}:{verb}#x")),
            );
            self.add(
                "verb with a parameter",
                self.plain.with_path(&format!("{name}:{verb};x")),
            );
            self.add("verb twice", self.plain.with_path(&format!("{path}:{verb}")));
        }
    }

    fn queries(&mut self) {
        for parameter in PARAMETERS {
            self.add(parameter, self.plain.with_parameter(parameter));
            let before = format!("{parameter}&{}", self.plain.query());
            self.add(
                parameter,
                self.plain.with_target(with_query(&self.plain.path, &before)),
            );
        }
        for (name, value) in &self.plain.naming {
            for (kind, form) in [
                ("name twice, other last", "{n}={v}&{n}=other"),
                ("name twice, other first", "{n}=other&{n}={v}"),
                ("name twice, empty first", "{n}=&{n}={v}"),
                ("name twice, by a fragment", "{n}=other#&{n}={v}"),
                ("name with a dollar", "${n}={v}"),
                ("name with a dollar and another", "${n}={v}&{n}=other"),
                ("name encoded", "{e}={v}"),
                ("name encoded and another", "{e}={v}&{n}=other"),
                ("name encoded twice and another", "{ee}={v}&{n}=other"),
                ("name in upper case", "{U}={v}"),
                ("name in upper case and another", "{U}={v}&{n}=other"),
                ("name in snake case and another", "{s}={v}&{n}=other"),
                ("name behind a semicolon", "{n}=other;{n}={v}"),
                ("value encoded", "{n}={ev}"),
                ("value encoded twice", "{n}={eev}"),
                ("value overlong", "{n}=%c1%a9tem-7"),
                ("value full-width", "{n}=%EF%BD%89tem-7"),
                ("value with steps", "{n}=x/../{v}"),
                ("value with encoded steps", "{n}=x%2F..%2F{v}"),
            ] {
                let query = form
                    .replace("{n}", name)
                    .replace("{v}", value)
                    .replace("{ee}", &encoded(name, 2))
                    .replace("{eev}", &encoded(value, 2))
                    .replace("{e}", &encoded(name, 1))
                    .replace("{ev}", &encoded(value, 1))
                    .replace("{U}", &name.to_uppercase())
                    .replace("{s}", &snake(name));
                self.add(kind, self.plain.with_target(with_query(&self.plain.path, &query)));
            }
        }
    }

    fn authorities_and_verbs(&mut self) {
        let plain = &self.plain.url;
        for form in AUTHORITIES {
            let authority = form.replace("{}", &plain.authority);
            self.add(
                form,
                Url {
                    authority,
                    ..plain.clone()
                },
            );
        }
        let upper = plain.authority.to_uppercase();
        self.add(
            "host in upper case",
            Url {
                authority: upper,
                ..plain.clone()
            },
        );
        for verb in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
        ] {
            let verb = verb.to_owned();
            self.add(
                "other verb",
                Url {
                    verb: verb.clone(),
                    ..plain.clone()
                },
            );
            let over = self.plain.with_parameter(&format!("$httpMethod={}", plain.verb));
            self.add("verb by a parameter", Url { verb, ..over });
        }
        self.add(
            "verb in lower case",
            Url {
                verb: plain.verb.to_lowercase(),
                ..plain.clone()
            },
        );
    }
}

fn filled(form: &str, segment: &str) -> String {
    let (first, rest) = segment.split_at(1);
    let byte = first.as_bytes()[0];
    match form {
        "{1}" => encoded(first, 1) + rest,
        "{l}" => encoded(first, 1).to_lowercase() + rest,
        "{2}" => encoded(first, 2) + rest,
        "{*}" => encoded(segment, 1),
        "{**}" => encoded(segment, 2),
        "{o}" => format!("%{:02x}%{:02x}{rest}", 0xc0 | byte >> 6, 0x80 | byte & 0x3f),
        "{w}" => encoded(&wide(byte), 1) + rest,
        "{W}" => wide(byte) + rest,
        "{U}" => segment.to_uppercase(),
        "{u}" => first.to_uppercase() + rest,
        "{s}" => segment.replace('s', "%C5%BF").replace('i', "%C4%B1"),
        _ => form.replace("{}", segment),
    }
}

fn wide(byte: u8) -> String {
    char::from_u32(u32::from(byte) + 0xfee0)
        .map(String::from)
        .unwrap_or_else(|| unreachable!("{byte}"))
}

/// Every letter as an escape, as often as said. What is an escape already is not encoded again.
fn encoded(text: &str, times: u8) -> String {
    let mut out = String::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            out.push('%');
            out.extend(bytes.by_ref().take(2).map(char::from));
        } else {
            out.push_str(if times == 2 { "%25" } else { "%" });
            out.push_str(&format!("{byte:02X}"));
        }
    }
    out
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
