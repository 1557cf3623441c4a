//! What may be broken about recipes, commands, serial numbers, bypass and test parts.

use super::{ANSWERED, Mutation, SHOWN, SOUND, remember_result, show_result, written};
use crate::line::config::SerialMode;
use crate::line::image::{StationMode, control};

pub(super) static MUTATIONS: &[Mutation] = &[
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
];
