//! Whether a part may come, and the image that says so.

use super::Line;
use super::commands::{CommandState, Mode};
use super::config::{RecipePlan, ResultMode};
use super::error_code::{ErrorCode, Level};
use super::event::{Note, ProviderStanding, Withheld};
use super::handshake::Answer;
use super::image::{BUFFERS, StationImage, StationMode, WINDOW_SLOTS, control};
use super::ledger::OpenPart;
use crate::part::{ClockQuality, CycleId, Nanos};

impl Line {
    /// Result slots there are. One of several is kept for an edge that was on its way when TriggerReady fell.
    pub(super) fn slots(&self) -> usize {
        match self.config.result_mode {
            ResultMode::Single if self.buffered => BUFFERS + 1,
            ResultMode::Single => 1,
            ResultMode::Window => WINDOW_SLOTS,
        }
    }

    /// Result slots that TriggerReady offers.
    fn slots_offered(&self) -> usize {
        self.slots().saturating_sub(1).max(1)
    }

    pub(super) fn slots_taken(&self, now: Nanos) -> usize {
        let shown = match self.config.result_mode {
            ResultMode::Single => usize::from(self.buffered && self.single.is_unread()),
            ResultMode::Window => self.window.unexpired(now, self.config.accept_hold),
        };
        self.ledger.open.len() + shown
    }

    /// Why a part should not come now although nothing is wrong.
    pub(super) fn withholds(&self, now: Nanos) -> Option<Withheld> {
        if self.slots_taken(now) >= self.slots_offered() || self.is_changing_mode() {
            return Some(Withheld::Slots);
        }
        let is_alone = self.ledger.open.values().all(|part| part.outcome.is_some());
        let recipe = self.recipe_in_force().filter(|_| !is_alone)?;
        let own = recipe.first..recipe.first + recipe.cameras.len();
        let ahead = self.ledger.open.values().flat_map(OpenPart::inspections_to_come);
        let expected = self.admission.expected(own, ahead)?;
        (expected > self.config.deadline).then_some(Withheld::Admission { expected })
    }

    /// Whether another result mode is asked for than what is still to be read was promised in.
    fn is_changing_mode(&self) -> bool {
        self.config.result_mode == ResultMode::Single && self.buffered != self.plc.buffered
    }

    /// Whether an Ok lets a part pass at all.
    pub(super) fn passes_parts(&self) -> bool {
        self.models_ready && self.mode == Mode::Inspecting && !self.config.simulated && !self.plc.image.is(control::BYPASS)
    }

    pub(super) fn recipe_in_force(&self) -> Option<&RecipePlan> {
        self.config.recipes.get(self.recipe?)
    }

    /// Number of the recipe in force; 0 is none.
    pub(super) fn recipe_number(&self) -> u16 {
        self.recipe_in_force().map_or(0, |recipe| recipe.number)
    }

    /// Whether no recipe is in force, or another one than the PLC asks for; 0 asks for the one that is.
    pub(super) fn lacks_recipe(&self) -> bool {
        let (asked, in_force) = (self.plc.image.recipe_number, self.recipe_number());
        in_force == 0 || (asked != 0 && asked != in_force)
    }

    /// Whether nothing on the station's side keeps it from inspecting.
    pub(super) fn is_operational(&self) -> bool {
        self.models_ready && !self.stopping && self.mode != Mode::Testing && self.active_errors().all(|error| error.level() != Level::Error)
    }

