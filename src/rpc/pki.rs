//! A certificate authority for plants that have none: one root that signs the certificates of stations, the historian and people.
//!
//! ECDSA on P-256, which every TLS library of the last ten years speaks. Serial numbers follow from the random key of each certificate. There is
//! no revocation: certificates are short-lived, and a plant that needs more has an authority of its own, whose certificates serve as well.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use tempfile::NamedTempFile;

use super::certificate::{CertificateFacts, date};

/// File of the authority's certificate, which every machine gets.
pub const AUTHORITY_CERTIFICATE: &str = "ca.pem";

/// File of the authority's key, which never leaves its folder.
pub const AUTHORITY_KEY: &str = "ca.key";

/// Longest name, characters: the bound of an X.509 common name.
const NAME_CHARS_MAX: usize = 64;

/// Most hosts of a certificate.
const HOSTS_MAX: usize = 32;

/// Longest time an authority is valid, years.
const YEARS_MAX: u32 = 50;

/// Longest time a certificate is valid, days.
const DAYS_MAX: u32 = 3650;

/// A certificate is valid from this long before it is made, for machines whose clocks are behind.
const CLOCKS_BEHIND: Duration = Duration::from_hours(24);

const DAY_S: i64 = 24 * 3600;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// What was asked for cannot be.
    #[error("failed to make a certificate: {0}")]
    Refused(String),
    /// A file is there already.
    #[error("failed to write {0}: it exists already, and nothing is overwritten; remove it, or choose another folder")]
    Exists(PathBuf),
    /// The disk does not give or take a file.
    #[error("failed to {0} {1}: {2}; check the folder and who may use it")]
    File(&'static str, PathBuf, #[source] io::Error),
    /// The files of the authority are not what they should be.
    #[error("failed to use the certificate authority in {0}: {1}; give the folder that `takt pki init` made")]
    Authority(PathBuf, String),
    /// The certificate cannot be put together.
    #[error("failed to make a certificate: {0}")]
    Making(#[from] rcgen::Error),
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A station: serves line controllers, and delivers its records to the historian.
    Station,
    /// The historian: serves stations and people.
    Historian,
    /// Asks.
    Read,
    /// Gives cycles.
    Operate,
    /// Changes recipes and models.
    Configure,
}

impl Purpose {
    /// The word in certificates and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Station => "station",
            Self::Historian => "historian",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Configure => "configure",
        }
    }

    fn usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Self::Station => vec![ServerAuth, ClientAuth],
            Self::Historian => vec![ServerAuth],
            Self::Read | Self::Operate | Self::Configure => vec![ClientAuth],
        }
    }
}

/// What is asked of the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whose certificate; for a station its id.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// DNS names and IP addresses under which it is reached.
    pub hosts: Vec<String>,
    /// How long it is valid, days.
    pub days: u32,
}

/// A certificate and its private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A new authority, valid from `now_unix_s` (but for clocks that are behind) for `years`.
///
/// # Errors
/// When the name or the years are out of range.
pub fn new_authority(name: &str, years: u32, now_unix_s: i64) -> Result<Pem, PkiError> {
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(refused(format!(
            "an authority's name has 1 to {NAME_CHARS_MAX} printable characters"
        )));
    }
    if !(1..=YEARS_MAX).contains(&years) {
        return Err(refused(format!("an authority is valid for 1 to {YEARS_MAX} years, not {years}")));
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now_unix_s, i64::from(years) * 366 * DAY_S);
    Ok(Pem {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

/// A certificate signed by the authority whose files lie in `folder`.
///
/// # Errors
/// When what is asked for is out of range, or the authority cannot be read or has expired.
pub fn issue(folder: &Path, wanted: &Wanted, now_unix_s: i64) -> Result<Pem, PkiError> {
    let authority = read_authority(folder)?;
    sign(&authority, wanted, now_unix_s).map_err(|error| match error {
        PkiError::Authority(_, reason) => PkiError::Authority(folder.to_owned(), reason),
        error => error,
    })
}

fn sign(authority: &Pem, wanted: &Wanted, now_unix_s: i64) -> Result<Pem, PkiError> {
    check(wanted)?;
    let useless = |reason: String| PkiError::Authority(PathBuf::new(), reason);
    let key = KeyPair::from_pem(&authority.key).map_err(|_| useless(format!("{AUTHORITY_KEY} is no private key that takt made")))?;
    let (_, der) = x509_parser::pem::parse_x509_pem(authority.certificate.as_bytes())
        .map_err(|_| useless(format!("{AUTHORITY_CERTIFICATE} is no certificate")))?;
    let facts = CertificateFacts::of_der(&der.contents).map_err(|error| useless(error.to_string()))?;
    if !facts.is_authority {
        return Err(useless(format!(
            "the certificate of {:?} in {AUTHORITY_CERTIFICATE} may not sign others",
            facts.name
        )));
    }
    let validity_s = i64::from(wanted.days) * DAY_S;
    if now_unix_s + validity_s > facts.valid_until_unix_s {
        let days = (facts.valid_until_unix_s - now_unix_s) / DAY_S;
        let end = date(facts.valid_until_unix_s);
        return Err(useless(match days {
            ..=0 => format!("it expired on {end}; make a new one"),
            days => format!("it is valid until {end} only; give --days {days} or fewer"),
        }));
    }
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, &wanted.name);
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, wanted.purpose.name());
    params.subject_alt_names = wanted.hosts.iter().map(|host| alternative_name(host)).collect::<Result<_, _>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = wanted.purpose.usages();
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now_unix_s, validity_s);
    Ok(Pem {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

fn check(wanted: &Wanted) -> Result<(), PkiError> {
    let name = &wanted.name;
    let fits = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) && !name.starts_with('.');
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !fits(name) {
        return Err(refused(format!(
            "a name has 1 to {NAME_CHARS_MAX} characters of A-Z a-z 0-9 . _ - and does not begin with a dot; a station's is the id in station.toml"
        )));
    }
    if !(1..=DAYS_MAX).contains(&wanted.days) {
        return Err(refused(format!(
            "a certificate is valid for 1 to {DAYS_MAX} days, not {}",
            wanted.days
        )));
    }
    if wanted.hosts.len() > HOSTS_MAX {
        return Err(refused(format!("a certificate has at most {HOSTS_MAX} hosts")));
    }
    if wanted.purpose == Purpose::Historian && wanted.hosts.is_empty() {
        return Err(refused(
            "stations reach the historian by a host name or address; give it as --host".into(),
        ));
    }
    Ok(())
}

fn alternative_name(host: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(refused(format!(
            "{host:?} is no host name and no IP address; give one like historian.plant.example or 10.0.0.7, without a port"
        )));
    }
    Ok(SanType::DnsName(host.try_into()?))
}

