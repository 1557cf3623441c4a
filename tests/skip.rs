//! Checks that cannot be made here say so, on the screen and in the list that `.ci/run` prints.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that `test` is skipped and why.
pub(crate) fn skip(test: &str, reason: &str) {
    println!("SKIP: {test}: {reason}");
    if let Some(log) = std::env::var_os("TAKT_SKIP_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        // One write, so that lines of tests that run at the same time do not mix.
        log.write_all(format!("{test}: {reason}\n").as_bytes()).unwrap();
    }
}
