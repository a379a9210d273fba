//! gRPC: messages come off a body the same however it arrives, and a message names the same resources whatever stands
//! beside its names.
//!
//! Input: two bytes for the method and one for the compression, then a body.
#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use libfuzzer_sys::fuzz_target;
use turnpike_policy::{
    catalog::Catalog,
    grpc::{GrpcCatalog, GrpcMethod},
};
use turnpike_proxy::{
    budget::Budget,
    grpc::{Coding, FrameError, Messages, framed},
};

const CAP: usize = 64 * 1024;
/// A field that no message has, so that everybody skips it: number 536870911, a varint of one.
const UNKNOWN: &[u8] = &[0xf8, 0xff, 0xff, 0xff, 0x0f, 0x01];

fuzz_target!(|data: &[u8]| {
    let Some((&[high, low, coding], body)) = data.split_first_chunk::<3>() else {
        return;
    };
    let coding = [Coding::Identity, Coding::Gzip, Coding::Deflate][usize::from(coding) % 3];
    let read = messages(body, body.len().max(1), coding);
    for step in [1, 7] {
        assert_eq!(messages(body, step, coding), read);
    }
    let (found, error) = read;
    let again: Vec<u8> = found.iter().flat_map(|m| framed(m)).collect();
    assert_eq!(messages(&again, 5, Coding::Identity), (found.clone(), None));
    let methods = methods();
    let method = &methods[usize::from(u16::from_be_bytes([high, low])) % methods.len()];
    for message in &found {
        classify(method, message);
    }
    if error.is_some() && found.is_empty() {
        // What is no frame may be a message.
        classify(method, body);
    }
});

/// The messages of a body that arrives in pieces of `step` bytes, and what ended them before its end.
fn messages(body: &[u8], step: usize, coding: Coding) -> (Vec<Bytes>, Option<FrameError>) {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    });
    let pieces: Vec<Result<Frame<Bytes>, std::io::Error>> = body
        .chunks(step)
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let budget = Budget::new(16 * CAP, 16 * CAP);
    let mut messages = Messages::new(
        StreamBody::new(stream::iter(pieces)),
        coding,
        CAP,
        budget.account("fuzz"),
    );
    runtime.block_on(async {
        let mut found = Vec::new();
        loop {
            match messages.next().await {
                Ok(Some(message)) => found.push(message),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    })
}

fn classify(method: &GrpcMethod<'_>, message: &[u8]) {
    let found = method.classify(message);
    if let Ok(names) = method.names(message) {
        assert!(names.within(&names));
    }
    let Ok(found) = found else {
        return;
    };
    let beside = [UNKNOWN, message, UNKNOWN].concat();
    assert_eq!(method.classify(&beside).as_ref(), Ok(&found));
    for call in std::iter::once(&found.call).chain(&found.also) {
        for resource in &call.resources {
            assert!(
                !resource.name.split('/').any(|step| step == "." || step == ".."),
                "{} names {:?}",
                method.full_name(),
                resource.name
            );
        }
    }
}

fn methods() -> &'static [GrpcMethod<'static>] {
    static METHODS: OnceLock<Vec<GrpcMethod<'static>>> = OnceLock::new();
    METHODS.get_or_init(|| {
        let catalog = Catalog::embedded().expect("the catalogue is well formed");
        let grpc = GrpcCatalog::embedded().expect("the catalogue of gRPC is well formed");
        let mut rpcs: Vec<_> = grpc
            .methods()
            .map(|rpc| (format!("{}.googleapis.com", rpc.host_service), rpc.path()))
            .collect();
        rpcs.sort();
        let methods = rpcs
            .iter()
            .filter_map(|(host, path)| grpc.method(catalog, host, path).ok());
        methods.collect()
    })
}
