//! Templates as a trie over interned segments, in flat arenas.
//!
//! A node has one child for a variable, one for a run of segments, and any number for literals and for
//! `*:verb`, `**:verb`; those are edges in one hash table keyed by node and symbol. Walking allocates
//! nothing. The trie knows neither verbs nor hosts: a node ends in rows of the catalogue.

use rustc_hash::FxHashMap;

/// An interned segment or verb.
pub(super) type Symbol = u32;
/// A node's place in the arena.
pub(super) type NodeId = u32;

/// No node.
const NONE: NodeId = NodeId::MAX;

/// One part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Literal(Symbol),
    /// `*:verb`
    VariableVerb(Symbol),
    /// `*`
    Variable,
    /// `**:verb`
    RestVerb(Symbol),
    /// `**`
    Rest,
}

impl Element {
    /// How specific: the lower, the more.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::VariableVerb(_) => 1,
            Self::Variable => 2,
            Self::RestVerb(_) => 3,
            Self::Rest => 4,
        }
    }
}

/// A template's elements in the arena.
#[derive(Debug, Clone, Copy)]
pub(super) struct ElementRange {
    start: u32,
    len: u16,
}

/// A way through the trie that used all segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    /// The row.
    pub(super) row: u32,
    /// Segments that `**` took; 1 where the template has none.
    pub(super) rest: u16,
    /// Whether an escape had to be read as the character it stands for, or a literal in another case.
    pub(super) loose: bool,
    /// Whether a literal had to be read in another case.
    pub(super) by_case: bool,
}

#[derive(Debug, Clone)]
struct Node {
    variable: NodeId,
    rest: NodeId,
    /// Whether a literal led here: then a run of segments that others follow may be empty, as in
    /// `documents/**/*` for a collection directly below `documents`.
    behind_literal: bool,
    /// Whether edges for `*:verb` or `**:verb` exist.
    verbs: bool,
    rows: smallvec::SmallVec<[u32; 2]>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            variable: NONE,
            rest: NONE,
            behind_literal: false,
            verbs: false,
            rows: smallvec::SmallVec::new(),
        }
    }
}

/// What leads from a node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Literal,
    VariableVerb,
    RestVerb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct EdgeKey(u64);

impl EdgeKey {
    fn new(node: NodeId, edge: Edge, symbol: Symbol) -> Self {
        // Symbols are far fewer than 2^30: `Trie::intern` sees to it.
        Self(u64::from(node) << 32 | u64::from(symbol) << 2 | edge as u64)
    }
}

/// All templates of all services; each service has a root of its own.
#[derive(Debug, Default)]
pub(super) struct Trie {
    symbols: FxHashMap<&'static str, Symbol>,
    /// Symbols by their text in lower case.
    folded: FxHashMap<String, smallvec::SmallVec<[Symbol; 1]>>,
    texts: Vec<&'static str>,
    nodes: Vec<Node>,
    edges: FxHashMap<EdgeKey, NodeId>,
    elements: Vec<Element>,
}

/// A path to look up: its segments as they stand, and decoded where they hold escapes.
pub(super) trait Path {
    /// Number of segments.
    fn len(&self) -> usize;
    /// A segment, undecoded.
    fn raw(&self, index: usize) -> &str;
    /// A segment with escapes, decoded; `None` where it has none.
    fn decoded(&self, index: usize) -> Option<std::borrow::Cow<'_, str>>;
}

impl Trie {
    /// Adds an empty root.
    pub(super) fn root(&mut self) -> NodeId {
        self.node()
    }

    /// Adds a template below a root; it ends in `row`. `None` where the arena is full or the template is not
    /// one (`**` twice).
    pub(super) fn insert(&mut self, root: NodeId, template: &'static str, row: u32) -> Option<ElementRange> {
        let start = u32::try_from(self.elements.len()).ok()?;
        let mut node = root;
        let mut rests = 0;
        for segment in template.split('/') {
            let (element, next) = match segment {
                "*" => (Element::Variable, self.child(node, |n| &mut n.variable)),
                "**" => (Element::Rest, self.child(node, |n| &mut n.rest)),
                _ => match (segment.strip_prefix("**:"), segment.strip_prefix("*:")) {
                    (Some(verb), _) => {
                        let symbol = self.intern(verb)?;
                        (Element::RestVerb(symbol), self.edge(node, Edge::RestVerb, symbol))
                    }
                    (None, Some(verb)) => {
                        let symbol = self.intern(verb)?;
                        (
                            Element::VariableVerb(symbol),
                            self.edge(node, Edge::VariableVerb, symbol),
                        )
                    }
                    (None, None) => {
                        let symbol = self.intern(segment)?;
                        (Element::Literal(symbol), self.edge(node, Edge::Literal, symbol))
                    }
                },
            };
            rests += usize::from(matches!(element, Element::Rest | Element::RestVerb(_)));
            self.elements.push(element);
            node = next;
        }
        if rests > 1 {
            return None;
        }
        self.nodes[node as usize].rows.push(row);
        let len = u16::try_from(self.elements.len() - start as usize).ok()?;
        Some(ElementRange { start, len })
    }

