//! Every signal between PLC and station, once: its name, its width, its place, what it means, and the field it carries. Pure.
//!
//! The numbers are those of the Modbus map: 16-bit registers counted from 0, one space in each direction; bit 0 is the least significant, a
//! u32 has its high word first. Registers that no signal claims are reserved and read 0.

use crate::line::image::{PlcImage, StationImage, StationMode, WINDOW_SLOTS, control};
use crate::part::{CycleId, Verdict};

/// Registers that the PLC writes: 0 to 39.
pub const PLC_REGISTERS: usize = 40;

/// Registers that the station writes: 0 to 43, and 100 to 197 for window mode. What lies between is reserved.
pub const STATION_REGISTERS: usize = 198;

/// The register of the PLC's control word, by which triggers and acknowledgements come.
pub const CONTROL: u16 = 0;

/// The register of the station's first status word.
pub const STATUS: u16 = 0;

/// What `MapMagic` reads in every image: with its words or bytes exchanged it reads differently, which is how a PLC program finds out.
pub const MAP_MAGIC: u32 = 0x0102_0304;

/// What `MapVersion` reads: the version of this map.
pub const MAP_VERSION: u16 = 1;

/// The first register of the window.
pub const WINDOW_START: u16 = 100;

/// Registers of one slot of the window.
pub const WINDOW_STRIDE: u16 = 6;

/// How wide a signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This bit of the register, 0 to 15.
    Bit(u8),
    /// One register.
    U16,
    /// Two registers, the high word first.
    U32,
    /// A register of two characters, the first in the high byte.
    Characters,
}

/// A signal within the image `I`: what the PLC says ([`PlcImage`]) or what the station says ([`StationImage`]).
#[derive(Debug)]
pub struct Signal<I: 'static> {
    /// The name that PLC programs use.
    pub name: &'static str,
    /// How wide it is.
    pub kind: Kind,
    /// Its (first) register.
    pub register: u16,
    /// How many of it there are: 16 in the window, else 1. The characters of a text count as signals of their own.
    pub count: u16,
    /// Registers from one of them to the next.
    pub stride: u16,
    /// What it means.
    pub meaning: &'static str,
    get: fn(&I, usize) -> u32,
    set: fn(&mut I, usize, u32),
}

impl<I> Signal<I> {
    const fn new(
        name: &'static str,
        kind: Kind,
        register: u16,
        meaning: &'static str,
        get: fn(&I, usize) -> u32,
        set: fn(&mut I, usize, u32),
    ) -> Self {
        Self {
            name,
            kind,
            register,
            count: 1,
            stride: 1,
            meaning,
            get,
            set,
        }
    }

    const fn times(mut self, count: u16, stride: u16) -> Self {
        self.count = count;
        self.stride = stride;
        self
    }

    /// How many registers one of it takes; a bit shares its register.
    pub fn width(&self) -> u16 {
        if self.kind == Kind::U32 { 2 } else { 1 }
    }

    /// Its value as these registers say it, for the `index`th of it; 0 for what lies outside of them.
    pub fn read(&self, registers: &[u16], index: u16) -> u32 {
        let first = usize::from(self.register) + usize::from(index) * usize::from(self.stride);
        let word = |at: usize| u32::from(registers.get(at).copied().unwrap_or(0));
        match self.kind {
            Kind::Bit(bit) => word(first) >> bit & 1,
            Kind::U16 | Kind::Characters => word(first),
            Kind::U32 => word(first) << 16 | word(first + 1),
        }
    }

    /// Puts a value into registers that were 0.
    fn write(&self, registers: &mut [u16], index: u16, value: u32) {
        let first = usize::from(self.register) + usize::from(index) * usize::from(self.stride);
        match self.kind {
            Kind::Bit(bit) => registers[first] |= (value as u16 & 1) << bit,
            Kind::U16 | Kind::Characters => registers[first] = value as u16,
            Kind::U32 => {
                registers[first] = (value >> 16) as u16;
                registers[first + 1] = value as u16;
            }
        }
    }
}

