//! What may be broken about results and their acknowledgement.

use std::time::Duration;

use super::{MISSED, Mutation, RECORD, SHOWN, SOUND, TAKEN, WITHDRAWN, image_of, lowered, remember_result, show_result, written};
use crate::line::Sabotage;
use crate::line::image::control;
use crate::part::{Reason, Verdict};
use crate::plc::PlcEvent;

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
];
