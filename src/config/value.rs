//! What a single value may be. Each kind answers with the value, or with what it expects: words that complete "give ...".

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeValue};

use crate::capture::v4l::ControlSetting;

use crate::telemetry::log;

/// Characters of a value or key that are shown in a message.
const SHOWN_MAX: usize = 64;

/// Characters of a name.
const NAME_MAX: usize = 64;

/// Characters of a path or a source description.
const LINE_MAX: usize = 4096;

/// Controls of one camera that are set.
const CONTROLS_MAX: usize = 64;

/// A whole number.
pub(super) fn whole(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        match value {
            DeValue::Integer(integer) => number_of(integer).filter(|number| range.contains(number)),
            _ => None,
        }
        .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A whole number of up to 32 bits.
pub(super) fn whole_u32(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Result<u32, String> {
    let wide = whole(u64::from(*range.start())..=u64::from(*range.end()));
    move |value| Ok(wide(value)? as u32)
}

/// A number of 16 bits that is not 0.
pub(super) fn whole_u16() -> impl Fn(&DeValue<'_>) -> Result<u16, String> {
    let wide = whole(1..=u64::from(u16::MAX));
    move |value| Ok(wide(value)? as u16)
}

/// A time in whole milliseconds.
pub(super) fn millis(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Result<Duration, String> {
    let whole = whole(range);
    move |value| Ok(Duration::from_millis(whole(value)?))
}

/// A number, whole or not.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Result<f64, String> {
    move |value| {
        match value {
            DeValue::Integer(integer) => number_of(integer).map(|number| number as f64),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        }
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("a number from {} to {}", range.start(), range.end()))
    }
}

/// A share or a probability.
pub(super) fn share() -> impl Fn(&DeValue<'_>) -> Result<f64, String> {
    number(0.0..=1.0)
}

/// Yes or no.
pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "true or false".into())
}

/// One of a few words.
pub(super) fn one_of<T: Copy, const N: usize>(words: [(&'static str, T); N]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let chosen = words.iter().find(|(word, _)| value.as_str() == Some(word));
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| quoted(word)).collect();
            words.join(" or ")
        })
    }
}

/// One of the names given, by its place among them.
pub(super) fn place_of(what: &'static str, names: &[&str]) -> impl Fn(&DeValue<'_>) -> Result<usize, String> {
    move |value| {
        let place = names.iter().position(|name| value.as_str() == Some(name));
        place.ok_or_else(|| {
            let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            match names.as_slice() {
                [] => format!("the name of {what}, and add its table"),
                names => format!("the name of {what}: {}", names.join(" or ")),
            }
        })
    }
}

/// A kind of words, some of which have a meaning but are not available yet.
pub(super) fn also<T>(
    kind: impl Fn(&DeValue<'_>) -> Result<T, String>,
    not_yet: &'static [&'static str],
) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        kind(value).map_err(|expected| match value.as_str() {
            Some(given) if not_yet.contains(&given) => format!("{expected}, {} is not available yet", quoted(given)),
            _ => expected,
        })
    }
}

/// A name that fits into records, metrics and file names.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, String> {
    let fits = |name: &&str| {
        (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let name = value.as_str().filter(fits).map(str::to_owned);
    name.ok_or_else(|| format!("1 to {NAME_MAX} characters of A-Z a-z 0-9 . _ -"))
}

/// A name for people.
pub(super) fn title(value: &DeValue<'_>) -> Result<String, String> {
    let fits = |title: &&str| (1..=NAME_MAX).contains(&title.chars().count()) && !title.chars().any(char::is_control);
    let title = value.as_str().filter(fits).map(str::to_owned);
    title.ok_or_else(|| format!("1 to {NAME_MAX} printable characters"))
}

/// A GStreamer description; it may be broken into lines.
pub(super) fn description(value: &DeValue<'_>) -> Result<String, String> {
    let fits = |text: &&str| {
        let printable = |sign: char| !sign.is_control() || sign.is_ascii_whitespace();
        !text.trim().is_empty() && text.len() <= LINE_MAX && text.chars().all(printable)
    };
    let text = value.as_str().filter(fits).map(str::to_owned);
    text.ok_or_else(|| format!("the description of a GStreamer source, at most {LINE_MAX} characters"))
}

/// Which lines are logged.
pub(super) fn log_filter(value: &DeValue<'_>) -> Result<String, String> {
    let filter = value
        .as_str()
        .filter(|filter| filter.len() <= LINE_MAX && log::parse(filter).is_ok());
    let filter = filter.map(str::to_owned);
    filter.ok_or_else(|| "levels and modules, like \"warn,takt::plc=debug\"".into())
}

/// A path; a relative one starts at `folder`. Nobody looks whether something is there.
pub(super) fn path(folder: &Path) -> impl Fn(&DeValue<'_>) -> Result<PathBuf, String> {
    move |value| {
        let fits = |path: &&str| (1..=LINE_MAX).contains(&path.len()) && !path.chars().any(char::is_control);
        let path = value.as_str().filter(fits);
        path.and_then(|path| std::path::absolute(folder.join(path)).ok())
            .ok_or_else(|| "a path".into())
    }
}

/// A camera's controls: names, with a whole number, yes or no, or the words of a choice each. What a camera takes it says itself.
pub(super) fn controls(value: &DeValue<'_>) -> Result<Vec<(String, ControlSetting)>, String> {
    let setting = |value: &DeValue<'_>| match value {
        DeValue::Integer(integer) => Some(ControlSetting::Whole(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?)),
        DeValue::Boolean(flag) => Some(ControlSetting::Flag(*flag)),
        DeValue::String(words) if words.len() <= NAME_MAX => Some(ControlSetting::Choice(words.to_string())),
        _ => None,
    };
    let table = value.as_table().filter(|table| table.len() <= CONTROLS_MAX);
    let read = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let is_name = !name.get_ref().is_empty()
            && name
                .get_ref()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        Some((name.get_ref().to_string(), setting(value.get_ref()).filter(|_| is_name)?))
    };
    table.and_then(|table| table.iter().map(read).collect()).ok_or_else(|| {
        format!(
            "at most {CONTROLS_MAX} controls by the names that v4l2-ctl --list-ctrls has, with a whole number, true or false, \
             or the words of a choice: {{ gain = 12, auto_exposure = \"Manual Mode\" }}"
        )
    })
}

/// An address and a port.
pub(super) fn socket(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let address = value.as_str().and_then(|text| text.parse().ok());
    address.ok_or_else(|| "an IP address and a port, like \"127.0.0.1:1502\"".into())
}

/// Where a server is.
pub(super) fn url(value: &DeValue<'_>) -> Result<String, String> {
    let fits = |url: &&str| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        url.len() <= LINE_MAX && rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|sign| sign.is_ascii_graphic()))
    };
    let url = value.as_str().filter(fits).map(str::to_owned);
    url.ok_or_else(|| "an address like \"https://historian:7443\"".into())
}

/// The address of a single machine, without IPv4 inside IPv6.
pub(super) fn machine(value: &DeValue<'_>) -> Result<IpAddr, String> {
    let address = value.as_str().and_then(|text| text.parse().ok());
    let address = address.map(|address: IpAddr| address.to_canonical());
    let single = address.filter(|address| !address.is_unspecified() && !address.is_multicast());
    single.ok_or_else(|| "the IP address of a machine, like \"192.168.0.10\"".into())
}

fn number_of(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A value as a message shows it.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(integer) => shortened(&integer.to_string()),
        DeValue::Float(float) => shortened(float.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// Text in quotes on one line, cut where it is too long to be read.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text).escape_debug())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
