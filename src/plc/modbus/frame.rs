//! Frames of Modbus TCP: where one ends, what it asks for, how its answer is put. Pure.
//!
//! At most 260 bytes each: seven of header, of which two say how much follows, then function and data. A frame whose header is right but whose data
//! are not is answered with an exception; after a wrong header nobody knows where the next frame begins.

/// The longest frame, bytes.
pub(super) const FRAME_MAX: usize = 260;

/// Transaction, protocol, length, unit.
const HEADER: usize = 7;

/// Set in the function of an answer that is an exception.
pub(super) const EXCEPTION: u8 = 0x80;

/// Most bits that can be read, most that can be written, and the same for registers: alone, and along with a reading.
const READ_BITS_MAX: u16 = 2000;
const WRITE_BITS_MAX: u16 = 1968;
const READ_MAX: u16 = 125;
const WRITE_MAX: u16 = 123;
const WRITE_AND_READ_MAX: u16 = 121;

/// A whole frame at the start of what was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    header: &'a [u8],
    /// Function and data, 1 to 253 bytes.
    pub(super) pdu: &'a [u8],
}

impl Frame<'_> {
    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        HEADER + self.pdu.len()
    }

    /// The transaction and the unit that it says it belongs to.
    pub(super) fn belongs_to(&self) -> (u16, u8) {
        (word(self.header, 0), self.header[HEADER - 1])
    }

    /// Whether it asks for something to be written, well or badly.
    pub(super) fn writes(&self) -> bool {
        matches!(self.pdu.first(), Some(5 | 6 | 15 | 16 | 23))
    }
}

/// What was received is not Modbus TCP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbage;

/// The first frame of what was received; `None` until it is whole.
pub(super) fn first(received: &[u8]) -> Result<Option<Frame<'_>>, Garbage> {
    // As early as possible: whoever speaks another protocol may never send as much as its length seems to announce.
    if received.get(2..4).is_some_and(|protocol| protocol != [0, 0]) {
        return Err(Garbage);
    }
    let Some(length) = received.get(4..6) else { return Ok(None) };
    // Unit and function are the least.
    let end = 6 + usize::from(word(length, 0));
    if !(HEADER + 1..=FRAME_MAX).contains(&end) {
        return Err(Garbage);
    }
    Ok(received.get(..end).map(|frame| Frame {
        header: &frame[..HEADER],
        pdu: &frame[HEADER..],
    }))
}

/// Why a request is not done: what is illegal about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exception {
    /// Not a function of this station, or not one that this client may use.
    Function = 1,
    /// Registers, or bits, that do not exist or are not to be written.
    Address = 2,
    /// Too many, none, or not as many as announced; no value of a coil.
    Value = 3,
}

/// Addresses that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first address.
    pub(super) start: u16,
    /// How many, at least 1.
    pub(super) count: u16,
}

impl Span {
    /// Its place within `space`, whose first address is `from`; `None` unless all of it lies there.
    pub(super) fn within(self, from: u16, space: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::from(self.start.checked_sub(from)?);
        let end = start + usize::from(self.count);
        (end <= space).then_some(start..end)
    }
}

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    Coils,
    DiscreteInputs,
    HoldingRegisters,
    InputRegisters,
}

