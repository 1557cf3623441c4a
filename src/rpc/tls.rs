//! TLS for servers and clients from PEM files, and which addresses need it. rustls with ring does the work, through tonic.
//!
//! Everything that can be known before the first connection is checked here, file by file, so that a wrong certificate is an error at the start
//! of the program and not a puzzle for whoever connects. Only their dates are not: a box starts with whatever time its clock has, and inspects
//! although a certificate has run out. Whoever connects compares dates, by a clock of its own; here they are warned about.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use x509_parser::pem::Pem;

use super::access::Access;
use super::certificate::{CertificateFacts, date};
use crate::flow::unix_now_ns;

/// A client that has not shown who it is after this time is turned away.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Largest file of certificates or keys that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Certificates that expire within this time are warned about.
const EXPIRES_SOON_S: i64 = 30 * 24 * 3600;

/// What people should know although it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A certificate's time has not come, is over, or is nearly over.
    Date(String),
    /// Others may come in, or read what they should not.
    Open(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(words) | Self::Open(words) => f.write_str(words),
        }
    }
}

/// An address that must not be listened on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to allow {0} as an address to listen on: other machines reach it; give certificate and key (`takt pki` makes them), listen on 127.0.0.1, \
     or accept that anyone there may do everything with insecure = true"
)]
pub struct Refusal(SocketAddr);

/// Whether an address may be listened on: loopback in any way, others with TLS, or because `insecure = true` says so.
///
/// # Errors
/// When other machines reach the address, and nothing secures it.
pub fn listen_policy(address: SocketAddr, tls: bool, insecure: bool) -> Result<Option<Warning>, Refusal> {
    if tls || address.ip().to_canonical().is_loopback() {
        return Ok(None);
    }
    if !insecure {
        return Err(Refusal(address));
    }
    let warning = format!("{address} is not secured (insecure = true): whoever reaches it may read and do everything there");
    Ok(Some(Warning::Open(warning)))
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The disk does not give the file.
    #[error("failed to read {0}: {1}; check its path and who may read it")]
    File(PathBuf, #[source] io::Error),
    /// The file is too large to be what it should be.
    #[error("failed to read {0}: it has more than {FILE_BYTES_MAX} bytes; give a PEM file with {1}")]
    TooLarge(PathBuf, &'static str),
    /// The file is something else.
    #[error(
        "failed to find {1} in {0}: give a PEM file with -----BEGIN {2}-----; DER files become PEM with `openssl x509` or `openssl pkey`"
    )]
    NotPem(PathBuf, &'static str, &'static str),
    /// What it holds cannot be read.
    #[error("failed to read {0}: {1}; make it anew with `takt pki issue`")]
    Damaged(PathBuf, String),
    /// Another certificate's key.
    #[error("failed to use {key} with {certificate}: this key does not fit the certificate; give the pair that was made together")]
    KeyDoesNotFit {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A certificate that signs nothing where one that signs others is needed.
    #[error("failed to use {0} as an authority: the certificate of {1:?} there may not sign others; give ca.pem of `takt pki init`")]
    NoAuthority(PathBuf, String),
    /// The TLS library refuses them.
    #[error("failed to use {0}: {1}; make certificate and key anew with `takt pki issue`")]
    Refused(PathBuf, String),
}

/// Whose certificate a server shows, and whose it accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSecurity {
    /// Certificate chain, PEM: its own first.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Certificates of the authorities whose clients are let in, PEM. Without it anyone is, and may do everything.
    pub client_ca: Option<PathBuf>,
}

/// How a server is secured, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityConfig {
    /// TLS; without it everything is plain.
    pub server: Option<ServerSecurity>,
    /// Whether other machines may reach it although it is plain.
    pub insecure: bool,
}

/// A server's security, read and checked.
#[derive(Debug)]
pub struct Secured {
    /// For [`tonic::transport::Server::tls_config`]; `None` is plain.
    pub tls: Option<ServerTlsConfig>,
    /// Who may do what.
    pub access: Access,
    /// What people should know.
    pub warnings: Vec<Warning>,
}

