//! Codings that are undone, and bodies that two readers would decode differently or that never end.

use std::convert::Infallible;

use async_compression::tokio::bufread::{
    BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
};
use futures::stream;
use http::HeaderValue;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

use super::{stage::ZSTD_WINDOW, *};

const MIB: u64 = 1024 * 1024;
const CAPS: Caps = Caps::bytes(64 * MIB);
const PLAIN: &[u8] = b"{\"name\": \"an object\", \"bucket\": \"a bucket\"}";

async fn coded(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match coding {
        "gzip" | "x-gzip" | "GZIP" => GzipEncoder::new(plain).read_to_end(&mut out).await,
        "deflate" => ZlibEncoder::new(plain).read_to_end(&mut out).await,
        "raw" => DeflateEncoder::new(plain).read_to_end(&mut out).await,
        "br" => BrotliEncoder::new(plain).read_to_end(&mut out).await,
        "zstd" => ZstdEncoder::new(plain).read_to_end(&mut out).await,
        _ => {
            out.extend_from_slice(plain);
            Ok(plain.len())
        }
    };
    read.expect("it can be coded");
    out
}

fn headers(values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
    }
    headers
}

async fn read(values: &[&'static str], body: &[u8], size: usize, caps: Caps) -> Result<Bytes, CodingError> {
    let chunks: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let frames = chunks.into_iter().map(|c| Ok::<_, Infallible>(Frame::data(c)));
    let mut body = decoded(&headers(values), StreamBody::new(stream::iter(frames)), caps)?;
    let mut plain = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => plain.extend_from_slice(&frame.into_data().expect("only data")),
            Err(error) => {
                assert!(body.frame().await.is_none(), "nothing follows an error");
                return Err(*error.downcast().expect("it is ours"));
            }
        }
    }
    Ok(plain.freeze())
}

