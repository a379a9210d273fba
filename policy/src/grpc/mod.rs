//! Calls by gRPC: no method is listed, so all of them are refused.
#![allow(missing_docs, clippy::all)]
use crate::catalog::{Catalog, Classified};
#[derive(Debug)]
pub struct GrpcCatalog;
#[derive(Debug, Clone, Copy)]
pub struct GrpcMethod<'c>(std::marker::PhantomData<&'c ()>);
#[derive(Debug, Clone, PartialEq)]
pub struct Names;
impl Names {
    /// Whether a later message names nothing else than the first (`first`).
    pub fn within(&self, first: &Names) -> bool { self == first }
}
#[derive(Debug, thiserror::Error)]
#[error("unlisted")]
pub struct Ungrpc;
impl Ungrpc { pub fn reason(&self) -> &'static str { "GRPC_METHOD_NOT_IN_CATALOG" } }
impl GrpcCatalog {
    pub fn embedded() -> Result<&'static Self, crate::catalog::LoadError> { Ok(&GrpcCatalog) }
    pub fn method<'c>(&'c self, _catalog: &'static Catalog, _host: &str, _path: &str) -> Result<GrpcMethod<'c>, Ungrpc> { Err(Ungrpc) }
}
impl GrpcMethod<'_> {
    /// `("google.cloud.secretmanager.v1.SecretManagerService", "AccessSecretVersion")`
    pub fn service_and_name(&self) -> (&str, &str) { ("", "") }
    pub fn client_streaming(&self) -> bool { false }
    pub fn server_streaming(&self) -> bool { false }
    pub fn classify(&self, _message: &[u8]) -> Result<Classified, Ungrpc> { Err(Ungrpc) }
    pub fn names(&self, _message: &[u8]) -> Result<Names, Ungrpc> { Err(Ungrpc) }
}
