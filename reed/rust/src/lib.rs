//! Plugins for ReedCMS in Rust.
//!
//! A plugin is a process of its own. The core starts it, hands it calls, tells it signals, and answers its questions; other
//! plugins send it messages. This crate does the talking. What a plugin does is yours.
//!
//! # A complete plugin
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use reed_plugin::{Error, Plugin, json};
//!
//! fn main() -> ExitCode {
//!     Plugin::new("word-count", "1.0.0")
//!         .action("count", 0x01, |ctx, input| {
//!             let snippet = input.snippet()?;
//!             let words = snippet.text("body").split_whitespace().count();
//!             if words == 0 {
//!                 return Err(Error::fail(422, format!("{} has no words", snippet.id)));
//!             }
//!             ctx.log(&format!("{}: {words} words", snippet.id));
//!             Ok(json!({"words": words}))
//!         })
//!         .run()
//! }
//! ```
//!
//! Beside it stands `plugin.yaml`:
//!
//! ```yaml
//! name: word-count
//! version: 1.0.0
//! actions:
//!   count: {command_id: 1, input: snippet, description: Counts the words of a snippet}
//! ```
//!
//! and in plugin-registry.csv a row of the type `native`. Then:
//!
//! ```text
//! cargo build --release          the core finds target/release/NAME in the plugin's folder
//! reed plugin reload
//! reed plugin send word-count count blog/intro
//! ```
//!
//! # Calls
//!
//! [`Plugin::action`] names an action and the `command_id` that plugin.yaml gives it. Its handler gets a [`Context`] and an
//! [`Input`], and gives a JSON value, a [`Reply`] (bytes, another status) or `()`.
//!
//! An error is the answer too: [`Error::fail`] for the handler's own, and `?` for those of the core: a snippet that is not
//! there is the caller's 404. A panic is that call's 500, and the plugin lives; so leave `panic = "abort"` out of Cargo.toml.
//!
//! Calls come one after the other. [`Plugin::workers`] takes several at the same time, each on a connection and a thread of
//! its own. Handlers are `Fn`, so what changes stands in a `Mutex` or an atomic.
//!
//! # Asking the core
//!
//! [`Context::snippet`], [`Context::schema`], [`Context::registry`] and [`Context::search`] are the core's commands, as far as
//! the plugin's row permits:
//!
//! ```no_run
//! # use reed_plugin::{Context, Error, json};
//! # fn handler(ctx: &Context<'_>) -> Result<(), Error> {
//! let intro = ctx.snippet().get("blog/intro")?;
//! ctx.snippet().update(&intro.id, &json!({"draft": false}), intro.version)?;
//! # Ok(()) }
//! ```
//!
//! # Other plugins
//!
//! [`Context::send_message`] sends and goes on; [`Context::request`] waits for the answer, and sends again when the other one
//! was restarted meanwhile. [`Plugin::on_message`] handles one type of messages: `()` answers with an ACK, a JSON value with
//! DATA, an error with ERROR, and [`Answer::None`] not at all. A message that comes a second time is not handled a second
//! time. When the pipe is full messages are queued; when the queue is full, that is [`Error::QueueFull`].
//!
//! Two plugins that request from each other at the same time wait for each other in vain, unless they have workers.
//!
//! # Signals and sleep
//!
//! The SDK answers HEALTH_CHECK, RELOAD_CONFIG, WAKE_UP and SHUTDOWN_GRACEFUL by itself; [`Plugin::on_signal`] is called
//! before that. [`Context::send_signal`] tells the core BUSY, READY or ERROR.
//!
//! A plugin that was idle for the time that plugin.yaml names (or [`Plugin::sleep`]) is told by [`Plugin::on_sleep`]. In light
//! sleep it stays and waits, in deep sleep its process ends; a call, a message or WAKE_UP wakes it.
//!
//! # When the core goes
//!
//! The plugin looks for it for 10 s ([`Plugin::patience`]), registers again and goes on. Messages of other plugins wait in
//! their pipes. When no core comes back it ends.
//!
//! # Lines for the log
//!
//! What a plugin writes to its standard output and error goes to the core's log under its name, line by line:
//! `reed plugin logs NAME -f`. [`Context::log`] writes such a line.
//!
//! # A type of one's own
//!
//! [`Plugin`] is one implementation of [`ReedPlugin`]; a type of yours is as good: implement the trait and call [`run`].
//! Handlers can be tested by themselves, and [`serve`] runs a plugin in an [`Environment`] that a test made.
//!
//! # The protocol
//!
//! [`wire`] has every struct of the protocol, without any I/O.

mod bell;
mod builder;
mod clock;
mod commands;
mod connection;
mod context;
mod environment;
mod error;
mod fifo;
mod figures;
mod host;
mod inbound;
mod lane;
mod locks;
mod log;
mod nearest;
mod outbound;
mod peers;
mod places;
mod plugin;
mod rubbish;
mod shared;
pub mod strict_json;
pub mod wire;

pub use builder::Plugin;
pub use commands::{Page, RegistryCommands, SchemaCommands, SearchCommands, Snippet, SnippetCommands};
pub use context::Context;
pub use environment::Environment;
pub use error::Error;
pub use host::{run, serve};
pub use plugin::{Action, Answer, Input, ReedPlugin, Reply, Sleep};
pub use serde_json::{Value, json};
pub use wire::codes::{Signal, messages};
pub use wire::message::PluginMessage;
