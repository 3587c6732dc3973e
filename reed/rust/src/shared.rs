//! What all threads of a plugin share: what it is, what the core told it, its FIFOs, and whether it is to end.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bell::Bell;
use crate::clock::now_micros;
use crate::connection::Connection;
use crate::environment::Environment;
use crate::error::Error;
use crate::figures::Figures;
use crate::locks::lock;
use crate::peers::Peers;
use crate::places::Places;
use crate::plugin::{Action, ReedPlugin, Sleep};
use crate::strict_json;
use crate::wire::codes::{Command, Signal, flags};
use crate::wire::common::{JsonResponse, SignalMessage};
use crate::wire::plugins::PluginRegister;

const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the core said when the plugin registered.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) settings: Arc<Value>,
    pub(crate) permissions: Arc<[String]>,
    pub(crate) sleep: Option<Sleep>,
    pub(crate) peers: Option<Arc<[String]>>,
}

/// See above.
pub(crate) struct Shared<'p> {
    pub(crate) plugin: &'p dyn ReedPlugin,
    pub(crate) actions: Vec<Action>,
    pub(crate) environment: Environment,
    pub(crate) peers: Peers,
    pub(crate) figures: Figures,
    pub(crate) stop_bell: Bell, // rung once, never silenced: it wakes every thread
    registration: Mutex<Registration>,
    stopping: AtomicBool,
    mood: AtomicU8,
}

impl<'p> Shared<'p> {
    pub(crate) fn new(plugin: &'p dyn ReedPlugin, environment: Environment) -> Result<Shared<'p>, Error> {
        if plugin.name() != environment.name {
            let why = format!("is {:?}, and this is the plugin {:?}", environment.name, plugin.name());
            return Err(Error::Environment { variable: "REED_PLUGIN_NAME", why });
        }
        let registration = Registration {
            settings: Arc::new(environment.settings.clone()),
            permissions: Arc::default(),
            sleep: plugin.sleep(),
            peers: None,
        };
        Ok(Shared {
            peers: Peers::new(Places::new(&environment.runtime_dir, plugin.name()))?,
            actions: plugin.actions(),
            plugin,
            environment,
            figures: Figures::new(),
            stop_bell: Bell::new()?,
            registration: Mutex::new(registration),
            stopping: AtomicBool::new(false),
            mood: AtomicU8::new(Signal::Ready as u8),
        })
    }

    pub(crate) fn registration(&self) -> Registration {
        lock(&self.registration).clone()
    }

    /// Tells the core who this is, and learns what it says.
    pub(crate) fn register(&self, connection: &mut Connection) -> Result<(), Error> {
        let mut actions = serde_json::Map::new();
        for action in &self.actions {
            actions.insert(action.name.clone(), json!({"command_id": action.command_id}));
        }
        let manifest = json!({"actions": actions, "messages": self.plugin.message_types()});
        let request = PluginRegister {
            name: self.plugin.name().to_owned(),
            version: self.plugin.version().to_owned(),
            pid: std::process::id(),
            manifest: strict_json::text(&manifest),
        };
        let payload = connection.request(Command::PluginRegister, &request.pack()?, REGISTER_TIMEOUT)?;
        self.take_registration(strict_json::parse(&JsonResponse::unpack(&payload)?.json)?);
        Ok(())
    }

    fn take_registration(&self, mut answer: Value) {
        let texts = |value: Option<&Value>| -> Option<Arc<[String]>> {
            let array = value?.as_array()?;
            Some(array.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let mut registration = lock(&self.registration);
        registration.permissions = texts(answer.get("permissions")).unwrap_or_default();
        registration.peers = texts(answer.get("peers"));
        registration.sleep = answer.get("sleep").and_then(sleep_of).or(self.plugin.sleep());
        if let Some(settings) = answer.get_mut("settings").filter(|settings| settings.is_object()) {
            registration.settings = Arc::new(settings.take());
        }
    }

    pub(crate) fn send_signal(
        &self,
        connection: &mut Connection,
        signal: Signal,
        data: &[u8],
    ) -> Result<(), Error> {
        if signal != Signal::Error {
            self.mood.store(signal as u8, Ordering::Relaxed);
        }
        let message = SignalMessage {
            signal_type: signal as u8,
            timestamp: now_micros(),
            plugin_name: self.plugin.name().to_owned(),
            data: data.to_vec(),
        };
        connection.send(Command::PluginSignal as u8, &message.pack()?, flags::SIGNAL)
    }

    /// READY, BUSY or SLEEPING: what it last said.
    pub(crate) fn mood(&self) -> Signal {
        Signal::from_u8(self.mood.load(Ordering::Relaxed)).unwrap_or(Signal::Ready)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop_bell.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// `{"after": seconds, "mode": "light" | "deep"}`
fn sleep_of(value: &Value) -> Option<Sleep> {
    let after = Duration::try_from_secs_f64(value.get("after")?.as_f64()?).ok()?;
    match value.get("mode").and_then(Value::as_str) {
        Some("deep") => Some(Sleep::Deep(after)),
        _ => Some(Sleep::Light(after)),
    }
}
