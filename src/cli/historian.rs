//! `takt historian`: the central historian.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Exit, Format, print, print_json};
use crate::config::historian::HistorianFile;
use crate::historian::images::ImageFolder;
use crate::historian::sqlite::SqliteStore;
use crate::rpc::historian_client::DEFAULT_PORT;
use crate::rpc::historian_service::{self, Historian};
use crate::rpc::tls::{SecurityConfig, ServerSecurity, listen_policy};
use crate::telemetry::systemd;

/// Where records and images are kept unless something else is said, in the current folder.
const STORE: &str = "sqlite:historian.sqlite";
const IMAGES: &str = "file:historian-images";

#[derive(Debug, Args)]
pub(super) struct HistorianArgs {
    /// Its configuration; what is said here on the command line counts more
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where it listens; port 0 is any that is free [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where records are kept: sqlite:PATH [default: sqlite:historian.sqlite]
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Where evidence images are kept: `file:FOLDER` [default: `file:historian-images`]
    #[arg(long, value_name = "IMAGES")]
    images: Option<String>,
    /// Its certificate, PEM (takt pki issue --role historian)
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The authority that callers' certificates must come from, PEM; without it everybody may do everything
    #[arg(long, value_name = "FILE", requires = "certificate")]
    client_ca: Option<PathBuf>,
    /// Listen for other machines without encryption or passwords
    #[arg(long)]
    insecure: bool,
    /// How it says where it listens
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// What is said once it listens.
#[derive(Debug, Serialize)]
struct Listening {
    event: &'static str,
    address: SocketAddr,
}

/// Everything that is to be known before anything is opened.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    listen: SocketAddr,
    store: PathBuf,
    images: PathBuf,
    security: SecurityConfig,
}

pub(super) fn run(args: &HistorianArgs) -> anyhow::Result<Exit> {
    let file = args.config.as_deref().map(HistorianFile::read).transpose()?;
    let plan = match plan(args, file) {
        Ok(plan) => plan,
        Err(refused) => {
            eprintln!("error: {refused}");
            return Ok(Exit::Usage);
        }
    };
    let secured = plan.security.load()?;
    for warning in &secured.warnings {
        tracing::warn!("{warning}");
    }
    let images = ImageFolder::open(&plan.images)?;
    let store = SqliteStore::open(&plan.store)?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    ctrlc::set_handler(move || stopping.cancel()).context("failed to listen for the signals that stop the historian")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("historian")
        .build()
        .context("failed to start the historian's threads")?;
    runtime.block_on(async {
        let (listener, address) = historian_service::listen(plan.listen).await?;
        match args.format {
            Format::Json => print_json(&Listening {
                event: "listening",
                address,
            })?,
            Format::Table => print(&format!("the historian listens on {address}\n"))?,
        }
        systemd::ready(&format!("listens on {address}"));
        let historian = Historian::new(store, images, secured.access);
        historian_service::serve(listener, historian, secured.tls, stop).await?;
        systemd::stopping();
        Ok(Exit::Done)
    })
}

/// The command line over the file over what is usual; refused if not all of it can be had.
fn plan(args: &HistorianArgs, file: Option<HistorianFile>) -> Result<Plan, String> {
    let of_file = file.as_ref();
    let listen = args.listen.or(of_file.map(|file| file.listen));
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)));
    let given =
        |argument: &Option<String>, in_file: Option<String>, usual: &str| argument.clone().or(in_file).unwrap_or_else(|| usual.into());
    let store = given(&args.store, of_file.and_then(|file| file.store.clone()), STORE);
    let images = given(&args.images, of_file.and_then(|file| file.images.clone()), IMAGES);
    let security = if let (Some(certificate), Some(key)) = (&args.certificate, &args.key) {
        SecurityConfig {
            server: Some(ServerSecurity {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: args.client_ca.clone(),
            }),
            insecure: args.insecure,
        }
    } else {
        let security = file.map(|file| file.security).unwrap_or_default();
        SecurityConfig {
            insecure: args.insecure || security.insecure,
            ..security
        }
    };
    match listen_policy(listen, security.server.is_some(), security.insecure) {
        Ok(Some(warning)) => tracing::warn!("{warning}"),
        Ok(None) => {}
        Err(refusal) => return Err(refusal.to_string()),
    }
    Ok(Plan {
        listen,
        store: place("store", &store, "sqlite:PATH", "sqlite:", &["postgres://", "postgresql://"])?.into(),
        images: place("images", &images, "file:FOLDER", "file:", &["s3://"])?.into(),
        security,
    })
}

/// The path behind a scheme.
fn place<'a>(option: &str, value: &'a str, form: &str, scheme: &str, later: &[&str]) -> Result<&'a Path, String> {
    if let Some(later) = later.iter().find(|later| value.starts_with(**later)) {
        return Err(format!("failed to read --{option}: {later} comes in a later version; write {form}"));
    }
    match value.strip_prefix(scheme) {
        Some(path) if !path.is_empty() => Ok(Path::new(path)),
        _ => Err(format!("failed to read --{option} {value:?}: write {form}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(listen: &str, store: &str, images: &str) -> HistorianArgs {
        HistorianArgs {
            config: None,
            listen: Some(listen.parse().unwrap()),
            store: Some(store.into()),
            images: Some(images.into()),
            certificate: None,
            key: None,
            client_ca: None,
            insecure: false,
            format: Format::Json,
        }
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let good = plan(&args("127.0.0.1:0", "sqlite:a/b.db", "file:c"), None).unwrap();
        assert_eq!((good.store.as_path(), good.images.as_path()), (Path::new("a/b.db"), Path::new("c")));
        for (listen, store, images, said) in [
            ("0.0.0.0:0", "sqlite:a", "file:c", "insecure"),
            ("127.0.0.1:0", "postgres://host/db", "file:c", "later version; write sqlite:PATH"),
            ("127.0.0.1:0", "sqlite:", "file:c", "write sqlite:PATH"),
            ("127.0.0.1:0", "mysql:x", "file:c", "write sqlite:PATH"),
            ("127.0.0.1:0", "sqlite:a", "s3://bucket", "later version; write file:FOLDER"),
        ] {
            let refused = plan(&args(listen, store, images), None).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn the_command_line_counts_more_than_the_file() {
        let file = HistorianFile {
            listen: "127.0.0.1:1".parse().unwrap(),
            security: SecurityConfig::default(),
            store: Some("sqlite:of-file".into()),
            images: None,
        };
        let args = HistorianArgs {
            listen: None,
            images: None,
            ..args("127.0.0.1:0", "sqlite:said", "file:c")
        };
        let plan = plan(&args, Some(file)).unwrap();
        assert_eq!(plan.listen.port(), 1);
        assert_eq!(
            (plan.store.as_path(), plan.images.as_path()),
            (Path::new("said"), Path::new("historian-images"))
        );
    }
}
