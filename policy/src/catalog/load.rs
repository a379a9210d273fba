//! Reading the catalogue's data into arenas.

use std::io::Read as _;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Api, Catalog, Row, Verb, parameters::Parameters, recipe, trie::Trie};
use crate::call::{MethodIndex, Traits};

/// The format that this build reads.
const FORMAT: &str = "turnpike-catalog 2 ";
/// More than ten times the text of today's table: a damaged length must not take all memory.
const MAX_TEXT: u64 = 64 * 1024 * 1024;

/// Why the data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not gzip, damaged, or not text.
    #[error("the method catalogue cannot be unpacked: {0}")]
    Unpack(String),
    /// Another format, or another version of it.
    #[error("the method catalogue has another format than this build reads ({FORMAT:?})")]
    Format,
    /// A line that says nothing this build knows.
    #[error("the method catalogue is damaged at line {0}")]
    Line(usize),
}

pub(super) fn load(packed: &[u8]) -> Result<Catalog, LoadError> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed)
        .take(MAX_TEXT)
        .read_to_string(&mut text)
        .map_err(|e| LoadError::Unpack(e.to_string()))?;
    let text: &'static str = text.leak();
    let (first, body) = text.split_once('\n').ok_or(LoadError::Format)?;
    let mut loader = Loader {
        catalog: Catalog {
            source: first.strip_prefix(FORMAT).ok_or(LoadError::Format)?,
            apis: Vec::new(),
            ids: Vec::new(),
            rows: Vec::new(),
            recipes: Vec::new(),
            parameters: Parameters::default(),
            trie: Trie::default(),
            services: FxHashMap::default(),
            verb_services: FxHashSet::default(),
            verbs: FxHashMap::default(),
            legacy: FxHashMap::default(),
        },
        recipes: FxHashMap::default(),
        set: 0,
    };
    for (number, line) in (2..).zip(body.lines()) {
        loader.line(line).ok_or(LoadError::Line(number))?;
    }
    let mut catalog = loader.catalog;
    if catalog.rows.is_empty() || !catalog.ids.is_sorted() {
        return Err(LoadError::Format);
    }
    catalog.rows.shrink_to_fit();
    catalog.ids.shrink_to_fit();
    Ok(catalog)
}

struct Loader {
    catalog: Catalog,
    /// Recipes by their text; few thousand serve all rows.
    recipes: FxHashMap<&'static str, u32>,
    /// The set of parameters of the last id.
    set: u16,
}

impl Loader {
    fn line(&mut self, line: &'static str) -> Option<()> {
        let mut fields = line.split(' ');
        match fields.next()? {
            "=" => {
                self.catalog.ids.push(fields.next()?);
                self.set = fields.next()?.parse().ok()?;
                self.catalog.parameters.has_set(self.set).then_some(())?;
            }
            "parameters" => fields
                .by_ref()
                .for_each(|name| self.catalog.parameters.add_name(name)),
            "set" => self.catalog.parameters.add_set(fields.by_ref())?,
            "api" => {
                let api = Api {
                    name: fields.next()?,
                    version: fields.next()?,
                    service: fields.next()?,
                };
                self.service(api.service);
                self.catalog.apis.push(api);
            }
            // A name of a service that has no documents of its own host: the same root.
            "alias" => {
                let (alias, service) = (fields.next()?, fields.next()?);
                let root = *self.catalog.services.get(service)?;
                self.catalog.services.insert(alias, root);
            }
            "legacy" => {
                let (first, service) = (fields.next()?, fields.next()?);
                self.catalog.legacy.insert(first, service);
            }
            api => self.row(api.parse().ok()?, &mut fields)?,
        }
        fields.next().is_none().then_some(())
    }

    fn service(&mut self, service: &'static str) {
        if !self.catalog.services.contains_key(service) {
            let root = self.catalog.trie.root();
            self.catalog.services.insert(service, root);
        }
    }

    fn row(&mut self, api: u16, fields: &mut std::str::Split<'static, char>) -> Option<()> {
        let verb = match fields.next()? {
            "G" => Verb::Get,
            "P" => Verb::Post,
            "U" => Verb::Put,
            "A" => Verb::Patch,
            "D" => Verb::Delete,
            _ => return None,
        };
        let template = fields.next()?;
        let recipe = self.recipe(fields.next()?)?;
        let (traits, flags) = fields.next()?.split_at_checked(2)?;
        let traits = Traits::from_bits(u8::from_str_radix(traits, 16).ok()?)?;
        let catalog = &mut self.catalog;
        let service = catalog.apis.get(usize::from(api))?.service;
        let root = *catalog.services.get(service)?;
        if let Some((_, verb)) = template.rsplit_once(':') {
            catalog.verb_services.insert(service);
            catalog.verbs.insert(verb.to_ascii_lowercase(), verb);
        }
        let number = u32::try_from(catalog.rows.len()).ok()?;
        let elements = catalog.trie.insert(root, template, number)?;
        catalog.rows.push(Row {
            id: MethodIndex(u32::try_from(catalog.ids.len().checked_sub(1)?).ok()?),
            api,
            verb,
            traits,
            uploads: flags.contains('U'),
            downloads: flags.contains('D'),
            recipe,
            parameters: self.set,
            template,
            elements,
        });
        Some(())
    }

    fn recipe(&mut self, text: &'static str) -> Option<u32> {
        if let Some(known) = self.recipes.get(text) {
            return Some(*known);
        }
        let number = u32::try_from(self.catalog.recipes.len()).ok()?;
        self.catalog.recipes.push(recipe::parse(text)?);
        self.recipes.insert(text, number);
        Some(number)
    }
}
