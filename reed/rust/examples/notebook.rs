//! A plugin that implements [`ReedPlugin`]: it stores notes that other plugins send, and returns them.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reed_plugin::{
    Action, Answer, Context, Error, Input, PluginMessage, ReedPlugin, Reply, Sleep, Value, json, strict_json,
};

const NOTES: u8 = 0x01;
const TELL: u8 = 0x02;
const MSG_NOTE: u8 = 0x20;

#[derive(Default)]
struct Notebook {
    notes: Mutex<Vec<Value>>,
}

impl Notebook {
    fn with_notes<T>(&self, work: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        work(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ReedPlugin for Notebook {
    fn name(&self) -> &str {
        "notebook"
    }

    fn version(&self) -> &str {
        "1.0.0"
    }

    fn actions(&self) -> Vec<Action> {
        vec![Action::new("notes", NOTES), Action::new("tell", TELL)]
    }

    fn handle_command(&self, ctx: &Context<'_>, command_id: u8, input: &Input<'_>) -> Result<Reply, Error> {
        match command_id {
            NOTES => Ok(self.with_notes(|notes| json!(notes)).into()),
            TELL => {
                let input = input.json()?;
                let plugin = input.get("plugin").and_then(Value::as_str);
                let plugin =
                    plugin.ok_or_else(|| Error::fail(422, "expected {\"plugin\": NAME, \"note\": …}"))?;
                let note = input.get("note").unwrap_or(&Value::Null);
                Ok(ctx.request(plugin, MSG_NOTE, note, Duration::from_secs(5))?.into())
            }
            _ => Err(Error::fail(404, "no such action")),
        }
    }

    fn handle_plugin_message(&self, _ctx: &Context<'_>, message: &PluginMessage) -> Result<Answer, Error> {
        if message.message_type != MSG_NOTE {
            return Err(Error::fail(404, "only notes are stored here"));
        }
        let note = strict_json::parse(&message.payload)?;
        let count = self.with_notes(|notes| {
            notes.push(json!({"from": message.source, "note": note}));
            notes.len()
        });
        Ok(Answer::Data(json!({"notes": count})))
    }

    fn message_types(&self) -> Vec<u8> {
        vec![MSG_NOTE]
    }

    fn sleep(&self) -> Option<Sleep> {
        Some(Sleep::Light(Duration::from_secs(180)))
    }
}

fn main() -> ExitCode {
    reed_plugin::run(&Notebook::default())
}
