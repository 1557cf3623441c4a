//! The running station and whom it talks to: PLC, historian; and the certificates that they know each other by.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::machine::span;
use crate::doctor::texts::{Socket, metric, metric_sum};
use crate::doctor::{Check, Finding, MAY_NOT_LOOK, Status};
use crate::line::error_code::{ErrorCode, Level};

/// Why a port cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindFault {
    /// No network card of this machine has the address.
    NoAddress,
    /// Ports below 1024 are not for this user.
    Forbidden,
    /// Something else has it.
    Taken,
    /// In the system's words.
    Other(String),
}

/// A port that the station serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFacts {
    /// What is spoken there.
    pub protocol: &'static str,
    /// Where.
    pub listen: SocketAddr,
    /// Who may write; empty where nobody is listed.
    pub writers: Vec<IpAddr>,
    /// Connections and listeners of this machine.
    pub sockets: Vec<Socket>,
    /// The process of the station, if it runs.
    pub process: Option<u32>,
    /// Whether it could be bound, where nobody listens.
    pub bound: Result<(), BindFault>,
}

/// Whether a socket's side here is an address, or covers it.
fn is_at(socket: &Socket, listen: SocketAddr) -> bool {
    let (ours, theirs) = (listen.ip().to_canonical(), socket.local.ip().to_canonical());
    socket.local.port() == listen.port() && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
}

/// Whether somebody listens at an address.
pub fn is_served(sockets: &[Socket], listen: SocketAddr) -> bool {
    sockets.iter().any(|socket| socket.listens && is_at(socket, listen))
}

/// Whether the PLC can be served, and who is connected.
pub fn plc(facts: &PortFacts) -> Finding {
    let (protocol, listen) = (facts.protocol, facts.listen);
    let is_served = is_served(&facts.sockets, listen);
    let connected = facts.sockets.iter().filter(|socket| socket.is_connected && is_at(socket, listen));
    let mut connected: Vec<IpAddr> = connected.map(|socket| socket.remote.ip().to_canonical()).collect();
    connected.sort();
    connected.dedup();
    let may_write = |address: &IpAddr| facts.writers.is_empty() || facts.writers.contains(address);
    let told: Vec<String> = connected
        .iter()
        .map(|address| {
            if may_write(address) {
                address.to_string()
            } else {
                format!("{address} (reads only)")
            }
        })
        .collect();
    let finding = match (is_served, facts.process) {
        (true, Some(_)) if connected.iter().any(may_write) => {
            Finding::new(Check::Plc, Status::Ok, format!("served; connected: {}", told.join(", ")))
        }
        (true, Some(_)) => {
            let others = if told.is_empty() {
                String::new()
            } else {
                format!("; connected: {}", told.join(", "))
            };
            let remedy = match facts.writers.as_slice() {
                [] => "check that the line controller runs, its address, and the network between".into(),
                writers => {
                    let writers: Vec<String> = writers.iter().map(ToString::to_string).collect();
                    format!("check the PLC's program and network; writers of [plc] are {}", writers.join(", "))
                }
            };
            Finding::new(
                Check::Plc,
                Status::Warning,
                format!("served, but nobody who gives cycles is connected{others}"),
            )
            .remedy(remedy)
        }
        (true, None) => Finding::new(Check::Plc, Status::Failed, "another program listens there, and the station cannot").remedy(format!(
            "find it with: ss -ltnp 'sport = :{}', and end it, or use another port",
            listen.port()
        )),
        (false, Some(_)) => Finding::new(Check::Plc, Status::Warning, "the station runs and does not listen there")
            .remedy("wait for its start; if it stays, restart the station: its configuration may have been changed since"),
        (false, None) => not_served(&facts.bound, listen),
    };
    let connected: Vec<String> = connected.iter().map(ToString::to_string).collect();
    finding
        .of(format!("{protocol} {listen}"))
        .value("listen", listen.to_string())
        .value("served", is_served)
        .value("connected", connected)
}

