//! Which frame shows which part. By exposure time and the camera's own count, never by order of arrival.
//!
//! A cycle opens a *window*: the time within which its exposure must lie. What makes a frame its frame depends on the trigger source; whatever
//! is not certain makes every cycle involved `NotDecidable(correlation)`. Windows stay for a while after their part has its outcome, and missed
//! parts have one as well: an exposure within a window is news about the parts before and after it too.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::TriggerSource;
use super::event::{CameraIndex, FrameId, Note, Sequence};
use crate::part::Nanos;

/// Windows kept per camera.
const WINDOWS_MAX: usize = 32;

/// Frames kept per camera that no part has claimed. A frame may overtake its trigger on the way to the line.
const UNCLAIMED_MAX: usize = 3;

/// Frame numbers remembered, to know a frame that comes twice.
const COUNTERS_REMEMBERED: usize = 32;

/// A frame as the line knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameSeen {
    pub(super) frame: FrameId,
    pub(super) counter: Option<u64>,
    pub(super) exposed_at: Nanos,
    pub(super) arrived_at: Nanos,
    /// When no second exposure can turn up any more that lies in the same window.
    pub(super) certain_from: Nanos,
    /// Exposures before this one are missing or came out of order.
    pub(super) uncertain: bool,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// The frame shows this part.
    Shows(Sequence, FrameSeen),
    /// It is not certain which frame shows this part.
    Uncertain(Sequence),
    /// Nobody needs the frame.
    Released(FrameId),
    /// Worth knowing.
    Note(Note),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    part: Sequence,
    edge: Nanos,
    /// Whether the trigger was missed: nobody asks for its frame, but it was in view.
    missed: bool,
    frame: Option<FrameSeen>,
}

/// Finds the frames of one camera their parts.
#[derive(Debug, Clone)]
pub(super) struct Correlation {
    camera: CameraIndex,
    source: TriggerSource,
    windows: VecDeque<Window>,
    unclaimed: VecDeque<FrameSeen>,
    counters: VecDeque<u64>,
    last: Option<FrameSeen>,
}

impl Correlation {
    pub(super) fn new(camera: CameraIndex, source: TriggerSource) -> Self {
        Self {
            camera,
            source,
            windows: VecDeque::new(),
            unclaimed: VecDeque::new(),
            counters: VecDeque::new(),
            last: None,
        }
    }

    /// The camera starts anew: its numbers mean nothing any more.
    pub(super) fn restart(&mut self) -> Vec<Match> {
        self.counters.clear();
        self.last = None;
        self.unclaimed.drain(..).map(|frame| Match::Released(frame.frame)).collect()
    }

    /// A part was triggered at `edge` and needs a frame of this camera; or it was missed, and needs none.
    pub(super) fn open(&mut self, part: Sequence, edge: Nanos, missed: bool) -> Vec<Match> {
        if self.windows.len() == WINDOWS_MAX {
            self.windows.pop_front();
        }
        self.windows.push_back(Window {
            part,
            edge,
            missed,
            frame: None,
        });
        let mut matches = Vec::new();
        if matches!(self.source, TriggerSource::Hardware { .. }) {
            // A frame that was given to an earlier part may lie in this window too, if this trigger was slow to arrive.
            let claimed: Vec<FrameSeen> = self.windows.iter().filter_map(|window| window.frame).collect();
            for frame in claimed.into_iter().filter(|frame| self.covers(edge, frame.exposed_at)) {
                self.uncertain(frame.exposed_at, &mut matches);
            }
        }
        for frame in std::mem::take(&mut self.unclaimed) {
            self.place(frame, &mut matches);
        }
        matches
    }

