//! State that all threads of a plugin share.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::connection::Connection;
use crate::environment::Environment;
use crate::error::Error;
use crate::fifo::FifoPaths;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::registration::{PluginInfo, Registration};
use crate::sys::{Waker, lock, now_micros};
use crate::wire::codes::{Command, Signal, flags};
use crate::wire::common::SignalMessage;
use crate::wire::frames::encode;

const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends messages to other plugins: the FIFOs, or a test's substitute.
pub(crate) trait Post: Send + Sync + Debug {
    /// Returns the timestamp of the message.
    fn send(&self, target: &str, message_type: u8, payload: &[u8]) -> Result<u64, Error>;

    /// Returns the answer, null for an ACK.
    fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<Value, Error>;
}

impl Post for Peers {
    fn send(&self, target: &str, message_type: u8, payload: &[u8]) -> Result<u64, Error> {
        Peers::send(self, target, message_type, payload)
    }

    fn request(
        &self,
        target: &str,
        message_type: u8,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<Value, Error> {
        Peers::request(self, target, message_type, payload, timeout)
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) info: PluginInfo,
    pub(crate) environment: Environment,
    pub(crate) peers: Peers,
    pub(crate) substitute: Option<Arc<dyn Post>>, // of `peers`, in a test
    pub(crate) metrics: Metrics,
    pub(crate) stop_waker: Waker, // never reset: it wakes every thread
    registration: Mutex<Registration>,
    stopping: AtomicBool,
    status: AtomicU8,
}

impl Shared {
    pub(crate) fn new(info: PluginInfo, environment: Environment) -> Result<Shared, Error> {
        if info.name != environment.name {
            let why = format!("is {:?}, but this is the plugin {:?}", environment.name, info.name);
            return Err(Error::Environment { variable: "REED_PLUGIN_NAME", why });
        }
        Ok(Shared {
            peers: Peers::new(FifoPaths::new(&environment.runtime_dir, &info.name))?,
            substitute: None,
            metrics: Metrics::new(),
            stop_waker: Waker::new()?,
            registration: Mutex::new(Registration::new(environment.settings.clone(), info.sleep)),
            stopping: AtomicBool::new(false),
            status: AtomicU8::new(Signal::Ready as u8),
            info,
            environment,
        })
    }

    pub(crate) fn registration(&self) -> Registration {
        lock(&self.registration).clone()
    }

    /// Takes over the settings, permissions and peers in the core's answer. `then`: a signal's frame, sent in the same
    /// write. The answer comes before any call, so the plugin has its settings by then.
    pub(crate) fn register(&self, connection: &mut Connection, then: &[u8]) -> Result<(), Error> {
        let request = self.info.encode()?;
        let answer = connection.request_and(Command::PluginRegister, &request, then, REGISTER_TIMEOUT)?;
        self.apply(&answer)
    }

    pub(crate) fn apply(&self, answer: &[u8]) -> Result<(), Error> {
        lock(&self.registration).update(answer, self.info.sleep)
    }

    pub(crate) fn post(&self) -> &dyn Post {
        self.substitute.as_deref().unwrap_or(&self.peers)
    }

    pub(crate) fn send_signal(
        &self,
        connection: &mut Connection,
        signal: Signal,
        data: &[u8],
    ) -> Result<(), Error> {
        connection.write(&self.signal_frame(signal, data)?)
    }

    /// To be sent at once: it changes the status.
    pub(crate) fn signal_frame(&self, signal: Signal, data: &[u8]) -> Result<Vec<u8>, Error> {
        if signal != Signal::Error {
            self.status.store(signal as u8, Ordering::Relaxed);
        }
        let message = SignalMessage {
            signal_type: signal as u8,
            timestamp: now_micros(),
            plugin_name: self.info.name.clone(),
            data: data.to_vec(),
        };
        encode(Command::PluginSignal as u8, &message.pack()?, flags::SIGNAL)
    }

    pub(crate) fn refresh_peers(&self) {
        self.peers.refresh(self.registration().peers.as_deref());
    }

    pub(crate) fn status(&self) -> Signal {
        Signal::from_u8(self.status.load(Ordering::Relaxed)).unwrap_or(Signal::Ready)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop_waker.wake();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