fn not_served(bound: &Result<(), BindFault>, listen: SocketAddr) -> Finding {
    let failed = |fact: String, remedy: &str| Finding::new(Check::Plc, Status::Failed, fact).remedy(remedy);
    match bound {
        Ok(()) => Finding::new(Check::Plc, Status::Ok, "free: a station can serve it"),
        Err(BindFault::NoAddress) => failed(
            format!("no network card here has the address {}", listen.ip()),
            "connect the cable, give the card that address, or correct listen",
        ),
        Err(BindFault::Taken) => failed(
            "something else has it".into(),
            "find it with: ss -tanp, and end it, or use another port",
        ),
        Err(BindFault::Forbidden) => Finding::new(
            Check::Plc,
            Status::Unknown,
            "free, but this user may not listen below port 1024; the service takt-station may (CAP_NET_BIND_SERVICE)",
        ),
        Err(BindFault::Other(error)) => failed(format!("it cannot be listened on: {error}"), "check the network of this machine"),
    }
}

/// The running station.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunningFacts {
    /// Its process; `None`: it does not run.
    pub process: Option<u32>,
    /// What it says, asked at its metrics or as a line controller; `None`: neither can be asked.
    pub said: Option<Result<Said, String>>,
    /// Seconds since the last part that was recorded.
    pub last_part_s: Option<u64>,
}

/// What a station says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Whether it inspects.
    pub is_ready: bool,
    /// The lowest active ErrorCode, 0 for none.
    pub error_code: u16,
    /// Parts with an outcome since its start.
    pub parts: u64,
    /// How long a part waits for an engine, on average; milliseconds.
    pub queue_ms: Option<f64>,
    /// Records that nobody could take.
    pub records_dropped: u64,
}

impl Said {
    /// Out of the text of its metrics.
    pub fn of_metrics(text: &str) -> Self {
        let number = |name: &str| metric(text, name, None);
        let stage = |what: &str| metric(text, &format!("takt_stage_seconds_{what}"), Some(("stage", "queue")));
        let queue_ms = stage("sum").zip(stage("count")).filter(|(_, count)| *count > 0.0);
        Self {
            is_ready: number("takt_ready") == Some(1.0),
            error_code: number("takt_error_code").unwrap_or_default() as u16,
            parts: metric_sum(text, "takt_parts_total").unwrap_or_default() as u64,
            queue_ms: queue_ms.map(|(sum, count)| 1e3 * sum / count),
            records_dropped: number("takt_records_dropped_total").unwrap_or_default() as u64,
        }
    }
}

/// Whether it inspects.
pub fn station(facts: &RunningFacts) -> Finding {
    let Some(process) = facts.process else {
        return Finding::new(Check::Station, Status::Warning, "it does not run")
            .remedy("systemctl start takt-station; if it does not stay, journalctl -u takt-station says why")
            .value("running", false);
    };
    let finding = match &facts.said {
        None => Finding::new(
            Check::Station,
            Status::Unknown,
            "it runs; how it stands is not known without [metrics] listen",
        ),
        Some(Err(error)) => Finding::new(Check::Station, Status::Failed, format!("it runs and does not answer: {error}"))
            .remedy("see journalctl -u takt-station; restart it if it hangs"),
        Some(Ok(said)) => stands(said, facts.last_part_s),
    };
    // 0: its process is not visible from here, as in another container.
    let finding = if process > 0 { finding.value("process", process) } else { finding };
    finding.value("running", true)
}

fn stands(said: &Said, last_part_s: Option<u64>) -> Finding {
    let mut told = vec![if said.is_ready {
        "ready".to_owned()
    } else {
        "not ready".to_owned()
    }];
    let error = ErrorCode::ALL.iter().find(|error| error.code() == said.error_code);
    if let Some(error) = error {
        let text = error.text().trim_end_matches('.');
        told.push(format!("ErrorCode {} {}: {text}", error.code(), error.name()));
    } else if said.error_code != 0 {
        told.push(format!("ErrorCode {}", said.error_code));
    }
    told.push(format!("{} parts since its start", said.parts));
    if let Some(seconds) = last_part_s {
        told.push(format!("last recorded {} ago", span(seconds)));
    }
    if let Some(queue_ms) = said.queue_ms {
        told.push(format!("{queue_ms:.1} ms in the queue"));
    }
    if said.records_dropped > 0 {
        told.push(format!("{} records found their reader too slow", said.records_dropped));
    }
    let (status, remedy) = match error {
        Some(error) if error.level() == Level::Error => (Status::Failed, error.remedy()),
        Some(error) => (Status::Warning, error.remedy()),
        None if !said.is_ready => (Status::Warning, "it waits for the PLC: Online and TriggerEnable have to be 1"),
        None if said.records_dropped > 0 => (
            Status::Warning,
            "check the disk of the journal: parts come faster than it takes their records",
        ),
        None => (Status::Ok, ""),
    };
    Finding::new(Check::Station, status, told.join("; "))
        .remedy(remedy)
        .value("ready", said.is_ready)
        .value("error_code", said.error_code)
        .value("error", error.map(|error| error.name()))
        .value("parts", said.parts)
        .value("last_part_s", last_part_s)
        .value("queue_ms", said.queue_ms)
        .value("records_dropped", said.records_dropped)
}

