//! The built-in table of response fields that carry secrets.
//!
//! Google marks no field as secret in a way a program could read (`debug_redact` is set on none of its
//! protos), so the table is kept by hand from the discovery documents; each block names the messages.

use crate::mask::Replacement::{self, Base64, Drop, Text};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct SecretField {
    /// Methods, as a glob; its first segment is a literal.
    pub methods: &'static str,
    /// The field, as a path.
    pub path: &'static str,
    /// What `[MASKED:<kind>]` says.
    pub kind: &'static str,
    /// What replaces the value.
    pub with: Replacement,
}

const fn row(
    methods: &'static str,
    path: &'static str,
    kind: &'static str,
    with: Replacement,
) -> SecretField {
    SecretField {
        methods,
        path,
        kind,
        with,
    }
}

/// All rows.
pub static FIELDS: &[SecretField] = &[
    // Secret Manager: SecretPayload; Parameter Manager: payloads and RenderParameterVersionResponse.
    row("secretmanager.**", "**.payload.data", "secret", Base64),
    row("secretmanager.**", "**.payload.dataCrc32c", "checksum", Drop),
    row("parametermanager.**", "**.payload.data", "secret", Base64),
    row("parametermanager.**", "**.renderedPayload", "secret", Base64),
    // IAM: ServiceAccountKey, OauthClientCredential, WorkforcePoolProviderScimToken and provider settings.
    row("iam.**", "**.privateKeyData", "service-account-key", Base64),
    row("iam.**", "**.clientSecret", "oauth-client-secret", Text),
    row("iam.**", "**.securityToken", "scim-token", Text),
    row("iam.**", "**.signedJwt", "signed-jwt", Text),
    row("iam.**.signBlob", "**.signature", "signature", Base64),
    // IAM Credentials: GenerateAccessTokenResponse, GenerateIdTokenResponse, SignBlobResponse, SignJwtResponse.
    row("iamcredentials.**", "**.accessToken", "access-token", Text),
    row("iamcredentials.**", "**.token", "id-token", Text),
    row("iamcredentials.**", "**.signedJwt", "signed-jwt", Text),
    row("iamcredentials.**", "**.signedBlob", "signature", Base64),
    // Security Token Service and OAuth 2.0 (RFC 6749, section 5.1).
    row("sts.**", "**.access_token", "access-token", Text),
    row("sts.**", "**.refresh_token", "refresh-token", Text),
    row("sts.**", "**.id_token", "id-token", Text),
    row("oauth2.**", "**.access_token", "access-token", Text),
    row("oauth2.**", "**.refresh_token", "refresh-token", Text),
    row("oauth2.**", "**.id_token", "id-token", Text),
    // Cloud Storage: HmacKey.
    row("storage.projects.hmacKeys.**", "**.secret", "hmac-secret", Text),
    // API Keys: V2GetKeyStringResponse, V2Key.
    row("apikeys.**", "**.keyString", "api-key", Text),
    // Cloud SQL: User, DatabaseInstance, SslCertDetail.
    row("sql.**", "**.password", "password", Text),
    row("sql.**", "**.rootPassword", "password", Text),
    row("sql.**", "**.certPrivateKey", "private-key", Text),
    row("sqladmin.**", "**.password", "password", Text),
    row("sqladmin.**", "**.rootPassword", "password", Text),
    row("sqladmin.**", "**.certPrivateKey", "private-key", Text),
    // Compute Engine: Metadata (startup scripts, SSH keys), SerialPortOutput, VpnTunnel, customer keys.
    row("compute.**", "**.metadata.items[*].value", "metadata", Text),
    row(
        "compute.**",
        "**.commonInstanceMetadata.items[*].value",
        "metadata",
        Text,
    ),
    row(
        "compute.instances.getSerialPortOutput",
        "contents",
        "serial-output",
        Text,
    ),
    row("compute.**", "**.sharedSecret", "vpn-secret", Text),
    row("compute.**", "**.rawKey", "encryption-key", Text),
    row("compute.**", "**.rsaEncryptedKey", "encryption-key", Text),
    // Cloud Run v1 and v2: EnvVar.
    row("run.**", "**.env[*].value", "environment", Text),
    // Cloud Functions v1 and v2: ServiceConfig, BuildConfig, CloudFunction, signed URLs.
    row(
        "cloudfunctions.**",
        "**.environmentVariables.*",
        "environment",
        Text,
    ),
    row(
        "cloudfunctions.**",
        "**.buildEnvironmentVariables.*",
        "environment",
        Text,
    ),
    row("cloudfunctions.**", "**.uploadUrl", "signed-url", Text),
    row("cloudfunctions.**", "**.downloadUrl", "signed-url", Text),
    row("cloudfunctions.**", "**.sourceUploadUrl", "signed-url", Text),
    // Cloud Build v1 and v2, Developer Connect: BuildStep, BuildOptions, substitutions, repository tokens.
    row("cloudbuild.**", "**.env", "environment", Text),
    row("cloudbuild.**", "**.substitutions.*", "substitution", Text),
    row("cloudbuild.**", "**.token", "repository-token", Text),
    row("developerconnect.**", "**.token", "repository-token", Text),
    // Kubernetes Engine: MasterAuth.
    row("container.**", "**.masterAuth.password", "password", Text),
    row("container.**", "**.masterAuth.clientKey", "private-key", Base64),
    // Cloud KMS: DecryptResponse, AsymmetricDecryptResponse, RawDecryptResponse, DecapsulateResponse.
    row("cloudkms.**", "**.plaintext", "plaintext", Base64),
    row("cloudkms.**", "**.plaintextCrc32c", "checksum", Drop),
    row("cloudkms.**", "**.sharedSecret", "shared-secret", Base64),
    row("cloudkms.**", "**.sharedSecretCrc32c", "checksum", Drop),
    // Memorystore: InstanceAuthString, AuthToken.
    row("redis.**", "**.authString", "auth-string", Text),
    row("redis.**", "**.token", "auth-token", Text),
    // Identity-Aware Proxy: IdentityAwareProxyClient.
    row("iap.**", "**.secret", "oauth-client-secret", Text),
    // Infrastructure Manager: Statefile, TerraformVariable.
    row("config.**", "**.signedUri", "signed-url", Text),
    // Apigee: GenerateUploadUrlResponse, GenerateDownloadUrlResponse.
    row("apigee.**.generateUploadUrl", "**.uploadUri", "signed-url", Text),
    row(
        "apigee.**.generateDownloadUrl",
        "**.downloadUri",
        "signed-url",
        Text,
    ),
    row("config.**", "**.inputValue", "terraform-variable", Text),
    // Scheduler, Tasks, Workflows, App Engine, Composer: HTTP headers and environment.
    row("cloudscheduler.**", "**.headers.*", "header", Text),
    row("cloudtasks.**", "**.headers.*", "header", Text),
    row("workflows.**", "**.userEnvVars.*", "environment", Text),
    row("appengine.**", "**.envVariables.*", "environment", Text),
    row("appengine.**", "**.buildEnvVariables.*", "environment", Text),
    row("composer.**", "**.envVariables.*", "environment", Text),
];