    /// The elements of a template.
    pub(super) fn elements(&self, range: ElementRange) -> &[Element] {
        &self.elements[range.start as usize..][..usize::from(range.len)]
    }

    /// Calls `found` for every row whose template fits the path from segment `from` on.
    pub(super) fn walk(&self, root: NodeId, path: &impl Path, from: usize, found: &mut impl FnMut(Hit)) {
        if from < path.len() {
            self.step(
                root,
                path,
                from,
                Hit {
                    row: 0,
                    rest: 1,
                    loose: false,
                    by_case: false,
                },
                found,
            );
        }
    }

    fn step(&self, node: NodeId, path: &impl Path, at: usize, hit: Hit, found: &mut impl FnMut(Hit)) {
        let here = &self.nodes[node as usize];
        if at == path.len() {
            for row in &here.rows {
                found(Hit { row: *row, ..hit });
            }
            return;
        }
        let segment = path.raw(at);
        if let Some(next) = self.literal(node, segment) {
            self.step(next, path, at + 1, hit, found);
        }
        let loose = Hit { loose: true, ..hit };
        if let Some(decoded) = path.decoded(at)
            && let Some(next) = self.literal(node, &decoded)
        {
            self.step(next, path, at + 1, loose, found);
        }
        let by_case = Hit {
            by_case: true,
            ..loose
        };
        for symbol in self.in_other_case(segment) {
            if let Some(next) = self.edges.get(&EdgeKey::new(node, Edge::Literal, symbol)) {
                self.step(*next, path, at + 1, by_case, found);
            }
        }
        if here.variable != NONE {
            self.step(here.variable, path, at + 1, hit, found);
        }
        let left = path.len() - at;
        if here.rest != NONE {
            // Empty, it must be followed by something: here a segment is left, and rows need none.
            let least = usize::from(!here.behind_literal);
            for taken in least..=left {
                let rest = u16::try_from(taken).unwrap_or(u16::MAX);
                self.step(here.rest, path, at + taken, Hit { rest, ..hit }, found);
            }
        }
        if here.verbs {
            let last = path.raw(path.len() - 1);
            let rest = u16::try_from(left).unwrap_or(u16::MAX);
            for (separator, hit) in [(":", hit), ("%3A", loose)] {
                let verb = match last.rsplit_once(separator) {
                    Some((variable, verb)) if !variable.is_empty() => verb,
                    _ => continue,
                };
                let Some(symbol) = self.symbols.get(verb) else {
                    continue;
                };
                if left == 1
                    && let Some(next) = self.edges.get(&EdgeKey::new(node, Edge::VariableVerb, *symbol))
                {
                    self.step(*next, path, path.len(), hit, found);
                }
                if let Some(next) = self.edges.get(&EdgeKey::new(node, Edge::RestVerb, *symbol)) {
                    self.step(*next, path, path.len(), Hit { rest, ..hit }, found);
                }
            }
        }
    }

    /// Whether every path that fits `a` fits `b` too, and not the other way round.
    ///
    /// Where `a` has a run of segments, only a literal before the run decides: `documents/*/**/*` lies within
    /// `documents/*/**`, and yet Firestore takes a path for one or the other by the number of its segments.
    pub(super) fn more_specific(&self, a: ElementRange, b: ElementRange) -> bool {
        let (a, b) = (self.elements(a), self.elements(b));
        let run = |e: &Element| matches!(e, Element::Rest);
        let literals = |e: &[Element]| {
            let literal = |e: &&Element| matches!(e, Element::Literal(_));
            e.iter().take_while(|e| !run(e)).filter(literal).count()
        };
        let decided = !a.iter().any(run) || literals(a) > literals(b);
        decided && self.within(a, b) && !self.within(b, a)
    }

    /// Whether a template ends in `:verb`.
    pub(super) fn has_verb(&self, range: ElementRange) -> bool {
        match self.elements(range).last() {
            Some(Element::VariableVerb(_) | Element::RestVerb(_)) => true,
            Some(Element::Literal(symbol)) => self.text(*symbol).contains(':'),
            _ => false,
        }
    }

