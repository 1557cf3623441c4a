//! What may be broken about a station, each in one place, and the step that must see it.

use std::time::Duration;

use crate::line::config::{LineConfig, SerialMode};
use crate::line::image::{PlcImage, StationImage, StationMode, control};
use crate::line::{Memory, Sabotage};
use crate::part::{PartRecord, Reason, Verdict};
use crate::plc::PlcEvent;

/// What a broken station remembers.
#[derive(Default)]
pub(super) struct Broken {
    /// The image it showed last.
    pub(super) shown: StationImage,
    /// The last one with a result.
    result: Option<StationImage>,
    /// What the PLC wrote last.
    plc: PlcImage,
    /// Something it saw.
    seen: bool,
    /// At which of the PLC's writes.
    since: Option<u32>,
    /// Writes of the PLC.
    pub(super) writes: u32,
    /// How often.
    count: u32,
}

impl Broken {
    /// Whether the PLC has read an image since this was asked first: it does after each of its writes, and the first may have been on its way.
    fn was_read(&mut self) -> bool {
        let since = *self.since.get_or_insert(self.writes);
        self.writes >= since + 2
    }
}

/// A way to be broken.
pub(super) struct Mutation {
    pub(super) name: &'static str,
    /// The sequence that must fail, the title of its step, the signal that tells.
    pub(super) sequence: &'static str,
    pub(super) step: &'static str,
    pub(super) signal: &'static str,
    pub(super) serial: SerialMode,
    pub(super) configure: fn(&mut LineConfig),
    pub(super) recall: fn(&mut Memory),
    /// How many records there are of it.
    pub(super) record: fn(&mut PartRecord) -> u64,
    pub(super) hear: fn(PlcEvent, &mut Broken) -> Vec<PlcEvent>,
    pub(super) show: fn(&mut StationImage, &mut Broken),
    pub(super) sabotage: Option<Sabotage>,
}

/// A station that is not broken.
const SOUND: Mutation = Mutation {
    name: "",
    sequence: "",
    step: "",
    signal: "",
    serial: SerialMode::WithTrigger,
    configure: |_| (),
    recall: |_| (),
    record: |_| 1,
    hear: |event, _| vec![event],
    show: |_, _| (),
    sabotage: None,
};

const TAKEN: &str = "the trigger is taken";
const SHOWN: &str = "its result is shown, all of it in one image";
const WITHDRAWN: &str = "the result is withdrawn in one image";
const RECORD: &str = "each trigger has exactly one record";
const ANSWERED: &str = "it is answered";
const MISSED: &str = "the trigger is missed, and says so";

/// The event with what was written changed.
fn written(mut event: PlcEvent, change: impl FnOnce(&mut PlcImage)) -> PlcEvent {
    if let PlcEvent::Wrote { image, .. } = &mut event {
        change(image);
    }
    event
}

/// What was written, if something was.
fn image_of(event: &PlcEvent) -> Option<PlcImage> {
    match event {
        PlcEvent::Wrote { image, .. } => Some(*image),
        _ => None,
    }
}

/// Before this, the PLC seems to have cleared these bits.
fn lowered(event: PlcEvent, bits: u16) -> Vec<PlcEvent> {
    let low = written(event, |image| image.control &= !bits);
    vec![low, event]
}

/// Keeps the last image that had a result.
fn remember_result(image: &StationImage, broken: &mut Broken) {
    if image.result_valid {
        broken.result = Some(image.clone());
    }
}

/// Shows the last result once more.
fn show_result(image: &mut StationImage, broken: &Broken) {
    if let Some(result) = &broken.result {
        image.result_valid = true;
        image.verdict = result.verdict;
        image.echo_cycle_id = result.echo_cycle_id;
        image.result_id = result.result_id;
    }
}