/// Fields that hold a credential whatever the API, for methods that return one (by their traits); where a
/// method has a row of its own for a field, that one counts.
pub static ANY_CREDENTIAL: &[SecretField] = &[
    row("**", "**.accessToken", "access-token", Text),
    row("**", "**.refreshToken", "refresh-token", Text),
    row("**", "**.idToken", "id-token", Text),
    row("**", "**.authToken", "auth-token", Text),
    row("**", "**.token", "token", Text),
    row("**", "**.jwt", "signed-jwt", Text),
    row("**", "**.signedJwt", "signed-jwt", Text),
    row("**", "**.signature", "signature", Base64),
    row("**", "**.secret", "secret", Text),
    row("**", "**.secretKey", "secret", Text),
    row("**", "**.secretData", "secret", Text),
    row("**", "**.clientSecret", "oauth-client-secret", Text),
    row("**", "**.consumerSecret", "consumer-secret", Text),
    row("**", "**.sharedSecret", "shared-secret", Text),
    row("**", "**.legacySecretKey", "secret", Text),
    row("**", "**.keyString", "api-key", Text),
    row("**", "**.apiKey", "api-key", Text),
    row("**", "**.password", "password", Text),
    row("**", "**.passwordHash", "password", Text),
    row("**", "**.securePassword", "password", Text),
    row("**", "**.hashedPassword", "password", Text),
    row("**", "**.signerKey", "signing-key", Text),
    row("**", "**.privateKey", "private-key", Text),
    row("**", "**.encryptedPrivateKey", "private-key", Text),
    row("**", "**.certPrivateKey", "private-key", Text),
    row("**", "**.data", "key", Base64),
    row("**", "**.archiveContent", "wallet", Base64),
    row("**", "**.kubeconfig", "kubeconfig", Text),
    row("**", "**.userAccounts", "password", Text),
    row("**", "**.decryptedCredential", "credential", Text),
    row("**", "**.encryptedCredential", "credential", Text),
    row("**", "**.signedUri", "signed-url", Text),
    row("**", "**.signedUrl", "signed-url", Text),
    row("**", "**.binarySignedUri", "signed-url", Text),
    row("**", "**.uploadUrl", "signed-url", Text),
    row("**", "**.uploadUri", "signed-url", Text),
    row("**", "**.downloadUri", "signed-url", Text),
    row("**", "**.downloadUrl", "signed-url", Text),
];
