//! The record, from a station that is killed to a historian behind a network that is cut, and the questions to it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::cell::Cell;
use crate::foreign;
use crate::program::{run, takt};
use crate::skip::skip;
use crate::station::Plc;
use crate::twin::{assert_kept, cell, line_with};

/// A port nobody listens on now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Adds tables to the station's configuration.
fn configure(cell: &Cell, tables: &str) {
    let text = std::fs::read_to_string(cell.config()).unwrap();
    std::fs::write(cell.config(), format!("{text}\n{tables}\n")).unwrap();
}

fn records_of(source: &[&str], filters: &[&str]) -> Vec<Value> {
    let arguments = ["records", "--all", "--format", "json"];
    run(takt("query").args(arguments).args(source).args(filters)).done().json()
}

#[test]
fn whatever_is_killed_or_cut_every_record_arrives_once_and_can_be_found() {
    let cell = cell("source = \"plc\"\nframe_window_ms = 400\npart_interval_ms_min = 60");
    let port = free_port();
    configure(
        &cell,
        &format!("[historian]\nurl = \"http://127.0.0.1:{port}\"\n[[tag]]\nname = \"tool\"\nvalue = \"A7\""),
    );
    let historian = format!("\n[historian]\nnetwork = \"127.0.0.1:{port}\"\ndirectory = \"historian\"\nnetwork_cut_ms = 200");
    let faults = format!("kills = 5\nhistorian_kills = 5\nnetwork_cuts = 4{historian}");
    let report = line_with(cell.path(), "count = 120\nrate_hz = \"max\"", &faults);
    assert_kept(&report);
    assert_eq!(report["line_5"]["pass"], true, "{report:#}");
    let interruptions = ["station_kills", "historian_kills", "network_cuts"].map(|count| report[count].as_u64().unwrap());
    assert_eq!(interruptions, [5, 5, 4]);

    // The same answers from both.
    let (journal, store) = (cell.path().join("state/journal"), cell.path().join("historian/historian.sqlite"));
    let of = |path: &Path| records_of(&["--journal", path.to_str().unwrap()], &["--verdict", "not_ok", "--tag", "tool=A7"]);
    let (here, there) = (of(&journal), of(&store));
    assert_eq!(here, there);
    assert!(
        !here.is_empty() && here.iter().all(|record| record["verdict"] == "not_ok"),
        "{here:#?}"
    );
    let verified = run(takt("journal").arg("verify").arg(&journal).args(["--format", "json"]))
        .done()
        .json();
    assert_eq!(verified[0]["whole"], true, "{verified:#?}");
    assert!(verified[0]["images"].as_u64() > Some(0), "{verified:#?}");
}

