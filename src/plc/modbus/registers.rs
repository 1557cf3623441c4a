//! What is behind the addresses: holding registers that the PLC writes, input registers and their mirror that the station writes, and the same
//! control and status words as coils and discrete inputs. Pure.

use super::frame::{Answer, Exception, Frame, Readable, Request, Span, request, word};
use crate::line::image::{PlcImage, StationImage};
use crate::line::tags::TAG_REGISTERS;
use crate::plc::signals::{self, CONTROL, PLC_REGISTERS, STATUS};

/// Where the input registers can be read as holding registers.
const MIRROR: u16 = 1000;

/// Where the registers of tags are, at stations that have some.
const TAGS: u16 = 200;

/// Bits of the control word and of the status word.
const BITS: usize = 16;

/// What the PLC wrote: kept from connection to connection.
#[derive(Debug)]
pub(super) struct Holding {
    registers: [u16; PLC_REGISTERS],
    claims: [u16; PLC_REGISTERS],
    /// What rides along with parts; `None` where the station knows no such tags.
    tags: Option<[u16; TAG_REGISTERS]>,
}

/// What one request wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Everything the PLC says now.
    pub(super) image: PlcImage,
    /// The bits of the control word that were written, changed or not.
    pub(super) control: u16,
}

impl Holding {
    /// Nothing was written yet. `tags`: whether there are registers for tags.
    pub(super) fn new(tags: bool) -> Self {
        Self {
            registers: [0; PLC_REGISTERS],
            claims: signals::plc_claims(),
            tags: tags.then_some([0; TAG_REGISTERS]),
        }
    }

    /// Puts the answer to a frame and says what it wrote. An exception means that nothing was.
    pub(super) fn answer(&mut self, frame: &Frame<'_>, shown: &StationImage, answer: &mut Answer) -> Option<Written> {
        let served = request(frame.pdu).and_then(|request| self.serve(frame, &request, shown, answer));
        served.unwrap_or_else(|why| {
            answer.exception(frame, why);
            None
        })
    }

    fn serve(
        &mut self,
        frame: &Frame<'_>,
        request: &Request<'_>,
        shown: &StationImage,
        answer: &mut Answer,
    ) -> Result<Option<Written>, Exception> {
        let written = match *request {
            Request::Read(readable, span) => return self.read(frame, readable, span, shown, answer).map(|()| None),
            Request::WriteCoils(span, bits) => self.write_coils(span, bits)?,
            Request::WriteRegisters(span, words) => self.write_registers(span, words)?,
            Request::WriteAndRead { write, words, read } => {
                // Both or nothing.
                self.find(read, shown)?;
                let written = self.write_registers(write, words)?;
                answer.registers(frame, &self.find(read, shown)?);
                return Ok(Some(written));
            }
        };
        answer.written(frame);
        Ok(Some(written))
    }

    fn read(&self, frame: &Frame<'_>, readable: Readable, span: Span, shown: &StationImage, answer: &mut Answer) -> Result<(), Exception> {
        let bits = || span.within(0, BITS).ok_or(Exception::Address);
        match readable {
            Readable::Coils => answer.bits(frame, self.registers[usize::from(CONTROL)], bits()?),
            Readable::DiscreteInputs => answer.bits(frame, signals::station_registers(shown)[usize::from(STATUS)], bits()?),
            Readable::HoldingRegisters => answer.registers(frame, &self.find(span, shown)?),
            Readable::InputRegisters => answer.registers(frame, &station(span, 0, shown)?),
        }
        Ok(())
    }

    /// Holding registers: the PLC's own, or the mirror of the station's.
    fn find(&self, span: Span, shown: &StationImage) -> Result<Vec<u16>, Exception> {
        if let Some(own) = span.within(0, PLC_REGISTERS) {
            return Ok(self.registers[own].to_vec());
        }
        match (self.tags, span.within(TAGS, TAG_REGISTERS)) {
            (Some(tags), Some(place)) => Ok(tags[place].to_vec()),
            _ => station(span, MIRROR, shown),
        }
    }

    fn write_registers(&mut self, span: Span, words: &[u8]) -> Result<Written, Exception> {
        if let (Some(tags), Some(place)) = (&mut self.tags, span.within(TAGS, TAG_REGISTERS)) {
            for (index, at) in place.enumerate() {
                tags[at] = word(words, index);
            }
            return Ok(self.written(0));
        }
        let place = span.within(0, PLC_REGISTERS).ok_or(Exception::Address)?;
        for (index, at) in place.clone().enumerate() {
            self.registers[at] = word(words, index) & self.claims[at];
        }
        let control = if place.contains(&usize::from(CONTROL)) { u16::MAX } else { 0 };
        Ok(self.written(control))
    }

    fn write_coils(&mut self, span: Span, bits: &[u8]) -> Result<Written, Exception> {
        let place = span.within(0, BITS).ok_or(Exception::Address)?;
        let mut values = [0; 2];
        values[..bits.len()].copy_from_slice(bits);
        let mask = (((1_u32 << place.len()) - 1) << place.start) as u16;
        let at = usize::from(CONTROL);
        let set = (u32::from(u16::from_le_bytes(values)) << place.start) as u16;
        self.registers[at] = (self.registers[at] & !mask | set & mask) & self.claims[at];
        Ok(self.written(mask))
    }

    fn written(&self, control: u16) -> Written {
        Written {
            image: PlcImage {
                tags: self.tags.unwrap_or_default(),
                ..signals::plc_image(&self.registers)
            },
            control,
        }
    }
}

/// The station's registers, the first of them at address `from`.
fn station(span: Span, from: u16, shown: &StationImage) -> Result<Vec<u16>, Exception> {
    let registers = signals::station_registers(shown);
    let place = span.within(from, registers.len()).ok_or(Exception::Address)?;
    Ok(registers[place].to_vec())
}
