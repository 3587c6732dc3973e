//! A plugin made of closures.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::call::{Action, Input, Reply};
use crate::context::Context;
use crate::error::Error;
use crate::message::Answer;
use crate::plugin::{RECONNECT_TIMEOUT, ReedPlugin, no_message_handler};
use crate::registration::Sleep;
use crate::wire::codes::Signal;
use crate::wire::message::PluginMessage;

type OnCommand = Box<dyn Fn(&Context<'_>, &Input<'_>) -> Result<Reply, Error> + Send + Sync>;
type OnMessage = Box<dyn Fn(&Context<'_>, &PluginMessage) -> Result<Answer, Error> + Send + Sync>;
type OnSignal = Box<dyn Fn(&Context<'_>, Signal, &[u8]) -> Result<(), Error> + Send + Sync>;
type OnHook = Box<dyn Fn(&Context<'_>) -> Result<(), Error> + Send + Sync>;
type OnMetrics = Box<dyn Fn() -> Value + Send + Sync>;

/// A plugin made of closures by a [`PluginBuilder`], as in the [example](crate#a-complete-plugin).
pub struct Plugin {
    name: String,
    version: String,
    actions: Vec<Action>,
    on_command: BTreeMap<u8, OnCommand>,
    on_message: BTreeMap<u8, OnMessage>,
    on_signal: Option<OnSignal>,
    on_start: Option<OnHook>,
    on_sleep: Option<OnHook>,
    metrics: Option<OnMetrics>,
    concurrency: usize,
    sleep: Option<Sleep>,
    reconnect_timeout: Duration,
}

impl Plugin {
    /// Starts a plugin with the name and version of its row in plugin-registry.csv.
    pub fn builder(name: impl Into<String>, version: impl Into<String>) -> PluginBuilder {
        PluginBuilder(Plugin {
            name: name.into(),
            version: version.into(),
            actions: Vec::new(),
            on_command: BTreeMap::new(),
            on_message: BTreeMap::new(),
            on_signal: None,
            on_start: None,
            on_sleep: None,
            metrics: None,
            concurrency: 1,
            sleep: None,
            reconnect_timeout: RECONNECT_TIMEOUT,
        })
    }
}

/// Collects the handlers and options of a [`Plugin`].
#[derive(Debug)]
#[must_use = "a plugin does nothing until `run`"]
pub struct PluginBuilder(Plugin);

impl PluginBuilder {
    /// Adds an action, with its id in plugin.yaml. The handler returns a JSON value, a [`Reply`] or `()`.
    pub fn action<R: Into<Reply>>(
        mut self,
        name: impl Into<String>,
        command_id: u8,
        handler: impl Fn(&Context<'_>, &Input<'_>) -> Result<R, Error> + Send + Sync + 'static,
    ) -> PluginBuilder {
        self.0.actions.push(Action::new(name, command_id));
        let handler: OnCommand = Box::new(move |ctx, input| handler(ctx, input).map(Into::into));
        self.0.on_command.insert(command_id, handler);
        self
    }

    /// Adds a handler for a type of messages of other plugins. It returns an [`Answer`], a JSON value (sent as DATA) or
    /// `()` (sent as ACK).
    pub fn on_message<A: Into<Answer>>(
        mut self,
        message_type: u8,
        handler: impl Fn(&Context<'_>, &PluginMessage) -> Result<A, Error> + Send + Sync + 'static,
    ) -> PluginBuilder {
        let handler: OnMessage = Box::new(move |ctx, message| handler(ctx, message).map(Into::into));
        self.0.on_message.insert(message_type, handler);
        self
    }

    /// Sets what is called for each signal of the core, before the SDK answers it.
    pub fn on_signal(
        mut self,
        handler: impl Fn(&Context<'_>, Signal, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) -> PluginBuilder {
        self.0.on_signal = Some(Box::new(handler));
        self
    }

    /// Sets what is called once, after READY and before the first call: snippets can be read and written. If it fails the
    /// process ends, and the core starts it again, later each time.
    pub fn on_start(
        mut self,
        handler: impl Fn(&Context<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> PluginBuilder {
        self.0.on_start = Some(Box::new(handler));
        self
    }

    /// Sets what is called before the plugin sleeps.
    pub fn on_sleep(
        mut self,
        handler: impl Fn(&Context<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> PluginBuilder {
        self.0.on_sleep = Some(Box::new(handler));
        self
    }

    /// Sets the plugin's own metrics, for `reed plugin health`.
    pub fn metrics(mut self, metrics: impl Fn() -> Value + Send + Sync + 'static) -> PluginBuilder {
        self.0.metrics = Some(Box::new(metrics));
        self
    }

    /// Sets how many calls are handled at the same time, each on a thread and a connection of its own.
    pub fn concurrency(mut self, calls: usize) -> PluginBuilder {
        self.0.concurrency = calls.max(1);
        self
    }

    /// Sets when the idle plugin sleeps, unless the core sets it.
    pub fn sleep(mut self, sleep: Sleep) -> PluginBuilder {
        self.0.sleep = Some(sleep);
        self
    }

    /// Sets how long the plugin tries to reconnect to the core before it ends; 10 s by default.
    pub fn reconnect_timeout(mut self, timeout: Duration) -> PluginBuilder {
        self.0.reconnect_timeout = timeout;
        self
    }

    /// Returns the plugin, for [`serve`](crate::serve).
    pub fn build(self) -> Plugin {
        self.0
    }

    /// Runs the plugin until the core ends it.
    pub fn run(self) -> ExitCode {
        crate::host::run(&self.0)
    }
}

impl ReedPlugin for Plugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn actions(&self) -> Vec<Action> {
        self.actions.clone()
    }

    fn handle_command(&self, ctx: &Context<'_>, command_id: u8, input: &Input<'_>) -> Result<Reply, Error> {
        match self.on_command.get(&command_id) {
            Some(handler) => handler(ctx, input),
            None => Err(Error::fail(404, format!("no action with id 0x{command_id:02X}"))),
        }
    }

    fn handle_signal(&self, ctx: &Context<'_>, signal: Signal, data: &[u8]) -> Result<(), Error> {
        self.on_signal.as_ref().map_or(Ok(()), |handler| handler(ctx, signal, data))
    }

    fn handle_plugin_message(&self, ctx: &Context<'_>, message: &PluginMessage) -> Result<Answer, Error> {
        match self.on_message.get(&message.message_type) {
            Some(handler) => handler(ctx, message),
            None => Err(no_message_handler(message)),
        }
    }

    fn message_types(&self) -> Vec<u8> {
        self.on_message.keys().copied().collect()
    }

    fn on_start(&self, ctx: &Context<'_>) -> Result<(), Error> {
        self.on_start.as_ref().map_or(Ok(()), |handler| handler(ctx))
    }

    fn on_sleep(&self, ctx: &Context<'_>) -> Result<(), Error> {
        self.on_sleep.as_ref().map_or(Ok(()), |handler| handler(ctx))
    }

    fn metrics(&self) -> Value {
        self.metrics.as_ref().map_or(Value::Null, |metrics| metrics())
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn sleep(&self) -> Option<Sleep> {
        self.sleep
    }

    fn reconnect_timeout(&self) -> Duration {
        self.reconnect_timeout
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Plugin")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("actions", &self.actions)
            .field("message_types", &self.message_types())
            .field("concurrency", &self.concurrency)
            .field("sleep", &self.sleep)
            .field("reconnect_timeout", &self.reconnect_timeout)
            .finish_non_exhaustive()
    }
}
