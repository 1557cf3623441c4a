use super::super::area::{Area, Outline};
use super::super::criterion::Zone;
use super::super::geometry::{Point, Polygon, Rect};
use super::super::measure::Scale;
use super::super::pose::Whereabouts;
use super::*;
use crate::part::{Measures, Region};
use proptest::prelude::*;

const FRAME: Region = Region {
    x: 0,
    y: 0,
    width: 200,
    height: 100,
};

const THRESHOLD: f32 = 0.5;

fn found(class: &str, score: f32, (x, y, width, height): (u32, u32, u32, u32), length_px: f32) -> Finding {
    let measures = Measures {
        length_px: Some(length_px),
        ..Measures::default()
    };
    Finding {
        measures,
        ..Finding::somewhere_in(Region { x, y, width, height }, class, score)
    }
}

fn objects(defects: Vec<Finding>) -> Seen {
    Seen::Objects {
        defects,
        is_complete: true,
    }
}

fn rules(criteria: Vec<Criterion>) -> Rules {
    Rules {
        criteria,
        defect_code: 9,
        ..Rules::default()
    }
}

fn judged(seen: Seen, rules: &Rules) -> Judgement {
    judge_seen(
        seen,
        THRESHOLD,
        &rules.placed((FRAME.width, FRAME.height), Whereabouts::AsDrawn).unwrap(),
    )
}

fn told(judgement: &Judgement) -> (Verdict, Option<Reason>, Option<Severity>, u16) {
    (judgement.verdict, judgement.reason, judgement.severity, judgement.defect_code)
}

const OK: (Verdict, Option<Reason>, Option<Severity>, u16) = (Verdict::Ok, None, None, 0);
const UNMEASURED: (Verdict, Option<Reason>, Option<Severity>, u16) = (Verdict::NotDecidable, Some(Reason::Unmeasured), None, 0);

// ---- without criteria ----

#[test]
fn each_box_counts_for_itself() {
    let seen = || objects(vec![found("dent", 0.9, (0, 0, 4, 4), 5.6), found("dent", 0.5, (9, 9, 4, 4), 5.6)]);
    let plain = judged(seen(), &rules(vec![]));
    assert_eq!(told(&plain), (Verdict::NotOk, Some(Reason::Defect), None, 9));
    assert_eq!(
        (plain.score, plain.findings.len()),
        (0.9, 1),
        "the other one is not above the threshold"
    );
    let coarse = Rules {
        min_area_px: 17,
        ..rules(vec![])
    };
    let small = judged(seen(), &coarse);
    assert_eq!((told(&small), small.findings.len()), (OK, 0));
    assert_eq!(told(&judged(objects(vec![]), &rules(vec![]))), OK);
}

#[test]
fn classes_count_together_and_the_worst_stands_for_them_whatever_its_area() {
    let shares = |first: f32, second: f32| Seen::Classes {
        score: first + second,
        defects: vec![
            Finding::somewhere_in(FRAME, "dent", first),
            Finding::somewhere_in(FRAME, "scratch", second),
        ],
    };
    let coarse = Rules {
        min_area_px: u32::MAX,
        ..rules(vec![])
    };
    let judgement = judged(shares(0.3, 0.25), &coarse);
    assert_eq!(told(&judgement), (Verdict::NotOk, Some(Reason::Defect), None, 9));
    let classes: Vec<(&str, f32)> = judgement
        .findings
        .iter()
        .map(|finding| (finding.class.as_str(), finding.score))
        .collect();
    assert_eq!(classes, [("dent", 0.3)]);
    assert_eq!(told(&judged(shares(0.3, 0.2), &coarse)), OK);
}

