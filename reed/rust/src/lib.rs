//! Plugins for ReedCMS in Rust.
//!
//! A plugin is a process that the core starts. This crate implements the protocol; a plugin provides the handlers for
//! calls, signals, and messages of other plugins.
//!
//! # A complete plugin
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use reed_plugin::{Error, Plugin, json, log};
//!
//! fn main() -> ExitCode {
//!     Plugin::builder("word-count", "1.0.0")
//!         .action("count", 0x01, |_ctx, input| {
//!             let snippet = input.snippet()?;
//!             let words = snippet.text("body").split_whitespace().count();
//!             if words == 0 {
//!                 return Err(Error::fail(422, format!("{} has no words", snippet.id)));
//!             }
//!             log::info(format_args!("{}: {words} words", snippet.id));
//!             Ok(json!({"words": words}))
//!         })
//!         .run()
//! }
//! ```
//!
//! Its folder also has a `plugin.yaml`:
//!
//! ```yaml
//! name: word-count
//! version: 1.0.0
//! actions:
//!   count: {command_id: 1, input: snippet, description: Counts the words of a snippet}
//! ```
//!
//! [`manifest_version!`] takes the version from it. plugin-registry.csv needs a row for it, of the type `native`. Then:
//!
//! ```text
//! cargo build --release          the core runs target/release/NAME in the plugin's folder
//! reed plugin reload
//! reed plugin send word-count count blog/intro
//! ```
//!
//! # Calls
//!
//! [`PluginBuilder::action`] adds an action, with its `command_id` in plugin.yaml. The handler gets a [`Context`] and an
//! [`Input`], and returns a JSON value, a [`Reply`] (bytes, or another status) or `()`.
//!
//! An error is the answer to the call: [`Error::fail`], with [`Error::with_code`] and [`Error::with_hint`] if need be, or one
//! of the core, passed on with `?`. A panic is status 500,
//! and the plugin continues, so do not set `panic = "abort"` in Cargo.toml.
//!
//! Calls run one after the other. With [`PluginBuilder::concurrency`] several run at the same time, each on a thread and
//! a connection of its own. Handlers are `Fn`, so keep mutable state in a `Mutex` or an atomic.
//!
//! # Commands of the core
//!
//! [`Context::snippet`], [`Context::schema`], [`Context::registry`] and [`Context::search`] give the core's commands, as
//! far as the permissions in the plugin's row allow them; [`Context::command`] sends any other.
//!
//! ```no_run
//! # use reed_plugin::{Context, Error, json};
//! # fn handler(ctx: &Context<'_>) -> Result<(), Error> {
//! let id = ctx.snippet().create("page", "blog/intro", &json!({"title": "Hello", "draft": true}))?;
//! let intro = ctx.snippet().get("blog/intro")?;
//! ctx.snippet().update(&id, &json!({"draft": false}), intro.version)?;
//! # Ok(()) }
//! ```
//!
//! # Many snippets
//!
//! [`SnippetCommands::each`] is an iterator over all snippets of a type, and [`Context::batch`] sends many writes in one
//! go: 1,000 updates take a tenth of the time that they take one by one.
//!
//! ```no_run
//! # use reed_plugin::{Context, Error, json};
//! # fn handler(ctx: &Context<'_>) -> Result<(), Error> {
//! let written = ctx.batch(|batch| {
//!     batch.create("page", "intro", &json!({"title": "Introduction"}))?;
//!     for page in ctx.snippet().each("page") {
//!         batch.update(&page?.id, &json!({"checked": true}), 0)?;
//!     }
//!     Ok(())
//! })?;
//! reed_plugin::log::info(format_args!("{} writes", written.len()));
//! # Ok(()) }
//! ```
//!
//! [`PluginBuilder::on_start`] is called once, before the first call; there the core's commands can be used, too.
//!
//! # Messages between plugins
//!
//! ```no_run
//! # use std::time::Duration;
//! # use reed_plugin::{Context, Error, Plugin, Value, json, strict_json};
//! // the plugin "other"
//! let other = Plugin::builder("other", "1.0.0").on_message(0x20, |_ctx, message| {
//!     let payload = strict_json::parse(&message.payload)?;
//!     let number = payload.get("number").and_then(Value::as_i64).unwrap_or_default();
//!     Ok(json!({"doubled": number * 2}))
//! });
//!
//! // a handler of another plugin
//! # fn handler(ctx: &Context<'_>) -> Result<(), Error> {
//! ctx.send_message("other", 0x20, &json!({"number": 21}))?;
//! let answer = ctx.request("other", 0x20, &json!({"number": 21}), Duration::from_secs(5))?;
//! # Ok(()) }
//! ```
//!
//! [`Context::request`] sends the message again if no answer arrives, in case the other plugin was restarted; it is
//! handled once. What the handler returns is the answer: `()` an ACK, a JSON value DATA, an error ERROR;
//! [`Answer::None`] sends none.
//!
//! If the FIFO is full, up to 1,024 messages or 1 MiB are queued for each target; beyond that sending fails with
//! [`Error::QueueFull`]. The same number of received messages is held for their handlers; further ones stay in their
//! FIFOs.
//!
//! Two plugins that request from each other at the same time run into the timeout, unless their concurrency is above 1.
//!
//! # Signals and sleep
//!
//! The SDK answers HEALTH_CHECK, RELOAD_CONFIG, WAKE_UP and SHUTDOWN_GRACEFUL; [`PluginBuilder::on_signal`] is called
//! before. [`Context::send_signal`] sends BUSY, READY or ERROR to the core.
//!
//! A plugin sleeps when it was idle for the time in plugin.yaml, or in [`PluginBuilder::sleep`];
//! [`PluginBuilder::on_sleep`] is called before. A call, a message or WAKE_UP wakes it.
//!
//! # Restart of the core
//!
//! If the core ends, the plugin tries to reconnect for 10 s ([`PluginBuilder::reconnect_timeout`]), then ends as well.
//! After a reconnect it registers again and continues. Messages of other plugins wait in their FIFOs meanwhile.
//!
//! # Log
//!
//! The functions of [`log`] write to the plugin's log (`reed plugin logs NAME -f`), as does standard output and error.
//!
//! # Other types, and tests
//!
//! [`Plugin`] is one implementation of [`ReedPlugin`]; a type of your own can implement the trait too and be run by
//! [`run`]. [`testing`] has a core in memory for unit tests of handlers; [`serve`] runs a plugin in an [`Environment`]
//! that the test creates.
//!
//! # Protocol
//!
//! [`wire`] has the structs of the protocol that a plugin sends and receives, without any I/O.

mod batch;
mod builder;
mod call;
mod commands;
mod connection;
mod context;
mod each;
mod environment;
mod error;
mod fifo;
mod host;
mod inbound;
pub mod log;
mod manifest;
mod message;
mod metrics;
mod outbound;
mod peers;
mod plugin;
mod registration;
mod shared;
mod snippet;
pub mod strict_json;
mod sys;
pub mod testing;
pub mod wire;
mod worker;

pub use batch::Batch;
pub use builder::{Plugin, PluginBuilder};
pub use call::{Action, Input, Reply};
pub use commands::{RegistryCommands, SchemaCommands, SearchCommands, SnippetCommands};
pub use context::Context;
pub use each::Each;
pub use environment::Environment;
pub use error::{BatchFailure, Error, Written};
pub use host::{run, serve};
pub use manifest::version_in;
pub use message::Answer;
pub use plugin::ReedPlugin;
pub use registration::Sleep;
pub use serde_json::{Value, json};
pub use snippet::{Page, Snippet};
pub use wire::codes::{Signal, messages};
pub use wire::message::PluginMessage;

/// The examples of the README are compiled with those of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
