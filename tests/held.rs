//! A thread of a station that stands still for as long as a test wants.
#![allow(unsafe_code, reason = "a thread of another process is held by ptrace")]

use std::fs;
use std::path::PathBuf;

/// A thread that is held: it does nothing until this is dropped, whatever it was doing. Must be dropped by the thread that made it.
pub(crate) struct Held(libc::pid_t);

impl Held {
    /// Holds the thread of this name; `Err` where the system does not allow it.
    pub(crate) fn thread(process: u32, name: &str) -> Result<Self, std::io::Error> {
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let is_named = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let thread = threads.map(|thread| thread.unwrap().path()).find(is_named);
        let thread = thread.unwrap_or_else(|| panic!("there is no thread {name}"));
        let thread: libc::pid_t = thread.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // SAFETY: these calls pass numbers only, and change nothing in this process.
        unsafe {
            if libc::ptrace(libc::PTRACE_SEIZE, thread, 0, 0) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0), 0);
        }
        let mut status = 0;
        // SAFETY: the pointer is to a number of our own that lives through the call.
        assert_eq!(unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) }, thread);
        Ok(Self(thread))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: numbers only; the thread is one that we hold.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
    }
}
