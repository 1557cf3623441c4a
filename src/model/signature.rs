//! Who vouches for a package: an Ed25519 signature (RFC 8032) over the bytes of `model.toml`, which names the hash of every other file.
//!
//! The signature lies beside the manifest, 64 bytes as they are, and keys are PEM files of the usual kinds (RFC 8410), so that
//! `openssl pkeyutl -verify -rawin` checks the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use x509_parser::pem::Pem;

use super::package::{Package, PackageError, read_bounded};
use crate::journal::durable;

/// The signature's file name, beside the manifest.
pub const SIGNATURE: &str = "model.toml.sig";

/// Ending of a public key's file, after the name of the private key's.
pub const PUBLIC_ENDING: &str = "pub";

/// Bytes of a signature (RFC 8032, section 5.1.6).
const SIGNATURE_BYTES: usize = 64;

/// Bytes of a key, private or public (RFC 8032, section 5.1.5).
const KEY_BYTES: usize = 32;

/// Largest key file that is read: a PEM file of one key has about a hundred bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// What stands before the private key in a PKCS#8 `PrivateKeyInfo` of version 1 (RFC 8410, section 7): OpenSSL does not read version 2.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What stands before the public key in a `SubjectPublicKeyInfo` (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a package or a key is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Nobody signed it, and somebody has to.
    #[error(
        "failed to trust model package {0}: it is not signed, and models.require_signature is true; sign it with `takt model sign` and a trusted key"
    )]
    Unsigned(PathBuf),
    /// It is not signed by a key that is trusted, or was changed afterwards.
    #[error(
        "failed to trust model package {package}: its signature fits none of the trusted keys ({keys}), so it was signed with another key, or its model.toml was changed since; sign it anew with `takt model sign`, or add the key to models.trusted_keys"
    )]
    Untrusted {
        /// The package.
        package: PathBuf,
        /// Files of the keys.
        keys: String,
    },
    /// A key file cannot be read.
    #[error("failed to read key {path}: {source}; check that the file is there and may be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key file holds no such key.
    #[error("failed to read key {path}: it holds no {wanted} key for Ed25519 in PEM; `takt model keygen --out KEY` makes KEY and KEY.pub")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        wanted: &'static str,
    },
    /// There is a key already.
    #[error(
        "failed to make key {0}: the file is there already; choose another name: what was signed with a lost key has to be signed anew"
    )]
    KeyExists(PathBuf),
    /// A file cannot be written.
    #[error("failed to write {path}: {source}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("failed to make a key: the system gives no random numbers; check /dev/urandom")]
    Random,
    /// The package itself is not whole.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// A private key.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a PEM file with a private key (PKCS#8).
    ///
    /// # Errors
    /// When it cannot be read or holds none.
    pub fn read(path: &Path) -> Result<Self, SignatureError> {
        let der = read_pem(path, "PRIVATE KEY", "private")?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
        pair.map(Self).map_err(|_| no_key(path, "private"))
    }

    /// The public half in PEM.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI_PREFIX, self.0.public_key().as_ref()].concat())
    }

    /// Signs these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }
}

/// Makes a key: the private half in file `path`, which only its owner may read, and the public half beside it, with `.pub` after its name.
/// Returns the latter's path.
///
/// # Errors
/// When one of the files is there already or cannot be written.
pub fn generate(path: &Path) -> Result<PathBuf, SignatureError> {
    let mut seed = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut seed).map_err(|_| SignatureError::Random)?;
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SignatureError::Random)?;
    let public = public_path(path);
    if let Some(taken) = [path, &public].into_iter().find(|path| path.exists()) {
        return Err(SignatureError::KeyExists(taken.into()));
    }
    let private_pem = pem("PRIVATE KEY", &[&PKCS8_PREFIX, seed.as_slice()].concat());
    write_private(path, private_pem.as_bytes())?;
    let public_pem = SigningKey(key).public_pem();
    write(&public, public_pem.as_bytes())?;
    Ok(public)
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PUBLIC_ENDING);
    name.into()
}

