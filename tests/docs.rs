//! Tables in `docs/` that repeat what the code says are what the code says.

use takt::line::error_code::{ErrorCode, Level};
use takt::part::Reason;
use takt::plc::signals::{FROM_PLC, FROM_STATION, Kind, Signal};

/// The document has these lines, one after the other.
#[track_caller]
fn assert_holds(document: &str, table: &[String]) {
    let table = table.join("\n");
    assert!(document.contains(&table), "docs/ differs from the code; it should hold:\n{table}");
}

fn row<I>(signal: &Signal<I>) -> String {
    let first = signal.register;
    let last = match signal.kind {
        Kind::Characters => first + signal.count - 1,
        _ => first + signal.width() - 1,
    };
    let every = if signal.kind != Kind::Characters && signal.count > 1 {
        format!(" and every {} on", signal.stride)
    } else {
        String::new()
    };
    let address = match signal.kind {
        Kind::Bit(bit) => format!("{first}, bit {bit}"),
        _ if last > first => format!("{first}-{last}{every}"),
        _ => format!("{first}{every}"),
    };
    format!("| {address} | {} | {} |", signal.name, signal.meaning)
}

#[test]
fn the_register_map_is_the_one_that_is_served() {
    let document = include_str!("../docs/plc.md");
    assert_holds(document, &FROM_PLC.iter().map(row).collect::<Vec<_>>());
    assert_holds(document, &FROM_STATION.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn reasons_and_errors_are_those_that_are_shown() {
    let document = include_str!("../docs/station.md");
    let reasons = Reason::ALL.iter().map(|reason| {
        format!(
            "| {} | `{}` | {} | {} |",
            reason.code(),
            reason.name(),
            reason.text(),
            reason.remedy()
        )
    });
    assert_holds(document, &reasons.collect::<Vec<_>>());
    let errors = ErrorCode::ALL.iter().map(|error| {
        let level = if error.level() == Level::Error { "error" } else { "warning" };
        let latched = if error.is_latched() { ", latched" } else { "" };
        format!(
            "| {} | `{}` | {level}{latched} | {} | {} |",
            error.code(),
            error.name(),
            error.text(),
            error.remedy()
        )
    });
    assert_holds(document, &errors.collect::<Vec<_>>());
}