fn set_validity(params: &mut CertificateParams, now_unix_s: i64, validity_s: i64) {
    let at = |unix_s: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(unix_s).unwrap_or(0));
    params.not_before = at(now_unix_s - CLOCKS_BEHIND.as_secs() as i64);
    params.not_after = at(now_unix_s + validity_s);
}

fn refused(reason: String) -> PkiError {
    PkiError::Refused(reason)
}

fn read_authority(folder: &Path) -> Result<Pem, PkiError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|error| PkiError::Authority(folder.to_owned(), format!("{name} cannot be read: {error}")))
    };
    Ok(Pem {
        certificate: read(AUTHORITY_CERTIFICATE)?,
        key: read(AUTHORITY_KEY)?,
    })
}

/// Writes a new authority into a folder of its own.
///
/// # Errors
/// When there is one already, or the disk does not take it.
pub fn write_authority(folder: &Path, authority: &Pem) -> Result<(), PkiError> {
    write_pair(folder, AUTHORITY_CERTIFICATE, AUTHORITY_KEY, authority)
}

/// Writes `NAME.pem` and `NAME.key` into a folder.
///
/// # Errors
/// When one is there already, or the disk does not take them.
pub fn write_issued(folder: &Path, name: &str, issued: &Pem) -> Result<(PathBuf, PathBuf), PkiError> {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    write_pair(folder, &certificate, &key, issued)?;
    Ok((folder.join(certificate), folder.join(key)))
}

/// Both files or none. A folder that is made here is its owner's only, and so is the key.
fn write_pair(folder: &Path, certificate: &str, key: &str, pem: &Pem) -> Result<(), PkiError> {
    let (certificate, key) = (folder.join(certificate), folder.join(key));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| PkiError::File("make the folder", folder.to_owned(), error))?;
    for file in [&certificate, &key] {
        if fs::symlink_metadata(file).is_ok() {
            return Err(PkiError::Exists(file.clone()));
        }
    }
    // A temporary file is its owner's only from the start.
    let key_file = prepared(folder, &pem.key, 0o600)?;
    let certificate_file = prepared(folder, &pem.certificate, 0o644)?;
    put(key_file, &key)?;
    if let Err(error) = put(certificate_file, &certificate) {
        // A key alone is of no use and would be in the way of the next attempt.
        let _ = fs::remove_file(&key);
        return Err(error);
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| PkiError::File("write into", folder.to_owned(), error))
}

fn prepared(folder: &Path, text: &str, mode: u32) -> Result<NamedTempFile, PkiError> {
    let write = || {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|error| PkiError::File("write into", folder.to_owned(), error))
}

