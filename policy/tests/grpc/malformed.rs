//! Messages that two decoders could read in two ways, and any bytes at all.

use std::sync::OnceLock;

use proptest::prelude::*;
use turnpike_policy::grpc::{Malformed, Rpc, Ungrpc};

use super::{
    classify, grpc,
    message::{number, text, varint},
    method, said,
};

const ACCESS: &str = "google.cloud.secretmanager.v1.SecretManagerService/AccessSecretVersion";
const UPDATE: &str = "google.cloud.secretmanager.v1.SecretManagerService/UpdateSecret";
const NAME: &str = "projects/acme/secrets/db/versions/1";

fn access(message: &[u8]) -> Result<(), Ungrpc> {
    classify("secretmanager", ACCESS, message).map(|_| ())
}

#[test]
fn malformed_messages_are_refused() {
    let good = text(&[1], NAME);
    let with = |bytes: &[u8]| [good.as_slice(), bytes].concat();
    assert_eq!(access(&good), Ok(()));
    // Fields that name nothing may be anything that is well-formed.
    assert_eq!(access(&with(&text(&[7], "x"))), Ok(()));
    assert_eq!(access(&with(&number(&[8], u64::MAX))), Ok(()));
    assert_eq!(access(&with(&[0x4d, 1, 2, 3, 4])), Ok(()));
    assert_eq!(access(&with(&[0x49, 1, 2, 3, 4, 5, 6, 7, 8])), Ok(()));
    // Twice the same is once.
    assert_eq!(access(&with(&good)), Ok(()));
    let mut overlong = vec![0x8a, 0x00, NAME.len() as u8];
    overlong.extend(NAME.as_bytes());
    let mut long_length = vec![0x0a, NAME.len() as u8 | 0x80, 0x00];
    long_length.extend(NAME.as_bytes());
    for (message, why) in [
        (good[..good.len() - 1].to_vec(), Malformed::Truncated),
        (with(&[0x12]), Malformed::Truncated),
        (with(&[0x12, 0x05, 1]), Malformed::Truncated),
        (with(&[0x4d, 1, 2, 3]), Malformed::Truncated),
        (with(&[0x80]), Malformed::Truncated),
        (
            with(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Malformed::Truncated,
        ),
        (overlong, Malformed::Varint),
        (long_length, Malformed::Varint),
        (
            with(&[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            Malformed::Varint,
        ),
        (
            with(&[
                0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
            ]),
            Malformed::Varint,
        ),
        (with(&[0x02, 0x00]), Malformed::FieldNumber),
        (
            with(&[0x82, 0x80, 0x80, 0x80, 0x10, 0x00]),
            Malformed::FieldNumber,
        ),
        // A group, its end, and wire types that do not exist.
        (with(&[0x13, 0x14]), Malformed::WireType),
        (with(&[0x0b, 0x0c]), Malformed::WireType),
        (with(&[0x16]), Malformed::WireType),
        (with(&[0x17]), Malformed::WireType),
        (with(&number(&[1], 5)), Malformed::OtherType),
        (with(&[0x0a, 0x01, 0xff]), Malformed::NotUtf8),
        (
            with(&text(&[1], "projects/acme/secrets/db/versions/2")),
            Malformed::Repeated,
        ),
        (with(&text(&[1], "")), Malformed::Repeated),
    ] {
        assert_eq!(access(&message), Err(Ungrpc::Message(why)), "{message:?}");
    }
}

/// Embedded messages merge, so that a name may stand in either part, but only one name.
#[test]
fn parts_of_an_embedded_message_are_one() {
    let update = |message: &[u8]| said(&classify("secretmanager", UPDATE, message));
    let name = text(&[1, 1], "projects/acme/secrets/db");
    let labels = text(&[1, 4, 1], "team");
    let expected = "secretmanager.projects.secrets.patch projects/acme/secrets/db";
    assert_eq!(update(&[labels.clone(), name.clone()].concat()), expected);
    assert_eq!(update(&[name.clone(), labels].concat()), expected);
    let other = text(&[1, 1], "projects/acme/secrets/other");
    assert_eq!(update(&[name.clone(), other].concat()), "GRPC_FIELD_REPEATED");
    // The embedded message is a number, or is itself torn.
    assert_eq!(
        update(&[name.clone(), number(&[1], 1)].concat()),
        "GRPC_MESSAGE_MALFORMED"
    );
    assert_eq!(
        update(&[name, vec![0x0a, 0x02, 0x0a, 0x09]].concat()),
        "GRPC_MESSAGE_MALFORMED"
    );
}

/// Pieces of messages: fields, names, and any bytes between.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let tag = (0..40u32, 0..8u64).prop_map(|(number, wire)| {
        let mut out = Vec::new();
        varint(u64::from(number) << 3 | wire, &mut out);
        out
    });
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        tag,
        (prop::collection::vec(1..30u32, 1..4), "[ -~]{0,20}").prop_map(|(path, value)| text(&path, &value)),
        (prop::collection::vec(1..30u32, 1..4), any::<u64>()).prop_map(|(path, value)| number(&path, value)),
        Just(text(&[1], NAME)),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes: an answer or a reason, and the same names each time.
    #[test]
    fn any_bytes_are_answered(at in any::<prop::sample::Index>(), message in pieces()) {
        static ALL: OnceLock<Vec<Rpc>> = OnceLock::new();
        let rpc = at.get(ALL.get_or_init(|| grpc().methods().collect()));
        let method = method(rpc.host_service, &rpc.path()[1..]).expect("a method of the table");
        match (method.classify(&message), method.names(&message)) {
            (Err(Ungrpc::Message(a)), Err(Ungrpc::Message(b))) => prop_assert_eq!(a, b),
            (_, Ok(names)) => prop_assert!(names.within(&names)),
            (found, names) => prop_assert!(false, "{found:?} {names:?}"),
        }
    }

    #[test]
    fn any_path_is_answered(path in "/?[ -~]{0,60}") {
        let found = grpc().method(super::catalog(), "pubsub.googleapis.com", &path);
        prop_assert!(found.is_err(), "{path}");
    }
}
