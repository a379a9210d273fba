//! A request's body, kept whole in the form in which it goes upstream.

use bytes::Bytes;
use http::header;
use sha2::{Digest, Sha256};

use super::upload;
use crate::{
    body::RequestBody,
    egress::Canonical,
    held_body::NotCollected,
    journey::{Gateway, Refused},
    kept::{IN_MEMORY, Kept, Reader, Upload},
    multipart,
};

/// Keeps a body. An upload gets a boundary that follows from its content, so that the same upload made again has the
/// same bytes. A body that was kept already stays as it is.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn keep(
    gateway: &Gateway,
    agent: &str,
    canonical: &mut Canonical,
    body: RequestBody,
) -> Result<Kept, Refused> {
    let refused = |why: NotCollected| Box::new(why.refusal());
    let keeper = &gateway.keeper;
    match body {
        RequestBody::Kept(body) => Ok(body.into_kept()),
        RequestBody::Whole(bytes) => {
            let bytes = bytes.unwrap_or_else(Bytes::new);
            keeper.keep_whole(bytes, agent).await.map_err(refused)
        }
        RequestBody::Upload(upload) => {
            let (metadata, media_type, media) = upload.into_parts();
            let media = keeper.keep(media, agent).await.map_err(refused)?;
            let sha256 = media.run(digest).await.map_err(refused)?;
            let (content_type, head, tail) =
                multipart::settled(&metadata, media_type.as_ref(), &sha256).map_err(upload::refused)?;
            canonical.headers.insert(header::CONTENT_TYPE, content_type);
            let upload = Upload {
                metadata,
                media_type,
                media,
                sha256,
            };
            Ok(Kept::around(upload, head, tail))
        }
        body => keeper.keep(body, agent).await.map_err(refused),
    }
}

fn digest(reader: Reader) -> std::io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    each(reader, |piece| digest.update(piece))?;
    Ok(digest.finalize().into())
}

/// Runs over all that is to be read, piece by piece.
pub(crate) fn each(mut reader: impl std::io::Read, mut see: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut piece = vec![0; IN_MEMORY];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(()),
            read => see(piece.get(..read).unwrap_or_default()),
        }
    }
}
