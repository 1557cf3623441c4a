//! What is known of a box, and what that means. Pure: facts in, findings out.

pub mod cameras;
pub mod config;
pub mod engine;
pub mod machine;
pub mod peers;
pub mod records;

/// Holds a finding against its status and words that it must say. What does not work, or should be looked at, tells what to do; what is as it
/// should be does not.
#[cfg(test)]
#[track_caller]
fn is(finding: &super::Finding, status: super::Status, words: &[&str]) {
    use super::Status;

    assert_eq!(finding.status, status, "{finding:#?}");
    let said = format!("{} {}", finding.fact, finding.remedy);
    for word in words {
        assert!(said.contains(word), "\"{word}\" is missing in {finding:#?}");
    }
    match status {
        Status::Ok => assert!(finding.remedy.is_empty(), "a remedy for nothing in {finding:#?}"),
        Status::Unknown => {}
        Status::Warning | Status::Failed => assert!(!finding.remedy.is_empty(), "no remedy in {finding:#?}"),
    }
}