#[tokio::test]
async fn codings_are_undone_in_their_order() {
    let cases: &[&[&'static str]] = &[
        &[],
        &["identity"],
        &["gzip"],
        &["x-gzip"],
        &["GZIP"],
        &["deflate"],
        &["br"],
        &["zstd"],
        &["gzip", "br"],
        &["br", "zstd", "deflate", "gzip"],
        &["identity", "gzip", "identity", "gzip"],
    ];
    for values in cases {
        let mut body = PLAIN.to_vec();
        for coding in *values {
            body = coded(coding, &body).await;
        }
        for size in [1, 3, 1000] {
            assert_eq!(
                read(values, &body, size, CAPS).await,
                Ok(Bytes::from_static(PLAIN)),
                "{values:?}"
            );
        }
    }
    let body = coded("br", &coded("gzip", PLAIN).await).await;
    assert_eq!(
        read(&["gzip , ,br"], &body, 1000, CAPS).await,
        Ok(Bytes::from_static(PLAIN))
    );
}

#[tokio::test]
async fn codings_that_cannot_be_undone_are_refused() {
    let cases: &[(&[&'static str], &str)] = &[
        (&["compress"], "CODING_UNKNOWN"),
        (&["aws-chunked"], "CODING_UNKNOWN"),
        (&["gzip;q=1"], "CODING_UNKNOWN"),
        (&["gzip br"], "CODING_UNKNOWN"),
        (&["\"gzip\""], "CODING_UNKNOWN"),
        (&["gzip, gzip, gzip, gzip, gzip"], "CODING_TOO_OFTEN"),
        (
            &["identity,identity", "identity,identity", "identity"],
            "CODING_TOO_OFTEN",
        ),
    ];
    for (values, reason) in cases {
        assert_eq!(
            codings(&headers(values)).map_err(|e| e.reason()),
            Err(*reason),
            "{values:?}"
        );
    }
    let mut unreadable = HeaderMap::new();
    unreadable.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_bytes(b"gzip\xff").expect("a value"),
    );
    assert_eq!(codings(&unreadable), Err(CodingError::Unreadable));
}

#[tokio::test]
async fn several_members_are_one_body() {
    for coding in ["gzip", "zstd"] {
        let mut body = coded(coding, &PLAIN[..10]).await;
        body.extend(coded(coding, b"").await);
        body.extend(coded(coding, &PLAIN[10..]).await);
        for size in [1, 1000] {
            assert_eq!(
                read(&[coding], &body, size, CAPS).await,
                Ok(Bytes::from_static(PLAIN)),
                "{coding}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_the_coding_of_nothing() {
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
        assert_eq!(read(&[coding], b"", 1, CAPS).await, Ok(Bytes::new()), "{coding}");
    }
}

#[tokio::test]
async fn damaged_bodies_are_refused() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let whole = coded(coding, PLAIN).await;
        for length in 1..whole.len() {
            for size in [1, 1000] {
                let cut = read(&[coding], &whole[..length], size, CAPS)
                    .await
                    .map_err(|e| e.reason());
                assert_eq!(
                    cut,
                    Err("CODING_BROKEN"),
                    "{coding}, cut at {length} of {}",
                    whole.len()
                );
            }
        }
        for rest in [&b"\0"[..], b"\n", b"more bytes behind the end", PLAIN] {
            let trailing = [&whole, rest].concat();
            for size in [1, whole.len(), 1000] {
                let read = read(&[coding], &trailing, size, CAPS)
                    .await
                    .map_err(|e| e.reason());
                assert!(
                    matches!(read, Err("CODING_BROKEN" | "CODING_TRAILING_BYTES")),
                    "{coding} with {rest:?} behind it: {read:?}"
                );
            }
        }
        let half = [whole.as_slice(), &whole[..whole.len() / 2]].concat();
        let read = read(&[coding], &half, 1000, CAPS).await.map_err(|e| e.reason());
        assert!(
            matches!(read, Err("CODING_BROKEN" | "CODING_TRAILING_BYTES")),
            "{coding} and a half: {read:?}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_something_else_are_refused() {
    let cases = [
        ("deflate without zlib", "deflate", coded("raw", PLAIN).await),
        ("gzip as deflate", "deflate", coded("gzip", PLAIN).await),
        ("deflate as gzip", "gzip", coded("deflate", PLAIN).await),
        ("plain as gzip", "gzip", PLAIN.to_vec()),
        ("plain as zstd", "zstd", PLAIN.to_vec()),
        // Large windows are beyond RFC 7932: the mark, 2^30 bytes, and an empty last block.
        ("a large window of brotli", "br", vec![0x11, 0xde]),
        ("a window of 16 MiB of zstd", "zstd", empty_zstd_frame(24)),
    ];
    for (name, coding, body) in cases {
        let read = read(&[coding], &body, 1000, CAPS).await.map_err(|e| e.reason());
        assert_eq!(read, Err("CODING_BROKEN"), "{name}");
    }
    let widest = read(&["zstd"], &empty_zstd_frame(ZSTD_WINDOW), 1000, CAPS).await;
    assert_eq!(widest, Ok(Bytes::new()));
}

/// A frame (RFC 8878, section 3.1.1) with a window of so many powers of two, and one empty block.
fn empty_zstd_frame(window: u32) -> Vec<u8> {
    let descriptor = u8::try_from((window - 10) << 3).expect("it fits");
    vec![0x28, 0xb5, 0x2f, 0xfd, 0, descriptor, 1, 0, 0]
}

/// Reads a body of endless frames until it fails; gives what was asked for and what came out.
async fn exhaust(values: &[&'static str], frame: Vec<u8>, caps: Caps) -> (CodingError, u64, u64) {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let frame = Bytes::from(frame);
    let frames = stream::iter(std::iter::repeat_with(move || {
        counted.fetch_add(frame.len() as u64, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(frame.clone()))
    }));
    let mut body = decoded(&headers(values), StreamBody::new(frames), caps).expect("it is known");
    let mut out = 0;
    loop {
        match body.frame().await.expect("it never ends") {
            Ok(frame) => out += frame.data_ref().map_or(0, |d| d.len() as u64),
            Err(error) => {
                return (
                    *error.downcast().expect("it is ours"),
                    asked.load(Ordering::Relaxed),
                    out,
                );
            }
        }
    }
}

#[tokio::test]
async fn bombs_are_given_up_in_the_middle() {
    let zeros = vec![0; 16 * MIB as usize];
    // All bytes count in the expansion; of what was asked for, only little was read before the end was clear.
    for coding in ["gzip", "zstd"] {
        let bomb = coded(coding, &zeros).await;
        let (error, asked, out) = exhaust(&[coding], bomb, CAPS).await;
        assert_eq!(error, CodingError::Expands(200), "{coding}");
        assert!(
            asked < 64 * 1024 && out <= 200 * asked.max(MIB),
            "{coding}: asked {asked}, gave {out}"
        );
    }
    for coding in ["deflate", "br"] {
        let bomb = coded(coding, &zeros).await;
        let read = read(&[coding], &bomb, 1024, CAPS).await;
        assert_eq!(read, Err(CodingError::Expands(200)), "{coding}");
    }
    // A bomb in the middle: what comes out at last is nothing.
    let members = coded("gzip", b"").await.repeat(300_000);
    let bomb = coded("gzip", &members).await;
    assert!(bomb.len() < members.len() / 200, "it must be a bomb");
    let read_bomb = read(&["gzip, gzip"], &bomb, 1024, CAPS).await;
    assert_eq!(read_bomb, Err(CodingError::Expands(200)));
}

#[tokio::test]
async fn what_comes_out_is_capped() {
    let plain: Vec<u8> = (0..100_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let body = coded("gzip", &plain).await;
    let capped = async |bytes| {
        read(&["gzip"], &body, 1024, Caps::bytes(bytes))
            .await
            .map(|b| b.len())
    };
    assert_eq!(capped(plain.len() as u64).await, Ok(plain.len()));
    let under = plain.len() as u64 - 1;
    assert_eq!(capped(under).await, Err(CodingError::TooLarge(under)));
    // No more is asked for than what comes out needs.
    let (error, asked, out) = exhaust(&["gzip"], body, Caps::bytes(MIB)).await;
    assert_eq!(error, CodingError::TooLarge(MIB));
    assert!(asked < 2 * MIB && out <= MIB, "asked {asked}, gave {out}");
}

#[tokio::test]
async fn an_error_of_the_body_stays_what_it_was() {
    let start = Bytes::from(coded("gzip", PLAIN).await).slice(..12);
    let frames = [Ok(Frame::data(start)), Err(BoxError::from("the agent hung up"))];
    let body = StreamBody::new(stream::iter(frames));
    let mut body = decoded(&headers(&["gzip, gzip"]), body, CAPS).expect("it is known");
    let error = loop {
        if let Err(error) = body.frame().await.expect("it does not end well") {
            break error;
        }
    };
    assert_eq!(error.to_string(), "the agent hung up");
}

#[test]
fn headers_no_longer_speak_of_the_coded_bytes() {
    let mut coded = headers(&["gzip", "br"]);
    coded.insert(header::CONTENT_LENGTH, HeaderValue::from_static("10"));
    coded.insert(header::CONTENT_TYPE, HeaderValue::from_static("a/b"));
    strip(&mut coded);
    let left: Vec<_> = coded.keys().map(|k| k.as_str()).collect();
    assert_eq!(left, ["content-type"]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        keep in 0_usize..60,
        coding in prop::sample::select(vec!["gzip", "deflate", "br", "zstd"]),
        size in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let whole = coded(coding, PLAIN).await;
            let damaged = [&whole[..keep.min(whole.len())], bytes.as_slice()].concat();
            // Whatever it says, it must say the same however the bytes arrive.
            let once = read(&[coding], &damaged, 1000, CAPS).await;
            let pieces = read(&[coding], &damaged, size, CAPS).await;
            prop_assert_eq!(once.is_ok(), pieces.is_ok());
            if let (Ok(once), Ok(pieces)) = (once, pieces) {
                prop_assert_eq!(once, pieces);
            }
            Ok(())
        })?;
    }
}
