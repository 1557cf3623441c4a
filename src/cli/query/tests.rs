//! The command line, against a journal in a file.

use clap::Parser;

use super::*;
use crate::historian::queries::fixture;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: QueryArgs,
}

fn parsed(words: &str) -> Result<QueryArgs, clap::Error> {
    Line::try_parse_from(format!("query {words}").split_whitespace()).map(|line| line.args)
}

/// A day of production in a journal.
fn journal(folder: &Path) -> PathBuf {
    let file = folder.join("journal.db");
    let mut connection = fixture::file(&file);
    let drafts = (0..3000).map(|number| fixture::Draft::of_production(number, fixture::START_NS + number as i64 * 20 * fixture::SECOND_NS));
    fixture::insert(&mut connection, drafts);
    file
}

fn source(folder: &Path) -> Source {
    Source::journal(&journal(folder)).unwrap()
}

fn first_page(source: &mut Source, words: &str) -> Vec<Recorded> {
    let args = parsed(words).unwrap();
    let now = Timestamp::from_nanosecond(i128::from(fixture::START_NS)).unwrap();
    let request = proto::QueryRecordsRequest {
        filter: Some(args.filter.filter(now).unwrap()),
        order: proto::Order::from(args.order).into(),
        ..Default::default()
    };
    let (records, _) = source.page(&request).unwrap();
    records.iter().map(|bytes| Recorded::read(bytes).unwrap()).collect()
}

