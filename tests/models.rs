//! Models of a station that runs: signed, exchanged between two parts, refused where something is wrong with them, and back again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use serde_json::Value;
use takt::model::manifest::Kind;
use takt::model::onnx::{FLOAT, ModelProto};
use takt::model::package::{self, Package};

use crate::cell::{Cell, Running, model};
use crate::program::{Outcome, run, takt};
use crate::skip::skip;
use crate::station::Plc;
use crate::twin::{assert_kept, cell as twin_cell, line_with};

/// A package made of the taught one.
pub(crate) fn variant(folder: &Path, version: &str, change: impl FnOnce(&mut Package)) -> PathBuf {
    let mut package = Package::open(model()).unwrap();
    package.manifest.version = version.into();
    change(&mut package);
    let path = folder.join(version);
    package::write(&path, &package.manifest, &package.files, false).unwrap();
    path
}

fn keygen(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let private = folder.join(name);
    run(takt("model").args(["keygen", "--out"]).arg(&private)).done();
    (private, folder.join(format!("{name}.pub")))
}

fn sign(package: &Path, key: &Path) -> Outcome {
    run(takt("model").arg("sign").arg(package).arg("--key").arg(key))
}

fn verify(package: &Path, key: &Path) -> Outcome {
    run(takt("model")
        .arg("verify")
        .arg(package)
        .arg("--trusted-key")
        .arg(key)
        .args(["--format", "json"]))
}

/// Changes a package so that it does not compute what its golden images say.
pub(crate) fn of_other_weights(package: &mut Package) {
    let mut model = ModelProto::decode(package.files["model.onnx"].as_slice()).unwrap();
    let weights = model.graph.as_mut().unwrap().initializer.iter_mut();
    let largest = weights
        .filter(|tensor| tensor.data_type == FLOAT)
        .max_by_key(|tensor| tensor.raw_data.len())
        .unwrap();
    for value in largest.raw_data.chunks_exact_mut(4) {
        let scaled = f32::from_le_bytes(value.try_into().unwrap()) * 1.05;
        value.copy_from_slice(&scaled.to_le_bytes());
    }
    package.files.insert("model.onnx".into(), model.encode_to_vec());
}

/// Where the cell's station serves line controllers.
pub(crate) fn desk(cell: &Cell) -> String {
    format!("{}:15021", cell.plc.ip())
}

/// A cell whose station can be asked for models, and what else its file says.
pub(crate) fn cell_with(tables: &str) -> Cell {
    let cell = Cell::new(&[]);
    let text = fs::read_to_string(cell.config()).unwrap();
    let grpc = format!("\n[grpc]\nlisten = \"{}\"\n{tables}\n", desk(&cell));
    fs::write(cell.config(), text + &grpc).unwrap();
    cell
}

pub(crate) const ONLINE: &str = "[models]\nactivate_while_online = true";

pub(crate) fn asked(cell: &Cell, command: &str, package: Option<&Path>) -> Outcome {
    let mut asking = takt("model");
    asking.arg(command).args(package);
    asking.args([
        "--station",
        &format!("http://{}", desk(cell)),
        "--inspection",
        "surface",
        "--format",
        "json",
    ]);
    run(&mut asking)
}

pub(crate) fn activate(cell: &Cell, package: &Path) -> Outcome {
    asked(cell, "activate", Some(package))
}

pub(crate) fn in_force(cell: &Cell) -> Value {
    let station = format!("http://{}", desk(cell));
    run(takt("model").args(["list", "--format", "json", "--station", &station]))
        .done()
        .json()
        .remove(0)
}

/// Version of the model that judged a part, as its record says, and the record's checksum.
pub(crate) fn judged_by(running: &Running, cycle_id: u32) -> (String, u64) {
    let lines = running.wait(|line| line["event"] == "part" && line["cycle_id"] == cycle_id);
    let record = lines.last().unwrap();
    let version = record["views"][0]["model"]["version"].as_str().unwrap_or_default();
    (version.to_owned(), record["config_checksum"].as_u64().unwrap())
}