    /// A frame arrived.
    pub(super) fn frame(&mut self, frame: FrameId, counter: Option<u64>, exposed_at: Nanos, arrived_at: Nanos) -> Vec<Match> {
        let mut matches = Vec::new();
        let repeated = match counter {
            Some(counter) => self.counters.contains(&counter),
            None => self.last.is_some_and(|last| last.exposed_at == exposed_at),
        };
        if repeated {
            return vec![Match::Note(Note::FrameRepeated { camera: self.camera }), Match::Released(frame)];
        }
        let before = self.last;
        let uncertain = self.count(counter, &mut matches);
        let seen = FrameSeen {
            frame,
            counter,
            exposed_at,
            arrived_at,
            certain_from: Nanos::default(),
            uncertain,
        };
        if before.is_none_or(|before| before.exposed_at <= exposed_at) {
            self.last = Some(seen);
        }
        if uncertain && matches!(self.source, TriggerSource::Hardware { .. }) {
            // The missing exposure may lie in any window that reaches into the time since the last frame.
            let since = before.map_or(Nanos::default(), |before| before.exposed_at);
            let reaching: Vec<Sequence> = self
                .windows
                .iter()
                .filter(|window| window.edge <= exposed_at && self.end(window.edge) > since)
                .map(|window| window.part)
                .collect();
            matches.extend(reaching.into_iter().map(Match::Uncertain));
        }
        self.place(seen, &mut matches);
        matches
    }

