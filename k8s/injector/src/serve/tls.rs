//! The certificate. The webhook reads it again when its files change, because a renewal replaces them while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::log;
use super::metrics::Metrics;

/// How often the files are checked.
const INTERVAL: Duration = Duration::from_secs(1);

/// The files of the certificate.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

type Contents = (Vec<u8>, Vec<u8>);

impl Files {
    fn read(&self) -> Result<Contents> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn parse(&self, (certificate, key): &Contents, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
        let place = |path: &Path| format!("{} is not PEM", path.display());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .with_context(|| place(&self.certificate))?;
        ensure!(!chain.is_empty(), "{} holds no certificate", self.certificate.display());
        let key = PrivateKeyDer::from_pem_slice(key).with_context(|| place(&self.key))?;
        let certified = CertifiedKey::from_der(chain, key, provider)
            .with_context(|| format!("{} and {}", self.certificate.display(), self.key.display()))?;
        Ok(Arc::new(certified))
    }
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    files: Files,
    provider: CryptoProvider,
    current: RwLock<(Contents, Arc<CertifiedKey>)>,
}

impl Certificate {
    /// Reads the files for the first time.
    pub fn load(files: Files) -> Result<Arc<Self>> {
        let provider = default_provider();
        let contents = files.read()?;
        let key = files.parse(&contents, &provider)?;
        Ok(Arc::new(Self { files, provider, current: RwLock::new((contents, key)) }))
    }

    /// The server configuration with this certificate.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Checks the files forever. If a new file cannot be used, logs it once and keeps the old certificate.
    pub async fn watch(self: Arc<Self>, metrics: Arc<Metrics>) {
        let mut last_fault = String::new();
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.refresh() {
                Ok(false) => {}
                Ok(true) => {
                    last_fault.clear();
                    metrics.reload(true);
                    log("info: the certificate changed and is in use");
                }
                Err(error) => {
                    let fault = format!("{error:#}");
                    if fault != last_fault {
                        metrics.reload(false);
                        log(&format!("warning: the old certificate stays in use: {fault}"));
                        last_fault = fault;
                    }
                }
            }
        }
    }

    fn refresh(&self) -> Result<bool> {
        let contents = self.files.read()?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == contents {
            return Ok(false);
        }
        let key = self.files.parse(&contents, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (contents, key);
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}
