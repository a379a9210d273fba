//! The table of the built-in detectors: what each finds, where its format is documented, and what it looks for first.

use super::{
    assignment, encoded, jwt, pair, pem,
    token::{self, Length, Token},
    url,
    view::{Class, Hit, View},
};

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name, in records, answers and metrics.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The document that the format is taken from.
    pub source: &'static str,
}

const fn kind(name: &'static str, about: &'static str, source: &'static str) -> Kind {
    Kind { name, about, source }
}

/// All built-in kinds.
///
/// | kind | format | source |
/// | --- | --- | --- |
/// | `google-api-key` | `AIza` and 35 characters; `AQ.` and about 50 where bound to a service account | <https://cloud.google.com/docs/authentication/api-keys> |
/// | `google-oauth-access-token` | `ya29.` and at most 2048 bytes | <https://cloud.google.com/docs/authentication/token-types> |
/// | `google-oauth-refresh-token` | `1//0` and at most 512 bytes | <https://developers.google.com/identity/protocols/oauth2> |
/// | `google-oauth-client-secret` | `GOCSPX-` and 28 characters | <https://support.google.com/cloud/answer/6158849> |
/// | `google-service-account-key` | JSON with `private_key` in PEM | <https://cloud.google.com/iam/docs/keys-create-delete> |
/// | `google-hmac-secret` | 40 characters of base64 near an id of 24 or 61 from `GOOG` on | <https://cloud.google.com/storage/docs/authentication/hmackeys> |
/// | `private-key` | PEM (RFC 7468, OpenSSH, RFC 9580) | <https://www.rfc-editor.org/rfc/rfc7468> |
/// | `jwt` | three parts of base64, signed | <https://www.rfc-editor.org/rfc/rfc7519> |
/// | `kubernetes-token` | a JWT whose claims are Kubernetes' | <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/> |
/// | `github-token` | `ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_`, `github_pat_` | <https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github> |
/// | `gitlab-token` | `glpat-` and its relatives | <https://docs.gitlab.com/security/tokens/#token-prefixes> |
/// | `aws-secret-key` | 40 characters of base64 near an id from `AKIA` or `ASIA` on, or by its name | <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html> |
/// | `slack-token` | `xoxb-` and its relatives, `xapp-` | <https://docs.slack.dev/authentication/tokens/> |
/// | `slack-webhook` | `hooks.slack.com/services/T.../B.../...` | <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/> |
/// | `stripe-key` | `sk_live_`, `sk_test_`, `rk_live_`, `rk_test_`, `whsec_` | <https://docs.stripe.com/keys> |
/// | `openai-key` | `sk-...T3BlbkFJ...` | <https://platform.openai.com/docs/api-reference/authentication> |
/// | `anthropic-key` | `sk-ant-` | <https://docs.claude.com/en/api/overview> |
/// | `npm-token` | `npm_` and 36 characters | <https://docs.npmjs.com/about-access-tokens> |
/// | `database-url` | `postgres://user:password@host` and others | <https://www.postgresql.org/docs/current/libpq-connect.html> |
/// | `basic-auth-url` | `https://user:password@host` | <https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1> |
/// | `password` | a random value given to a name such as `password` | <https://cwe.mitre.org/data/definitions/798.html> |
#[rustfmt::skip]
pub static KINDS: &[Kind] = &[
    kind("google-api-key", "a Google API key", "https://cloud.google.com/docs/authentication/api-keys"),
    kind("google-oauth-access-token", "an OAuth access token of Google", "https://cloud.google.com/docs/authentication/token-types"),
    kind("google-oauth-refresh-token", "an OAuth refresh token of Google", "https://developers.google.com/identity/protocols/oauth2"),
    kind("google-oauth-client-secret", "an OAuth client secret of Google", "https://support.google.com/cloud/answer/6158849"),
    kind(pem::SERVICE_ACCOUNT_KEY, "the key of a Google service account", "https://cloud.google.com/iam/docs/keys-create-delete"),
    kind("google-hmac-secret", "the secret of a Cloud Storage HMAC key", "https://cloud.google.com/storage/docs/authentication/hmackeys"),
    kind(pem::PRIVATE_KEY, "a private key in PEM form", "https://www.rfc-editor.org/rfc/rfc7468"),
    kind("jwt", "a signed JSON Web Token", "https://www.rfc-editor.org/rfc/rfc7519"),
    kind("kubernetes-token", "a token of a Kubernetes service account", "https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/"),
    kind("github-token", "a GitHub token", "https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github"),
    kind("gitlab-token", "a GitLab token", "https://docs.gitlab.com/security/tokens/#token-prefixes"),
    kind("aws-secret-key", "an AWS secret access key", "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"),
    kind("slack-token", "a Slack token", "https://docs.slack.dev/authentication/tokens/"),
    kind("slack-webhook", "a Slack webhook", "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/"),
    kind("stripe-key", "a Stripe key", "https://docs.stripe.com/keys"),
    kind("openai-key", "an OpenAI API key", "https://platform.openai.com/docs/api-reference/authentication"),
    kind("anthropic-key", "an Anthropic API key", "https://docs.claude.com/en/api/overview"),
    kind("npm-token", "an npm access token", "https://docs.npmjs.com/about-access-tokens"),
    kind("database-url", "a password in the URL of a database", "https://www.postgresql.org/docs/current/libpq-connect.html"),
    kind("basic-auth-url", "a password in a URL", "https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1"),
    kind("password", "a random value given to a name such as password or secret", "https://cwe.mitre.org/data/definitions/798.html"),
];

