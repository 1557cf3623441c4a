//! A PLC that is the Modbus server, polled by the station: one of another make (`foreign/plc_server.py`, with pymodbus) with links that drop and restarts of
//! either side, and one of ours that refuses, lags and lies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cell::{Cell, Running, parts_of};
use crate::station::{agree, foreign_parts};

/// Far more than anything takes; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cell whose station polls the PLC at its address.
fn polled(changes: &[(&str, &str)]) -> Cell {
    let role = [
        ("listen = ", "role = \"client\"\nplc_write_ms_max = 200\nconnect = "),
        ("writers = [\"127.0.0.1\"]", ""),
    ];
    Cell::new(&[&role[..], changes].concat())
}

fn run_foreign(mode: &str, more: &[&str]) {
    let parts = foreign_parts();
    // The PLC says itself whether its results are buffered.
    let result_mode = format!("mode = \"{}\"", if mode == "window" { mode } else { "single" });
    let window = [
        ("mode = \"single\"", result_mode.as_str()),
        ("part_interval_ms_min = 5000", "part_interval_ms_min = 500"),
    ];
    let cell = polled(&window);
    let restart = (parts / 4).to_string();
    let number = parts.to_string();
    let arguments = [
        "--parts",
        &number,
        "--mode",
        mode,
        "--poll-ms",
        "5",
        "--restart-after",
        &restart,
        "--drop-share",
        "0.005",
        // A trigger that is raised while there is no link is answered by nobody: its part is given up soon.
        "--timer-ms",
        "3000",
    ];
    let Some(mut plc) = crate::foreign::start_server(cell.plc, &[&arguments[..], &["--ready-timeout", "60"], more].concat()) else {
        return;
    };
    let running = cell.start();
    let lines = crate::foreign::lines(&mut plc);
    let mut said = crate::foreign::take(&lines, parts * 6 / 10);
    let mut told = running.kill();
    let (running, recovered) = cell.start_again();
    told.extend(recovered);
    said.extend(crate::foreign::take(&lines, usize::MAX));
    assert!(plc.wait().unwrap().success(), "{:#?}", said.last());
    let (code, rest, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    told.extend(rest);
    let summary = said.pop().unwrap();
    assert_eq!(summary["violations"], Value::Array(Vec::new()), "{summary:#}");
    assert_eq!(
        (&summary["plc_restarts"], &summary["station_restarts"]),
        (&1.into(), &1.into()),
        "{summary:#}"
    );
    assert!(summary["dropped"].as_u64() > Some(0), "{summary:#}");
    assert_eq!(said.len(), parts);
    agree(&said, &told);
    let passed = said.iter().filter(|part| part["pass"] == true).count();
    assert!(passed > parts / 2, "{summary:#}");
    // What is known of the deliveries: everything that was shown says so, and nearly everything was confirmed.
    let shown: Vec<&Value> = parts_of(&told).into_iter().filter(|record| record["result_id"] != 0).collect();
    assert!(shown.iter().all(|record| record["delivery"].is_string()), "{shown:#?}");
    let confirmed = shown.iter().filter(|record| record["delivery"] == "confirmed").count();
    assert!(confirmed > shown.len() * 8 / 10, "{confirmed} of {}", shown.len());
    println!("{mode}: {summary}");
}

#[test]
fn a_foreign_plc_that_is_polled_gets_its_results_one_by_one() {
    run_foreign("single", &[]);
}

#[test]
fn a_foreign_plc_that_is_polled_takes_its_results_from_the_buffer() {
    run_foreign("buffered", &["--ack-delay-ms", "40"]);
}

#[test]
fn a_foreign_plc_that_is_polled_finds_its_results_in_the_window() {
    run_foreign("window", &[]);
}

/// A PLC of ours, one request at a time: what arrives, and a way to answer it.
struct Requests {
    accepted: Receiver<TcpStream>,
}

/// A request: transaction to function and data.
struct Request {
    header: [u8; 7],
    pdu: Vec<u8>,
}

impl Request {
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut header = [0; 7];
        stream.read_exact(&mut header).ok()?;
        let mut pdu = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
        stream.read_exact(&mut pdu).ok()?;
        Some(Self { header, pdu })
    }

    fn word(&self, index: usize) -> u16 {
        u16::from_be_bytes([self.pdu[1 + 2 * index], self.pdu[2 + 2 * index]])
    }

    /// The answer that a PLC of zeros gives.
    fn zeros(&self) -> Vec<u8> {
        match self.pdu[0] {
            3 => [&[3, 2 * self.word(1) as u8][..], &vec![0; 2 * usize::from(self.word(1))]].concat(),
            function => [&[function][..], &self.pdu[1..5]].concat(),
        }
    }

    fn framed(&self, pdu: &[u8]) -> Vec<u8> {
        let length = (pdu.len() as u16 + 1).to_be_bytes();
        [&self.header[..4], &length, &self.header[6..], pdu].concat()
    }
}