/// The historian, as it answers this station.
#[derive(Debug, Clone, PartialEq)]
pub struct HistorianFacts {
    /// Where it is; `None`: there is none.
    pub url: Option<String>,
    /// After how many milliseconds it said that it serves; or why not.
    pub answer: Result<f64, String>,
    /// Records that wait for it.
    pub backlog: Option<u64>,
}

/// Whether it can be reached.
pub fn historian(facts: &HistorianFacts) -> Finding {
    let Some(url) = &facts.url else {
        return Finding::new(
            Check::Historian,
            Status::Unknown,
            "none is configured: records stay in the journal until its quota is used up",
        );
    };
    let wait = facts
        .backlog
        .map_or_else(String::new, |count| format!("; {count} records wait for it"));
    let finding = match &facts.answer {
        Ok(after_ms) => {
            Finding::new(Check::Historian, Status::Ok, format!("it answers after {after_ms:.0} ms{wait}")).value("answer_ms", *after_ms)
        }
        Err(error) if error.contains(MAY_NOT_LOOK) => Finding::not_looked_at(Check::Historian, error),
        Err(error) => match error.split_once("; ") {
            Some((fact, remedy)) => Finding::new(Check::Historian, Status::Failed, format!("not reached: {fact}{wait}")).remedy(remedy),
            None => Finding::new(Check::Historian, Status::Failed, format!("not reached: {error}{wait}")).remedy("see the historian's log"),
        },
    };
    finding.of(url.as_str()).value("backlog_records", facts.backlog)
}

/// A file of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// Where.
    pub file: PathBuf,
    /// What it is for, as the configuration calls it.
    pub role: &'static str,
    /// Whose they are, first and last second in which they are valid; or why that is not known.
    pub found: Result<Vec<(String, i64, i64)>, String>,
    /// What is wrong with the pair of certificate and key, or what should be known of it.
    pub pair: Option<Result<String, String>>,
}

/// Certificates that expire sooner are to be replaced.
const EXPIRES_SOON_DAYS: i64 = 30;

const DAY_S: i64 = 24 * 3600;

/// Whether they are valid now, and how long. `date` makes a second readable.
pub fn certificate(facts: &CertificateFile, now_unix_s: i64, date: impl Fn(i64) -> String) -> Finding {
    let finding = match &facts.found {
        Err(error) => Finding::not_looked_at(Check::Certificate, error),
        Ok(found) => in_force(found, now_unix_s, date),
    };
    let finding = match &facts.pair {
        Some(Err(error)) if finding.status == Status::Ok => Finding::not_looked_at(Check::Certificate, error),
        Some(Ok(warning)) if finding.status == Status::Ok => {
            let (fact, remedy) = warning.split_once("; ").unwrap_or((warning, ""));
            let fact = format!("{}; {fact}", finding.fact);
            Finding {
                status: Status::Warning,
                ..finding
            }
            .told(fact)
            .remedy(remedy)
        }
        _ => finding,
    };
    finding.of(facts.file.display().to_string()).value("role", facts.role)
}

impl Finding {
    fn told(self, fact: String) -> Self {
        Self { fact, ..self }
    }
}

