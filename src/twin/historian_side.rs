//! The historian of a run behind a network of its own: killed, cut off, and in the end asked what it has.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use super::child_process::{ChildProcess, StationLine};
use super::network::Network;
use crate::config::twin::TwinHistorian;
use crate::flow::{Sender, now};
use crate::part::Nanos;

/// Its records, in its directory.
pub const STORE: &str = "historian.sqlite";

/// Its images, likewise.
pub const IMAGES: &str = "images";

/// The historian, and the network before it.
pub(super) struct HistorianSide {
    settings: TwinHistorian,
    address: SocketAddr,
    network: Network,
    process: ChildProcess,
    mend_at: Option<Nanos>,
    pub(super) kills: u32,
    pub(super) cuts: u32,
}

impl HistorianSide {
    pub(super) fn start<T: Send + 'static>(settings: &TwinHistorian, said: &Sender<T>, word: fn(StationLine) -> T) -> io::Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        Ok(Self {
            settings: settings.clone(),
            address,
            network: Network::between(settings.network, address)?,
            process: run(settings, address, said, word)?,
            mend_at: None,
            kills: 0,
            cuts: 0,
        })
    }

    /// `kill -9`, and a new start at the same address.
    pub(super) fn kill<T: Send + 'static>(&mut self, said: &Sender<T>, word: fn(StationLine) -> T) -> io::Result<()> {
        self.process.kill();
        self.kills += 1;
        self.process = run(&self.settings, self.address, said, word)?;
        Ok(())
    }

    /// Whether the cable is to be pulled when this part passes.
    pub(super) fn is_cut_at(&self, part: u32) -> bool {
        self.settings.network_cut_at == Some(part)
    }

    /// Pulls the cable for a while. Returns for how long.
    pub(super) fn cut(&mut self) -> Duration {
        self.network.cut();
        self.cuts += 1;
        self.mend_at = Some(now() + self.settings.network_cut);
        self.settings.network_cut
    }

    /// Plugs it in again once it is time to. Returns how long that is from now.
    pub(super) fn mend(&mut self) -> Option<Duration> {
        let at = self.mend_at?;
        if now() < at {
            return Some(at.since(now()));
        }
        self.mend_for_good();
        None
    }

    /// The plug stays in from now on.
    pub(super) fn mend_for_good(&mut self) {
        self.network.mend();
        self.mend_at = None;
    }

    /// Where its records are.
    pub(super) fn store(&self) -> PathBuf {
        self.settings.directory.join(STORE)
    }
}

fn run<T: Send + 'static>(
    settings: &TwinHistorian,
    address: SocketAddr,
    said: &Sender<T>,
    word: fn(StationLine) -> T,
) -> io::Result<ChildProcess> {
    let directory = settings.directory.display();
    let arguments = [
        "historian".into(),
        "--listen".into(),
        address.to_string().into(),
        "--store".into(),
        format!("sqlite:{directory}/{STORE}").into(),
        "--images".into(),
        format!("file:{directory}/{IMAGES}").into(),
    ];
    ChildProcess::start(&arguments, said, word)
}
