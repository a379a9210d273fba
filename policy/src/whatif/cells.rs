//! The names of a shape, cut into cells: two names are in one cell if no glob of a set tells them apart.
//!
//! All globs walk along the shape together, segment by segment; what is kept of a beginning of a name is where each
//! glob stands after it. A name that comes out is looked at again by the globs themselves, so a cell says what they
//! say.

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::segments::{self, Atom, TooMany};
use crate::{
    call::Scope,
    catalog::{NamePart, NameShape},
    glob::{GlobKey, ResourceGlob},
};

/// Bound on what one shape is cut into.
const MAX_CELLS: usize = 4_096;

/// What a glob says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Mark {
    /// It matches whatever the name stands for: enough for a rule that allows.
    pub(super) sure: bool,
    /// It matches some of that: enough for a rule that restricts.
    pub(super) may: bool,
}

/// The marks of some globs, in their order.
pub(super) type Marks = SmallVec<[Mark; 8]>;

/// What globs say of a name.
pub(super) fn marks<'g>(globs: impl Iterator<Item = &'g ResourceGlob>, name: &str, scope: Scope) -> Marks {
    let mark = |glob: &ResourceGlob| match scope {
        Scope::Exact => Mark {
            sure: glob.matches(name),
            may: glob.may_match(name),
        },
        Scope::Below => Mark {
            sure: glob.covers_below(name),
            may: glob.may_match(name) || glob.may_match_below(name),
        },
    };
    globs.map(mark).collect()
}

/// Names that no glob tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// One of them.
    pub(super) name: String,
    /// What the globs say of it.
    pub(super) marks: Marks,
    /// Whether a segment stands for more than its own text.
    pub(super) open: bool,
}

/// Number of a glob.
pub(super) type GlobId = u16;

/// What something was cut into.
type Cut<T> = Rc<Result<Vec<T>, TooMany>>;

/// A segment of a glob; patterns and literals by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Text(u32),
    Any,
    Deep,
}

/// Cuts shapes into cells, and remembers how.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    globs: Vec<ResourceGlob>,
    numbers: FxHashMap<Box<str>, GlobId>,
    segments: Vec<Vec<Segment>>,
    texts: Vec<Box<str>>,
    known_texts: FxHashMap<Box<str>, u32>,
    atoms: FxHashMap<(Vec<u32>, bool), Cut<Atom>>,
    cells: FxHashMap<Vec<GlobId>, FxHashMap<NameShape, Cut<Cell>>>,
}

/// Where a glob stands after the beginning of a name, as one number: the glob, the place in it, and whether it came
/// there without taking an open segment for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place(u32);

impl Place {
    fn new(glob: GlobId, at: usize, sure: bool) -> Option<Self> {
        let at = u32::try_from(at).ok().filter(|at| *at < 1 << 15)?;
        Some(Self(u32::from(glob) << 16 | at << 1 | u32::from(sure)))
    }

    fn glob(self) -> usize {
        (self.0 >> 16) as usize
    }

    fn at(self) -> usize {
        (self.0 >> 1 & 0x7fff) as usize
    }

