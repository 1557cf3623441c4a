//! What may be broken about a station, each in one place, and the step that must see it. The files are those of `sequences/`.

mod disturbances;
mod exposures;
mod modes;
mod results;
mod triggers;
mod window;

use crate::line::config::{LineConfig, SerialMode};
use crate::line::image::{PlcImage, StationImage};
use crate::line::{Memory, Sabotage};
use crate::part::PartRecord;
use crate::plc::PlcEvent;
use crate::twin::commission::step::Terms;

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
    /// Another step, and its signal, where it is a race which of two images shows first what is broken.
    pub(super) or: Option<(&'static str, &'static str)>,
    pub(super) serial: SerialMode,
    pub(super) given: fn(&mut Terms),
    pub(super) configure: fn(&mut LineConfig),
    pub(super) recall: fn(&mut Memory),
    /// How many records there are of it.
    pub(super) record: fn(&mut PartRecord) -> u64,
    pub(super) hear: fn(PlcEvent, &mut Broken) -> Vec<PlcEvent>,
    pub(super) show: fn(&mut StationImage, &mut Broken),
    pub(super) sabotage: Option<Sabotage>,
}

impl Mutation {
    /// Whether this is where it is to be seen.
    pub(super) fn is_seen_at(&self, step: &str, signal: &str) -> bool {
        [Some((self.step, self.signal)), self.or].contains(&Some((step, signal)))
    }
}

/// A station that is not broken.
pub(super) const SOUND: Mutation = Mutation {
    name: "",
    sequence: "",
    step: "",
    signal: "",
    or: None,
    serial: SerialMode::WithTrigger,
    given: |_| (),
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
const IN_SLOT: &str = "its result is in a slot of its own, all of it at once";
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

/// All of them.
pub(super) fn all() -> Vec<&'static Mutation> {
    let groups = [
        results::MUTATIONS,
        window::MUTATIONS,
        triggers::MUTATIONS,
        exposures::MUTATIONS,
        modes::MUTATIONS,
        disturbances::MUTATIONS,
    ];
    groups.into_iter().flatten().collect()
}
