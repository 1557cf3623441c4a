//! What may be broken about restarts, silence and cuts.

use super::{Mutation, RECORD, SHOWN, SOUND, image_of, lowered, remember_result, written};
use crate::line::Sabotage;
use crate::line::image::control;
use crate::part::Reason;
use crate::plc::PlcEvent;

pub(super) static MUTATIONS: &[Mutation] = &[
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
        // The image between what it believes to have fallen and its edges.
        or: Some(("neither is an edge", "TriggerReady")),
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
        // The image between Trigger that it believes to have fallen and its edge.
        or: Some(("nor later", "TriggerReady")),
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
