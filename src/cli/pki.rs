//! `takt pki`: a certificate authority for plants that have none.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::table::table;
use super::{Exit, print};
use crate::flow::unix_now_ns;
use crate::rpc::certificate::{CertificateFacts, date};
use crate::rpc::pki::{self, AUTHORITY_CERTIFICATE, AUTHORITY_KEY, Purpose, Wanted};
use crate::rpc::tls;

#[derive(Debug, Args)]
pub(super) struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Make a certificate authority
    Init(InitArgs),
    /// Make a certificate for a station, the historian or a person
    Issue(IssueArgs),
    /// Show what a certificate says
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// The authority's folder; keep it offline
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The authority's name
    #[arg(long, default_value = "Plant CA")]
    name: String,
    /// How long it is valid
    #[arg(long, value_name = "N", default_value_t = 20)]
    years: u32,
}

#[derive(Debug, Args)]
struct IssueArgs {
    /// The authority's folder
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Whose certificate it is; for a station its id in station.toml
    #[arg(long)]
    name: String,
    /// What it is for
    #[arg(long, value_enum)]
    role: RoleArg,
    /// A DNS name or IP address under which it is reached; may be given more than once
    #[arg(long = "host", value_name = "DNS-or-IP")]
    hosts: Vec<String>,
    /// Where the certificate and its key are written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long it is valid
    #[arg(long, value_name = "N", default_value_t = 730)]
    days: u32,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// A file with certificates, PEM
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Serves line controllers, and delivers its records to the historian
    Station,
    /// Serves stations and people
    Historian,
    /// Asks
    Read,
    /// Gives cycles; and asks
    Operate,
    /// Changes recipes and models; gives cycles, and asks
    Configure,
}

impl From<RoleArg> for Purpose {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Station => Self::Station,
            RoleArg::Historian => Self::Historian,
            RoleArg::Read => Self::Read,
            RoleArg::Operate => Self::Operate,
            RoleArg::Configure => Self::Configure,
        }
    }
}

pub(super) fn run(args: &PkiArgs) -> anyhow::Result<Exit> {
    match &args.command {
        PkiCommand::Init(args) => init(args)?,
        PkiCommand::Issue(args) => issue(args)?,
        PkiCommand::Show(args) => show(&args.file)?,
    }
    Ok(Exit::Done)
}

fn init(args: &InitArgs) -> anyhow::Result<()> {
    let authority = pki::new_authority(&args.name, args.years, now_unix_s())?;
    pki::write_authority(&args.out, &authority)?;
    let folder = args.out.display();
    print(&format!(
        "Wrote {folder}/{AUTHORITY_CERTIFICATE}, which every machine gets, and {folder}/{AUTHORITY_KEY}, which stays here:\n\
         whoever has it can make certificates for anything. Next: takt pki issue --ca {folder} ...\n"
    ))
}

fn issue(args: &IssueArgs) -> anyhow::Result<()> {
    let wanted = Wanted {
        name: args.name.clone(),
        purpose: args.role.into(),
        hosts: args.hosts.clone(),
        days: args.days,
    };
    let issued = pki::issue(&args.ca, &wanted, now_unix_s())?;
    let (certificate, key) = pki::write_issued(&args.out, &args.name, &issued)?;
    let mut text = format!(
        "Wrote {} and {} (secret).\nThey go to where {} runs, together with {}.\n",
        certificate.display(),
        key.display(),
        args.name,
        args.ca.join(AUTHORITY_CERTIFICATE).display(),
    );
    if wanted.purpose == Purpose::Station && args.hosts.is_empty() {
        text += "Without --host it can deliver records, but clients will not accept it as a server.\n";
    }
    print(&text)
}

fn show(file: &Path) -> anyhow::Result<()> {
    let certificates = tls::read_certificates(file)?;
    if certificates.is_empty() {
        bail!("failed to find a certificate in {}: give a PEM file with one", file.display());
    }
    for der in &certificates {
        let facts = CertificateFacts::of_der(der).with_context(|| format!("failed to show {}", file.display()))?;
        print(&shown(&facts))?;
    }
    Ok(())
}

fn shown(facts: &CertificateFacts) -> String {
    let list = |values: &[String]| if values.is_empty() { "-".into() } else { values.join(", ") };
    let roles = if facts.is_authority {
        "signs certificates".into()
    } else {
        list(&facts.roles)
    };
    let rows = [
        ("name", facts.name.clone()),
        ("roles", roles),
        ("hosts", list(&facts.hosts)),
        ("issuer", facts.issuer.clone()),
        ("valid from", date(facts.valid_from_unix_s)),
        ("valid until", date(facts.valid_until_unix_s)),
        ("SHA-256", facts.fingerprint_text()),
    ];
    table(&["certificate", ""], rows.map(|(name, value)| vec![name.into(), value]))
}

fn now_unix_s() -> i64 {
    unix_now_ns() / 1_000_000_000
}
