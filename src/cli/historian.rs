//! `takt historian`: the central historian.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Exit, Format, print, print_json};
use crate::historian::images::ImageFolder;
use crate::historian::sqlite::SqliteStore;
use crate::rpc::access::Access;
use crate::rpc::historian_service::{self, Historian};

#[derive(Debug, Args)]
pub(super) struct HistorianArgs {
    /// Where it listens; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Where records are kept: sqlite:PATH
    #[arg(long, value_name = "STORE", default_value = "sqlite:historian.db")]
    store: String,
    /// Where evidence images are kept: `file:FOLDER`
    #[arg(long, value_name = "IMAGES", default_value = "file:historian-images")]
    images: String,
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

pub(super) fn run(args: &HistorianArgs) -> anyhow::Result<Exit> {
    let (store, images) = match places(args) {
        Ok(places) => places,
        Err(refused) => {
            eprintln!("error: {refused}");
            return Ok(Exit::Usage);
        }
    };
    let images = ImageFolder::open(images)?;
    let store = SqliteStore::open(store)?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    ctrlc::set_handler(move || stopping.cancel()).context("failed to listen for the signals that stop the historian")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("historian")
        .build()
        .context("failed to start the historian's threads")?;
    runtime.block_on(async {
        let (listener, address) = historian_service::listen(args.listen).await?;
        if args.insecure && !address.ip().is_loopback() {
            tracing::warn!("{address} is open to everyone who reaches it: anyone may read records and deliver them");
        }
        match args.format {
            Format::Json => print_json(&Listening {
                event: "listening",
                address,
            })?,
            Format::Table => print(&format!("the historian listens on {address}\n"))?,
        }
        // The keys of TLS come here: `Some(tls)` and an `Access` that reads certificates.
        let historian = Historian::new(store, images, Access::open());
        historian_service::serve(listener, historian, None, stop).await?;
        Ok(Exit::Done)
    })
}

/// The store's file and the images' folder, if all that was asked for can be had.
fn places(args: &HistorianArgs) -> Result<(&Path, &Path), String> {
    // Without TLS: off loopback everyone could read and write.
    if !args.listen.ip().is_loopback() && !args.insecure {
        return Err(format!(
            "failed to listen on {}: other machines reach it and there is no TLS; listen on 127.0.0.1, or say --insecure",
            args.listen
        ));
    }
    let store = place("store", &args.store, "sqlite:PATH", "sqlite:", &["postgres://", "postgresql://"])?;
    let images = place("images", &args.images, "file:FOLDER", "file:", &["s3://"])?;
    Ok((store, images))
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
            listen: listen.parse().unwrap(),
            store: store.into(),
            images: images.into(),
            insecure: false,
            format: Format::Json,
        }
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let good = args("127.0.0.1:0", "sqlite:a/b.db", "file:c");
        assert_eq!(places(&good), Ok((Path::new("a/b.db"), Path::new("c"))));
        for (listen, store, images, said) in [
            ("0.0.0.0:0", "sqlite:a", "file:c", "--insecure"),
            ("127.0.0.1:0", "postgres://host/db", "file:c", "later version; write sqlite:PATH"),
            ("127.0.0.1:0", "sqlite:", "file:c", "write sqlite:PATH"),
            ("127.0.0.1:0", "mysql:x", "file:c", "write sqlite:PATH"),
            ("127.0.0.1:0", "sqlite:a", "s3://bucket", "later version; write file:FOLDER"),
        ] {
            let refused = places(&args(listen, store, images)).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
