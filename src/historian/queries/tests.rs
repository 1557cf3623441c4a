//! Answers against plain recounts, plans against scans, and questions that nobody should ask.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{Draft, SECOND_NS, START_NS, database, insert, insert_record, record, tag};
use super::*;
use crate::journal::record_table;
use proto::{Dimension, Order, RecordFilter, Verdict};

const HOUR_NS: i64 = 3600 * SECOND_NS;

fn request(filter: RecordFilter) -> proto::QueryRecordsRequest {
    proto::QueryRecordsRequest {
        filter: Some(filter),
        ..Default::default()
    }
}

/// Every page of a question, as records.
fn all(connection: &Connection, mut request: proto::QueryRecordsRequest) -> Vec<proto::Record> {
    let mut records = Vec::new();
    for _ in 0..10_000 {
        let page = query_records(connection, &request).unwrap();
        records.extend(page.records.iter().map(|bytes| proto::Record::decode(bytes.as_slice()).unwrap()));
        request.cursor = page.next_cursor;
        if request.cursor.is_empty() {
            return records;
        }
    }
    panic!("the pages have no end");
}

fn part(record: &proto::Record) -> &proto::Part {
    match &record.body {
        Some(Body::Part(part)) => part,
        _ => panic!("not a part"),
    }
}

/// Whether a record is asked for, said once more without SQL.
fn holds(filter: &RecordFilter, record: &proto::Record) -> bool {
    let Some(Body::Part(part)) = &record.body else { return false };
    let outcome = part.outcome.unwrap();
    let any = |empty: bool, one: bool| empty || one;
    let classes: Vec<&String> = part
        .views
        .iter()
        .flat_map(|view| &view.findings)
        .map(|found| &found.class)
        .collect();
    any(filter.stations.is_empty(), filter.stations.contains(&record.station))
        && (filter.epoch == 0 || filter.epoch == record.epoch)
        && (filter.from_unix_ns == 0 || part.triggered_unix_ns >= filter.from_unix_ns)
        && (filter.to_unix_ns == 0 || part.triggered_unix_ns < filter.to_unix_ns)
        && any(filter.verdicts.is_empty(), filter.verdicts.contains(&outcome.verdict))
        && any(filter.reasons.is_empty(), filter.reasons.contains(&outcome.reason))
        && any(
            filter.classes.is_empty(),
            filter.classes.iter().any(|class| classes.contains(&class)),
        )
        && any(
            filter.cycle_ids.is_empty(),
            part.cycle_id.is_some_and(|id| filter.cycle_ids.contains(&id)),
        )
        && any(
            filter.serials.is_empty(),
            filter.serials.iter().any(|asked| match asked.strip_suffix('*') {
                Some(beginning) => part.serial.starts_with(beginning),
                None => part.serial == *asked,
            }),
        )
        && any(filter.recipes.is_empty(), filter.recipes.contains(&part.recipe))
        && any(
            filter.models.is_empty(),
            filter.models.iter().any(|asked| {
                let is = |model: &proto::Model| *asked == model.name || *asked == format!("{}@{}", model.name, model.version);
                part.models.iter().any(is)
            }),
        )
        && filter.tags.iter().all(|tag| part.tags.contains(tag))
}

/// The counts of a record by the keys it has in a dimension.
fn recounted(
    records: &[proto::Record],
    filter: &RecordFilter,
    keys: impl Fn(&proto::Record) -> Vec<String>,
) -> BTreeMap<String, proto::Counts> {
    let mut counts: BTreeMap<String, proto::Counts> = BTreeMap::new();
    for record in records.iter().filter(|record| holds(filter, record) && !part(record).test_part) {
        let mut keys = keys(record);
        keys.sort();
        keys.dedup();
        for key in keys {
            let counts = counts.entry(key).or_default();
            match part(record).outcome.unwrap().verdict() {
                Verdict::Ok => counts.ok += 1,
                Verdict::NotOk => counts.not_ok += 1,
                _ => counts.not_decidable += 1,
            }
        }
    }
    counts
}