impl SecurityConfig {
    /// Reads the files.
    ///
    /// # Errors
    /// When one is missing, or cannot be what it should be.
    pub fn load(&self) -> Result<Secured, SecurityError> {
        let Some(server) = &self.server else {
            return Ok(Secured {
                tls: None,
                access: Access::open(),
                warnings: Vec::new(),
            });
        };
        let (tls, warnings) = server.load()?;
        Ok(Secured {
            tls: Some(tls),
            access: server.access(),
            warnings,
        })
    }
}

impl ServerSecurity {
    /// Who may do what: what the clients' certificates say, where they are asked for.
    pub fn access(&self) -> Access {
        if self.client_ca.is_some() {
            Access::mutual()
        } else {
            Access::open()
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When one is missing, or cannot be what it should be.
    pub fn load(&self) -> Result<(ServerTlsConfig, Vec<Warning>), SecurityError> {
        let (identity, mut warnings) = identity(&self.certificate, &self.key)?;
        let mut config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_MAX);
        match &self.client_ca {
            Some(path) => config = config.client_ca_root(authorities(path)?),
            None => warnings.push(Warning::Open(format!(
                "{} secures the way, but anyone may come it and do everything: give client_ca, so that clients must show certificates",
                self.certificate.display()
            ))),
        }
        let accepted = Server::builder().tls_config(config.clone());
        accepted.map_err(|error| refused(&self.certificate, &self.key, &error))?;
        Ok((config, warnings))
    }
}

/// Whom a client trusts, and what it shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSecurity {
    /// Certificates of the authorities whose servers are trusted, PEM.
    pub ca: PathBuf,
    /// Certificate and private key, PEM, for servers that ask for them.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate, where it is another than that in its address.
    pub server_name: Option<String>,
}

impl ClientSecurity {
    /// Reads the files.
    ///
    /// # Errors
    /// When one is missing, or cannot be what it should be.
    pub fn load(&self) -> Result<(ClientTlsConfig, Vec<Warning>), SecurityError> {
        let mut config = ClientTlsConfig::new().ca_certificate(authorities(&self.ca)?).timeout(HANDSHAKE_MAX);
        let mut warnings = Vec::new();
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        if let Some((certificate, key)) = &self.identity {
            let (identity, warned) = identity(certificate, key)?;
            config = config.identity(identity);
            warnings = warned;
            let accepted = Endpoint::from_static("https://localhost").tls_config(config.clone());
            accepted.map_err(|error| refused(certificate, key, &error))?;
        }
        Ok((config, warnings))
    }
}

/// The certificates in a PEM file, as DER, unchecked.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, SecurityError> {
    const WHAT: &str = "a certificate";
    let bytes = read(path, WHAT)?;
    let blocks = Pem::iter_from_buffer(&bytes).filter_map(Result::ok);
    let certificates: Vec<Vec<u8>> = blocks
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.contents)
        .collect();
    if certificates.is_empty() {
        return Err(SecurityError::NotPem(path.to_owned(), WHAT, "CERTIFICATE"));
    }
    Ok(certificates)
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, SecurityError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| SecurityError::File(path.to_owned(), error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(SecurityError::TooLarge(path.to_owned(), what));
    }
    Ok(bytes)
}

fn authorities(path: &Path) -> Result<Certificate, SecurityError> {
    for der in read_certificates(path)? {
        let facts = facts(path, &der)?;
        if !facts.is_authority {
            return Err(SecurityError::NoAuthority(path.to_owned(), facts.name));
        }
    }
    Ok(Certificate::from_pem(read(path, "a certificate")?))
}

fn identity(certificate: &Path, key: &Path) -> Result<(Identity, Vec<Warning>), SecurityError> {
    const WHAT: &str = "a private key";
    let mut warnings = Vec::new();
    for der in read_certificates(certificate)? {
        warnings.extend(out_of_date(certificate, &facts(certificate, &der)?, now_unix_s()));
    }
    let key_bytes = read(key, WHAT)?;
    let is_key = |block: &Pem| block.label.ends_with("PRIVATE KEY");
    if !Pem::iter_from_buffer(&key_bytes).filter_map(Result::ok).any(|block| is_key(&block)) {
        return Err(SecurityError::NotPem(key.to_owned(), WHAT, "PRIVATE KEY"));
    }
    let mode = key
        .metadata()
        .map_err(|error| SecurityError::File(key.to_owned(), error))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        let file = key.display();
        warnings.push(Warning::Open(format!(
            "{file} can be read by other users of this machine; run `chmod 600 {file}`"
        )));
    }
    Ok((Identity::from_pem(read(certificate, "a certificate")?, key_bytes), warnings))
}

