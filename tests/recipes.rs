//! Several recipes, cameras and inspections, by a real station: the right recipe judges, the worst criterion is told, and what is not known passes nothing.

use std::fs;

use serde_json::{Value, json};
use takt::part::Verdict;

use crate::cell::{Cell, Running, model};
use crate::program::{run, takt};
use crate::station::Plc;
use crate::twin::{assert_kept, cell as virtual_cell, line_with};

/// The recipe of the test cell, as it stands in its file.
fn plain_recipe() -> String {
    let model = model().display();
    format!(
        "[recipe]\nnumber = 3\nname = \"drawn\"\n\n[[recipe.inspection]]\nname = \"surface\"\ncamera = \"top\"\nmodel = \"{model}\"\ndefect_code = 7\n"
    )
}

/// Two cameras that see the same part. Recipe 3 does not look at the side where the scratch is; recipe 4 looks three times.
fn two_recipes() -> (String, String) {
    let cameras =
        "[[camera]]\nname = \"top\"\nfolder = \"images\"\n\n[[camera]]\nname = \"side\"\nfolder = \"images\"\nmm_per_px = 0.1\n".to_owned();
    let model = model().display();
    let inspection = |name: &str, camera: &str, rules: &str| {
        format!("[[recipe.inspection]]\nname = \"{name}\"\ncamera = \"{camera}\"\nmodel = \"{model}\"\n{rules}\n")
    };
    // The model sees so little detail that a scratch warms its whole map, less the further away.
    let beside = "exclude = [[[20, 0], [128, 0], [128, 128], [20, 128]]]\nthreshold = 45";
    let noted = "[[recipe.inspection.criterion]]\nclass = \"*\"\nseverity = \"minor\"\nverdict = \"ok\"";
    let long = "[[recipe.inspection.zone]]\nname = \"upper\"\npolygon = [[50, 0], [128, 0], [128, 80], [50, 80]]\n\
                [[recipe.inspection.criterion]]\nclass = \"anomaly\"\nlength_mm_min = 1.5\narea_mm2_min = 0.5\nwithin = \"upper\"\nseverity = \"critical\"\ndefect_code = 13\n\
                [[recipe.inspection.criterion]]\nclass = \"*\"\ndefect_code = 14";
    let recipes = [
        "[[recipe]]\nnumber = 3\nname = \"drawn\"\n".to_owned(),
        inspection("left", "top", beside),
        "[[recipe]]\nnumber = 4\nrevision = \"B\"\nname = \"drawn, upper side\"\n".to_owned(),
        inspection("left", "top", beside),
        inspection("noted", "top", noted),
        inspection("surface", "side", long),
    ];
    (cameras, recipes.join("\n"))
}

fn cell() -> Cell {
    let (cameras, recipes) = two_recipes();
    Cell::new(&[
        ("[[camera]]\nname = \"top\"\nfolder = \"images\"\n", &cameras),
        (&plain_recipe(), &recipes),
    ])
}

fn part(running: &Running, cycle_id: u32) -> Value {
    let is_it = |line: &Value| line["event"] == "part" && line["cycle_id"] == cycle_id;
    running.wait(is_it).pop().unwrap()
}