    /// Latched errors, and those whose cause is there now.
    pub(super) fn active_errors(&self) -> impl Iterator<Item = ErrorCode> + '_ {
        let causes = [
            (
                ErrorCode::ModelsNotReady,
                // Which provider is missing tells more.
                !self.models_ready && self.surroundings.provider != ProviderStanding::Missing,
            ),
            (ErrorCode::CameraLost, !self.cameras_down.is_empty()),
            (
                ErrorCode::BufferedUnavailable,
                self.plc.buffered && self.plc.image.is(control::ONLINE) && self.config.result_mode == ResultMode::Window,
            ),
            (ErrorCode::RecipeUnknown, self.lacks_recipe()),
            (ErrorCode::GateFailing, self.gate.failing),
            (ErrorCode::NumbersExhausted, self.ids_left() == 0),
        ];
        let caused = causes.into_iter().filter(|(_, is_there)| *is_there).map(|(error, _)| error);
        self.errors.iter().copied().chain(caused).chain(self.surroundings.errors())
    }

    /// Whether the part triggered last may move: exposed, or it has its outcome without.
    pub(super) fn is_exposed(&self) -> bool {
        let latest = self.latest.and_then(|part| self.ledger.open.get(&part));
        latest.map_or(self.latest.is_some(), OpenPart::is_exposed)
    }

    pub(super) fn draw(&mut self, now: Nanos) -> StationImage {
        let withheld = self.withholds(now);
        self.note_withheld(withheld, now);
        let lowest = self.active_errors().min();
        let could_come = self.is_operational() && self.plc.is_armed() && self.plc.is_idle() && !self.lacks_recipe();
        let mut image = StationImage {
            online: self.plc.image.is(control::ONLINE) && self.models_ready && !self.stopping,
            trigger_ready: could_come && withheld.is_none(),
            held_for_slot: could_come && withheld == Some(Withheld::Slots),
            held_for_deadline: could_come && matches!(withheld, Some(Withheld::Admission { .. })),
            trigger_ack: self.plc.answer == Some(Answer::Acknowledged),
            missed_trigger: self.plc.answer == Some(Answer::Missed),
            // The image that sets TriggerAck clears it, even if the frame overtook the trigger.
            exposure_complete: self.is_exposed() && (self.image.trigger_ack || self.plc.answer != Some(Answer::Acknowledged)),
            busy: self.ledger.open.values().any(|part| !part.is_waiting),
            command_executing: self.command.is_executing(),
            command_done: self.command == CommandState::Done,
            command_failed: self.command == CommandState::Failed,
            user_data_ack: self.serial.is_acknowledged,
            simulated: self.config.simulated,
            clock_synced: self.surroundings.clock == ClockQuality::Synchronised,
            error: self.active_errors().any(|error| error.level() == Level::Error),
            warning: self.active_errors().any(|error| error.level() == Level::Warning),
            stop_request: self.active_errors().any(ErrorCode::requests_stop),
            gate_fire_cycle_id: self.gate.acts_on.map_or(0, CycleId::get),
            remaining_buffers: self.remaining_buffers(now),
            error_code: lowest.map_or(0, ErrorCode::code),
            heartbeat: self.heartbeat,
            recipe_ready: if self.models_ready { self.recipe_number() } else { 0 },
            boot_id: self.boot_id,
            echo_plc_session: self.plc.session,
            station_mode: self.station_mode(),
            acquisition_id: self.latest_acquisition,
            echo_trigger_id: self.plc.echo_trigger_id,
            counts: self.counts_shown(),
            ..StationImage::default()
        };
        match self.config.result_mode {
            ResultMode::Single => self.single.write(&mut image, now, self.config.accept_hold, self.keeps_accept()),
            ResultMode::Window => self.window.write(&mut image, now, self.config.accept_hold, self.keeps_accept()),
        }
        image
    }

    fn remaining_buffers(&self, now: Nanos) -> u16 {
        let buffers = match self.config.result_mode {
            ResultMode::Single if self.buffered => BUFFERS,
            ResultMode::Single => 1,
            ResultMode::Window => 0,
        };
        u16::try_from(buffers.saturating_sub(self.slots_taken(now))).unwrap_or(0)
    }

    fn station_mode(&self) -> StationMode {
        match self.mode {
            _ if !self.models_ready => StationMode::Preoperational,
            _ if self.config.simulated => StationMode::Simulated,
            Mode::Inspecting => StationMode::Auto,
            Mode::Teaching => StationMode::Teach,
            Mode::Testing => StationMode::TestRun,
        }
    }

    /// Remembers since when TriggerReady is held back, and tells of it once.
    fn note_withheld(&mut self, withheld: Option<Withheld>, now: Nanos) {
        let before = self.withheld;
        self.withheld = withheld.map(|cause| (before.map_or(now, |(since, _)| since), cause));
        let is_news = |cause: Withheld| before.is_none_or(|(_, known)| std::mem::discriminant(&known) != std::mem::discriminant(&cause));
        if let Some(cause) = withheld.filter(|cause| is_news(*cause)) {
            self.pending.notes.push(Note::Withheld { cause });
        }
    }
}
