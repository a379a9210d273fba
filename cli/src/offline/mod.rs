//! Deciding without a gateway: a request as a person writes it down, by the functions that the gateway decides with.
//!
//! What only a request in flight has is left out: sessions of uploads, signed URLs, batches (their parts are calls of
//! their own), limits, and whether a credential can be had.

mod agent;
mod request;
mod search;
mod told;

pub(crate) use agent::Agent;
pub(crate) use request::{By, Message, Refused, Request, Road, Understood};
pub(crate) use search::Search;
pub(crate) use told::{Told, happens};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use turnpike_policy::{PolicySet, caller::Caller, catalog::Catalog, grpc::GrpcCatalog, risk::Pace};

/// The tables that requests are understood by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) catalog: &'static Catalog,
    pub(crate) grpc: &'static GrpcCatalog,
}

impl Tables {
    pub(crate) fn embedded() -> Result<Self> {
        let unreadable = "the method catalogue of this build cannot be read";
        Ok(Self {
            catalog: Catalog::embedded().context(unreadable)?,
            grpc: GrpcCatalog::embedded().context(unreadable)?,
        })
    }
}

/// Who calls, and when.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    pub(crate) caller: Caller,
    pub(crate) now: Timestamp,
    pub(crate) pace: Pace,
}

/// Understands a request and decides it.
pub(crate) fn decide(
    tables: Tables,
    set: &PolicySet,
    request: &Request,
    circumstances: &Circumstances,
) -> Result<(Understood, Told), Refused> {
    let understood = request.understand(
        tables,
        By {
            set,
            caller: &circumstances.caller,
        },
    )?;
    let told = Told::of(set, &understood, circumstances);
    Ok((understood, told))
}
