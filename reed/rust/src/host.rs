//! Running a plugin: the main thread's turn, the lanes beside it, sleep, and the end.
//!
//! ```text
//! main thread   lane 0 (signals and calls), all FIFOs, the sleep timer
//! other lanes   calls, one each; only where the plugin asks for workers
//!
//! one turn      frames ── messages ── wait for (core, bell, FIFOs, full pipes, time to sleep) ── receive
//! ```

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::environment::Environment;
use crate::error::Error;
use crate::inbound::PAUSE;
use crate::lane::{Lane, wait};
use crate::log;
use crate::plugin::{ReedPlugin, Sleep};
use crate::shared::Shared;
use crate::wire::codes::Signal;

/// How long the end waits for pipes that are full.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Runs a plugin in the environment that the core gave it. What went wrong is the last line on standard error.
pub fn run(plugin: &dyn ReedPlugin) -> ExitCode {
    match Environment::from_env().and_then(|environment| serve(plugin, environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// As [`run`], in an environment of one's own: for tests. Ends when the core asks for it, when the plugin sleeps deeply,
/// or with an error when the core is gone.
pub fn serve(plugin: &dyn ReedPlugin, environment: Environment) -> Result<(), Error> {
    let shared = Shared::new(plugin, environment)?;
    let lane = Lane::open(&shared)?;
    lane.say(Signal::Ready)?;
    lane.look_at_peers();
    let outcome = thread::scope(|scope| {
        for number in 1..plugin.workers() {
            let name = format!("lane {number}");
            let spawned = thread::Builder::new().name(name).spawn_scoped(scope, || serve_beside(&shared));
            if let Err(error) = spawned {
                log::line(&format!("starting a thread: {error}; fewer calls run at the same time"));
            }
        }
        let outcome = Main::new(&lane).serve();
        shared.stop();
        outcome
    });
    shared.peers.flush_within(LAST_FLUSH);
    outcome
}

fn serve_beside(shared: &Shared<'_>) {
    match Lane::open(shared) {
        Ok(lane) => lane.serve(),
        Err(error) => log::line(&format!("a second connection: {error}; fewer calls run at the same time")),
    }
}

/// The main thread.
struct Main<'a> {
    lane: &'a Lane<'a>,
    shared: &'a Shared<'a>,
    fifos: Vec<(String, Arc<OwnedFd>)>,
    generation: u64,
}

impl<'a> Main<'a> {
    fn new(lane: &'a Lane<'a>) -> Main<'a> {
        Main { lane, shared: lane.shared, fifos: Vec::new(), generation: u64::MAX }
    }

    fn serve(&mut self) -> Result<(), Error> {
        loop {
            match self.turn() {
                Ok(()) if self.shared.is_stopping() => {
                    self.lane.finish();
                    return Ok(());
                }
                Ok(()) => {}
                Err(_) if self.shared.is_stopping() => return Ok(()),
                Err(error) => self.reconnect(&error)?,
            }
        }
    }

    fn reconnect(&mut self, why: &Error) -> Result<(), Error> {
        self.lane.reconnect(why)?;
        self.lane.look_at_peers();
        let was_busy = self.shared.mood() == Signal::Busy;
        self.tell(Signal::Ready);
        if was_busy {
            self.tell(Signal::Busy);
        }
        Ok(())
    }

    /// A core that is gone again by now is not told: the next turn finds that out, and looks for the one after it.
    fn tell(&self, signal: Signal) {
        if let Err(error) = self.lane.say(signal) {
            log::line(&format!("{signal:?} was not told: {error}"));
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.lane.handle_frames()?;
        while let Some(message) = self.shared.peers.next() {
            self.lane.handle_message(&message)?;
            self.lane.handle_frames()?;
        }
        if self.shared.is_stopping() {
            return Ok(());
        }
        let until_sleep = self.until_sleep();
        if until_sleep == Some(Duration::ZERO) {
            return self.sleep();
        }
        self.wait(until_sleep)
    }

    /// Waits for something to do, and receives it.
    fn wait(&mut self, within: Option<Duration>) -> Result<(), Error> {
        let generation = self.shared.peers.generation();
        if generation != self.generation {
            self.fifos = self.shared.peers.readers();
            self.generation = generation;
        }
        let (blocked, is_stuck) = (self.shared.peers.blocked(), self.shared.peers.is_stuck());
        let connection = self.lane.connection.borrow();
        let mut fds = vec![
            PollFd::new(connection.stream(), PollFlags::IN),
            PollFd::new(self.shared.peers.bell.fd(), PollFlags::IN),
            PollFd::new(self.shared.stop_bell.fd(), PollFlags::IN),
        ];
        let first_fifo = fds.len();
        let paused = self.shared.peers.paused();
        let within =
            if paused.is_empty() && !is_stuck { within } else { Some(within.unwrap_or(PAUSE).min(PAUSE)) };
        let fifos: Vec<_> = self.fifos.iter().filter(|(source, _)| !paused.contains(source)).collect();
        fds.extend(fifos.iter().map(|(_, fd)| PollFd::new(&**fd, PollFlags::IN)));
        fds.extend(blocked.iter().map(|fd| PollFd::new(&**fd, PollFlags::OUT)));
        wait(&mut fds, within)?;
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (from_core, rung) = (is_ready(0), is_ready(1));
        let fifos = fifos.into_iter().enumerate().filter(|(at, _)| is_ready(first_fifo + at));
        let ready: Vec<&str> = fifos.map(|(_, (source, _))| source.as_str()).collect();
        drop(connection);
        if rung {
            self.shared.peers.bell.silence();
        }
        if !blocked.is_empty() || is_stuck {
            self.shared.peers.flush();
        }
        if !ready.is_empty() {
            self.shared.peers.receive(ready.into_iter());
        }
        if from_core { self.lane.receive() } else { Ok(()) }
    }

    // Sleep.

    /// How long until it is time to sleep, or to leave where it sleeps deeply and was disturbed; `None` when it never is.
    fn until_sleep(&self) -> Option<Duration> {
        let sleep = self.shared.registration().sleep?;
        let left = match (self.shared.mood(), sleep) {
            (Signal::Ready, _) => sleep.after().saturating_sub(self.shared.figures.idle()),
            (Signal::Sleeping, Sleep::Deep(_)) => Duration::ZERO,
            _ => return None,
        };
        // While a thread works, or a message is half read, look again a little later.
        let is_busy = left.is_zero() && !self.shared.peers.is_quiet();
        Some(if is_busy { Duration::from_millis(100).min(sleep.after()) } else { left })
    }

    /// What comes on the way to a deep sleep is handled first. If it did not wake the plugin, as a health check does
    /// not, the next turn leaves.
    fn sleep(&self) -> Result<(), Error> {
        if self.shared.mood() != Signal::Sleeping {
            self.lane.fall_asleep()?;
        }
        let Some(Sleep::Deep(_)) = self.shared.registration().sleep else { return Ok(()) };
        if self.lane.sleeps_undisturbed()? && self.shared.peers.is_quiet() {
            self.shared.stop();
        }
        Ok(())
    }
}
