//! gRPC requests become the calls that their REST forms make, and what cannot be read in one way is refused.

mod differential;
mod known;
mod malformed;
mod message;

use std::{sync::OnceLock, time::Instant};

use turnpike_policy::{
    call::{Call, Transport},
    catalog::{Catalog, Classified},
    grpc::{GrpcCatalog, GrpcMethod, Ungrpc},
};

fn catalog() -> &'static Catalog {
    static LOADED: OnceLock<&'static Catalog> = OnceLock::new();
    LOADED.get_or_init(|| Catalog::embedded().expect("the embedded catalogue loads"))
}

fn grpc() -> &'static GrpcCatalog {
    GrpcCatalog::embedded().expect("the embedded table loads")
}

/// A method by the first part of its host and its path without the first slash.
fn method(service: &str, path: &str) -> Result<GrpcMethod<'static>, Ungrpc> {
    grpc().method(
        catalog(),
        &format!("{service}.googleapis.com"),
        &format!("/{path}"),
    )
}

fn classify(service: &str, path: &str, message: &[u8]) -> Result<Classified, Ungrpc> {
    method(service, path)?.classify(message)
}

/// Methods and their resources' names, destination first; or the reason why not.
fn said(found: &Result<Classified, Ungrpc>) -> String {
    let call = |call: &Call| {
        assert_eq!(call.transport, Transport::Grpc);
        assert_eq!(catalog().index_of(call.method), Some(call.index));
        let names = call.resources.iter().map(|r| format!(" {}", r.name));
        format!("{}{}", call.method, names.collect::<String>())
    };
    match found {
        Ok(found) => {
            let all = std::iter::once(&found.call).chain(&found.also).map(call);
            all.collect::<Vec<_>>().join(" + ")
        }
        Err(why) => why.reason().to_owned(),
    }
}

/// What is known of all RPCs, counted: RPCs (those of mixins once for each host), and those that are, or may be,
/// methods under their own names.
#[test]
fn the_table_has_all_rpcs() {
    let start = Instant::now();
    grpc();
    let unpacked = start.elapsed();
    catalog();
    let merged = start.elapsed();
    let mixin = |service: &str| {
        [
            "google.longrunning.Operations",
            "google.iam.v1.IAMPolicy",
            "google.cloud.location.Locations",
        ]
        .contains(&service)
    };
    let (mixed, plain): (Vec<_>, Vec<_>) = grpc().methods().partition(|rpc| mixin(rpc.service));
    let own: Vec<_> = plain.iter().filter(|rpc| rpc.has_own_id).collect();
    println!(
        "grpc: {} RPCs, {} of them REST methods, {} ids of their own; {} of mixins; {} KiB, \
         unpacked in {unpacked:?}, with the catalogue in {merged:?}",
        plain.len(),
        plain.len() - own.len(),
        own.len(),
        mixed.len(),
        grpc().heap_bytes() >> 10
    );
    assert_eq!((plain.len(), own.len(), mixed.len()), (13_427, 3_052, 877));
    for rpc in &own {
        assert!(catalog().index_of(&rpc.own_id()).is_some(), "{}", rpc.own_id());
    }
    assert!(grpc().heap_bytes() < 4 << 20, "{}", grpc().heap_bytes());
}
