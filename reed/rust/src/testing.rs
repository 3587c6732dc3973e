//! A core in memory, for unit tests of handlers: `cargo test` needs no daemon.
//!
//! A [`FakeCore`] has snippets, bonds, types, and answers of other plugins, as the test sets them. It gives handlers a
//! [`Context`], and keeps what they sent: writes, messages, signals, lines of the log.
//!
//! ```
//! use reed_plugin::testing::FakeCore;
//! use reed_plugin::{Context, Error, Plugin, json};
//!
//! /// Gives a page its slug, and asks another plugin for a redirect.
//! fn rename(ctx: &Context<'_>, id: &str, title: &str) -> Result<(), Error> {
//!     let slug = title.to_lowercase().replace(' ', "-");
//!     ctx.snippet().update(id, &json!({"title": title, "slug": slug}), 0)?;
//!     ctx.send_message("redirects", 0x20, &json!({"to": slug}))?;
//!     Ok(())
//! }
//!
//! // A function that takes a context
//! let core = FakeCore::new("slugs");
//! let id = core.add("page", "about", json!({"title": "About"}));
//! rename(&core.context(), &id, "About us").unwrap();
//! assert_eq!(core.get("about").unwrap().text("slug"), "about-us");
//! assert_eq!(core.messages()[0].payload, json!({"to": "about-us"}));
//!
//! // The core refuses the next update
//! core.fail(reed_plugin::wire::codes::Command::SnippetUpdate, 409, "about has version 3");
//! assert_eq!(rename(&core.context(), &id, "Us").unwrap_err().status(), 409);
//!
//! // A whole plugin
//! let plugin = Plugin::builder("slugs", "1.0.0")
//!     .action("rename", 0x01, |ctx, input| {
//!         let title = input.json()?["title"].as_str().unwrap_or_default().to_owned();
//!         rename(ctx, "about", &title)
//!     })
//!     .build();
//! core.call(&plugin, "rename", &json!({"title": "Who we are"})).unwrap();
//! assert_eq!(core.get("about").unwrap().text("slug"), "who-we-are");
//! ```
//!
//! The core's filters, events and checks of types do not run; [`FakeCore::event`] and [`FakeCore::filter`] call a
//! plugin's handlers as the core does. `reed plugin test` runs the whole plugin on a real core.
//!
//! Misuse by the test, such as an action that the plugin does not have, is a panic.

#![allow(clippy::expect_used, clippy::panic)] // they fail a test

mod content;
mod plugin;
mod post;
mod server;

use std::cell::RefCell;
use std::fmt;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::connection::Connection;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Error;
use crate::log;
use crate::registration::PluginInfo;
use crate::shared::Shared;
use crate::snippet::Snippet;
use crate::strict_json;
use crate::sys::lock;
use crate::wire::codes::{Command, Signal};
use crate::wire::common::JsonResponse;
use crate::wire::snippets::{SnippetCreate, SnippetDelete, SnippetUpdate};
use post::FakePost;
use server::State;

const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// A write that the core carried out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Write {
    /// The command.
    pub command: Command,
    /// The snippet, or the bond; empty for a type.
    pub id: String,
    /// The fields of the request: `{"type", "name", "content"}`, `{"ref", "if_version", "patch"}`, …
    pub fields: Value,
}

/// A message to another plugin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SentMessage {
    /// The plugin that it was sent to.
    pub target: String,
    /// The type of the message.
    pub message_type: u8,
    /// Its JSON.
    pub payload: Value,
    /// Whether it was sent by [`Context::request`].
    pub is_request: bool,
}

/// A signal to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentSignal {
    /// The signal.
    pub signal: Signal,
    /// Its data.
    pub data: Vec<u8>,
}

/// A core in memory, for one plugin and one test. See the [module](self).
pub struct FakeCore {
    shared: Shared,
    connection: RefCell<Connection>,
    stream: UnixStream, // the plugin's end, to close it
    state: Arc<Mutex<State>>,
    post: Arc<FakePost>,
    server: Option<JoinHandle<()>>,
    last_event: RefCell<u64>,
}

impl FakeCore {
    /// An empty core for the plugin of that name, with all permissions and no settings. Lines that this thread logs
    /// are kept from now on ([`FakeCore::log`]) instead of written.
    pub fn new(plugin: &str) -> FakeCore {
        let (own, peer) = UnixStream::pair().expect("a pair of sockets");
        let state = Arc::new(Mutex::new(State::default()));
        let of_server = Arc::clone(&state);
        let server = std::thread::spawn(move || server::serve(peer, &of_server));
        let info = PluginInfo::for_tests(plugin);
        let folder = std::env::temp_dir();
        let mut shared = Shared::new(info, Environment::new(plugin, folder.join("core.sock"), folder))
            .expect("an eventfd");
        let post = Arc::new(FakePost::default());
        shared.substitute = Some(Arc::clone(&post) as _);
        log::capture();
        FakeCore {
            shared,
            connection: RefCell::new(Connection::new(own.try_clone().expect("a descriptor"))),
            stream: own,
            state,
            post,
            server: Some(server),
            last_event: RefCell::new(0),
        }
    }