    fn sure(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The beginning of a name.
#[derive(Debug, Clone)]
struct Beginning {
    text: String,
    places: Vec<Place>,
    open: bool,
}

impl Beginning {
    /// Whether a number in the next segment stands for something else.
    fn before_number(&self) -> bool {
        self.text == "projects" || self.text.ends_with("/projects")
    }

    fn key(&self) -> (Vec<Place>, bool, bool) {
        (self.places.clone(), self.before_number(), self.open)
    }
}

impl Cutter {
    /// The number of a glob; `None` where there are too many.
    pub(super) fn glob(&mut self, glob: &ResourceGlob) -> Option<GlobId> {
        if let Some(known) = self.numbers.get(glob.as_str()) {
            return Some(*known);
        }
        let id = GlobId::try_from(self.globs.len()).ok()?;
        let segments: Vec<Segment> = glob
            .keys()
            .map(|key| match key {
                GlobKey::Deep => Segment::Deep,
                GlobKey::Pattern("*") => Segment::Any,
                GlobKey::Pattern(text) | GlobKey::Literal(text) => Segment::Text(self.text(text)),
            })
            .collect();
        self.segments.push(segments);
        self.numbers.insert(glob.as_str().into(), id);
        self.globs.push(glob.clone());
        Some(id)
    }

    /// The glob of a number.
    pub(super) fn of(&self, id: GlobId) -> &ResourceGlob {
        &self.globs[usize::from(id)]
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(known) = self.known_texts.get(text) {
            return *known;
        }
        // Fewer than globs times the segments that a policy's text has room for.
        let id = self.texts.len() as u32;
        self.texts.push(text.into());
        self.known_texts.insert(text.into(), id);
        id
    }

    /// The cells of a shape under some globs, which are sorted by their numbers.
    pub(super) fn cells(&mut self, globs: &[GlobId], shape: &NameShape) -> Cut<Cell> {
        let known = self.cells.get(globs).and_then(|shapes| shapes.get(shape));
        if let Some(cells) = known {
            return cells.clone();
        }
        let cells = Rc::new(self.cut(globs, shape));
        self.cells
            .entry(globs.to_vec())
            .or_default()
            .insert(shape.clone(), cells.clone());
        cells
    }

    fn cut(&mut self, globs: &[GlobId], shape: &NameShape) -> Result<Vec<Cell>, TooMany> {
        let mut places = Vec::new();
        for glob in globs {
            self.enter(&mut places, *glob, 0, true)?;
        }
        places.sort_unstable();
        let mut all = vec![Beginning {
            text: String::new(),
            places,
            open: false,
        }];
        for part in &shape.parts {
            all = self.part(&all, part)?;
        }
        let mut seen = FxHashSet::default();
        let mut cells = Vec::new();
        for end in all {
            let marks = marks(globs.iter().map(|g| self.of(*g)), &end.text, shape.scope);
            if seen.insert((marks.clone(), end.open)) {
                cells.push(Cell {
                    name: end.text,
                    marks,
                    open: end.open,
                });
            }
        }
        Ok(cells)
    }

    /// All beginnings, one part longer.
    fn part(&mut self, all: &[Beginning], part: &NamePart) -> Result<Vec<Beginning>, TooMany> {
        match part {
            NamePart::Literal(text) => {
                let atom = Atom {
                    text: (*text).to_owned(),
                    matched: Vec::new(),
                    open: false,
                };
                let mut longer = Longer::default();
                for beginning in all {
                    let matched = self.matching(&atom.text, beginning);
                    longer.add(self.step(
                        beginning,
                        &Atom {
                            matched,
                            ..atom.clone()
                        },
                    )?)?;
                }
                Ok(longer.all)
            }
            NamePart::One => {
                let mut longer = Longer::default();
                for beginning in all {
                    self.segment(beginning, &mut longer)?;
                }
                Ok(longer.all)
            }
            NamePart::Run { may_be_empty } => {
                let mut longer = Longer::default();
                let mut fresh: Vec<Beginning> = all.to_vec();
                if *may_be_empty {
                    fresh.clone().into_iter().try_for_each(|b| longer.add(b))?;
                }
                while !fresh.is_empty() {
                    let before = longer.all.len();
                    for beginning in &fresh {
                        self.segment(beginning, &mut longer)?;
                    }
                    fresh = longer.all.get(before..).unwrap_or_default().to_vec();
                }
                Ok(longer.all)
            }
        }
    }

    /// Adds any segment.
    fn segment(&mut self, beginning: &Beginning, longer: &mut Longer) -> Result<(), TooMany> {
        if self.is_settled(beginning) {
            let plain = Atom {
                text: "x".to_owned(),
                matched: Vec::new(),
                open: false,
            };
            return longer.add(self.step(beginning, &plain)?);
        }
        let atoms = self.atoms(beginning);
        for atom in atoms.as_ref().as_ref().map_err(|e| *e)? {
            longer.add(self.step(beginning, atom)?)?;
        }
        Ok(())
    }

    /// Whether nothing that follows can make a difference.
    fn is_settled(&self, beginning: &Beginning) -> bool {
        beginning.places.iter().all(|place| {
            let segments = &self.segments[place.glob()];
            let ends_deep = segments.last() == Some(&Segment::Deep);
            ends_deep && place.at() + 1 >= segments.len()
        })
    }

    /// The cases of the next segment.
    fn atoms(&mut self, beginning: &Beginning) -> Cut<Atom> {
        let mut texts: Vec<u32> = beginning
            .places
            .iter()
            .filter_map(|place| match self.segments[place.glob()].get(place.at()) {
                Some(Segment::Text(text)) => Some(*text),
                _ => None,
            })
            .collect();
        texts.sort_unstable();
        texts.dedup();
        let key = (texts, beginning.before_number());
        if let Some(known) = self.atoms.get(&key) {
            return known.clone();
        }
        let patterns: Vec<(u32, &str)> = key.0.iter().map(|id| (*id, &*self.texts[*id as usize])).collect();
        let atoms = Rc::new(segments::atoms(&patterns, key.1));
        self.atoms.insert(key, atoms.clone());
        atoms
    }

    /// The texts of globs that match a literal segment of a shape.
    fn matching(&self, literal: &str, beginning: &Beginning) -> Vec<u32> {
        let next =
            beginning
                .places
                .iter()
                .filter_map(|place| match self.segments[place.glob()].get(place.at()) {
                    Some(Segment::Text(text)) => Some(*text),
                    _ => None,
                });
        let mut matched: Vec<u32> = next
            .filter(|id| segments::matches(&self.texts[*id as usize], literal))
            .collect();
        matched.sort_unstable();
        matched.dedup();
        matched
    }

    fn step(&self, beginning: &Beginning, atom: &Atom) -> Result<Beginning, TooMany> {
        let mut places = Vec::with_capacity(beginning.places.len());
        for place in &beginning.places {
            let (glob, at) = (place.glob(), place.at());
            let (to, sure) = match self.segments[glob].get(at) {
                None => continue,
                Some(Segment::Deep) => (at, place.sure()),
                Some(Segment::Any) => (at + 1, place.sure()),
                Some(Segment::Text(text)) => match (atom.matched.binary_search(text).is_ok(), atom.open) {
                    (true, _) => (at + 1, place.sure()),
                    (false, true) => (at + 1, false),
                    (false, false) => continue,
                },
            };
            self.enter(&mut places, glob as GlobId, to, sure)?;
        }
        places.sort_unstable();
        // Of one place, having come there surely says all.
        places.dedup_by(|next, kept| {
            let same = next.0 >> 1 == kept.0 >> 1;
            if same {
                kept.0 |= next.0;
            }
            same
        });
        let mut text = String::with_capacity(beginning.text.len() + 1 + atom.text.len());
        text.push_str(&beginning.text);
        if !text.is_empty() {
            text.push('/');
        }
        text.push_str(&atom.text);
        Ok(Beginning {
            text,
            places,
            open: beginning.open || atom.open,
        })
    }

    /// Adds a place, and those behind it that are reached without a segment.
    fn enter(&self, places: &mut Vec<Place>, glob: GlobId, mut at: usize, sure: bool) -> Result<(), TooMany> {
        let segments = &self.segments[usize::from(glob)];
        loop {
            places.push(Place::new(glob, at, sure).ok_or(TooMany)?);
            match segments.get(at) {
                Some(Segment::Deep) => at += 1,
                _ => return Ok(()),
            }
        }
    }
}

/// Beginnings, each kind once.
#[derive(Default)]
struct Longer {
    all: Vec<Beginning>,
    seen: FxHashSet<(Vec<Place>, bool, bool)>,
}

impl Longer {
    fn add(&mut self, beginning: Beginning) -> Result<(), TooMany> {
        if self.seen.insert(beginning.key()) {
            if self.all.len() == MAX_CELLS {
                return Err(TooMany);
            }
            self.all.push(beginning);
        }
        Ok(())
    }
}