#[test]
fn what_is_no_number_is_not_decided() {
    let seen = [
        Seen::Unreadable,
        Seen::Anomaly {
            score: f32::NAN,
            regions: Some(vec![]),
        },
        Seen::Classes {
            score: f32::NAN,
            defects: vec![],
        },
    ];
    for seen in seen {
        for criteria in [vec![], vec![Criterion::default()]] {
            let judgement = judged(seen.clone(), &rules(criteria));
            assert_eq!(
                told(&judgement),
                (Verdict::NotDecidable, Some(Reason::ModelOutput), None, 0),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn boxes_that_were_dropped_may_be_the_ones_that_count() {
    let defects = vec![found("dent", 0.9, (0, 0, 4, 4), 5.6)];
    let seen = Seen::Objects {
        defects,
        is_complete: false,
    };
    let beside = Rules {
        area: Area {
            outline: Outline::Rect(Region {
                x: 50,
                ..Region::whole(50, 50)
            }),
            exclude: vec![square(60.0, 10.0, 5.0)],
        },
        ..rules(vec![])
    };
    assert_eq!(told(&judged(seen, &beside)), UNMEASURED);
}

// ---- criteria ----

fn square(x: f64, y: f64, side: f64) -> Polygon {
    Polygon::of_rect(Rect {
        left: x,
        top: y,
        right: x + side,
        bottom: y + side,
    })
}

#[test]
fn the_worst_criterion_that_is_met_decides() {
    let of = |class: &str, severity: Severity, defect_code: u16| Criterion {
        class: Some(class.into()),
        severity,
        defect_code,
        ..Criterion::default()
    };
    let recipe = rules(vec![
        of("scratch", Severity::Minor, 11),
        of("dent", Severity::Major, 12),
        of("hole", Severity::Critical, 13),
        of("hole", Severity::Critical, 14),
    ]);
    let scratch = || found("scratch", 0.9, (0, 0, 9, 4), 9.0);
    let dent = || found("dent", 0.7, (20, 0, 9, 4), 9.0);
    let hole = || found("hole", 0.6, (40, 0, 9, 4), 9.0);
    let all = judged(objects(vec![scratch(), dent(), hole()]), &recipe);
    assert_eq!(told(&all), (Verdict::NotOk, Some(Reason::Defect), Some(Severity::Critical), 13));
    let order: Vec<(&str, Option<Severity>)> = all
        .findings
        .iter()
        .map(|finding| (finding.class.as_str(), finding.severity))
        .collect();
    let expected = [
        ("hole", Some(Severity::Critical)),
        ("dent", Some(Severity::Major)),
        ("scratch", Some(Severity::Minor)),
    ];
    assert_eq!(order, expected);
    let few = judged(objects(vec![scratch(), dent()]), &recipe);
    assert_eq!(told(&few), (Verdict::NotOk, Some(Reason::Defect), Some(Severity::Major), 12));
    // What no criterion names does not count.
    assert_eq!(told(&judged(objects(vec![found("dust", 0.99, (0, 0, 9, 9), 9.0)]), &recipe)), OK);
}

#[test]
fn what_is_noted_passes_and_is_kept() {
    let noted = Criterion {
        severity: Severity::Minor,
        rejects: false,
        ..Criterion::default()
    };
    let judgement = judged(objects(vec![found("scratch", 0.9, (0, 0, 9, 4), 9.0)]), &rules(vec![noted]));
    assert_eq!(told(&judgement), (Verdict::Ok, None, Some(Severity::Minor), 0));
    assert_eq!(judgement.findings[0].severity, Some(Severity::Minor));
}

#[test]
fn size_place_and_count() {
    let meets = |criterion: Criterion, findings: Vec<Finding>| {
        let recipe = Rules {
            area: Area::of_region(Some(Region {
                x: 10,
                y: 10,
                width: 150,
                height: 80,
            })),
            zones: vec![Zone {
                name: "seat".into(),
                polygon: square(100.0, 50.0, 20.0),
            }],
            scale: Scale::new(0.5),
            ..rules(vec![criterion])
        };
        judged(objects(findings), &recipe).verdict == Verdict::NotOk
    };
    let one = || vec![found("scratch", 0.9, (30, 40, 20, 10), 22.0)];
    let ask = |change: fn(&mut Criterion)| {
        let mut criterion = Criterion::default();
        change(&mut criterion);
        criterion
    };
    assert!(meets(ask(|c| c.area_px_min = Some(200.0)), one()) && !meets(ask(|c| c.area_px_min = Some(201.0)), one()));
    assert!(meets(ask(|c| c.area_mm2_min = Some(50.0)), one()) && !meets(ask(|c| c.area_mm2_min = Some(50.1)), one()));
    assert!(meets(ask(|c| c.length_px_min = Some(22.0)), one()) && !meets(ask(|c| c.length_px_min = Some(22.1)), one()));
    assert!(meets(ask(|c| c.length_mm_min = Some(11.0)), one()) && !meets(ask(|c| c.length_mm_min = Some(11.1)), one()));
    // 20 px from the left edge of the region.
    assert!(meets(ask(|c| c.edge_distance_px_max = Some(20.0)), one()) && !meets(ask(|c| c.edge_distance_px_max = Some(19.9)), one()));
    assert!(meets(ask(|c| c.edge_distance_mm_max = Some(10.0)), one()) && !meets(ask(|c| c.edge_distance_mm_max = Some(9.9)), one()));
    assert!(!meets(ask(|c| c.within = Some(0)), one()));
    assert!(
        meets(ask(|c| c.within = Some(0)), vec![found("scratch", 0.9, (90, 60, 11, 5), 11.0)]),
        "it reaches into the zone"
    );
    let two = || vec![found("pore", 0.9, (30, 40, 2, 2), 2.8), found("pore", 0.6, (60, 40, 2, 2), 2.8)];
    assert!(meets(ask(|c| c.count_min = 2), two()) && !meets(ask(|c| c.count_min = 2), one()) && !meets(ask(|c| c.count_min = 3), two()));
    // A criterion may ask for more than the threshold, or for less.
    assert!(!meets(ask(|c| c.score_min = Some(0.91)), one()));
    assert!(meets(
        ask(|c| c.score_min = Some(0.1)),
        vec![found("pore", 0.2, (30, 40, 2, 2), 2.8)]
    ));
}

#[test]
fn a_measure_that_is_missing_is_never_ok() {
    let asks = [
        Criterion {
            length_mm_min: Some(2.0),
            ..Criterion::default()
        },
        Criterion {
            area_mm2_min: Some(2.0),
            ..Criterion::default()
        },
        Criterion {
            edge_distance_mm_max: Some(2.0),
            ..Criterion::default()
        },
        // A zone that is not there.
        Criterion {
            within: Some(0),
            ..Criterion::default()
        },
    ];
    for criterion in asks {
        let seen = objects(vec![found("scratch", 0.9, (0, 0, 9, 4), 9.0)]);
        let noted = Criterion {
            rejects: false,
            ..criterion.clone()
        };
        for criterion in [criterion, noted] {
            assert_eq!(told(&judged(seen.clone(), &rules(vec![criterion]))), UNMEASURED);
        }
    }
    // Whole pictures have no place, and a polygon leaves nothing out of them.
    let shares = || Seen::Classes {
        score: 0.9,
        defects: vec![Finding::somewhere_in(FRAME, "dent", 0.9)],
    };
    let long = Criterion {
        length_px_min: Some(1.0),
        ..Criterion::default()
    };
    assert_eq!(told(&judged(shares(), &rules(vec![long]))), UNMEASURED);
    let polygon = Rules {
        area: Area {
            outline: Outline::Polygon(square(0.0, 0.0, 50.0)),
            exclude: vec![],
        },
        ..rules(vec![])
    };
    assert_eq!(told(&judged(shares(), &polygon)), UNMEASURED);
    // An anomaly that nobody can point at.
    for regions in [None, Some(vec![])] {
        let seen = Seen::Anomaly { score: 0.9, regions };
        let large = Criterion {
            area_px_min: Some(4.0),
            ..Criterion::default()
        };
        assert_eq!(told(&judged(seen, &rules(vec![large]))), UNMEASURED);
    }
    // But what is rejected anyway is rejected.
    let certain = Criterion {
        severity: Severity::Major,
        ..Criterion::default()
    };
    let long = Criterion {
        length_mm_min: Some(2.0),
        severity: Severity::Critical,
        ..Criterion::default()
    };
    let both = judged(objects(vec![found("scratch", 0.9, (0, 0, 9, 4), 9.0)]), &rules(vec![long, certain]));
    assert_eq!((both.verdict, both.severity), (Verdict::NotOk, Some(Severity::Major)));
}

#[test]
fn findings_without_end_are_judged_all_and_kept_in_part() {
    let mut defects: Vec<Finding> = (0..FINDINGS_MAX as u32 + 10)
        .map(|x| found("pore", 0.9, (x, 0, 1, 1), 1.4))
        .collect();
    defects.push(found("pore", 0.6, (0, 50, 40, 4), 40.0));
    let long = Criterion {
        length_px_min: Some(20.0),
        ..Criterion::default()
    };
    let judgement = judged(objects(defects.clone()), &rules(vec![long]));
    assert_eq!((judgement.verdict, judgement.findings.len()), (Verdict::NotOk, 1));
    let coarse = Rules {
        min_area_px: 100,
        ..rules(vec![])
    };
    assert_eq!(judged(objects(defects.clone()), &coarse).findings.len(), 1);
    assert_eq!(judged(objects(defects), &rules(vec![])).findings.len(), FINDINGS_MAX);
}

// ---- whatever comes ----

fn any_finding() -> impl Strategy<Value = Finding> {
    let class = prop::sample::select(vec!["scratch", "dent", "hole"]);
    (
        class,
        0.0_f32..1.0,
        (0_u32..180, 0_u32..90, 1_u32..20, 1_u32..10),
        prop::option::of(1.0_f32..30.0),
    )
        .prop_map(|(class, score, place, length)| {
            let mut finding = found(class, score, place, 0.0);
            finding.measures.length_px = length;
            finding
        })
}

fn any_criterion() -> impl Strategy<Value = Criterion> {
    let class = prop::option::of(prop::sample::select(vec!["scratch".to_owned(), "dent".into(), "hole".into()]));
    let maybe = |to: f64| prop::option::weighted(0.3, 0.0..to);
    let sizes = (maybe(200.0), maybe(50.0), maybe(30.0), maybe(15.0));
    let place = (prop::option::weighted(0.3, 0_usize..2), maybe(60.0), maybe(30.0));
    let outcome = (prop::sample::select(Severity::ALL.to_vec()), any::<bool>(), 1_u16..99);
    (class, prop::option::weighted(0.3, 0.0_f32..1.0), sizes, place, 1_u32..4, outcome).prop_map(
        |(class, score_min, sizes, place, count_min, (severity, rejects, defect_code))| Criterion {
            class,
            score_min,
            area_px_min: sizes.0,
            area_mm2_min: sizes.1,
            length_px_min: sizes.2,
            length_mm_min: sizes.3,
            within: place.0,
            edge_distance_px_max: place.1,
            edge_distance_mm_max: place.2,
            count_min,
            severity,
            rejects,
            defect_code,
        },
    )
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let criteria = prop::collection::vec(any_criterion(), 1..5);
    (criteria, prop::option::of(0.1_f64..2.0), 0_u32..40, 0_usize..3).prop_map(|(criteria, mm_per_px, min_area_px, zones)| {
        let zone = |index: usize| Zone {
            name: index.to_string(),
            polygon: square(30.0 + 60.0 * index as f64, 20.0, 40.0),
        };
        Rules {
            zones: (0..zones).map(zone).collect(),
            min_area_px,
            scale: mm_per_px.and_then(Scale::new),
            ..rules(criteria)
        }
    })
}

/// The rules in other words, where everything is known: loops over all findings, and rectangles for zones.
fn rejects(rules: &Rules, findings: &[Finding]) -> bool {
    let scale = rules.scale.unwrap().mm_per_px;
    rules.criteria.iter().filter(|criterion| criterion.rejects).any(|criterion| {
        let mut count = 0;
        for finding in findings.iter().filter(|finding| finding.area_px >= rules.min_area_px) {
            let (x, y) = (f64::from(finding.x), f64::from(finding.y));
            let (right, bottom) = (x + f64::from(finding.width), y + f64::from(finding.height));
            let (area, length) = (f64::from(finding.area_px), f64::from(finding.measures.length_px.unwrap()));
            let distance = x.min(y).min(200.0 - right).min(100.0 - bottom).max(0.0);
            let in_zone = |zone: usize| {
                let left = 30.0 + 60.0 * zone as f64;
                x <= left + 40.0 && right >= left && y <= 60.0 && bottom >= 20.0
            };
            let wanted = criterion.class.as_ref().is_none_or(|class| *class == finding.class)
                && criterion
                    .score_min
                    .map_or(finding.score > THRESHOLD, |least| finding.score >= least)
                && criterion.area_px_min.is_none_or(|least| area >= least)
                && criterion.area_mm2_min.is_none_or(|least| area * scale * scale >= least)
                && criterion.length_px_min.is_none_or(|least| length >= least)
                && criterion.length_mm_min.is_none_or(|least| length * scale >= least)
                && criterion.edge_distance_px_max.is_none_or(|most| distance <= most)
                && criterion.edge_distance_mm_max.is_none_or(|most| distance * scale <= most)
                && criterion.within.is_none_or(in_zone);
            count += u32::from(wanted);
        }
        count >= criterion.count_min
    })
}

proptest! {
    #[test]
    fn where_all_is_known_it_is_decided_as_the_words_say(mut rules in any_rules(), mut findings in prop::collection::vec(any_finding(), 0..8), lengths in prop::collection::vec(1.0_f32..30.0, 8)) {
        complete(&mut rules, &mut findings, &lengths, 0.7);
        let judgement = judged(objects(findings.clone()), &rules);
        prop_assert_eq!(judgement.verdict == Verdict::NotOk, rejects(&rules, &findings));
        prop_assert_ne!(judgement.verdict, Verdict::NotDecidable);
        // What a part is rejected for is told, with the severity and the number of one criterion.
        if judgement.verdict == Verdict::NotOk {
            prop_assert!(rules.criteria.iter().any(|criterion| (Some(criterion.severity), criterion.defect_code) == (judgement.severity, judgement.defect_code)));
            prop_assert!(judgement.findings.iter().any(|finding| finding.severity >= judgement.severity));
        }
    }

    #[test]
    fn what_is_decided_stands_whatever_the_unknown_turns_out_to_be(
        mut rules in any_rules(), mut findings in prop::collection::vec(any_finding(), 0..8), lengths in prop::collection::vec(1.0_f32..30.0, 8), scale in 0.1_f64..2.0,
    ) {
        let before = judged(objects(findings.clone()), &rules);
        complete(&mut rules, &mut findings, &lengths, scale);
        let after = judged(objects(findings), &rules);
        if before.verdict != Verdict::NotDecidable {
            prop_assert_eq!(before.verdict, after.verdict);
        }
        prop_assert_ne!(after.verdict, Verdict::NotDecidable);
    }

    #[test]
    fn more_findings_never_make_a_part_ok(rules in any_rules(), findings in prop::collection::vec(any_finding(), 1..8)) {
        let fewer = judged(objects(findings[1..].to_vec()), &rules);
        let all = judged(objects(findings), &rules);
        // What is only noted may become known with one more.
        let all_reject = rules.criteria.iter().all(|criterion| criterion.rejects);
        prop_assert!(!all_reject || fewer.verdict == Verdict::Ok || all.verdict != Verdict::Ok);
        prop_assert!(fewer.verdict != Verdict::NotOk || all.verdict == Verdict::NotOk);
    }
}

/// Makes everything known that was not.
fn complete(rules: &mut Rules, findings: &mut [Finding], lengths: &[f32], mm_per_px: f64) {
    rules.scale = rules.scale.or(Scale::new(mm_per_px));
    while rules.zones.len() < 2 {
        let index = rules.zones.len();
        rules.zones.push(Zone {
            name: index.to_string(),
            polygon: square(30.0 + 60.0 * index as f64, 20.0, 40.0),
        });
    }
    for (finding, length) in findings.iter_mut().zip(lengths) {
        finding.measures.length_px.get_or_insert(*length);
    }
    assert!(
        rules
            .zones
            .iter()
            .all(|zone| zone.polygon.contains(Point::new(zone.polygon.bounds().left + 1.0, 30.0)))
    );
}
