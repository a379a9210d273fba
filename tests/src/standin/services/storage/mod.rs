//! Cloud Storage: the JSON API's buckets and objects, uploads, downloads, and as much of the
//! XML API as signed upload URLs need.
//!
//! Not here: access control, versions, composition, batches.

mod content;
mod upload;

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{CREATED, PROJECT_NUMBER, World, now};

use content::Content;

/// The size of the answer to `storage.buckets.get`, which benchmarks call.
const BUCKET_BYTES: usize = 1024;
/// The size of the object `big.bin`.
const BIG: u64 = 100 * 1024 * 1024;
/// Objects a page of `storage.objects.list`, where the client does not say.
const PAGE: usize = 1000;

/// All buckets, and uploads under way.
#[derive(Debug)]
pub(in crate::standin) struct Store {
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<String, upload::Session>,
    generation: u64,
}

#[derive(Debug)]
struct Bucket {
    /// The whole answer to `buckets.get`, made once.
    json: Bytes,
    objects: BTreeMap<String, Object>,
}

#[derive(Clone, Debug)]
struct Object {
    content: Content,
    content_type: String,
    generation: u64,
    metadata: Option<Value>,
    updated: String,
}

impl Store {
    /// Two buckets of the project: one with data, one with sources.
    pub(in crate::standin) fn seeded() -> Self {
        let mut store = Self {
            buckets: BTreeMap::new(),
            uploads: BTreeMap::new(),
            generation: 1_700_000_000_000_000,
        };
        for bucket in ["acme-dev-artifacts", "acme-dev-data"] {
            store
                .buckets
                .insert(bucket.to_owned(), Bucket::new(bucket, "US-CENTRAL1"));
        }
        let report = json!({"month": "2026-01", "total": 42, "note": "invented data"}).to_string();
        for (bucket, name, kind, content) in [
            (
                "acme-dev-data",
                "hello.txt",
                "text/plain",
                Content::inline("Hello from the stand-in.\n"),
            ),
            (
                "acme-dev-data",
                "reports/2026-01.json",
                "application/json",
                Content::inline(report),
            ),
            (
                "acme-dev-data",
                "big.bin",
                "application/octet-stream",
                Content::pattern(BIG),
            ),
            (
                "acme-dev-artifacts",
                "src.zip",
                "application/zip",
                Content::inline(EMPTY_ZIP),
            ),
        ] {
            store.insert(bucket, name, kind, content, None);
        }
        store
    }

    /// Adds or replaces an object; `None` where there is no such bucket.
    fn insert(
        &mut self,
        bucket: &str,
        name: &str,
        content_type: &str,
        content: Content,
        metadata: Option<Value>,
    ) -> Option<Object> {
        self.generation += 1;
        let object = Object {
            content,
            content_type: content_type.to_owned(),
            generation: self.generation,
            metadata,
            updated: now(),
        };
        let bucket = self.buckets.get_mut(bucket)?;
        bucket.objects.insert(name.to_owned(), object.clone());
        Some(object)
    }

    fn object(&self, bucket: &str, name: &str) -> Option<&Object> {
        self.buckets.get(bucket)?.objects.get(name)
    }
}

/// Bytes of an object from an offset on, at most so many, empty at its end; `None` where it is not there, or not
/// kept.
pub(in crate::standin) fn read_chunk(
    world: &World,
    bucket: &str,
    name: &str,
    at: u64,
    most: usize,
) -> Option<Bytes> {
    world.storage().object(bucket, name)?.content.chunk(at, most)
}

/// Generation and size of an object.
pub(in crate::standin) fn object_size(world: &World, bucket: &str, name: &str) -> Option<(u64, u64)> {
    let store = world.storage();
    let object = store.object(bucket, name)?;
    Some((object.generation, object.content.len()))
}

/// Adds or replaces an object and gives its generation; `None` where there is no such bucket.
pub(in crate::standin) fn write_object(
    world: &World,
    bucket: &str,
    name: &str,
    content: Vec<u8>,
) -> Option<u64> {
    let kind = "application/octet-stream";
    let stored = world
        .storage()
        .insert(bucket, name, kind, Content::inline(content), None);
    stored.map(|object| object.generation)
}

/// A zip archive without entries.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

impl Bucket {
    fn new(name: &str, location: &str) -> Self {
        let document = |padding: &str| {
            json!({
                "kind": "storage#bucket",
                "selfLink": format!("https://www.googleapis.com/storage/v1/b/{name}"),
                "id": name,
                "name": name,
                "projectNumber": PROJECT_NUMBER,
                "generation": "1700000000000000",
                "metageneration": "1",
                "location": location,
                "locationType": "region",
                "storageClass": "STANDARD",
                "etag": "CAE=",
                "timeCreated": CREATED,
                "updated": CREATED,
                "iamConfiguration": {
                    "uniformBucketLevelAccess": {"enabled": true},
                    "publicAccessPrevention": "enforced",
                },
                "labels": {"padding": padding},
            })
            .to_string()
        };
        let padding = "x".repeat(BUCKET_BYTES.saturating_sub(document("").len()));
        Self {
            json: Bytes::from(document(&padding)),
            objects: BTreeMap::new(),
        }
    }
}

