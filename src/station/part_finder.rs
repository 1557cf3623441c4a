//! A locator at work: parts are found once in each frame, however many inspections look at them, on whatever threads.
//!
//! Nobody waits for another thread longer than finding the part itself would have taken, and not at all once its own deadline asks it to begin:
//! then it finds the part itself, as if there were no other. So a thread that the system does not let run delays nobody by more than one search.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::located::{self, LocatorError, NotUpright};
use crate::capture::Frame;
use crate::config::locator::LocatorConfig;
use crate::flow;
use crate::part::Nanos;
use crate::recipe::pose::Pose;
use crate::vision::locator::Locator;

/// Frames of which a finder knows where the part lies; with more, the oldest is forgotten, and searched anew if somebody asks.
const FRAMES_MAX: usize = 16;

/// Finds parts in the frames of a camera.
#[derive(Debug)]
pub struct PartFinder {
    config: LocatorConfig,
    locator: OnceLock<Locator>,
    frames: Mutex<Frames>,
    /// Somebody has finished, or given up.
    finished: Condvar,
}

#[derive(Debug, Default)]
struct Frames {
    /// The oldest first.
    searched: VecDeque<Searched>,
    /// How long a search takes, smoothed.
    typical: Duration,
}

/// A frame that somebody searches, or has searched.
#[derive(Debug)]
struct Searched {
    /// Its pixels. Held weakly, so that a camera gets its buffer back; while this is here, no other frame has their address.
    pixels: Weak<dyn AsRef<[u8]> + Send + Sync>,
    /// `None`: somebody is searching.
    found: Option<Result<Pose, NotUpright>>,
}

impl Searched {
    fn is_of(&self, frame: &Frame) -> bool {
        std::ptr::addr_eq(self.pixels.as_ptr(), Arc::as_ptr(&frame.pixels))
    }
}

impl PartFinder {
    /// One that has yet to learn what to look for.
    pub fn new(config: LocatorConfig) -> Self {
        Self {
            config,
            locator: OnceLock::new(),
            frames: Mutex::default(),
            finished: Condvar::new(),
        }
    }

    /// Learns what to look for, unless it knows already. Takes as long as reading a picture and a few searches.
    ///
    /// # Errors
    /// When the reference is no picture, or its region cannot be found again.
    pub fn prepare(&self) -> Result<(), LocatorError> {
        if self.locator.get().is_none() {
            // Of two threads that come at once, one learns for nothing.
            let _ = self.locator.set(located::load(&self.config)?);
        }
        Ok(())
    }

    /// Where the part lies in a frame. Who asks must begin to search by itself at `begin_by`, so it waits no longer for another's search.
    /// `None` if it was not prepared.
    pub fn find(&self, frame: &Frame, begin_by: Nanos) -> Option<Result<Pose, NotUpright>> {
        let locator = self.locator.get()?;
        Some(self.once(frame, begin_by, || located::locate(locator, frame)))
    }

