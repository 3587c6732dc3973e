//! The metrics as lines of text.

use std::fmt::Write;

use reed_plugin::wire::codes::Command;
use reed_plugin::wire::common::{JsonResponse, pack_name};
use reed_plugin::{Context, Error, Value, log, strict_json};

use crate::metrics::Metrics;

/// The answer to PLUGIN_HEALTH for all plugins; null after a failure.
pub fn health(ctx: &Context<'_>) -> Value {
    let health: Result<Value, Error> = pack_name("")
        .and_then(|all_plugins| ctx.command(Command::PluginHealth, &all_plugins))
        .and_then(|payload| strict_json::parse(&JsonResponse::unpack(&payload)?.json));
    health.unwrap_or_else(|error| {
        log::warn(format_args!("health of the plugins: {error}"));
        Value::Null
    })
}

/// The report, with the `top` most frequent events, snippets and keywords.
pub fn text(metrics: &Metrics, health: &Value, top: usize) -> String {
    let all = metrics.json(top);
    let mut out = String::new();
    section(
        &mut out,
        "events",
        metrics.top_events(top).into_iter().map(|(name, count)| {
            let latency =
                all.get("events").and_then(|events| events.get(name)).and_then(|one| one.get("latency_ms"));
            let latency_of =
                |part: &str| latency.and_then(|latency| latency.get(part)).and_then(Value::as_f64);
            match (latency_of("p50"), latency_of("p99")) {
                (Some(p50), Some(p99)) => format!("{count:>8}  {name}  (p50 {p50} ms, p99 {p99} ms)"),
                _ => format!("{count:>8}  {name}"),
            }
        }),
    );
    for (title, key) in [("snippets", "snippets"), ("keywords", "keywords")] {
        let pairs = all.get(key).and_then(Value::as_array).into_iter().flatten();
        section(
            &mut out,
            title,
            pairs.map(|pair| {
                let count = pair.get(1).and_then(Value::as_u64).unwrap_or_default();
                format!("{count:>8}  {}", pair.get(0).and_then(Value::as_str).unwrap_or_default())
            }),
        );
    }
    let content = all.get("content").and_then(Value::as_object);
    section(
        &mut out,
        "content",
        content
            .into_iter()
            .flatten()
            .map(|(what, count)| format!("{:>8}  {what}", count.as_u64().unwrap_or_default())),
    );
    section(
        &mut out,
        "plugins",
        health.as_array().into_iter().flatten().map(|plugin| {
            let text = |key: &str| plugin.get(key).and_then(Value::as_str).unwrap_or("?");
            let number = |key: &str| plugin.get(key).and_then(Value::as_u64).unwrap_or_default();
            let (calls, errors) = (number("calls"), number("errors"));
            format!("{:>8}  {}, {calls} calls, {errors} errors", text("state"), text("name"))
        }),
    );
    out
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    // Writes to a String do not fail.
    let _ = writeln!(out, "{title}");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::metrics::Metrics;
    use reed_plugin::json;

    #[test]
    fn a_report_has_a_section_for_each_kind() {
        let mut metrics = Metrics::default();
        metrics.record(&json!({"event": "view", "count": 12, "latency_ms": 3})).unwrap();
        metrics.keywords(["page bundle"].into_iter());
        let health = json!([{"name": "ai-core", "state": "ready", "calls": 4, "errors": 0}]);
        let report = text(&metrics, &health, 5);
        assert!(report.starts_with("events\n        12  view  (p50 3 ms, p99 3 ms)\n"), "{report}");
        assert!(report.contains("page bundle"), "{report}");
        assert!(report.contains("ready  ai-core, 4 calls, 0 errors"), "{report}");
        assert_eq!(text(&Metrics::default(), &json!(null), 5).lines().next(), Some("content"));
    }
}
