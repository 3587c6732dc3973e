//! Runs a plugin: the turn of the main thread, further workers, sleep, and the end.
//!
//! ```text
//! main thread    worker 0 (signals and calls), all FIFOs, the sleep timer
//! other threads  workers 1, 2, …: calls; only with a concurrency above 1
//!
//! one turn       frames ── messages ── poll (core, wakers, FIFOs, full pipes, time to sleep) ── receive
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
use crate::log;
use crate::plugin::{self, ReedPlugin};
use crate::registration::Sleep;
use crate::shared::Shared;
use crate::sys;
use crate::wire::codes::Signal;
use crate::worker::Worker;

const LAST_FLUSH: Duration = Duration::from_secs(1);
/// For an idle plugin with queued or partly read messages.
const SLEEP_RETRY: Duration = Duration::from_millis(100);

/// Runs a plugin in the environment that the core set. Logs an error at the end.
pub fn run(plugin: &dyn ReedPlugin) -> ExitCode {
    match Environment::from_env().and_then(|environment| serve(plugin, environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(error);
            ExitCode::FAILURE
        }
    }
}

/// As [`run`], in another environment, for tests. Returns when the core ends the plugin or at the start of a deep sleep;
/// fails when the core does not come back.
pub fn serve(plugin: &dyn ReedPlugin, environment: Environment) -> Result<(), Error> {
    let shared = Shared::new(plugin::info(plugin), environment)?;
    let worker = Worker::connect_ready(plugin, &shared)?;
    shared.refresh_peers();
    worker.start_up()?;
    let outcome = thread::scope(|scope| {
        for number in 1..plugin.concurrency() {
            let run = || match Worker::connect(plugin, &shared) {
                Ok(worker) => worker.serve(),
                Err(error) => log::error(format_args!("worker: {error}; the concurrency is lower")),
            };
            let spawned = thread::Builder::new().name(format!("worker {number}")).spawn_scoped(scope, run);
            if let Err(error) = spawned {
                log::error(format_args!("worker: start a thread: {error}; the concurrency is lower"));
            }
        }
        let outcome = MainThread::new(&worker).serve();
        shared.stop();
        outcome
    });
    shared.peers.flush_within(LAST_FLUSH);
    outcome
}

struct MainThread<'a> {
    worker: &'a Worker<'a>,
    shared: &'a Shared,
    fifos: Vec<(String, Arc<OwnedFd>)>,
    generation: u64, // of `fifos`
}

impl<'a> MainThread<'a> {
    fn new(worker: &'a Worker<'a>) -> MainThread<'a> {
        MainThread { worker, shared: worker.shared, fifos: Vec::new(), generation: u64::MAX }
    }

    fn serve(&mut self) -> Result<(), Error> {
        loop {
            match self.turn() {
                Ok(()) if self.shared.is_stopping() => {
                    self.worker.finish();
                    return Ok(());
                }
                Ok(()) => {}
                Err(_) if self.shared.is_stopping() => return Ok(()),
                Err(error) => self.reconnect(&error)?,
            }
        }
    }

    fn reconnect(&mut self, why: &Error) -> Result<(), Error> {
        self.worker.reconnect(why)?;
        self.shared.refresh_peers();
        let was_busy = self.shared.status() == Signal::Busy;
        self.try_signal(Signal::Ready);
        if was_busy {
            self.try_signal(Signal::Busy);
        }
        Ok(())
    }

    /// If the new core has gone too, the next turn finds out and reconnects again.
    fn try_signal(&self, signal: Signal) {
        if let Err(error) = self.worker.signal(signal) {
            log::warn(format_args!("signal {signal:?}: {error}"));
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.worker.handle_frames()?;
        while let Some(message) = self.shared.peers.next() {
            self.worker.handle_message(&message)?;
            self.worker.handle_frames()?;
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

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        let peers = &self.shared.peers;
        let generation = peers.generation();
        if generation != self.generation {
            self.fifos = peers.readers();
            self.generation = generation;
        }
        let (blocked, has_failed, paused) = (peers.blocked(), peers.has_failed_writes(), peers.paused());
        let must_retry = has_failed || !paused.is_empty();
        let timeout = if must_retry { Some(timeout.unwrap_or(PAUSE).min(PAUSE)) } else { timeout };
        let connection = self.worker.connection.borrow();
        let mut fds = vec![
            PollFd::new(connection.stream(), PollFlags::IN),
            PollFd::new(peers.waker.fd(), PollFlags::IN),
            PollFd::new(self.shared.stop_waker.fd(), PollFlags::IN),
        ];
        let first_fifo = fds.len();
        let fifos: Vec<_> = self.fifos.iter().filter(|(source, _)| !paused.contains(source)).collect();
        fds.extend(fifos.iter().map(|(_, fd)| PollFd::new(&**fd, PollFlags::IN)));
        fds.extend(blocked.iter().map(|fd| PollFd::new(&**fd, PollFlags::OUT)));
        sys::poll(&mut fds, timeout)?;
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (from_core, woken) = (is_ready(0), is_ready(1));
        let fifos = fifos.into_iter().enumerate().filter(|(at, _)| is_ready(first_fifo + at));
        let ready: Vec<&str> = fifos.map(|(_, (source, _))| source.as_str()).collect();
        drop(connection);
        if woken {
            peers.waker.reset();
        }
        if !blocked.is_empty() || has_failed {
            peers.flush();
        }
        if !ready.is_empty() {
            peers.receive(ready.into_iter());
        }
        if from_core { self.worker.receive() } else { Ok(()) }
    }

    /// Or until its process ends if it sleeps deeply already; None if it does not sleep.
    fn until_sleep(&self) -> Option<Duration> {
        let sleep = self.shared.registration().sleep?;
        let left = match (self.shared.status(), sleep) {
            (Signal::Ready, _) => sleep.after().saturating_sub(self.shared.metrics.idle_for()),
            (Signal::Sleeping, Sleep::Deep(_)) => Duration::ZERO,
            _ => return None,
        };
        let must_wait = left.is_zero() && !self.shared.peers.is_idle();
        Some(if must_wait { SLEEP_RETRY.min(sleep.after()) } else { left })
    }

    /// A deep sleep ends the process, after it has handled what the core sent meanwhile: in the next turn, if that was no
    /// reason to wake up.
    fn sleep(&self) -> Result<(), Error> {
        if self.shared.status() != Signal::Sleeping {
            self.worker.fall_asleep()?;
        }
        let Some(Sleep::Deep(_)) = self.shared.registration().sleep else { return Ok(()) };
        if self.worker.is_undisturbed()? && self.shared.peers.is_idle() {
            self.shared.stop();
        }
        Ok(())
    }
}
