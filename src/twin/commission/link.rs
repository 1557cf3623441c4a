//! The wire between the PLC that is played and the station. Who asks whom differs; the registers are the same, and so is what they mean.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::judge::Image;
use super::run::Place;
use crate::flow::now;
use crate::plc::signals::{PLC_REGISTERS, STATION_REGISTERS, station_signal};
use crate::twin::foreign_peer::{PlcMemory, PlcServer};
use crate::twin::modbus::{Poll, RESPONSE_TIMEOUT, WRITTEN, Wire};

/// Registers of status and result, which a station that polls writes in one.
const BLOCK: usize = 44;

/// The link, as the PLC has it.
pub(super) enum Link {
    /// The station is the server.
    Asking {
        /// What it is asked with.
        runtime: Runtime,
        /// The connection.
        wire: Box<Wire>,
    },
    /// The station polls.
    Answering(Polled),
}

impl Link {
    /// A link that is not made yet.
    pub(super) fn new(place: &Place, mode: crate::line::config::ResultMode) -> io::Result<Self> {
        Ok(match *place {
            Place::Server(address) => Self::Asking {
                runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
                wire: Box::new(Wire::new(address, mode)),
            },
            Place::Client {
                listen,
                read_base,
                write_base,
                silence_max,
            } => Self::Answering(Polled {
                listen,
                read_base,
                write_base,
                silence_max,
                memory: PlcMemory::default(),
                server: None,
                trouble: None,
            }),
        })
    }

    /// Whether the other side can be spoken to, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        match self {
            Self::Asking { wire, .. } => wire.is_up(),
            Self::Answering(polled) => polled.server.is_some(),
        }
    }

    /// Why nothing comes.
    pub(super) fn trouble(&self) -> Option<&str> {
        match self {
            Self::Asking { wire, .. } => wire.trouble(),
            Self::Answering(polled) => polled.trouble.as_deref(),
        }
    }

    /// Connects, or lets the station connect, if it is time to.
    pub(super) fn connect(&mut self) {
        match self {
            Self::Asking { runtime, wire } => {
                runtime.block_on(wire.connect());
            }
            Self::Answering(polled) => polled.listen(),
        }
    }

    /// Ends the connection; the next may be made at once.
    pub(super) fn disconnect(&mut self) {
        match self {
            Self::Asking { wire, .. } => wire.disconnect(),
            Self::Answering(polled) => polled.server = None,
        }
    }

    /// Gives the station what the PLC says, whole. Returns whether it has it.
    pub(super) fn write(&mut self, registers: &[u16; PLC_REGISTERS]) -> bool {
        match self {
            Self::Asking { runtime, wire } => runtime.block_on(wire.write_registers(registers)).is_ok(),
            Self::Answering(polled) => polled.write(registers),
        }
    }

    /// What the station says now; `None` if that is not known.
    pub(super) fn read(&mut self) -> Option<Image> {
        match self {
            Self::Asking { runtime, wire } => {
                let reading = runtime.block_on(wire.read(Poll::Everything)).ok()?;
                Some(Image {
                    asked: reading.polled,
                    received: reading.received,
                    registers: *wire.registers(),
                })
            }
            Self::Answering(polled) => polled.read(),
        }
    }
}

/// A PLC that is the server: its registers, which the station reads and writes.
pub(super) struct Polled {
    listen: SocketAddr,
    read_base: u16,
    write_base: u16,
    /// A station that has not written for so long is not there.
    silence_max: Duration,
    memory: PlcMemory,
    server: Option<PlcServer>,
    trouble: Option<String>,
}

impl Polled {
    fn listen(&mut self) {
        if self.server.is_some() {
            return;
        }
        // What it holds is of a connection that is over.
        self.memory.forget_writes();
        match PlcServer::start(self.listen, self.memory.clone()) {
            Ok(server) => (self.server, self.trouble) = (Some(server), None),
            Err(error) => self.trouble = Some(format!("failed to listen on {}: {error}", self.listen)),
        }
    }

