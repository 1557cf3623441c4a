//! The configuration: what is wrong with it, and what should be known.

use std::path::Path;

use crate::doctor::{Check, Finding, Status};

/// What is wrong with a configuration file, one error a finding.
pub fn errors(file: &Path, lines: &[String]) -> Vec<Finding> {
    let finding = |line: &String| {
        let finding = Finding::failed(Check::Config, line);
        let place = line.strip_prefix(&format!("{}:", file.display())).unwrap_or_default();
        let mut numbers = place.splitn(3, ':').map_while(|number| number.parse::<u64>().ok());
        let finding = finding.value("file", file.display().to_string());
        match (numbers.next(), numbers.next()) {
            (Some(line), Some(column)) => finding.value("line", line).value("column", column),
            _ => finding,
        }
    };
    lines.iter().map(finding).collect()
}

/// What is right with it, and what should be known.
pub fn read(file: &Path, station: &str, warnings: &[String]) -> Vec<Finding> {
    let read = Finding::new(Check::Config, Status::Ok, format!("station {station}, {}", file.display()))
        .value("file", file.display().to_string())
        .value("station", station);
    let warned = warnings.iter().map(|warning| match warning.split_once("; ") {
        Some((fact, remedy)) => Finding::new(Check::Config, Status::Warning, fact).remedy(remedy),
        None => Finding::new(Check::Config, Status::Warning, warning.as_str()),
    });
    std::iter::once(read).chain(warned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::is;

    #[test]
    fn every_error_of_a_file_has_its_place() {
        let lines = [
            "a.toml:14:12: failed to read camera \"top\": unknown key \"exposure\"; did you mean \"exposure_us\"?".to_owned(),
            "a.toml: failed to read the file: No such file; check its path".to_owned(),
        ];
        let found = errors(Path::new("a.toml"), &lines);
        is(&found[0], Status::Failed, &["a.toml:14:12: failed to read camera", "did you mean"]);
        assert_eq!(
            (found[0].values["line"].as_u64(), found[0].values["column"].as_u64()),
            (Some(14), Some(12))
        );
        assert!(!found[1].values.contains_key("line"));
        let read = read(Path::new("a.toml"), "press-1", &["b is open; close it".to_owned()]);
        is(&read[0], Status::Ok, &["press-1"]);
        is(&read[1], Status::Warning, &["b is open", "close it"]);
    }
}
