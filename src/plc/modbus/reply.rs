//! What the station asks a PLC that is the server, and what its replies mean. Pure.
//!
//! A reply is taken only if transaction, unit, function and size are those of the request: whatever else comes ends the connection, so that no
//! reply is ever taken for that of another request.

use super::frame::{EXCEPTION, Frame, Span, word};

/// Function 3: reads holding registers.
const READ: u8 = 3;

/// Function 16: writes holding registers.
const WRITE: u8 = 16;

/// A request, and what its reply is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    transaction: u16,
    unit: u8,
    function: u8,
    span: Span,
    bytes: Vec<u8>,
}

impl Ask {
    /// Asks for holding registers, 1 to 125.
    pub(super) fn read(transaction: u16, unit: u8, span: Span) -> Self {
        Self::new(transaction, unit, READ, span, &[])
    }

    /// Writes holding registers from `start` on, 1 to 123.
    pub(super) fn write(transaction: u16, unit: u8, start: u16, words: &[u16]) -> Self {
        let span = Span {
            start,
            count: words.len() as u16,
        };
        Self::new(transaction, unit, WRITE, span, words)
    }

    fn new(transaction: u16, unit: u8, function: u8, span: Span, words: &[u16]) -> Self {
        let mut pdu = vec![function];
        pdu.extend(span.start.to_be_bytes());
        pdu.extend(span.count.to_be_bytes());
        if function == WRITE {
            pdu.push(2 * words.len() as u8);
            pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        let mut bytes = transaction.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend((pdu.len() as u16 + 1).to_be_bytes());
        bytes.push(unit);
        bytes.extend(pdu);
        Self {
            transaction,
            unit,
            function,
            span,
            bytes,
        }
    }

    /// The bytes to send.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the reply says: the registers that were read, none where they were written.
    ///
    /// # Errors
    /// When it is not the reply to this, or says that it was not done.
    pub(super) fn reply(&self, frame: &Frame<'_>) -> Result<Vec<u16>, Unfit> {
        if frame.belongs_to() != (self.transaction, self.unit) {
            return Err(Unfit::Foreign);
        }
        match frame.pdu {
            &[function, code] if function == self.function | EXCEPTION => Err(Unfit::Exception(code)),
            [READ, bytes, words @ ..] if self.function == READ => {
                let wanted = 2 * usize::from(self.span.count);
                if words.len() != wanted || usize::from(*bytes) != wanted {
                    return Err(Unfit::Short);
                }
                Ok((0..wanted / 2).map(|index| word(words, index)).collect())
            }
            [WRITE, place @ ..] if self.function == WRITE => {
                let is_whole = place.len() == 4 && word(place, 0) == self.span.start && word(place, 1) == self.span.count;
                if is_whole { Ok(Vec::new()) } else { Err(Unfit::Short) }
            }
            _ => Err(Unfit::Foreign),
        }
    }
}

/// Why a reply is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The PLC did not do it, and says why by this number.
    Exception(u8),
    /// It is about other registers, or fewer.
    Short,
    /// It belongs to another request, or is none.
    Foreign,
}

impl Unfit {
    /// In words that follow "the PLC".
    pub(super) fn words(self) -> String {
        match self {
            Self::Exception(1) => "answered with exception 01 (illegal function)".into(),
            Self::Exception(2) => "answered with exception 02 (illegal address)".into(),
            Self::Exception(3) => "answered with exception 03 (illegal value)".into(),
            Self::Exception(code) => format!("answered with exception {code:02}"),
            Self::Short => "answered about fewer registers, or others".into(),
            Self::Foreign => "answered something else than was asked".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::frame::first;
    use super::*;

    const SPAN: Span = Span { start: 400, count: 2 };

    fn framed(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let mut bytes = transaction.to_be_bytes().to_vec();
        bytes.extend([0, 0, 0, pdu.len() as u8 + 1, unit]);
        bytes.extend(pdu);
        bytes
    }

    fn reply_to(ask: &Ask, bytes: &[u8]) -> Result<Vec<u16>, Unfit> {
        ask.reply(&first(bytes).unwrap().unwrap())
    }

    #[test]
    fn requests_are_those_of_the_standard() {
        // MODBUS Application Protocol V1.1b3, sections 6.3 and 6.12; the header as in the Messaging Implementation Guide, section 3.1.3.
        assert_eq!(
            Ask::read(0x1501, 7, Span { start: 107, count: 3 }).bytes(),
            [0x15, 1, 0, 0, 0, 6, 7, 3, 0, 107, 0, 3]
        );
        assert_eq!(
            Ask::write(1, 1, 1, &[0x000A, 0x0102]).bytes(),
            [0, 1, 0, 0, 0, 11, 1, 16, 0, 1, 0, 2, 4, 0, 0x0A, 1, 2]
        );
    }

    #[test]
    fn a_reply_is_taken_only_where_everything_fits() {
        let ask = Ask::read(9, 3, SPAN);
        assert_eq!(reply_to(&ask, &framed(9, 3, &[3, 4, 0x12, 0x34, 0, 1])), Ok(vec![0x1234, 1]));
        assert_eq!(
            reply_to(&ask, &framed(8, 3, &[3, 4, 0, 0, 0, 0])),
            Err(Unfit::Foreign),
            "of another transaction"
        );
        assert_eq!(
            reply_to(&ask, &framed(9, 4, &[3, 4, 0, 0, 0, 0])),
            Err(Unfit::Foreign),
            "of another unit"
        );
        assert_eq!(
            reply_to(&ask, &framed(9, 3, &[4, 4, 0, 0, 0, 0])),
            Err(Unfit::Foreign),
            "of another function"
        );
        assert_eq!(reply_to(&ask, &framed(9, 3, &[3, 2, 0, 0])), Err(Unfit::Short));
        assert_eq!(reply_to(&ask, &framed(9, 3, &[3, 4, 0, 0])), Err(Unfit::Short));
        assert_eq!(reply_to(&ask, &framed(9, 3, &[0x83, 2])), Err(Unfit::Exception(2)));
        assert_eq!(
            reply_to(&ask, &framed(9, 3, &[0x90, 2])),
            Err(Unfit::Foreign),
            "an exception of another function"
        );
        let write = Ask::write(9, 3, 400, &[1, 2]);
        assert_eq!(reply_to(&write, &framed(9, 3, &[16, 1, 144, 0, 2])), Ok(Vec::new()));
        assert_eq!(
            reply_to(&write, &framed(9, 3, &[16, 1, 144, 0, 1])),
            Err(Unfit::Short),
            "half of it"
        );
        assert_eq!(
            reply_to(&write, &framed(9, 3, &[16, 1, 145, 0, 2])),
            Err(Unfit::Short),
            "somewhere else"
        );
    }

    proptest! {
        #[test]
        fn no_reply_does_harm(pdu in vec(any::<u8>(), 1..253), writes: bool) {
            let ask = if writes { Ask::write(1, 1, 0, &[0; 44]) } else { Ask::read(1, 1, Span { start: 0, count: 34 }) };
            if let Ok(words) = reply_to(&ask, &framed(1, 1, &pdu)) {
                prop_assert_eq!(words.len(), if writes { 0 } else { 34 });
            }
        }
    }
}
