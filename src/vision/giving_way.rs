//! Sessions that are made and proven beside those that judge parts give way to them, and no more once they judge parts themselves.
//!
//! A thread inherits its niceness from the one that starts it, and may not take it back without leave (`RLIMIT_NICE`, setpriority(2)). So the
//! thread that proves is nice, but the threads that its sessions start are made by another one, of usual niceness. They give way as
//! `SCHED_BATCH`, which anybody may take back (sched(7)): such a thread never displaces a running one when it wakes. Where niceness may be taken
//! back, they are nice as well.

#![allow(unsafe_code, reason = "the policy of a thread, which no safe crate sets")]

use std::cell::RefCell;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle};

use rustix::process::{Pid, Resource, getrlimit, nice, setpriority_process};
use rustix::thread::gettid;

/// How much a proof gives way: a thread that judges parts gets nine times as much of a core that both want (Linux, `sched_prio_to_weight`). Not
/// more: a thread that hardly ever runs may hold what all wait for, such as the process's map of its memory.
const NICENESS: i32 = 10;

/// The limit from which on a thread may take back its niceness down to 0 (getrlimit(2): the ceiling is 20 less the limit).
const NICE_LIMIT_OF_ZERO: u64 = 20;

/// Name of the threads that sessions start.
pub const SESSION_THREAD: &str = "session";

type Work = Box<dyn FnOnce() + Send>;

struct Wanted {
    work: Work,
    made: Sender<io::Result<JoinHandle<()>>>,
}

/// The threads of sessions that give way.
#[derive(Debug, Default)]
pub struct GivingWay(Mutex<Threads>);

#[derive(Debug, Default)]
struct Threads {
    /// Whether they give way no more.
    is_over: bool,
    alive: Vec<Pid>,
}

impl GivingWay {
    /// Their sessions judge parts from now on: they have the usual priority again.
    pub fn end(&self) {
        let mut threads = self.threads();
        threads.is_over = true;
        for thread in &threads.alive {
            stand(*thread, false);
        }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on a new thread.
    fn run(&self, work: Work) {
        let own = gettid();
        {
            let mut threads = self.threads();
            if !threads.is_over {
                stand(own, true);
            }
            threads.alive.push(own);
        }
        work();
        self.threads().alive.retain(|thread| *thread != own);
    }
}

/// Makes the threads of sessions.
#[derive(Debug, Clone)]
pub struct Maker {
    wanted: Sender<Option<Wanted>>,
    giving_way: Arc<GivingWay>,
}

impl Maker {
    /// A thread that does this.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let (made, answer) = channel();
        let giving_way = Arc::clone(&self.giving_way);
        let work = Box::new(move || giving_way.run(Box::new(work)));
        match self.wanted.send(Some(Wanted { work, made })) {
            Ok(()) => answer
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("nobody makes threads any more"))),
            // After the proof: whoever asks is of the priority that it wants.
            Err(unsent) => {
                let work: Work = unsent.0.map_or_else(|| Box::new(|| ()) as Work, |wanted| wanted.work);
                Builder::new().name(SESSION_THREAD.into()).spawn(work)
            }
        }
    }
}

thread_local! {
    static MAKER: RefCell<Option<Maker>> = const { RefCell::new(None) };
}

/// Who makes the threads of sessions that are made on this thread; `None`: they do so themselves.
pub fn maker() -> Option<Maker> {
    MAKER.with_borrow(Clone::clone)
}

