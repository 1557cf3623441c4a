//! What the station writes into the registers of a PLC that is the server, in which order; and where it reads. Pure.
//!
//! A PLC may look at its registers between any two writes, and may lose any of them. So what vouches for data (ResultValid and Accept for a result,
//! TriggerAck and MissedTrigger for their numbers, the verdict of a slot of the window) is lowered before the data change and raised after they are
//! there. What is raised comes in one write with the data it speaks of: a write that a slow PLC carries out late brings no bits for data of others.
//! Where nobody knows what the PLC holds, everything is lowered first.

use std::ops::Range;

use super::frame::Span;
use crate::line::image::{PlcImage, StationImage, WINDOW_SLOTS};
use crate::line::tags::TAG_REGISTERS;
use crate::plc::signals::{self, PLC_REGISTERS, STATION_REGISTERS, STATUS};

/// Registers of the station.
pub(super) type Registers = [u16; STATION_REGISTERS];

/// Registers of the PLC that are read: all but those of a gate that the station owns.
pub(super) const READ: u16 = 34;

/// Status and single result.
const BLOCK: Range<usize> = 0..44;

/// The window. What lies between the two is reserved and not written.
const WINDOW: Range<usize> = 100..STATION_REGISTERS;

/// Registers of a slot of the window, and the place of its verdict among them.
const SLOT: usize = 6;
const SLOT_VERDICT: usize = 4;

/// Where the registers of tags are, from `read_base` on.
const TAGS: u16 = 200;

/// Where the station reads and writes in a PLC's holding registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The PLC's own registers begin here.
    pub read_base: u16,
    /// The station's registers begin here.
    pub write_base: u16,
    /// Whether the window is written.
    pub has_window: bool,
    /// Whether there are registers for tags that ride along with parts.
    pub has_tags: bool,
}

impl Layout {
    /// What is read of the PLC.
    pub(super) fn block(self) -> Span {
        Span {
            start: self.read_base,
            count: READ,
        }
    }

    /// The registers of tags. They are read after the block: from the scan before Trigger on the PLC holds them until it is answered.
    pub(super) fn tags(self) -> Option<Span> {
        self.has_tags.then(|| Span {
            start: self.read_base.saturating_add(TAGS),
            count: TAG_REGISTERS as u16,
        })
    }

    /// Registers from `read_base` on that the PLC must have, and from `write_base` on.
    pub fn extents(&self) -> (Range<u32>, Range<u32>) {
        let read = if self.has_tags {
            u32::from(TAGS) + TAG_REGISTERS as u32
        } else {
            u32::from(READ)
        };
        let write = if self.has_window { WINDOW.end } else { BLOCK.end } as u32;
        let from = |base: u16, count: u32| u32::from(base)..u32::from(base) + count;
        (from(self.read_base, read), from(self.write_base, write))
    }
}

/// What the PLC says, from the registers that were read of it.
pub(super) fn plc_image(block: &[u16], tags: Option<&[u16]>) -> PlcImage {
    let mut registers = [0; PLC_REGISTERS];
    registers.iter_mut().zip(block).for_each(|(register, read)| *register = *read);
    let mut image = signals::plc_image(&registers);
    image
        .tags
        .iter_mut()
        .zip(tags.unwrap_or_default())
        .for_each(|(tag, read)| *tag = *read);
    image
}

/// One write: registers from `first` on, counted from `write_base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) first: usize,
    pub(super) words: Vec<u16>,
    /// Whether it may raise what vouches for data.
    pub(super) raises: bool,
}

/// Bits of a register that vouch for others.
struct Voucher {
    register: usize,
    mask: u16,
    data: &'static [Range<usize>],
}

/// Bits of the status word, see `signals.rs`; a test compares.
const TRIGGER_ANSWERS: u16 = 1 << 2 | 1 << 4;
const RESULT: u16 = 1 << 7 | 1 << 13 | 1 << 14;

