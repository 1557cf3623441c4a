//! `takt model keygen`, `sign`, `activate`, `rollback`, `list --station`: who vouches for a package, and which one a station runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::table::table;
use super::{Exit, Format, print, print_json};
use crate::model::package::Package;
use crate::model::signature::{self, SigningKey};
use crate::rpc::historian_client::TlsFiles;
use crate::rpc::proto;
use crate::rpc::station_client::StationClient;

/// Certificates for a station that wants them.
#[derive(Debug, Args)]
pub(super) struct TlsArgs {
    /// Who signed the station's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Own certificate (PEM), with the role configure to change models
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert: Option<PathBuf>,
    /// Key of the own certificate (PEM)
    #[arg(long = "key", id = "key_file", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl TlsArgs {
    fn read(&self) -> anyhow::Result<TlsFiles> {
        let read = |file: &PathBuf| std::fs::read(file).with_context(|| format!("failed to read {}", file.display()));
        let identity = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        Ok(TlsFiles {
            ca: self.ca.as_ref().map(read).transpose()?,
            identity,
        })
    }
}

/// Which station, and which of its inspections.
#[derive(Debug, Args)]
pub(super) struct InspectionArgs {
    /// Where the station serves line controllers: its [grpc] listen
    #[arg(long, value_name = "URL")]
    station: String,
    /// Name of the inspection, as in station.toml
    #[arg(long, value_name = "NAME")]
    inspection: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

pub(super) fn keygen(out: &Path) -> anyhow::Result<Exit> {
    let public = signature::generate(out)?;
    print(&format!(
        "{} signs packages: keep it secret, and a copy of it in a safe place\n{} tells stations whom to trust: [models] trusted_keys in station.toml\n",
        out.display(),
        public.display()
    ))?;
    Ok(Exit::Done)
}

pub(super) fn sign(package: &Path, key: &Path) -> anyhow::Result<Exit> {
    signature::sign(package, &SigningKey::read(key)?)?;
    let identity = Package::open(package)?.identity();
    print(&format!(
        "{} {} is signed; {} stands for all of its files\n",
        identity.name, identity.version, identity.sha256
    ))?;
    Ok(Exit::Done)
}

pub(super) fn activate(package: &Path, args: &InspectionArgs) -> anyhow::Result<Exit> {
    let absolute = std::path::absolute(package).with_context(|| format!("failed to find {}", package.display()))?;
    let package = absolute
        .to_str()
        .with_context(|| format!("failed to use {}: its name is not UTF-8", absolute.display()))?;
    let mut station = StationClient::connect(&args.station, args.tls.read()?)?;
    tell(&station.activate(&args.inspection, package)?, args)
}

pub(super) fn roll_back(args: &InspectionArgs) -> anyhow::Result<Exit> {
    let mut station = StationClient::connect(&args.station, args.tls.read()?)?;
    tell(&station.roll_back(&args.inspection)?, args)
}

fn tell(response: &proto::ActivateModelResponse, args: &InspectionArgs) -> anyhow::Result<Exit> {
    match args.format {
        Format::Json => print_json(&json!({
            "inspection": args.inspection,
            "model": response.model.as_ref().map(named),
            "previous": response.previous.as_ref().map(named),
            "config_checksum": format!("{:08x}", response.config_checksum),
            "changed": response.changed,
        }))?,
        Format::Table => {
            let what = if response.changed {
                "judges parts from now on"
            } else {
                "is in force already"
            };
            let before = response.previous.as_ref().filter(|_| response.changed).map(words);
            let before = before.map_or_else(String::new, |before| format!(", in place of {before}"));
            print(&format!(
                "{} {what} in \"{}\"{before}; ConfigChecksum is {:08x}\n",
                response.model.as_ref().map(words).unwrap_or_default(),
                args.inspection,
                response.config_checksum
            ))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn list_station(address: &str, tls: &TlsArgs, format: Format) -> anyhow::Result<Exit> {
    let models = StationClient::connect(address, tls.read()?)?.models()?;
    match format {
        Format::Json => {
            for of in &models.inspections {
                print_json(&json!({
                    "inspection": of.inspection,
                    "model": of.current.as_ref().map(named),
                    "previous": of.previous.as_ref().map(named),
                    "configured": of.configured,
                    "activated": of.activated,
                    "config_checksum": format!("{:08x}", models.config_checksum),
                }))?;
            }
        }
        Format::Table => {
            let row = |of: &proto::InspectionModel| {
                vec![
                    of.inspection.clone(),
                    of.current.as_ref().map(words).unwrap_or_default(),
                    of.previous.as_ref().map_or_else(|| "-".into(), words),
                    if of.activated { "activated".into() } else { "as configured".into() },
                    of.configured.clone(),
                ]
            };
            print(&table(
                &["inspection", "model", "before", "state", "station.toml names"],
                models.inspections.iter().map(row),
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// The first letters of a hash tell packages of one version apart.
pub(super) fn words(model: &proto::Model) -> String {
    let hash: String = hex(&model.sha256).chars().take(12).collect();
    format!("{} {} ({hash})", model.name, model.version)
}

pub(super) fn named(model: &proto::Model) -> Value {
    json!({ "name": model.name, "version": model.version, "sha256": hex(&model.sha256) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