/// What a frame asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// Functions 1 to 4.
    Read(Readable, Span),
    /// Functions 5 and 15. Eight coils in a byte, the first in its lowest bit.
    WriteCoils(Span, &'a [u8]),
    /// Functions 6 and 16. Two bytes each.
    WriteRegisters(Span, &'a [u8]),
    /// Function 23: writes, then reads.
    WriteAndRead { write: Span, words: &'a [u8], read: Span },
}

/// What these bytes (function and data) ask for.
pub(super) fn request(pdu: &[u8]) -> Result<Request<'_>, Exception> {
    let Some((&function, data)) = pdu.split_first() else {
        return Err(Exception::Function);
    };
    match function {
        1 => Ok(Request::Read(Readable::Coils, read(data, READ_BITS_MAX)?)),
        2 => Ok(Request::Read(Readable::DiscreteInputs, read(data, READ_BITS_MAX)?)),
        3 => Ok(Request::Read(Readable::HoldingRegisters, read(data, READ_MAX)?)),
        4 => Ok(Request::Read(Readable::InputRegisters, read(data, READ_MAX)?)),
        5 => match data {
            &[high, low, value @ (0x00 | 0xFF), 0] => Ok(Request::WriteCoils(one(high, low), if value == 0 { &[0] } else { &[1] })),
            _ => Err(Exception::Value),
        },
        6 => match data {
            &[high, low, _, _] => Ok(Request::WriteRegisters(one(high, low), &data[2..])),
            _ => Err(Exception::Value),
        },
        15 => {
            let (span, bits) = written(data, WRITE_BITS_MAX, |count| count.div_ceil(8))?;
            Ok(Request::WriteCoils(span, bits))
        }
        16 => {
            let (span, words) = written(data, WRITE_MAX, |count| count * 2)?;
            Ok(Request::WriteRegisters(span, words))
        }
        23 => {
            let (reading, writing) = data.split_at_checked(4).ok_or(Exception::Value)?;
            let (write, words) = written(writing, WRITE_AND_READ_MAX, |count| count * 2)?;
            let read = read(reading, READ_MAX)?;
            Ok(Request::WriteAndRead { write, words, read })
        }
        _ => Err(Exception::Function),
    }
}

fn one(high: u8, low: u8) -> Span {
    Span {
        start: u16::from_be_bytes([high, low]),
        count: 1,
    }
}

/// Address and count.
fn read(data: &[u8], most: u16) -> Result<Span, Exception> {
    let span = (data.len() == 4).then(|| Span {
        start: word(data, 0),
        count: word(data, 1),
    });
    span.filter(|span| (1..=most).contains(&span.count)).ok_or(Exception::Value)
}

/// Address, count, how many bytes follow, and these bytes.
fn written(data: &[u8], most: u16, bytes_of: impl Fn(usize) -> usize) -> Result<(Span, &[u8]), Exception> {
    let (head, values) = data.split_at_checked(5).ok_or(Exception::Value)?;
    let span = read(&head[..4], most)?;
    let bytes = bytes_of(usize::from(span.count));
    if values.len() != bytes || usize::from(head[4]) != bytes {
        return Err(Exception::Value);
    }
    Ok((span, values))
}

/// The `index`th word of these bytes, which hold it.
pub(super) fn word(bytes: &[u8], index: usize) -> u16 {
    u16::from_be_bytes([bytes[2 * index], bytes[2 * index + 1]])
}

/// The answer to a frame. It holds one at a time.
#[derive(Debug, Default)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// The bytes to send.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The request was not done.
    pub(super) fn exception(&mut self, to: &Frame<'_>, why: Exception) {
        self.begin(to);
        self.0.extend([to.pdu[0] | EXCEPTION, why as u8]);
        self.end();
    }

    /// The request was written. The answer repeats the first five bytes of it, whichever function it was.
    pub(super) fn written(&mut self, to: &Frame<'_>) {
        self.begin(to);
        self.0.extend(&to.pdu[..5]);
        self.end();
    }

    /// These registers were read, 125 at most.
    pub(super) fn registers(&mut self, to: &Frame<'_>, registers: &[u16]) {
        self.begin(to);
        self.0.extend([to.pdu[0], (2 * registers.len()) as u8]);
        self.0.extend(registers.iter().flat_map(|register| register.to_be_bytes()));
        self.end();
    }

    /// These bits of a word were read.
    pub(super) fn bits(&mut self, to: &Frame<'_>, word: u16, bits: std::ops::Range<usize>) {
        let count = bits.len();
        let asked = (u32::from(word) >> bits.start & ((1 << count) - 1)) as u16;
        let bytes = count.div_ceil(8);
        self.begin(to);
        self.0.extend([to.pdu[0], bytes as u8]);
        self.0.extend(&asked.to_le_bytes()[..bytes]);
        self.end();
    }

    /// Transaction, protocol and unit are those of the request.
    fn begin(&mut self, to: &Frame<'_>) {
        self.0.clear();
        self.0.extend(to.header);
    }

    fn end(&mut self) {
        let length = (self.0.len() - 6) as u16;
        self.0[4..6].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let frame = [0, 9, 0, 0, 0, 6, 1, 4, 0, 0, 0, 44];
        for length in 0..frame.len() {
            assert_eq!(first(&frame[..length]), Ok(None), "{length} bytes");
        }
        let two = [frame, frame].concat();
        let found = first(&two).unwrap().unwrap();
        assert_eq!((found.len(), found.pdu), (12, &frame[7..]));
    }

    #[test]
    fn what_is_no_modbus_is_told_by_its_first_bytes() {
        assert_eq!(first(b"GET "), Err(Garbage));
        assert_eq!(first(&[0x16, 3, 1, 2]), Err(Garbage), "TLS");
        for length in [0_u16, 1, 255, u16::MAX] {
            let [high, low] = length.to_be_bytes();
            assert_eq!(first(&[0, 1, 0, 0, high, low]), Err(Garbage), "length {length}");
        }
        assert_eq!(first(&[0, 1, 0, 0, 0, 254]), Ok(None));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        let illegal_value: [&[u8]; 17] = [
            &[1, 0, 0, 0, 0],
            &[1, 0, 0, 0x07, 0xD1],
            &[3, 0, 0, 0, 126],
            &[4, 0, 0, 0],
            &[4, 0, 0, 0, 1, 0],
            &[5, 0, 0, 0x12, 0x34],
            &[5, 0, 0, 0xFF, 1],
            &[6, 0, 0, 1],
            &[15, 0, 0, 0x07, 0xD0, 1, 0xFF],
            &[15, 0, 0, 0, 9, 1, 0xFF],
            &[16, 0, 0, 0, 2, 2, 0, 0],
            &[16, 0, 0, 0, 1, 2, 0],
            &[16, 0, 0, 0x80, 1, 2, 0, 0],
            &[16],
            &[23, 0, 0, 0],
            &[23, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0],
            &[23, 0, 0, 0, 1, 0, 0, 0, 1, 4, 0, 0],
        ];
        for pdu in illegal_value {
            assert_eq!(request(pdu), Err(Exception::Value), "{pdu:?}");
        }
        for function in [0, 7, 8, 17, 20, 22, 24, 43, 0x83, 0xFF] {
            assert_eq!(request(&[function, 0, 0, 0, 1]), Err(Exception::Function), "{function}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..300), function in 0..30_u8) {
            if let Ok(Some(frame)) = first(&bytes) {
                prop_assert!(frame.len() <= bytes.len());
                let _ = request(frame.pdu);
            }
            // As good as every random frame has an unknown function.
            let mut pdu = bytes;
            pdu.truncate(253);
            pdu.insert(0, function);
            if let Ok(Request::WriteRegisters(span, values) | Request::WriteAndRead { write: span, words: values, .. }) = request(&pdu) {
                prop_assert_eq!(values.len(), 2 * usize::from(span.count));
            }
        }
    }
}