pub(super) static MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "echoes another CycleId",
        sequence: "normal",
        step: TAKEN,
        signal: "EchoTriggerId",
        show: |image, _| image.echo_trigger_id += u32::from(image.trigger_ack),
        ..SOUND
    },
    Mutation {
        name: "is ready although it has a part",
        sequence: "normal",
        step: TAKEN,
        signal: "TriggerReady",
        show: |image, _| image.trigger_ready |= image.trigger_ack,
        ..SOUND
    },
    Mutation {
        name: "lets the part move before it is exposed",
        sequence: "normal",
        step: TAKEN,
        signal: "ExposureComplete",
        show: |image, _| image.exposure_complete = true,
        ..SOUND
    },
    Mutation {
        name: "does not let TriggerAck fall",
        sequence: "normal",
        step: "the answer falls",
        signal: "TriggerAck",
        show: |image, broken| {
            broken.seen |= image.trigger_ack;
            image.trigger_ack = broken.seen;
            image.trigger_ready &= !broken.seen;
        },
        ..SOUND
    },
    Mutation {
        name: "answers a trigger twice over",
        sequence: "normal",
        step: TAKEN,
        signal: "MissedTrigger",
        show: |image, _| image.missed_trigger |= image.trigger_ack,
        ..SOUND
    },
    Mutation {
        name: "does not flip InspectionToggle",
        sequence: "normal",
        step: SHOWN,
        signal: "InspectionToggle",
        show: |image, _| image.inspection_toggle = false,
        ..SOUND
    },
    Mutation {
        name: "does not count",
        sequence: "normal",
        step: SHOWN,
        signal: "CountTotal",
        show: |image, _| image.counts.total = 0,
        ..SOUND
    },
    Mutation {
        name: "gives the result to another part",
        sequence: "normal",
        step: SHOWN,
        signal: "Accept",
        show: |image, _| image.echo_cycle_id += u32::from(image.result_valid),
        ..SOUND
    },
    Mutation {
        name: "hears no acknowledgement",
        sequence: "normal",
        step: WITHDRAWN,
        signal: "ResultValid",
        hear: |event, _| vec![written(event, |image| image.control &= !control::RESULT_ACK)],
        ..SOUND
    },
    Mutation {
        name: "keeps Accept after the acknowledgement",
        sequence: "normal",
        step: WITHDRAWN,
        signal: "Accept",
        show: |image, broken| {
            broken.seen |= image.accept;
            image.accept |= broken.seen;
        },
        ..SOUND
    },
    Mutation {
        name: "shows an acknowledged result again",
        sequence: "normal",
        step: "nor afterwards",
        signal: "ResultValid",
        hear: |event, broken| {
            if let Some(image) = image_of(&event) {
                broken.seen |= image.is(control::RESULT_ACK);
                broken.plc = image;
            }
            vec![event]
        },
        show: |image, broken| {
            remember_result(image, broken);
            if broken.seen && !broken.plc.is(control::RESULT_ACK) {
                show_result(image, broken);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "records a part twice",
        sequence: "normal",
        step: RECORD,
        signal: "",
        record: |_| 2,
        ..SOUND
    },
    Mutation {
        name: "records no part",
        sequence: "normal",
        step: RECORD,
        signal: "",
        record: |_| 0,
        ..SOUND
    },
    Mutation {
        name: "passes what is defective",
        sequence: "defective",
        step: SHOWN,
        signal: "Accept",
        show: |image, _| {
            if image.verdict == Some(Verdict::NotOk) {
                (image.verdict, image.accept) = (Some(Verdict::Ok), true);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "keeps the result when the next part comes",
        sequence: "replaced",
        step: TAKEN,
        signal: "ResultValid",
        show: |image, broken| {
            remember_result(image, broken);
            if image.trigger_ack {
                show_result(image, broken);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "knows no deadline",
        sequence: "late_engine",
        step: SHOWN,
        signal: "Accept",
        sabotage: Some(Sabotage::AnswerLate),
        ..SOUND
    },
    Mutation {
        name: "changes its mind after the deadline",
        sequence: "late_engine",
        step: "the engine's late word changes no register",
        signal: "Verdict",
        show: |image, broken| {
            if image.deadline_missed && broken.was_read() {
                image.verdict = Some(Verdict::Ok);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "forgets its answer when the link is lost",
        sequence: "lost_ack",
        step: TAKEN,
        signal: "TriggerAck",
        show: |image, broken| image.trigger_ack &= !broken.seen,
        hear: |event, broken| {
            broken.seen |= event == PlcEvent::Lost;
            vec![event]
        },
        ..SOUND
    },
    Mutation {
        name: "takes the level of ResultAck for its edge",
        sequence: "early_ack",
        step: "the early acknowledgement consumes nothing",
        signal: "ResultValid",
        hear: |event, broken| {
            let high = image_of(&event).is_some_and(|image| image.is(control::RESULT_ACK));
            if high && broken.shown.echo_cycle_id == 82 && broken.was_read() {
                return lowered(event, control::RESULT_ACK);
            }
            vec![event]
        },
        ..SOUND
    },
    Mutation {
        name: "does not look at AckResultId",
        sequence: "wrong_ack",
        step: "the result stays",
        signal: "ResultValid",
        hear: |event, broken| vec![written(event, |image| image.ack_result_id = broken.shown.result_id)],
        ..SOUND
    },
    Mutation {
        name: "reserves no slot",
        sequence: "buffered_late_ack",
        step: TAKEN,
        signal: "RemainingBuffers",
        show: |image, _| image.remaining_buffers = 8,
        ..SOUND
    },
    Mutation {
        name: "passes what waited past its deadline",
        sequence: "buffered_late_ack",
        step: "the second was not read in time",
        signal: "Verdict",
        show: |image, _| {
            if image.reason_code == Reason::NotRead.code() {
                (image.verdict, image.reason_code) = (Some(Verdict::Ok), 0);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "shows the next result while ResultAck is 1",
        sequence: "buffered_late_ack",
        step: "nothing shows while ResultAck is 1",
        signal: "ResultValid",
        hear: |event, broken| {
            if let Some(image) = image_of(&event) {
                broken.plc = image;
            }
            vec![event]
        },
        show: |image, broken| image.result_valid |= broken.plc.is(control::RESULT_ACK) && broken.was_read(),
        ..SOUND
    },
    Mutation {
        name: "keeps Accept for ever",
        sequence: "buffered_late_ack",
        step: "Accept does not stay for ever",
        signal: "Accept",
        configure: |config| config.accept_hold = Duration::from_mins(1),
        ..SOUND
    },
    Mutation {
        name: "is ready without a slot",
        sequence: "buffer_full",
        step: "all are inspected",
        signal: "TriggerReady",
        show: |image, _| image.trigger_ready |= image.remaining_buffers == 0 && !image.trigger_ack,
        ..SOUND
    },
    Mutation {
        name: "overruns its buffers",
        sequence: "buffer_full",
        step: MISSED,
        signal: "BufferOverrun",
        show: |image, _| image.buffer_overrun = image.missed_trigger,
        ..SOUND
    },
    Mutation {
        name: "acquires a repeated part again",
        sequence: "double_trigger",
        step: TAKEN,
        signal: "AcquisitionId",
        show: |image, _| image.acquisition_id += image.counts.duplicate,
        ..SOUND
    },
    Mutation {
        name: "takes a bounce for a part",
        sequence: "bounce",
        step: TAKEN,
        signal: "TriggerAck",
        hear: |event, broken| {
            let high = image_of(&event).is_some_and(|image| image.is(control::TRIGGER));
            broken.count += u32::from(high && !broken.seen);
            if image_of(&event).is_some() {
                broken.seen = high;
            }
            let more = broken.count.saturating_sub(1);
            vec![written(event, |image| {
                image.cycle_id += more;
                image.cycle_id_tail += more;
            })]
        },
        ..SOUND
    },
    Mutation {
        name: "answers no trigger that it cannot take",
        sequence: "trigger_while_busy",
        step: MISSED,
        signal: "MissedTrigger",
        show: |image, _| image.missed_trigger = false,
        ..SOUND
    },
    Mutation {
        name: "takes a part while another is open",
        sequence: "trigger_while_busy",
        step: MISSED,
        signal: "MissedTrigger",
        show: |image, _| (image.trigger_ack, image.missed_trigger) = (image.trigger_ack || image.missed_trigger, false),
        ..SOUND
    },
    Mutation {
        name: "lets MissedTrigger fall by itself",
        sequence: "offline",
        step: "the answer stands until Trigger falls",
        signal: "MissedTrigger",
        show: |image, broken| {
            if image.missed_trigger {
                image.missed_trigger = !broken.was_read();
            }
        },
        ..SOUND
    },
    Mutation {
        name: "is ready for a PLC that is offline",
        sequence: "offline",
        step: "the open part has its outcome",
        signal: "TriggerReady",
        show: |image, broken| {
            broken.seen |= image.trigger_ready;
            image.trigger_ready |= broken.seen && image.result_valid && !image.trigger_ack;
        },
        ..SOUND
    },
    Mutation {
        name: "does not look at CycleIdTail",
        sequence: "torn_write",
        step: "it is missed",
        signal: "TriggerAck",
        hear: |event, _| vec![written(event, |image| image.cycle_id_tail = image.cycle_id)],
        ..SOUND
    },
    Mutation {
        name: "does not wait for the rest of the numbers",
        sequence: "torn_write_heals",
        step: TAKEN,
        signal: "TriggerAck",
        configure: |config| config.torn = Duration::ZERO,
        ..SOUND
    },
    Mutation {
        name: "takes another part for a repeated one",
        sequence: "reused_id",
        step: MISSED,
        signal: "MissedTrigger",
        hear: |event, _| vec![written(event, |image| image.encoder = 0)],
        ..SOUND
    },
    Mutation {
        name: "does not tell of a reused CycleId",
        sequence: "reused_id",
        step: MISSED,
        signal: "ErrorCode",
        show: |image, _| (image.error_code, image.error) = (0, false),
        ..SOUND
    },
    Mutation {
        name: "passes one of two parts of one CycleId",
        sequence: "reused_id_while_open",
        step: "the first is not decidable",
        signal: "Verdict",
        show: |image, _| {
            if image.reason_code == Reason::IdReused.code() {
                (image.verdict, image.reason_code) = (Some(Verdict::Ok), 0);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "takes a part without a number",
        sequence: "cycle_id_zero",
        step: MISSED,
        signal: "MissedTrigger",
        show: |image, _| {
            if image.missed_trigger && image.echo_trigger_id == 0 {
                (image.trigger_ack, image.missed_trigger) = (true, false);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "forgets an error that was not cleared",
        sequence: "cycle_id_zero",
        step: "no part may come",
        signal: "ErrorCode",
        show: |image, _| {
            if !image.missed_trigger {
                (image.error_code, image.error) = (0, false);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "does not count what it never saw",
        sequence: "skipped_ids",
        step: SHOWN,
        signal: "CountTotal",
        configure: |config| config.sequential = false,
        ..SOUND
    },
    Mutation {
        name: "takes 1 after 2147483647 for a jump",
        sequence: "cycle_id_rollover",
        step: TAKEN,
        signal: "Error",
        show: |image, _| image.error |= image.echo_trigger_id == 1,
        ..SOUND
    },
    Mutation {
        name: "knows one recipe",
        sequence: "recipe_change",
        step: "the recipe is ready",
        signal: "RecipeReady",
        hear: |event, _| vec![written(event, |image| image.recipe_number = 1)],
        ..SOUND
    },
    Mutation {
        name: "gives an open part the new recipe",
        sequence: "recipe_change",
        step: "the open part keeps its recipe",
        signal: "RecipeOfResult",
        show: |image, _| image.recipe_of_result = image.recipe_ready,
        ..SOUND
    },
    Mutation {
        name: "keeps quiet about an unknown recipe",
        sequence: "recipe_unknown",
        step: "the station says so",
        signal: "ErrorCode",
        hear: |event, _| vec![written(event, |image| image.recipe_number = image.recipe_number.min(2))],
        ..SOUND
    },
    Mutation {
        name: "does not clear its counters",
        sequence: "command_clear_counters",
        step: ANSWERED,
        signal: "CountTotal",
        show: |image, _| image.counts.total += 1,
        ..SOUND
    },
    Mutation {
        name: "answers a command both ways",
        sequence: "command_test_run",
        step: ANSWERED,
        signal: "CommandFailed",
        show: |image, _| image.command_failed |= image.command_done,
        ..SOUND
    },
    Mutation {
        name: "lets CommandDone fall by itself",
        sequence: "command_test_run",
        step: "the answer stands until ExecuteCommand falls",
        signal: "CommandDone",
        show: |image, broken| {
            if image.command_done {
                image.command_done = !broken.was_read();
            }
        },
        ..SOUND
    },
    Mutation {
        name: "does not say that it is taught",
        sequence: "command_teach",
        step: ANSWERED,
        signal: "StationMode",
        show: |image, _| image.station_mode = StationMode::Auto,
        ..SOUND
    },
    Mutation {
        name: "passes parts while it is taught",
        sequence: "command_teach",
        step: SHOWN,
        signal: "Accept",
        show: |image, _| image.accept |= image.result_valid,
        ..SOUND
    },
    Mutation {
        name: "does not clear its result",
        sequence: "command_clear_results",
        step: "the result is withdrawn",
        signal: "ResultValid",
        show: |image, broken| {
            remember_result(image, broken);
            if image.command_done {
                show_result(image, broken);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "claims to have done what it does not know",
        sequence: "command_refused",
        step: ANSWERED,
        signal: "CommandDone",
        show: |image, _| (image.command_done, image.command_failed) = (image.command_failed, image.command_done),
        ..SOUND
    },
    Mutation {
        name: "records no serial number",
        sequence: "serial_with_trigger",
        step: "its record has it",
        signal: "",
        record: |record| {
            record.serial.clear();
            1
        },
        ..SOUND
    },
    Mutation {
        name: "hands a latched serial number on",
        sequence: "serial_latched",
        step: "their records have it, and have it not",
        signal: "",
        serial: SerialMode::Latched { required: false },
        record: |record| {
            "SN-0201".clone_into(&mut record.serial);
            1
        },
        ..SOUND
    },
    Mutation {
        name: "does not acknowledge a serial number",
        sequence: "serial_latched",
        step: "the station has it",
        signal: "UserDataAck",
        serial: SerialMode::Latched { required: false },
        show: |image, _| image.user_data_ack = false,
        ..SOUND
    },
    Mutation {
        name: "passes parts during a bypass",
        sequence: "bypass",
        step: "the part is inspected, and not accepted",
        signal: "Accept",
        hear: |event, _| vec![written(event, |image| image.control &= !control::BYPASS)],
        ..SOUND
    },
    Mutation {
        name: "takes a test part for a real one",
        sequence: "test_part",
        step: SHOWN,
        signal: "Accept",
        hear: |event, _| vec![written(event, |image| image.control &= !control::TEST_PART)],
        ..SOUND
    },
    Mutation {
        name: "counts a test part",
        sequence: "test_part",
        step: SHOWN,
        signal: "CountTotal",
        show: |image, broken| {
            broken.seen |= image.test_result;
            image.counts.total += u32::from(broken.seen);
        },
        ..SOUND
    },
    Mutation {
        name: "keeps the result of the session before",
        sequence: "plc_restart",
        step: "the session is in force, and nothing of before is open or shown",
        signal: "EchoCycleId",
        show: |image, broken| {
            remember_result(image, broken);
            if let (0, Some(result)) = (image.echo_cycle_id, &broken.result) {
                image.echo_cycle_id = result.echo_cycle_id;
            }
        },
        ..SOUND
    },
    Mutation {
        name: "takes a hanging PLC for a living one",
        sequence: "heartbeat_loss",
        step: "the station notices",
        signal: "ErrorCode",
        show: |image, _| {
            if image.error_code == 30 {
                (image.error_code, image.error) = (0, false);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "does not forgive a PLC that came back",
        sequence: "heartbeat_loss",
        step: "the station goes on",
        signal: "TriggerReady",
        show: |image, broken| {
            broken.seen |= image.trigger_ready;
            broken.count += u32::from(broken.seen && image.error_code == 30);
            image.trigger_ready &= broken.count == 0;
        },
        ..SOUND
    },
    Mutation {
        name: "takes a heartbeat that rolls over for none",
        sequence: "heartbeat_rollover",
        step: "it does, and the PLC stays alive",
        signal: "TriggerReady",
        hear: |event, broken| {
            let beat = image_of(&event).map_or(0, |image| u32::from(image.heartbeat));
            broken.count = broken.count.max(beat);
            let highest = broken.count as u16;
            vec![written(event, |image| image.heartbeat = highest)]
        },
        ..SOUND
    },
    Mutation {
        name: "voids a part because the link was down",
        sequence: "link_down_50_ms",
        step: SHOWN,
        signal: "ResultValid",
        hear: |event, broken| {
            broken.seen |= event == PlcEvent::Lost;
            vec![event]
        },
        show: |image, broken| (image.result_valid, image.accept) = (image.result_valid && !broken.seen, image.accept && !broken.seen),
        ..SOUND
    },
    Mutation {
        name: "keeps Accept over a long cut",
        sequence: "link_down_5_s",
        step: "the result is still there, and no part may come",
        signal: "Accept",
        sabotage: Some(Sabotage::KeepAccept),
        ..SOUND
    },
    Mutation {
        name: "takes what it finds for edges",
        sequence: "stale_data",
        step: "neither is an edge",
        signal: "AcquisitionId",
        hear: |event, broken| {
            if event == PlcEvent::Connected {
                broken.seen = true;
            } else if broken.seen && image_of(&event).is_some() {
                broken.seen = false;
                return lowered(event, control::TRIGGER | control::RESULT_ACK);
            }
            vec![event]
        },
        ..SOUND
    },
    Mutation {
        name: "forgets its counters",
        sequence: "station_restart",
        step: "nothing of before is shown",
        signal: "CountTotal",
        recall: |memory| memory.counts.total = 0,
        ..SOUND
    },
    Mutation {
        name: "shows results of its life before",
        sequence: "station_restart",
        step: "nothing of before is shown",
        signal: "EchoCycleId",
        recall: |memory| memory.counts.missed = u32::from(memory.counts.total > 0) * 77,
        show: |image, _| {
            if image.counts.missed == 77 && image.echo_cycle_id == 0 {
                image.echo_cycle_id = 246;
            }
        },
        ..SOUND
    },
    Mutation {
        name: "does not count what a kill cost",
        sequence: "kill",
        step: "nothing of before is shown, but it is counted",
        signal: "CountNotDecidable",
        recall: |memory| memory.counts.not_decidable = 0,
        ..SOUND
    },
    Mutation {
        name: "takes a trigger of before the start for an edge",
        sequence: "kill",
        step: "nor later",
        signal: "TriggerAck",
        hear: |event, broken| {
            if event == PlcEvent::Connected {
                (broken.seen, broken.since) = (true, None);
            } else if broken.seen && image_of(&event).is_some() && broken.was_read() {
                broken.seen = false;
                return lowered(event, control::TRIGGER);
            }
            vec![event]
        },
        ..SOUND
    },
    Mutation {
        name: "loses the part that was open at a kill",
        sequence: "kill",
        step: RECORD,
        signal: "",
        record: |record| u64::from(record.reason != Some(Reason::Restart)),
        ..SOUND
    },
];
