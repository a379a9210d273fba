//! What is kept is what came, and its room is free again however it ends.

use std::{
    convert::Infallible,
    fs,
    io::{Cursor, Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
};

use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::prelude::*;
use serde_json::Map;
use tempfile::TempDir;

use super::*;

const KIB: usize = 1024;
const AGENT: &str = "agents/coder";

/// A keeper on a folder of its own: so many bytes for one body, and for all on disk.
fn keeper(largest: usize, total: usize, within: Duration) -> (Keeper, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let config = KeeperConfig {
        dir: dir.path().join("held"),
        largest,
        total,
        within,
    };
    let memory = Budget::new(1024 * KIB, 512 * KIB);
    (Keeper::open(config, memory).expect("a keeper"), dir)
}

fn patient(largest: usize, total: usize) -> (Keeper, TempDir) {
    keeper(largest, total, Duration::from_secs(30))
}

/// Bytes that are nowhere the same.
fn content(length: usize) -> Vec<u8> {
    let mut state: u32 = 7;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(length).collect()
}

type Frames = Vec<Result<Frame<Bytes>, Infallible>>;
type Arriving = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn frames(bytes: &[u8], size: usize) -> Frames {
    let pieces = bytes.chunks(size);
    pieces
        .map(|p| Ok(Frame::data(Bytes::copy_from_slice(p))))
        .collect()
}

fn arriving(bytes: &[u8], size: usize) -> Arriving {
    StreamBody::new(stream::iter(frames(bytes, size)))
}

/// How many bytes of memory and of disk the agent could take now.
fn free(keeper: &Keeper) -> (usize, usize) {
    let most = |account: Account| (1..=4096).rev().find(|n| account.try_take(n * KIB).is_some());
    let [memory, disk] = [&keeper.memory, &keeper.disk].map(|b| most(b.account(AGENT)).unwrap_or(0));
    (memory * KIB, disk * KIB)
}

#[tokio::test]
async fn a_body_is_kept_as_it_came_and_in_memory_only_while_it_is_small() {
    let (keeper, dir) = patient(4096 * KIB, 16 << 20);
    let before = free(&keeper);
    for length in [
        0,
        1,
        LEAST,
        LEAST + 1,
        IN_MEMORY - 1,
        IN_MEMORY,
        IN_MEMORY + 1,
        3 << 20,
    ] {
        let expected = content(length);
        for size in [1000, 16 * KIB, 4096 * KIB] {
            let kept = keeper
                .keep(arriving(&expected, size), AGENT)
                .await
                .expect("it fits");
            let small = length <= IN_MEMORY;
            assert_eq!(
                (kept.len(), kept.is_in_memory()),
                (length as u64, small),
                "{length}"
            );
            let again = keeper.keep_whole(Bytes::from(expected.clone()), AGENT).await;
            for kept in [kept, again.expect("it fits")] {
                assert_eq!(kept.bytes_if_small(KIB << 20).is_some(), small, "{length}");
                let read = kept.run(|mut reader| {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).map(|_| bytes)
                });
                assert_eq!(read.await.expect("it can be read"), expected, "{length}");
                let body = kept.into_body();
                assert_eq!(body.size_hint().exact(), Some(length as u64));
                assert_eq!(body.is_end_stream(), length == 0);
                let sent = body.collect().await.expect("it is whole").to_bytes();
                assert_eq!(sent, expected, "{length} in pieces of {size}");
            }
        }
    }
    let names = fs::read_dir(dir.path().join("held")).expect("the folder").count();
    assert_eq!((names, free(&keeper)), (0, before));
}

#[tokio::test]
async fn what_is_on_disk_is_read_into_memory_that_counts() {
    let (keeper, _dir) = patient(4096 * KIB, 4096 * KIB);
    let expected = content(300 * KIB);
    let kept = keeper
        .keep(arriving(&expected, 5000), AGENT)
        .await
        .expect("it fits");
    let before = free(&keeper);
    assert_eq!(
        kept.bytes(300 * KIB - 1).await,
        Err(NotCollected::TooLarge(300 * KIB - 1))
    );
    let bytes = kept.bytes(300 * KIB).await.expect("there is room");
    assert_eq!(bytes, expected);
    assert_eq!(
        kept.bytes(300 * KIB).await,
        Err(NotCollected::NoRoom),
        "512 KiB are its share"
    );
    drop(bytes);
    assert_eq!(free(&keeper), before);
}

#[tokio::test]
async fn an_upload_is_around_its_media() {
    let (keeper, _dir) = patient(4096 * KIB, 4096 * KIB);
    for length in [0, 10, 200 * KIB] {
        let media = keeper
            .keep(arriving(&content(length), 5000), AGENT)
            .await
            .expect("it fits");
        let upload = Upload {
            metadata: Map::new(),
            media_type: None,
            media,
            sha256: [0; 32],
        };
        let kept = Kept::around(upload, Bytes::from_static(b"<<"), Bytes::from_static(b">>>"));
        let expected = [b"<<".as_slice(), &content(length), b">>>"].concat();
        assert_eq!(kept.bytes(1 << 20).await.expect("there is room"), expected);
        assert_eq!(kept.upload().map(|u| u.media.len()), Some(length as u64));
        let sent = kept.into_body().collect().await.expect("it is whole").to_bytes();
        assert_eq!(sent, expected);
    }
}