fn keys(dimension: Dimension, record: &proto::Record) -> Vec<String> {
    let part = part(record);
    match dimension {
        Dimension::Class => part
            .views
            .iter()
            .flat_map(|view| &view.findings)
            .map(|found| found.class.clone())
            .collect(),
        Dimension::Recipe => vec![part.recipe.to_string()],
        Dimension::Model if part.models.is_empty() => vec![String::new()],
        Dimension::Model => part
            .models
            .iter()
            .map(|model| format!("{}@{}", model.name, model.version))
            .collect(),
        Dimension::Tag => part
            .tags
            .iter()
            .filter(|tag| tag.name == "tool")
            .map(|tag| tag.value.clone())
            .collect(),
        Dimension::Hour => vec![format!("{:02}", part.triggered_unix_ns.div_euclid(HOUR_NS).rem_euclid(24))],
        Dimension::Reason => match part.outcome.unwrap().reason {
            0 => vec![],
            number => vec![crate::part::Reason::from_code(number as u16).map_or(number.to_string(), |reason| reason.name().into())],
        },
        Dimension::Station => vec![record.station.clone()],
        Dimension::Unspecified => unreachable!(),
    }
}

const DIMENSIONS: [Dimension; 7] = [
    Dimension::Class,
    Dimension::Recipe,
    Dimension::Model,
    Dimension::Tag,
    Dimension::Hour,
    Dimension::Reason,
    Dimension::Station,
];

fn pareto_request(filter: &RecordFilter, dimension: Dimension) -> proto::ParetoRequest {
    proto::ParetoRequest {
        filter: Some(filter.clone()),
        dimension: dimension.into(),
        tag_name: if dimension == Dimension::Tag {
            "tool".into()
        } else {
            String::new()
        },
        rows_max: 1000,
    }
}

fn pareto_counts(connection: &Connection, filter: &RecordFilter, dimension: Dimension) -> BTreeMap<String, proto::Counts> {
    let answer = pareto(connection, &pareto_request(filter, dimension)).unwrap();
    assert_eq!(answer.others, 0);
    answer.rows.into_iter().map(|row| (row.key, row.counts.unwrap())).collect()
}

prop_compose! {
    fn draft()(
        station in prop::sample::select(vec!["a", "b", "%"]),
        epoch in 1_u64..3,
        // A few hours around a change of day, often at the same moment or at the full hour.
        at in prop_oneof![(0_i64..6 * 3600).prop_map(|second| second * SECOND_NS + 1), (0_i64..6).prop_map(|hour| hour * HOUR_NS)],
        (verdict, reason) in prop::sample::select(vec![
            (Verdict::Ok, 0), (Verdict::Ok, 0), (Verdict::NotOk, 1), (Verdict::NotDecidable, 20), (Verdict::NotDecidable, 999),
        ]),
        recipe in 1_u32..4,
        classes in prop::collection::vec(prop::sample::select(vec!["scratch", "dent", "a_b", "'"]), 0..3),
        models in prop::collection::vec(prop::sample::select(vec![("top", "1"), ("top", "2"), ("to", "1"), ("side", "1")]), 0..3),
        tags in prop::collection::vec((prop::sample::select(vec!["tool", "lot"]), "[12*]"), 0..3),
        cycle_id in prop::option::of(1_u32..6),
        serial in "[ab%_*]{0,3}",
        test_part in prop::bool::weighted(0.1),
    ) -> Draft {
        Draft { station, epoch, at_unix_ns: START_NS - 3 * HOUR_NS + at, verdict, reason, recipe, classes, models, tags, cycle_id, serial, test_part }
    }
}

fn sometimes<T: std::fmt::Debug + Clone + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(prop::sample::select(values), 1..3)]
}

prop_compose! {
    fn hourly_filter()(
        stations in sometimes(vec!["a".to_owned(), "%".into(), "nowhere".into()]),
        epoch in prop_oneof![Just(0_u64), 1_u64..3],
        from in prop_oneof![Just(0_i64), (0_i64..7).prop_map(|hour| START_NS + (hour - 3) * HOUR_NS), (0_i64..6 * 3600).prop_map(|second| START_NS - 3 * HOUR_NS + second * SECOND_NS)],
        length in prop_oneof![Just(0_i64), (1_i64..5).prop_map(|hours| hours * HOUR_NS), (1_i64..4 * 3600).prop_map(|second| second * SECOND_NS + 1)],
        verdicts in sometimes(vec![1, 2, 3]),
        recipes in sometimes(vec![1, 2, 9]),
        models in sometimes(vec!["top".to_owned(), "top@2".into(), "to".into(), "%".into()]),
    ) -> RecordFilter {
        let to_unix_ns = if length == 0 { 0 } else { from.max(START_NS - 3 * HOUR_NS) + length };
        RecordFilter { stations, epoch, from_unix_ns: from, to_unix_ns, verdicts, recipes, models, ..Default::default() }
    }
}