/// What is done where a literal stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    Token(&'static Token),
    With(fn(&View<'_>) -> Option<Hit>),
    /// The name of a secret, and its length.
    Name(usize),
}

impl Check {
    pub(super) fn run(self, view: &View<'_>) -> Option<Hit> {
        match self {
            Self::Token(token) => token.check(view),
            Self::With(check) => check(view),
            Self::Name(length) => assignment::assignment(view, length),
        }
    }
}

const fn token(kind: &'static str, prefix: &'static str, class: Class, length: Length) -> Token {
    Token {
        kind,
        prefix,
        class,
        length,
    }
}

/// Secrets that their beginning tells.
#[rustfmt::skip]
static TOKENS: &[Token] = &[
    token("google-api-key", "AIza", Class::URL_SAFE, Length::Exactly(35)),
    token("google-api-key", "AQ.Ab", Class::URL_SAFE, Length::Between(40, 64)),
    token("google-oauth-access-token", "ya29.", Class::URL_SAFE_DOT, Length::AtLeast(40)),
    token("google-oauth-refresh-token", "1//0", Class::URL_SAFE, Length::AtLeast(40)),
    token("google-oauth-client-secret", "GOCSPX-", Class::URL_SAFE, Length::Exactly(28)),
    token("github-token", "ghp_", Class::ALNUM, Length::Exactly(36)),
    token("github-token", "gho_", Class::ALNUM, Length::Exactly(36)),
    token("github-token", "ghu_", Class::ALNUM, Length::Exactly(36)),
    token("github-token", "ghr_", Class::ALNUM, Length::AtLeast(36)),
    token("github-token", "ghs_", Class::URL_SAFE_DOT, Length::AtLeast(36)),
    token("github-token", "github_pat_", Class::WORD, Length::Exactly(82)),
    token("gitlab-token", "glpat-", Class::URL_SAFE_DOT, Length::AtLeast(20)),
    token("gitlab-token", "gldt-", Class::URL_SAFE, Length::AtLeast(20)),
    token("gitlab-token", "glrt-", Class::URL_SAFE_DOT, Length::AtLeast(20)),
    token("gitlab-token", "glcbt-", Class::URL_SAFE_DOT, Length::AtLeast(20)),
    token("gitlab-token", "glptt-", Class::URL_SAFE, Length::AtLeast(20)),
    token("gitlab-token", "glsoat-", Class::URL_SAFE, Length::AtLeast(20)),
    token("gitlab-token", "gloas-", Class::URL_SAFE, Length::AtLeast(20)),
    token("gitlab-token", "glagent-", Class::URL_SAFE, Length::AtLeast(20)),
    token("slack-token", "xapp-", Class::ALNUM_DASH, Length::AtLeast(40)),
    token("stripe-key", "sk_live_", Class::ALNUM, Length::AtLeast(24)),
    token("stripe-key", "sk_test_", Class::ALNUM, Length::AtLeast(24)),
    token("stripe-key", "rk_live_", Class::ALNUM, Length::AtLeast(24)),
    token("stripe-key", "rk_test_", Class::ALNUM, Length::AtLeast(24)),
    token("stripe-key", "whsec_", Class::BASE64, Length::AtLeast(32)),
    token("anthropic-key", "sk-ant-", Class::URL_SAFE, Length::AtLeast(60)),
    token("npm-token", "npm_", Class::ALNUM, Length::Exactly(36)),
];

/// What other detectors look for first.
static OTHERS: &[(&str, Check)] = &[
    ("-----BEGIN ", Check::With(pem::private_key)),
    // Base64 of `-----BEGIN`, of `{\n  "type": ` and of `eyJhbGciOi`.
    ("LS0tLS1CRUdJTi", Check::With(encoded::encoded)),
    ("ewogICJ0eXBlIjog", Check::With(encoded::encoded)),
    ("ZXlKaGJHY2lPaU", Check::With(encoded::encoded)),
    ("eyJ", Check::With(jwt::jwt)),
    ("AKIA", Check::With(pair::aws)),
    ("ASIA", Check::With(pair::aws)),
    ("GOOG", Check::With(pair::hmac)),
    ("xox", Check::With(token::slack)),
    ("hooks.slack.com/", Check::With(token::slack_webhook)),
    ("T3BlbkFJ", Check::With(token::openai)),
    ("://", Check::With(url::url)),
];

/// Words in names of secrets, in the cases in which names are written.
pub(super) static NAMES: &[&str] = &[
    "passw",
    "Passw",
    "PASSW",
    "passphrase",
    "Passphrase",
    "PASSPHRASE",
    "secret",
    "Secret",
    "SECRET",
    "token",
    "Token",
    "TOKEN",
    "api_key",
    "api-key",
    "apikey",
    "apiKey",
    "ApiKey",
    "API_KEY",
    "API-Key",
    "APIKEY",
    "access_key",
    "accessKey",
    "AccessKey",
    "ACCESS_KEY",
    "private_token",
];

/// Whether one of these stands here.
pub(super) fn is_token(view: &View<'_>, at: usize) -> bool {
    let view = View { at, ..*view };
    TOKENS
        .iter()
        .any(|token| view.from(at).starts_with(token.prefix.as_bytes()) && token.check(&view).is_some())
}

/// Every literal, and what is done where it stands.
pub(super) fn literals() -> Vec<(&'static str, Check)> {
    let tokens = TOKENS.iter().map(|token| (token.prefix, Check::Token(token)));
    let names = NAMES.iter().map(|name| (*name, Check::Name(name.len())));
    tokens.chain(OTHERS.iter().copied()).chain(names).collect()
}
