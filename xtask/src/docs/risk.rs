//! `docs/risk.md`: the factors of the risk score, from the tables of `policy::risk`.

use anyhow::Result;
use turnpike_policy::risk::{self, FACTORS};

/// The page.
pub(super) fn page() -> Result<String> {
    Ok([
        INTRODUCTION,
        &factors(),
        METHODS,
        &methods(),
        FIELDS,
        &fields(),
        LIMITS,
    ]
    .concat())
}

const INTRODUCTION: &str = "\
<!-- Made by `cargo xtask docs` from policy/src/risk; do not edit. -->

# Risk

Every call has a score from 0 to 100. A policy says what follows from it:

```yaml
spec:
  risk:
    approveAbove: 40            # above this, a person decides
    denyAbove: 85               # above this, the call is refused
    weights:                    # points of built-in factors in the place of those below; 0 switches one off
      public-access: 90
      off-hours: 15
    factors:                    # factors of the policy's own
    - name: production
      when: resource.project.endsWith(\"-prod\")
      points: 25
```

Risk makes stricter and never looser: what a rule denies stays denied, and what no rule allows is not allowed by a low
score. The record and the approval request list every factor that counts, with its points and the field it was found
in.

## How points become a score

The score is the sum of the points of all factors that hold, and 100 where the sum is more. So

- a reader can add it up, and see what a weight would change;
- another factor never lowers a score: whatever an agent adds to a request, the request does not look less risky;
- a factor counts once for a request, however many calls, bindings or ranges it holds for: a hundred harmless things
  are not one harmful thing. Of several calls in one request, each factor counts at its most.

Where a body matters and cannot be read (it is not JSON, not an object, nests deeper than 128 levels or is too large),
`unreadable-body` counts for as much as all factors together that look at the bodies of that method, or for its own
points where those are more. So nothing is gained by making a body hard to read. A condition of a factor of a policy's
own that cannot be evaluated counts as true.

Shares are listed with the largest first, and by name where they are equal.

## Factors

";

fn factors() -> String {
    let mut text = head(&["factor", "points", "looks at", "counts when", "source"]);
    for factor in FACTORS {
        let sources: Vec<_> = factor
            .sources
            .iter()
            .enumerate()
            .map(|(i, source)| format!("[{}]({source})", i + 1))
            .collect();
        text += &row(&[
            &code([factor.name]),
            &factor.points.to_string(),
            factor.looks_at.name(),
            factor.counts,
            &sources.join(" "),
        ]);
    }
    text + "
The traits of a method (`read`, `change`, `destructive`, `iam`, `returns-credentials`) come with the method catalogue,
which is made from Google's discovery documents; `iam` counts for methods that change something. `change` is the floor
of all that may change something: what is not known to read, changes.

### Time and history

Hours are those of UTC. What a replica remembers of an agent is its own: it is not shared with other replicas, and gone
with its process. So an agent whose calls go to three replicas has three memories, each of which sees a third of its
calls. A replica remembers the 10,000 agents that it saw last, by the name and the issuer of their tokens: the calls of
the last hour by the minute, and the methods that they used.

- `burst` compares the last minute with the average of the other 59. It takes 60 calls in a minute at least, so that an
  agent that begins its day is none. The last minute is this minute and so much of the minute before as is less than 60
  seconds ago, taken as evenly spread.
- `first-use` does not count in the first hour of a replica, in which it learns what its agents do. A method is known
  once a call of it was let through, by a rule or by a person: a call that is held for being new is as new when it is
  tried again.
"
}

const METHODS: &str = "
## Methods

These methods count whatever their bodies say. `*` is one part of a method's id, `**` any number of parts; methods that
only read are left out.

";

fn methods() -> String {
    let mut text = head(&["factor", "methods"]);
    for (factor, patterns) in risk::methods() {
        text += &row(&[&code([factor]), &code(patterns)]);
    }
    text
}

const FIELDS: &str = "
## Fields

A field is found by how its path ends, at any depth, in camel case or snake case. Messages of gRPC are looked at in
their JSON form. Names and values that stand here are the only ones that get into a record this way; text of a request
never does.

A switch that is off is `false`, `null`, or named by an update mask and left out, which resets it. \"Absent\" lists the
methods for which it also counts that the field is not there, because Google takes that so.

";

fn fields() -> String {
    let mut text = head(&["factor", "methods", "field", "is", "absent"]);
    for field in risk::fields() {
        text += &row(&[
            &code([field.factor]),
            &code(field.methods),
            &code(&field.names),
            &field.is,
            &code(field.absent),
        ]);
    }
    text + "
An access control entry of Cloud Storage that names its entity in the URL (`.../acl/allUsers`) counts like one that
names it in its body. Ranges of addresses are added up, so that the internet in many pieces is still the internet;
private ranges count for nothing, and a range that cannot be read counts. Rules of firewalls that deny or that are
about what goes out count for nothing.
"
}

const LIMITS: &str = "
## What it does not see

- What was there before. An IAM policy is set whole, so a grant in it counts although it may be old; and that a policy
  leaves out an earlier audit configuration is seen only where its update mask says so.
- SQL, templates and other configuration within strings: `DROP TABLE` in a query, a deployment that opens a firewall.
- What a role is worth that is not listed, what a group or a service account may do, and conditions of a binding.
- Several calls that are harmless one by one.
- A full replacement (`PUT`) that leaves a field out resets it; that is counted only for the methods under \"absent\".
";

/// A row of a table; what is in a cell may hold `|`.
fn row(cells: &[&str]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
fn head(cells: &[&str]) -> String {
    row(cells) + &row(&vec!["---"; cells.len()])
}

/// Names as code, with commas.
fn code(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names
        .into_iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    names.join(", ")
}
