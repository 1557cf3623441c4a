//! Text and numbers as HTML. Every string that comes from outside passes [`text`]; every number passes one of the formatters, so that
//! what was not measured reads as words and never as `NaN`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Picture;
use crate::teach::calibration::Interval;

/// What stands where there is no number.
pub(super) const NOT_MEASURED: &str = "not measured";

/// `raw` as HTML text that is also safe inside a quoted attribute. Control characters, which HTML forbids, become U+FFFD.
pub(crate) fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// The HTML of each item, one after the other.
pub(super) fn each<T>(items: impl IntoIterator<Item = T>, html: impl FnMut(T) -> String) -> String {
    items.into_iter().map(html).collect::<Vec<_>>().concat()
}

/// A picture as the source of an `img` element, bytes included.
pub(super) fn data_uri(picture: &Picture) -> String {
    format!("data:{};base64,{}", text(picture.mime), STANDARD.encode(&picture.bytes))
}

/// `value` with `decimals` digits after the point, thousands apart.
pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return NOT_MEASURED.into();
    };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain
        .split_once('.')
        .map_or((plain.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("\u{2212}", digits));
    let grouped: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
    // A thin space that does not break a line.
    format!("{sign}{}{fraction}", grouped.join("\u{202f}"))
}

/// An anomaly score: four significant digits, whatever its unit.
pub(super) fn score(value: Option<f32>) -> String {
    let value = value.map(f64::from).filter(|value| value.is_finite());
    let digits_before_point = value
        .filter(|value| *value != 0.0)
        .map_or(1, |value| value.abs().log10().floor() as i32 + 1);
    number(value, (4 - digits_before_point).clamp(0, 6) as usize)
}

/// A share of 1 in percent, one decimal.
pub(super) fn percent(share: Option<f64>) -> String {
    with_unit(number(share.map(|share| share * 100.0), 1), "%")
}

/// Both ends of an interval of shares in percent.
pub(super) fn interval(interval: Interval) -> String {
    format!("{} to {}", number(Some(interval.low * 100.0), 1), percent(Some(interval.high)))
}

/// A duration in milliseconds, with more digits the shorter it is.
pub(super) fn milliseconds(duration_us: Option<u64>) -> String {
    let decimals = match duration_us {
        Some(0..10_000) => 2,
        Some(10_000..100_000) => 1,
        _ => 0,
    };
    with_unit(number(duration_us.map(|us| us as f64 / 1000.0), decimals), "ms")
}

/// A number and its unit on one line; words and numbers without a unit stay as they are.
pub(super) fn with_unit(number: String, unit: &str) -> String {
    if unit.is_empty() || number == NOT_MEASURED {
        return number;
    }
    format!("{number}\u{a0}{}", text(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element_or_attribute() {
        assert_eq!(
            text("<b a=\"x\" b='y'>&amp;</b>"),
            "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;&lt;/b&gt;"
        );
        assert_eq!(text("a\u{0}b\u{1b}c\nd"), "a\u{fffd}b\u{fffd}c\nd");
        assert_eq!(text("Schweißnaht 木"), "Schweißnaht 木");
    }

    #[test]
    fn numbers_are_grouped_and_missing_ones_are_words() {
        assert_eq!(number(Some(1_234_567.891), 2), "1\u{202f}234\u{202f}567.89");
        assert_eq!(number(Some(-12.5), 1), "\u{2212}12.5");
        assert_eq!(number(Some(999.0), 0), "999");
        for missing in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
            assert_eq!(number(missing, 3), NOT_MEASURED);
            assert_eq!(percent(missing), NOT_MEASURED);
        }
        assert_eq!(score(Some(f32::NAN)), NOT_MEASURED);
        assert_eq!(milliseconds(None), NOT_MEASURED);
    }

    #[test]
    fn scores_keep_four_digits() {
        let cases = [
            (0.0, "0.000"),
            (0.001_234_6, "0.001235"),
            (0.5, "0.5000"),
            (3.25, "3.250"),
            (42.125, "42.12"),
            (1234.5, "1\u{202f}234"),
        ];
        for (value, expected) in cases {
            assert_eq!(score(Some(value)), expected);
        }
    }

    #[test]
    fn durations_and_shares_carry_their_unit() {
        assert_eq!(milliseconds(Some(1_234)), "1.23\u{a0}ms");
        assert_eq!(milliseconds(Some(12_345)), "12.3\u{a0}ms");
        assert_eq!(milliseconds(Some(1_234_567)), "1\u{202f}235\u{a0}ms");
        assert_eq!(percent(Some(0.0333)), "3.3\u{a0}%");
        assert_eq!(interval(Interval { low: 0.004, high: 0.115 }), "0.4 to 11.5\u{a0}%");
    }
}
