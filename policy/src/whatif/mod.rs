//! What would be otherwise: what a change of policies changes, and which policy a trail of calls suggests.
//!
//! - [`diff`] compares two policy sets over every method and every name that their globs can tell apart;
//! - [`replay`] does the same for the calls of a trail, and [`impact`] for one policy beside those that were in force;
//! - [`suggest`] writes the least policy for a trail.
//!
//! Nothing here decides: each question goes through [`decide`](crate::decide()), for a representative of each class of
//! agents, methods and names that no rule of either side tells apart. Conditions depend on requests that nobody has
//! made yet, or of which a trail keeps little; they are taken for unknown, the same text for the same answer on both
//! sides. Nothing here reads a file: how a trail becomes [`Recorded`] calls is for the edge.

mod agents;
mod assume;
mod cells;
mod diff;
mod explore;
mod impact;
mod logic;
mod methods;
mod recorded;
mod regions;
mod replay;
mod segments;
mod settings;
mod suggest;
mod words;

pub use agents::AgentClass;
pub use assume::{Answer, Because, Difference, RuleName};
pub use diff::{Change, Comparison, Diff, Example, Found, diff};
pub use impact::{Impact, impact};
pub use methods::Methods;
pub use recorded::{Recorded, RecordedAgent, RecordedAnswer, RecordedRule};
pub use regions::Region;
pub use replay::{Replay, ReplayChange, replay};
pub use settings::Setting;
pub use suggest::{Suggestion, suggest};
pub use words::in_the_words_of;
