//! gRPC requests become the calls that their REST forms make, and what cannot be read in one way is refused.

use std::sync::OnceLock;

use turnpike_policy::{
    call::{Call, Transport},
    canonical::Target,
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

fn method(host: &str, path: &str) -> Result<GrpcMethod<'static>, Ungrpc> {
    grpc().method(catalog(), host, path)
}

fn classify(host: &str, path: &str, message: &[u8]) -> Result<Classified, Ungrpc> {
    method(host, path)?.classify(message)
}

/// A field of text, by the numbers that lead to it.
fn field(path: &[u8], text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for number in path.iter().rev() {
        let mut outer = Vec::new();
        varint(u64::from(*number) << 3 | 2, &mut outer);
        varint(bytes.len() as u64, &mut outer);
        outer.extend(&bytes);
        bytes = outer;
    }
    bytes
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Method and resources' names, destination first.
fn said(found: Result<Classified, Ungrpc>) -> String {
    let call = |call: &Call| {
        assert_eq!(call.transport, Transport::Grpc);
        let names: Vec<_> = call.resources.iter().map(|r| r.name.as_str()).collect();
        format!("{} {}", call.method, names.join(" "))
    };
    match found {
        Ok(found) => {
            let all: Vec<_> = std::iter::once(&found.call)
                .chain(&found.also)
                .map(call)
                .collect();
            all.join(" + ").trim_end().to_owned()
        }
        Err(why) => why.reason().to_owned(),
    }
}

const SECRETS: &str = "/google.cloud.secretmanager.v1.SecretManagerService";

#[test]
fn a_secret_by_grpc_is_the_call_that_its_url_makes() {
    let name = "projects/acme/secrets/db/versions/latest";
    let found = classify(
        "secretmanager.googleapis.com",
        &format!("{SECRETS}/AccessSecretVersion"),
        &field(&[1], name),
    )
    .expect("a call");
    let target = Target::new(
        "GET",
        "secretmanager.googleapis.com",
        &format!("/v1/{name}:access"),
    )
    .expect("a target");
    let mut rest = catalog().classify(&target).expect("a call");
    assert_eq!(rest.call.method, "secretmanager.projects.secrets.versions.access");
    rest.call.transport = Transport::Grpc;
    assert_eq!(found, rest);
}
#[test]
fn thin() {
    assert_eq!(
        said(classify(
            "bigtable.googleapis.com",
            "/google.bigtable.v2.Bigtable/ReadRows",
            &field(&[1], "projects/p/instances/i/tables/t")
        )),
        "google.bigtable.v2.Bigtable.ReadRows projects/p/instances/i/tables/t"
    );
}

#[test]
fn every_line_of_the_table_is_read() {
    for rpc in grpc().methods() {
        let host = format!("{}.googleapis.com", rpc.host_service);
        method(&host, &rpc.path()).unwrap_or_else(|e| panic!("{}: {e}", rpc.path()));
    }
}