#[test]
fn records_cross_a_network_with_certificates_only_under_the_name_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pki = |arguments: &[&str]| drop(run(takt("pki").args(arguments)).done());
    pki(&["init", "--out", &path("ca")]);
    for (name, role) in [
        ("historian", "historian"),
        ("test-cell", "station"),
        ("other", "station"),
        ("quality", "read"),
    ] {
        pki(&[
            "issue",
            "--ca",
            &path("ca"),
            "--name",
            name,
            "--role",
            role,
            "--host",
            "127.0.0.1",
            "--out",
            &path(name),
        ]);
    }
    let pair = |name: &str| (path(&format!("{name}/{name}.pem")), path(&format!("{name}/{name}.key")));
    let (certificate, key) = pair("historian");
    let ca = path("ca/ca.pem");
    let mut historian = takt("historian")
        .args(["--listen", "127.0.0.1:0", "--format", "json"])
        .args([
            "--store",
            &format!("sqlite:{}", path("historian.sqlite")),
            "--images",
            &format!("file:{}", path("images")),
        ])
        .args(["--certificate", &certificate, "--key", &key, "--client-ca", &ca])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut listening = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(historian.stdout.take().unwrap()), &mut listening).unwrap();
    let address = serde_json::from_str::<Value>(&listening).unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();

    let (certificate, key) = pair("quality");
    let source = [
        "--historian",
        &format!("https://{address}"),
        "--ca",
        &ca,
        "--cert",
        &certificate,
        "--key",
        &key,
    ];

    // A station whose certificate is another's is refused, and says so to its PLC; with its own, its records arrive.
    for (name, refused) in [("other", true), ("test-cell", false)] {
        let (certificate, key) = pair(name);
        let cell = Cell::new(&[]);
        configure(
            &cell,
            &format!("[historian]\nurl = \"https://{address}\"\nca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\""),
        );
        let station = cell.start();
        let mut plc = Plc::connect(&cell).ready();
        for cycle_id in 1..=3 {
            plc.inspect(cycle_id);
        }
        if refused {
            station.wait(|line| line["event"] == "state" && line["error"] == "historian_refuses");
        }
        // Whoever may only read sees them come; what a refused station has stays there.
        while !refused && records_of(&source, &[]).len() < 3 {}
        let (code, _, log) = station.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    let records = records_of(&source, &[]);
    assert_eq!(records.len(), 3, "{records:#?}");
    let plain = run(takt("query").args(["records", "--historian", &format!("http://{address}")]));
    assert_ne!(plain.code, Some(0));
    historian.kill().unwrap();
    historian.wait().unwrap();
}

#[test]
fn a_foreign_line_controller_gives_a_real_station_its_cycles() {
    let port = free_port();
    let cell = Cell::new(&[
        ("[plc]\nlisten = ", "[plc]\ncycle_source = \"grpc\"\n# "),
        ("writers = [\"127.0.0.1\"]\n", ""),
    ]);
    configure(&cell, &format!("[grpc]\nlisten = \"127.0.0.1:{port}\""));
    let station = cell.start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut controller = match foreign::grpc_controller(address) {
        Ok(controller) => controller,
        Err(reason) => return skip("record", &reason),
    };
    // It loses its connection after the tenth cycle, connects again and resumes.
    let said = run(controller.args(["--cycles", "20", "--drop-after", "10"])).done();
    let summary = said.json().pop().unwrap();
    assert_eq!(summary["violations"], Value::Array(Vec::new()), "{summary:#}");
    let (code, _, log) = station.stop();
    assert_eq!(code, Some(0), "{log}");
    let records = records_of(&["--journal", cell.path().join("state/journal").to_str().unwrap()], &[]);
    assert_eq!(records.len(), 20, "{records:#?}");
}

#[test]
fn a_new_epoch_begins_only_while_the_station_rests_and_nothing_recorded_is_lost() {
    let cell = Cell::new(&[]);
    let new_epoch = || run(takt("journal").args(["new-epoch", "--config"]).arg(cell.config()));
    let inspect = |cycle_id| {
        let station = cell.start();
        Plc::connect(&cell).ready().inspect(cycle_id);
        station.wait(|line| line["event"] == "part");
        let refused = new_epoch();
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
        let (code, _, log) = station.stop();
        assert_eq!(code, Some(0), "{log}");
    };
    inspect(1);
    let ended = new_epoch().done();
    assert!(ended.stdout.contains("begins with the next start"), "{}", ended.stdout);
    inspect(1);
    let journal = cell.path().join("state/journal");
    let records = records_of(&["--journal", journal.to_str().unwrap()], &[]);
    let keys: Vec<(u64, u64)> = records
        .iter()
        .map(|record| (record["epoch"].as_u64().unwrap(), record["cycle_id"].as_u64().unwrap()))
        .collect();
    assert_eq!(keys.len(), 2, "{records:#?}");
    assert!(
        keys[0].0 != keys[1].0 && keys.iter().all(|(_, cycle_id)| *cycle_id == 1),
        "{keys:?}"
    );
    assert_eq!(run(takt("journal").arg("verify").arg(&journal)).code, Some(0));
}