/// What vouches for what in the block.
const STATUS_VOUCHERS: [Voucher; 2] = [
    Voucher {
        register: STATUS as usize,
        mask: TRIGGER_ANSWERS,
        // AcquisitionId, EchoTriggerId.
        data: &[6..8, 36..38],
    },
    Voucher {
        register: STATUS as usize,
        mask: RESULT,
        // EchoCycleId; ResultId to ProcessTimeUs; status 2, with TestResult; StationMode; ResultIdTail.
        data: &[4..6, 8..18, 28..29, 35..36, 42..44],
    },
];

/// The registers of an image as the PLC is to have them. Where the PLC says another session than the image is of, nothing in it is vouched for: what the
/// image shows belongs to parts of which that PLC knows nothing.
pub(super) fn registers(image: &StationImage, plc_session: u16) -> Registers {
    let mut registers = signals::station_registers(image);
    if plc_session != image.echo_plc_session {
        registers[usize::from(STATUS)] &= !(TRIGGER_ANSWERS | RESULT);
        verdicts().for_each(|verdict| registers[verdict] = 0);
    }
    registers
}

fn verdicts() -> impl Iterator<Item = usize> {
    (0..WINDOW_SLOTS).map(|slot| WINDOW.start + SLOT * slot + SLOT_VERDICT)
}

/// The writes that bring the PLC from what it holds (`None`: nobody knows) to the next registers.
pub(super) fn writes(known: Option<&Registers>, next: &Registers, has_window: bool) -> Vec<Write> {
    let mut writes = Vec::new();
    if known.is_none() {
        // One register each: no PLC can carry out half of that.
        let vouching = verdicts().filter(|_| has_window);
        writes.extend(vouching.chain([usize::from(STATUS)]).map(|register| Write {
            first: register,
            words: vec![0],
            raises: false,
        }));
    }
    if known.is_none() {
        // A BootId that changed first of all: the PLC knows that it is another run before it sees a result of it.
        push(&mut writes, &BLOCK, known, next, &status_changes(known, next));
    }
    if has_window {
        // Before the other block, which says nothing of the window: a result is not kept waiting.
        push(&mut writes, &WINDOW, known, next, &window_changes(known, next));
    }
    if known.is_some() {
        push(&mut writes, &BLOCK, known, next, &status_changes(known, next));
    }
    writes
}

/// Registers, and the bits of them that must be lowered while data change.
type Lowered = Vec<(usize, u16)>;

fn status_changes(known: Option<&Registers>, next: &Registers) -> Lowered {
    let is_changed = |voucher: &&Voucher| {
        let differs = |known: &Registers| voucher.data.iter().any(|data| known[data.clone()] != next[data.clone()]);
        known.is_none_or(differs)
    };
    let changed = STATUS_VOUCHERS.iter().filter(is_changed);
    changed.map(|voucher| (voucher.register, voucher.mask)).collect()
}

fn window_changes(known: Option<&Registers>, next: &Registers) -> Lowered {
    let is_changed = |verdict: &usize| {
        let (before, after) = (*verdict - SLOT_VERDICT..*verdict, *verdict + 1..*verdict + SLOT - SLOT_VERDICT);
        known.is_none_or(|known| known[before.clone()] != next[before.clone()] || known[after.clone()] != next[after.clone()])
    };
    verdicts().filter(is_changed).map(|verdict| (verdict, u16::MAX)).collect()
}