/// A signal that is a field: `number!(U16, 3, "Heartbeat", heartbeat, "...")`.
macro_rules! number {
    ($kind:ident, $register:literal, $name:literal, $($field:ident).+, $meaning:literal) => {
        Signal::new($name, Kind::$kind, $register, $meaning, |image, _| u32::from(image.$($field).+), |image, _, value| {
            // The width of the field is the width of the signal.
            image.$($field).+ = value as _;
        })
    };
}

/// A signal that the station says twice, or that is always the same.
macro_rules! copied {
    ($kind:ident, $register:literal, $name:literal, |$image:pat_param| $value:expr, $meaning:literal) => {
        Signal::new($name, Kind::$kind, $register, $meaning, |$image, _| u32::from($value), |_, _, _| {})
    };
}

/// A bit of the control word.
macro_rules! control {
    ($bit:literal, $name:literal, $mask:ident, $meaning:literal) => {
        Signal::new(
            $name,
            Kind::Bit($bit),
            CONTROL,
            $meaning,
            |image, _| u32::from(image.is(control::$mask)),
            |image, _, value| image.control = image.control & !control::$mask | if value == 0 { 0 } else { control::$mask },
        )
    };
}

/// A bit of a status word.
macro_rules! status {
    ($register:expr, $bit:literal, $name:literal, $field:ident, $meaning:literal) => {
        Signal::new(
            $name,
            Kind::Bit($bit),
            $register,
            $meaning,
            |image, _| u32::from(image.$field),
            |image, _, value| image.$field = value != 0,
        )
    };
}

/// A field of the window's slots.
macro_rules! windowed {
    ($kind:ident, $register:literal, $name:literal, $field:ident, $meaning:literal) => {
        Signal::new(
            $name,
            Kind::$kind,
            $register,
            $meaning,
            |image: &StationImage, slot| u32::from(image.window[slot].$field),
            |image, slot, value| image.window[slot].$field = value as _,
        )
        .times(WINDOW_SLOTS as u16, WINDOW_STRIDE)
    };
}

/// What the PLC says.
pub static FROM_PLC: &[Signal<PlcImage>] = &[
    control!(0, "Online", ONLINE, "inspection is allowed"),
    control!(1, "TriggerEnable", TRIGGER_ENABLE, "arms the trigger handshake"),
    control!(
        2,
        "Trigger",
        TRIGGER,
        "a rising edge starts or arms the cycle in CycleId; held until answered"
    ),
    control!(
        3,
        "ResultAck",
        RESULT_ACK,
        "a rising edge with AckResultId = ResultId consumes the result shown"
    ),
    control!(
        4,
        "BufferEnable",
        BUFFER_ENABLE,
        "result mode, sampled at the rising edge of Online"
    ),
    control!(5, "SetUserData", SET_USER_DATA, "latches Serial"),
    control!(6, "ExecuteCommand", EXECUTE_COMMAND, "a rising edge starts Command"),
    control!(7, "ClearError", CLEAR_ERROR, "clears errors whose cause is gone"),
    control!(8, "Bypass", BYPASS, "parts pass without inspection, by a decision taken at the PLC"),
    control!(9, "GateInhibit", GATE_INHIBIT, "the gate must not move"),
    control!(10, "TestPart", TEST_PART, "the part is a test part"),
    number!(U16, 1, "Command", command, "number of the command"),
    number!(
        U16,
        2,
        "RecipeNumber",
        recipe_number,
        "the recipe asked for; 0 keeps the one in use"
    ),
    number!(U16, 3, "Heartbeat", heartbeat, "counts while the PLC is alive"),
    number!(U32, 4, "CycleId", cycle_id, "number of the part, 1 to 2147483647; 0 is none"),
    number!(U32, 6, "Encoder", encoder, "encoder position at the trigger, counts"),
    Signal::new(
        "Serial",
        Kind::Characters,
        8,
        "serial number, 32 characters of ASCII, NUL padded",
        |image: &PlcImage, index| u32::from(u16::from_be_bytes([image.serial[2 * index], image.serial[2 * index + 1]])),
        |image, index, value| image.serial[2 * index..2 * index + 2].copy_from_slice(&(value as u16).to_be_bytes()),
    )
    .times(16, 1),
    number!(
        U16,
        24,
        "PlcSession",
        plc_session,
        "session of the PLC program; 0 while it is not initialised"
    ),
    number!(U32, 26, "AckResultId", ack_result_id, "the result that ResultAck means"),
    number!(
        U32,
        28,
        "DispositionCycleId",
        disposition_cycle_id,
        "the part that Disposition means"
    ),
    number!(
        U16,
        30,
        "Disposition",
        disposition,
        "what happened to the part: 1 passed, 2 rejected, 3 removed"
    ),
    number!(U32, 32, "CycleIdTail", cycle_id_tail, "equals CycleId once the block is whole"),
    number!(
        U32,
        34,
        "EncoderNow",
        counted.encoder,
        "station-owned gate only: encoder position now, counts"
    ),
    number!(
        U16,
        36,
        "GatePartCount",
        counted.parts,
        "station-owned gate only: parts seen by the gate's sensor"
    ),
    number!(
        U16,
        37,
        "EjectConfirmCount",
        counted.ejections,
        "station-owned gate only: parts seen to be ejected"
    ),
    number!(
        U32,
        38,
        "GatePartEncoder",
        counted.part_encoder,
        "station-owned gate only: encoder position of the part at the gate, counts"
    ),
];

