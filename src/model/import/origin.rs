//! What is known of a model by who exported it: conventions of trainers, as far as the file shows whose it is. What was told comes first.

use super::file::ModelFile;
use super::input::Range;
use super::{PRED_SCORE, ScoreForm, Told};
use crate::model::manifest::Fit;
use crate::vision::detect::HeadKind;
use crate::vision::preprocess::{Colour, Filter};

/// Adds to what was told what the file says.
///
/// # Errors
/// When it says that takt cannot run it; in words that complete "failed to import ...: ...".
pub(super) fn fill_in(file: &ModelFile<'_>, told: &Told) -> Result<Told, String> {
    let mut known = told.clone();
    if file.has_output(PRED_SCORE) {
        of_anomalib(file, &mut known);
    } else if file.metadata("author") == Some("Ultralytics") {
        of_ultralytics(file, &mut known)?;
    }
    if known.classes.is_empty() {
        known.classes = file.metadata("names").and_then(names).unwrap_or_default();
    }
    Ok(known)
}

/// anomalib 2 reads pictures as RGB and resizes them by torchvision, each axis by itself, whatever the model. Its pre-processor takes values from
/// 0 to 1; without it the input goes straight into the first layer, and nobody can see what that takes.
fn of_anomalib(file: &ModelFile<'_>, known: &mut Told) {
    let inputs = file.model.graph.iter().flat_map(|graph| &graph.input);
    let is_normalised_inside = inputs
        .flat_map(|input| file.first_operators(&input.name))
        .any(|operator| ["Sub", "Resize"].contains(&operator));
    if is_normalised_inside {
        known.range.get_or_insert(Range::Unit);
    }
    known.colour.get_or_insert(Colour::Rgb);
    known.fit.get_or_insert(Fit::Stretch);
    known.filter.get_or_insert(Filter::Bilinear);
}

/// Ultralytics writes into its exports what they are (`Exporter`, its dictionary `metadata`). Its predictors turn pictures to RGB, letterbox them
/// in the middle with grey 114 by OpenCV's `INTER_LINEAR`, and divide by 255 (`LetterBox`, `BasePredictor.preprocess`). Its classifiers cut the
/// middle out of pictures, which takt does not do, so how they get to their size is asked; their exports end in a softmax.
fn of_ultralytics(file: &ModelFile<'_>, known: &mut Told) -> Result<(), String> {
    let task = file.metadata("task").unwrap_or_default();
    match task {
        "detect" | "segment" => {
            known.fit.get_or_insert(Fit::Letterbox);
            known.filter.get_or_insert(Filter::Point);
        }
        "classify" => {
            known.scores.get_or_insert(ScoreForm::Shares);
        }
        other => {
            return Err(format!(
                "it is a model for the task \"{other}\" of Ultralytics; takt runs those of detect, segment and classify"
            ));
        }
    }
    known.colour.get_or_insert(Colour::Rgb);
    known.range.get_or_insert(Range::Unit);
    if known.licence.is_none() && file.metadata("license").is_some_and(|licence| licence.contains("AGPL-3.0")) {
        known.licence = Some("AGPL-3.0-only".into());
    }
    if file.metadata("args").is_some_and(|args| args.contains("'nms': True")) {
        known.head.get_or_insert(HeadKind::EndToEnd);
    }
    if known.size.is_none() {
        known.size = file.metadata("imgsz").and_then(size);
    }
    Ok(())
}

/// Width and height of `[height, width]`.
fn size(text: &str) -> Option<(u32, u32)> {
    let (height, width) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

/// The names of classes in order, as Python writes a dictionary of them: `{0: 'crack', 1: "worker's mark"}`. `None` where it is none, or does not
/// number them from 0.
fn names(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut names = Vec::new();
    while !rest.starts_with('}') {
        let (number, after) = rest.split_once(':')?;
        if number.trim().parse::<usize>() != Ok(names.len()) {
            return None;
        }
        let (name, after) = quoted(after.trim_start())?;
        names.push(name);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    }
    Some(names)
}

/// A string as Python writes it, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mark = text.chars().next().filter(|mark| ['\'', '"'].contains(mark))?;
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            character if character == mark => return Some((name, &text[index + mark.len_utf8()..])),
            character => name.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_python_writes_them() {
        let read = |text| names(text).map(|names| names.join("|"));
        assert_eq!(
            read("{0: 'crack', 1: \"worker's mark\", 2: 'a \\'b\\''}").unwrap(),
            "crack|worker's mark|a 'b'"
        );
        assert_eq!(read("{}").unwrap(), "");
        for broken in [
            "",
            "{0: 'crack'",
            "{1: 'crack'}",
            "{0: crack}",
            "['crack']",
            "{0: 'crack",
            "{0 'crack'}",
            "{0: '\\",
        ] {
            assert_eq!(read(broken), None, "{broken}");
        }
        assert_eq!(size("[480, 640]"), Some((640, 480)));
        assert_eq!(size("[640]"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC*") {
            let _ = (names(&text), size(&text));
        }
    }
}
