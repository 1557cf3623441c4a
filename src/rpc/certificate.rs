//! What an X.509 certificate says, in takt's words.

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// What a certificate says. Nothing of it is proven by reading it: that is TLS's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Common name of whose it is.
    pub name: String,
    /// Organisational units: what its owner may do, see [`super::access::Role`].
    pub roles: Vec<String>,
    /// Common name of who signed it.
    pub issuer: String,
    /// DNS names and IP addresses of its owner.
    pub hosts: Vec<String>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// First second in which it is valid, Unix time.
    pub valid_from_unix_s: i64,
    /// Last second in which it is valid, Unix time.
    pub valid_until_unix_s: i64,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

/// These bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read a certificate: these bytes are no X.509 certificate")]
pub struct NoCertificate;

impl CertificateFacts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn of_der(der: &[u8]) -> Result<Self, NoCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NoCertificate)?;
        let subject = certificate.subject();
        Ok(Self {
            name: texts(subject.iter_common_name()).next().unwrap_or_default(),
            roles: texts(subject.iter_organizational_unit()).collect(),
            issuer: texts(certificate.issuer().iter_common_name()).next().unwrap_or_default(),
            hosts: hosts(&certificate),
            is_authority: certificate.is_ca(),
            valid_from_unix_s: certificate.validity().not_before.timestamp(),
            valid_until_unix_s: certificate.validity().not_after.timestamp(),
            fingerprint: Sha256::digest(der).into(),
        })
    }

    /// The fingerprint as tools print it: `AB:CD:...`.
    pub fn fingerprint_text(&self) -> String {
        let bytes: Vec<String> = self.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }
}

fn texts<'c>(attributes: impl Iterator<Item = &'c x509_parser::x509::AttributeTypeAndValue<'c>> + 'c) -> impl Iterator<Item = String> + 'c {
    attributes.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned))
}

fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
    names.flatten().filter_map(host).collect()
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(|bytes| std::net::IpAddr::from(bytes).to_string())
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string()))
            .ok(),
        _ => None,
    }
}

/// A moment as people read it, `2026-01-31T00:00:00Z`.
pub fn date(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).map_or_else(|_| format!("second {unix_s}"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_fall(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(CertificateFacts::of_der(&bytes), Err(NoCertificate));
        }
    }

    #[test]
    fn dates_are_readable_and_never_fail() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert!(date(i64::MAX).starts_with("second"));
    }
}