fn push(writes: &mut Vec<Write>, block: &Range<usize>, known: Option<&Registers>, next: &Registers, lowered: &Lowered) {
    if known.is_some_and(|known| known[block.clone()] == next[block.clone()]) {
        return;
    }
    let mut write = |registers: &Registers, raises| {
        writes.push(Write {
            first: block.start,
            words: registers[block.clone()].to_vec(),
            raises,
        });
    };
    let lower = |registers: &Registers| {
        let mut registers = *registers;
        for (register, mask) in lowered {
            registers[*register] &= !mask;
        }
        registers
    };
    let stands = |registers: &Registers| lowered.iter().any(|(register, mask)| registers[*register] & mask != 0);
    if let Some(known) = known.filter(|known| stands(known)) {
        write(&lower(known), false);
    }
    if stands(next) {
        let mut data = lower(next);
        if *block == BLOCK {
            // Other bits of the status word stay as they are until the data are there.
            let status = usize::from(STATUS);
            data[status] = known.map_or(0, |known| lower(known)[status]);
        }
        write(&data, false);
    }
    write(next, true);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::line::image::WindowSlot;
    use crate::part::{CycleId, Verdict};
    use crate::plc::signals::{Kind, station_image, station_signal};

    fn bits(names: &[&str]) -> u16 {
        let mask = |name: &&str| match station_signal(name).map(|signal| (signal.kind, signal.register)) {
            Some((Kind::Bit(bit), STATUS)) => 1 << bit,
            other => panic!("{name}: {other:?}"),
        };
        names.iter().map(mask).fold(0, |mask, bit| mask | bit)
    }

    #[test]
    fn places_are_those_of_the_signals() {
        assert_eq!(TRIGGER_ANSWERS, bits(&["TriggerAck", "MissedTrigger"]));
        assert_eq!(RESULT, bits(&["ResultValid", "Accept", "DeadlineMissed"]));
        let span = |name: &str| {
            let signal = station_signal(name).unwrap();
            usize::from(signal.register)..usize::from(signal.register + signal.width())
        };
        let answered = ["AcquisitionId", "EchoTriggerId"].map(span);
        assert_eq!(STATUS_VOUCHERS[0].data, answered);
        let of_result = [
            "EchoCycleId",
            "ResultId",
            "Verdict",
            "DefectCode",
            "RecipeOfResult",
            "ReasonCode",
            "ConfigChecksum",
            "ProcessTimeUs",
            "TestResult",
            "StationMode",
            "ResultIdTail",
        ];
        for register in of_result.into_iter().flat_map(span) {
            assert!(STATUS_VOUCHERS[1].data.iter().any(|data| data.contains(&register)), "{register}");
        }
        assert_eq!(span("WindowVerdict").start, verdicts().next().unwrap());
        assert_eq!(span("WindowBootId").end, WINDOW.end);
    }

    fn shown(cycle_id: u32, verdict: Verdict) -> StationImage {
        StationImage {
            result_valid: true,
            accept: verdict == Verdict::Ok,
            verdict: Some(verdict),
            echo_cycle_id: cycle_id,
            result_id: cycle_id,
            echo_plc_session: 5,
            ..StationImage::default()
        }
    }

    fn firsts(writes: &[Write]) -> Vec<(usize, usize, u16)> {
        writes
            .iter()
            .map(|write| (write.first, write.words.len(), write.words[0]))
            .collect()
    }

    #[test]
    fn data_come_before_the_bits_that_vouch_for_them() {
        let (none, ok) = (
            StationImage {
                result_valid: false,
                accept: false,
                ..shown(0, Verdict::Ok)
            },
            shown(41, Verdict::Ok),
        );
        let (none, ok) = (registers(&none, 5), registers(&ok, 5));
        assert_eq!(firsts(&writes(Some(&none), &ok, false)), [(0, 44, 0), (0, 44, 1 << 7 | 1 << 13)]);
        let bad = registers(&shown(42, Verdict::NotOk), 5);
        let replaced = writes(Some(&ok), &bad, false);
        assert_eq!(firsts(&replaced), [(0, 44, 0), (0, 44, 0), (0, 44, 1 << 7)]);
        assert_eq!(replaced.iter().map(|write| write.raises).collect::<Vec<_>>(), [false, false, true]);
        let alive = registers(
            &StationImage {
                heartbeat: 1,
                ..shown(42, Verdict::NotOk)
            },
            5,
        );
        assert_eq!(
            firsts(&writes(Some(&bad), &alive, false)),
            [(0, 44, 1 << 7)],
            "one write while nothing else changes"
        );
        assert_eq!(writes(Some(&bad), &bad, false), []);
        assert_eq!(
            firsts(&writes(None, &ok, false)),
            [(0, 1, 0), (0, 44, 0), (0, 44, 1 << 7 | 1 << 13)]
        );
    }

    #[test]
    fn a_plc_of_another_session_is_shown_nothing_of_this_one() {
        let mut image = shown(41, Verdict::Ok);
        image.window[3] = WindowSlot {
            cycle_id: CycleId::new(41),
            result_id: 3,
            verdict: 1,
            defect_code: 0,
        };
        image.trigger_ack = true;
        for session in [0, 6] {
            let said = station_image(&registers(&image, session));
            assert!(!said.accept && !said.result_valid && !said.trigger_ack && said.window[3].verdict == 0);
        }
        let said = station_image(&registers(&image, 5));
        assert!(said.accept && said.result_valid && said.trigger_ack && said.window[3].verdict == 1);
    }

    prop_compose! {
        fn any_image()(
            cycle_id in 1..4_u32, result in 0..4_u32, verdict in 0..4_u16, ack: bool, missed: bool, echo in 0..3_u32, heartbeat in 0..2_u16,
            slots in proptest::collection::vec((0..3_u32, 0..3_u16), WINDOW_SLOTS),
        ) -> StationImage {
            let verdict = Verdict::from_code(verdict).filter(|_| result != 0);
            let mut image = StationImage {
                trigger_ack: ack, missed_trigger: missed && !ack, echo_trigger_id: echo, heartbeat,
                result_valid: verdict.is_some(), verdict, accept: verdict == Some(Verdict::Ok),
                result_id: result, echo_cycle_id: if result == 0 { 0 } else { cycle_id },
                ..StationImage::default()
            };
            for (slot, (result, verdict)) in image.window.iter_mut().zip(slots) {
                let verdict = if result == 0 { 0 } else { verdict };
                *slot = WindowSlot { cycle_id: CycleId::new(result), result_id: result, verdict, defect_code: verdict };
            }
            image
        }
    }

    /// What a PLC would act on: the part that may pass by the single result, the trigger that is answered, the parts that may pass by the window.
    #[allow(clippy::type_complexity, reason = "compared as a whole, and never taken apart")]
    fn acted_on(image: &StationImage) -> (Option<(u32, u32)>, Option<(u32, bool)>, Vec<Option<(u32, u32)>>) {
        let is_ok = image.accept && image.result_valid && image.verdict == Some(Verdict::Ok);
        let answered = (image.trigger_ack || image.missed_trigger).then_some((image.echo_trigger_id, image.trigger_ack));
        let slot = |slot: &WindowSlot| {
            slot.cycle_id
                .filter(|_| slot.verdict == 1)
                .map(|cycle| (cycle.get(), slot.result_id))
        };
        (
            is_ok.then_some((image.echo_cycle_id, image.result_id)),
            answered,
            image.window.iter().map(slot).collect(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// A PLC that looks at any moment, in the middle of any write, and a link that breaks there: it never acts on anything that no image said.
        #[test]
        fn nothing_is_acted_on_that_no_image_said(images in proptest::collection::vec((any_image(), any::<bool>(), 0..400_usize), 1..6)) {
            let mut plc = [0; STATION_REGISTERS];
            let mut known: Option<Registers> = None;
            let mut said = vec![acted_on(&StationImage::default())];
            for (image, breaks, at) in images {
                let next = registers(&image, 0);
                said.push(acted_on(&station_image(&next)));
                let writes = writes(known.as_ref(), &next, true);
                let carried = writes.iter().flat_map(|write| (write.first..).zip(write.words.clone()));
                let limit = if breaks { at } else { usize::MAX };
                for (register, word) in carried.take(limit) {
                    plc[register] = word;
                    let (single, answer, window) = acted_on(&station_image(&plc));
                    prop_assert!(single.is_none() || said.iter().any(|said| said.0 == single), "{single:?}");
                    prop_assert!(answer.is_none() || said.iter().any(|said| said.1 == answer), "{answer:?}");
                    for (slot, acted) in window.iter().enumerate() {
                        prop_assert!(acted.is_none() || said.iter().any(|said| said.2[slot] == *acted), "{acted:?}");
                    }
                }
                known = (!breaks).then_some(next);
                if !breaks {
                    prop_assert_eq!(&plc[BLOCK], &next[BLOCK]);
                    prop_assert_eq!(&plc[WINDOW], &next[WINDOW]);
                }
            }
        }
    }
}