#[test]
fn two_cameras_and_three_inspections_judge_by_the_recipe_that_the_plc_asks_for() {
    let cell = cell();
    let running = cell.start();
    let mut plc = Plc::connect(&cell);
    // None is in force before the PLC has chosen.
    assert_eq!(plc.wait(|image| image.error_code == 32).recipe_ready, 0);
    plc.image.recipe_number = 4;
    let mut plc = plc.ready();
    for cycle_id in 1..=4 {
        let image = plc.inspect(cycle_id);
        assert_eq!((image.accept, image.verdict, image.recipe_of_result), (true, Some(Verdict::Ok), 4));
    }
    let good = part(&running, 4);
    assert_eq!(good["views"].as_array().map(Vec::len), Some(3));
    assert_eq!(good["severity"], Value::Null);

    let image = plc.inspect(5);
    assert_eq!((image.accept, image.verdict, image.defect_code), (false, Some(Verdict::NotOk), 13));
    let scratched = part(&running, 5);
    assert_eq!(
        (&scratched["severity"], &scratched["defect_code"]),
        (&json!("critical"), &json!(13))
    );
    let told: Vec<(&Value, &Value, &Value)> = scratched["views"]
        .as_array()
        .unwrap()
        .iter()
        .map(|view| (&view["inspection"], &view["verdict"], &view["severity"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("left"), &json!("ok"), &Value::Null),
            (&json!("noted"), &json!("ok"), &json!("minor")),
            (&json!("surface"), &json!("not_ok"), &json!("critical")),
        ]
    );
    // Without the mask it would have been rejected.
    let score = |view: usize| scratched["views"][view]["score"].as_f64().unwrap();
    assert!(score(0) < 45.0 && score(1) > 45.0, "{scratched:#}");
    let noted = &scratched["views"][1]["findings"][0];
    assert!(noted["length_px"].as_f64() > Some(10.0) && noted["length_mm"].is_null(), "{noted}");
    let finding = &scratched["views"][2]["findings"][0];
    let number = |key: &str| finding[key].as_f64().unwrap();
    assert!((number("length_mm") - 0.1 * number("length_px")).abs() < 1e-4);
    assert!((number("area_mm2") - 0.01 * number("area_px")).abs() < 1e-4);
    let middle = |from: &str, length: &str| 0.1 * (number(from) + number(length) / 2.0);
    assert!(
        (number("x_mm") - middle("x", "width")).abs() < 1e-4 && (number("y_mm") - middle("y", "height")).abs() < 1e-4,
        "{finding}"
    );

    // The same five pictures by the other recipe: it does not look where the scratch is.
    plc.image.recipe_number = 3;
    for cycle_id in 6..=10 {
        let image = plc.inspect(cycle_id);
        assert_eq!((image.accept, image.recipe_of_result), (true, 3), "{cycle_id}");
    }
    let elsewhere = part(&running, 10);
    assert_eq!(elsewhere["views"].as_array().map(Vec::len), Some(1));

    // A recipe that there is not.
    plc.image.recipe_number = 9;
    assert!(!plc.trigger(11));
    let missed = part(&running, 11);
    assert_eq!((&missed["verdict"], &missed["reason"]), (&json!("not_decidable"), &json!("missed")));
    let (code, _, log) = running.stop();
    assert_eq!(code, Some(0), "{log}");

    // The journal keeps what was told.
    let journal = cell.path().join("state/journal");
    let records = run(takt("query")
        .args(["records", "--all", "--format", "json", "--journal"])
        .arg(&journal))
    .done()
    .json();
    let kept = records.iter().find(|record| record["cycle_id"] == 5).unwrap();
    assert_eq!(
        (&kept["severity"], &kept["recipe_revision"], &kept["recipe_name"]),
        (&json!("critical"), &json!("B"), &json!("drawn, upper side"))
    );
    assert_eq!(kept["views"][2]["findings"][0]["length_mm"], finding["length_mm"]);
    let csv = run(takt("query")
        .args(["records", "--all", "--format", "csv", "--journal"])
        .arg(&journal))
    .done()
    .stdout;
    assert!(
        csv.lines().next().unwrap().contains("severity") && csv.contains("critical"),
        "{csv}"
    );
}

