//! Discovery documents, as far as the catalogue needs them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

/// One version of an API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) version: String,
    root_url: String,
    mtls_root_url: Option<String>,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
    pub(super) service_path: String,
    #[serde(flatten)]
    root: Resource,
    #[serde(default)]
    pub(super) schemas: BTreeMap<String, Schema>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    endpoint_url: String,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(default)]
    methods: BTreeMap<String, Method>,
    #[serde(default)]
    resources: BTreeMap<String, Resource>,
}

/// A method.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Method {
    pub(super) id: String,
    pub(super) http_method: String,
    pub(super) path: String,
    pub(super) flat_path: Option<String>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Parameter>,
    pub(super) response: Option<Reference>,
    #[serde(default)]
    pub(super) supports_media_upload: bool,
    pub(super) media_upload: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) supports_media_download: bool,
}

/// A parameter in path or query.
#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) location: String,
    pub(super) pattern: Option<String>,
}

/// A `$ref`; missing where the answer is an untyped body.
#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "$ref")]
    pub(super) name: Option<String>,
}

/// A JSON schema, as discovery writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(rename = "$ref")]
    pub(super) reference: Option<String>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Schema>,
    pub(super) items: Option<Box<Schema>>,
    pub(super) additional_properties: Option<Box<Schema>>,
}

impl Document {
    /// All methods, resource by resource.
    pub(super) fn methods(&self) -> Vec<&Method> {
        fn collect<'d>(resource: &'d Resource, methods: &mut Vec<&'d Method>) {
            methods.extend(resource.methods.values());
            for inner in resource.resources.values() {
                collect(inner, methods);
            }
        }
        let mut methods = Vec::new();
        collect(&self.root, &mut methods);
        methods
    }

    /// The main host.
    pub(super) fn host(&self) -> anyhow::Result<&str> {
        host_of(&self.root_url)
    }

    /// The first part of the main host.
    pub(super) fn service(&self) -> anyhow::Result<&str> {
        let host = self.host()?;
        let service = host
            .strip_suffix(".googleapis.com")
            .with_context(|| format!("host {host}"))?;
        anyhow::ensure!(
            !service.contains('.'),
            "host {host} has more parts than the catalogue knows"
        );
        Ok(service)
    }

    /// Every host that the document lists.
    pub(super) fn hosts(&self) -> anyhow::Result<Vec<String>> {
        let listed = self.endpoints.iter().map(|e| &e.endpoint_url);
        let urls = std::iter::once(&self.root_url)
            .chain(&self.mtls_root_url)
            .chain(listed);
        urls.map(|url| host_of(url).map(str::to_owned)).collect()
    }
}

impl Method {
    /// The last part of the id.
    pub(super) fn verb(&self) -> &str {
        self.id.rsplit('.').next().unwrap_or(&self.id)
    }

    /// The part of the id before the last: the collection.
    pub(super) fn collection(&self) -> &str {
        self.id.rsplit('.').nth(1).unwrap_or("")
    }

    /// Names of query parameters.
    pub(super) fn query_parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .filter(|(_, p)| p.location == "query")
            .map(|(name, _)| name.as_str())
    }
}

fn host_of(url: &str) -> anyhow::Result<&str> {
    let rest = url
        .strip_prefix("https://")
        .with_context(|| format!("URL {url}"))?;
    Ok(rest.trim_end_matches('/'))
}
