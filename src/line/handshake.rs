//! The PLC's side as the line sees it: whether it is there, what its edges mean, which triggers wait for their numbers to be whole.

use std::time::Duration;

use super::edge::{Edge, EdgeDetector};
use super::heartbeat::HeartbeatWatch;
use super::image::{PlcImage, control};
use crate::part::{CycleId, Disposition, Nanos};

/// How a trigger was answered. The answer stands until Trigger falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Acknowledged,
    Missed,
}

/// What a write of the PLC means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "several things can happen in one write")]
pub(super) struct Heard {
    /// The session before, if this write began another.
    pub(super) session_before: Option<u16>,
    /// ResultAck rose.
    pub(super) acknowledged: bool,
    /// ResultAck is 0.
    pub(super) ack_low: bool,
    /// ClearError rose.
    pub(super) clear_error: bool,
    /// ExecuteCommand rose.
    pub(super) execute: bool,
    /// ExecuteCommand is 0.
    pub(super) execute_low: bool,
    /// SetUserData rose while Trigger was 0.
    pub(super) latch_serial: bool,
    /// SetUserData is 0.
    pub(super) latch_low: bool,
    /// The PLC says what happened to a part, and did not say so before.
    pub(super) disposition: Option<(CycleId, Disposition)>,
}

/// The PLC.
#[derive(Debug, Clone)]
pub(super) struct Handshake {
    pub(super) image: PlcImage,
    pub(super) connected: bool,
    /// The session in force.
    pub(super) session: u16,
    pub(super) heartbeat: HeartbeatWatch,
    /// When the Trigger edge came that is not answered yet.
    pub(super) pending: Option<Nanos>,
    pub(super) answer: Option<Answer>,
    pub(super) echo_trigger_id: u32,
    /// BufferEnable at the last rising edge of Online.
    pub(super) buffered: bool,
    online: EdgeDetector,
    trigger: EdgeDetector,
    result_ack: EdgeDetector,
    clear_error: EdgeDetector,
    execute_command: EdgeDetector,
    set_user_data: EdgeDetector,
    /// What was said last of a part's fate; nothing yet after a start, where what is found may have been said before.
    disposition: Option<(u32, u16)>,
}

impl Handshake {
    pub(super) fn new(session: u16, heartbeat_timeout: Duration) -> Self {
        Self {
            image: PlcImage::default(),
            connected: false,
            session,
            heartbeat: HeartbeatWatch::new(heartbeat_timeout),
            pending: None,
            answer: None,
            echo_trigger_id: 0,
            buffered: false,
            online: EdgeDetector::default(),
            trigger: EdgeDetector::default(),
            result_ack: EdgeDetector::default(),
            clear_error: EdgeDetector::default(),
            execute_command: EdgeDetector::default(),
            set_user_data: EdgeDetector::default(),
            disposition: None,
        }
    }

    /// What the PLC will be found to say is no edge. An answer stands until Trigger is seen to be 0, whatever happens to the link.
    pub(super) fn forget_levels(&mut self) {
        let bits = [
            &mut self.trigger,
            &mut self.result_ack,
            &mut self.clear_error,
            &mut self.execute_command,
            &mut self.set_user_data,
        ];
        bits.into_iter().for_each(EdgeDetector::forget);
        self.pending = None;
    }

    /// Whether the PLC says this in another session than the one in force.
    pub(super) fn begins_session(&self, image: &PlcImage) -> bool {
        image.plc_session != 0 && image.plc_session != self.session
    }

    /// Takes in a write.
    pub(super) fn hear(&mut self, image: PlcImage, written: u16, at: Nanos) -> Heard {
        let disables = self.image.is(control::TRIGGER_ENABLE) && !image.is(control::TRIGGER_ENABLE);
        let begins_session = self.begins_session(&image);
        self.image = image;
        self.heartbeat.see(image.heartbeat, at);
        let mut heard = Heard::default();
        if begins_session {
            heard.session_before = Some(std::mem::replace(&mut self.session, image.plc_session));
            self.forget_levels();
            self.answer = None;
            self.online.forget();
        }
        let wrote = |mask: u16| written & mask != 0;
        if wrote(control::ONLINE) {
            // Found online counts as coming online: the mode must be known.
            let found = !self.online.is_known();
            if self.online.see(image.is(control::ONLINE)) == Edge::Rising || found {
                self.buffered = image.is(control::BUFFER_ENABLE);
            }
        }
        if wrote(control::TRIGGER) {
            match self.trigger.see(image.is(control::TRIGGER)) {
                Edge::Rising => self.pending = Some(at),
                Edge::Falling | Edge::None if !image.is(control::TRIGGER) => {
                    self.answer = None;
                }
                _ => {}
            }
        }
        if disables {
            self.answer = None;
        }
        if wrote(control::RESULT_ACK) {
            heard.acknowledged = self.result_ack.see(image.is(control::RESULT_ACK)) == Edge::Rising;
            heard.ack_low = !image.is(control::RESULT_ACK);
        }
        if wrote(control::CLEAR_ERROR) {
            heard.clear_error = self.clear_error.see(image.is(control::CLEAR_ERROR)) == Edge::Rising;
        }
        if wrote(control::EXECUTE_COMMAND) {
            heard.execute = self.execute_command.see(image.is(control::EXECUTE_COMMAND)) == Edge::Rising;
            heard.execute_low = !image.is(control::EXECUTE_COMMAND);
        }
        if wrote(control::SET_USER_DATA) {
            let rose = self.set_user_data.see(image.is(control::SET_USER_DATA)) == Edge::Rising;
            heard.latch_serial = rose && !image.is(control::TRIGGER);
            heard.latch_low = !image.is(control::SET_USER_DATA);
        }
        let said = (image.disposition_cycle_id, image.disposition);
        if self.disposition.replace(said).is_some_and(|before| before != said) {
            heard.disposition = CycleId::new(said.0).zip(Disposition::from_code(said.1));
        }
        heard
    }

    /// Answers the pending trigger.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.pending = None;
        self.echo_trigger_id = self.image.cycle_id;
        self.answer = self.trigger.is_high().then_some(answer);
    }

    /// Whether the PLC's part of TriggerReady holds, but for recipe and slots.
    pub(super) fn is_armed(&self) -> bool {
        self.is_enabled() && self.trigger.is_armed() && self.result_ack.is_armed()
    }

    /// Whether the PLC takes part: connected, alive, initialised, online, handshake enabled.
    pub(super) fn is_enabled(&self) -> bool {
        self.connected
            && self.session != 0
            && self.image.plc_session == self.session
            && self.heartbeat.is_alive()
            && self.image.is(control::ONLINE | control::TRIGGER_ENABLE)
    }

    /// Whether Trigger and both answers are 0.
    pub(super) fn is_idle(&self) -> bool {
        !self.trigger.is_high() && self.pending.is_none() && self.answer.is_none()
    }

    /// Whether the numbers of the pending trigger are whole.
    pub(super) fn is_whole(&self) -> bool {
        self.image.cycle_id == self.image.cycle_id_tail
    }
}
