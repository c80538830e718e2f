//! exporter-toolkit's TLS settings, implemented with rustls.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

/// Which certificates clients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// No client certificate.
    None,
    /// Treated as `None`, because the certificate would not be checked.
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

/// An allowed name of a client's certificate. It is compared exactly: a wildcard matches only the same wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum San {
    /// A DNS name or a URI.
    Name(String),
    /// An IP address, compared by value.
    Address(IpAddr),
}

impl San {
    /// `None` if the text is neither: no name in a certificate could be equal to it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let is_dns = DnsName::try_from(text.strip_prefix("*.").unwrap_or(text)).is_ok();
        (is_dns || is_uri(text)).then(|| Self::Name(text.to_owned()))
    }

    fn is_of(&self, certificate: &webpki::EndEntityCert<'_>) -> bool {
        match self {
            Self::Name(name) => {
                certificate.valid_dns_names().chain(certificate.valid_uri_names()).any(|found| found == name)
            }
            Self::Address(address) => {
                certificate.verify_is_valid_for_subject_name(&ServerName::from(*address)).is_ok()
            }
        }
    }
}

/// Checks the scheme only: <https://www.rfc-editor.org/rfc/rfc3986#section-3.1>
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
    })
}

/// The configured settings. Each is valid by itself; `build` checks that they go together.
pub(super) struct Settings {
    pub(super) client_auth: ClientAuth,
    pub(super) sans: Vec<San>,
    pub(super) versions: (Version, Version),
    /// All suites, if empty.
    pub(super) suites: Vec<String>,
    pub(super) curves: Vec<String>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) http2: bool,
}

/// The TLS settings of a server, and the clients that it allows.
#[derive(Clone)]
pub struct Tls {
    /// For the handshake.
    pub server: Arc<ServerConfig>,
    sans: Vec<San>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("sans", &self.sans).finish_non_exhaustive()
    }
}

impl Settings {
    /// Allows any client and offers rustls' defaults.
    #[cfg(feature = "http2")]
    pub(super) const fn with_certificate(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        Self {
            client_auth: ClientAuth::None,
            sans: Vec::new(),
            versions: (Version::Tls12, Version::Tls13),
            suites: Vec::new(),
            curves: Vec::new(),
            chain,
            key,
            roots: Vec::new(),
            http2: true,
        }
    }

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
        let protocols: &[&[u8]] = if self.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Tls { server: Arc::new(server), sans: self.sans })
    }

    /// The suites of TLS 1.3 are always on, as in exporter-toolkit.
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
    /// Whether a client with this certificate is allowed: it has one of the allowed names, or no names are configured.
    pub fn allows(&self, certificate: Option<&CertificateDer<'_>>) -> bool {
        if self.sans.is_empty() {
            return true;
        }
        let parsed = certificate.map(webpki::EndEntityCert::try_from);
        let Some(Ok(parsed)) = parsed else { return false };
        self.sans.iter().any(|san| san.is_of(&parsed))
    }
}

/// Go's name of a suite.
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// Checks whether a certificate with only this name matches the listed name.
    #[track_caller]
    fn check(listed: &str, name: &SanType, expected: bool) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![name.clone()];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let parsed = webpki::EndEntityCert::try_from(certificate.der()).unwrap();
        let san = San::parse(listed).unwrap_or_else(|| panic!("{listed} is refused"));
        assert_eq!(san.is_of(&parsed), expected, "{listed}, {name:?}");
    }

    #[test]
    fn names_are_compared_exactly_without_wildcards() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        check("prom.example.com", &dns("prom.example.com"), true);
        check("prom.example.com", &dns("*.example.com"), false);
        check("*.example.com", &dns("*.example.com"), true);
        check("*.example.com", &dns("prom.example.com"), false);
        check("prom.example.com", &dns("PROM.example.com"), false);
        check("prom.example.com", &dns("example.com"), false);
        let uri = |name: &str| SanType::URI(name.try_into().unwrap());
        check("spiffe://example.com/prom", &uri("spiffe://example.com/prom"), true);
        check("spiffe://example.com/prom", &uri("spiffe://example.com/prom/"), false);
    }

    #[test]
    fn addresses_are_compared_by_value() {
        let ip = |address: &str| SanType::IpAddress(address.parse().unwrap());
        check("10.0.0.1", &ip("10.0.0.1"), true);
        check("10.0.0.1", &ip("10.0.0.2"), false);
        check("2001:DB8:0:0:0:0:0:1", &ip("2001:db8::1"), true);
    }

    #[test]
    fn impossible_names_are_rejected() {
        for text in
            ["ops@example.com", "prom example com", "", "*", "*.", "p*.example.com", "10.0.0.1/8", "://a"]
        {
            assert_eq!(San::parse(text), None, "{text}");
        }
    }
}
