//! A lane: one connection to the core, and the thread that handles what comes on it.
//!
//! ```text
//! frame of the core ─┬─ a call      handle_command, under catch_unwind ── response
//!                    ├─ F2          the plugin's figures ──────────────── response
//!                    └─ a signal    handle_signal, then:
//!                         HEALTH_CHECK       READY, BUSY or SLEEPING: what it last said; new FIFOs are opened
//!                         RELOAD_CONFIG      register again for the new settings, look at the FIFOs, READY
//!                         WAKE_UP            look at the FIFOs, READY
//!                         SHUTDOWN_GRACEFUL  finish what has come, and end
//! ```

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::connection::{Connection, timespec};
use crate::context::Context;
use crate::error::Error;
use crate::log;
use crate::plugin::{Input, Reply};
use crate::shared::Shared;
use crate::strict_json;
use crate::wire::codes::{Command, LAST_ACTION_ID, MAX_PAYLOAD, Signal, flags};
use crate::wire::common::{ErrorResponse, JsonResponse, SignalMessage};
use crate::wire::frames::Frame;
use crate::wire::message::PluginMessage;
use crate::wire::plugins::PluginAnswer;

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_millis(500);

/// See above.
pub(crate) struct Lane<'a> {
    pub(crate) shared: &'a Shared<'a>,
    pub(crate) connection: RefCell<Connection>,
}