#[tokio::test]
async fn what_is_not_kept_says_why_and_takes_no_room() {
    let (keeper, dir) = patient(256 * KIB, 512 * KIB);
    let before = free(&keeper);
    let keep = async |length| {
        let bytes = content(length);
        let frames = frames(&bytes, 10_000);
        let mut unread = frames.len();
        let counted = StreamBody::new(stream::iter(frames).inspect(|_| unread -= 1));
        let kept = keeper.keep(Box::pin(counted), AGENT).await;
        assert_eq!(
            unread, 0,
            "a client that is still sending would not see the refusal"
        );
        kept
    };
    let first = keep(256 * KIB).await.expect("as large as it may be");
    assert_eq!(
        keep(256 * KIB + 1).await.map(|k| k.len()),
        Err(NotCollected::TooLarge(256 * KIB))
    );
    assert_eq!(
        keep(200 * KIB).await.map(|k| k.len()),
        Err(NotCollected::NoRoom),
        "half is its share"
    );
    let small = keep(IN_MEMORY).await.expect("that takes no disk");
    let other = keeper
        .keep(arriving(&content(256 * KIB), 5000), "agents/other")
        .await;
    assert!(other.is_ok(), "another agent has its own share");
    drop((first, small, other));
    assert_eq!(free(&keeper), before);
    assert!(keep(256 * KIB).await.is_ok());

    fs::remove_dir(dir.path().join("held")).expect("it is empty");
    let failed = keep(200 * KIB).await.map(|k| k.len());
    assert!(matches!(failed, Err(NotCollected::Disk(_))), "{failed:?}");
    let reason = failed.map_err(|e| (e.refusal().http.as_u16(), e.refusal().reason));
    assert_eq!(reason, Err((503, "HELD_BODIES_UNAVAILABLE")));
    assert_eq!(free(&keeper), before);
}

#[tokio::test]
async fn a_body_keeps_a_pace_or_is_given_up() {
    let within = Duration::from_millis(100);
    let (keeper, _dir) = keeper(32 << 20, 64 << 20, within);
    let before = free(&keeper);
    // A body that begins with so many MiB and never ends.
    let keep = async |mib: usize| {
        let piece = Bytes::from(content(1 << 20));
        let begun = stream::iter((0..mib).map(move |_| Ok::<_, Infallible>(Frame::data(piece.clone()))));
        let kept = keeper
            .keep(StreamBody::new(begun.chain(stream::pending())), AGENT)
            .await;
        kept.map(|k| k.len())
    };
    assert_eq!(keep(0).await, Err(NotCollected::TooSlow(within)));
    assert_eq!(keep(1).await, Err(NotCollected::TooSlow(within)));
    // For every 16 MiB it has as long again.
    assert_eq!(keep(32).await, Err(NotCollected::TooSlow(3 * within)));
    // What is thrown away has no longer than what is kept, and the reason is the first one.
    assert_eq!(keep(33).await, Err(NotCollected::TooLarge(32 << 20)));
    assert_eq!(free(&keeper), before);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let (keeper, _dir) = patient(4096 * KIB, 4096 * KIB);
    let before = free(&keeper);
    let begun = stream::iter(frames(&content(300 * KIB), 64 * KIB)).chain(stream::pending());
    let gone = tokio::time::timeout(
        Duration::from_millis(100),
        keeper.keep(StreamBody::new(begun), AGENT),
    );
    assert!(gone.await.is_err());
    assert_eq!(free(&keeper), before);
}

#[test]
fn the_folder_is_the_gateways_own_and_must_take_files() {
    let (_keeper, dir) = patient(KIB, KIB);
    let made = fs::metadata(dir.path().join("held")).expect("it is there");
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
    fs::write(dir.path().join("file"), "").expect("a file");
    let config = KeeperConfig {
        dir: dir.path().join("file"),
        largest: KIB,
        total: KIB,
        within: Duration::from_secs(1),
    };
    assert!(Keeper::open(config, Budget::new(KIB, KIB)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A reader reads like one of the same bytes in memory, wherever it is sent.
    #[test]
    fn readers_read_what_is_there(
        length in prop_oneof![0..200_usize, 60_000..70_000_usize, Just(150_000)],
        around in any::<bool>(),
        steps in prop::collection::vec((0..200_000_i64, -100_000..200_000_i64, 0..3_u8, 0..70_000_usize), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (keeper, _dir) = patient(4096 * KIB, 4096 * KIB);
        let mut expected = content(length);
        let mut kept = runtime.block_on(keeper.keep(arriving(&expected, 4096), AGENT)).expect("it fits");
        if around {
            let upload = Upload { metadata: Map::new(), media_type: None, media: kept, sha256: [0; 32] };
            kept = Kept::around(upload, Bytes::from_static(b"head"), Bytes::from_static(b"tail"));
            expected = [b"head".as_slice(), &expected, b"tail"].concat();
        }
        let mut reader = kept.reader();
        let mut model = Cursor::new(expected);
        for (start, by, whence, most) in steps {
            let to = match whence {
                0 => SeekFrom::Start(start as u64),
                1 => SeekFrom::Current(by),
                _ => SeekFrom::End(-by),
            };
            let (found, wanted) = (reader.seek(to), model.seek(to));
            prop_assert_eq!(found.map_err(|e| e.kind()), wanted.map_err(|e| e.kind()));
            let mut found = Vec::new();
            let mut wanted = Vec::new();
            Read::take(&mut reader, most as u64).read_to_end(&mut found).expect("it reads");
            Read::take(&mut model, most as u64).read_to_end(&mut wanted).expect("it reads");
            prop_assert_eq!(found, wanted);
        }
    }
}
