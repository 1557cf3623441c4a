//! What may be broken about window mode.

use super::{IN_SLOT, Mutation, SOUND};
use crate::line::Sabotage;
use crate::line::image::{WINDOW_SLOTS, WindowSlot};
use crate::part::CycleId;
use crate::plc::PlcEvent;
use crate::twin::commission::tests::in_window;

pub(super) static MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "puts results into other slots than theirs",
        sequence: "window_slots",
        step: IN_SLOT,
        signal: "WindowResultId in slot 9",
        given: in_window,
        show: |image, _| image.window.rotate_right(1),
        ..SOUND
    },
    Mutation {
        name: "gives a slot to another part",
        sequence: "window_slots",
        step: IN_SLOT,
        signal: "WindowVerdict in slot 8",
        given: in_window,
        show: |image, _| {
            for slot in &mut image.window {
                slot.cycle_id = slot.cycle_id.and_then(|id| CycleId::new(id.get() + 1000));
            }
        },
        ..SOUND
    },
    Mutation {
        name: "shows results of the window in the registers too",
        sequence: "window_slots",
        step: "the last sixteen are there, and the result registers say nothing",
        signal: "ResultValid",
        given: in_window,
        show: |image, _| image.result_valid |= image.counts.total == 18,
        ..SOUND
    },
    Mutation {
        name: "keeps a verdict in the window for ever",
        sequence: "window_hold",
        step: "the verdict falls by itself",
        signal: "WindowVerdict of part 321",
        given: in_window,
        sabotage: Some(Sabotage::KeepAccept),
        ..SOUND
    },
    Mutation {
        name: "keeps the window of the session before",
        sequence: "window_session",
        step: "the window is empty",
        signal: "WindowCycleId of part 331",
        given: in_window,
        show: |image, broken| {
            if image.window == <[WindowSlot; WINDOW_SLOTS]>::default() {
                image.window = broken.shown.window;
                image.window.iter_mut().for_each(|slot| slot.verdict = 0);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "voids a slot because the link was down",
        sequence: "window_link_down",
        step: IN_SLOT,
        signal: "WindowVerdict of part 336",
        given: in_window,
        hear: |event, broken| {
            broken.seen |= event == PlcEvent::Lost;
            vec![event]
        },
        show: |image, broken| {
            if broken.seen {
                image.window = <[WindowSlot; WINDOW_SLOTS]>::default();
            }
        },
        ..SOUND
    },
    Mutation {
        name: "finds its window again after a kill",
        sequence: "window_kill",
        step: "the window is empty",
        signal: "WindowCycleId of part 341",
        given: in_window,
        recall: |memory| memory.counts.missed = u32::from(memory.counts.total > 0) * 77,
        show: |image, _| {
            if image.counts.missed == 77 {
                image.window[5] = WindowSlot {
                    cycle_id: CycleId::new(341),
                    result_id: 5,
                    verdict: 0,
                    defect_code: 0,
                };
            }
        },
        ..SOUND
    },
];