fn put(file: NamedTempFile, path: &Path) -> Result<(), PkiError> {
    file.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => PkiError::Exists(path.to_owned()),
        _ => PkiError::File("write", path.to_owned(), error.error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn wanted(purpose: Purpose, hosts: &[&str]) -> Wanted {
        Wanted {
            name: "press-1".into(),
            purpose,
            hosts: hosts.iter().map(ToString::to_string).collect(),
            days: 30,
        }
    }

    fn facts(pem: &str) -> CertificateFacts {
        let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        CertificateFacts::of_der(&der.contents).unwrap()
    }

    #[test]
    fn certificates_say_who_may_do_what_and_for_how_long() {
        let authority = new_authority("Plant CA", 10, NOW).unwrap();
        let root = facts(&authority.certificate);
        assert!(root.is_authority && root.name == "Plant CA" && root.issuer == "Plant CA");
        let issued = sign(
            &authority,
            &wanted(Purpose::Station, &["press-1.example", "10.0.0.7", "fd00::7"]),
            NOW,
        )
        .unwrap();
        let leaf = facts(&issued.certificate);
        assert_eq!(
            (leaf.name.as_str(), leaf.issuer.as_str(), leaf.is_authority),
            ("press-1", "Plant CA", false)
        );
        assert_eq!(
            (leaf.roles, leaf.hosts),
            (
                vec!["station".into()],
                vec!["press-1.example".into(), "10.0.0.7".into(), "fd00::7".into()]
            )
        );
        assert_eq!((leaf.valid_from_unix_s, leaf.valid_until_unix_s), (NOW - DAY_S, NOW + 30 * DAY_S));
        let other = facts(&sign(&authority, &wanted(Purpose::Station, &[]), NOW).unwrap().certificate);
        assert_ne!(leaf.fingerprint, other.fingerprint);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_remedy() {
        let authority = new_authority("Plant CA", 1, NOW).unwrap();
        let said = |wanted: &Wanted| sign(&authority, wanted, NOW).unwrap_err().to_string();
        for name in ["", "a b", "../up", ".hidden", "ä", &"n".repeat(65)] {
            let named = Wanted {
                name: name.into(),
                ..wanted(Purpose::Read, &[])
            };
            assert!(said(&named).contains("a name has"), "{name:?}");
        }
        for host in ["http://x", "a..b", "-a", "x:443", "", "*.example"] {
            assert!(said(&wanted(Purpose::Station, &[host])).contains("no host name"), "{host:?}");
        }
        assert!(said(&wanted(Purpose::Historian, &[])).contains("--host"));
        assert!(
            said(&Wanted {
                days: 0,
                ..wanted(Purpose::Read, &[])
            })
            .contains("days")
        );
        let long = said(&Wanted {
            days: 400,
            ..wanted(Purpose::Read, &[])
        });
        assert!(long.contains("give --days 366 or fewer"), "{long}");
        let expired = sign(&authority, &wanted(Purpose::Read, &[]), NOW + 400 * DAY_S)
            .unwrap_err()
            .to_string();
        assert!(expired.contains("expired"), "{expired}");
        let leaf = sign(&authority, &wanted(Purpose::Station, &[]), NOW).unwrap();
        assert!(
            sign(&leaf, &wanted(Purpose::Read, &[]), NOW)
                .unwrap_err()
                .to_string()
                .contains("may not sign")
        );
        assert!(new_authority("", 1, NOW).is_err() && new_authority("CA", 0, NOW).is_err() && new_authority("CA", 51, NOW).is_err());
    }

    #[test]
    fn keys_are_their_owners_only_and_nothing_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("ca");
        let authority = new_authority("Plant CA", 1, NOW).unwrap();
        write_authority(&folder, &authority).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(AUTHORITY_KEY))), (0o700, 0o600));
        assert_eq!(mode(&folder.join(AUTHORITY_CERTIFICATE)), 0o644);
        assert!(matches!(write_authority(&folder, &authority), Err(PkiError::Exists(_))));
        let issued = issue(&folder, &wanted(Purpose::Operate, &[]), NOW).unwrap();
        let (certificate, key) = write_issued(&place.path().join("out"), "press-1", &issued).unwrap();
        assert_eq!(
            (fs::read_to_string(certificate).unwrap(), fs::read_to_string(key).unwrap()),
            (issued.certificate, issued.key)
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing temporary stays");
    }

    #[test]
    fn a_certificate_that_is_in_the_way_leaves_no_key_behind() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("press-1.pem"), "mine").unwrap();
        let authority = new_authority("Plant CA", 1, NOW).unwrap();
        assert!(matches!(
            write_issued(place.path(), "press-1", &authority),
            Err(PkiError::Exists(_))
        ));
        assert!(!place.path().join("press-1.key").exists());
        assert_eq!(fs::read_to_string(place.path().join("press-1.pem")).unwrap(), "mine");
    }

    #[test]
    fn an_authority_that_is_not_there_is_said() {
        let place = tempfile::tempdir().unwrap();
        let said = issue(place.path(), &wanted(Purpose::Read, &[]), NOW).unwrap_err().to_string();
        assert!(said.contains("takt pki init") && said.contains(AUTHORITY_CERTIFICATE), "{said}");
    }
}
