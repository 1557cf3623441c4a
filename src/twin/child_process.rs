//! The station, and the historian, as children: this very program as `takt run` or `takt historian`. What they say on standard output is read
//! line by line; they are always ended.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::flow::Sender;
use crate::part::PartRecord;

/// Lines of its log that are kept for when it fails.
const LOG_LINES: usize = 20;

/// Longest line that is read; a longer one is cut, and is no record then.
const LINE_BYTES: u64 = 1 << 20;

/// What the station says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StationLine {
    /// A record.
    Part(Box<PartRecord>),
    /// It became ready, or not.
    State {
        /// Whether it takes triggers.
        ready: bool,
        /// What is wrong, 0 for nothing.
        error_code: u16,
    },
    /// Something else that programs may want to know.
    Other,
    /// A line of its log.
    Log(String),
    /// A line on standard output that is none of these.
    Garbage(String),
}

/// A child that runs.
pub(super) struct ChildProcess {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl ChildProcess {
    /// Starts `takt` with these arguments. What it says goes to `said`.
    pub(super) fn start<T: Send + 'static>(arguments: &[OsString], said: &Sender<T>, word: fn(StationLine) -> T) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .args(["--format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the twin, which stops the line before the station.
            .process_group(0)
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let log: Arc<Mutex<VecDeque<String>>> = Arc::default();
        // From here on it is ended whatever happens.
        let mut process = Self {
            child,
            readers: Vec::new(),
            log: Arc::clone(&log),
        };
        if let Some(stdout) = stdout {
            let said = said.clone();
            process.read("twin-records", stdout, move |line| said.send(word(parse(line))).is_ok())?;
        }
        if let Some(stderr) = stderr {
            let said = said.clone();
            process.read("twin-log", stderr, move |line| {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                if log.len() == LOG_LINES {
                    log.pop_front();
                }
                log.push_back(line.clone());
                drop(log);
                said.send(word(StationLine::Log(line))).is_ok()
            })?;
        }
        Ok(process)
    }

    fn read(
        &mut self,
        name: &str,
        from: impl Read + Send + 'static,
        mut take: impl FnMut(String) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let reader = move || {
            let mut from = BufReader::new(from);
            while let Some(line) = next_line(&mut from) {
                if !take(line) {
                    return;
                }
            }
        };
        self.readers.push(thread::Builder::new().name(name.into()).spawn(reader)?);
        Ok(())
    }

    /// Number of its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The last lines of its log.
    pub(super) fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().cloned().collect::<Vec<String>>().join("\n")
    }

    /// Stands still until [`Self::resume`].
    pub(super) fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Goes on.
    pub(super) fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to stop in order.
    pub(super) fn ask_to_stop(&mut self) {
        self.signal(Signal::TERM);
    }

    fn signal(&mut self, signal: Signal) {
        // Once it has ended its number may be another's.
        if self.exited().is_none()
            && let Some(pid) = Pid::from_raw(self.child.id() as i32)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether everything it said has been passed on.
    pub(super) fn is_silent(&self) -> bool {
        self.readers.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The next line, cut if it is too long; `None` at the end.
fn next_line(from: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let read = from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A line as the station says it: `"event"` tells which.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Said {
    Part(Box<PartRecord>),
    State {
        ready: bool,
        #[serde(default)]
        error_code: u16,
    },
    #[serde(other)]
    Other,
}

fn parse(line: String) -> StationLine {
    match serde_json::from_str(&line) {
        Ok(Said::Part(record)) => StationLine::Part(record),
        Ok(Said::State { ready, error_code }) => StationLine::State { ready, error_code },
        Ok(Said::Other) => StationLine::Other,
        Err(_) => StationLine::Garbage(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let state = r#"{"event":"state","ready":false,"error_code":20,"more":1}"#;
        assert_eq!(
            parse(state.into()),
            StationLine::State {
                ready: false,
                error_code: 20
            }
        );
        assert_eq!(parse(r#"{"event":"listening","plc":"127.0.0.1:1502"}"#.into()), StationLine::Other);
        // As much of a record as a kill in the middle of a line leaves.
        let cut = r#"{"event":"part","station":"cell"#;
        assert_eq!(parse(cut.into()), StationLine::Garbage(cut.into()));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut endless = io::repeat(b'x').take(LINE_BYTES + 5).chain(&b"\nnext\n"[..]);
        let mut from = BufReader::new(&mut endless);
        assert_eq!(next_line(&mut from).map(|line| line.len() as u64), Some(LINE_BYTES));
        assert_eq!(next_line(&mut from).as_deref(), Some("xxxxx"));
        assert_eq!(next_line(&mut from).as_deref(), Some("next"));
        assert_eq!(next_line(&mut from), None);
    }
}
