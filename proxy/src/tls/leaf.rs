//! Leaf certificates, minted per host and cached with their server configuration.
//!
//! All leaves of a process share one P-256 key: it proves nothing about a host that the issuing key in the
//! same process does not, and making keys is most of what a mint costs.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ServerSessionMemoryCache, StoresServerSessions},
    sign::CertifiedKey,
};

use super::ca::Authority;

/// Leaves live this long, and are minted anew when half of it is over.
const LEAF_DAYS: i64 = 7;
const REMINT: Duration = Duration::from_secs(LEAF_DAYS as u64 * 24 * 60 * 60 / 2);
const MAX_HOSTS: u64 = 4096;

/// Why a host has no certificate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeafError {
    /// The certificate could not be minted.
    #[error("cannot mint a certificate for {host}: {reason}")]
    Mint {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
}

/// Server configurations by host.
pub struct Interceptor {
    authority: Authority,
    key: KeyPair,
    provider: Arc<CryptoProvider>,
    sessions: Arc<dyn StoresServerSessions>,
    tickets: Option<Arc<dyn rustls::server::ProducesTickets>>,
    configs: Cache<Box<str>, Arc<ServerConfig>>,
}

impl std::fmt::Debug for Interceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interceptor")
            .field("hosts", &self.configs.entry_count())
            .finish_non_exhaustive()
    }
}

impl Interceptor {
    /// An interceptor that issues with this authority.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(authority: Authority, provider: Arc<CryptoProvider>) -> Result<Self, LeafError> {
        let key = KeyPair::generate().map_err(|e| LeafError::Mint {
            host: "any host".to_owned(),
            reason: e.to_string(),
        })?;
        Ok(Self {
            authority,
            key,
            sessions: ServerSessionMemoryCache::new(4096),
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new().ok(),
            provider,
            configs: Cache::builder()
                .max_capacity(MAX_HOSTS)
                .time_to_live(REMINT)
                .build(),
        })
    }

    /// The server configuration for a host, which must be lower-case and already known to be one that
    /// Turnpike serves.
    ///
    /// # Errors
    /// When the certificate cannot be minted.
    pub fn config_for(&self, host: &str) -> Result<Arc<ServerConfig>, LeafError> {
        if let Some(config) = self.configs.get(host) {
            return Ok(config);
        }
        self.configs
            .try_get_with(Box::from(host), || self.mint(host).map(Arc::new))
            .map_err(|e| LeafError::clone(&e))
    }

    fn mint(&self, host: &str) -> Result<ServerConfig, LeafError> {
        let wrong = |reason: String| LeafError::Mint {
            host: host.to_owned(),
            reason,
        };
        let mut params = CertificateParams::new([host.to_owned()]).map_err(|e| wrong(e.to_string()))?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, LEAF_DAYS);
        let leaf = params
            .signed_by(&self.key, self.authority.issuer())
            .map_err(|e| wrong(e.to_string()))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let chain = vec![leaf.der().clone(), self.authority.certificate().clone()];
        let certified =
            CertifiedKey::from_der(chain, key, &self.provider).map_err(|e| wrong(e.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(e.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = self.sessions.clone();
        if let Some(tickets) = &self.tickets {
            config.ticketer = tickets.clone();
        }
        Ok(config)
    }
}

/// Valid from an hour ago, for clocks that are behind.
pub(super) fn valid_for(params: &mut CertificateParams, days: i64) {
    let now = rcgen::date_time_ymd(1970, 1, 1)
        + Duration::from_secs(jiff::Timestamp::now().as_second().max(0) as u64);
    params.not_before = now - Duration::from_secs(3600);
    params.not_after = now + Duration::from_secs(days.max(0) as u64 * 24 * 60 * 60);
}
