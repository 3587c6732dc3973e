//! The figures as lines of text for people.

use std::fmt::Write;

use reed_plugin::wire::codes::Command;
use reed_plugin::wire::common::{JsonResponse, pack_name};
use reed_plugin::{Context, Error, Value, strict_json};

use crate::figures::Figures;

/// The health of all plugins as the core tells it; null when it does not.
pub fn health(ctx: &Context<'_>) -> Value {
    let asked: Result<Value, Error> = pack_name("")
        .and_then(|every_plugin| ctx.ask(Command::PluginHealth, &every_plugin))
        .and_then(|payload| strict_json::parse(&JsonResponse::unpack(&payload)?.json));
    asked.unwrap_or_else(|error| {
        ctx.log(&format!("the health of the plugins: {error}"));
        Value::Null
    })
}

/// The report.
pub fn text(figures: &Figures, health: &Value, top: usize) -> String {
    let all = figures.json(top);
    let mut out = String::new();
    section(
        &mut out,
        "events",
        figures.top_events(top).into_iter().map(|(name, count)| {
            let latency =
                all.get("events").and_then(|events| events.get(name)).and_then(|one| one.get("latency_ms"));
            let took = |part: &str| latency.and_then(|took| took.get(part)).and_then(Value::as_f64);
            match (took("p50"), took("p99")) {
                (Some(half), Some(most)) => format!("{count:>8}  {name}  (p50 {half} ms, p99 {most} ms)"),
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
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{title}");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::figures::Figures;
    use reed_plugin::json;

    #[test]
    fn a_report_reads_well() {
        let mut figures = Figures::default();
        figures.record(&json!({"event": "view", "count": 12, "latency_ms": 3})).unwrap();
        figures.keywords(["page bundle"].into_iter());
        let health = json!([{"name": "ai-core", "state": "ready", "calls": 4, "errors": 0}]);
        let report = text(&figures, &health, 5);
        assert!(report.starts_with("events\n        12  view  (p50 3 ms, p99 3 ms)\n"), "{report}");
        assert!(report.contains("page bundle"), "{report}");
        assert!(report.contains("ready  ai-core, 4 calls, 0 errors"), "{report}");
        assert_eq!(text(&Figures::default(), &json!(null), 5).lines().next(), Some("content"));
    }
}
