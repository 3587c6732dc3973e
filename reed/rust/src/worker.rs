//! A worker: one connection to the core, and the thread that handles what arrives on it.
//!
//! ```text
//! HEALTH_CHECK       open new FIFOs, signal the current status
//! RELOAD_CONFIG      register again for the new settings, open new FIFOs, signal READY
//! WAKE_UP            open new FIFOs, signal READY
//! SHUTDOWN_GRACEFUL  handle what has arrived, and end
//! ```

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::call::{Input, Reply};
use crate::connection::Connection;
use crate::context::Context;
use crate::error::Error;
use crate::log;
use crate::plugin::ReedPlugin;
use crate::shared::Shared;
use crate::strict_json;
use crate::sys;
use crate::wire::codes::{Command, ErrorCode, LAST_ACTION_ID, MAX_PAYLOAD, Signal, flags};
use crate::wire::common::{ErrorResponse, JsonResponse, SignalMessage};
use crate::wire::fields::truncate;
use crate::wire::frames::Frame;
use crate::wire::message::PluginMessage;
use crate::wire::plugins::PluginAnswer;

const FIRST_RECONNECT_DELAY: Duration = Duration::from_millis(5);
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(500);
const MAX_ERROR_DATA: usize = 1024; // bytes of text in the signal ERROR

pub(crate) struct Worker<'a> {
    pub(crate) plugin: &'a dyn ReedPlugin,
    pub(crate) shared: &'a Shared,
    pub(crate) connection: RefCell<Connection>,
}