    fn within(&self, a: &[Element], b: &[Element]) -> bool {
        let run = |e: &Element| matches!(e, Element::Rest | Element::RestVerb(_));
        let Some(at) = b.iter().position(run) else {
            return !a.iter().any(run)
                && a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| self.inside(*a, *b));
        };
        let behind = b.len() - at - 1;
        if a.len() < b.len() {
            return false;
        }
        let (head, tail) = (&a[..at], &a[a.len() - behind..]);
        let fits = head.iter().zip(b).all(|(a, b)| self.inside(*a, *b))
            && tail.iter().zip(&b[at + 1..]).all(|(a, b)| self.inside(*a, *b));
        // What stands in the run's place may be anything, but must end in the run's verb where it has one.
        let verb = match (b[at], a[a.len() - behind - 1]) {
            (Element::RestVerb(_), last) => self.inside(last, b[at]),
            _ => true,
        };
        fits && verb
    }

    /// Whether a segment that fits `a` fits `b`.
    fn inside(&self, a: Element, b: Element) -> bool {
        match (a, b) {
            (_, Element::Rest) => true,
            (Element::Rest | Element::RestVerb(_), Element::Literal(_) | Element::Variable) => false,
            (_, Element::Variable) => true,
            (Element::Literal(x), Element::Literal(y)) => x == y,
            (Element::Literal(x), Element::VariableVerb(y) | Element::RestVerb(y)) => self.ends_in_verb(x, y),
            (Element::VariableVerb(x), Element::VariableVerb(y) | Element::RestVerb(y)) => x == y,
            (Element::RestVerb(x), Element::RestVerb(y)) => x == y,
            _ => false,
        }
    }

    fn ends_in_verb(&self, literal: Symbol, verb: Symbol) -> bool {
        let (literal, verb) = (self.text(literal), self.text(verb));
        literal.rsplit_once(':').is_some_and(|(_, v)| v == verb)
    }

    /// The text of a symbol.
    pub(super) fn text(&self, symbol: Symbol) -> &'static str {
        self.texts[symbol as usize]
    }

    /// Bytes of memory, nearly.
    pub(super) fn heap_bytes(&self) -> usize {
        self.symbols.capacity() * 25
            + self.folded.capacity() * 64
            + self.nodes.capacity() * size_of::<Node>()
            + self.edges.capacity() * (size_of::<(EdgeKey, NodeId)>() + 1)
            + self.elements.capacity() * size_of::<Element>()
    }

    fn literal(&self, node: NodeId, segment: &str) -> Option<NodeId> {
        let symbol = self.symbols.get(segment)?;
        self.edges
            .get(&EdgeKey::new(node, Edge::Literal, *symbol))
            .copied()
    }

    /// Literals that differ from a segment in case alone.
    fn in_other_case(&self, segment: &str) -> impl Iterator<Item = Symbol> + '_ {
        let own = self.symbols.get(segment).copied();
        let folded = match segment.bytes().any(|b| b.is_ascii_uppercase()) {
            true => self.folded.get(&segment.to_ascii_lowercase()),
            false => self.folded.get(segment),
        };
        let alike = folded.into_iter().flatten().copied();
        alike.filter(move |symbol| Some(*symbol) != own)
    }

    fn intern(&mut self, text: &'static str) -> Option<Symbol> {
        if let Some(symbol) = self.symbols.get(text) {
            return Some(*symbol);
        }
        let symbol = Symbol::try_from(self.texts.len()).ok().filter(|s| *s < 1 << 30)?;
        self.symbols.insert(text, symbol);
        self.folded
            .entry(text.to_ascii_lowercase())
            .or_default()
            .push(symbol);
        self.texts.push(text);
        Some(symbol)
    }

    fn node(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        (self.nodes.len() - 1) as NodeId
    }

    fn child(&mut self, node: NodeId, slot: impl Fn(&mut Node) -> &mut NodeId) -> NodeId {
        let existing = *slot(&mut self.nodes[node as usize]);
        if existing != NONE {
            return existing;
        }
        let new = self.node();
        *slot(&mut self.nodes[node as usize]) = new;
        new
    }

    fn edge(&mut self, node: NodeId, edge: Edge, symbol: Symbol) -> NodeId {
        let key = EdgeKey::new(node, edge, symbol);
        if let Some(existing) = self.edges.get(&key) {
            return *existing;
        }
        let new = self.node();
        self.edges.insert(key, new);
        self.nodes[node as usize].verbs |= edge != Edge::Literal;
        self.nodes[new as usize].behind_literal = edge == Edge::Literal;
        new
    }
}
