//! Commands of the PLC: the edge of ExecuteCommand, exactly one of CommandDone and CommandFailed, one at a time.

use super::Line;
use super::error_code::ErrorCode;
use super::event::Note;
use super::image::Counts;
use crate::part::{Nanos, Reason};

/// What a PLC may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Counters begin at 0 again.
    ClearCounters = 1,
    /// The models prove themselves on their golden images once more.
    TestRun = 2,
    /// What comes from now on is good and to be learnt from; nothing is passed.
    StartTeach = 3,
    /// Inspection goes on.
    StopTeach = 4,
    /// The result shown and those that wait are gone.
    ClearResults = 5,
}

impl Command {
    /// Every command, by number.
    pub const ALL: &[Self] = &[
        Self::ClearCounters,
        Self::TestRun,
        Self::StartTeach,
        Self::StopTeach,
        Self::ClearResults,
    ];

    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The command of a number on the wire.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|command| command.code() == code)
    }

    /// Name for logs and PLC programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClearCounters => "clear_counters",
            Self::TestRun => "test_run",
            Self::StartTeach => "start_teach",
            Self::StopTeach => "stop_teach",
            Self::ClearResults => "clear_results",
        }
    }

    /// What it does, in a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::ClearCounters => "The counters begin at 0 again.",
            Self::TestRun => {
                "The models prove themselves on their golden images once more; no part is taken meanwhile. Refused while a part is open."
            }
            Self::StartTeach => {
                "Pictures of the parts that follow are kept as good ones; none of them is passed. Refused while a part is open."
            }
            Self::StopTeach => "Inspection goes on. Refused while a part is open, or if nothing is taught.",
            Self::ClearResults => "The result shown is withdrawn; those that wait to be read are recorded NotDecidable(cleared).",
        }
    }
}

/// Where the command handshake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CommandState {
    #[default]
    Idle,
    /// The station works on it. An ExecuteCommand that falls meanwhile withdraws the question, not the work.
    Executing {
        command: Command,
        is_asked: bool,
    },
    Done,
    Failed,
}

impl CommandState {
    pub(super) fn is_executing(self) -> bool {
        matches!(self, Self::Executing { .. })
    }

    /// ExecuteCommand is 0.
    pub(super) fn release(&mut self) {
        *self = match *self {
            Self::Executing { command, .. } => Self::Executing { command, is_asked: false },
            _ => Self::Idle,
        };
    }

    /// The work is done.
    pub(super) fn finish(&mut self, finished: Command, succeeded: bool) {
        if let Self::Executing { command, is_asked } = *self
            && command == finished
        {
            *self = match (is_asked, succeeded) {
                (false, _) => Self::Idle,
                (true, true) => Self::Done,
                (true, false) => Self::Failed,
            };
        }
    }
}

/// What the station is doing, as far as the PLC can command it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Inspecting,
    Teaching,
    Testing,
}

impl Line {
    /// The edge of ExecuteCommand.
    pub(super) fn execute(&mut self, number: u16, at: Nanos) {
        let known = Command::from_code(number);
        let begun = known.filter(|command| self.may_execute(*command));
        let Some(command) = begun else {
            self.errors.insert(ErrorCode::CommandRefused);
            self.pending.notes.push(Note::CommandRefused { number });
            // What is being worked on goes on; the answer to its own edge was withdrawn when that fell.
            if !self.command.is_executing() {
                self.command = CommandState::Failed;
            }
            return;
        };
        self.pending.notes.push(Note::CommandTaken { command });
        self.command = CommandState::Done;
        match command {
            Command::ClearCounters => self.counts_base = self.counts,
            Command::ClearResults => self.clear_results(at),
            Command::TestRun => self.hand_out(command, Mode::Testing),
            Command::StartTeach => self.hand_out(command, Mode::Teaching),
            Command::StopTeach => self.hand_out(command, Mode::Inspecting),
        }
    }

    fn may_execute(&self, command: Command) -> bool {
        let is_quiet = self.ledger.open.is_empty() && self.models_ready && !self.stopping;
        !self.command.is_executing()
            && match command {
                Command::ClearCounters | Command::ClearResults => true,
                Command::TestRun | Command::StartTeach => is_quiet && self.mode == Mode::Inspecting,
                Command::StopTeach => is_quiet && self.mode == Mode::Teaching,
            }
    }

    /// The station does it, and says when.
    fn hand_out(&mut self, command: Command, mode: Mode) {
        self.mode = mode;
        self.command = CommandState::Executing { command, is_asked: true };
        self.pending.command = Some(command);
    }

    /// The station did what it was told to, or could not.
    pub(super) fn finish(&mut self, command: Command, succeeded: bool) {
        self.command.finish(command, succeeded);
        match command {
            Command::TestRun => {
                self.mode = Mode::Inspecting;
                // It stands, whoever clears errors: the models are not what was proven.
                if succeeded {
                    self.errors.remove(&ErrorCode::TestRunFailed);
                } else {
                    self.errors.insert(ErrorCode::TestRunFailed);
                }
            }
            // Nothing is kept of what follows: better to inspect it.
            Command::StartTeach if !succeeded => self.mode = Mode::Inspecting,
            _ => {}
        }
    }

    /// The result shown and those that wait are gone; parts that are being inspected are not.
    fn clear_results(&mut self, at: Nanos) {
        let waiting: Vec<_> = self.ledger.waiting().collect();
        for part in waiting {
            self.void(part, Reason::Cleared, at);
        }
        self.single.discard();
        self.window.clear();
    }

    /// The counters as the PLC sees them: since they were cleared last.
    pub(super) fn counts_shown(&self) -> Counts {
        self.counts.since(self.counts_base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back() {
        for command in Command::ALL {
            assert_eq!(Command::from_code(command.code()), Some(*command));
            assert!(!command.name().is_empty() && command.text().ends_with('.'));
        }
        assert_eq!((Command::from_code(0), Command::from_code(6)), (None, None));
    }

    #[test]
    fn an_answer_is_for_who_still_asks() {
        let mut state = CommandState::Executing {
            command: Command::TestRun,
            is_asked: true,
        };
        state.finish(Command::StopTeach, true);
        assert!(state.is_executing(), "another command's end");
        state.release();
        state.finish(Command::TestRun, true);
        assert_eq!(state, CommandState::Idle);
    }
}
