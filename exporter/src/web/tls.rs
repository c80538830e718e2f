//! TLS as exporter-toolkit describes it, by rustls.

use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoClientAuth, ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

/// Which certificates clients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// None.
    None,
    /// None, but they may be asked: nobody looks at what they answer, so they are not.
    Request,
    /// A valid one or none.
    Optional,
    /// A valid one.
    Required,
}

impl ClientAuth {
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Request, Self::Optional, Self::Required];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NoClientCert",
            Self::Request => "RequestClientCert",
            Self::Optional => "VerifyClientCertIfGiven",
            Self::Required => "RequireAndVerifyClientCert",
        }
    }

    pub(super) const fn verifies(self) -> bool {
        match self {
            Self::None | Self::Request => false,
            Self::Optional | Self::Required => true,
        }
    }
}

/// The versions that rustls speaks; older ones are not safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub(super) const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS12",
            Self::Tls13 => "TLS13",
        }
    }

    const fn supported(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &version::TLS12,
            Self::Tls13 => &version::TLS13,
        }
    }
}

/// All that was configured, each part right by itself.
pub(super) struct Settings {
    pub(super) client_auth: ClientAuth,
    pub(super) sans: Vec<String>,
    pub(super) versions: (Version, Version),
    /// All, if empty.
    pub(super) suites: Vec<String>,
    pub(super) curves: Vec<String>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) roots: Vec<CertificateDer<'static>>,
}

/// How to speak TLS, and with whom.
#[derive(Clone)]
pub struct Tls {
    /// For the handshake.
    pub server: Arc<ServerConfig>,
    sans: Vec<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("sans", &self.sans).finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn build(self) -> Result<Tls, String> {
        let provider = Arc::new(self.provider());
        let (min, max) = self.versions;
        let versions = Version::ALL.into_iter().filter(|version| (min..=max).contains(version));
        let versions: Vec<_> = versions.map(Version::supported).collect();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|cause| format!("these versions, suites and curves do not go together: {cause}"))?;
        let verifier = if self.client_auth.verifies() && !self.roots.is_empty() {
            let mut roots = RootCertStore::empty();
            for root in self.roots {
                roots.add(root).map_err(|cause| format!("client_ca_file holds no authority: {cause}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let optional = self.client_auth == ClientAuth::Optional;
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            verifier.build().map_err(|cause| format!("client_ca_file cannot be used: {cause}"))?
        } else {
            Arc::new(NoClientAuth)
        };
        let mut server = builder
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key)
            .map_err(|cause| format!("certificate and key cannot be used: {cause}"))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { server: Arc::new(server), sans: self.sans })
    }

    /// The suites of TLS 1.3 are not to be chosen, in exporter-toolkit neither.
    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites.retain(|suite| {
                suite.tls13().is_some() || self.suites.iter().any(|name| *name == suite_name(*suite))
            });
        }
        if !self.curves.is_empty() {
            provider.kx_groups.retain(|group| self.curves.iter().any(|name| *name == curve_name(*group)));
        }
        provider
    }
}

impl Tls {
    /// Whether a client with this certificate may ask: it has one of the names that may, if these are limited.
    pub fn allows(&self, certificate: Option<&CertificateDer<'_>>) -> bool {
        if self.sans.is_empty() {
            return true;
        }
        let Some(certificate) = certificate else { return false };
        let uris: Vec<&str> = match webpki::EndEntityCert::try_from(certificate) {
            Ok(parsed) => parsed.valid_uri_names().collect(),
            Err(_) => return false,
        };
        let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
        self.sans.iter().any(|allowed| {
            let name = ServerName::try_from(allowed.as_str());
            uris.contains(&allowed.as_str())
                || name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        })
    }
}

/// As Go calls them.
fn suite_name(suite: rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

fn curve_name(group: &dyn rustls::crypto::SupportedKxGroup) -> &'static str {
    match group.name() {
        rustls::NamedGroup::X25519 => "X25519",
        rustls::NamedGroup::secp256r1 => "CurveP256",
        rustls::NamedGroup::secp384r1 => "CurveP384",
        _ => "",
    }
}

/// The names of suites that may be configured.
pub(super) fn suites() -> Vec<String> {
    ring::default_provider().cipher_suites.into_iter().map(suite_name).collect()
}

/// The names of curves that may be configured.
pub(super) fn curves() -> Vec<String> {
    ring::default_provider().kx_groups.into_iter().map(|group| curve_name(group).to_owned()).collect()
}
