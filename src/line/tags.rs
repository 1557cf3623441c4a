//! What rides along with a part: tool, cavity, lot, order, operator. Fixed by the configuration, or sampled from the PLC with the cycle ID.

use crate::part::Tag;

/// Registers the PLC has for tags.
pub const TAG_REGISTERS: usize = 32;

/// Where the value of a tag comes from. Places count from the first tag register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSource {
    /// Always the same.
    Fixed(String),
    /// A register.
    U16 {
        /// Its place.
        at: usize,
    },
    /// Two registers, the high word first.
    U32 {
        /// Place of the first.
        at: usize,
    },
    /// Two characters a register, the first in the high byte, padded with NUL or spaces.
    Text {
        /// Place of the first.
        at: usize,
        /// How many.
        registers: usize,
    },
}

/// A tag that records carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlan {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: TagSource,
}

impl TagPlan {
    /// The tag as the registers say it; places beyond them read as 0.
    pub fn read(&self, registers: &[u16; TAG_REGISTERS]) -> Tag {
        let word = |at: usize| registers.get(at).copied().unwrap_or(0);
        let value = match &self.source {
            TagSource::Fixed(value) => value.clone(),
            TagSource::U16 { at } => word(*at).to_string(),
            TagSource::U32 { at } => (u32::from(word(*at)) << 16 | u32::from(word(at + 1))).to_string(),
            TagSource::Text { at, registers } => text((*at..at + registers).flat_map(|at| word(at).to_be_bytes())),
        };
        Tag {
            name: self.name.clone(),
            value,
        }
    }
}

/// The characters up to the first NUL, without spaces at the end; what cannot be printed is '?'.
fn text(bytes: impl Iterator<Item = u8>) -> String {
    let printable = |byte: u8| if matches!(byte, 0x20..=0x7e) { char::from(byte) } else { '?' };
    let text: String = bytes.take_while(|byte| *byte != 0).map(printable).collect();
    text.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_are_read_as_the_wire_has_them() {
        let mut registers = [0; TAG_REGISTERS];
        registers[..6].copy_from_slice(&[7, 1, 2, u16::from_be_bytes(*b"L-"), u16::from_be_bytes([0x31, 0x07]), 0x2000]);
        let read = |source| {
            let plan = TagPlan {
                name: "tag".into(),
                source,
            };
            plan.read(&registers).value
        };
        assert_eq!(read(TagSource::Fixed("A7".into())), "A7");
        assert_eq!(read(TagSource::U16 { at: 0 }), "7");
        assert_eq!(read(TagSource::U32 { at: 1 }), "65538");
        assert_eq!(read(TagSource::Text { at: 3, registers: 3 }), "L-1?");
        assert_eq!(read(TagSource::Text { at: 30, registers: 9 }), "");
        assert_eq!(read(TagSource::U32 { at: 31 }), "0");
    }
}
