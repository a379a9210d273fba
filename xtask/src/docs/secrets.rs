//! `docs/secrets.md`: what is searched for in requests, from the table of `policy::detect`.

use anyhow::Result;
use turnpike_policy::detect::{AFTER, BEFORE, KINDS, MAX_CUSTOM, MAX_MATCH};

/// The page.
pub(super) fn page() -> Result<String> {
    Ok([INTRODUCTION, &kinds(), &rest()].concat())
}

const INTRODUCTION: &str = "\
<!-- Made by `cargo xtask docs` from policy/src/detect; do not edit. -->

# Secrets on the way out

A policy can say what becomes of a request whose body holds a secret:

```yaml
spec:
  secrets:
    requests: Deny                 # Allow (it is recorded), RequireApproval or Deny
    unscannable: RequireApproval   # what cannot be searched; by default what `requests` says
    detectors:                     # kinds of the policy's own, besides those below
    - name: acme-licence
      pattern: 'ACME-[0-9A-F]{32}'
      keywords: [licence, license]
```

Of several policies that select an agent the strictest counts, and rules are never loosened. Where no policy of an agent
has any of the three, only bodies that wait for a person are searched.

What was found stands in the record of the call, in the approval request and in the refusal: the kind, the place
(`payload.data`, `line 12`, `source.zip!src/config.py line 3`), and a hash that is keyed with the gateway's own secret,
so that the same secret has the same hash wherever it is found, and nobody can guess it from the hash. The value is
written nowhere.

## What is found

A format that cannot be mistaken is enough. Where it could be, the value has to look random as well, and placeholders of
documents and templates are none.

| kind | what it is | source |
| --- | --- | --- |
";

fn kinds() -> String {
    KINDS
        .iter()
        .map(|kind| format!("| `{}` | {} | [1]({}) |\n", kind.name, kind.about, kind.source))
        .collect()
}

fn rest() -> String {
    format!(
        "
A secret is looked at with at most {BEFORE} bytes before and {AFTER} behind its beginning; longer ones (keys in PEM) are
found by their beginning. However a text is cut on its way, the same is found.

A policy adds at most 32 kinds, and all policies of an agent together {MAX_CUSTOM}. A pattern has no look-around and no way back (it takes linear time), and
matches at most {MAX_MATCH} bytes. With `keywords`, one of them must stand near the match.

## In what

Whatever somebody who receives the body could read: JSON, with the base64 in its values; forms, XML, messages of protocol
buffers and the content that their streams carry; metadata and content of uploads; each call of a batch; gzip, zstd, zip
and tar, with what is in them; text in UTF-16. Everything else is read as bytes.

It does not matter what a content calls itself: an archive is one by its bytes, whatever its name and type.

## What is unscannable

`unscannable` says what becomes of a content of which some could hold what is not seen here:

| reason | when |
| --- | --- |
| `CONTENT_ENCRYPTED` | a member of an archive is encrypted |
| `CONTENT_FORMAT_UNKNOWN` | it is in a format that is not opened: xz, 7z, rar, bzip2, lz4, cab, squashfs and others |
| `CONTENT_CODING_UNKNOWN`, `CONTENT_FEATURE_UNKNOWN` | a `Content-Encoding` or a part of a format that is not read |
| `CONTENT_BROKEN`, `CONTENT_AMBIGUOUS` | it is not what it says, or two programs could read different things in it |
| `CONTENT_NESTED` | more than 3 archives, codings or base64 inside of each other |
| `CONTENT_MEMBERS` | more than 50,000 members |
| `CONTENT_EXPANDS` | it unpacks to more than 1 GiB, or to more than 200 times its size |
| `CONTENT_TOO_LARGE` | a message of more than 16 MiB that has to be read whole |
| `CONTENT_PARTS_LOST`, `CONTENT_PARTS_NO_ROOM` | a part of an upload whose other parts are not known here ([below](#uploads-in-parts)) |
| `CONTENT_UNREADABLE`, `CONTENT_SCAN_FAILED` | the disk failed, or the search did |

The rest of such a content is searched all the same. A stream of gRPC whose messages go both ways is decided before it
ends, so it counts as unscannable.

## What is decided, and what is only recorded

With `Deny` or `RequireApproval` for one of the two, a body is kept whole before anything of it leaves, up to 64 KiB in
memory and beyond that on disk, up to `limits.heldBodyMib` of turnpike.yaml; a longer one is refused
(`BODY_TOO_LARGE_TO_HOLD`).

With `Allow` for both, or in a policy in DryRun, the search changes no answer. A body of up to 4 MiB whose length is known
is searched before it is sent, and the record of the intent has what was found. A longer one is searched **while it
passes**, at the pace of the search, and what was found stands in the record of the outcome. Text is searched as it
comes; archives and messages, which have to be read whole, are written to the disk within its budget
(`limits.heldTotalMib`), and searched when the body has ended. Where there is no room for that, the record says so
(`CONTENT_PARTS_NO_ROOM`). What a policy in DryRun would have done is told at the intent, which counts such a body as
unscannable.

## Uploads in parts

The parts of a resumable upload are searched as the content that they are parts of:

- Text is searched as it comes, and a few KiB are kept from one part to the next: a secret on the border of two parts is
  found, and the part that completes it is refused.
- What has to be read whole is kept on disk until the last part, and refused with that; until then the object does not
  exist. The same goes for a request that ends the upload without a byte (`Content-Range: bytes */LENGTH`).
- Google keeps bytes that it has and ignores what comes again in their place. So what comes again must be the same, or
  nobody knows what the object will hold, and the part is unscannable. Parts that come at the same time are too.
- A question how far the upload has come changes nothing. Where a part is refused, the upload can go on with another one
  in its place.
- A part cannot wait for a person, who would have to see the content: `RequireApproval` refuses it
  (`UPLOAD_SESSION_NOT_HELD`) and says how to send the content in one request.

What is kept of an upload is one replica's, in memory and on disk, for an hour after its last part and for 64 uploads of an
agent. A part whose earlier parts came to another replica is unscannable (`CONTENT_PARTS_LOST`), and so is the rest of the
upload; clients of Google keep their connection, so that happens where a replica goes. Send content in one request where
it matters. A request that says that it has all of the content (`bytes 0-LAST/LENGTH`) is searched as that, where nothing
else is known of its upload on that replica.
"
    )
}
