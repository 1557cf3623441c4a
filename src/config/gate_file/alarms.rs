//! `[alarms]`: when the line is to stop.

use super::super::reader::{Answer, Table};
use super::super::value::{share, whole, whole_u32};
use crate::gate::alarms::{AlarmLimits, RATE_PARTS_MAX, RateLimit};

/// Most parts in a row that an alarm waits for.
const IN_A_ROW_MAX: u32 = 10_000;

/// `[alarms]`.
pub(in crate::config) fn read_alarms(table: &mut Table<'_>) -> Answer<AlarmLimits> {
    let rejects = table.optional("consecutive_rejects_max", whole_u32(1..=IN_A_ROW_MAX));
    let removed = table.optional("consecutive_removed_max", whole_u32(1..=IN_A_ROW_MAX));
    let rate = table.optional("reject_rate_max", share());
    let parts = table.optional("reject_rate_parts", whole(1..=RATE_PARTS_MAX as u64));
    let reject_rate = match (rate?, parts?) {
        (Some(share), Some(parts)) => Some(RateLimit {
            share,
            parts: parts as usize,
        }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(table.refuse(
                "reject_rate_max",
                "reject_rate_parts is missing; give of how many parts the share is taken",
            ));
        }
        (None, Some(_)) => {
            return Err(table.refuse(
                "reject_rate_parts",
                "reject_rate_max is missing; give the share of rejects that is too much",
            ));
        }
    };
    Ok(AlarmLimits {
        consecutive_rejects: rejects?,
        reject_rate,
        consecutive_removed: removed?,
    })
}
