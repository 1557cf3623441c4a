//! `historian.toml`: the central historian.

use std::net::SocketAddr;
use std::path::Path;

use super::reader::{ConfigErrors, Document};
use super::security::read_served;
use super::value::title;
use crate::rpc::tls::SecurityConfig;

/// A historian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistorianFile {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How it is secured.
    pub security: SecurityConfig,
    /// Where records are kept, as `--store` says it.
    pub store: Option<String>,
    /// Where images are kept, as `--images` says it.
    pub images: Option<String>,
}

impl HistorianFile {
    /// Reads `historian.toml`.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn read(file: &Path) -> Result<Self, ConfigErrors> {
        let document = Document::open(file)?;
        let folder = document.file().parent().unwrap_or(Path::new("")).to_owned();
        document.read("the historian", |root| {
            root.table("historian", |table| {
                let served = read_served(table, &folder);
                let store = table.optional("store", title);
                let images = table.optional("images", title);
                let (listen, security) = served?;
                Ok(Self {
                    listen,
                    security,
                    store: store?,
                    images: images?,
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_historian_is_read_and_everything_wrong_with_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("historian.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            HistorianFile::read(&file)
        };
        let historian =
            read("config_version = 1\n[historian]\nlisten = \"127.0.0.1:7443\"\nstore = \"sqlite:/var/lib/takt/historian.sqlite\"\n")
                .unwrap();
        assert_eq!((historian.listen.port(), historian.images), (7443, None));
        assert_eq!(historian.store.as_deref(), Some("sqlite:/var/lib/takt/historian.sqlite"));
        let errors = read("config_version = 1\n[historian]\nlisten = \"0.0.0.0:7443\"\nstor = \"sqlite:a\"\n").unwrap_err();
        assert_eq!(errors.lines().len(), 2, "{errors}");
        assert!(errors.to_string().contains("did you mean \"store\"?"), "{errors}");
    }
}