fn facts(path: &Path, der: &[u8]) -> Result<CertificateFacts, SecurityError> {
    CertificateFacts::of_der(der).map_err(|error| SecurityError::Damaged(path.to_owned(), error.to_string()))
}

/// What is to be said of a certificate's dates.
fn out_of_date(path: &Path, facts: &CertificateFacts, now_unix_s: i64) -> Option<Warning> {
    let (from, until) = (facts.valid_from_unix_s, facts.valid_until_unix_s);
    let stands = if now_unix_s < from {
        format!("is not valid before {}; check this machine's clock", date(from))
    } else if now_unix_s > until {
        format!(
            "expired on {}, so the others refuse it; make a new one with `takt pki issue`",
            date(until)
        )
    } else if until - now_unix_s < EXPIRES_SOON_S {
        format!("expires on {}; replace it before", date(until))
    } else {
        return None;
    };
    Some(Warning::Date(format!(
        "the certificate of {:?} in {} {stands}",
        facts.name,
        path.display()
    )))
}

fn now_unix_s() -> i64 {
    unix_now_ns() / 1_000_000_000
}

fn refused(certificate: &Path, key: &Path, error: &(dyn StdError + 'static)) -> SecurityError {
    let said = chain(error);
    if said.contains("KeyMismatch") {
        return SecurityError::KeyDoesNotFit {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
        };
    }
    SecurityError::Refused(certificate.to_owned(), said)
}

/// An error and everything that caused it, on one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    said
}

