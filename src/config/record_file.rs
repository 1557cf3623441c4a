//! The tables of `station.toml` about what happens to records: `[journal]`, `[historian]`, `[grpc]`, `[[tag]]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reader::{Answer, Table};
use super::security::{read_client, read_served};
use super::value::{flag, name, one_of, path, share, title, url, whole};
use crate::line::tags::{TAG_REGISTERS, TagPlan, TagSource};
use crate::rpc::tls::{ClientSecurity, SecurityConfig};

/// First register of the tags, as the PLC addresses it.
const TAGS_AT: u64 = 200;

/// Tags a part can carry.
const TAGS_MAX: usize = 32;

/// Evidence and records take so much of the disk, unless said otherwise: 14 days at two parts a second, one in twenty rejected.
pub const QUOTA_MIB: u64 = 32 * 1024;

/// Share of Ok parts whose images are kept, unless said otherwise.
pub const OK_SHARE: f64 = 0.01;

/// What the journal does when its quota is used up and nothing may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDiskFull {
    /// No more parts are taken.
    Stop,
    /// The oldest records go, and a record says so.
    DropOldest,
}

/// The journal.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalConfig {
    /// Where it is. Absolute.
    pub directory: PathBuf,
    /// What it may take of the disk, bytes.
    pub quota_bytes: u64,
    /// What happens then.
    pub when_full: WhenDiskFull,
    /// Share of Ok parts whose images are kept, 0 to 1.
    pub ok_share: f64,
    /// Records that the historian has are kept at least for so long.
    pub kept_min: Duration,
}

/// The historian this station reports to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistorianConfig {
    /// Where it is.
    pub url: String,
    /// Whom the station trusts, and what it shows of itself; `None`: neither.
    pub security: Option<ClientSecurity>,
}

/// The service for line controllers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How it is secured.
    pub security: SecurityConfig,
}

pub(super) fn read_journal(table: &mut Table<'_>, folder: &Path) -> Answer<(Option<PathBuf>, JournalConfig)> {
    let directory = table.optional("directory", path(folder));
    let quota = table.or("quota_mib", QUOTA_MIB, whole(16..=64 << 20));
    let actions = [("stop", WhenDiskFull::Stop), ("drop_oldest", WhenDiskFull::DropOldest)];
    let when_full = table.or("when_full", WhenDiskFull::Stop, one_of(actions));
    let ok_share = table.or("ok_image_share", OK_SHARE, share());
    let kept_days = table.or("kept_days_min", 14, whole(0..=3650));
    let directory = directory?;
    let config = JournalConfig {
        directory: PathBuf::new(),
        quota_bytes: quota? << 20,
        when_full: when_full?,
        ok_share: ok_share?,
        kept_min: Duration::from_hours(24 * kept_days?),
    };
    Ok((directory, config))
}

pub(super) fn read_historian(table: &mut Table<'_>, folder: &Path) -> Answer<HistorianConfig> {
    let url = table.required("url", url);
    let insecure = table.or("insecure", false, flag);
    let security = read_client(table, folder);
    let (url, insecure, security) = (url?, insecure?, security?);
    if url.starts_with("https://") && security.is_none() {
        let reason = "ca is missing; give the certificate of the authority that the historian's is signed by";
        return Err(table.refuse("ca", reason));
    }
    let is_here = ["http://127.0.0.1", "http://[::1]", "http://localhost"]
        .iter()
        .any(|here| url.starts_with(here));
    if url.starts_with("http://") && !is_here && !insecure {
        let reason = "records would cross the network in the clear; give an https:// url, or accept it with insecure = true";
        return Err(table.refuse("url", reason));
    }
    Ok(HistorianConfig { url, security })
}

pub(super) fn read_grpc(table: &mut Table<'_>, folder: &Path) -> Answer<GrpcConfig> {
    let (listen, security) = read_served(table, folder)?;
    Ok(GrpcConfig { listen, security })
}

pub(super) const TAGS: (&str, usize) = ("tag", TAGS_MAX);

pub(super) fn read_tag(table: &mut Table<'_>) -> Answer<TagPlan> {
    #[derive(Clone, Copy)]
    enum Kind {
        U16,
        U32,
        Text,
    }
    let tag = table.required("name", name);
    let value = table.optional("value", title);
    let register = table.optional("register", whole(TAGS_AT..=TAGS_AT + TAG_REGISTERS as u64 - 1));
    let kind = table.optional("type", one_of([("u16", Kind::U16), ("u32", Kind::U32), ("text", Kind::Text)]));
    let registers = table.optional("registers", whole(1..=TAG_REGISTERS as u64));
    let (tag, value, register, kind, registers) = (tag?, value?, register?, kind?, registers?);
    let source = match (value, register) {
        (Some(value), None) => TagSource::Fixed(value),
        (None, Some(register)) => {
            let at = (register - TAGS_AT) as usize;
            let (source, length) = match (kind, registers) {
                (Some(Kind::Text), Some(registers)) => {
                    let registers = registers as usize;
                    (TagSource::Text { at, registers }, registers)
                }
                (Some(Kind::Text), None) => {
                    return Err(table.refuse(
                        "registers",
                        "registers is missing; give how many registers the text has, two characters each",
                    ));
                }
                (Some(Kind::U32), None) => (TagSource::U32 { at }, 2),
                (Some(Kind::U16) | None, None) => (TagSource::U16 { at }, 1),
                (Some(Kind::U16 | Kind::U32) | None, Some(_)) => {
                    return Err(table.refuse("registers", "registers is for the type \"text\"; remove it"));
                }
            };
            if at + length > TAG_REGISTERS {
                let last = TAGS_AT + TAG_REGISTERS as u64 - 1;
                return Err(table.refuse(
                    "register",
                    format!("it reaches beyond register {last}, the last one for tags; move it"),
                ));
            }
            source
        }
        (Some(_), Some(_)) => return Err(table.refuse("value", "it has both a value and a register; keep one")),
        (None, None) => return Err(table.refuse("value", "give a value, or the register that the PLC writes it to")),
    };
    Ok(TagPlan { name: tag, source })
}
