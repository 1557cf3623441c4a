//! Whether a part may come, and the image that says so.

use super::*;

impl Line {
    /// Result slots there are.
    pub(super) fn slots(&self) -> usize {
        match self.config.result_mode {
            ResultMode::Single => 1,
            ResultMode::Window => WINDOW_SLOTS,
        }
    }

    /// Result slots that TriggerReady offers: in window mode the last one is kept for an edge that was on its way.
    pub(super) fn slots_offered(&self) -> usize {
        self.slots().saturating_sub(1).max(1)
    }

    pub(super) fn slots_taken(&self, now: Nanos) -> usize {
        let unexpired = match self.config.result_mode {
            ResultMode::Single => 0,
            ResultMode::Window => self.window.unexpired(now, self.config.accept_hold),
        };
        self.ledger.open.len() + unexpired
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
        self.models_ready && !self.stopping && self.active_errors().all(|error| error.level() != Level::Error)
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
                self.plc.buffered && self.plc.image.is(control::ONLINE) && self.config.result_mode == ResultMode::Single,
            ),
            (ErrorCode::RecipeUnknown, self.lacks_recipe()),
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
        let free = self.slots_taken(now) < self.slots_offered();
        if free {
            self.slots_full_since = None;
        } else {
            self.slots_full_since.get_or_insert(now);
        }
        let lowest = self.active_errors().min();
        let operational = self.is_operational();
        let mut image = StationImage {
            online: self.plc.image.is(control::ONLINE) && self.models_ready && !self.stopping,
            trigger_ready: operational && self.plc.is_armed() && self.plc.is_idle() && !self.lacks_recipe() && free,
            trigger_ack: self.plc.answer == Some(Answer::Acknowledged),
            missed_trigger: self.plc.answer == Some(Answer::Missed),
            // The image that sets TriggerAck clears it, even if the frame overtook the trigger.
            exposure_complete: self.is_exposed() && (self.image.trigger_ack || self.plc.answer != Some(Answer::Acknowledged)),
            busy: !self.ledger.open.is_empty(),
            error: self.active_errors().any(|error| error.level() == Level::Error),
            warning: self.active_errors().any(|error| error.level() == Level::Warning),
            remaining_buffers: u16::from(self.config.result_mode == ResultMode::Single && self.ledger.open.is_empty()),
            error_code: lowest.map_or(0, ErrorCode::code),
            heartbeat: self.heartbeat,
            recipe_ready: if self.models_ready { self.recipe_number() } else { 0 },
            boot_id: self.boot_id,
            echo_plc_session: self.plc.session,
            station_mode: if self.models_ready {
                StationMode::Auto
            } else {
                StationMode::Preoperational
            },
            acquisition_id: self.latest_acquisition,
            echo_trigger_id: self.plc.echo_trigger_id,
            counts: self.counts,
            ..StationImage::default()
        };
        match self.config.result_mode {
            ResultMode::Single => self.single.write(&mut image, now, self.config.accept_hold, self.keeps_accept()),
            ResultMode::Window => self.window.write(&mut image, now, self.config.accept_hold, self.keeps_accept()),
        }
        image
    }
}