/// What the station says.
pub static FROM_STATION: &[Signal<StationImage>] = &[
    status!(STATUS, 0, "Online", online, "the station takes part in production"),
    status!(STATUS, 1, "TriggerReady", trigger_ready, "a Trigger edge will be taken"),
    status!(
        STATUS,
        2,
        "TriggerAck",
        trigger_ack,
        "the trigger was taken; held until Trigger falls"
    ),
    status!(STATUS, 3, "ExposureComplete", exposure_complete, "the part may move"),
    status!(
        STATUS,
        4,
        "MissedTrigger",
        missed_trigger,
        "the trigger was not taken; held until Trigger falls"
    ),
    status!(STATUS, 5, "Busy", busy, "a part is open"),
    status!(STATUS, 6, "InspectionToggle", inspection_toggle, "flips with each result shown"),
    status!(STATUS, 7, "ResultValid", result_valid, "the result registers hold a result"),
    status!(STATUS, 8, "BufferOverrun", buffer_overrun, "a result was lost for want of a buffer"),
    status!(STATUS, 9, "CommandExecuting", command_executing, "the command is being executed"),
    status!(
        STATUS,
        10,
        "CommandDone",
        command_done,
        "the command was executed; held until ExecuteCommand falls"
    ),
    status!(
        STATUS,
        11,
        "CommandFailed",
        command_failed,
        "the command failed; held until ExecuteCommand falls"
    ),
    status!(STATUS, 12, "Error", error, "an error stops inspection, see ErrorCode"),
    status!(STATUS, 13, "Accept", accept, "the part shown is good"),
    status!(
        STATUS,
        14,
        "DeadlineMissed",
        deadline_missed,
        "the result shown was not there by its deadline"
    ),
    status!(STATUS, 15, "UserDataAck", user_data_ack, "Serial was latched"),
    number!(U16, 1, "RemainingBuffers", remaining_buffers, "free result buffers"),
    number!(U16, 2, "ErrorCode", error_code, "lowest active error or warning; 0 is none"),
    number!(U16, 3, "Heartbeat", heartbeat, "counts while the verdict path is alive"),
    number!(U32, 4, "EchoCycleId", echo_cycle_id, "the part of the result shown; 0 is none"),
    number!(
        U32,
        6,
        "AcquisitionId",
        acquisition_id,
        "number of the acquisition that the last trigger started"
    ),
    number!(U32, 8, "ResultId", result_id, "number of the result shown; never repeats"),
    Signal::new(
        "Verdict",
        Kind::U16,
        10,
        "of the result shown: 0 undefined, 1 OK, 2 NotOK, 3 NotDecidable",
        |image: &StationImage, _| u32::from(image.verdict.map_or(0, Verdict::code)),
        |image, _, value| image.verdict = Verdict::from_code(value as u16),
    ),
    number!(
        U16,
        11,
        "DefectCode",
        defect_code,
        "class of the worst defect as the recipe numbers it; 0 is none"
    ),
    number!(U16, 12, "RecipeOfResult", recipe_of_result, "recipe of the result shown"),
    number!(U16, 13, "ReasonCode", reason_code, "why the result shown is not OK; 0 is none"),
    number!(
        U32,
        14,
        "ConfigChecksum",
        config_checksum,
        "of configuration, recipe and models of the result shown"
    ),
    number!(
        U32,
        16,
        "ProcessTimeUs",
        process_time_us,
        "from trigger to decision of the result shown, microseconds"
    ),
    number!(U32, 18, "CountTotal", counts.total, "parts: OK, NotOK and NotDecidable"),
    number!(U32, 20, "CountOk", counts.ok, "parts that were OK"),
    number!(U32, 22, "CountNotOk", counts.not_ok, "parts that were NotOK"),
    number!(
        U32,
        24,
        "CountNotDecidable",
        counts.not_decidable,
        "parts that could not be judged, the missed ones among them"
    ),
    number!(U32, 26, "CountMissed", counts.missed, "triggers that could not be taken"),
    status!(28, 0, "Simulated", simulated, "nothing is real"),
    status!(28, 1, "TestResult", test_result, "the result shown is of a test part"),
    status!(28, 2, "StopRequest", stop_request, "the line must stop; held until ClearError"),
    status!(28, 3, "Warning", warning, "something is wrong, inspection goes on"),
    status!(28, 4, "ClockSynced", clock_synced, "the clock is synchronised"),
    status!(28, 5, "HeldForSlot", held_for_slot, "TriggerReady waits for a free result slot"),
    status!(
        28,
        6,
        "HeldForDeadline",
        held_for_deadline,
        "TriggerReady waits, as a part that came now would miss its deadline"
    ),
    number!(U16, 29, "RecipeReady", recipe_ready, "the recipe that is ready; 0 is none"),
    number!(U16, 30, "BootId", boot_id, "number of the station's start; never 0"),
    number!(U16, 31, "EchoPlcSession", echo_plc_session, "the PlcSession in force"),
    copied!(
        U32,
        32,
        "MapMagic",
        |_| MAP_MAGIC,
        "always 0x01020304: shows the order of words and bytes"
    ),
    copied!(U16, 34, "MapVersion", |_| MAP_VERSION, "version of this map"),
    Signal::new(
        "StationMode",
        Kind::U16,
        35,
        "0 preoperational, 1 auto, 2 teach or manual, 3 test run, 4 simulated",
        |image: &StationImage, _| image.station_mode as u32,
        |image, _, value| image.station_mode = station_mode(value),
    ),
    number!(U32, 36, "EchoTriggerId", echo_trigger_id, "CycleId of the trigger answered last"),
    number!(
        U32,
        38,
        "CountDuplicate",
        counts.duplicate,
        "triggers that repeated one; part of no other count"
    ),
    number!(
        U32,
        40,
        "GateFireCycleId",
        gate_fire_cycle_id,
        "station-owned gate only: the part that the gate acts on"
    ),
    copied!(
        U32,
        42,
        "ResultIdTail",
        |image| image.result_id,
        "equals ResultId in a reading that is whole"
    ),
    Signal::new(
        "WindowCycleId",
        Kind::U32,
        WINDOW_START,
        "window mode: the part, in slot ResultId mod 16; 0 in an empty slot",
        |image: &StationImage, slot| image.window[slot].cycle_id.map_or(0, CycleId::get),
        |image, slot, value| image.window[slot].cycle_id = CycleId::new(value),
    )
    .times(WINDOW_SLOTS as u16, WINDOW_STRIDE),
    windowed!(U32, 102, "WindowResultId", result_id, "window mode: number of the result"),
    windowed!(
        U16,
        104,
        "WindowVerdict",
        verdict,
        "window mode: 1 only while the part may pass; else as Verdict"
    ),
    windowed!(U16, 105, "WindowDefectCode", defect_code, "window mode: as DefectCode"),
    copied!(
        U16,
        196,
        "WindowHeartbeat",
        |image| image.heartbeat,
        "window mode: Heartbeat, for one reading to hold all"
    ),
    copied!(
        U16,
        197,
        "WindowBootId",
        |image| image.boot_id,
        "window mode: BootId, for one reading to hold all"
    ),
];