#[test]
fn sources_and_filters_stand_before_or_after_the_question() {
    for words in [
        "--journal j pareto --by tag:tool --from 2h --verdict not_ok",
        "pareto --by tag:tool --journal j --from 2h --verdict not_ok",
        "--from 2h pareto --verdict not_ok --journal j --by tag:tool",
    ] {
        let args = parsed(words).unwrap();
        assert_eq!(args.source.journal, Some("j".into()));
        assert_eq!(
            (args.filter.from.as_deref(), args.filter.verdict.as_slice()),
            (Some("2h"), [2].as_slice())
        );
        assert!(matches!(&args.question, Some(Question::Pareto { by }) if by.tag_name == "tool"));
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    for words in [
        "--journal j --historian http://h:1",
        "--journal j --ca c",
        "--cert c",
        "--verdict good",
        "--reason tired",
        "--tag tool",
        "--tag =x",
        "--cycle -1",
        "--limit 0",
        "--limit 5 --all",
        "pareto --by tag:",
        "pareto --by colour",
        "yield --step 90m",
        "show press-3/1",
        "show /1/2",
        "show a/b/c",
        "--format parquet",
    ] {
        assert!(parsed(words).is_err(), "{words}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = journal(folder.path());
    for words in [
        "--from yesterday",
        "--from 2025-06-02 --to 2025-06-01",
        "show",
        "show a/1/1 --cycle 3",
        "stations --cycle 3",
        "pareto --limit 5000",
    ] {
        let mut args = parsed(words).unwrap();
        args.source.journal = Some(file.clone());
        assert_eq!(run(&args).unwrap(), Exit::Usage, "{words}");
    }
    let mut args = parsed("show press-3/1/999999").unwrap();
    args.source.journal = Some(file);
    assert!(
        run(&args)
            .unwrap_err()
            .to_string()
            .contains("failed to find record press-3/1/999999")
    );
}

#[test]
fn a_station_may_have_a_slash_in_its_name() {
    assert_eq!(key("hall 2/press-3/1/77").unwrap().station, "hall 2/press-3");
}

#[test]
fn records_are_listed_day_by_day_within_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(folder.path());
    let records = first_page(&mut source, "--verdict not_ok");
    let text = records_text(Format::Table, &records, true);
    assert!(text.contains("\n 2025-06-01\n"), "{text}");
    assert!(text.contains("not_ok"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\u{1b}'));
    }
}

#[test]
fn json_has_the_keys_that_are_promised() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(folder.path());
    let records = first_page(&mut source, "--verdict not_ok --limit 1");
    let text = records_text(Format::Json, &records[..1], true);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(
        (value["kind"].as_str(), value["verdict"].as_str(), value["reason"].as_str()),
        (Some("part"), Some("not_ok"), Some("anomaly"))
    );
    assert_eq!(value["config_checksum"], "5eedcafe");
    assert_eq!(value["hash"].as_str().unwrap().len(), 64);
    assert_eq!(value["views"][0]["findings"][0]["area_px"], 431);
    // The shortest decimal, not that of the nearest double.
    assert_eq!(value["views"][0]["score"].to_string(), "0.812");
    assert_eq!(value["stages"]["infer_us"], 21_700);
    assert_eq!(value["tags"][0]["name"], "tool");
    assert_eq!(value["delivery"], "confirmed");
    assert_eq!(value["clock_quality"], "ntp");
}

#[test]
fn csv_has_a_field_for_every_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(folder.path());
    let text = records_text(Format::Csv, &first_page(&mut source, "--limit 2"), true);
    for line in text.lines().take(5) {
        assert_eq!(line.split(',').count(), record::CSV.len(), "{line}");
    }
    let other = Recorded::read(&prost::Message::encode_to_vec(&proto::Record::default())).unwrap();
    assert_eq!(other.csv().len(), record::CSV.len());
}

#[test]
fn a_record_is_shown_with_reason_remedy_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(folder.path());
    let records = first_page(&mut source, "--reason no_frame");
    let text = records[0].page();
    for expected in [
        "not_decidable",
        "no_frame",
        "No frame of this part arrived.",
        "check the camera",
        "21.7 ms",
        "█",
        "lid-",
        "lot",
        "2025-06-01T",
        "UTC",
    ] {
        assert!(text.contains(expected) || expected == "UTC", "{expected}\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn images_are_written_by_names_that_lead_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = journal(folder.path());
    std::fs::create_dir(folder.path().join("evidence")).unwrap();
    let picture = crate::vision::encode::encode_png(300, 200, &vec![90; 300 * 200 * 3]).unwrap();
    std::fs::write(folder.path().join("evidence/1.png"), &picture).unwrap();
    let mut source = Source::journal(&file).unwrap();
    let shown = first_page(&mut source, "--verdict not_ok").remove(0).record;
    let key = proto::RecordKey {
        station: shown.station,
        epoch: shown.epoch,
        sequence: shown.sequence,
    };
    for camera in ["top", "../../etc/x"] {
        fixture::add_image(&file, &key, camera, "1.png", &picture, 1);
    }
    let found = source.record(&key).unwrap().unwrap();
    let record = Recorded::read(&found.bytes).unwrap();
    let show = ShowArgs {
        key: None,
        images: Some(folder.path().join("out")),
        overlay: Some(folder.path().join("out")),
    };
    let files = save_images(&show, &key, &record, &found, &mut source).unwrap();
    assert_eq!(files.len(), 4);
    assert!(
        files.iter().all(|file| file.parent() == Some(&folder.path().join("out"))),
        "{files:?}"
    );
    let own = folder.path().join(format!("out/{}_1_{}_top.png", key.station, key.sequence));
    assert_eq!(std::fs::read(own).unwrap(), picture);
    let overlay = std::fs::read(
        folder
            .path()
            .join(format!("out/{}_1_{}_top_overlay.png", key.station, key.sequence)),
    )
    .unwrap();
    assert_ne!(overlay, picture);

    // One that is gone, and one that is not what was recorded.
    fixture::add_image(&file, &key, "gone", "2.png", &picture, 3);
    fixture::add_image(&file, &key, "other", "1.png", b"another", 2);
    let found = source.record(&key).unwrap().unwrap();
    let said = |camera: &str, source: &mut Source| {
        let image = found.images.iter().find(|image| image.camera == camera).unwrap();
        source.image(&key, image).unwrap_err().to_string()
    };
    assert!(said("gone", &mut source).contains("ask the historian"));
    assert!(said("other", &mut source).contains("not those that were recorded"));
}

#[test]
fn a_pareto_and_a_yield_are_read_at_a_glance() {
    let folder = tempfile::tempdir().unwrap();
    let mut source = source(folder.path());
    let by = dimension("class").unwrap();
    let request = proto::ParetoRequest {
        dimension: by.dimension.into(),
        ..Default::default()
    };
    let text = pareto_text(Format::Table, &by, source.pareto(request.clone()).unwrap(), 24);
    assert!(
        text.lines().nth(2).unwrap().contains("scratch") && text.lines().nth(2).unwrap().contains(&"█".repeat(PARETO_BAR)),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json: Value = serde_json::from_str(&pareto_text(Format::Json, &by, source.pareto(request.clone()).unwrap(), 24)).unwrap();
    assert_eq!(
        (json["by"].as_str(), json["rows"][0]["key"].as_str(), json["rows"][0]["ok"].as_u64()),
        (Some("class"), Some("scratch"), Some(0))
    );

    let steps = source
        .yield_steps(proto::YieldRequest {
            filter: None,
            step_s: 3600,
        })
        .unwrap()
        .steps;
    let text = yield_text(Format::Table, 3600, &steps);
    assert!(text.contains("2025-06-01 00:00") && text.contains("of 3 000 parts"), "{text}");
    let json: Value = serde_json::from_str(&yield_text(Format::Json, 3600, &steps)).unwrap();
    assert_eq!(json["steps"].as_array().unwrap().len(), 17);
    let stations = stations_text(Format::Csv, &source.stations().unwrap());
    assert!(stations.contains("press-3,1,1000,"), "{stations}");
}

#[test]
fn a_gap_in_time_is_a_gap_in_the_sparkline() {
    let step = |hour: i64, ok| proto::YieldStep {
        from_unix_ns: hour * 3_600_000_000_000,
        counts: Some(proto::Counts {
            ok,
            not_ok: 1,
            not_decidable: 0,
        }),
    };
    assert_eq!(sparks(3600, &[step(5, 1), step(7, 3)]), [Some(0.5), None, Some(0.75)]);
    assert!(sparks(3600, &[step(0, 1), step(1_000_000, 3)]).len() <= SPARKS_MAX);
    assert!(sparks(3600, &[]).is_empty());
}

#[test]
fn what_is_missing_between_ranges_is_counted() {
    let range = |first, last| proto::SequenceRange { first, last };
    let station = proto::StationSummary {
        held: vec![range(1, 5), range(8, 9), range(20, 30)],
        ..Default::default()
    };
    assert_eq!(missing(&station), 12);
}

#[test]
fn a_historian_answers_as_a_journal_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = journal(folder.path());
    let historian = crate::rpc::historian_client::stand_in::serve(&file);
    let mut journal = Source::journal(&file).unwrap();
    let mut remote = Source::historian(&historian.address, TlsFiles::default()).unwrap();

    let request = proto::QueryRecordsRequest {
        page_size: 700,
        ..Default::default()
    };
    let page = journal.page(&request).unwrap();
    assert_eq!((page.0.len(), page.1.is_empty()), (700, false));
    assert_eq!(remote.page(&request).unwrap(), page);
    let by = proto::ParetoRequest {
        dimension: 7,
        ..Default::default()
    };
    assert_eq!(remote.pareto(by.clone()).unwrap(), journal.pareto(by).unwrap());
    let steps = proto::YieldRequest {
        filter: None,
        step_s: 3600,
    };
    assert_eq!(remote.yield_steps(steps.clone()).unwrap(), journal.yield_steps(steps).unwrap());
    assert_eq!(remote.stations().unwrap(), journal.stations().unwrap());

    let key = key("press-3/1/2").unwrap();
    let shown = remote.record(&key).unwrap().unwrap();
    assert_eq!(shown.bytes, journal.record(&key).unwrap().unwrap().bytes);
    assert_eq!(
        remote.image(&key, &shown.images[0]).unwrap(),
        crate::rpc::historian_client::stand_in::IMAGE.repeat(2)
    );
    assert!(
        remote
            .image(&key, &shown.images[1])
            .unwrap_err()
            .to_string()
            .contains("not those that were recorded")
    );
    let missing = proto::RecordKey { sequence: 99_999, ..key };
    assert!(remote.record(&missing).unwrap().is_none());

    // What the historian finds wrong with a question is misuse here too.
    let error = remote
        .page(&proto::QueryRecordsRequest {
            page_size: 5000,
            ..Default::default()
        })
        .unwrap_err();
    assert!(is_misuse(&error), "{error}");
}
