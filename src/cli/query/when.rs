//! Moments as people write and read them. All are in UTC: stations of several places are compared, and days have 24 hours.

use jiff::Timestamp;

/// Reads a moment: RFC 3339, a date (its beginning, UTC), or so long before `now`: 90s, 30m, 2h, 7d, 4w. Unix nanoseconds.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<i64, String> {
    let unix_ns = match ago_s(text) {
        Some(seconds) => now.as_nanosecond() - i128::from(seconds) * 1_000_000_000,
        None => match format!("{text}T00:00:00Z").parse::<Timestamp>() {
            Ok(date) => date.as_nanosecond(),
            Err(_) => text.parse::<Timestamp>().map_err(|_| unreadable(text))?.as_nanosecond(),
        },
    };
    // 0 would be no limit.
    i64::try_from(unix_ns)
        .ok()
        .filter(|unix_ns| *unix_ns > 0)
        .ok_or_else(|| format!("{text} is not between 1970 and 2262"))
}

fn unreadable(text: &str) -> String {
    format!("{text:?} is no time; write 2025-06-01T12:00:00Z, 2025-06-01 (UTC), or how long ago: 90s, 30m, 2h, 7d")
}

/// Reads the length of a step, seconds.
pub(super) fn step_s(text: &str) -> Result<u32, String> {
    ago_s(text)
        .filter(|seconds| *seconds > 0 && seconds % 3600 == 0)
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or_else(|| format!("{text:?} is no step; write whole hours or days: 1h, 8h, 1d, 7d"))
}

fn ago_s(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let length: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    length.checked_mul(seconds)
}

/// Date, and time of day with milliseconds.
pub(super) fn date_and_time(unix_ns: i64) -> (String, String) {
    let time = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    (time.strftime("%Y-%m-%d").to_string(), time.strftime("%H:%M:%S.%3f").to_string())
}

/// RFC 3339 with milliseconds.
pub(super) fn rfc3339(unix_ns: i64) -> String {
    let (date, time) = date_and_time(unix_ns);
    format!("{date}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2025-06-10T12:00:00Z".parse().unwrap();
        let told = |text: &str| moment(text, now).map(rfc3339);
        assert_eq!(told("2h").unwrap(), "2025-06-10T10:00:00.000Z");
        assert_eq!(told("7d").unwrap(), "2025-06-03T12:00:00.000Z");
        assert_eq!(told("2025-06-01").unwrap(), "2025-06-01T00:00:00.000Z");
        assert_eq!(told("2025-06-01T12:00:00+02:00").unwrap(), "2025-06-01T10:00:00.000Z");
        for nonsense in [
            "",
            "h",
            "-2h",
            "2 h",
            "7y",
            "yesterday",
            "2025-13-01",
            "99999999999999999999d",
            "9999999999d",
            "1969-01-01",
            "1d1d",
            "é",
        ] {
            assert!(told(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn steps_are_whole_hours() {
        assert_eq!(step_s("1h"), Ok(3600));
        assert_eq!(step_s("1d"), Ok(86_400));
        for nonsense in ["", "90m", "0h", "1", "99999999w"] {
            assert!(step_s(nonsense).is_err(), "{nonsense}");
        }
    }
}