fn station_mode(code: u32) -> StationMode {
    match code {
        1 => StationMode::Auto,
        2 => StationMode::Teach,
        3 => StationMode::TestRun,
        4 => StationMode::Simulated,
        _ => StationMode::Preoperational,
    }
}

/// What the PLC says, from its registers.
pub fn plc_image(registers: &[u16; PLC_REGISTERS]) -> PlcImage {
    decoded(FROM_PLC, registers)
}

/// The registers of what the PLC says.
pub fn plc_registers(image: &PlcImage) -> [u16; PLC_REGISTERS] {
    encoded(FROM_PLC, image)
}

/// What the station says, from its registers. What it says twice is read from the first place.
pub fn station_image(registers: &[u16; STATION_REGISTERS]) -> StationImage {
    decoded(FROM_STATION, registers)
}

/// The registers of what the station says.
pub fn station_registers(image: &StationImage) -> [u16; STATION_REGISTERS] {
    encoded(FROM_STATION, image)
}

/// The signal of the station with this name.
pub fn station_signal(name: &str) -> Option<&'static Signal<StationImage>> {
    FROM_STATION.iter().find(|signal| signal.name == name)
}

/// The bits of each of the PLC's registers that a signal claims; what it writes into others is not kept.
pub fn plc_claims() -> [u16; PLC_REGISTERS] {
    let mut claims = [0; PLC_REGISTERS];
    for signal in FROM_PLC {
        (0..signal.count).for_each(|index| signal.write(&mut claims, index, u32::MAX));
    }
    claims
}

