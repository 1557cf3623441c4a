//! Adapter to the system's journal (journald): each event is one datagram in journald's native protocol, with a field for each value, so that
//! `journalctl CYCLE_ID=41` finds what was said of part 41.
//!
//! The crate `tracing-journald` does the same, but sends from the thread that logs, and that waits where journald is slow. Here events are
//! only put into words on that thread; a thread of their own sends them (`log.rs`).

use std::fmt::{Debug, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest value of a field, bytes; the rest is cut off. Far below what a datagram takes.
const VALUE_MAX: usize = 16 << 10;

/// Longest name of a field that journald takes.
const NAME_MAX: usize = 64;

/// Sends datagrams to journald, and waits for it: for the thread that does nothing else.
pub(super) struct JournalSocket {
    socket: UnixDatagram,
    journald: PathBuf,
    lost: Arc<AtomicU64>,
}

impl JournalSocket {
    /// `lost` counts what journald did not take.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub(super) fn new(journald: &Path, lost: Arc<AtomicU64>) -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            journald: journald.to_owned(),
            lost,
        })
    }
}

impl Write for JournalSocket {
    /// One write, one datagram. Never fails: a journald that is away, while it is updated say, comes back at the same place.
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.socket.send_to(datagram, &self.journald).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts events into journald's words, each for one write.
pub(super) struct JournalLayer<W> {
    writer: W,
}

impl<W> JournalLayer<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S: Subscriber, W: for<'a> MakeWriter<'a> + 'static> Layer<S> for JournalLayer<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let metadata = event.metadata();
        let datagram = words.datagram(*metadata.level(), metadata.target());
        // What is lost on the way is counted there.
        let _ = self.writer.make_writer().write_all(&datagram);
    }
}

/// What an event says.
#[derive(Default)]
struct Words {
    message: String,
    /// The values once more, for people.
    told: String,
    fields: Vec<u8>,
}

impl Words {
    fn add(&mut self, name: &str, value: &str) {
        if name == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        let _ = write!(self.told, " {name}={value}");
        put(&mut self.fields, &journal_name(name), value);
    }

    fn datagram(mut self, level: Level, target: &str) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(self.fields.len() + self.told.len() + self.message.len() + 128);
        self.message.push_str(&self.told);
        put(&mut datagram, "MESSAGE", &self.message);
        put(&mut datagram, "PRIORITY", priority(level));
        put(&mut datagram, "SYSLOG_IDENTIFIER", "takt");
        put(&mut datagram, "TARGET", target);
        datagram.extend(self.fields);
        datagram
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

/// The severity that syslog gives it: 3 is an error, 4 a warning, 6 information, 7 for those who look for faults.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A name that journald takes: capitals, digits and `_`, beginning with a capital, and none that journald or [`Words::datagram`] gives a
/// meaning.
fn journal_name(name: &str) -> String {
    let name: String = name
        .trim_start_matches("r#")
        .chars()
        .map(|sign| {
            if sign.is_ascii_alphanumeric() {
                sign.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .take(NAME_MAX - 2)
        .collect();
    let reserved = ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "TARGET"].contains(&name.as_str());
    if reserved || !name.starts_with(|sign: char| sign.is_ascii_uppercase()) {
        format!("F_{name}")
    } else {
        name
    }
}

/// A field: `NAME=value` where it fits a line, else its name, its length and the value as it is.
fn put(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(VALUE_MAX)];
    datagram.extend(name.bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend((value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend(value.bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What arrives at a journald that is played, of what `log` says.
    fn arrived(log: impl FnOnce()) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        journald.set_nonblocking(true).unwrap();
        let socket = JournalSocket::new(&path, Arc::default()).unwrap();
        let subscriber = tracing_subscriber::registry().with(JournalLayer::new(Mutex::new(socket)));
        tracing::subscriber::with_default(subscriber, log);
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        while let Ok(length) = journald.recv(&mut buffer) {
            datagrams.push(buffer[..length].to_vec());
        }
        datagrams
    }

    fn lines(datagram: &[u8]) -> Vec<&str> {
        std::str::from_utf8(datagram).unwrap().lines().collect()
    }

    #[test]
    fn every_value_is_a_field_and_the_message_says_them_all() {
        let said = arrived(|| {
            tracing::info!(target: "takt::part", cycle_id = Some(41), verdict = "not_ok", reason = None::<&str>, score = 1.5, "part");
            tracing::error!(code = 51, "the journal is full");
        });
        assert_eq!(
            lines(&said[0]),
            [
                "MESSAGE=part cycle_id=41 verdict=not_ok score=1.5",
                "PRIORITY=6",
                "SYSLOG_IDENTIFIER=takt",
                "TARGET=takt::part",
                "CYCLE_ID=41",
                "VERDICT=not_ok",
                "SCORE=1.5"
            ]
        );
        assert_eq!(lines(&said[1])[..2], ["MESSAGE=the journal is full code=51", "PRIORITY=3"]);
        assert!(lines(&said[1]).contains(&"CODE=51"));
    }

    #[test]
    fn no_value_makes_a_field_of_its_own() {
        let said = arrived(|| tracing::warn!(serial = "A\nPRIORITY=0", r#type = 1, priority = 9, "two\nlines"));
        let text = &said[0];
        let multi = |name: &str, value: &str| {
            let mut field = format!("{name}\n").into_bytes();
            field.extend((value.len() as u64).to_le_bytes());
            field.extend(value.bytes());
            field.push(b'\n');
            field
        };
        let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
        assert!(holds(&multi("SERIAL", "A\nPRIORITY=0")), "{}", String::from_utf8_lossy(text));
        assert!(holds(&multi("MESSAGE", "two\nlines serial=A\nPRIORITY=0 r#type=1 priority=9")) || holds(b"MESSAGE\n"));
        assert!(
            holds(b"\nTYPE=1\n") && holds(b"\nF_PRIORITY=9\n"),
            "{}",
            String::from_utf8_lossy(text)
        );
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = "ä".repeat(VALUE_MAX);
        let said = arrived(|| tracing::info!(text = long.as_str(), "long"));
        let text = lines(&said[0]).into_iter().find_map(|line| line.strip_prefix("TEXT=")).unwrap();
        assert_eq!(text.len(), VALUE_MAX);
    }

    #[test]
    fn what_journald_does_not_take_is_counted() {
        let lost = Arc::<AtomicU64>::default();
        let nowhere = tempfile::tempdir().unwrap().path().join("gone");
        let mut socket = JournalSocket::new(&nowhere, Arc::clone(&lost)).unwrap();
        assert_eq!(socket.write(b"MESSAGE=x\n").unwrap(), 10);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
    }
}
