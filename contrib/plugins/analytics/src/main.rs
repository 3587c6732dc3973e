//! analytics: counts events, and measures latencies and content.
//!
//! ```text
//! ai-core ── MSG_KEYWORD_OPTIMIZED ──▶ analytics ── MSG_CONTENT_ANALYZED ──▶ backup
//! callers ── record, analyze, stats, report ──▶ analytics
//! ```

mod content;
mod latency;
mod metrics;
mod report;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Content;
use metrics::Metrics;
use reed_plugin::{
    Context, Error, Input, Plugin, PluginMessage, Reply, Value, json, log, messages, strict_json,
};

const DEFAULT_TOP: usize = 10;

/// Shared by all handlers.
#[derive(Clone, Default)]
struct Analytics(Arc<Mutex<Metrics>>);

impl Analytics {
    fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn analyze(&self, ctx: &Context<'_>, input: &Input<'_>) -> Result<Value, Error> {
        let input = input.json()?;
        let Some(given) = input.get("content") else {
            return Err(Error::fail(422, "expected {\"content\": …}"));
        };
        let text = |key: &str| input.get(key).and_then(Value::as_str).unwrap_or_default();
        let (id, name) = (text("snippet_id"), text("name"));
        let content = Content::of(given);
        self.metrics().analyzed(if id.is_empty() { name } else { id }, content);
        let statistics = content.json();
        send_to_backup(ctx, &statistics, id, name);
        Ok(statistics)
    }

    fn keywords(&self, ctx: &Context<'_>, message: &PluginMessage) -> Result<(), Error> {
        let payload = strict_json::parse(&message.payload)?;
        let text = |key: &str| payload.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(keywords) = payload.get("keywords").and_then(Value::as_array) else {
            return Err(Error::fail(422, "expected {\"keywords\": […]}"));
        };
        let count = |key: &str| payload.get(key).and_then(Value::as_u64).unwrap_or_default();
        let content = Content { words: count("words"), sentences: count("sentences"), ..Content::default() };
        let mut metrics = self.metrics();
        metrics.keywords(keywords.iter().filter_map(Value::as_str));
        metrics.analyzed(text("snippet_id"), content);
        drop(metrics);
        let statistics =
            json!({"words": content.words, "sentences": content.sentences, "keywords": keywords});
        send_to_backup(ctx, &statistics, text("snippet_id"), text("name"));
        Ok(())
    }
}

/// Sends MSG_CONTENT_ANALYZED. Logs a failure: the call or message succeeds without a backup.
fn send_to_backup(ctx: &Context<'_>, statistics: &Value, id: &str, name: &str) {
    let settings = ctx.settings();
    let backup = settings.get("backup").and_then(Value::as_str).unwrap_or("backup");
    if backup.is_empty() {
        return;
    }
    let mut message = statistics.clone();
    if let Some(fields) = message.as_object_mut() {
        fields.insert("snippet_id".to_owned(), json!(id));
        fields.insert("name".to_owned(), json!(name));
    }
    if let Err(error) = ctx.send_message(backup, messages::CONTENT_ANALYZED, &message) {
        log::warn(format_args!("MSG_CONTENT_ANALYZED of {id}: {error}"));
    }
}

/// How many events, snippets and keywords to return: the call's `top`, or the settings'.
fn top(ctx: &Context<'_>, input: &Value) -> usize {
    let settings = ctx.settings();
    let top = input.get("top").or_else(|| settings.get("top")).and_then(Value::as_u64);
    top.and_then(|top| usize::try_from(top).ok()).unwrap_or(DEFAULT_TOP).min(1000)
}

fn main() -> ExitCode {
    let all = Analytics::default();
    let (record, analyze, stats, report, keywords) =
        (all.clone(), all.clone(), all.clone(), all.clone(), all.clone());
    Plugin::builder("analytics", "1.0.0")
        .action("record", 0x01, move |_, input| record.metrics().record(&input.json()?))
        .action("analyze", 0x02, move |ctx, input| analyze.analyze(ctx, input))
        .action("stats", 0x03, move |ctx, input| Ok(stats.metrics().json(top(ctx, &input.json()?))))
        .action("report", 0x04, move |ctx, input| {
            let top = top(ctx, &input.json()?);
            let health = report::health(ctx);
            Ok(Reply::from(json!({"report": report::text(&report.metrics(), &health, top)})))
        })
        .on_message(messages::KEYWORD_OPTIMIZED, move |ctx, message| keywords.keywords(ctx, message))
        .metrics(move || json!({"events": all.metrics().top_events(3)}))
        .run()
}