/// Signs the package in a folder, which must be whole. Another signature is replaced.
///
/// # Errors
/// When the package is not whole or the signature cannot be written.
pub fn sign(package: &Path, key: &SigningKey) -> Result<(), SignatureError> {
    let opened = Package::open(package)?;
    let manifest = opened.sealed.map(|sealed| sealed.manifest).unwrap_or_default();
    write(&package.join(SIGNATURE), &key.sign(&manifest))
}

/// The signature of the package in a folder; `None` where nobody signed it.
pub(super) fn read(package: &Path) -> Result<Option<Vec<u8>>, PackageError> {
    let path = package.join(SIGNATURE);
    if !path.exists() {
        return Ok(None);
    }
    read_bounded(&path).map(Some)
}

/// A public key that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Where it was read from.
    path: PathBuf,
    key: Vec<u8>,
}

impl TrustedKey {
    /// Reads a PEM file with a public key (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// When it cannot be read or holds none.
    pub fn read(path: &Path) -> Result<Self, SignatureError> {
        let der = read_pem(path, "PUBLIC KEY", "public")?;
        let key = der.strip_prefix(&SPKI_PREFIX).filter(|key| key.len() == KEY_BYTES);
        Ok(Self {
            path: path.into(),
            key: key.ok_or_else(|| no_key(path, "public"))?.to_vec(),
        })
    }
}

/// Which packages are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Whether a package has to be signed.
    pub required: bool,
    /// By one of these. Without one, signatures are not looked at.
    pub keys: Vec<TrustedKey>,
}

impl Trust {
    /// Reads the public keys in these files.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(required: bool, keys: &[PathBuf]) -> Result<Self, SignatureError> {
        let keys = keys.iter().map(|path| TrustedKey::read(path)).collect::<Result<_, _>>()?;
        Ok(Self { required, keys })
    }

    /// Whether a package may be used. Returns the file of the key that it is signed with; `None` where nobody signed it, or nobody asks.
    ///
    /// # Errors
    /// When it is not signed and has to be, or signed by nobody who is trusted.
    pub fn check(&self, package: &Package) -> Result<Option<&Path>, SignatureError> {
        let signed = package
            .sealed
            .as_ref()
            .and_then(|sealed| Some((sealed, sealed.signature.as_ref()?)));
        let Some((sealed, signature)) = signed else {
            return if self.required {
                Err(SignatureError::Unsigned(package.path.clone()))
            } else {
                Ok(None)
            };
        };
        if self.keys.is_empty() && !self.required {
            return Ok(None);
        }
        let fits = |trusted: &&TrustedKey| {
            let key = UnparsedPublicKey::new(&ED25519, &trusted.key);
            signature.len() == SIGNATURE_BYTES && key.verify(&sealed.manifest, signature).is_ok()
        };
        let trusted = self.keys.iter().find(fits).map(|trusted| trusted.path.as_path());
        trusted.map(Some).ok_or_else(|| {
            let keys: Vec<String> = self.keys.iter().map(|key| key.path.display().to_string()).collect();
            SignatureError::Untrusted {
                package: package.path.clone(),
                keys: if keys.is_empty() {
                    "none is configured".into()
                } else {
                    keys.join(", ")
                },
            }
        })
    }
}

fn no_key(path: &Path, wanted: &'static str) -> SignatureError {
    SignatureError::NoKey { path: path.into(), wanted }
}

/// The bytes inside the first PEM block with this label.
fn read_pem(path: &Path, label: &str, wanted: &'static str) -> Result<Vec<u8>, SignatureError> {
    let failed = |source| SignatureError::Read { path: path.into(), source };
    if fs::metadata(path).map_err(failed)?.len() > KEY_FILE_BYTES_MAX {
        return Err(no_key(path, wanted));
    }
    let bytes = fs::read(path).map_err(failed)?;
    let block = Pem::iter_from_buffer(&bytes)
        .filter_map(Result::ok)
        .find(|block| block.label == label);
    block.map(|block| block.contents).ok_or_else(|| no_key(path, wanted))
}

/// Base64 of a key fits one line of at most 64 characters (RFC 7468, section 2).
fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SignatureError> {
    let absolute = std::path::absolute(path);
    let written = absolute.and_then(|absolute| durable::write_whole(&absolute, bytes));
    written.map_err(|source| SignatureError::Write { path: path.into(), source })?;
    // A public key and a signature are for everybody; a temporary file is not.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(path, everybody).map_err(|source| SignatureError::Write { path: path.into(), source })
}

