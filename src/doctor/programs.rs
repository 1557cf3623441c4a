//! Other programs, and takt itself as a child: each is ended when its time is up, and none ends takt.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Check, Finding, Status};
use crate::flow::{WhenFull, bounded};

/// Most that is read of what a program says.
const SAID_BYTES_MAX: u64 = 1 << 20;

/// This very program, even if its file was replaced since it was started.
const MYSELF: &str = "/proc/self/exe";

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// On its standard output.
    pub stdout: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Why a program said nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("it does not start: {0}")]
    NotStarted(#[source] std::io::Error),
    /// It took too long, and was ended.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// Runs a program to its end, at most for `limit`.
///
/// # Errors
/// When it does not start, or takes longer.
pub fn run(command: &mut Command, limit: Duration) -> Result<Ran, ProgramError> {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env("LC_ALL", "C");
    let mut child = command.spawn().map_err(ProgramError::NotStarted)?;
    let (said, heard) = bounded("doctor/program", 1, WhenFull::DropNewest);
    let stdout = child.stdout.take();
    let listens = thread::Builder::new().name("doctor-program".into()).spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read was not said.
        let _ = stdout.map(|stdout| stdout.take(SAID_BYTES_MAX).read_to_end(&mut bytes));
        let _ = said.send(bytes);
    });
    let heard = match listens {
        Ok(_) => heard.receive_timeout(limit).map_err(|_| ProgramError::Late(limit)),
        Err(error) => Err(ProgramError::NotStarted(error)),
    };
    if heard.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(ProgramError::NotStarted)?;
    let stdout = heard?;
    Ok(Ran {
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        code: status.code(),
        signal: status.signal(),
    })
}

/// Asks for findings of a check in a child of this program, because it runs code of others that may crash or hang. Where no child can be made
/// (under an emulator without binfmt), `otherwise` makes them here.
pub fn findings_of_child(check: Check, config: Option<&Path>, limit: Duration, otherwise: impl FnOnce() -> Vec<Finding>) -> Vec<Finding> {
    let mut command = Command::new(MYSELF);
    command.args(["doctor", "--probe", check.name()]);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    match run(&mut command, limit) {
        Ok(ran) => findings_in(check, &ran),
        Err(ProgramError::NotStarted(_)) => otherwise(),
        Err(late @ ProgramError::Late(_)) => vec![overdue(check, &late.to_string())],
    }
}

/// The findings that a child wrote, one a line; and if a signal ended it, that.
fn findings_in(check: Check, ran: &Ran) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if let Some(signal) = ran.signal {
        let name = match signal {
            4 => " (illegal instruction: it was built for another processor)",
            6 => " (it gave up)",
            9 => " (it was killed, as for want of memory)",
            11 => " (segmentation fault)",
            _ => "",
        };
        let fact = format!("what is loaded for it crashed by signal {signal}{name}");
        findings.push(
            Finding::new(check, Status::Failed, fact)
                .remedy("install the library or plugin again, of the version that the drivers here need"),
        );
    } else if findings.is_empty() {
        let code = ran.code.unwrap_or_default();
        findings.push(
            Finding::new(check, Status::Failed, format!("it found nothing and ended with {code}")).remedy("report it, with takt --version"),
        );
    }
    findings
}

/// A check that took too long.
pub fn overdue(check: Check, what: &str) -> Finding {
    Finding::new(check, Status::Failed, what).remedy("something it reads hangs: a network file system, a disk, a driver; see dmesg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_heard_and_one_that_hangs_is_ended() {
        let ran = run(Command::new("sh").args(["-c", "echo said; exit 3"]), Duration::from_mins(1)).unwrap();
        assert_eq!((ran.stdout.as_str(), ran.code), ("said\n", Some(3)));
        let late = run(Command::new("sleep").arg("1000"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(late, ProgramError::Late(_)));
        let none = run(&mut Command::new("/nowhere/at/all"), Duration::from_mins(1)).unwrap_err();
        assert!(matches!(none, ProgramError::NotStarted(_)));
    }

    #[test]
    fn a_crash_is_a_finding() {
        let finding = Finding::new(Check::Library, Status::Ok, "fine");
        let line = serde_json::to_string(&finding).unwrap();
        let said = |stdout: String, code, signal| findings_in(Check::Library, &Ran { stdout, code, signal });
        assert_eq!(said(format!("noise\n{line}\n"), Some(0), None), [finding]);
        assert!(
            said(String::new(), None, Some(11))[0]
                .fact
                .contains("signal 11 (segmentation fault)")
        );
        assert!(said(String::new(), Some(101), None)[0].fact.contains("ended with 101"));
    }
}