fn encoded<I, const N: usize>(signals: &[Signal<I>], image: &I) -> [u16; N] {
    let mut registers = [0; N];
    for signal in signals {
        for index in 0..signal.count {
            signal.write(&mut registers, index, (signal.get)(image, usize::from(index)));
        }
    }
    registers
}

fn decoded<I: Default, const N: usize>(signals: &[Signal<I>], registers: &[u16; N]) -> I {
    let mut image = I::default();
    for signal in signals {
        for index in 0..signal.count {
            (signal.set)(&mut image, usize::from(index), signal.read(registers, index));
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::array::uniform32;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::line::image::{Counts, WindowSlot};

    /// Every bit that is claimed, as (register, bit); fails where two signals claim the same.
    fn claimed<I>(signals: &[Signal<I>], registers: usize) -> BTreeSet<(u16, u16)> {
        let mut claimed = BTreeSet::new();
        for signal in signals {
            for index in 0..signal.count {
                let first = signal.register + index * signal.stride;
                for register in first..first + signal.width() {
                    assert!(usize::from(register) < registers, "{} lies outside", signal.name);
                    let bits = match signal.kind {
                        Kind::Bit(bit) => u16::from(bit)..u16::from(bit) + 1,
                        _ => 0..16,
                    };
                    for bit in bits {
                        assert!(claimed.insert((register, bit)), "{} overlaps at {register}.{bit}", signal.name);
                    }
                }
            }
        }
        claimed
    }

    fn whole(registers: impl IntoIterator<Item = u16>) -> BTreeSet<(u16, u16)> {
        registers
            .into_iter()
            .flat_map(|register| (0..16).map(move |bit| (register, bit)))
            .collect()
    }

    fn bits(register: u16, count: u16) -> BTreeSet<(u16, u16)> {
        (0..count).map(|bit| (register, bit)).collect()
    }

    #[test]
    fn signals_claim_exactly_the_registers_of_the_map() {
        let plc = &(&bits(0, 11) | &whole(1..25)) | &whole((26..31).chain(32..40));
        assert_eq!(claimed(FROM_PLC, PLC_REGISTERS), plc);
        let station = &(&whole((0..28).chain(29..44)) | &bits(28, 7)) | &whole(100..198);
        assert_eq!(claimed(FROM_STATION, STATION_REGISTERS), station);
        assert_eq!(plc_claims()[0], 0x07FF);
        assert_eq!((plc_claims()[25], plc_claims()[31], plc_claims()[39]), (0, 0, 0xFFFF));
    }

    #[test]
    fn names_are_told_apart() {
        let station: BTreeSet<&str> = FROM_STATION.iter().map(|signal| signal.name).collect();
        let plc: BTreeSet<&str> = FROM_PLC.iter().map(|signal| signal.name).collect();
        assert_eq!((station.len(), plc.len()), (FROM_STATION.len(), FROM_PLC.len()));
    }

    #[test]
    fn signals_lie_where_the_interface_says() {
        let image = StationImage {
            accept: true,
            warning: true,
            error_code: 7,
            echo_cycle_id: 0x0001_0002,
            verdict: Some(Verdict::NotDecidable),
            boot_id: 8,
            result_id: 0x0003_0004,
            counts: Counts {
                duplicate: 0x0005_0006,
                ..Counts::default()
            },
            station_mode: StationMode::Auto,
            ..StationImage::default()
        };
        let mut image = image;
        image.window[15] = WindowSlot {
            cycle_id: CycleId::new(41),
            result_id: 0x0009_000F,
            verdict: 1,
            defect_code: 3,
        };
        let registers = station_registers(&image);
        assert_eq!((registers[0], registers[28], registers[2]), (1 << 13, 1 << 3, 7));
        assert_eq!(registers[4..6], [1, 2]);
        assert_eq!((registers[10], registers[30], registers[197], registers[35]), (3, 8, 8, 1));
        assert_eq!(
            (&registers[8..10], &registers[42..44], &registers[38..40]),
            (&[3, 4][..], &[3, 4][..], &[5, 6][..])
        );
        assert_eq!(registers[32..35], [0x0102, 0x0304, 1]);
        assert_eq!(registers[190..196], [0, 41, 9, 15, 1, 3]);

        let mut registers = [0; PLC_REGISTERS];
        (registers[0], registers[4], registers[5], registers[8], registers[24]) = (0b101, 1, 2, 0x4142, 9);
        (registers[33], registers[27]) = (5, 6);
        let image = plc_image(&registers);
        assert!(image.is(control::ONLINE | control::TRIGGER) && !image.is(control::TRIGGER_ENABLE));
        assert_eq!(
            (image.cycle_id, image.plc_session, &image.serial[..3]),
            (0x0001_0002, 9, &b"AB\0"[..])
        );
        assert_eq!((image.cycle_id_tail, image.ack_result_id), (5, 6));
    }

    #[test]
    fn an_image_that_says_nothing_passes_no_part() {
        let registers = station_registers(&StationImage::default());
        let said: Vec<usize> = (0..STATION_REGISTERS).filter(|at| registers[*at] != 0).collect();
        assert_eq!(said, [32, 33, 34], "only magic and version of the map");
    }

    use crate::gate::counters::Counted;

    prop_compose! {
        fn plc_images()(
            control in 0..=0x07FF_u16,
            words in uniform32(any::<u16>()),
            serial in uniform32(any::<u8>()),
            longs in uniform32(any::<u32>()),
        ) -> PlcImage {
            PlcImage {
                control,
                command: words[0],
                recipe_number: words[1],
                heartbeat: words[2],
                cycle_id: longs[0],
                encoder: longs[1],
                serial,
                plc_session: words[3],
                ack_result_id: longs[2],
                disposition_cycle_id: longs[3],
                disposition: words[4],
                cycle_id_tail: longs[4],
                counted: Counted {
                    encoder: longs[5],
                    parts: words[5],
                    ejections: words[6],
                    part_encoder: longs[6],
                },
                ..PlcImage::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_the_plc_says_arrives(image in plc_images()) {
            prop_assert_eq!(plc_image(&plc_registers(&image)), image);
        }

        #[test]
        fn what_the_station_says_arrives(words in vec(any::<u16>(), STATION_REGISTERS)) {
            // Any registers make an image; what it says must then survive the way there and back.
            let image = station_image(&words.try_into().unwrap());
            prop_assert_eq!(station_image(&station_registers(&image)), image);
        }
    }
}
