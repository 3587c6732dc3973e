//! PLUGIN_REGISTER: what a plugin tells the core about itself, and the core's answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::call::Action;
use crate::error::Error;
use crate::strict_json;
use crate::wire::common::JsonResponse;
use crate::wire::plugins::PluginRegister;

/// When an idle plugin sleeps (plugin.yaml: `sleep`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sleep {
    /// After this time the plugin frees memory and waits; a call, a message or WAKE_UP wakes it.
    Light(Duration),
    /// After this time the process ends; the core starts it again for a call, a message or WAKE_UP.
    Deep(Duration),
}

impl Sleep {
    pub(crate) fn after(self) -> Duration {
        match self {
            Sleep::Light(after) | Sleep::Deep(after) => after,
        }
    }

    /// `{"after": seconds, "mode": "light" | "deep"}`
    fn decode(value: &Value) -> Option<Sleep> {
        let after = Duration::try_from_secs_f64(value.get("after")?.as_f64()?).ok()?;
        match value.get("mode").and_then(Value::as_str) {
            Some("deep") => Some(Sleep::Deep(after)),
            _ => Some(Sleep::Light(after)),
        }
    }
}

/// Read once at the start.
#[derive(Clone, Debug)]
pub(crate) struct PluginInfo {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) actions: Vec<Action>,
    pub(crate) message_types: Vec<u8>,
    pub(crate) sleep: Option<Sleep>,
    pub(crate) reconnect_timeout: Duration,
}

impl PluginInfo {
    /// Of a plugin that no core runs.
    pub(crate) fn for_tests(name: &str) -> PluginInfo {
        PluginInfo {
            name: name.to_owned(),
            version: String::new(),
            actions: Vec::new(),
            message_types: Vec::new(),
            sleep: None,
            reconnect_timeout: Duration::ZERO,
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut actions = serde_json::Map::new();
        for action in &self.actions {
            actions.insert(action.name.clone(), json!({"command_id": action.command_id}));
        }
        let manifest = json!({"actions": actions, "messages": self.message_types});
        let request = PluginRegister {
            name: self.name.clone(),
            version: self.version.clone(),
            pid: std::process::id(),
            manifest: strict_json::text(&manifest),
        };
        request.pack()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) settings: Arc<Value>,
    pub(crate) permissions: Arc<[String]>,
    pub(crate) sleep: Option<Sleep>,
    pub(crate) peers: Option<Arc<[String]>>,
}

impl Registration {
    pub(crate) fn new(settings: Value, sleep: Option<Sleep>) -> Registration {
        Registration { settings: Arc::new(settings), permissions: Arc::default(), sleep, peers: None }
    }

    /// `sleep` applies unless the core sets it.
    pub(crate) fn update(&mut self, payload: &[u8], sleep: Option<Sleep>) -> Result<(), Error> {
        let mut answer = strict_json::parse(&JsonResponse::unpack(payload)?.json)?;
        self.permissions = texts(answer.get("permissions")).unwrap_or_default();
        self.peers = texts(answer.get("peers"));
        self.sleep = answer.get("sleep").and_then(Sleep::decode).or(sleep);
        if let Some(settings) = answer.get_mut("settings").filter(|settings| settings.is_object()) {
            self.settings = Arc::new(settings.take());
        }
        Ok(())
    }
}

fn texts(value: Option<&Value>) -> Option<Arc<[String]>> {
    let array = value?.as_array()?;
    Some(array.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