    /// The station has it once it has read it: what is written next must not replace it unseen.
    fn write(&mut self, registers: &[u16; PLC_REGISTERS]) -> bool {
        let words = registers.get(..WRITTEN).unwrap_or(registers);
        let is_read = self.memory.put_until_read(self.read_base, words, RESPONSE_TIMEOUT);
        self.trouble = (!is_read).then(|| format!("nobody reads holding registers {} and up at {}", self.read_base, self.listen));
        is_read
    }

    fn read(&mut self) -> Option<Image> {
        let (written, words) = self.memory.get_since_written(self.write_base, BLOCK, STATION_REGISTERS);
        let asked = now();
        let registers: [u16; STATION_REGISTERS] = words.try_into().ok()?;
        if written.is_none_or(|at| asked.since(at) > self.silence_max) {
            self.trouble = Some(format!(
                "nobody writes holding registers {} and up at {}",
                self.write_base, self.listen
            ));
            return None;
        }
        (!is_being_written(&registers)).then_some(Image {
            asked,
            received: asked,
            registers,
        })
    }
}

/// Whether the station is in the middle of an image: data of a result are there, and ResultValid, which vouches for them, is not raised yet, or is lowered
/// already. A PLC's program looks at ResultValid first, so that it takes none of these data for a result.
fn is_being_written(registers: &[u16; STATION_REGISTERS]) -> bool {
    let value = |name| station_signal(name).map_or(0, |signal| signal.read(registers, 0));
    value("ResultValid") == 0 && value("Verdict") != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::image::StationImage;
    use crate::part::Verdict;
    use crate::plc::signals::station_registers;
    use crate::twin::foreign_peer::Master;

    fn polled() -> (Link, SocketAddr) {
        let place = Place::Client {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            read_base: 40,
            write_base: 2000,
            silence_max: Duration::from_mins(1),
        };
        let mut link = Link::new(&place, crate::line::config::ResultMode::Single).unwrap();
        link.connect();
        let Link::Answering(polled) = &link else { panic!("it polls") };
        let address = polled.server.as_ref().unwrap().address();
        (link, address)
    }

    #[test]
    fn what_the_plc_says_is_said_once_the_station_has_read_it() {
        let (mut link, address) = polled();
        let registers = std::array::from_fn(|at| at as u16);
        assert!(!link.write(&registers) && link.trouble().unwrap().contains("nobody reads holding registers 40"));
        let station = std::thread::spawn(move || {
            let mut master = Master::connect(address).unwrap();
            let mut read = Vec::new();
            while read.first() != Some(&7) {
                read = master.read(40, 34).unwrap();
            }
        });
        let mut registers = registers;
        registers[0] = 7;
        assert!(link.write(&registers) && link.trouble().is_none());
        station.join().unwrap();
    }

    #[test]
    fn an_image_is_what_was_written_whole_since_the_link_stands() {
        let (mut link, address) = polled();
        assert!(link.read().is_none(), "nobody wrote yet");
        let mut image = StationImage {
            boot_id: 7,
            result_valid: true,
            verdict: Some(Verdict::Ok),
            ..StationImage::default()
        };
        let mut master = Master::connect(address).unwrap();
        let mut write = |image: &StationImage, count: usize| master.write(2000, &station_registers(image)[..count]).unwrap();
        write(&image, 1);
        assert!(link.read().is_none(), "the status word alone is no image");
        write(&image, BLOCK);
        let value = |link: &mut Link, name| link.read().map(|image| image.value(name));
        assert_eq!(value(&mut link, "BootId"), Some(7));
        image.result_valid = false;
        write(&image, BLOCK);
        assert!(link.read().is_none(), "the result is being withdrawn");
        image.verdict = None;
        write(&image, BLOCK);
        assert_eq!(value(&mut link, "ResultValid"), Some(0));
        link.disconnect();
        link.connect();
        assert!(link.read().is_none(), "of a connection that is over");
    }

    #[test]
    fn a_place_that_is_taken_is_said() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Client {
            listen: taken.local_addr().unwrap(),
            read_base: 0,
            write_base: 1000,
            silence_max: Duration::from_secs(1),
        };
        let mut link = Link::new(&place, crate::line::config::ResultMode::Single).unwrap();
        link.connect();
        assert!(!link.is_up() && link.trouble().unwrap().contains("failed to listen on 127.0.0.1"));
    }
}
