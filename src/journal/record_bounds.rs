//! How large a record may be. Pure.
//!
//! A record has to fit into a message to the historian, whatever came from outside: what is too long is cut, and seen to be cut.

use prost::Message;

use crate::rpc::proto::record::Body;
use crate::rpc::proto::{ModelChange, Part, View};

/// Bytes of a text; a longer one is cut and ends in [`CUT`].
pub const TEXT_BYTES_MAX: usize = 1024;

/// Bytes of a record's body; of a larger one first findings go, then views and tags.
pub const BODY_BYTES_MAX: usize = 256 << 10;

/// What a text ends in that was cut.
pub const CUT: &str = "…";

/// Cuts what is too long. Returns whether something was.
pub fn fit(body: &mut Body) -> bool {
    let (cut_texts, views, part) = match body {
        Body::Part(part) => (fit_part(part), None, Some(part)),
        Body::LateFindings(late) => (fit_views(&mut late.views), Some(late), None),
        Body::Disposition(disposition) => return disposition.model_change.as_mut().is_some_and(fit_change),
        Body::Lost(_) => return false,
    };
    if let Some(part) = part.filter(|part| part.encoded_len() > BODY_BYTES_MAX) {
        part.views.iter_mut().for_each(|view| view.findings.clear());
        if part.encoded_len() > BODY_BYTES_MAX {
            part.views.clear();
            part.tags.clear();
        }
        if part.encoded_len() > BODY_BYTES_MAX {
            part.models.clear();
        }
        return true;
    }
    if let Some(late) = views.filter(|late| late.encoded_len() > BODY_BYTES_MAX) {
        late.views.iter_mut().for_each(|view| view.findings.clear());
        if late.encoded_len() > BODY_BYTES_MAX {
            late.views.clear();
        }
        return true;
    }
    cut_texts
}

fn fit_change(change: &mut ModelChange) -> bool {
    let models = [&mut change.from, &mut change.to].into_iter().flatten();
    let texts = models.flat_map(|model| [&mut model.name, &mut model.version]);
    let own = [&mut change.inspection, &mut change.by, &mut change.package, &mut change.reason];
    own.into_iter().chain(texts).fold(false, |cut, text| fit_text(text) | cut)
}

fn fit_part(part: &mut Part) -> bool {
    let mut cut = fit_views(&mut part.views);
    let models = part.models.iter_mut().flat_map(|model| [&mut model.name, &mut model.version]);
    let tags = part.tags.iter_mut().flat_map(|tag| [&mut tag.name, &mut tag.value]);
    for text in [&mut part.serial, &mut part.recipe_name, &mut part.recipe_revision]
        .into_iter()
        .chain(models)
        .chain(tags)
    {
        cut |= fit_text(text);
    }
    cut
}

fn fit_views(views: &mut [View]) -> bool {
    let mut cut = false;
    for view in views {
        let classes = view.findings.iter_mut().map(|finding| &mut finding.class);
        let model = view.model.iter_mut().flat_map(|model| [&mut model.name, &mut model.version]);
        for text in [&mut view.inspection, &mut view.camera].into_iter().chain(classes).chain(model) {
            cut |= fit_text(text);
        }
    }
    cut
}

fn fit_text(text: &mut String) -> bool {
    if text.len() <= TEXT_BYTES_MAX {
        return false;
    }
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX - CUT.len()));
    text.push_str(CUT);
    text.shrink_to_fit();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::proto::{self, Finding, Tag};

    fn part(serial: String, tags: usize, findings: usize) -> Body {
        let finding = Finding {
            class: "x".repeat(500),
            ..Finding::default()
        };
        Body::Part(Box::new(Part {
            serial,
            tags: vec![
                Tag {
                    name: "n".repeat(900),
                    value: "v".repeat(900),
                };
                tags
            ],
            views: vec![View {
                findings: vec![finding; findings],
                ..View::default()
            }],
            ..Part::default()
        }))
    }

    #[test]
    fn ten_megabytes_of_serial_are_cut_at_a_letter_and_seen_to_be() {
        let mut body = part("äö".repeat(2_500_000), 1, 1);
        assert!(fit(&mut body));
        let Body::Part(part) = body else { panic!() };
        assert!(
            part.serial.len() <= TEXT_BYTES_MAX && part.serial.ends_with("äö…"),
            "{}",
            part.serial.len()
        );
        assert_eq!((part.tags.len(), part.views[0].findings.len()), (1, 1));
    }

    #[test]
    fn what_whoever_asks_for_models_says_is_cut_too() {
        let mut body = Body::Disposition(proto::Disposition {
            model_change: Some(ModelChange {
                reason: "r".repeat(1_000_000),
                package: "p".repeat(TEXT_BYTES_MAX),
                by: "b".repeat(TEXT_BYTES_MAX + 1),
                ..ModelChange::default()
            }),
            ..proto::Disposition::default()
        });
        assert!(fit(&mut body) && !fit(&mut body));
        let Body::Disposition(proto::Disposition {
            model_change: Some(change),
            ..
        }) = body
        else {
            panic!()
        };
        assert!(change.reason.ends_with(CUT) && change.by.ends_with(CUT) && !change.package.ends_with(CUT));
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut body = part("A-1".into(), 2, 2);
        let before = body.clone();
        assert!(!fit(&mut body));
        assert_eq!(body, before);
    }

    #[test]
    fn a_record_fits_whatever_is_too_much_in_it() {
        for (tags, findings) in [(0, 10_000), (10_000, 0), (10_000, 10_000)] {
            let mut body = part(String::new(), tags, findings);
            assert!(fit(&mut body));
            let Body::Part(part) = body else { panic!() };
            assert!(part.encoded_len() <= BODY_BYTES_MAX);
            assert!(part.views.iter().all(|view| view.findings.is_empty()) && part.tags.is_empty());
        }
    }
}
