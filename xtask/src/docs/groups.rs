//! `docs/method-groups.md`: each group of methods, what it means and what is in it.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use turnpike_policy::{
    call::Traits,
    catalog::Catalog,
    groups::{self, Groups, PREFIX, Part, Purpose, Row},
};

/// A group with more methods is described by its row of the table, which says the same.
const MOST_LISTED: usize = 160;

const HEAD: &str = "\
<!-- Made by `cargo xtask docs` from policy/src/groups; do not edit. -->

# Method groups

In a rule's `methods`, `group:NAME` stands for the methods of a group, so that a policy reads like what is meant:

```yaml
rules:
  - {name: look, effect: Allow, methods: [\"group:storage.read\", \"group:bigquery.read\"]}
  - {name: deploy, effect: RequireApproval, methods: [\"group:functions.deploy\"]}
  - {name: no-way-up, effect: Deny, methods: [\"group:iam.escalation\"]}
```

A group made for **Allow** holds nothing that a reader of its name would not expect. One made to **restrict** holds
everything that could be meant; `kubectl turnpike check` warns where a rule allows it. A group is a set of method ids:
which resources it is good for is said by the rule's `resources`. It is expanded by the gateway that decides, over the
catalogue of its build: new methods of Google's come with a new release.
`kubectl turnpike explain group:NAME` lists a group's methods one a line.
";

/// The page.
///
/// # Errors
/// The catalogue cannot be read.
pub(super) fn page() -> Result<String> {
    let groups = Groups::embedded()?;
    let mut page = HEAD.to_owned();
    writeln!(
        page,
        "\nOver the {} methods of {} versions of APIs, which have {} ids:\n",
        Catalog::embedded()?.method_count(),
        api_versions()?,
        Catalog::embedded()?.ids().len()
    )?;
    page.push_str("| group | for | ids |\n| --- | --- | --- |\n");
    for id in groups::ids() {
        let row = id.row();
        writeln!(
            page,
            "| [`{PREFIX}{}`](#{}) | {} | {} |",
            row.name,
            anchor(row),
            purpose(row),
            groups.methods(id).count()
        )?;
    }
    for id in groups::ids() {
        let row = id.row();
        let methods: Vec<&str> = groups.methods(id).map(|(method, _)| method).collect();
        write!(page, "\n## {PREFIX}{}\n\n{}\n\n", row.name, row.about)?;
        let ids = if methods.len() == 1 { "id" } else { "ids" };
        writeln!(page, "{} {ids}, made to {}:\n", methods.len(), purpose(row))?;
        if methods.len() > MOST_LISTED {
            row.parts.iter().try_for_each(|part| describe(&mut page, part))?;
        } else {
            list(&mut page, &methods)?;
        }
    }
    Ok(page)
}

fn api_versions() -> Result<usize> {
    let mut versions: Vec<_> = Catalog::embedded()?
        .methods()
        .map(|m| (m.api, m.version))
        .collect();
    versions.sort_unstable();
    versions.dedup();
    Ok(versions.len())
}

/// As GitHub makes anchors of headings.
fn anchor(row: &Row) -> String {
    format!("{PREFIX}{}", row.name).replace([':', '.'], "")
}

fn purpose(row: &Row) -> &'static str {
    match row.purpose {
        Purpose::Allow => "allow",
        Purpose::Restrict => "restrict",
    }
}

/// The methods, those of one collection on one line.
fn list(page: &mut String, methods: &[&str]) -> Result<()> {
    let mut collections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in methods {
        let (collection, name) = id.rsplit_once('.').unwrap_or(("", id));
        collections.entry(collection).or_default().push(name);
    }
    for (collection, names) in collections {
        match names.as_slice() {
            [name] => writeln!(page, "- `{collection}.{name}`")?,
            names => writeln!(page, "- `{collection}.` {}", names.join(", "))?,
        }
    }
    Ok(())
}

/// A part of a row in words.
fn describe(page: &mut String, part: &Part) -> Result<()> {
    let globs = |texts: &[&str]| {
        let quoted: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
        quoted.join(", ")
    };
    let traits = |traits: Traits, word: &str| traits.names().collect::<Vec<_>>().join(word);
    write!(page, "- {}", globs(part.include))?;
    if part.with != Traits::NONE {
        write!(page, ", with the trait {}", traits(part.with, " and "))?;
    }
    if part.without != Traits::NONE {
        write!(page, ", without {}", traits(part.without, " and without "))?;
    }
    if !part.exclude.is_empty() {
        write!(page, "; none of {}", globs(part.exclude))?;
    }
    page.push('\n');
    Ok(())
}