    /// What handlers get.
    pub fn context(&self) -> Context<'_> {
        Context { shared: &self.shared, connection: &self.connection }
    }

    // What the core has

    /// The plugin's settings, as [`Context::settings`] returns them.
    pub fn set_settings(&self, settings: &Value) {
        self.register(&json!({"settings": settings, "permissions": &*self.context().permissions()}));
    }

    /// The permissions in the plugin's row; commands that need others are refused with 403.
    pub fn set_permissions(&self, permissions: &[&str]) {
        self.register(&json!({"settings": &*self.context().settings(), "permissions": permissions}));
        self.state().permissions = Some(permissions.iter().map(ToString::to_string).collect());
    }

    fn register(&self, answer: &Value) {
        let payload = JsonResponse { status: 200, json: strict_json::text(answer) }.pack();
        let applied = payload.and_then(|payload| self.shared.apply(&payload));
        applied.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Creates a snippet, which is no write of the plugin, and returns its id. Panics if the name is in use.
    pub fn add(&self, snippet_type: &str, name: &str, content: Value) -> String {
        let content = strict_json::text(&content);
        let (snippet_type, semantic_name) = (snippet_type.to_owned(), name.to_owned());
        self.write(Command::SnippetCreate, SnippetCreate { snippet_type, semantic_name, content }.pack())
    }

    /// Changes a snippet by a merge patch, as somebody else than the plugin would. Panics if there is none.
    pub fn update(&self, reference: &str, patch: &Value) {
        let (reference, patch) = (reference.to_owned(), strict_json::text(patch));
        self.write(Command::SnippetUpdate, SnippetUpdate { reference, if_version: 0, patch }.pack());
    }

    /// Deletes a snippet and its bonds, as somebody else than the plugin would. Panics if there is none.
    pub fn delete(&self, reference: &str) {
        let reference = reference.to_owned();
        self.write(Command::SnippetDelete, SnippetDelete { reference, cascade: true }.pack());
    }

    fn write(&self, command: Command, payload: Result<Vec<u8>, Error>) -> String {
        let outcome = payload.and_then(|payload| self.state().content.handle(command, &payload));
        let (_, write) = outcome.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        write.map(|write| write.id).unwrap_or_default()
    }

    /// The snippet of that id or name.
    pub fn get(&self, reference: &str) -> Option<Snippet> {
        let record = self.state().content.find(reference).cloned()?;
        Some(Snippet::from_record(record).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Lets the next command of this kind fail; several failures are used in order.
    pub fn fail(&self, command: Command, status: u16, message: &str) {
        let failure = Error::fail(status, message);
        self.state().failures.entry(command as u8).or_default().push_back(failure);
    }

    /// Sets the response to a command that the fake core does not know, such as `Command::PluginHealth`: its payload is
    /// a struct of [`wire`](crate::wire).
    pub fn respond(&self, command: Command, payload: Vec<u8>) {
        self.state().responses.insert(command as u8, payload);
    }

    /// As [`FakeCore::respond`], for a command whose response is JSON.
    pub fn respond_json(&self, command: Command, value: &Value) {
        let payload = JsonResponse { status: 200, json: strict_json::text(value) }.pack();
        self.respond(command, payload.unwrap_or_else(|error| panic!("{error}")));
    }

    // What other plugins answer

    /// What [`Context::request`] to that plugin returns for a type of messages; null stands for an ACK.
    pub fn answer(&self, target: &str, message_type: u8, value: Value) {
        self.post.answer(target, message_type, Ok(value));
    }

    /// Lets [`Context::request`] to that plugin fail for a type of messages.
    pub fn answer_error(&self, target: &str, message_type: u8, status: u16, message: &str) {
        self.post.answer(target, message_type, Err((status, message.to_owned())));
    }

    /// Lets [`Context::send_message`] and [`Context::request`] to that plugin fail, as if it had no row.
    pub fn without(&self, target: &str) {
        self.post.without(target);
    }

    // What the plugin sent

    /// The writes that succeeded, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    /// The messages to other plugins, in order.
    pub fn messages(&self) -> Vec<SentMessage> {
        self.post.messages()
    }

    /// The signals of [`Context::send_signal`], in order.
    pub fn signals(&self) -> Vec<SentSignal> {
        // They have no answer: one to a request says that they have arrived.
        let mut connection = self.connection.borrow_mut();
        let _ = connection.request(Command::PluginReload, &[], SYNC_TIMEOUT);
        drop(connection);
        self.state().signals.clone()
    }

    /// The lines that this thread has logged, such as `warn: no backup`.
    pub fn log(&self) -> Vec<String> {
        log::captured()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for FakeCore {
    fn drop(&mut self) {
        log::release();
        let _ = self.stream.shutdown(Shutdown::Both); // it may be closed already
        if let Some(server) = self.server.take() {
            let _ = server.join(); // its panic has been printed
        }
    }
}

impl fmt::Debug for FakeCore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FakeCore").field("plugin", &self.shared.info.name).finish_non_exhaustive()
    }
}