/// Runs this on a thread that gives way, as do the threads of sessions that are made there, until [`GivingWay::end`]. Call it on a thread of
/// usual priority, which makes them.
///
/// # Errors
/// When no thread can be started. Inside: when the work panicked.
pub fn prove<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<(thread::Result<T>, Arc<GivingWay>)> {
    let giving_way = Arc::new(GivingWay::default());
    let (wanted, to_make) = channel();
    let maker = Maker {
        wanted,
        giving_way: Arc::clone(&giving_way),
    };
    let done = thread::scope(|scope| {
        let nicely = move || {
            let _ = nice(NICENESS);
            let _ended = Ended(maker.wanted.clone());
            MAKER.with_borrow_mut(|place| *place = Some(maker));
            work()
        };
        let proof = Builder::new().name("model-proof".into()).spawn_scoped(scope, nicely)?;
        make(&to_make);
        Ok::<_, io::Error>(proof.join())
    })?;
    Ok((done, giving_way))
}

/// Ends the making of threads with the work, whatever becomes of it. Sessions keep their maker, so it is not the last sender that does.
struct Ended(Sender<Option<Wanted>>);

impl Drop for Ended {
    fn drop(&mut self) {
        MAKER.with_borrow_mut(|place| *place = None);
        let _ = self.0.send(None);
    }
}

/// Makes threads for as long as the proof runs.
fn make(to_make: &Receiver<Option<Wanted>>) {
    while let Ok(Some(Wanted { work, made })) = to_make.recv() {
        let _ = made.send(Builder::new().name(SESSION_THREAD.into()).spawn(work));
    }
}

/// How a thread stands to others: giving way, or as usual.
fn stand(thread: Pid, gives_way: bool) {
    let (policy, niceness) = if gives_way {
        (libc::SCHED_BATCH, NICENESS)
    } else {
        (libc::SCHED_OTHER, 0)
    };
    // SAFETY: the structure is only read; a thread that is gone is an error that changes nothing.
    let set = unsafe { libc::sched_setscheduler(thread.as_raw_nonzero().get(), policy, &libc::sched_param { sched_priority: 0 }) };
    if set != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!(%error, gives_way, "the priority of a thread of a session is not what it should be");
    }
    if may_take_back_niceness() {
        let _ = setpriority_process(Some(thread), niceness);
    }
}

fn may_take_back_niceness() -> bool {
    getrlimit(Resource::Nice).current.is_none_or(|limit| limit >= NICE_LIMIT_OF_ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy and niceness of the calling thread.
    fn standing() -> (i32, i32) {
        // SAFETY: it takes a number and returns one.
        let policy = unsafe { libc::sched_getscheduler(0) };
        (policy, rustix::process::getpriority_process(None).unwrap())
    }

    #[test]
    fn threads_of_a_proof_give_way_until_its_end_and_later_ones_do_not() {
        let usual = standing();
        let (go_on, wait) = channel::<()>();
        let (tell, told) = channel();
        let tell_again = tell.clone();
        let (made, giving_way) = prove(|| {
            let maker = maker().expect("a proof has a maker");
            let session = move || {
                tell.send(standing()).unwrap();
                wait.recv().unwrap();
                tell.send(standing()).unwrap();
            };
            let thread = maker.start(session).unwrap();
            (standing(), thread, maker)
        })
        .unwrap();
        let (nicely, thread, proof_maker) = made.unwrap();
        assert_eq!(nicely, (usual.0, (usual.1 + NICENESS).min(19)));
        let niceness = if may_take_back_niceness() { NICENESS } else { usual.1 };
        assert_eq!(told.recv().unwrap(), (libc::SCHED_BATCH, niceness));
        giving_way.end();
        go_on.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(
            told.recv().unwrap(),
            (libc::SCHED_OTHER, if may_take_back_niceness() { 0 } else { usual.1 })
        );
        assert!(giving_way.threads().alive.is_empty());
        proof_maker
            .start(move || tell_again.send(standing()).unwrap())
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(told.recv().unwrap().0, libc::SCHED_OTHER);
        assert!(maker().is_none());
    }

    #[test]
    fn a_proof_that_panics_is_told_and_holds_nobody_up() {
        let (done, _) = prove(|| -> () { std::panic::resume_unwind(Box::new("as if the runtime had panicked")) }).unwrap();
        assert!(done.is_err());
    }
}