#[test]
fn a_recipe_is_told_in_words() {
    let cell = cell();
    let told = run(takt("validate").arg("--config").arg(cell.config())).done().stdout;
    for words in [
        "Recipe 4, revision B: drawn, upper side",
        "through camera \"side\" (0.1 mm per pixel), the whole frame",
        "the whole frame, less 1 polygon",
        "critical, DefectCode 13: a finding of class \"anomaly\", at least 0.5 mm2 large, at least 1.5 mm long, in zone \"upper\"",
        "minor, noted and passed: a finding of any class",
    ] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    let told = run(takt("validate").arg("--config").arg(cell.config()).args(["--format", "json"]))
        .done()
        .json();
    assert_eq!(told[0]["recipes"][1]["number"], 4);
    assert_eq!(
        told[0]["recipes"][1]["inspections"][2]["criteria"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn rules_that_the_model_or_the_camera_cannot_answer_are_refused() {
    let refused = |from: &str, to: &str| {
        let cell = cell();
        let text = fs::read_to_string(cell.config()).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(cell.config(), text.replace(from, to)).unwrap();
        let outcome = run(takt("validate").arg("--config").arg(cell.config()));
        assert_eq!(outcome.code, Some(2), "{}", outcome.stdout);
        outcome.stderr
    };
    let error = refused("class = \"anomaly\"", "class = \"anomly\"");
    assert!(
        error.contains("criterion 1 is for the class \"anomly\", and the model finds \"anomaly\"; correct the class"),
        "{error}"
    );
    let error = refused("mm_per_px = 0.1\n", "");
    assert!(
        error.contains("criterion 1 asks for millimetres, but camera \"side\" has no scale; give it mm_per_px"),
        "{error}"
    );
    let error = refused("severity = \"minor\"", "severity = \"major\"");
    assert!(
        error.contains("a major defect is never Ok; give severity = \"minor\", or leave the verdict out"),
        "{error}"
    );
    let error = refused("[50, 0], [128, 0]", "[50, 0], [50, 90], [128, 0]");
    assert!(error.contains("polygon is none: its edges from point"), "{error}");
    let error = refused("number = 4", "number = 3");
    assert!(
        error.contains("number 3 is that of recipe 1 already, and the PLC asks by number; give each its own"),
        "{error}"
    );
    let error = refused("within = \"upper\"", "within = \"lower\"");
    assert!(error.contains("within is \"lower\"; give the name of a zone: \"upper\""), "{error}");
}

#[test]
fn a_virtual_line_with_two_cameras_and_three_inspections_keeps_its_promises() {
    let cell = virtual_cell("source = \"plc\"\nframe_window_ms = 300\npart_interval_ms_min = 350");
    let text = fs::read_to_string(cell.config()).unwrap();
    let camera = text[text.find("[[camera]]").unwrap()..text.find("[recipe]").unwrap()].to_owned();
    let second = camera
        .replace("name = \"top\"", "name = \"side\"\nmm_per_px = 0.1")
        .replace("top.sock", "side.sock");
    let model = model().display();
    let more = format!(
        "[[recipe.inspection]]\nname = \"large\"\ncamera = \"side\"\nmodel = \"{model}\"\nregion = {{ x = 0, y = 24, width = 128, height = 128 }}\n\
         [[recipe.inspection.criterion]]\nclass = \"*\"\narea_mm2_min = 0.5\nseverity = \"critical\"\ndefect_code = 13\n\
         [[recipe.inspection]]\nname = \"left\"\ncamera = \"side\"\nmodel = \"{model}\"\nregion = {{ x = 0, y = 24, width = 128, height = 128 }}\n\
         exclude = [[[20, 24], [128, 24], [128, 152], [20, 152]]]\nthreshold = 45\n\n[engine]"
    );
    let text = text.replace(&camera, &format!("{camera}{second}")).replace("[engine]", &more);
    // Time enough for three inferences, however slow the machine is.
    let text = text.replace(
        "deadline_ms = 400\ntrigger_to_gate_ms = 600",
        "deadline_ms = 5000\ntrigger_to_gate_ms = 6000",
    );
    fs::write(cell.config(), text).unwrap();
    let report = line_with(cell.path(), "count = 30\nrate_hz = 2.5", "");
    assert_kept(&report);
    let journal = cell.path().join("state/journal");
    let records = run(takt("query")
        .args(["records", "--all", "--format", "json", "--journal"])
        .arg(journal))
    .done()
    .json();
    let parts: Vec<&Value> = records.iter().filter(|record| record["kind"] == "part").collect();
    assert_eq!(parts.len(), 30);
    let rejected: Vec<&&Value> = parts.iter().filter(|part| part["verdict"] == "not_ok").collect();
    assert!(!rejected.is_empty(), "{report:#}");
    for part in parts.iter().filter(|part| part["verdict"] != "not_decidable") {
        let views = part["views"].as_array().unwrap();
        assert_eq!(views.len(), 3, "{part:#}");
        // All saw the very same part, and the first two agree on it; the third does not look where scratches are.
        assert!(
            views[0]["stamp"].is_u64() && views.iter().all(|view| view["stamp"] == views[0]["stamp"]),
            "{part:#}"
        );
        assert_eq!(views[0]["verdict"], views[1]["verdict"], "{part:#}");
        assert_eq!(views[2]["verdict"], "ok", "{part:#}");
        let severity = if part["verdict"] == "not_ok" {
            json!("critical")
        } else {
            Value::Null
        };
        assert_eq!(part["severity"], severity, "{part:#}");
    }
}
