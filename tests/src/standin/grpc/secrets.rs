//! `google.cloud.secretmanager.v1`: the same secrets as over REST.

use super::Reply;
use super::message::{Builder, Message};
use super::status::{Code, Status};
use crate::standin::services::secrets::{Secret, secret_name, version_name};
use crate::standin::world::World;

/// `SecretVersion.State.ENABLED`
const ENABLED: u64 = 1;

/// The answer to a unary method; `None` for one that is not known.
pub(super) fn answer(world: &World, method: &str, request: &[u8]) -> Result<Option<Reply>, Status> {
    let request = Message::parse(request)?;
    let reply = match method {
        "AccessSecretVersion" => access(world, &request)?,
        "AddSecretVersion" => add_version(world, &request)?,
        "GetSecret" => {
            let name = Name::parse(request.text(1)?)?;
            let secrets = world.secrets();
            secrets.get(name.secret).ok_or_else(|| name.missing())?;
            described(name.secret)
        }
        "ListSecrets" => {
            let secrets = world.secrets();
            let list = secrets
                .keys()
                .fold(Builder::default(), |list, id| list.message(1, described(id)));
            list.number(3, secrets.len() as u64)
        }
        "CreateSecret" => create(world, &request)?,
        "DeleteSecret" => {
            let name = Name::parse(request.text(1)?)?;
            world
                .secrets()
                .remove(name.secret)
                .ok_or_else(|| name.missing())?;
            Builder::default()
        }
        _ => return Ok(None),
    };
    Ok(Some(reply.finish()))
}

fn access(world: &World, request: &Message<'_>) -> Result<Builder, Status> {
    let name = Name::parse(request.text(1)?)?;
    let secrets = world.secrets();
    let secret = secrets.get(name.secret).ok_or_else(|| name.missing())?;
    let number = match name.version {
        Some("latest") => secret.versions.len(),
        Some(number) => number.parse().map_err(|_| name.missing())?,
        None => return Err(Status::invalid("the name is not of a version")),
    };
    let data = number.checked_sub(1).and_then(|index| secret.versions.get(index));
    let data = data.ok_or_else(|| name.missing())?;
    let payload = Builder::default()
        .bytes(1, data)
        .number(2, u64::from(crc32c::crc32c(data)));
    Ok(Builder::default()
        .bytes(1, version_name(name.secret, number))
        .message(2, payload))
}

fn add_version(world: &World, request: &Message<'_>) -> Result<Builder, Status> {
    let name = Name::parse(request.text(1)?)?;
    let data = request.message(2)?.bytes(1).to_vec();
    let mut secrets = world.secrets();
    let secret = secrets.get_mut(name.secret).ok_or_else(|| name.missing())?;
    secret.versions.push(data);
    Ok(Builder::default()
        .bytes(1, version_name(name.secret, secret.versions.len()))
        .number(4, ENABLED))
}

fn create(world: &World, request: &Message<'_>) -> Result<Builder, Status> {
    let id = request.text(2)?;
    if id.is_empty() {
        return Err(Status::invalid("secret_id is required"));
    }
    let mut secrets = world.secrets();
    if secrets.contains_key(id) {
        let message = format!("Secret [{}] already exists.", secret_name(id));
        return Err(Status::new(Code::AlreadyExists, message));
    }
    secrets.insert(id.to_owned(), Secret::empty());
    Ok(described(id))
}

/// A `Secret` with automatic replication.
fn described(id: &str) -> Builder {
    let replication = Builder::default().message(1, Builder::default());
    Builder::default()
        .bytes(1, secret_name(id))
        .message(2, replication)
}

/// `projects/P[/locations/L]/secrets/S[/versions/V]`
struct Name<'a> {
    secret: &'a str,
    version: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = name.split('/').collect();
        let rest = match parts.as_slice() {
            ["projects", _, "locations", _, rest @ ..] | ["projects", _, rest @ ..] => rest,
            _ => &[],
        };
        match rest {
            ["secrets", secret] => Ok(Self {
                secret,
                version: None,
            }),
            ["secrets", secret, "versions", version] => Ok(Self {
                secret,
                version: Some(version),
            }),
            _ => Err(Status::invalid(format!("{name:?} names no secret"))),
        }
    }

    fn missing(&self) -> Status {
        let version = self.version.map(|version| format!("/versions/{version}"));
        let name = secret_name(self.secret);
        Status::not_found(&format!("Secret [{name}{}]", version.unwrap_or_default()))
    }
}
