//! One module for each API; here is how a request finds its own.

pub(super) mod bigquery;
pub(super) mod functions;
pub(super) mod iam;
mod platform;
pub(super) mod run;
pub(super) mod secrets;
pub(super) mod storage;
mod tokens;

use anyhow::Result;
use http::StatusCode;

use super::answer::{self, Answer};
use super::call::{Call, Payload};
use super::world::World;

/// The APIs that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Storage,
    SecretManager,
    CloudFunctions,
    Run,
    Iam,
    IamCredentials,
    OAuth2,
    Sts,
    ResourceManager,
    Enablement,
    Compute,
    CloudBuild,
    BigQuery,
}

impl Service {
    const ALL: [(&'static str, Self); 13] = [
        ("storage", Self::Storage),
        ("secretmanager", Self::SecretManager),
        ("cloudfunctions", Self::CloudFunctions),
        ("run", Self::Run),
        ("iam", Self::Iam),
        ("iamcredentials", Self::IamCredentials),
        ("oauth2", Self::OAuth2),
        ("sts", Self::Sts),
        ("cloudresourcemanager", Self::ResourceManager),
        ("serviceusage", Self::Enablement),
        ("compute", Self::Compute),
        ("cloudbuild", Self::CloudBuild),
        ("bigquery", Self::BigQuery),
    ];

    /// The API of a host: plain, regional (`us-central1-run`, `run.us-central1.rep`), or mTLS.
    fn of_host(host: &str) -> Option<Self> {
        let name = host.strip_suffix(".googleapis.com")?;
        let first = name.split('.').next().unwrap_or(name);
        let named = |label: &str| {
            Self::ALL
                .iter()
                .find(|(name, _)| *name == label)
                .map(|(_, service)| *service)
        };
        named(first).or_else(|| named(first.rsplit('-').next()?))
    }
}

/// Answers from the API of the host. A host that is none of Google's, as where a client was
/// pointed at the stand-in's own address, is answered by whichever API knows the path.
pub(super) async fn answer(world: &World, call: &Call, payload: &mut Payload) -> Result<Answer> {
    let by_host = Service::of_host(&call.host);
    let on_bucket_host = call.host.ends_with(".storage.googleapis.com");
    let known = match by_host {
        Some(service) => ask(service, world, call, payload).await?,
        None if on_bucket_host => ask(Service::Storage, world, call, payload).await?,
        None if call.host.ends_with(".googleapis.com") && call.host != "www.googleapis.com" => None,
        None => {
            let mut found = None;
            // Storage last: its XML API takes any path.
            for (_, service) in Service::ALL.iter().rev() {
                found = ask(*service, world, call, payload).await?;
                if found.is_some() {
                    break;
                }
            }
            found
        }
    };
    Ok(known.unwrap_or_else(|| {
        let message = format!(
            "the stand-in does not know {} {}/{}",
            call.method,
            call.host,
            call.segments().join("/")
        );
        answer::error(StatusCode::NOT_FOUND, &message)
    }))
}

/// `None` where the API does not know the path.
async fn ask(service: Service, world: &World, call: &Call, payload: &mut Payload) -> Result<Option<Answer>> {
    match service {
        Service::Storage => storage::answer(world, call, payload).await,
        Service::SecretManager => secrets::answer(world, call, payload).await,
        Service::CloudFunctions => functions::answer(world, call, payload).await,
        Service::Run => run::answer(world, call, payload).await,
        Service::Iam => iam::answer(world, call, payload).await,
        Service::IamCredentials => tokens::impersonate(world, call, payload).await,
        Service::OAuth2 => tokens::grant(world, call, payload).await,
        Service::Sts => tokens::exchange(world, call, payload).await,
        Service::ResourceManager => Ok(platform::projects(call)),
        Service::Enablement => platform::service_usage(world, call, payload).await,
        Service::Compute => Ok(platform::compute(call)),
        Service::CloudBuild => Ok(platform::cloud_build(call)),
        Service::BigQuery => bigquery::answer(world, call, payload).await,
    }
}

/// Whether a request asks for a token rather than having to bring one of Google's.
pub(super) fn issues_tokens(host: &str, path: &str) -> bool {
    matches!(Service::of_host(host), Some(Service::OAuth2 | Service::Sts))
        || (Service::of_host(host).is_none() && matches!(path, "/token" | "/v1/token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_its_api() {
        let cases = [
            ("storage.googleapis.com", Some(Service::Storage)),
            ("storage.mtls.googleapis.com", Some(Service::Storage)),
            ("run.us-central1.rep.googleapis.com", Some(Service::Run)),
            ("us-central1-run.googleapis.com", Some(Service::Run)),
            ("acme-dev-data.storage.googleapis.com", None),
            ("pubsub.googleapis.com", None),
            ("storage.example.com", None),
            ("127.0.0.1", None),
        ];
        for (host, expected) in cases {
            assert_eq!(Service::of_host(host), expected, "{host}");
        }
    }
}
