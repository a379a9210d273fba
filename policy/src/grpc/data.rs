//! The table of gRPC methods: unpacked once, indexed by service, its lines read when a method is asked for.

use std::{io::Read as _, sync::OnceLock};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::catalog::LoadError;

/// The format that this build reads.
const FORMAT: &str = "turnpike-grpc 1 ";
/// Many times the text of today's table: a damaged length must not take all memory.
const MAX_TEXT: u64 = 64 * 1024 * 1024;

/// The table that this build carries.
pub(super) fn embedded() -> Result<&'static Table, LoadError> {
    static EMBEDDED: OnceLock<Result<Table, LoadError>> = OnceLock::new();
    static DATA: &[u8] = include_bytes!("../../data/grpc.gz");
    EMBEDDED
        .get_or_init(|| Table::load(DATA))
        .as_ref()
        .map_err(Clone::clone)
}

/// All services.
pub(super) struct Table {
    pub(super) source: &'static str,
    text: &'static str,
    services: FxHashMap<&'static str, SmallVec<[Section; 1]>>,
}

/// A service on one host, or on several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    /// Services in the sense of the catalogue, with commas between.
    hosts: &'static str,
    /// Lines of methods.
    lines: &'static str,
}

/// A line of a method.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) name: &'static str,
    /// `-` unary, `c` the client streams, `s` the server does, `b` both.
    pub(super) streams: &'static str,
    pub(super) bindings: &'static str,
}

impl Table {
    /// Unpacks a table; its text stays in memory for the rest of the process.
    pub(super) fn load(packed: &[u8]) -> Result<Self, LoadError> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed)
            .take(MAX_TEXT)
            .read_to_string(&mut text)
            .map_err(|e| LoadError::Unpack(e.to_string()))?;
        let text: &'static str = text.leak();
        let (first, body) = text.split_once('\n').ok_or(LoadError::Format)?;
        let mut table = Self {
            source: first.strip_prefix(FORMAT).ok_or(LoadError::Format)?,
            text: body,
            services: FxHashMap::default(),
        };
        // A service's line begins with a dot, which no method's name does.
        let mut sections = body.split("\n.");
        let before = sections.next().ok_or(LoadError::Format)?;
        let first = before.strip_prefix('.').ok_or(LoadError::Format)?;
        for section in std::iter::once(first).chain(sections) {
            // A service may have no methods.
            let (head, lines) = section.split_once('\n').unwrap_or((section, ""));
            let (name, hosts) = head.split_once(' ').ok_or(LoadError::Format)?;
            table
                .services
                .entry(name)
                .or_default()
                .push(Section { hosts, lines });
        }
        Ok(table)
    }

    /// Where a service is served; empty where it is not known.
    pub(super) fn sections(&self, service: &str) -> (&'static str, &[Section]) {
        self.services
            .get_key_value(service)
            .map_or(("", &[]), |(name, sections)| (name, sections))
    }

    /// All services with their sections, in no order.
    pub(super) fn services(&self) -> impl Iterator<Item = (&'static str, &Section)> {
        self.services
            .iter()
            .flat_map(|(name, sections)| sections.iter().map(|s| (*name, s)))
    }

    /// Bytes of memory that the table holds, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        self.text.len() + self.services.capacity() * (size_of::<(&str, SmallVec<[Section; 1]>)>() + 1)
    }
}

impl Section {
    /// Hosts, by the name of their service.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.hosts.split(',')
    }

    /// All methods.
    pub(super) fn lines(&self) -> impl Iterator<Item = Option<Line>> + use<> {
        self.lines.lines().map(Line::parse)
    }

    /// A method.
    pub(super) fn line(&self, method: &str) -> Option<Line> {
        let line = self.lines.lines().find(|line| {
            line.strip_prefix(method)
                .is_some_and(|behind| behind.starts_with(' '))
        })?;
        Line::parse(line)
    }
}

impl Line {
    fn parse(line: &'static str) -> Option<Self> {
        let (name, rest) = line.split_once(' ')?;
        let (streams, bindings) = rest.split_once(' ')?;
        matches!(streams, "-" | "c" | "s" | "b").then_some(Self {
            name,
            streams,
            bindings,
        })
    }

    /// Whether a binding of the line has the RPC's own name as its id.
    pub(super) fn has_own_id(&self) -> bool {
        // `N:COLLECTION:FLAGS:TRAITS:VERSION:ID:TEMPLATE`
        let own = |b: &str| b.starts_with("N:") && b.split(':').nth(5) == Some("");
        self.bindings.split(' ').any(own)
    }
}