#[test]
fn openssl_and_takt_agree_on_signatures() {
    const TEST: &str = "openssl_and_takt_agree_on_signatures";
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str], file: &Path| {
        let (key, foreign) = (folder.path().join("own.pub"), folder.path().join("foreign"));
        let replaced = |argument: &&str| match *argument {
            "OWN.PUB" => key.clone(),
            "FOREIGN" => foreign.clone(),
            "FOREIGN.PUB" => folder.path().join("foreign.pub"),
            "MANIFEST" => file.join("model.toml"),
            "SIGNATURE" => file.join("model.toml.sig"),
            other => other.into(),
        };
        Command::new("openssl").args(arguments.iter().map(replaced)).output()
    };
    if openssl(&["version"], folder.path()).is_err() {
        return skip(TEST, "there is no openssl here");
    }
    let ran = |arguments: &[&str], file: &Path| {
        let output = openssl(arguments, file).unwrap();
        (output.status.success(), format!("{output:?}"))
    };
    let package = variant(folder.path(), "1", |_| {});
    let (own, own_public) = keygen(folder.path(), "own");
    sign(&package, &own).done();
    let by_openssl = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "OWN.PUB",
        "-rawin",
        "-in",
        "MANIFEST",
        "-sigfile",
        "SIGNATURE",
    ];
    let (valid, told) = ran(&by_openssl, &package);
    assert!(valid, "{told}");
    let (readable, told) = ran(&["pkey", "-in", own.to_str().unwrap(), "-noout", "-text"], &package);
    assert!(readable && told.contains("ED25519"), "{told}");

    // The other way round: their key, their signature.
    let foreign = folder.path().join("foreign");
    let made = [
        ran(&["genpkey", "-algorithm", "ed25519", "-out", "FOREIGN"], &package),
        ran(&["pkey", "-in", "FOREIGN", "-pubout", "-out", "FOREIGN.PUB"], &package),
        ran(
            &[
                "pkeyutl",
                "-sign",
                "-inkey",
                "FOREIGN",
                "-rawin",
                "-in",
                "MANIFEST",
                "-out",
                "SIGNATURE",
            ],
            &package,
        ),
    ];
    assert!(made.iter().all(|(done, _)| *done), "{made:?}");
    let verified = verify(&package, &folder.path().join("foreign.pub")).done().json().remove(0);
    assert!(verified["signed_by"].as_str().unwrap().ends_with("foreign.pub"));
    verify(&package, &own_public).refused(&["fits none of the trusted keys", "takt model sign"]);
    let by_them = fs::read(package.join("model.toml.sig")).unwrap();
    sign(&package, &foreign).done();
    assert_eq!(
        fs::read(package.join("model.toml.sig")).unwrap(),
        by_them,
        "Ed25519 has one signature for one text"
    );
}

#[test]
fn what_nobody_trusted_has_signed_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (key, public) = keygen(folder.path(), "plant");
    let (stranger, _) = keygen(folder.path(), "stranger");
    let package = variant(folder.path(), "1", |_| {});
    let cell = cell_with(&format!(
        "[models]\nrequire_signature = true\ntrusted_keys = ['{}']",
        public.display()
    ));
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), text.replace(model().to_str().unwrap(), package.to_str().unwrap())).unwrap();
    let validate = || run(takt("validate").arg("--config").arg(cell.config()));

    validate().refused(&["it is not signed", "takt model sign"]);
    let (code, _, log) = cell.launch().ended();
    assert!(
        code == Some(1) && log.contains("it is not signed") && !log.contains("panicked"),
        "{log}"
    );
    sign(&package, &stranger).done();
    validate().refused(&["fits none of the trusted keys"]);
    let doctor = run(takt("doctor").arg("--config").arg(cell.config()).args(["--format", "json"]));
    assert!(doctor.stdout.contains("fits none of the trusted keys"), "{doctor:#?}");
    sign(&package, &key).done();
    validate().done();
    let running = cell.start();
    assert_eq!(in_force(&cell)["model"]["version"], "1");

    // Nor while it runs.
    let unsigned = variant(folder.path(), "2", |_| {});
    activate(&cell, &unsigned).refused(&["it is not signed"]);
    sign(&unsigned, &stranger).done();
    activate(&cell, &unsigned).refused(&["fits none of the trusted keys"]);
    sign(&unsigned, &key).done();
    activate(&cell, &unsigned).done();
    // A manifest that was changed and sealed again, under the signature of before.
    let signature = fs::read(unsigned.join("model.toml.sig")).unwrap();
    let changed = variant(folder.path(), "3", |package| package.manifest.threshold.score *= 2.0);
    fs::write(changed.join("model.toml.sig"), signature).unwrap();
    activate(&cell, &changed).refused(&["fits none of the trusted keys"]);
    assert_eq!(in_force(&cell)["model"]["version"], "2");
    drop(running);
}