    /// What a search of this frame told, or tells now.
    fn once(&self, frame: &Frame, begin_by: Nanos, search: impl FnOnce() -> Result<Pose, NotUpright>) -> Result<Pose, NotUpright> {
        let asked = flow::now();
        let mut frames = self.frames();
        let patient_until = begin_by.min(asked + frames.typical);
        while let Some(searched) = frames.searched.iter().find(|searched| searched.is_of(frame)) {
            if let Some(found) = &searched.found {
                return found.clone();
            }
            let patience = patient_until.since(flow::now());
            if patience.is_zero() {
                break;
            }
            frames = self
                .finished
                .wait_timeout(frames, patience)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if !frames.searched.iter().any(|searched| searched.is_of(frame)) {
            if frames.searched.len() == FRAMES_MAX {
                frames.searched.pop_front();
            }
            frames.searched.push_back(Searched {
                pixels: Arc::downgrade(&frame.pixels),
                found: None,
            });
        }
        drop(frames);
        let mut search_of = SearchOf {
            finder: self,
            frame,
            found: None,
        };
        let begun = flow::now();
        let found = search();
        let took = flow::now().since(begun);
        search_of.found = Some((found.clone(), took));
        found
    }

    /// Held for a look at a few entries only. Nothing in it is half done at any moment, so a thread that panicked leaves nothing broken.
    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A search under way. Whatever ends it, those who wait for it are told.
struct SearchOf<'a> {
    finder: &'a PartFinder,
    frame: &'a Frame,
    found: Option<(Result<Pose, NotUpright>, Duration)>,
}

impl Drop for SearchOf<'_> {
    fn drop(&mut self) {
        let mut frames = self.finder.frames();
        let place = frames.searched.iter().position(|searched| searched.is_of(self.frame));
        match (self.found.take(), place) {
            (Some((found, took)), place) => {
                frames.typical = (3 * frames.typical + took) / 4;
                if let Some(searched) = place.and_then(|place| frames.searched.get_mut(place)) {
                    searched.found = Some(found);
                }
            }
            // It panicked. Another one that searches the same frame may have told already.
            (None, Some(place)) if frames.searched[place].found.is_none() => {
                frames.searched.remove(place);
            }
            (None, _) => {}
        }
        drop(frames);
        self.finder.finished.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::capture::{PixelFormat, Plane};
    use crate::part::Region;
    use crate::vision::locator::Settings;

    const NEVER: Nanos = Nanos(u64::MAX);

    fn finder(typical: Duration) -> PartFinder {
        let finder = PartFinder::new(LocatorConfig {
            name: "iron".into(),
            camera: 0,
            reference: "none.png".into(),
            region: Region::whole(64, 64),
            settings: Settings::default(),
        });
        finder.frames().typical = typical;
        finder
    }

    fn frame() -> Frame {
        Frame {
            pixels: Arc::new(vec![7_u8; 16]),
            format: PixelFormat::Gray8,
            width: 4,
            height: 4,
            planes: [Plane { offset: 0, stride: 4 }, Plane::default(), Plane::default()],
            full_range: true,
            bt709: false,
            exposed_at: Nanos::default(),
            counter: None,
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "as a search answers")]
    fn shifted(dx_px: f64) -> Result<Pose, NotUpright> {
        Ok(Pose { dx_px, ..Pose::default() })
    }

    #[test]
    fn a_frame_is_searched_once_and_no_frame_for_another() {
        let finder = finder(Duration::ZERO);
        let (one, other) = (frame(), frame());
        assert_eq!(finder.once(&one, NEVER, || shifted(1.0)), shifted(1.0));
        assert_eq!(finder.once(&one.clone(), NEVER, || unreachable!()), shifted(1.0));
        assert_eq!(finder.once(&other, NEVER, || Err(NotUpright::Frame)), Err(NotUpright::Frame));
        assert_eq!(finder.once(&other, NEVER, || unreachable!()), Err(NotUpright::Frame));
        assert!(
            PartFinder::new(finder.config.clone()).find(&one, NEVER).is_none(),
            "it was not prepared"
        );
    }

    #[test]
    fn old_frames_are_forgotten_and_their_pixels_are_not_held() {
        let finder = finder(Duration::ZERO);
        let frames: Vec<Frame> = (0..=FRAMES_MAX).map(|_| frame()).collect();
        for frame in &frames {
            let _ = finder.once(frame, NEVER, || shifted(1.0));
        }
        assert_eq!(finder.frames().searched.len(), FRAMES_MAX);
        assert_eq!(Arc::strong_count(&frames[FRAMES_MAX].pixels), 1);
        assert_eq!(
            finder.once(&frames[0], NEVER, || shifted(2.0)),
            shifted(2.0),
            "the oldest is searched anew"
        );
    }

    #[test]
    fn who_comes_second_waits_for_the_first() {
        let (finder, frame) = (finder(Duration::from_mins(1)), frame());
        let (searching, is_searching) = channel();
        let (go_on, may_go_on) = channel();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                finder.once(&frame, NEVER, move || {
                    searching.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    shifted(3.0)
                })
            });
            is_searching.recv().unwrap();
            let second = scope.spawn(|| finder.once(&frame, NEVER, || unreachable!("the first tells it")));
            go_on.send(()).unwrap();
            assert_eq!(first.join().unwrap(), shifted(3.0));
            assert_eq!(second.join().unwrap(), shifted(3.0));
        });
    }

    #[test]
    fn whose_time_is_up_searches_by_itself() {
        let frame = frame();
        // The first does not end before the second has told, so waiting for it would never end.
        for (typical, begin_by) in [(Duration::from_mins(1), Nanos::default()), (Duration::from_millis(1), NEVER)] {
            let finder = finder(typical);
            let inner = || finder.once(&frame, begin_by, || shifted(2.0));
            let outer = finder.once(&frame, NEVER, || {
                assert_eq!(inner(), shifted(2.0));
                shifted(1.0)
            });
            assert_eq!(outer, shifted(1.0));
        }
    }

    #[test]
    fn a_search_that_panics_leaves_the_frame_to_the_next() {
        let (finder, frame) = (finder(Duration::from_mins(1)), frame());
        let attempt = catch_unwind(AssertUnwindSafe(|| finder.once(&frame, NEVER, || panic!("of the test"))));
        assert!(attempt.is_err());
        assert_eq!(finder.once(&frame, NEVER, || shifted(1.0)), shifted(1.0));
    }
}