prop_compose! {
    fn any_filter()(
        filter in hourly_filter(),
        reasons in sometimes(vec![0, 1, 20, 999]),
        classes in sometimes(vec!["scratch".to_owned(), "a_b".into(), "'".into(), "%".into()]),
        cycle_ids in sometimes(vec![1, 2, 77]),
        serials in sometimes(vec!["a".to_owned(), "a*".into(), "%*".into(), "_".into(), "**".into(), "b%*".into()]),
        tags in sometimes(vec![tag("tool", "1"), tag("lot", "*"), tag("tool", "%")]),
    ) -> RecordFilter {
        RecordFilter { reasons, classes, cycle_ids, serials, tags, ..filter }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..Default::default() })]

    #[test]
    fn pages_hold_what_is_asked_for_in_order_and_once(
        drafts in prop::collection::vec(draft(), 0..60),
        filter in any_filter(),
        page_size in 1_u32..20,
        oldest_first in any::<bool>(),
    ) {
        let mut connection = database(false);
        insert(&mut connection, drafts);
        let order = if oldest_first { Order::OldestFirst } else { Order::NewestFirst };
        let asked = proto::QueryRecordsRequest { filter: Some(filter.clone()), order: order.into(), page_size, cursor: String::new() };
        let answer = all(&connection, asked);

        let everything = all(&connection, request(RecordFilter::default()));
        let mut expected: Vec<&proto::Record> = everything.iter().filter(|record| holds(&filter, record)).collect();
        if oldest_first {
            expected.reverse();
        }
        prop_assert_eq!(answer.iter().collect::<Vec<_>>(), expected);
        let times: Vec<i64> = answer.iter().map(|record| part(record).triggered_unix_ns).collect();
        let is_sorted = times.is_sorted_by(|a, b| if oldest_first { a <= b } else { a >= b });
        prop_assert!(is_sorted);
    }

    #[test]
    fn counts_by_hour_and_records_tell_the_same_as_a_plain_recount(
        drafts in prop::collection::vec(draft(), 0..80),
        filter in prop_oneof![hourly_filter(), any_filter()],
        step_h in 1_u32..30,
    ) {
        let (mut with, mut without) = (database(true), database(false));
        insert(&mut with, drafts.clone());
        insert(&mut without, drafts);
        let everything = all(&without, request(RecordFilter::default()));
        for dimension in DIMENSIONS {
            let expected = recounted(&everything, &filter, |record| keys(dimension, record));
            prop_assert_eq!(&pareto_counts(&with, &filter, dimension), &expected, "{:?} with counts by hour", dimension);
            prop_assert_eq!(&pareto_counts(&without, &filter, dimension), &expected, "{:?} from records", dimension);
        }
        let step_ns = i64::from(step_h) * HOUR_NS;
        let asked = proto::YieldRequest { filter: Some(filter.clone()), step_s: step_h * 3600 };
        let expected = recounted(&everything, &filter, |record| vec![(part(record).triggered_unix_ns.div_euclid(step_ns) * step_ns).to_string()]);
        for connection in [&with, &without] {
            let steps = yield_steps(connection, &asked).unwrap().steps;
            let steps: BTreeMap<String, proto::Counts> = steps.into_iter().map(|step| (step.from_unix_ns.to_string(), step.counts.unwrap())).collect();
            prop_assert_eq!(&steps, &expected);
        }
    }
}

/// How a query would be answered.
fn plan(connection: &Connection, sql: &Sql) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.as_str())).unwrap();
    let rows = statement
        .query_map(params_from_iter(sql.values()), |row| row.get::<_, String>(3))
        .unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