impl Object {
    fn json(&self, bucket: &str, name: &str, origin: &str) -> Value {
        let generation = self.generation.to_string();
        let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let mut object = json!({
            "kind": "storage#object",
            "id": format!("{bucket}/{name}/{generation}"),
            "selfLink": format!("{origin}/storage/v1/b/{bucket}/o/{encoded}"),
            "mediaLink": format!("{origin}/download/storage/v1/b/{bucket}/o/{encoded}?generation={generation}&alt=media"),
            "name": name,
            "bucket": bucket,
            "generation": generation,
            "metageneration": "1",
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": self.content.len().to_string(),
            "crc32c": self.crc32c(),
            "etag": self.etag(),
            "timeCreated": self.updated,
            "updated": self.updated,
        });
        if let Some(md5) = self.content.md5() {
            object["md5Hash"] = json!(STANDARD.encode(md5));
        }
        if let Some(metadata) = &self.metadata {
            object["metadata"] = metadata.clone();
        }
        object
    }

    fn crc32c(&self) -> String {
        STANDARD.encode(self.content.crc32c().to_be_bytes())
    }

    fn etag(&self) -> String {
        STANDARD.encode(self.generation.to_be_bytes())
    }
}

/// Answers the JSON API, and the XML API where the path is none of the former's.
pub(in crate::standin) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let whole = call.segments();
    let download = whole.first() == Some(&"download");
    let segments = if download { &whole[1..] } else { &whole[..] };
    let answer = match (call.method.as_str(), segments) {
        ("POST" | "PUT" | "DELETE", ["upload" | "resumable", .., "v1", "b", bucket, "o"]) => {
            upload::answer(world, call, payload, bucket).await?
        }
        ("GET", ["storage", "v1", "b"]) => list_buckets(world, call),
        ("POST", ["storage", "v1", "b"]) => insert_bucket(world, payload).await?,
        ("GET" | "PATCH", ["storage", "v1", "b", bucket]) => get_bucket(world, bucket),
        ("DELETE", ["storage", "v1", "b", bucket]) => delete_bucket(world, bucket),
        ("GET", ["storage", "v1", "b", bucket, "storageLayout"]) => storage_layout(world, bucket),
        ("GET", ["storage", "v1", "b", bucket, "iam"]) => answer::ok(&json!({
            "kind": "storage#policy", "resourceId": format!("projects/_/buckets/{bucket}"), "version": 1,
            "etag": "CAE=", "bindings": [],
        })),
        ("GET", ["storage", "v1", "b", bucket, "o"]) => list_objects(world, call, bucket),
        ("GET", ["storage", "v1", "b", bucket, "o", name @ ..]) if !name.is_empty() => {
            let media = download || call.query("alt") == Some("media");
            get_object(world, call, bucket, &name.join("/"), media)
        }
        ("PATCH", ["storage", "v1", "b", bucket, "o", name @ ..]) if !name.is_empty() => {
            get_object(world, call, bucket, &name.join("/"), false)
        }
        ("DELETE", ["storage", "v1", "b", bucket, "o", name @ ..]) if !name.is_empty() => {
            delete_object(world, bucket, &name.join("/"))
        }
        ("GET", ["storage", "v1", "projects", _, "serviceAccount"]) => answer::ok(&json!({
            "kind": "storage#serviceAccount",
            "email_address": format!("service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"),
        })),
        (_, ["storage" | "batch", ..]) => return Ok(None),
        ("GET" | "PUT", [bucket, name @ ..]) if !name.is_empty() => {
            return xml(world, call, payload, bucket, &name.join("/")).await;
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn list_buckets(world: &World, call: &Call) -> Answer {
    let prefix = call.query("prefix").unwrap_or("");
    let store = world.storage();
    let items: Vec<Value> = store
        .buckets
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .filter_map(|(_, bucket)| serde_json::from_slice(&bucket.json).ok())
        .collect();
    answer::ok(&json!({"kind": "storage#buckets", "items": items}))
}

async fn insert_bucket(world: &World, payload: &mut Payload) -> Result<Answer> {
    let body = payload.json().await?;
    let Some(name) = body["name"].as_str() else {
        return Ok(answer::error(StatusCode::BAD_REQUEST, "Required parameter: name"));
    };
    let mut store = world.storage();
    if store.buckets.contains_key(name) {
        return Ok(answer::error(
            StatusCode::CONFLICT,
            "Your previous request to create the named bucket succeeded and you already own it.",
        ));
    }
    let bucket = Bucket::new(name, body["location"].as_str().unwrap_or("US"));
    let json = bucket.json.clone();
    store.buckets.insert(name.to_owned(), bucket);
    Ok(answer::json_bytes(StatusCode::OK, json))
}

fn get_bucket(world: &World, bucket: &str) -> Answer {
    match world.storage().buckets.get(bucket) {
        Some(bucket) => answer::json_bytes(StatusCode::OK, bucket.json.clone()),
        None => no_bucket(),
    }
}

fn delete_bucket(world: &World, bucket: &str) -> Answer {
    match world.storage().buckets.remove(bucket) {
        Some(_) => answer::empty(StatusCode::NO_CONTENT),
        None => no_bucket(),
    }
}

fn storage_layout(world: &World, bucket: &str) -> Answer {
    if !world.storage().buckets.contains_key(bucket) {
        return no_bucket();
    }
    answer::ok(&json!({
        "kind": "storage#storageLayout", "bucket": bucket, "location": "US-CENTRAL1", "locationType": "region",
        "hierarchicalNamespace": {"enabled": false},
    }))
}

fn list_objects(world: &World, call: &Call, bucket_name: &str) -> Answer {
    let store = world.storage();
    let Some(bucket) = store.buckets.get(bucket_name) else {
        return no_bucket();
    };
    let prefix = call.query("prefix").unwrap_or("");
    let delimiter = call.query("delimiter").filter(|delimiter| !delimiter.is_empty());
    let after = call.query("pageToken").unwrap_or("");
    let limit = call
        .query("maxResults")
        .and_then(|max| max.parse().ok())
        .unwrap_or(PAGE);
    let mut items = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut next_page = None;
    for (name, object) in bucket.objects.range(after.to_owned()..) {
        let Some(rest) = name.strip_prefix(prefix) else {
            continue;
        };
        if name == after {
            continue;
        }
        if items.len() + prefixes.len() == limit {
            next_page = items
                .last()
                .and_then(|item: &Value| item["name"].as_str().map(str::to_owned));
            break;
        }
        if let Some(end) = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()))
        {
            let folder = format!("{prefix}{}", &rest[..end]);
            if prefixes.last() != Some(&folder) {
                prefixes.push(folder);
            }
            continue;
        }
        items.push(object.json(bucket_name, name, &call.origin));
    }
    let mut body = Map::from_iter([("kind".to_owned(), json!("storage#objects"))]);
    if let Some(token) = next_page {
        body.insert("nextPageToken".to_owned(), json!(token));
    }
    if !prefixes.is_empty() {
        body.insert("prefixes".to_owned(), json!(prefixes));
    }
    if !items.is_empty() {
        body.insert("items".to_owned(), json!(items));
    }
    answer::ok(&Value::Object(body))
}