/// Why a connection failed, as people can use it: what tonic and rustls say of it, and what to do where that is known.
pub fn connection_failure(error: &(dyn StdError + 'static)) -> String {
    let said = chain(error);
    match REMEDIES.iter().find(|(sign, _)| said.contains(sign)) {
        Some((_, remedy)) => format!("{said}; {remedy}"),
        None => said,
    }
}

/// What rustls and h2 say when a connection cannot be, and what to do about it. With TLS 1.3 a server says what it has against a certificate after
/// the client believes itself connected, and the client may find the connection closed before it reads why.
const REMEDIES: [(&str, &str); 16] = [
    (
        "BadSignature",
        "the server's certificate is signed by another authority of the same name; give its ca.pem",
    ),
    (
        "UnknownIssuer",
        "the server's certificate is signed by another authority; give its ca.pem",
    ),
    (
        "NotValidForName",
        "the server's certificate is for another host; issue it with --host, or connect by the name that is in it",
    ),
    ("certificate expired", "the server's certificate has expired; issue a new one there"),
    (
        "not valid yet",
        "the server's certificate is not valid yet; compare the clocks of both machines",
    ),
    (
        "extended key usage",
        "the server's certificate was made for another purpose; issue it with the role of a server",
    ),
    (
        "CertificateRequired",
        "the server asks for a certificate; make one with `takt pki issue` and give it with its key",
    ),
    (
        "UnknownCA",
        "the server does not know the authority of this certificate; have it issued by the server's",
    ),
    (
        "DecryptError",
        "the server does not accept this certificate; have it issued by the server's authority",
    ),
    (
        "CertificateExpired",
        "the server says that this certificate has expired; issue a new one",
    ),
    (
        "UnsupportedCertificate",
        "the server says that this certificate is for another purpose; issue it with the role that fits",
    ),
    (
        "InvalidContentType",
        "the server speaks no TLS; connect with http://, or secure the server",
    ),
    ("frame with invalid size", CLOSED),
    ("broken pipe", CLOSED),
    ("connection closed", CLOSED),
    (
        "Connection refused",
        "nothing listens there; check address and port, and whether the server runs",
    ),
];

/// Why servers close connections without a word that is heard.
const CLOSED: &str = "the server closed the connection: connect with https:// if it speaks TLS; if you did, it does not accept this certificate \
    (expired, another authority, another role), and its log says why";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rpc::pki::{self, Purpose, Wanted};

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            pki::write_authority(folder.path(), &pki::new_authority("CA", 1, now_unix_s()).unwrap()).unwrap();
            Self { folder }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// A server's files, made at a distance from now.
        fn issue(&self, name: &str, made_days_ago: i64, days: u32) -> ServerSecurity {
            let wanted = Wanted {
                name: name.into(),
                purpose: Purpose::Station,
                hosts: vec!["localhost".into()],
                days,
            };
            let made = now_unix_s() - made_days_ago * 24 * 3600;
            let issued = pki::issue(self.folder.path(), &wanted, made).unwrap();
            let (certificate, key) = pki::write_issued(self.folder.path(), name, &issued).unwrap();
            ServerSecurity {
                certificate,
                key,
                client_ca: Some(self.path("ca.pem")),
            }
        }
    }

    #[test]
    fn what_belongs_together_is_taken_without_a_word() {
        let files = Files::new();
        let server = files.issue("one", 0, 90);
        assert_eq!(server.load().unwrap().1, []);
        let client = ClientSecurity {
            ca: files.path("ca.pem"),
            identity: Some((server.certificate.clone(), server.key.clone())),
            server_name: None,
        };
        assert_eq!(client.load().unwrap().1, []);
        let open = ServerSecurity { client_ca: None, ..server };
        assert!(open.load().unwrap().1[0].to_string().contains("client_ca"));
        assert!(SecurityConfig::default().load().unwrap().tls.is_none());
    }

    #[test]
    fn each_thing_that_is_wrong_names_its_file_and_the_remedy() {
        let files = Files::new();
        let (one, two) = (files.issue("one", 0, 90), files.issue("two", 0, 90));
        let text = files.path("text.pem");
        fs::write(&text, "no certificate").unwrap();
        let damaged = files.path("damaged.pem");
        fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let with = |certificate: &Path, key: &Path, ca: &Path| {
            let server = ServerSecurity {
                certificate: certificate.into(),
                key: key.into(),
                client_ca: Some(ca.into()),
            };
            server.load().unwrap_err().to_string()
        };
        let ca = files.path("ca.pem");
        let cases = [
            (with(&one.certificate, &two.key, &ca), "two.key", "does not fit"),
            (with(&text, &one.key, &ca), "text.pem", "BEGIN CERTIFICATE"),
            (with(&damaged, &one.key, &ca), "damaged.pem", "no X.509"),
            (with(&one.certificate, &one.certificate, &ca), "one.pem", "BEGIN PRIVATE KEY"),
            (with(&one.certificate, &one.key, &one.certificate), "one.pem", "may not sign"),
            (with(&files.path("none.pem"), &one.key, &ca), "none.pem", "check its path"),
            (with(&one.certificate, &one.key, &text), "text.pem", "BEGIN CERTIFICATE"),
        ];
        for (said, file, reason) in cases {
            assert!(said.contains(file) && said.contains(reason), "{said}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_warned_about() {
        let files = Files::new();
        let server = files.issue("one", 0, 90);
        fs::set_permissions(&server.key, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = server.load().unwrap().1;
        assert!(
            matches!(warnings.as_slice(), [Warning::Open(said)] if said.contains("chmod 600")),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_date_is_warned_about_and_keeps_nobody_from_starting() {
        let files = Files::new();
        for (name, made_days_ago, days, wanted) in [
            ("soon", 0, 7, "expires on"),
            ("expired", 60, 30, "expired on"),
            ("early", -10, 30, "check this machine's clock"),
        ] {
            let server = files.issue(name, made_days_ago, days);
            let client = ClientSecurity {
                ca: files.path("ca.pem"),
                identity: Some((server.certificate.clone(), server.key.clone())),
                server_name: None,
            };
            for warnings in [server.load().unwrap().1, client.load().unwrap().1] {
                assert!(
                    matches!(warnings.as_slice(), [Warning::Date(said)] if said.contains(wanted) && said.contains(name)),
                    "{warnings:?}"
                );
            }
        }
    }

    #[test]
    fn only_loopback_is_plain_unless_somebody_wants_it() {
        let loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
        for address in loopback {
            assert_eq!(listen_policy(address.parse().unwrap(), false, false), Ok(None), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let address = address.parse().unwrap();
            assert!(
                listen_policy(address, false, false)
                    .unwrap_err()
                    .to_string()
                    .contains("insecure = true")
            );
            assert!(
                listen_policy(address, false, true)
                    .unwrap()
                    .unwrap()
                    .to_string()
                    .contains("not secured")
            );
            assert_eq!(listen_policy(address, true, false), Ok(None));
        }
    }
}
