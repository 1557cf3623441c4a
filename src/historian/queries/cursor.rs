//! Where a page ended, as text for whoever asks for the next one.
//!
//! A cursor is the place of a record in the order of the answer, so that no page is dearer than the first, however deep. It belongs to one
//! question: with another filter or order it is refused. Layout before Base64: version, fingerprint of the question, time, id, check sum.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest, Sha256};

use super::QueryError;
use crate::rpc::proto;

const VERSION: u8 = 1;

/// Version, fingerprint, time, id; the check sum follows.
const BODY: usize = 1 + 8 + 8 + 8;

const CHECK: usize = 4;

/// A place in the order of time, and of ids where times are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) at_unix_ns: i64,
    pub(super) id: i64,
}

/// Tells one question from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 8]);

impl Fingerprint {
    pub(super) fn of(filter: &proto::RecordFilter, newest_first: bool) -> Self {
        let mut digest = Sha256::new();
        digest.update([u8::from(newest_first)]);
        digest.update(filter.encode_to_vec());
        Self(first(&digest.finalize()))
    }
}

/// The first bytes of a digest.
fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    std::array::from_fn(|place| digest.get(place).copied().unwrap_or_default())
}

/// The cursor of the records behind `position`.
pub(super) fn write(position: Position, question: Fingerprint) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(question.0);
    bytes.extend(position.at_unix_ns.to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    let check: [u8; CHECK] = first(&Sha256::digest(&bytes));
    bytes.extend(check);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where a cursor of this question stands.
pub(super) fn read(cursor: &str, question: Fingerprint) -> Result<Position, QueryError> {
    let refused = |why: &str| QueryError::Invalid(format!("the cursor {why}; ask for the first page again"));
    let damaged = || refused("is damaged");
    // Longer text is not even decoded.
    if cursor.len() != (BODY + CHECK) * 8 / 6 + 1 {
        return Err(damaged());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| damaged())?;
    let (body, check) = bytes.split_at_checked(BODY).ok_or_else(damaged)?;
    if check != first::<CHECK>(&Sha256::digest(body)) {
        return Err(damaged());
    }
    if body[0] != VERSION {
        return Err(refused("is of another version of takt"));
    }
    if body[1..9] != question.0 {
        return Err(refused("belongs to another question"));
    }
    let number = |from: usize| i64::from_be_bytes(first(&body[from..]));
    Ok(Position {
        at_unix_ns: number(9),
        id: number(17),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(station: &str, newest_first: bool) -> Fingerprint {
        let filter = proto::RecordFilter {
            stations: vec![station.into()],
            ..Default::default()
        };
        Fingerprint::of(&filter, newest_first)
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        for (at_unix_ns, id) in [(0, 0), (i64::MIN, i64::MAX), (1_700_000_000_000_000_000, 1 << 40)] {
            let position = Position { at_unix_ns, id };
            assert_eq!(read(&write(position, question("a", true)), question("a", true)).unwrap(), position);
        }
    }

    #[test]
    fn a_cursor_of_another_question_or_a_damaged_one_is_refused() {
        let cursor = write(Position { at_unix_ns: 5, id: 7 }, question("a", true));
        for other in [question("b", true), question("a", false)] {
            let error = read(&cursor, other).unwrap_err().to_string();
            assert!(error.contains("another question"), "{error}");
        }
        for place in 0..cursor.len() {
            let mut damaged = cursor.clone().into_bytes();
            damaged[place] = if damaged[place] == b'A' { b'B' } else { b'A' };
            assert!(
                read(std::str::from_utf8(&damaged).unwrap(), question("a", true)).is_err(),
                "{place}"
            );
        }
        for nonsense in ["x", "' OR 1=1 --", &"A".repeat(1 << 20), &cursor[1..], "\u{0}"] {
            assert!(read(nonsense, question("a", true)).is_err());
        }
    }
}
