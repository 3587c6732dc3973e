//! What the core and other plugins send to a plugin: each method runs one handler.

use serde_json::{Value, json};

use crate::call::{Input, Reply};
use crate::error::Error;
use crate::message::Answer;
use crate::plugin::ReedPlugin;
use crate::snippet::Snippet;
use crate::strict_json;
use crate::sys::now_micros;
use crate::testing::FakeCore;
use crate::wire::codes::Signal;
use crate::wire::message::PluginMessage;

impl FakeCore {
    /// Calls an action with JSON. Panics if the plugin does not have it.
    pub fn call(&self, plugin: &dyn ReedPlugin, action: &str, input: &Value) -> Result<Reply, Error> {
        self.call_bytes(plugin, action, &strict_json::text(input))
    }

    /// Calls an action with bytes (`input: bytes`). Panics if the plugin does not have it.
    pub fn call_bytes(&self, plugin: &dyn ReedPlugin, action: &str, input: &[u8]) -> Result<Reply, Error> {
        let actions = plugin.actions();
        let Some(found) = actions.iter().find(|each| each.name == action) else {
            let names: Vec<&str> = actions.iter().map(|each| each.name.as_str()).collect();
            panic!("{} has no action {action:?}; it has: {}", plugin.name(), names.join(", "));
        };
        plugin.handle_command(&self.context(), found.command_id, &Input::new(input))
    }

    /// Calls an action with a snippet of this core (`input: snippet`). Panics if there is none.
    pub fn call_snippet(
        &self,
        plugin: &dyn ReedPlugin,
        action: &str,
        reference: &str,
    ) -> Result<Reply, Error> {
        let Some(snippet) = self.get(reference) else { panic!("the fake core has no snippet {reference:?}") };
        self.call(plugin, action, &as_input(&snippet))
    }

    /// Sends a message of another plugin; the answer is what the handler returns.
    pub fn message(
        &self,
        plugin: &dyn ReedPlugin,
        source: &str,
        message_type: u8,
        payload: &Value,
    ) -> Result<Answer, Error> {
        let message = PluginMessage {
            message_type,
            source: source.to_owned(),
            target: plugin.name().to_owned(),
            timestamp: now_micros(),
            payload: strict_json::text(payload),
        };
        plugin.handle_plugin_message(&self.context(), &message)
    }

    /// Sends a signal of the core. For RELOAD_CONFIG, set the new settings before: [`FakeCore::set_settings`].
    pub fn signal(&self, plugin: &dyn ReedPlugin, signal: Signal, data: &[u8]) -> Result<(), Error> {
        plugin.handle_signal(&self.context(), signal, data)
    }

    /// Runs [`PluginBuilder::on_start`](crate::PluginBuilder::on_start), as the core does after READY.
    pub fn start(&self, plugin: &dyn ReedPlugin) -> Result<(), Error> {
        plugin.on_start(&self.context())
    }

    /// Sends the plugin to sleep.
    pub fn sleep(&self, plugin: &dyn ReedPlugin) -> Result<(), Error> {
        plugin.on_sleep(&self.context())
    }

    /// Calls the action that plugin.yaml names for an event, such as `snippet.updated`, with the event of a snippet of
    /// this core. The event of a deleted snippet has its last content.
    pub fn event(
        &self,
        plugin: &dyn ReedPlugin,
        action: &str,
        event: &str,
        reference: &str,
    ) -> Result<Reply, Error> {
        let mut id = self.last_event.borrow_mut();
        *id += 1;
        let mut fields = json!({"id": *id, "event": event, "time": now_micros()});
        drop(id);
        let deleted = self.deleted(reference);
        let Some(snippet) = self.get(reference).or_else(|| deleted.clone()) else {
            panic!("the fake core has no snippet {reference:?}")
        };
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("type".to_owned(), json!(snippet.snippet_type));
            fields.insert("name".to_owned(), json!(snippet.name));
            fields.insert("snippet_id".to_owned(), json!(snippet.id));
            fields.insert("version".to_owned(), json!(snippet.version));
            if event == "snippet.deleted" {
                fields.insert("content".to_owned(), snippet.content);
                fields.insert("bonds".to_owned(), json!([]));
            }
        }
        self.call(plugin, action, &fields)
    }

    fn deleted(&self, reference: &str) -> Option<Snippet> {
        let state = self.state();
        let is_it = |record: &&crate::wire::snippets::Record| {
            record.id == reference || record.semantic_name == reference && !reference.is_empty()
        };
        Snippet::from_record(state.content.deleted.iter().rev().find(is_it)?.clone()).ok()
    }

    /// Calls the action that plugin.yaml names for a filter, such as `snippet.create`: the content that would be written,
    /// or the reasons of a refusal. An answer that the core would not accept is an error.
    pub fn filter(
        &self,
        plugin: &dyn ReedPlugin,
        action: &str,
        event: &str,
        write: &Snippet,
    ) -> Result<Result<Value, Vec<String>>, Error> {
        let id = if write.id.is_empty() { Value::Null } else { json!(write.id) };
        let mut asked = json!({
            "event": event, "type": write.snippet_type, "name": write.name, "id": id, "content": write.content,
        });
        if let Some(asked) = asked.as_object_mut().filter(|_| !write.id.is_empty()) {
            asked.insert("version".to_owned(), json!(write.version));
        }
        let reply = self.call(plugin, action, &asked)?;
        if reply.status != 200 {
            return Err(Error::fail(
                500,
                format!("the filter answered {}; a filter answers 200", reply.status),
            ));
        }
        let answer = reply.json()?;
        if answer.is_null() {
            return Ok(Ok(write.content.clone()));
        }
        let Some(fields) = answer.as_object() else {
            return Err(Error::fail(
                500,
                format!("the filter answered {answer}; a filter answers an object"),
            ));
        };
        if let Some(key) = fields.keys().find(|key| !["content", "refuse"].contains(&key.as_str())) {
            return Err(Error::fail(500, format!("the filter answered with an unknown key {key:?}")));
        }
        let reasons = fields.get("refuse").and_then(Value::as_array).cloned().unwrap_or_default();
        if !reasons.is_empty() {
            return Ok(Err(reasons
                .iter()
                .map(|each| each.as_str().unwrap_or_default().to_owned())
                .collect()));
        }
        Ok(Ok(fields.get("content").unwrap_or(&write.content).clone()))
    }

    /// Calls the action of a schedule. `due` is a time with offset, such as `2026-03-29T03:00:00+02:00`.
    pub fn schedule(
        &self,
        plugin: &dyn ReedPlugin,
        action: &str,
        schedule: &str,
        due: &str,
    ) -> Result<Reply, Error> {
        self.call(plugin, action, &json!({"schedule": schedule, "due": due}))
    }
}

/// The input of an action with `input: snippet`, as the core sends it.
fn as_input(snippet: &Snippet) -> Value {
    json!({
        "id": snippet.id, "type": snippet.snippet_type, "name": snippet.name, "version": snippet.version,
        "content": snippet.content,
    })
}
