//! The stand-in's certificate authority, and leaves for whatever name a client asks for
//! below `googleapis.com`.
//!
//! The authority is made anew at every start and its key never leaves the process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Signs a leaf for each name it is asked for, and keeps it.
#[derive(Debug)]
pub(super) struct Authority {
    ca_pem: String,
    resolver: Arc<Resolver>,
}

struct Resolver {
    issuer: Issuer<'static, KeyPair>,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority and writes its certificate to `dir/ca.pem`.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Turnpike stand-in for Google (tests only)");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let ca_pem = params.self_signed(&key)?.pem();
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let path = dir.join("ca.pem");
        std::fs::write(&path, &ca_pem).with_context(|| format!("write {}", path.display()))?;
        let resolver = Resolver {
            issuer: Issuer::new(params, key),
            leaves: Mutex::default(),
        };
        Ok(Self {
            ca_pem,
            resolver: Arc::new(resolver),
        })
    }

    /// The certificate to trust, in PEM.
    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Takes TLS 1.2 and 1.3 with HTTP/2 and HTTP/1.1 by ALPN.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default protocol versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.resolver) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        if name != "googleapis.com" && !name.ends_with(".googleapis.com") {
            return None;
        }
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&name) {
            return Some(Arc::clone(leaf));
        }
        match self.mint(&name) {
            Ok(leaf) => {
                leaves.insert(name, Arc::clone(&leaf));
                Some(leaf)
            }
            Err(error) => {
                eprintln!("stand-in: no certificate for {name}: {error:#}");
                None
            }
        }
    }
}

impl Resolver {
    fn mint(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = aws_lc_rs::sign::any_supported_type(&der)?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf.der().clone()], signing)))
    }
}