impl<'a> Lane<'a> {
    /// Connects and registers.
    pub(crate) fn open(shared: &'a Shared<'a>) -> Result<Lane<'a>, Error> {
        let mut connection = Connection::open(&shared.environment.socket)?;
        shared.register(&mut connection)?;
        Ok(Lane { shared, connection: RefCell::new(connection) })
    }

    /// Serves this connection until the plugin ends: what the threads beside the main one do.
    pub(crate) fn serve(&self) {
        loop {
            match self.turn() {
                Ok(()) if self.shared.is_stopping() => return self.finish(),
                Ok(()) => {}
                Err(error) => {
                    if self.reconnect(&error).is_err() {
                        return; // the main lane says so
                    }
                }
            }
        }
    }

    fn turn(&self) -> Result<(), Error> {
        self.handle_frames()?;
        let connection = self.connection.borrow();
        let mut fds = [
            PollFd::new(self.shared.stop_bell.fd(), PollFlags::IN),
            PollFd::new(connection.stream(), PollFlags::IN),
        ];
        wait(&mut fds, None)?;
        let readable = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(connection);
        if readable { self.receive() } else { Ok(()) }
    }

    pub(crate) fn receive(&self) -> Result<(), Error> {
        self.connection.borrow_mut().receive()
    }

    /// Before the end: what the core has sent already is handled still.
    pub(crate) fn finish(&self) {
        let outcome = self.handle_frames().and_then(|()| {
            let readable = self.connection.borrow().is_readable(Duration::ZERO)?;
            if readable { self.receive().and_then(|()| self.handle_frames()) } else { Ok(()) }
        });
        match outcome {
            Ok(()) | Err(Error::Disconnected { .. }) => {}
            Err(error) => log::line(&error.to_string()),
        }
    }

    /// Finds the core again. Gives up with the reason when it was sought for long enough, or says no.
    pub(crate) fn reconnect(&self, why: &Error) -> Result<(), Error> {
        let patience = self.shared.plugin.patience();
        let deadline = Instant::now() + patience;
        let mut delay = FIRST_DELAY;
        log::line(&format!("{why}; looking for the core for {patience:?}"));
        loop {
            match Lane::open(self.shared) {
                Ok(lane) => {
                    self.connection.replace(lane.connection.into_inner());
                    return Ok(());
                }
                Err(error @ Error::Refused { .. }) => return Err(error),
                Err(error) if Instant::now() + delay >= deadline => return Err(error),
                Err(_) => {}
            }
            let mut fds = [PollFd::new(self.shared.stop_bell.fd(), PollFlags::IN)];
            wait(&mut fds, Some(delay))?;
            if self.shared.is_stopping() {
                return Err(Error::Disconnected { what: "ending".to_owned() });
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { shared: self.shared, connection: &self.connection }
    }

    /// Handles what was received.
    pub(crate) fn handle_frames(&self) -> Result<(), Error> {
        loop {
            let next = self.connection.borrow_mut().next()?;
            match next {
                Some(frame) if frame.has(flags::SIGNAL) => self.handle_signal(&frame)?,
                Some(frame) => self.handle_request(&frame)?,
                None => return Ok(()),
            }
        }
    }

    // Calls.

    fn handle_request(&self, frame: &Frame) -> Result<(), Error> {
        let work = self.shared.figures.work();
        self.wake()?;
        let answer = match frame.command_id {
            id if id == Command::PluginHealth as u8 => self.figures(),
            id => self.call(id, &frame.payload),
        };
        drop(work);
        if frame.has(flags::ASYNC) {
            return answer.map_or_else(|error| self.note(&error), |_| Ok(()));
        }
        let mut connection = self.connection.borrow_mut();
        match answer {
            Ok(payload) => connection.send(frame.command_id, &payload, flags::RESPONSE),
            Err(error) => {
                let (status, error_code) = (error.status(), error.code());
                let payload = ErrorResponse { status, error_code, message: error.to_string() }.pack();
                connection.send(frame.command_id, &payload, flags::RESPONSE | flags::ERROR)
            }
        }
    }

    fn call(&self, command_id: u8, input: &[u8]) -> Result<Vec<u8>, Error> {
        let plugin = self.shared.plugin;
        let action = self.shared.actions.iter().find(|action| action.command_id == command_id);
        let outcome = match action {
            None => Err(self.no_action(command_id)),
            Some(action) => guarded(plugin.name(), &format!("action {}", action.name), || {
                plugin.handle_command(&self.context(), command_id, &Input::new(input))
            }),
        };
        let outcome = outcome.and_then(sound);
        self.shared.figures.call_answered(outcome.as_ref().map_or(true, |reply| reply.status >= 500));
        outcome.map(|reply| PluginAnswer { status: reply.status, body: reply.body }.pack())
    }

    fn no_action(&self, command_id: u8) -> Error {
        let mut known: Vec<&str> = self.shared.actions.iter().map(|action| action.name.as_str()).collect();
        known.sort_unstable();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::Refused {
            what: self.shared.plugin.name().to_owned(),
            status: 404,
            code: crate::wire::codes::ErrorCode::ActionNotFound as u32,
            message: format!(
                "no action with id 0x{command_id:02X} (ids are 0x01 to 0x{LAST_ACTION_ID:02X}); it has: {known}"
            ),
        }
    }

    fn figures(&self) -> Result<Vec<u8>, Error> {
        let shared = self.shared;
        let own = guarded(shared.plugin.name(), "figures", || Ok(shared.plugin.figures()))?;
        let (dropped, waiting) = shared.peers.figures();
        let figures = shared.figures.json(dropped, waiting, &own);
        JsonResponse { status: 200, json: strict_json::text(&figures) }.pack()
    }

    // Signals.

    fn handle_signal(&self, frame: &Frame) -> Result<(), Error> {
        let message = SignalMessage::unpack(&frame.payload)?;
        let Some(signal) = Signal::from_u8(message.signal_type) else {
            log::line(&format!("signal 0x{:02X} is unknown here", message.signal_type));
            return Ok(());
        };
        let work = (signal != Signal::HealthCheck).then(|| self.shared.figures.work());
        if signal == Signal::ReloadConfig {
            self.shared.register(&mut self.connection.borrow_mut())?;
        }
        let plugin = self.shared.plugin;
        let outcome = guarded(plugin.name(), &format!("signal {signal:?}"), || {
            plugin.handle_signal(&self.context(), signal, &message.data)
        });
        if let Err(error) = outcome {
            self.note(&error)?;
        }
        drop(work);
        match signal {
            Signal::ShutdownGraceful => {
                self.shared.stop();
                Ok(())
            }
            Signal::HealthCheck => {
                self.shared.peers.look_again(self.shared.registration().peers.as_deref());
                self.say(self.shared.mood())
            }
            Signal::ReloadConfig | Signal::WakeUp => {
                self.look_at_peers();
                self.say(if self.shared.mood() == Signal::Busy { Signal::Busy } else { Signal::Ready })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn look_at_peers(&self) {
        self.shared.peers.look(self.shared.registration().peers.as_deref());
    }

    pub(crate) fn say(&self, signal: Signal) -> Result<(), Error> {
        self.shared.send_signal(&mut self.connection.borrow_mut(), signal, &[])
    }

    /// Something came: no longer asleep.
    pub(crate) fn wake(&self) -> Result<(), Error> {
        if self.shared.mood() == Signal::Sleeping { self.say(Signal::Ready) } else { Ok(()) }
    }

    /// An error that nobody waits for: a line in the log, and the signal ERROR.
    fn note(&self, error: &Error) -> Result<(), Error> {
        let text = error.to_string();
        log::line(&text);
        let mut end = text.len().min(1024);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let data = text.get(..end).unwrap_or_default().as_bytes();
        self.shared.send_signal(&mut self.connection.borrow_mut(), Signal::Error, data)
    }

    // Messages of other plugins.

    /// It is handled and answered whether the core can be told or not: whoever sent it waits, and it comes but once.
    pub(crate) fn handle_message(&self, message: &PluginMessage) -> Result<(), Error> {
        let _work = self.shared.figures.work();
        let woken = self.wake();
        self.shared.figures.message_received();
        let plugin = self.shared.plugin;
        let what = format!("message 0x{:02X} of {}", message.message_type, message.source);
        let outcome =
            guarded(plugin.name(), &what, || plugin.handle_plugin_message(&self.context(), message));
        let noted = outcome.as_ref().map_or_else(|error| self.note(error), |_| Ok(()));
        if let Err(error) = self.shared.peers.answer(message, &outcome) {
            log::line(&format!("the answer to {what}: {error}"));
        }
        woken.and(noted)
    }

    pub(crate) fn fall_asleep(&self) -> Result<(), Error> {
        let plugin = self.shared.plugin;
        if let Err(error) = guarded(plugin.name(), "on_sleep", || plugin.on_sleep(&self.context())) {
            self.note(&error)?;
        }
        self.connection.borrow_mut().shrink();
        self.say(Signal::Sleeping)
    }

    /// Whether the core knows by now that the plugin sleeps, and had nothing for it before that: it answers in order, so
    /// when it has answered, all that it had sent before is here.
    pub(crate) fn sleeps_undisturbed(&self) -> Result<bool, Error> {
        let mut connection = self.connection.borrow_mut();
        self.shared.register(&mut connection)?;
        Ok(!connection.has_waiting())
    }
}

/// Waits for one of these, or until the time is over.
pub(crate) fn wait(fds: &mut [PollFd<'_>], within: Option<Duration>) -> Result<(), Error> {
    match poll(fds, within.map(timespec).as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::io("waiting", error)),
    }
}

/// A panic in a handler is an error like another. The panic itself, with its place, is in the log.
pub(crate) fn guarded<T>(
    name: &str,
    what: &str,
    handler: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(handler)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => text,
                (_, Some(text)) => text.as_str(),
                _ => "no message",
            };
            let hint = format!("see `reed plugin logs {name}`");
            Err(Error::fail(500, format!("plugin {name}, {what}: panicked: {text}; {hint}")))
        }
    }
}

fn sound(reply: Reply) -> Result<Reply, Error> {
    if !(200..600).contains(&reply.status) {
        return Err(Error::fail(500, format!("a handler's status must be 200 to 599, not {}", reply.status)));
    }
    if reply.body.len() + 2 > MAX_PAYLOAD {
        return Err(Error::TooLarge { size: reply.body.len() as u64, limit: MAX_PAYLOAD as u64 - 2 });
    }
    Ok(reply)
}