    /// Lets time pass: frames that nobody will claim.
    pub(super) fn expire(&mut self, now: Nanos) -> Vec<Match> {
        let mut matches = Vec::new();
        match self.source {
            TriggerSource::Hardware { arm_window } => {
                while let Some(frame) = self.unclaimed.front().copied() {
                    if now < frame.arrived_at + arm_window {
                        break;
                    }
                    self.unclaimed.pop_front();
                    matches.extend(self.unannounced(frame));
                }
            }
            TriggerSource::Plc { .. } | TriggerSource::FreeRun { .. } => {}
        }
        matches
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn expires_at(&self) -> Option<Nanos> {
        match self.source {
            TriggerSource::Hardware { arm_window } => self.unclaimed.front().map(|frame| frame.arrived_at + arm_window),
            TriggerSource::Plc { .. } | TriggerSource::FreeRun { .. } => None,
        }
    }

    /// Follows the camera's count. Returns whether exposures are missing before this one, or it is out of order.
    fn count(&mut self, counter: Option<u64>, matches: &mut Vec<Match>) -> bool {
        let Some(counter) = counter else { return false };
        let last = self.counters.iter().max().copied();
        if self.counters.len() == COUNTERS_REMEMBERED {
            self.counters.pop_front();
        }
        self.counters.push_back(counter);
        match last {
            Some(last) if counter > last && counter - last > 1 => {
                let count = counter - last - 1;
                matches.push(Match::Note(Note::FramesLost {
                    camera: self.camera,
                    count,
                }));
                true
            }
            Some(last) => counter < last,
            None => false,
        }
    }

    fn place(&mut self, frame: FrameSeen, matches: &mut Vec<Match>) {
        match self.source {
            TriggerSource::Hardware { .. } => self.place_hardware(frame, matches),
            TriggerSource::Plc { .. } => self.place_plc(frame, matches),
            TriggerSource::FreeRun { frame_window } => {
                self.keep(frame, matches);
                // Only a frame from after the edge tells which one is nearest.
                self.choose_nearest(frame_window, frame, matches);
            }
        }
    }

    /// Exactly one armed cycle, exactly one exposure.
    fn place_hardware(&mut self, frame: FrameSeen, matches: &mut Vec<Match>) {
        let covering: Vec<usize> = self.covering(frame.exposed_at).collect();
        match covering[..] {
            [] => self.keep(frame, matches),
            [only] if self.windows[only].frame.is_none() => {
                // A second exposure at the very end of the window would take as long to arrive as this one.
                let certain_from = self.end(self.windows[only].edge) + frame.arrived_at.since(frame.exposed_at);
                let frame = FrameSeen { certain_from, ..frame };
                self.windows[only].frame = Some(frame);
                let part = self.windows[only].part;
                matches.push(if frame.uncertain {
                    Match::Uncertain(part)
                } else {
                    Match::Shows(part, frame)
                });
                matches.push(Match::Released(frame.frame));
            }
            _ => {
                self.uncertain(frame.exposed_at, matches);
                matches.push(Match::Released(frame.frame));
            }
        }
    }

    /// The first frame exposed after the edge; it must not serve two parts that wait for one, nor one that another, missed, has followed.
    fn place_plc(&mut self, frame: FrameSeen, matches: &mut Vec<Match>) {
        let waiting: Vec<usize> = self
            .covering(frame.exposed_at)
            .filter(|index| self.windows[*index].frame.is_none() && !self.windows[*index].missed)
            .collect();
        let followed = |edge: Nanos| {
            self.windows
                .iter()
                .any(|other| other.missed && other.edge > edge && other.edge <= frame.exposed_at)
        };
        match waiting[..] {
            [] => self.keep(frame, matches),
            [only] if !followed(self.windows[only].edge) => {
                self.windows[only].frame = Some(frame);
                matches.push(Match::Shows(self.windows[only].part, frame));
                matches.push(Match::Released(frame.frame));
            }
            _ => {
                for index in waiting {
                    self.windows[index].frame = Some(frame);
                    matches.push(Match::Uncertain(self.windows[index].part));
                }
                matches.push(Match::Released(frame.frame));
            }
        }
    }

    /// Gives each part that waits since before `newest` was exposed the frame nearest to its edge. A frame that two parts are nearest to is
    /// certain for neither; where frames are missing, the nearest may be among them.
    fn choose_nearest(&mut self, frame_window: Duration, newest: FrameSeen, matches: &mut Vec<Match>) {
        for index in 0..self.windows.len() {
            let window = self.windows[index];
            if window.frame.is_some() || newest.exposed_at < window.edge {
                continue;
            }
            let near = self
                .unclaimed
                .iter()
                .filter(|frame| frame.exposed_at.apart(window.edge) <= frame_window);
            let Some(frame) = near.min_by_key(|frame| frame.exposed_at.apart(window.edge)).copied() else {
                continue;
            };
            let others = self
                .windows
                .iter()
                .filter(|other| other.frame.is_some_and(|taken| taken.frame == frame.frame));
            let others: Vec<Sequence> = others.map(|other| other.part).collect();
            self.windows[index].frame = Some(frame);
            if others.is_empty() && !newest.uncertain {
                matches.push(Match::Shows(window.part, frame));
            } else {
                matches.extend(others.into_iter().chain([window.part]).map(Match::Uncertain));
            }
        }
    }

    /// Keeps a frame that no part has claimed yet.
    fn keep(&mut self, frame: FrameSeen, matches: &mut Vec<Match>) {
        if self.unclaimed.len() == UNCLAIMED_MAX
            && let Some(oldest) = self.unclaimed.pop_front()
        {
            matches.extend(self.unannounced(oldest));
        }
        self.unclaimed.push_back(frame);
    }

    fn unannounced(&self, frame: FrameSeen) -> impl Iterator<Item = Match> + use<> {
        // A camera that runs by itself has a frame for nobody most of the time.
        let note =
            matches!(self.source, TriggerSource::Hardware { .. }).then_some(Match::Note(Note::FrameWithoutTrigger { camera: self.camera }));
        note.into_iter().chain([Match::Released(frame.frame)])
    }

    /// Every part whose window covers the exposure.
    fn uncertain(&self, exposed_at: Nanos, matches: &mut Vec<Match>) {
        matches.extend(self.covering(exposed_at).map(|index| Match::Uncertain(self.windows[index].part)));
    }

    fn covering(&self, exposed_at: Nanos) -> impl Iterator<Item = usize> + '_ {
        (0..self.windows.len()).filter(move |index| self.covers(self.windows[*index].edge, exposed_at))
    }

    /// Whether the window of an edge covers an exposure. For sources that expose after the edge.
    fn covers(&self, edge: Nanos, exposed_at: Nanos) -> bool {
        edge <= exposed_at && exposed_at <= self.end(edge)
    }

    fn end(&self, edge: Nanos) -> Nanos {
        match self.source {
            TriggerSource::Plc { frame_window: window }
            | TriggerSource::FreeRun { frame_window: window }
            | TriggerSource::Hardware { arm_window: window } => edge + window,
        }
    }
}
