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
    Context, Error, Input, Plugin, PluginBuilder, PluginMessage, Reply, Value, json, log, messages,
    strict_json,
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

fn plugin() -> PluginBuilder {
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
}

fn main() -> ExitCode {
    plugin().run()
}

#[cfg(test)]
mod tests {
    use super::plugin;
    use reed_plugin::testing::FakeCore;
    use reed_plugin::wire::codes::Command;
    use reed_plugin::{Answer, json, messages};

    #[test]
    fn statistics_are_answered_and_sent_to_the_backup() {
        let (core, plugin) = (FakeCore::new("analytics"), plugin().build());
        let input = json!({"content": {"body": "Two words."}, "snippet_id": "0190", "name": "about"});
        let answer = core.call(&plugin, "analyze", &input).unwrap().json().unwrap();
        assert_eq!((&answer["words"], &answer["sentences"]), (&json!(2), &json!(1)));
        let message = core.messages().remove(0);
        assert_eq!((message.target.as_str(), message.message_type), ("backup", messages::CONTENT_ANALYZED));
        assert_eq!((&message.payload["words"], &message.payload["name"]), (&json!(2), &json!("about")));
        assert_eq!(core.call(&plugin, "analyze", &json!({})).unwrap_err().status(), 422);
    }

    #[test]
    fn a_missing_backup_fails_no_call() {
        let (core, plugin) = (FakeCore::new("analytics"), plugin().build());
        core.without("backup");
        core.call(&plugin, "analyze", &json!({"content": {}, "snippet_id": "0190"})).unwrap();
        assert!(core.log()[0].starts_with("warn: MSG_CONTENT_ANALYZED of 0190: "), "{:?}", core.log());
        core.set_settings(&json!({"backup": ""}));
        core.call(&plugin, "analyze", &json!({"content": {}})).unwrap();
        assert_eq!(core.log().len(), 1);
    }

    #[test]
    fn keywords_of_ai_core_are_counted_and_reported() {
        let (core, plugin) = (FakeCore::new("analytics"), plugin().build());
        let keywords = json!({"keywords": ["page bundle"], "words": 300, "snippet_id": "0190"});
        let answer = core.message(&plugin, "ai-core", messages::KEYWORD_OPTIMIZED, &keywords).unwrap();
        assert_eq!(answer, Answer::Ack);
        core.respond_json(Command::PluginHealth, &json!([{"name": "ai-core", "state": "ready"}]));
        let report = core.call(&plugin, "report", &json!({})).unwrap().json().unwrap();
        let text = report["report"].as_str().unwrap();
        assert!(text.contains("page bundle") && text.contains("ready  ai-core"), "{text}");
    }
}
