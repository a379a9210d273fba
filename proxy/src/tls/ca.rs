//! The interception authority: a root that agents trust, and an issuing intermediate with critical name
//! constraints (RFC 5280, section 4.2.1.10) for the domains that Turnpike serves. The proxy needs only the
//! intermediate. [`create`] makes both, in standalone mode at the first start, and throws the root's key away:
//! when the intermediate comes to its end, the folder is made anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::files;

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key could not be made or read.
    #[error("{path}: {source}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// Not a PEM certificate.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// There is no authority, and none can be made where it should be.
    #[error(
        "{dir} holds no interception authority (issuing.pem and issuing-key.pem), and none can be made there: \
         {reason}; make one elsewhere with `turnpike-proxy ca --out DIR` and put these two files there"
    )]
    None {
        /// The folder.
        dir: PathBuf,
        /// Why none can be made.
        reason: Box<CaError>,
    },
    /// An authority is there, and agents may trust it.
    #[error("{path} is there already; nothing was written")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// The root's certificate in the `ca` folder, which agents trust.
pub const ROOT: &str = "ca.pem";
/// The intermediate's certificate, which the proxy sends with every leaf.
pub const ISSUING: &str = "issuing.pem";
/// The intermediate's key, which the proxy signs with.
pub const ISSUING_KEY: &str = "issuing-key.pem";

/// The issuing intermediate, ready to sign leaf certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    sealing: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the authority of a folder, and makes one first where there is none. Domains are those that the
    /// intermediate may issue for.
    ///
    /// # Errors
    /// [`CaError`] names the file.
    pub fn load_or_create(dir: &Path, domains: &[String]) -> Result<Self, CaError> {
        if !dir.join(ISSUING_KEY).exists() {
            // What a start that was cut short left behind is written over.
            make(dir, domains).map_err(|reason| CaError::None {
                dir: dir.to_owned(),
                reason: Box::new(reason),
            })?;
        }
        Self::load(&dir.join(ISSUING), &dir.join(ISSUING_KEY))
    }

    /// Loads an intermediate from PEM files.
    ///
    /// # Errors
    /// [`CaError`] names the file.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let wrong = |path: &Path, source| CaError::Certificate {
            path: path.to_owned(),
            source,
        };
        let pem = read(certificate)?;
        let key_pair = KeyPair::from_pem(&read(key)?).map_err(|e| wrong(key, e))?;
        let sealing = sealing_secret(&key_pair);
        let issuer = Issuer::from_ca_cert_pem(&pem, key_pair).map_err(|e| wrong(certificate, e))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|source| CaError::Pem {
            path: certificate.to_owned(),
            source,
        })?;
        Ok(Self {
            issuer,
            certificate: der,
            sealing,
        })
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A secret that all replicas with this authority have in common, and nobody else: upload sessions that one of
    /// them hands out are sealed with it, and opened by any.
    pub(crate) fn sealing_secret(&self) -> &[u8; 32] {
        &self.sealing
    }

    /// The intermediate's certificate, which is sent with every leaf.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

/// Of the key, for one purpose only: what it is used for tells nothing about the key.
fn sealing_secret(key: &KeyPair) -> Zeroizing<[u8; 32]> {
    let mut hasher = Sha256::new();
    hasher.update(b"turnpike sealing 1");
    hasher.update(Zeroizing::new(key.serialize_der()));
    Zeroizing::new(hasher.finalize().into())
}

/// Makes a root and an intermediate that may issue for these domains, and writes [`ROOT`], [`ISSUING`] and
/// [`ISSUING_KEY`]. The root's key is written nowhere.
///
/// # Errors
/// [`CaError`] names the file. An authority that is there is not written over.
pub fn create(dir: &Path, domains: &[String]) -> Result<(), CaError> {
    for name in [ROOT, ISSUING, ISSUING_KEY] {
        let path = dir.join(name);
        if path.exists() {
            return Err(CaError::Exists { path });
        }
    }
    make(dir, domains)
}

fn make(dir: &Path, domains: &[String]) -> Result<(), CaError> {
    fs::create_dir_all(dir).map_err(|source| CaError::File {
        path: dir.to_owned(),
        source,
    })?;
    let wrong = |name: &str| {
        let path = dir.join(name);
        move |source| CaError::Certificate { path, source }
    };
    let root_key = KeyPair::generate().map_err(wrong(ROOT))?;
    let root = CertifiedIssuer::self_signed(authority("Turnpike root", 10 * 365, 1), root_key)
        .map_err(wrong(ROOT))?;
    let issuing_key = KeyPair::generate().map_err(wrong(ISSUING_KEY))?;
    let mut params = authority("Turnpike issuing", 2 * 365, 0);
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: domains
            .iter()
            .map(|d| GeneralSubtree::DnsName(d.clone()))
            .collect(),
        excluded_subtrees: Vec::new(),
    });
    let issuing = params.signed_by(&issuing_key, &root).map_err(wrong(ISSUING))?;
    write(&dir.join(ROOT), root.pem().as_bytes(), 0o644)?;
    write(&dir.join(ISSUING), issuing.pem().as_bytes(), 0o644)?;
    // The key comes last: a folder with a key is complete.
    write(
        &dir.join(ISSUING_KEY),
        issuing_key.serialize_pem().as_bytes(),
        0o600,
    )
}

fn authority(name: &str, days: i64, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Turnpike");
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    super::leaf::valid_for(&mut params, days);
    params
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| CaError::File {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    files::write(path, bytes, mode).map_err(|source| CaError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn googleapis() -> Vec<String> {
        vec!["googleapis.com".to_owned()]
    }

    #[test]
    fn an_authority_is_made_once_and_never_written_over() {
        let dir = tempfile::tempdir().expect("is made");
        let folder = dir.path().join("ca");
        create(&folder, &googleapis()).expect("is made");
        let contents =
            || [ROOT, ISSUING, ISSUING_KEY].map(|name| fs::read(folder.join(name)).expect("is there"));
        let first = contents();
        let error = create(&folder, &googleapis()).expect_err("is there");
        assert_eq!(
            error.to_string(),
            format!(
                "{}/ca.pem is there already; nothing was written",
                folder.display()
            )
        );
        Authority::load_or_create(&folder, &googleapis()).expect("is loaded");
        assert_eq!(contents(), first);
    }

    #[test]
    fn a_start_that_was_cut_short_is_made_good() {
        let dir = tempfile::tempdir().expect("is made");
        create(dir.path(), &googleapis()).expect("is made");
        fs::remove_file(dir.path().join(ISSUING_KEY)).expect("is removed");
        Authority::load_or_create(dir.path(), &googleapis()).expect("is made anew");
    }

    #[test]
    fn where_none_is_and_none_can_be_made_it_says_what_to_do() {
        let dir = tempfile::tempdir().expect("is made");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("is written");
        let folder = file.join("ca");
        let error = Authority::load_or_create(&folder, &googleapis()).expect_err("no folder can be made");
        assert_eq!(
            error.to_string(),
            format!(
                "{0} holds no interception authority (issuing.pem and issuing-key.pem), and none can be made there: \
                 {0}: Not a directory (os error 20); make one elsewhere with `turnpike-proxy ca --out DIR` and put \
                 these two files there",
                folder.display()
            )
        );
    }
}
