//! What may be broken about what the camera sees.

use super::{Mutation, SHOWN, SOUND};
use crate::part::{Reason, Verdict};
use crate::twin::commission::tests::{free_running, wired};

pub(super) static MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "passes what it did not see",
        sequence: "no_exposure",
        step: SHOWN,
        signal: "Accept",
        show: |image, _| {
            if image.reason_code == Reason::NoFrame.code() {
                (image.verdict, image.reason_code, image.accept) = (Some(Verdict::Ok), 0, true);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "waits for a picture for ever",
        sequence: "no_exposure",
        step: SHOWN,
        signal: "ResultValid",
        show: |image, _| image.result_valid &= image.reason_code != Reason::NoFrame.code(),
        ..SOUND
    },
    Mutation {
        name: "takes one of two exposures",
        sequence: "two_exposures",
        step: SHOWN,
        signal: "Verdict",
        given: wired,
        show: |image, _| {
            if image.reason_code == Reason::Correlation.code() {
                (image.verdict, image.reason_code) = (Some(Verdict::Ok), 0);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "keeps quiet about a part that nobody announced",
        sequence: "unannounced_part",
        step: "the station warns",
        signal: "ErrorCode",
        given: wired,
        show: |image, _| {
            if image.error_code == 70 {
                (image.error_code, image.warning) = (0, false);
            }
        },
        ..SOUND
    },
    Mutation {
        name: "opens a part that nobody announced",
        sequence: "unannounced_part",
        step: "the station warns",
        signal: "AcquisitionId",
        given: wired,
        show: |image, _| image.acquisition_id += u32::from(image.error_code == 70),
        ..SOUND
    },
    Mutation {
        name: "judges a part by its neighbour's frame",
        sequence: "nearest_frame",
        step: SHOWN,
        signal: "Verdict",
        given: free_running,
        show: |image, _| {
            if image.result_valid {
                (image.verdict, image.reason_code, image.accept) = (Some(Verdict::NotOk), Reason::Anomaly.code(), false);
            }
        },
        ..SOUND
    },
];
