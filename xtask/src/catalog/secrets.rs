//! Which answers yield credentials: the table of response fields, and the walk through response schemas to
//! them.
//!
//! The table holds what *is* a credential or a secret's payload. Fields that merely may hold one, because
//! somebody put it there (environment variables, metadata, step arguments), are the masker's concern alone:
//! flagged here too, nearly every read of compute or run would "return credentials".

use std::collections::BTreeSet;

use super::document::{Document, Method, Schema};

/// How deep a credential may stand in an answer: a list's item's message's field is 3.
const DEPTH: usize = 5;

/// API (`*`: any), schema by the end of its name (`*`: any), field, and the last parts of the ids of the methods
/// that really fill it (empty: all that have it).
type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

const FIELDS: &[Row] = &[
    ("secretmanager", "SecretPayload", "data", &["access"]),
    (
        "parametermanager",
        "RenderParameterVersionResponse",
        "renderedPayload",
        &[],
    ),
    // Keys are answered once, when they are made; `get` and `list` answer the same message without them.
    ("iam", "ServiceAccountKey", "privateKeyData", &["create"]),
    ("iam", "OauthClientCredential", "clientSecret", &[]),
    (
        "iam",
        "WorkforcePoolProviderScimToken",
        "securityToken",
        &["create"],
    ),
    ("iam", "SignJwtResponse", "signedJwt", &[]),
    ("iam", "SignBlobResponse", "signature", &[]),
    (
        "iamcredentials",
        "GenerateAccessTokenResponse",
        "accessToken",
        &[],
    ),
    ("iamcredentials", "GenerateIdTokenResponse", "token", &[]),
    ("iamcredentials", "SignBlobResponse", "signedBlob", &[]),
    ("iamcredentials", "SignJwtResponse", "signedJwt", &[]),
    ("sts", "ExchangeTokenResponse", "access_token", &[]),
    ("sts", "ExchangeOauthTokenResponse", "access_token", &[]),
    ("storage", "HmacKey", "secret", &[]),
    ("apikeys", "GetKeyStringResponse", "keyString", &[]),
    ("sqladmin", "SslCertDetail", "certPrivateKey", &[]),
    ("compute", "VpnTunnel", "sharedSecret", &[]),
    ("cloudfunctions", "GenerateUploadUrlResponse", "uploadUrl", &[]),
    (
        "cloudfunctions",
        "GenerateDownloadUrlResponse",
        "downloadUrl",
        &[],
    ),
    ("cloudkms", "DecryptResponse", "plaintext", &[]),
    ("cloudkms", "RawDecryptResponse", "plaintext", &[]),
    ("cloudkms", "AsymmetricDecryptResponse", "plaintext", &[]),
    ("cloudkms", "DecapsulateResponse", "sharedSecret", &[]),
    ("container", "MasterAuth", "password", &[]),
    ("container", "MasterAuth", "clientKey", &[]),
    ("redis", "InstanceAuthString", "authString", &[]),
    ("redis", "AuthToken", "token", &[]),
    ("iap", "IdentityAwareProxyClient", "secret", &[]),
    ("config", "Statefile", "signedUri", &[]),
    ("config", "PreviewResult", "binarySignedUri", &[]),
    ("gkebackup", "GetBackupIndexDownloadUrlResponse", "signedUrl", &[]),
    (
        "recaptchaenterprise",
        "RetrieveLegacySecretKeyResponse",
        "legacySecretKey",
        &[],
    ),
    ("vmwareengine", "Credentials", "password", &[]),
    (
        "firestore",
        "UserCreds",
        "securePassword",
        &["create", "resetPassword"],
    ),
    (
        "oracledatabase",
        "GenerateAutonomousDatabaseWalletResponse",
        "archiveContent",
        &[],
    ),
    ("androidenterprise", "ServiceAccountKey", "data", &[]),
    ("agentidentitycredentials", "Success", "token", &[]),
    ("firebaseappcheck", "AppCheckToken", "token", &[]),
    ("firebaseappcheck", "MintAppCheckTokenResponse", "token", &[]),
    ("apigee", "Credential", "consumerSecret", &[]),
    ("apigee", "AppKey", "consumerSecret", &[]),
    ("apigee", "DeveloperAppKey", "consumerSecret", &[]),
    (
        "baremetalsolution",
        "LoadInstanceAuthInfoResponse",
        "userAccounts",
        &[],
    ),
    ("cloudbuild", "ReadTokenResponse", "token", &[]),
    ("cloudbuild", "ReadWriteTokenResponse", "token", &[]),
    ("developerconnect", "FetchReadTokenResponse", "token", &[]),
    ("developerconnect", "FetchReadWriteTokenResponse", "token", &[]),
    ("identitytoolkit", "*", "refreshToken", &[]),
    ("integrations", "*", "refreshToken", &[]),
    // The same words, whatever the API.
    ("*", "AccessTokenResponse", "accessToken", &[]),
    ("*", "AccessTokenResponse", "token", &[]),
    ("*", "AccessCredentials", "accessToken", &[]),
    ("*", "GenerateCredentialsResponse", "kubeconfig", &[]),
];