fn in_force(found: &[(String, i64, i64)], now_unix_s: i64, date: impl Fn(i64) -> String) -> Finding {
    // The one that ends first ends them all; one that does not hold yet is as bad.
    let early = found.iter().find(|(_, from, _)| now_unix_s < *from);
    if let Some((name, from, _)) = early {
        return Finding::new(
            Check::Certificate,
            Status::Failed,
            format!("that of {name} is not valid before {}", date(*from)),
        )
        .remedy("check this machine's clock")
        .value("valid_from_unix_s", *from);
    }
    let Some((name, _, until)) = found.iter().min_by_key(|(_, _, until)| *until) else {
        return Finding::new(Check::Certificate, Status::Failed, "there is no certificate in it")
            .remedy("make it anew with takt pki issue");
    };
    let days = (until - now_unix_s).div_euclid(DAY_S);
    let end = date(*until);
    let renew = "make a new one with takt pki issue and replace the file";
    let finding = if now_unix_s > *until {
        Finding::new(Check::Certificate, Status::Failed, format!("that of {name} expired on {end}")).remedy(renew)
    } else if days < EXPIRES_SOON_DAYS {
        Finding::new(
            Check::Certificate,
            Status::Warning,
            format!("that of {name} expires in {days} days, on {end}"),
        )
        .remedy(renew)
    } else {
        Finding::new(
            Check::Certificate,
            Status::Ok,
            format!("that of {name} is valid for {days} more days"),
        )
    };
    finding.value("valid_until_unix_s", *until).value("days_left", days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::is;

    fn port(sockets: &[(&str, &str, bool)], process: Option<u32>, bound: Result<(), BindFault>) -> PortFacts {
        let socket = |(local, remote, listens): &(&str, &str, bool)| Socket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            listens: *listens,
            is_connected: !*listens,
        };
        PortFacts {
            protocol: "Modbus",
            listen: "192.168.10.5:502".parse().unwrap(),
            writers: vec!["192.168.10.20".parse().unwrap()],
            sockets: sockets.iter().map(socket).collect(),
            process,
            bound,
        }
    }

    #[test]
    fn a_port_is_served_by_the_station_free_or_taken() {
        let listens = ("192.168.10.5:502", "0.0.0.0:0", true);
        let writer = ("192.168.10.5:502", "192.168.10.20:50000", false);
        let reader = ("192.168.10.5:502", "192.168.10.99:50000", false);
        is(
            &plc(&port(&[listens, writer, reader], Some(9), Ok(()))),
            Status::Ok,
            &["connected: 192.168.10.20, 192.168.10.99 (reads only)"],
        );
        is(
            &plc(&port(&[listens, reader], Some(9), Ok(()))),
            Status::Warning,
            &["nobody who gives cycles", "writers of [plc] are 192.168.10.20"],
        );
        is(
            &plc(&port(&[listens], None, Ok(()))),
            Status::Failed,
            &["another program", "sport = :502"],
        );
        is(&plc(&port(&[], Some(9), Ok(()))), Status::Warning, &["does not listen"]);
        // Everywhere is here too; another port or address is not.
        is(
            &plc(&port(&[("[::]:502", "[::]:0", true), writer], Some(9), Ok(()))),
            Status::Ok,
            &["connected"],
        );
        is(
            &plc(&port(&[("192.168.10.5:503", "0.0.0.0:0", true)], None, Ok(()))),
            Status::Ok,
            &["free"],
        );
        is(
            &plc(&port(&[("127.0.0.1:502", "0.0.0.0:0", true)], None, Ok(()))),
            Status::Ok,
            &["free"],
        );
        is(
            &plc(&port(&[], None, Err(BindFault::NoAddress))),
            Status::Failed,
            &["has the address 192.168.10.5", "cable"],
        );
        is(
            &plc(&port(&[], None, Err(BindFault::Forbidden))),
            Status::Unknown,
            &["CAP_NET_BIND_SERVICE"],
        );
        is(&plc(&port(&[], None, Err(BindFault::Taken))), Status::Failed, &["something else"]);
        is(
            &plc(&port(&[], None, Err(BindFault::Other("no memory".into())))),
            Status::Failed,
            &["no memory"],
        );
    }

    #[test]
    fn a_station_is_as_ready_as_it_says() {
        let of = |said: Option<Result<Said, String>>| {
            station(&RunningFacts {
                process: Some(12),
                said,
                last_part_s: Some(3),
            })
        };
        let ready = Said {
            is_ready: true,
            parts: 42,
            queue_ms: Some(0.25),
            ..Said::default()
        };
        is(
            &station(&RunningFacts::default()),
            Status::Warning,
            &["does not run", "systemctl start takt-station"],
        );
        is(&of(None), Status::Unknown, &["[metrics] listen"]);
        is(&of(Some(Err("timed out".into()))), Status::Failed, &["does not answer: timed out"]);
        is(
            &of(Some(Ok(ready.clone()))),
            Status::Ok,
            &["ready; 42 parts since its start; last recorded 3 s ago; 0.2 ms in the queue"],
        );
        let lost = Said {
            is_ready: false,
            error_code: 30,
            ..ready.clone()
        };
        is(
            &of(Some(Ok(lost))),
            Status::Failed,
            &["ErrorCode 30 plc_lost", "heartbeat_timeout_ms"],
        );
        let full = Said {
            error_code: 80,
            ..ready.clone()
        };
        is(&of(Some(Ok(full))), Status::Warning, &["journal_nearly_full"]);
        let waits = Said {
            is_ready: false,
            ..ready.clone()
        };
        is(&of(Some(Ok(waits))), Status::Warning, &["waits for the PLC"]);
        let slow = Said {
            records_dropped: 4,
            ..ready
        };
        is(&of(Some(Ok(slow))), Status::Warning, &["4 records"]);
    }

    #[test]
    fn a_station_says_how_it_stands_in_its_metrics() {
        let text = "takt_parts_total{verdict=\"ok\",reason=\"\"} 40\ntakt_parts_total{verdict=\"not_ok\",reason=\"anomaly\"} 2\n\
            takt_stage_seconds_sum{stage=\"queue\"} 0.021\ntakt_stage_seconds_count{stage=\"queue\"} 42\ntakt_records_dropped_total 1\n\
            takt_error_code 30\ntakt_ready 0\n";
        let said = Said::of_metrics(text);
        assert_eq!(
            (said.is_ready, said.error_code, said.parts, said.records_dropped),
            (false, 30, 42, 1)
        );
        assert!((said.queue_ms.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(Said::of_metrics(""), Said::default());
    }

    #[test]
    fn a_historian_answers_or_it_is_said_why_not() {
        let of = |answer: Result<f64, &str>| HistorianFacts {
            url: Some("https://h:7443".into()),
            answer: answer.map_err(str::to_owned),
            backlog: Some(5),
        };
        is(&historian(&of(Ok(3.2))), Status::Ok, &["answers after 3 ms; 5 records wait"]);
        is(
            &historian(&of(Err("UnknownIssuer; give its ca.pem"))),
            Status::Failed,
            &["not reached: UnknownIssuer; 5 records", "give its ca.pem"],
        );
        is(
            &historian(&of(Err("failed to read a.key: Permission denied; x"))),
            Status::Unknown,
            &["sudo"],
        );
        let none = HistorianFacts { url: None, ..of(Ok(0.0)) };
        is(&historian(&none), Status::Unknown, &["none is configured"]);
    }

    #[test]
    fn a_certificate_is_valid_soon_not_or_not_yet() {
        let of = |from, until| CertificateFile {
            file: "/a.pem".into(),
            role: "certificate of [grpc]",
            found: Ok(vec![("press-1".into(), from, until), ("authority".into(), 0, 400 * DAY_S)]),
            pair: None,
        };
        let now = 100 * DAY_S;
        let told = |facts: &CertificateFile| certificate(facts, now, |second| format!("day {}", second / DAY_S));
        is(&told(&of(0, now + 31 * DAY_S)), Status::Ok, &["press-1 is valid for 31 more days"]);
        is(
            &told(&of(0, now + 29 * DAY_S)),
            Status::Warning,
            &["expires in 29 days, on day 129", "takt pki issue"],
        );
        is(&told(&of(0, now - 1)), Status::Failed, &["expired on day 99"]);
        is(
            &told(&of(now + 1, now + 400 * DAY_S)),
            Status::Failed,
            &["not valid before", "clock"],
        );
        let unfit = CertificateFile {
            pair: Some(Err("failed to use the key: it does not fit; give the pair".into())),
            ..of(0, 300 * DAY_S)
        };
        is(&told(&unfit), Status::Failed, &["does not fit", "give the pair"]);
        let open = CertificateFile {
            pair: Some(Ok("the key can be read by others; chmod 600".into())),
            ..of(0, 300 * DAY_S)
        };
        is(&told(&open), Status::Warning, &["200 more days; the key can be read", "chmod 600"]);
        let missing = CertificateFile {
            found: Err("failed to read /a.pem: no such file; check its path".into()),
            ..of(0, 1)
        };
        is(&told(&missing), Status::Failed, &["no such file", "check its path"]);
        let empty = CertificateFile {
            found: Ok(Vec::new()),
            ..missing
        };
        is(&told(&empty), Status::Failed, &["no certificate"]);
    }
}
