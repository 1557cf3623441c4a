//! What may be broken about triggers and their numbers.

use std::time::Duration;

use super::{MISSED, Mutation, SHOWN, SOUND, TAKEN, image_of, written};
use crate::line::image::control;
use crate::part::{Reason, Verdict};

pub(super) static MUTATIONS: &[Mutation] = &[
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
];