impl Requests {
    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (sender, accepted) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { accepted }
    }

    /// The next connection.
    #[track_caller]
    fn accept(&self) -> TcpStream {
        let stream = self.accepted.recv_timeout(PATIENCE).expect("the station does not connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

/// Waits for a request that is looked for. Of the whole wait: a station that never asks that may well ask on.
#[track_caller]
fn asks(asked: &Receiver<Vec<u8>>, for_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let end = Instant::now() + PATIENCE;
    loop {
        let pdu = asked.recv_timeout(end.saturating_duration_since(Instant::now()));
        let pdu = pdu.expect("the station never asked that");
        if for_it(&pdu) {
            return pdu;
        }
    }
}

/// Gives the same answer to everything, on this connection and those after it; says what came.
fn answer_all(requests: Requests, answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, asked): (Sender<Vec<u8>>, _) = channel();
    thread::spawn(move || {
        loop {
            let Ok(mut stream) = requests.accepted.recv() else { return };
            while let Some(request) = Request::read(&mut stream) {
                if sender.send(request.pdu.clone()).is_err() {
                    return;
                }
                if stream.write_all(&request.framed(&answer(&request))).is_err() {
                    break;
                }
            }
        }
    });
    asked
}

fn log_of(running: Running) -> String {
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    log
}

#[test]
fn a_map_that_is_too_small_is_said_with_its_setting() {
    let cell = polled(&[("poll_ms = 10", "poll_ms = 10\nread_base = 40\nwrite_base = 2000")]);
    let asked = answer_all(Requests::at(cell.plc), |request| vec![request.pdu[0] | 0x80, 2]);
    let running = cell.start();
    for _ in 0..2 {
        assert_eq!(asks(&asked, |_| true), [3, 0, 40, 0, 34], "asked again");
    }
    let log = log_of(running);
    assert!(
        log.contains("exception 02") && log.contains("holding registers 40 to 73") && log.contains("plc.read_base"),
        "{log}"
    );

    let cell = polled(&[("poll_ms = 10", "poll_ms = 10\nwrite_base = 2000")]);
    let asked = answer_all(Requests::at(cell.plc), |request| match request.pdu[0] {
        3 => request.zeros(),
        function => vec![function | 0x80, 2],
    });
    let running = cell.start();
    for _ in 0..2 {
        asks(&asked, |pdu| pdu[..3] == [16, 0x07, 0xD0]);
    }
    let log = log_of(running);
    assert!(
        log.contains("exception 02") && log.contains("holding registers 2000") && log.contains("plc.write_base"),
        "{log}"
    );
}

#[test]
fn a_late_answer_is_never_taken() {
    let cell = polled(&[("poll_ms = 10", "poll_ms = 10\nresponse_timeout_ms = 400")]);
    let requests = Requests::at(cell.plc);
    let running = cell.start();
    let mut first = requests.accept();
    let late = Request::read(&mut first).unwrap();
    // Until the station has given the first connection up: only then it makes another.
    let second = requests.accept();
    let mut well = late.zeros();
    // As if the PLC were of session 9.
    well[2 + 2 * 24 + 1] = 9;
    let _ = first.write_all(&late.framed(&well));
    drop(second);
    let asked = answer_all(requests, Request::zeros);
    for _ in 0..3 {
        let pdu = asks(&asked, |pdu| pdu[0] == 16 && pdu[4] == 44);
        assert_eq!(
            pdu[6 + 2 * 31..][..2],
            [0, 0],
            "EchoPlcSession would be 9, had the late answer been taken"
        );
    }
    let log = log_of(running);
    assert!(log.contains("did not answer within 400ms"), "{log}");
}

/// What the station's metrics say of one of them.
fn metric(at: SocketAddr, name: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: station\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.trim().parse().unwrap())
}

#[test]
fn what_polling_costs_and_brings_is_measured() {
    let cell = polled(&[("poll_ms = 10", "poll_ms = 10\nresponse_timeout_ms = 400")]);
    let metrics = SocketAddr::new(cell.plc.ip(), cell.plc.port() + 1);
    let text = std::fs::read_to_string(cell.config()).unwrap();
    std::fs::write(cell.config(), format!("{text}\n[metrics]\nlisten = \"{metrics}\"\n")).unwrap();
    let requests = Requests::at(cell.plc);
    let _running = cell.start();
    // Answers nothing: a time-out, and another connection.
    let silent = requests.accept();
    let asked = answer_all(requests, Request::zeros);
    for _ in 0..3 {
        asks(&asked, |pdu| pdu[0] == 3);
    }
    drop(silent);
    let value = |name: &str| metric(metrics, name).unwrap_or_else(|| panic!("{name} is not told"));
    assert!(value("takt_plc_polls_total") >= 2.0);
    assert!(value("takt_plc_exchanges_total") >= value("takt_plc_polls_total"));
    assert!(value("takt_plc_exchange_seconds_total") > 0.0);
    assert!(value("takt_plc_timeouts_total") >= 1.0);
    assert!(value("takt_plc_connections_total") >= 1.0);
    assert!(value("takt_plc_write_max_seconds") > 0.0);
}
