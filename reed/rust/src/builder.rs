//! A plugin of closures.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::plugin::{Action, Answer, Input, ReedPlugin, Reply, Sleep, no_handler};
use crate::wire::codes::Signal;
use crate::wire::message::PluginMessage;

type OnCommand = Box<dyn Fn(&Context<'_>, &Input<'_>) -> Result<Reply, Error> + Send + Sync>;
type OnSignal = Box<dyn Fn(&Context<'_>, Signal, &[u8]) -> Result<(), Error> + Send + Sync>;
type OnMessage = Box<dyn Fn(&Context<'_>, &PluginMessage) -> Result<Answer, Error> + Send + Sync>;
type OnSleep = Box<dyn Fn(&Context<'_>) -> Result<(), Error> + Send + Sync>;
type Figures = Box<dyn Fn() -> Value + Send + Sync>;

/// A plugin that is put together of closures, and run.
///
/// ```no_run
/// use reed_plugin::{Plugin, json};
///
/// fn main() -> std::process::ExitCode {
///     Plugin::new("hello", "1.0.0")
///         .action("greet", 0x01, |_ctx, input| Ok(json!({"hello": input.json()?})))
///         .run()
/// }
/// ```
pub struct Plugin {
    name: String,
    version: String,
    actions: Vec<Action>,
    commands: BTreeMap<u8, OnCommand>,
    messages: BTreeMap<u8, OnMessage>,
    on_signal: Option<OnSignal>,
    on_sleep: Option<OnSleep>,
    figures: Option<Figures>,
    workers: usize,
    sleep: Option<Sleep>,
    patience: Duration,
}

impl Plugin {
    /// A plugin with the name and version of its row.
    pub fn new(name: &str, version: &str) -> Plugin {
        Plugin {
            name: name.to_owned(),
            version: version.to_owned(),
            actions: Vec::new(),
            commands: BTreeMap::new(),
            messages: BTreeMap::new(),
            on_signal: None,
            on_sleep: None,
            figures: None,
            workers: 1,
            sleep: None,
            patience: Duration::from_secs(10),
        }
    }

    /// An action, with the id that plugin.yaml gives it. The handler gives a JSON value, a [`Reply`] or `()`.
    pub fn action<R: Into<Reply>>(
        mut self,
        name: &str,
        command_id: u8,
        handler: impl Fn(&Context<'_>, &Input<'_>) -> Result<R, Error> + Send + Sync + 'static,
    ) -> Plugin {
        self.actions.push(Action { name: name.to_owned(), command_id });
        self.commands.insert(command_id, Box::new(move |ctx, input| handler(ctx, input).map(Into::into)));
        self
    }

    /// A handler for one type of messages of other plugins. It gives an [`Answer`], a JSON value (sent as DATA) or
    /// `()` (sent as ACK).
    pub fn on_message<A: Into<Answer>>(
        mut self,
        message_type: u8,
        handler: impl Fn(&Context<'_>, &PluginMessage) -> Result<A, Error> + Send + Sync + 'static,
    ) -> Plugin {
        self.messages
            .insert(message_type, Box::new(move |ctx, message| handler(ctx, message).map(Into::into)));
        self
    }

    /// Called for each signal of the core, before the SDK answers it.
    pub fn on_signal(
        mut self,
        handler: impl Fn(&Context<'_>, Signal, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Plugin {
        self.on_signal = Some(Box::new(handler));
        self
    }

    /// Called before the plugin goes to sleep.
    pub fn on_sleep(
        mut self,
        handler: impl Fn(&Context<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Plugin {
        self.on_sleep = Some(Box::new(handler));
        self
    }

    /// Figures of its own, for `reed plugin health`.
    pub fn figures(mut self, figures: impl Fn() -> Value + Send + Sync + 'static) -> Plugin {
        self.figures = Some(Box::new(figures));
        self
    }

    /// Takes so many calls at the same time, each on a connection and a thread of its own.
    pub fn workers(mut self, count: usize) -> Plugin {
        self.workers = count.max(1);
        self
    }

    /// Sleeps when it was idle for a time, unless the core says otherwise.
    pub fn sleep(mut self, sleep: Sleep) -> Plugin {
        self.sleep = Some(sleep);
        self
    }

    /// How long to look for the core when it is gone; 10 s unless told otherwise.
    pub fn patience(mut self, patience: Duration) -> Plugin {
        self.patience = patience;
        self
    }

    /// Serves calls, signals and messages until the core asks for the shutdown.
    pub fn run(self) -> ExitCode {
        crate::run(&self)
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
        match self.commands.get(&command_id) {
            Some(handler) => handler(ctx, input),
            None => Err(Error::fail(404, format!("no action with id 0x{command_id:02X}"))),
        }
    }

    fn handle_signal(&self, ctx: &Context<'_>, signal: Signal, data: &[u8]) -> Result<(), Error> {
        self.on_signal.as_ref().map_or(Ok(()), |handler| handler(ctx, signal, data))
    }

    fn handle_plugin_message(&self, ctx: &Context<'_>, message: &PluginMessage) -> Result<Answer, Error> {
        match self.messages.get(&message.message_type) {
            Some(handler) => handler(ctx, message),
            None => Err(no_handler(message)),
        }
    }

    fn message_types(&self) -> Vec<u8> {
        self.messages.keys().copied().collect()
    }

    fn on_sleep(&self, ctx: &Context<'_>) -> Result<(), Error> {
        self.on_sleep.as_ref().map_or(Ok(()), |handler| handler(ctx))
    }

    fn figures(&self) -> Value {
        self.figures.as_ref().map_or(Value::Null, |figures| figures())
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn sleep(&self) -> Option<Sleep> {
        self.sleep
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}