/// How a question's first page, and one deep within, are come by.
fn page_plans(connection: &Connection, filter: &RecordFilter, newest_first: bool) -> [String; 2] {
    let filter = Filter::of(filter).unwrap();
    let way = Way::of(connection, &filter).unwrap();
    way.in_order(&filter, newest_first, beginning(&filter, newest_first))
        .map(|walk| plan(connection, &walk))
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of questions")]
fn no_question_scans_the_table() {
    let mut connection = database(false);
    insert(
        &mut connection,
        (0..50).map(|number| Draft::of_production(number, START_NS + number as i64)),
    );
    let filters = [
        (
            "USING COVERING INDEX records_by_cycle (cycle_id=?)",
            RecordFilter {
                cycle_ids: vec![5, 6],
                ..Default::default()
            },
        ),
        (
            "USING COVERING INDEX records_by_serial (serial=?)",
            RecordFilter {
                serials: vec!["SN000000007".into()],
                ..Default::default()
            },
        ),
        (
            "USING COVERING INDEX records_by_serial (serial>? AND serial<?)",
            RecordFilter {
                serials: vec!["SN00000000*".into(), "X".into()],
                ..Default::default()
            },
        ),
        (
            "USING PRIMARY KEY (label=?)",
            RecordFilter {
                classes: vec!["scratch".into()],
                ..Default::default()
            },
        ),
        (
            "USING PRIMARY KEY (label=?)",
            RecordFilter {
                tags: vec![tag("tool", "T12"), tag("lot", "L0")],
                ..Default::default()
            },
        ),
        (
            "USING INDEX rejects_by_time (at_unix_ns>? AND at_unix_ns<?)",
            RecordFilter {
                verdicts: vec![2, 3],
                from_unix_ns: START_NS,
                ..Default::default()
            },
        ),
        (
            "USING INDEX rejects_by_time (at_unix_ns>? AND at_unix_ns<?)",
            RecordFilter {
                verdicts: vec![2],
                ..Default::default()
            },
        ),
        (
            "USING INDEX rejects_by_time (at_unix_ns>? AND at_unix_ns<?)",
            RecordFilter {
                reasons: vec![20],
                ..Default::default()
            },
        ),
        (
            "USING INDEX records_by_time (at_unix_ns>? AND at_unix_ns<?)",
            RecordFilter {
                verdicts: vec![1],
                ..Default::default()
            },
        ),
        (
            "USING INDEX records_by_time (at_unix_ns>? AND at_unix_ns<?)",
            RecordFilter {
                from_unix_ns: START_NS,
                to_unix_ns: START_NS + 9,
                ..Default::default()
            },
        ),
        (
            "USING INDEX records_by_time (at_unix_ns>? AND at_unix_ns<?)",
            RecordFilter::default(),
        ),
    ];
    for (index, filter) in filters {
        for newest_first in [true, false] {
            let [same, rest] = page_plans(&connection, &filter, newest_first);
            assert!(rest.contains(index), "{filter:?}\n{rest}");
            // A deep page starts where it starts: the index is entered at the place of the cursor.
            let is_few = rest.contains("PRIMARY KEY (rowid=?)");
            let entered = format!("(at_unix_ns=? AND rowid{}?)", if newest_first { '<' } else { '>' });
            assert!(is_few || same.contains(&entered), "{filter:?}\n{same}");
            for plan in [same, rest] {
                assert!(
                    !plan.contains("SCAN records") && !plan.contains("SCAN record_labels"),
                    "{filter:?}\n{plan}"
                );
                // Only what is few is sorted; otherwise the order of time is that of the index.
                assert!(is_few || !plan.contains("TEMP B-TREE"), "{filter:?}\n{plan}");
            }
        }
    }
}

#[test]
fn an_index_that_leads_to_many_rows_is_left_for_time() {
    let mut connection = database(false);
    let count = CANDIDATES_MAX + 1;
    insert(
        &mut connection,
        (0..count).map(|number| Draft {
            cycle_id: Some(7),
            ..Draft::ok(START_NS + number)
        }),
    );
    let filter = RecordFilter {
        cycle_ids: vec![7],
        ..Default::default()
    };
    assert_eq!(Way::of(&connection, &Filter::of(&filter).unwrap()).unwrap(), Way::Time);
    let page = query_records(
        &connection,
        &proto::QueryRecordsRequest {
            page_size: 3,
            ..request(filter)
        },
    )
    .unwrap();
    assert_eq!(page.records.len(), 3);
}

#[test]
fn a_page_that_finds_nothing_for_long_says_where_it_stopped() {
    let mut connection = database(false);
    let count = LOOKED_AT_MAX as i64 + 10;
    // The one that is asked for is the oldest, and all were triggered at the same moment: a clock that stands still.
    insert(
        &mut connection,
        (0..count).map(|number| Draft {
            recipe: if number == 0 { 1 } else { 2 },
            ..Draft::ok(START_NS)
        }),
    );
    let mut asked = request(RecordFilter {
        recipes: vec![1],
        ..Default::default()
    });
    let first = query_records(&connection, &asked).unwrap();
    assert!(first.records.is_empty() && !first.next_cursor.is_empty());
    asked.cursor = first.next_cursor;
    let second = query_records(&connection, &asked).unwrap();
    assert_eq!((second.records.len(), second.next_cursor.as_str()), (1, ""));
}

#[test]
fn a_page_ends_before_it_is_too_large_and_a_larger_record_is_its_own() {
    let mut connection = database(false);
    let heavy = |megabytes: usize| Draft {
        serial: "S".repeat(megabytes << 20),
        ..Draft::ok(START_NS)
    };
    insert(&mut connection, [heavy(3), heavy(3), heavy(10), heavy(1)]);
    let mut asked = request(RecordFilter::default());
    let mut sizes = Vec::new();
    loop {
        let page = query_records(&connection, &asked).unwrap();
        sizes.push(page.records.len());
        asked.cursor = page.next_cursor;
        if asked.cursor.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [1, 1, 2]);
    // Too long to be asked for whole, but found by its beginning.
    let beginning = RecordFilter {
        serials: vec![format!("{}*", "S".repeat(filter::TEXT_BYTES_MAX - 1))],
        ..Default::default()
    };
    assert_eq!(all(&connection, request(beginning)).len(), 4);
}

#[test]
fn a_cursor_goes_with_its_question_only() {
    let mut connection = database(false);
    insert(&mut connection, (0..5).map(|number| Draft::ok(START_NS + number)));
    let asked = proto::QueryRecordsRequest {
        page_size: 2,
        ..request(RecordFilter::default())
    };
    let cursor = query_records(&connection, &asked).unwrap().next_cursor;
    let next = proto::QueryRecordsRequest { cursor, ..asked };
    assert_eq!(query_records(&connection, &next).unwrap().records.len(), 2);
    // Another size of page is still the same question.
    assert_eq!(
        query_records(
            &connection,
            &proto::QueryRecordsRequest {
                page_size: 9,
                ..next.clone()
            }
        )
        .unwrap()
        .records
        .len(),
        3
    );
    let other_order = proto::QueryRecordsRequest {
        order: Order::OldestFirst.into(),
        ..next.clone()
    };
    let other_filter = proto::QueryRecordsRequest {
        filter: Some(RecordFilter {
            recipes: vec![7],
            ..Default::default()
        }),
        ..next
    };
    for other in [other_order, other_filter] {
        let error = query_records(&connection, &other).unwrap_err();
        assert!(
            matches!(&error, QueryError::Invalid(why) if why.contains("another question")),
            "{error}"
        );
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of questions")]
fn filters_that_make_no_sense_are_refused_by_name() {
    let connection = database(true);
    let refused = |filter: RecordFilter, named: &str| {
        let error = query_records(&connection, &request(filter)).unwrap_err();
        assert!(
            matches!(&error, QueryError::Invalid(why) if why.contains(named)),
            "{named}: {error}"
        );
    };
    let long = "x".repeat(filter::TEXT_BYTES_MAX + 1);
    refused(
        RecordFilter {
            verdicts: vec![9],
            ..Default::default()
        },
        "verdicts: 9",
    );
    refused(
        RecordFilter {
            verdicts: vec![0],
            ..Default::default()
        },
        "VERDICT_NOT_OK",
    );
    refused(
        RecordFilter {
            cycle_ids: vec![1; 101],
            ..Default::default()
        },
        "cycle_ids has 101 values",
    );
    refused(
        RecordFilter {
            serials: vec!["a".into(); 5000],
            ..Default::default()
        },
        "serials has 5000 values",
    );
    refused(
        RecordFilter {
            serials: vec!["*".into()],
            ..Default::default()
        },
        "serials",
    );
    refused(
        RecordFilter {
            serials: vec![String::new()],
            ..Default::default()
        },
        "serials",
    );
    refused(
        RecordFilter {
            serials: vec![long.clone()],
            ..Default::default()
        },
        "serials has a text of 1025 bytes",
    );
    refused(
        RecordFilter {
            stations: vec![long.clone()],
            ..Default::default()
        },
        "stations",
    );
    refused(
        RecordFilter {
            tags: vec![tag("", "x")],
            ..Default::default()
        },
        "a tag has no name",
    );
    refused(
        RecordFilter {
            tags: vec![tag("x", &long)],
            ..Default::default()
        },
        "tags",
    );
    refused(
        RecordFilter {
            models: vec!["a\nb".into()],
            ..Default::default()
        },
        "models",
    );
    refused(
        RecordFilter {
            from_unix_ns: -1,
            ..Default::default()
        },
        "1970",
    );
    refused(
        RecordFilter {
            from_unix_ns: 5,
            to_unix_ns: 5,
            ..Default::default()
        },
        "to_unix_ns must be after",
    );
    refused(
        RecordFilter {
            epoch: u64::MAX,
            ..Default::default()
        },
        "epoch",
    );
}

#[test]
fn questions_that_make_no_sense_are_refused_by_name() {
    let connection = database(true);
    let page = |page_size, order| proto::QueryRecordsRequest {
        page_size,
        order,
        ..request(RecordFilter::default())
    };
    for (asked, named) in [(page(1001, 0), "page_size is 1001"), (page(0, 3), "order: 3")] {
        assert!(query_records(&connection, &asked).unwrap_err().to_string().contains(named));
    }
    let pareto_of = |dimension, tag_name: &str, rows_max| {
        let asked = proto::ParetoRequest {
            filter: None,
            dimension,
            tag_name: tag_name.into(),
            rows_max,
        };
        pareto(&connection, &asked).unwrap_err().to_string()
    };
    assert!(pareto_of(0, "", 0).contains("dimension: 0"));
    assert!(pareto_of(77, "", 0).contains("dimension: 77"));
    assert!(pareto_of(4, "", 0).contains("tag_name"));
    assert!(pareto_of(1, "tool", 0).contains("tag_name"));
    assert!(pareto_of(1, "", 1001).contains("rows_max is 1001"));
    for step_s in [0, 1, 3601] {
        let error = yield_steps(&connection, &proto::YieldRequest { filter: None, step_s }).unwrap_err();
        assert!(error.to_string().contains(&format!("step_s is {step_s}")));
    }
}

#[test]
fn texts_are_only_ever_values() {
    let mut connection = database(true);
    insert(
        &mut connection,
        [Draft {
            serial: "S1".into(),
            ..Draft::ok(START_NS)
        }],
    );
    for hostile in [
        "%",
        "_",
        "'; DROP TABLE records; --",
        "\" OR 1=1",
        "\u{0}",
        "S\u{0}*",
        "?1",
        "S_",
        "S%",
        "\u{7f}\u{1b}[2J",
        "?",
        "S[0-9]",
    ] {
        let text = || vec![hostile.to_owned()];
        let filters = [
            RecordFilter {
                stations: text(),
                ..Default::default()
            },
            RecordFilter {
                classes: text(),
                ..Default::default()
            },
            RecordFilter {
                serials: text(),
                ..Default::default()
            },
            RecordFilter {
                models: text(),
                ..Default::default()
            },
            RecordFilter {
                tags: vec![tag(hostile, hostile)],
                ..Default::default()
            },
        ];
        for filter in filters {
            assert!(all(&connection, request(filter.clone())).is_empty(), "{filter:?}");
            for dimension in DIMENSIONS {
                assert!(pareto_counts(&connection, &filter, dimension).is_empty());
            }
        }
    }
    assert_eq!(all(&connection, request(RecordFilter::default())).len(), 1);
}

#[test]
fn the_greatest_filter_is_answered() {
    let mut connection = database(true);
    insert(
        &mut connection,
        (0..100).map(|number| Draft::of_production(number, START_NS + number as i64)),
    );
    let texts = |prefix: &str| (0..filter::VALUES_MAX).map(|n| format!("{prefix}{n}*")).collect::<Vec<String>>();
    let filter = RecordFilter {
        stations: texts("s"),
        from_unix_ns: 1,
        to_unix_ns: i64::MAX,
        verdicts: [1, 2, 3].repeat(33),
        reasons: (0..100).collect(),
        classes: texts("c"),
        cycle_ids: (0..100).collect(),
        serials: texts("SN"),
        recipes: (0..100).collect(),
        models: texts("m"),
        tags: (0..100).map(|n| tag("tool", &n.to_string())).collect(),
        epoch: i64::MAX as u64,
    };
    assert!(all(&connection, request(filter.clone())).is_empty());
    for dimension in DIMENSIONS {
        assert!(pareto_counts(&connection, &filter, dimension).is_empty());
    }
}

#[test]
fn times_at_the_ends_of_time_are_counted() {
    for with_rollups in [true, false] {
        let mut connection = database(with_rollups);
        insert(&mut connection, [i64::MIN, -1, 1, i64::MAX].map(Draft::ok));
        assert_eq!(all(&connection, request(RecordFilter::default())).len(), 4);
        let hours = pareto_counts(&connection, &RecordFilter::default(), Dimension::Hour);
        assert_eq!(hours.values().map(|counts| counts.ok).sum::<u64>(), 4, "{hours:?}");
        let steps = yield_steps(
            &connection,
            &proto::YieldRequest {
                filter: None,
                step_s: 86_400,
            },
        )
        .unwrap()
        .steps;
        assert_eq!(steps.iter().map(|step| step.counts.unwrap().ok).sum::<u64>(), 4);
        assert!(steps.iter().any(|step| step.from_unix_ns == -24 * HOUR_NS));
    }
}

#[test]
fn a_pareto_is_sorted_by_rejects_and_says_what_it_leaves_out() {
    let mut connection = database(true);
    let parts = |recipe, ok, not_ok| {
        let good = (0..ok).map(move |_| Draft {
            recipe,
            ..Draft::ok(START_NS)
        });
        let bad = (0..not_ok).map(move |_| Draft {
            recipe,
            verdict: Verdict::NotOk,
            reason: 1,
            ..Draft::ok(START_NS)
        });
        good.chain(bad)
    };
    insert(
        &mut connection,
        parts(1, 9, 0).chain(parts(2, 1, 3)).chain(parts(3, 2, 3)).chain(parts(4, 9, 0)),
    );
    let asked = proto::ParetoRequest {
        rows_max: 3,
        ..pareto_request(&RecordFilter::default(), Dimension::Recipe)
    };
    let answer = pareto(&connection, &asked).unwrap();
    assert_eq!(answer.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["3", "2", "1"]);
    assert_eq!(answer.others, 9);
}

#[test]
fn a_count_that_would_take_too_long_is_refused() {
    let mut connection = database(false);
    let drafts = (0..100_001).map(|number| Draft {
        tags: vec![("unit", number.to_string())],
        ..Draft::ok(START_NS + number)
    });
    insert(&mut connection, drafts);
    let asked = proto::ParetoRequest {
        tag_name: "unit".into(),
        ..pareto_request(&RecordFilter::default(), Dimension::Tag)
    };
    let error = pareto(&connection, &asked).unwrap_err().to_string();
    assert!(error.contains("more than 100000 rows"), "{error}");
}

#[test]
fn a_record_is_found_with_what_else_is_known_of_its_part() {
    let mut connection = database(false);
    let draft = Draft {
        cycle_id: Some(42),
        ..Draft::ok(START_NS)
    };
    insert(
        &mut connection,
        [
            draft.clone(),
            Draft {
                cycle_id: Some(43),
                ..draft
            },
        ],
    );
    let late = |part_sequence| {
        Body::LateFindings(proto::LateFindings {
            part_sequence,
            cycle_id: Some(42),
            ..Default::default()
        })
    };
    let disposition = |cycle_id, plc_session| {
        Body::Disposition(proto::Disposition {
            cycle_id,
            plc_session,
            kind: 2,
            ..Default::default()
        })
    };
    let more = [
        ("press-3", 3, late(1)),
        ("press-3", 4, late(2)),
        ("press-3", 5, disposition(42, 3)),
        ("press-3", 6, disposition(42, 4)),
    ];
    // Another chain has a part of the same numbers.
    for (station, sequence, body) in more
        .into_iter()
        .chain([("press-4", 1, late(1)), ("press-4", 2, disposition(42, 3))])
    {
        insert_record(&mut connection, record(station, 1, sequence, START_NS + 9, body));
    }
    let key = |sequence| proto::RecordKey {
        station: "press-3".into(),
        epoch: 1,
        sequence,
    };
    let found = get_record(&connection, &key(1)).unwrap().unwrap();
    assert_eq!(found.hash, record_table::hash(&found.bytes));
    let related: Vec<(String, u64)> = found
        .related
        .iter()
        .map(|bytes| proto::Record::decode(bytes.as_slice()).unwrap())
        .map(|r| (r.station, r.sequence))
        .collect();
    assert_eq!(related, [("press-3".to_owned(), 3), ("press-3".into(), 5)]);
    for missing in [
        key(99),
        key(u64::MAX),
        proto::RecordKey { epoch: u64::MAX, ..key(1) },
        proto::RecordKey {
            station: "%".into(),
            ..key(1)
        },
    ] {
        assert_eq!(get_record(&connection, &missing).unwrap(), None);
    }
    // What is no part is no answer to a question about parts.
    assert_eq!(all(&connection, request(RecordFilter::default())).len(), 2);
}

#[test]
fn stations_are_summed_up_without_test_parts() {
    for with_rollups in [true, false] {
        let mut connection = database(with_rollups);
        let reject = Draft {
            verdict: Verdict::NotOk,
            reason: 1,
            ..Draft::ok(START_NS + 5)
        };
        insert(
            &mut connection,
            [
                Draft::ok(START_NS),
                reject,
                Draft {
                    test_part: true,
                    ..Draft::ok(START_NS + 7)
                },
                Draft {
                    epoch: 2,
                    ..Draft::ok(START_NS)
                },
            ],
        );
        let lost = Body::Lost(proto::Lost { from: 4, to: 5, reason: 1 });
        insert_record(&mut connection, record("press-3", 1, 6, START_NS + 99, lost));
        let summaries = stations(&connection).unwrap();
        let counts = |ok, not_ok| {
            Some(proto::Counts {
                ok,
                not_ok,
                not_decidable: 0,
            })
        };
        assert_eq!(summaries.len(), 2);
        assert_eq!(
            (summaries[0].epoch, summaries[0].records, summaries[0].counts),
            (1, 4, counts(1, 1))
        );
        assert_eq!(summaries[0].last_recorded_unix_ns, START_NS + 99);
        assert_eq!(
            (summaries[1].epoch, summaries[1].records, summaries[1].counts),
            (2, 1, counts(1, 0))
        );
    }
}

#[test]
fn only_a_database_of_takt_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let said = |path: &Path| RecordFile::open(path).unwrap_err().to_string();
    assert!(said(&folder.path().join("missing")).contains("no such file"));
    let (text, other, journal) = (
        folder.path().join("text"),
        folder.path().join("other"),
        folder.path().join("journal"),
    );
    std::fs::write(&text, "x".repeat(5000)).unwrap();
    assert!(said(&text).contains("is it a database of takt"));
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    assert!(said(&other).contains("no records of takt"));
    Connection::open(&journal).unwrap().execute_batch(record_table::TABLES).unwrap();
    let file = RecordFile::open(&journal).unwrap();
    assert!(file.connection.execute("DELETE FROM records", []).is_err());
    let key = proto::RecordKey::default();
    assert_eq!(file.images(&key).unwrap(), []);
    // A folder is that of a journal.
    assert!(said(folder.path()).contains("journal.sqlite: there is no such file"));
    std::fs::rename(&journal, folder.path().join("journal.sqlite")).unwrap();
    assert!(RecordFile::open(folder.path()).is_ok());
}

#[test]
fn no_count_scans_the_table_where_an_index_leads_to_what_is_asked_for() {
    let mut connection = database(false);
    let reject = Draft {
        verdict: Verdict::NotOk,
        classes: vec!["dent"],
        ..Draft::ok(START_NS)
    };
    let production = (0..50).map(|number| Draft::of_production(number, START_NS + number as i64));
    insert(&mut connection, production.chain([reject]));
    let lately = RecordFilter {
        from_unix_ns: START_NS + 40,
        ..Default::default()
    };
    let one = RecordFilter {
        cycle_ids: vec![7],
        ..Default::default()
    };
    let rejects = RecordFilter {
        verdicts: vec![2],
        ..Default::default()
    };
    let plan = |filter: &RecordFilter, dimension| {
        let key = counts::Key::of(&pareto_request(filter, dimension)).unwrap();
        plan(
            &connection,
            &counts::walk(&connection, &Filter::of(filter).unwrap(), &key).unwrap().unwrap(),
        )
    };
    for (filter, dimension, expected) in [
        (
            &lately,
            Dimension::Recipe,
            "SEARCH records USING INDEX records_by_time (at_unix_ns>? AND at_unix_ns<?)",
        ),
        (
            &rejects,
            Dimension::Hour,
            "SEARCH records USING INDEX rejects_by_time (at_unix_ns>? AND at_unix_ns<?)",
        ),
        (&one, Dimension::Station, "SEARCH records USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            &lately,
            Dimension::Tag,
            "SEARCH record_labels USING PRIMARY KEY (label=? AND record>? AND record<?)",
        ),
        (
            &RecordFilter::default(),
            Dimension::Class,
            "SEARCH record_labels USING PRIMARY KEY (label=?)",
        ),
        (
            &rejects,
            Dimension::Tag,
            "SEARCH record_labels USING PRIMARY KEY (label=? AND record=?)",
        ),
        (
            &rejects,
            Dimension::Tag,
            "SEARCH records USING INDEX rejects_by_time (at_unix_ns>? AND at_unix_ns<?)",
        ),
    ] {
        let plan = plan(filter, dimension);
        assert!(plan.contains(expected), "{filter:?}\n{plan}");
        assert!(
            !plan.contains("SCAN records") && !plan.contains("SCAN record_labels"),
            "{filter:?}\n{plan}"
        );
    }
}
