//! `[models]`: which packages a station trusts, and when another may be activated.

use std::path::{Path, PathBuf};

use super::reader::{Answer, Table};
use super::value::{flag, path};

/// Most keys that packages may be signed with.
const KEYS_MAX: usize = 16;

/// Which packages a station trusts, and when another may be activated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelsConfig {
    /// Whether packages have to be signed.
    pub require_signature: bool,
    /// PEM files of the public keys that they may be signed with. Absolute.
    pub trusted_keys: Vec<PathBuf>,
    /// Whether another package may be activated while the PLC is online.
    pub activate_while_online: bool,
}

pub(super) fn read(table: &mut Table<'_>, folder: &Path) -> Answer<ModelsConfig> {
    let require_signature = table.or("require_signature", false, flag);
    let trusted_keys = if table.has("trusted_keys") {
        table.list("trusted_keys", KEYS_MAX, path(folder))
    } else {
        Ok(Vec::new())
    };
    let activate_while_online = table.or("activate_while_online", false, flag);
    let models = ModelsConfig {
        require_signature: require_signature?,
        trusted_keys: trusted_keys?,
        activate_while_online: activate_while_online?,
    };
    if models.require_signature && models.trusted_keys.is_empty() {
        return Err(table.refuse(
            "trusted_keys",
            "require_signature is true, but trusted_keys is missing, so that no package could be used; give the public keys (`takt model keygen` makes one)",
        ));
    }
    Ok(models)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::Document;

    fn models(lines: &str) -> Result<ModelsConfig, String> {
        let text = format!("config_version = 1\n[models]\n{lines}\n");
        let document = Document::new(Path::new("station.toml"), text.into_bytes()).unwrap();
        document
            .read("the station", |root| {
                root.table_or_defaults("models", |table| read(table, Path::new("/etc/takt")))
            })
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn nothing_is_asked_of_packages_unless_keys_are_given() {
        assert_eq!(models("").unwrap(), ModelsConfig::default());
        let strict = models("require_signature = true\ntrusted_keys = [\"plant.pub\", \"/keys/maker.pub\"]").unwrap();
        let keys = ["/etc/takt/plant.pub", "/keys/maker.pub"].map(PathBuf::from);
        assert_eq!((strict.require_signature, strict.trusted_keys), (true, keys.to_vec()));
        let error = models("require_signature = true").unwrap_err();
        assert!(
            error.contains("trusted_keys is missing") && error.contains("takt model keygen"),
            "{error}"
        );
    }
}