impl<'a> Worker<'a> {
    pub(crate) fn connect(plugin: &'a dyn ReedPlugin, shared: &'a Shared) -> Result<Worker<'a>, Error> {
        Ok(Worker { plugin, shared, connection: RefCell::new(registered_connection(shared, &[])?) })
    }

    /// For the main thread: the plugin is READY as soon as it is registered.
    pub(crate) fn connect_ready(plugin: &'a dyn ReedPlugin, shared: &'a Shared) -> Result<Worker<'a>, Error> {
        let ready = shared.signal_frame(Signal::Ready, &[])?;
        Ok(Worker { plugin, shared, connection: RefCell::new(registered_connection(shared, &ready)?) })
    }

    /// For all threads but the main one, which handles messages and sleep as well.
    pub(crate) fn serve(&self) {
        loop {
            match self.turn() {
                Ok(()) if self.shared.is_stopping() => return self.finish(),
                Ok(()) => {}
                Err(error) => {
                    if self.reconnect(&error).is_err() {
                        return; // the main thread fails too, and reports it
                    }
                }
            }
        }
    }

    fn turn(&self) -> Result<(), Error> {
        self.handle_frames()?;
        let connection = self.connection.borrow();
        let mut fds = [
            PollFd::new(self.shared.stop_waker.fd(), PollFlags::IN),
            PollFd::new(connection.stream(), PollFlags::IN),
        ];
        sys::poll(&mut fds, None)?;
        let readable = fds.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(connection);
        if readable { self.receive() } else { Ok(()) }
    }

    pub(crate) fn receive(&self) -> Result<(), Error> {
        self.connection.borrow_mut().receive()
    }

    /// Handles what the core has sent already.
    pub(crate) fn finish(&self) {
        let outcome = self.handle_frames().and_then(|()| {
            let readable = self.connection.borrow().is_readable(Duration::ZERO)?;
            if readable { self.receive().and_then(|()| self.handle_frames()) } else { Ok(()) }
        });
        match outcome {
            Ok(()) | Err(Error::Disconnected { .. }) => {}
            Err(error) => log::error(error),
        }
    }

    /// Fails after the reconnect timeout, or if the core rejects the plugin.
    pub(crate) fn reconnect(&self, why: &Error) -> Result<(), Error> {
        let timeout = self.shared.info.reconnect_timeout;
        let deadline = Instant::now() + timeout;
        let mut delay = FIRST_RECONNECT_DELAY;
        log::warn(format_args!("reconnecting for up to {timeout:?}: {why}"));
        loop {
            match registered_connection(self.shared, &[]) {
                Ok(connection) => {
                    self.connection.replace(connection);
                    return Ok(());
                }
                Err(error @ Error::Refused { .. }) => return Err(error),
                Err(error) if Instant::now() + delay >= deadline => return Err(error),
                Err(_) => {}
            }
            sys::poll(&mut [PollFd::new(self.shared.stop_waker.fd(), PollFlags::IN)], Some(delay))?;
            if self.shared.is_stopping() {
                return Err(Error::disconnected("shutdown"));
            }
            delay = (delay * 2).min(MAX_RECONNECT_DELAY);
        }
    }

    fn context(&self) -> Context<'_> {
        Context { shared: self.shared, connection: &self.connection }
    }

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

    // Calls

    fn handle_request(&self, frame: &Frame) -> Result<(), Error> {
        let activity = self.shared.metrics.activity();
        self.wake()?;
        let answer = match frame.command_id {
            id if id == Command::PluginHealth as u8 => self.health(),
            id => self.call(id, &frame.payload),
        };
        drop(activity);
        if frame.has(flags::ASYNC) {
            return answer.map_or_else(|error| self.report(&error), |_| Ok(()));
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
        let action = self.shared.info.actions.iter().find(|action| action.command_id == command_id);
        let outcome = match action {
            None => Err(self.no_action(command_id)),
            Some(action) => self.catch_panic(&format!("action {}", action.name), || {
                self.plugin.handle_command(&self.context(), command_id, &Input::new(input))
            }),
        };
        let outcome = outcome.and_then(validated);
        self.shared.metrics.call_answered(outcome.as_ref().map_or(true, |reply| reply.status >= 500));
        outcome.map(|reply| PluginAnswer { status: reply.status, body: reply.body }.pack())
    }

    fn no_action(&self, command_id: u8) -> Error {
        let mut names: Vec<&str> =
            self.shared.info.actions.iter().map(|action| action.name.as_str()).collect();
        names.sort_unstable();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Error::Refused {
            what: self.shared.info.name.clone(),
            status: 404,
            code: ErrorCode::ActionNotFound as u32,
            message: format!(
                "no action with id 0x{command_id:02X} (ids are 0x01 to 0x{LAST_ACTION_ID:02X}); it has: {names}"
            ),
        }
    }

    fn health(&self) -> Result<Vec<u8>, Error> {
        let own = self.catch_panic("metrics", || Ok(self.plugin.metrics()))?;
        let (dropped, waiting) = self.shared.peers.metrics();
        let json = strict_json::text(&self.shared.metrics.to_json(dropped, waiting, &own));
        JsonResponse { status: 200, json }.pack()
    }

    // Signals

    fn handle_signal(&self, frame: &Frame) -> Result<(), Error> {
        let message = SignalMessage::unpack(&frame.payload)?;
        let Some(signal) = Signal::from_u8(message.signal_type) else {
            log::warn(format_args!("unknown signal 0x{:02X}", message.signal_type));
            return Ok(());
        };
        let activity = (signal != Signal::HealthCheck).then(|| self.shared.metrics.activity());
        if signal == Signal::ReloadConfig {
            self.shared.register(&mut self.connection.borrow_mut(), &[])?;
        }
        let outcome = self.catch_panic(&format!("signal {signal:?}"), || {
            self.plugin.handle_signal(&self.context(), signal, &message.data)
        });
        if let Err(error) = outcome {
            self.report(&error)?;
        }
        drop(activity);
        match signal {
            Signal::ShutdownGraceful => {
                self.shared.stop();
                Ok(())
            }
            Signal::HealthCheck => {
                self.shared.peers.refresh_if_changed(self.shared.registration().peers.as_deref());
                self.signal(self.shared.status())
            }
            Signal::ReloadConfig | Signal::WakeUp => {
                self.shared.refresh_peers();
                let is_busy = self.shared.status() == Signal::Busy;
                self.signal(if is_busy { Signal::Busy } else { Signal::Ready })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.shared.send_signal(&mut self.connection.borrow_mut(), signal, &[])
    }

    pub(crate) fn wake(&self) -> Result<(), Error> {
        if self.shared.status() == Signal::Sleeping { self.signal(Signal::Ready) } else { Ok(()) }
    }

    /// For an error that is no call's answer.
    fn report(&self, error: &Error) -> Result<(), Error> {
        log::error(error);
        let text = error.to_string();
        let data = truncate(&text, MAX_ERROR_DATA).as_bytes();
        self.shared.send_signal(&mut self.connection.borrow_mut(), Signal::Error, data)
    }

    // Messages of other plugins

    /// Even if the core cannot be told that the plugin woke up: its sender waits.
    pub(crate) fn handle_message(&self, message: &PluginMessage) -> Result<(), Error> {
        let _activity = self.shared.metrics.activity();
        let woken = self.wake();
        self.shared.metrics.message_received();
        let what = format!("message 0x{:02X} of {}", message.message_type, message.source);
        let outcome = self.catch_panic(&what, || self.plugin.handle_plugin_message(&self.context(), message));
        let reported = outcome.as_ref().map_or_else(|error| self.report(error), |_| Ok(()));
        if let Err(error) = self.shared.peers.answer(message, &outcome) {
            log::warn(format_args!("answer to {what}: {error}"));
        }
        woken.and(reported)
    }

    // Start and sleep

    pub(crate) fn start_up(&self) -> Result<(), Error> {
        let _activity = self.shared.metrics.activity();
        self.catch_panic("on_start", || self.plugin.on_start(&self.context()))
            .map_err(|error| Error::fail(error.status(), format!("on_start: {error}")))
    }

    pub(crate) fn fall_asleep(&self) -> Result<(), Error> {
        if let Err(error) = self.catch_panic("on_sleep", || self.plugin.on_sleep(&self.context())) {
            self.report(&error)?;
        }
        self.connection.borrow_mut().shrink();
        self.signal(Signal::Sleeping)
    }

    /// Whether the core had sent nothing when it read the signal SLEEPING. It answers in order, so what it sent before is
    /// here as soon as it has answered a request.
    pub(crate) fn is_undisturbed(&self) -> Result<bool, Error> {
        let mut connection = self.connection.borrow_mut();
        self.shared.register(&mut connection, &[])?;
        Ok(!connection.has_deferred())
    }

    /// Turns a panic of a handler into an error. The panic hook has logged its place.
    fn catch_panic<T>(&self, what: &str, handler: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|panic| {
            let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => text,
                (_, Some(text)) => text.as_str(),
                _ => "no message",
            };
            let name = &self.shared.info.name;
            let hint = format!("see `reed plugin logs {name}`");
            Err(Error::fail(500, format!("plugin {name}, {what}: panicked: {text}; {hint}")))
        })
    }
}

fn registered_connection(shared: &Shared, then: &[u8]) -> Result<Connection, Error> {
    let mut connection = Connection::open(&shared.environment.socket)?;
    shared.register(&mut connection, then)?;
    Ok(connection)
}

fn validated(reply: Reply) -> Result<Reply, Error> {
    if !(200..600).contains(&reply.status) {
        let status = reply.status;
        return Err(Error::fail(500, format!("the handler returned the status {status}, not 200 to 599")));
    }
    if reply.body.len() + 2 > MAX_PAYLOAD {
        return Err(Error::TooLarge { size: reply.body.len() as u64, limit: MAX_PAYLOAD as u64 - 2 });
    }
    Ok(reply)
}