/// Whether the answer of a method holds a credential.
pub(super) fn returns_credentials(document: &Document, method: &Method) -> bool {
    let Some(response) = method.response.as_ref().and_then(|r| r.name.as_deref()) else {
        return false;
    };
    let rows: Vec<_> = FIELDS
        .iter()
        .filter(|(api, _, _, only)| {
            (*api == "*" || *api == document.name) && (only.is_empty() || only.contains(&method.verb()))
        })
        .collect();
    let mut walk = Walk {
        document,
        rows,
        seen: BTreeSet::new(),
    };
    walk.message(response, DEPTH)
}

struct Walk<'d> {
    document: &'d Document,
    rows: Vec<&'static Row>,
    seen: BTreeSet<&'d str>,
}

impl<'d> Walk<'d> {
    fn message(&mut self, name: &str, depth: usize) -> bool {
        let Some((name, schema)) = self.document.schemas.get_key_value(name) else {
            return false;
        };
        if depth == 0 || !self.seen.insert(name) {
            return false;
        }
        self.properties(name, schema, depth)
    }

    fn properties(&mut self, name: &str, schema: &'d Schema, depth: usize) -> bool {
        let yields = |field: &str| {
            self.rows
                .iter()
                .any(|(_, message, f, _)| *f == field && (*message == "*" || name.ends_with(message)))
        };
        schema.properties.keys().any(|field| yields(field))
            || schema
                .properties
                .values()
                .any(|inner| self.value(name, inner, depth))
    }

    fn value(&mut self, name: &str, schema: &'d Schema, depth: usize) -> bool {
        if let Some(reference) = &schema.reference {
            return self.message(reference, depth - 1);
        }
        let inner = [schema.items.as_deref(), schema.additional_properties.as_deref()];
        self.properties(name, schema, depth)
            || inner
                .into_iter()
                .flatten()
                .any(|inner| self.value(name, inner, depth))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnpike_policy::{
        PolicySet,
        call::{Call, Traits, Transport},
        caller::{Caller, Identity},
        catalog::Catalog,
    };

    use super::FIELDS;

    /// What makes a method return credentials is masked in its answer, without any policy.
    #[test]
    fn every_credential_of_the_table_is_masked() {
        let set = PolicySet::deny_all();
        let caller = Caller {
            identity: Identity::ServiceAccount {
                namespace: "agents".into(),
                name: "coder".into(),
            },
            issuer: String::new(),
            session: String::new(),
            pod: None,
        };
        let mut methods = 0;
        let mut passing = std::collections::BTreeSet::new();
        for method in Catalog::embedded()
            .unwrap()
            .methods()
            .filter(|m| m.traits.contains(Traits::RETURNS_CREDENTIALS))
        {
            let call = Call {
                method: method.id,
                index: method.index,
                api: method.api,
                version: method.version,
                traits: method.traits,
                transport: Transport::Rest,
                resources: [].into_iter().collect(),
            };
            let verb = method.id.rsplit('.').next().unwrap();
            let rows: Vec<_> = FIELDS
                .iter()
                .filter(|(api, _, _, only)| {
                    (*api == "*" || *api == method.api) && (only.is_empty() || only.contains(&verb))
                })
                .collect();
            assert!(!rows.is_empty(), "{}", method.id);
            for (_, schema, field, _) in rows {
                let inner = json!({ *field: "bm90LWEtcmVhbC1zZWNyZXQ=" });
                let mut answer = json!({"payload": inner, "masterAuth": inner, "list": [{"deep": inner}], *field: "bm90LWEtcmVhbC1zZWNyZXQ="});
                let masked = set
                    .mask_plan(&caller, std::slice::from_ref(&call))
                    .apply(&mut answer);
                if masked.is_empty() {
                    passing.insert(format!("{} {schema}.{field}", method.api));
                }
            }
            methods += 1;
        }
        assert!(passing.is_empty(), "{passing:#?}");
        assert!(methods > 100, "{methods}");
    }
}
