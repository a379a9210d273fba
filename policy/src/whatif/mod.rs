//! What would be otherwise: what a change of policies changes, and which policy a trail of calls suggests.
//!
//! [`diff`] compares two policy sets over every method and every name that their globs can tell apart. Nothing here
//! decides: each question goes through [`decide`](crate::decide()), for a representative of each class of agents,
//! methods and names that no rule of either side tells apart. Conditions depend on requests that nobody has made yet;
//! they are taken for unknown, the same text for the same answer on both sides.

mod agents;
mod assume;
mod cells;
mod diff;
mod explore;
mod logic;
mod methods;
mod regions;
mod segments;
mod settings;

pub use agents::AgentClass;
pub use assume::{Answer, RuleName};
pub use diff::{Change, Comparison, Diff, Difference, Example, Found, diff};
pub use methods::Methods;
pub use regions::Region;
pub use settings::Setting;
