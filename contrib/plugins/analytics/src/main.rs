//! analytics: counts events, measures latencies and content.
//!
//! ```text
//! ai-core ── MSG_KEYWORD_OPTIMIZED ──▶ analytics ── MSG_CONTENT_ANALYZED ──▶ backup
//! people  ── record, analyze, stats, report ──▶ analytics
//! ```

mod content;
mod figures;
mod latency;
mod report;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Content;
use figures::Figures;
use reed_plugin::{Context, Error, Plugin, PluginMessage, Reply, Value, json, messages, strict_json};

const TOP: usize = 10;

/// Shared by all handlers.
#[derive(Clone, Default)]
struct Analytics(Arc<Mutex<Figures>>);

impl Analytics {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn analyze(&self, ctx: &Context<'_>, input: &reed_plugin::Input<'_>) -> Result<Value, Error> {
        let input = input.json()?;
        let Some(given) = input.get("content") else {
            return Err(Error::fail(422, "\"content\" is missing: the texts to count"));
        };
        let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
        let (id, name) = (text("snippet_id"), text("name"));
        let content = Content::of(given);
        self.figures().analyzed(if id.is_empty() { name } else { id }, content);
        let mut told = content.json();
        tell_backup(ctx, &mut told, id, name);
        Ok(told)
    }

    fn keywords(&self, ctx: &Context<'_>, message: &PluginMessage) -> Result<(), Error> {
        let payload = strict_json::parse(&message.payload)?;
        let text = |key: &str| payload.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(keywords) = payload.get("keywords").and_then(Value::as_array) else {
            return Err(Error::fail(422, "\"keywords\" is missing"));
        };
        let count = |key: &str| payload.get(key).and_then(Value::as_u64).unwrap_or_default();
        let content = Content { words: count("words"), sentences: count("sentences"), ..Content::default() };
        let mut figures = self.figures();
        figures.keywords(keywords.iter().filter_map(Value::as_str));
        figures.analyzed(text("snippet_id"), content);
        drop(figures);
        let mut told = json!({"words": content.words, "sentences": content.sentences, "keywords": keywords});
        tell_backup(ctx, &mut told, text("snippet_id"), text("name"));
        Ok(())
    }
}

/// MSG_CONTENT_ANALYZED. A backup that is not there is a line in the log: what was asked for is done all the same.
fn tell_backup(ctx: &Context<'_>, told: &mut Value, id: &str, name: &str) {
    let settings = ctx.settings();
    let backup = settings.get("backup").and_then(Value::as_str).unwrap_or("backup");
    if backup.is_empty() {
        return;
    }
    let mut message = told.clone();
    if let Some(fields) = message.as_object_mut() {
        fields.insert("snippet_id".to_owned(), json!(id));
        fields.insert("name".to_owned(), json!(name));
    }
    if let Err(error) = ctx.send_message(backup, messages::CONTENT_ANALYZED, &message) {
        ctx.log(&format!("MSG_CONTENT_ANALYZED of {id}: {error}"));
    }
}

/// How many of each to show: the call's, or the settings'.
fn top(ctx: &Context<'_>, input: &Value) -> usize {
    let settings = ctx.settings();
    let asked = input.get("top").or_else(|| settings.get("top")).and_then(Value::as_u64);
    asked.and_then(|top| usize::try_from(top).ok()).unwrap_or(TOP).min(1000)
}

fn plugin() -> Plugin {
    let all = Analytics::default();
    let (record, analyze, stats, report, keywords) =
        (all.clone(), all.clone(), all.clone(), all.clone(), all.clone());
    Plugin::new("analytics", "1.0.0")
        .action("record", 0x01, move |_, input| record.figures().record(&input.json()?))
        .action("analyze", 0x02, move |ctx, input| analyze.analyze(ctx, input))
        .action("stats", 0x03, move |ctx, input| Ok(stats.figures().json(top(ctx, &input.json()?))))
        .action("report", 0x04, move |ctx, input| {
            let top = top(ctx, &input.json()?);
            let health = report::health(ctx);
            Ok(Reply::from(json!({"report": report::text(&report.figures(), &health, top)})))
        })
        .on_message(messages::KEYWORD_OPTIMIZED, move |ctx, message| keywords.keywords(ctx, message))
        .figures(move || json!({"events": all.figures().top_events(3)}))
}

fn main() -> ExitCode {
    plugin().run()
}