fn get_object(world: &World, call: &Call, bucket: &str, name: &str, media: bool) -> Answer {
    let store = world.storage();
    let Some(object) = store.object(bucket, name) else {
        return no_object(bucket, name);
    };
    if media {
        send(object, call.header("range"))
    } else {
        answer::ok(&object.json(bucket, name, &call.origin))
    }
}

fn delete_object(world: &World, bucket: &str, name: &str) -> Answer {
    let mut store = world.storage();
    let removed = store
        .buckets
        .get_mut(bucket)
        .and_then(|bucket| bucket.objects.remove(name));
    match removed {
        Some(_) => answer::empty(StatusCode::NO_CONTENT),
        None => no_object(bucket, name),
    }
}

/// The XML API: path style, or with the bucket in the host. PUT serves signed upload URLs.
async fn xml(
    world: &World,
    call: &Call,
    payload: &mut Payload,
    first: &str,
    rest: &str,
) -> Result<Option<Answer>> {
    let (bucket, name) = match call.host.strip_suffix(".storage.googleapis.com") {
        Some(bucket) => (bucket.to_owned(), format!("{first}/{rest}")),
        None => (first.to_owned(), rest.to_owned()),
    };
    if call.method == Method::GET {
        let store = world.storage();
        return Ok(Some(match store.object(&bucket, &name) {
            Some(object) => send(object, call.header("range")),
            None => no_object(&bucket, &name),
        }));
    }
    let content = content::receive(payload).await?;
    let kind = call
        .header(CONTENT_TYPE.as_str())
        .unwrap_or("application/octet-stream");
    let mut store = world.storage();
    // Signed URLs for sources name a bucket that Google makes on its own.
    store
        .buckets
        .entry(bucket.clone())
        .or_insert_with_key(|name| Bucket::new(name, "US-CENTRAL1"));
    store.insert(&bucket, &name, kind, content, None);
    Ok(Some(answer::empty(StatusCode::OK)))
}

/// The content of an object, or the range asked for.
fn send(object: &Object, range: Option<&str>) -> Answer {
    let mut answer = object.content.send(range);
    let headers = answer.headers_mut();
    let texts = [
        (CONTENT_TYPE, object.content_type.clone()),
        (ETAG, object.etag()),
        (
            HeaderName::from_static("x-goog-generation"),
            object.generation.to_string(),
        ),
        (
            HeaderName::from_static("x-goog-hash"),
            format!("crc32c={}", object.crc32c()),
        ),
        (
            HeaderName::from_static("x-goog-stored-content-length"),
            object.content.len().to_string(),
        ),
    ];
    for (name, text) in texts {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    answer
}

fn no_bucket() -> Answer {
    answer::error(StatusCode::NOT_FOUND, "The specified bucket does not exist.")
}

fn no_object(bucket: &str, name: &str) -> Answer {
    answer::error(StatusCode::NOT_FOUND, &format!("No such object: {bucket}/{name}"))
}