/// Temporary files are their owner's alone, and stay so under their new name.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SignatureError> {
    let absolute = std::path::absolute(path);
    let written = absolute.and_then(|absolute| durable::write_whole(&absolute, bytes));
    written.map_err(|source| SignatureError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3 and 10.1: a private key and its public half.
    const PRIVATE: &str =
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    fn package(manifest: &[u8], signature: Option<Vec<u8>>) -> Package {
        let text = include_str!("../../tests/fixtures/model_v1.toml");
        Package {
            path: "cap".into(),
            manifest: super::super::manifest::Manifest::from_text(text).unwrap(),
            files: std::collections::BTreeMap::new(),
            sealed: Some(super::super::package::Sealed {
                manifest: manifest.into(),
                signature,
            }),
        }
    }

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_keys_of_the_standard_are_read_and_written_alike() {
        let folder = tempfile::tempdir().unwrap();
        let private = SigningKey::read(&written(folder.path(), "key", PRIVATE)).unwrap();
        assert_eq!(private.public_pem(), PUBLIC);
        let seed = BASE64
            .decode("MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC")
            .unwrap();
        assert_eq!(pem("PRIVATE KEY", &[&PKCS8_PREFIX, &seed[16..]].concat()), PRIVATE);
        let trust = Trust::read(true, &[written(folder.path(), "key.pub", PUBLIC)]).unwrap();
        let signed = package(b"sealed", Some(private.sign(b"sealed")));
        assert!(trust.check(&signed).unwrap().is_some_and(|key| key.ends_with("key.pub")));
    }

    #[test]
    fn a_key_that_was_made_signs_what_nobody_may_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plant.key");
        let public = generate(&path).unwrap();
        assert_eq!(public, folder.path().join("plant.key.pub"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "a private key is its owner's alone");
        assert!(matches!(generate(&path), Err(SignatureError::KeyExists(_))));

        let key = SigningKey::read(&path).unwrap();
        let trust = Trust::read(true, &[public]).unwrap();
        assert!(trust.check(&package(b"sealed", Some(key.sign(b"sealed")))).is_ok());
        let changed = trust.check(&package(b"seaLed", Some(key.sign(b"sealed")))).unwrap_err();
        assert!(changed.to_string().contains("fits none of the trusted keys"), "{changed}");
        let unsigned = trust.check(&package(b"sealed", None)).unwrap_err();
        assert!(unsigned.to_string().contains("takt model sign"), "{unsigned}");
        let cut = key.sign(b"sealed")[..63].to_vec();
        assert!(trust.check(&package(b"sealed", Some(cut))).is_err());
    }

    #[test]
    fn a_foreign_signature_is_refused_where_keys_are_given_and_none_is_asked_for_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let keys = ["ours", "theirs"].map(|name| {
            let path = folder.path().join(name);
            generate(&path).unwrap();
            path
        });
        let theirs = package(b"sealed", Some(SigningKey::read(&keys[1]).unwrap().sign(b"sealed")));
        let ours = Trust::read(false, &[public_path(&keys[0])]).unwrap();
        assert!(matches!(ours.check(&theirs), Err(SignatureError::Untrusted { .. })));
        assert!(ours.check(&package(b"sealed", None)).is_ok());
        assert!(Trust::default().check(&theirs).is_ok());
        let both = Trust::read(true, &keys.map(|key| public_path(&key))).unwrap();
        assert!(both.check(&theirs).unwrap().is_some_and(|key| key.ends_with("theirs.pub")));
    }

    #[test]
    fn what_is_no_key_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "no PEM",
            PUBLIC,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let error = SigningKey::read(&written(folder.path(), "key", text)).err().unwrap().to_string();
            assert!(error.contains("holds no private key") && error.contains("keygen"), "{error}");
        }
        let error = TrustedKey::read(&written(folder.path(), "key", PRIVATE)).unwrap_err().to_string();
        assert!(error.contains("holds no public key"), "{error}");
        let error = TrustedKey::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("check that the file is there"), "{error}");
    }
}