#[test]
fn a_model_is_exchanged_between_two_parts_and_back_and_a_restart_keeps_it() {
    let cell = cell_with(ONLINE);
    let other = variant(cell.path(), "other", |_| {});
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let first = plc.inspect(1);
    let taught = judged_by(&running, 1);
    assert_eq!(u64::from(first.config_checksum), taught.1);

    let answer = activate(&cell, &other).done().json().remove(0);
    assert_eq!(
        (&answer["model"]["version"], &answer["changed"]),
        (&Value::from("other"), &Value::from(true))
    );
    let second = plc.inspect(2);
    let exchanged = judged_by(&running, 2);
    assert_eq!((exchanged.0.as_str(), exchanged.1), ("other", u64::from(second.config_checksum)));
    assert_ne!(
        first.config_checksum, second.config_checksum,
        "the PLC sees that another model judges"
    );
    assert_eq!(answer["config_checksum"], format!("{:08x}", second.config_checksum));
    assert_eq!(activate(&cell, &other).done().json()[0]["changed"], false);

    asked(&cell, "rollback", None).done();
    assert_eq!(plc.inspect(3).config_checksum, first.config_checksum);
    assert_eq!(judged_by(&running, 3), taught);
    // The way back does not depend on what lies in the folder by now.
    fs::remove_dir_all(&other).unwrap();
    asked(&cell, "rollback", None).done();
    assert_eq!(plc.inspect(4).config_checksum, second.config_checksum);
    assert_eq!(judged_by(&running, 4), exchanged);
    running.kill();

    let running = cell.start();
    let listed = in_force(&cell);
    assert_eq!(
        (&listed["model"]["version"], &listed["activated"]),
        (&Value::from("other"), &Value::from(true))
    );
    let mut plc = Plc::connect(&cell).ready();
    assert_eq!(plc.inspect(6).config_checksum, second.config_checksum);
    assert_eq!(judged_by(&running, 6), exchanged);
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");
    let records = run(takt("query")
        .args(["records", "--all", "--format", "json", "--journal"])
        .arg(cell.path().join("state/journal")))
    .done()
    .json();
    let judged: Vec<&Value> = records
        .iter()
        .filter(|record| record["kind"] == "part" && record["verdict"] != "not_decidable")
        .collect();
    for record in &judged {
        let expected = match record["cycle_id"].as_u64() {
            Some(2 | 4 | 6) => "other",
            _ => taught.0.as_str(),
        };
        // A part that was recovered after the kill has lost its views, not the models that its checksum stands for.
        assert_eq!(record["models"][0]["version"], expected, "{record:#}");
        if let Some(view) = record["views"].get(0) {
            assert_eq!(view["model"]["version"], expected, "{record:#}");
        }
    }
    assert_eq!(judged.len(), 5, "{judged:#?}");

    // Whoever edits the configuration knows better.
    let third = variant(cell.path(), "third", |_| {});
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), text.replace(model().to_str().unwrap(), third.to_str().unwrap())).unwrap();
    let _running = cell.start();
    let listed = in_force(&cell);
    assert_eq!(
        (&listed["model"]["version"], &listed["activated"]),
        (&Value::from("third"), &Value::from(false))
    );
    asked(&cell, "rollback", None).refused(&["no model was in force before"]);
}

#[test]
fn what_is_wrong_with_a_package_is_told_and_changes_nothing() {
    let cell = cell_with(ONLINE);
    let own = variant(cell.path(), "own", |_| {});
    let text = fs::read_to_string(cell.config()).unwrap();
    fs::write(cell.config(), text.replace(model().to_str().unwrap(), own.to_str().unwrap())).unwrap();
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    let before = plc.inspect(1).config_checksum;

    let corrupted = variant(cell.path(), "corrupted", |_| {});
    let mut bytes = fs::read(corrupted.join("model.onnx")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(corrupted.join("model.onnx"), bytes).unwrap();
    // Whole and sealed, but it does not compute what its golden images say.
    let different = variant(cell.path(), "different", of_other_weights);
    let kind = variant(cell.path(), "kind", |package| package.manifest.kind = Kind::Detection);
    let garbage = variant(cell.path(), "garbage", |package| {
        package.files.insert("model.onnx".into(), b"no model".to_vec());
    });
    let refusals: [(&Path, &[&str]); 5] = [
        (&corrupted, &["model.onnx is not the file", "restore the package"]),
        (&different, &["golden image", "expected"]),
        (&kind, &["of kind detection", "of kind anomaly"]),
        (&garbage, &["failed to"]),
        (Path::new("/nowhere"), &["it has no model.toml"]),
    ];
    for (cycle, (package, words)) in (2..).zip(refusals) {
        activate(&cell, package).refused(words);
        assert_eq!(plc.inspect(cycle).config_checksum, before);
        assert_eq!(judged_by(&running, cycle).0, "own");
    }
    asked(&cell, "rollback", None).refused(&["no model was in force before"]);

    // Files of the package that runs are changed: it runs on as it was proven, and is refused when it is asked for again.
    fs::write(own.join("model.onnx"), b"something else").unwrap();
    assert_eq!(plc.inspect(20).config_checksum, before);
    activate(&cell, &own).refused(&["model.onnx is not the file"]);
    // A new version at the same place.
    fs::remove_dir_all(&own).unwrap();
    fs::rename(variant(cell.path(), "newer", |_| {}), &own).unwrap();
    activate(&cell, &own).done();
    plc.inspect(21);
    assert_eq!(judged_by(&running, 21).0, "newer");
    asked(&cell, "rollback", None).done();
    assert_eq!(plc.inspect(22).config_checksum, before);
    // What was refused or is needed no more takes no room.
    let kept = fs::read_dir(cell.path().join("state/models")).unwrap().count();
    assert_eq!(kept, 3, "the model, the one before, and the registry");
    let (code, _, log) = running.stop();
    assert!(code == Some(0) && log.contains("model not activated: nothing changed"), "{log}");
}

#[test]
fn while_the_plc_is_online_nothing_is_exchanged_unless_the_station_may() {
    let cell = cell_with("");
    let other = variant(cell.path(), "other", |_| {});
    let running = cell.start();
    let mut plc = Plc::connect(&cell).ready();
    activate(&cell, &other).refused(&["the PLC is online", "activate_while_online"]);
    plc.inspect(1);
    assert_ne!(judged_by(&running, 1).0, "other");
    plc.image.control = 0;
    plc.wait(|image| !image.online);
    activate(&cell, &other).done();
    let unknown = run(takt("model").args(["rollback", "--inspection", "rim", "--station", &format!("http://{}", desk(&cell))]));
    unknown.refused(&["failed to find inspection \"rim\"", "\"surface\""]);
    let nobody = run(takt("model").args(["rollback", "--inspection", "surface", "--station", "http://127.0.0.1:1"]));
    nobody.refused(&["failed to reach the station", "[grpc]"]);
    run(takt("model")
        .arg("activate")
        .arg(&other)
        .args(["--inspection", "surface", "--station", "nowhere"]))
    .refused(&["failed to use the address"]);
}

#[test]
fn a_line_whose_models_are_swapped_all_the_time_keeps_its_promises() {
    let cell = twin_cell("source = \"hardware\"\narm_window_ms = 30\npart_interval_ms_min = 60");
    let (key, public) = keygen(cell.path(), "plant.key");
    let signed = variant(cell.path(), "signed", |_| {});
    sign(&signed, &key).done();
    let text = fs::read_to_string(cell.config()).unwrap();
    let text = text.replace(model().to_str().unwrap(), signed.to_str().unwrap());
    let tables = format!(
        "\n[grpc]\nlisten = \"{}\"\n[models]\nactivate_while_online = true\nrequire_signature = true\ntrusted_keys = ['{}']\n",
        desk(&cell),
        public.display()
    );
    fs::write(cell.config(), text + &tables).unwrap();
    let faults = format!(
        "frame_missed = 0.03\ntrigger_duplicate = 0.03\nmodel_swaps = 14\n[models]\nsigning_key = '{}'",
        key.display()
    );
    let report = line_with(cell.path(), "count = 140\nrate_hz = 10.0", &faults);
    assert_kept(&report);
    let swaps = &report["swaps"];
    assert_eq!(swaps["models_in_force"]["pass"], true, "{report:#}");
    let asked = swaps["asked"].as_object().unwrap();
    assert_eq!(asked.values().filter_map(Value::as_u64).sum::<u64>(), 14, "{report:#}");
    for kind in ["good", "corrupted", "unsigned", "stranger", "other_scores", "other_kind"] {
        assert!(asked.get(kind).is_some(), "no {kind}: {report:#}");
    }
    assert_eq!(swaps["unanswered"], 0, "{report:#}");
    assert!(swaps["models"].as_u64() >= Some(2), "{report:#}");
    assert!(report["outcomes"]["ok"].as_u64() > Some(30), "{report:#}");
}
