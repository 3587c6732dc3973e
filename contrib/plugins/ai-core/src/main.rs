//! ai-core: keywords, a better title and a better description for content.
//!
//! ```text
//! snippet ── plain text ─┬─ keywords by YAKE, on this machine ── title, description ─┐
//!                        └─ a model on a server, if one is configured ───────────────┤
//!           written to the snippet, if requested ◀───────────────────────────────────┤
//!           MSG_KEYWORD_OPTIMIZED to analytics ◀─────────────────────────────────────┘
//! ```
//!
//! If the server fails, the answer is that of this machine, with the reason.

mod keywords;
mod plain;
mod server;
mod suggest;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keywords::{Keyword, LANGUAGES, Text, keywords};
use plain::{plain, sentences};
use reed_plugin::{Context, Error, Plugin, Snippet, Value, json, log, messages};
use server::{Models, Server};

const DEFAULT_COUNT: u64 = 8; // keywords

/// The setting `fields`: the names of a snippet's fields.
struct Fields {
    title: String,
    description: String,
    body: String,
    keywords: String,
}

impl Fields {
    fn from_settings(settings: &Value) -> Fields {
        let field = |key: &str| {
            let named = settings.get("fields").and_then(|fields| fields.get(key)).and_then(Value::as_str);
            named.unwrap_or(key).to_owned()
        };
        Fields {
            title: field("title"),
            description: field("description"),
            body: field("body"),
            keywords: field("keywords"),
        }
    }
}

/// Shared by all handlers.
#[derive(Default)]
struct AiCore {
    models: Models,
    optimized: AtomicU64,
    analyzed: AtomicU64,
    written: AtomicU64,
    fell_back: AtomicU64,
}

impl AiCore {
    /// Finds keywords, title and description; with `write`, writes the keywords to the snippet.
    fn optimize(&self, ctx: &Context<'_>, snippet: &Snippet, write: bool) -> Result<Value, Error> {
        let settings = ctx.settings();
        let fields = Fields::from_settings(&settings);
        let body = plain(snippet.text(&fields.body));
        let mut found = self.find(&settings, &fields, snippet, &body)?;
        if write {
            self.write(ctx, &fields, snippet, &found)?;
        }
        self.optimized.fetch_add(1, Ordering::Relaxed);
        self.notify_analytics(ctx, &settings, snippet, &found, &body);
        if let Some(found) = found.as_object_mut() {
            found.insert("id".to_owned(), json!(snippet.id));
            found.insert("written".to_owned(), json!(write));
        }
        Ok(found)
    }

    fn find(&self, settings: &Value, fields: &Fields, snippet: &Snippet, body: &str) -> Result<Value, Error> {
        let (title, description) = (snippet.text(&fields.title), snippet.text(&fields.description));
        let count = keyword_count(settings);
        let mut reason = None;
        if let Some(server) = Server::from_settings(settings)? {
            match self.models.request(&server, title, description, body, count) {
                Ok(answer) => {
                    let or = |new: String, old: &str| if new.is_empty() { old.to_owned() } else { new };
                    return Ok(json!({
                        "by": server.model,
                        "keywords": answer.keywords,
                        "title": or(answer.title, title),
                        "description": or(answer.description, description),
                    }));
                }
                Err(error) => {
                    self.fell_back.fetch_add(1, Ordering::Relaxed);
                    log::warn(&error);
                    reason = Some(error.to_string());
                }
            }
        }
        let found = keywords(Text { title, description, body }, language(settings), count);
        let sentences = sentences(body);
        let mut answer = json!({
            "by": "this machine",
            "title": suggest::title(title, &found),
            "description": suggest::description(description, &sentences),
            "keywords": found.into_iter().map(|keyword| keyword.text).collect::<Vec<_>>(),
        });
        if let (Some(reason), Some(fields)) = (reason, answer.as_object_mut()) {
            fields.insert("fell_back".to_owned(), json!(reason));
        }
        Ok(answer)
    }

    /// Writes only the keywords: a title and a description are suggestions for a person.
    fn write(
        &self,
        ctx: &Context<'_>,
        fields: &Fields,
        snippet: &Snippet,
        found: &Value,
    ) -> Result<(), Error> {
        let keywords = found.get("keywords").unwrap_or(&Value::Null);
        if snippet.content.get(&fields.keywords) == Some(keywords) {
            return Ok(());
        }
        let mut patch = json!({});
        if let Some(patch) = patch.as_object_mut() {
            patch.insert(fields.keywords.clone(), keywords.clone());
        }
        ctx.snippet().update(&snippet.id, &patch, snippet.version)?;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends MSG_KEYWORD_OPTIMIZED. Logs a failure: the call succeeds without analytics.
    fn notify_analytics(
        &self,
        ctx: &Context<'_>,
        settings: &Value,
        snippet: &Snippet,
        found: &Value,
        body: &str,
    ) {
        let analytics = settings.get("analytics").and_then(Value::as_str).unwrap_or("analytics");
        if analytics.is_empty() {
            return;
        }
        let message = json!({
            "snippet_id": snippet.id,
            "name": snippet.name,
            "keywords": found.get("keywords"),
            "words": words(body),
            "sentences": sentences(body).len(),
        });
        if let Err(error) = ctx.send_message(analytics, messages::KEYWORD_OPTIMIZED, &message) {
            log::warn(format_args!("MSG_KEYWORD_OPTIMIZED of {}: {error}", snippet.id));
        }
    }

    /// Ranks keywords and gives hints; writes and sends nothing.
    fn analyze(&self, ctx: &Context<'_>, snippet: &Snippet) -> Result<Value, Error> {
        let settings = ctx.settings();
        let fields = Fields::from_settings(&settings);
        let (title, description) = (snippet.text(&fields.title), snippet.text(&fields.description));
        let body = plain(snippet.text(&fields.body));
        let sentences = sentences(&body);
        let found =
            keywords(Text { title, description, body: &body }, language(&settings), keyword_count(&settings));
        let (better_title, better_description) =
            (suggest::title(title, &found), suggest::description(description, &sentences));
        let mut hints = Vec::new();
        if better_title != title {
            hints.push(format!("title: {} characters; better: {better_title}", title.chars().count()));
        }
        if better_description != description {
            let length = description.chars().count();
            hints.push(format!("description: {length} characters; better: {better_description}"));
        }
        if let Some(best) = missing_in_title(title, &found) {
            hints.push(format!("title: it does not contain {best:?}, the main topic of the text"));
        }
        self.analyzed.fetch_add(1, Ordering::Relaxed);
        let ranked: Vec<Value> =
            found.iter().map(|one| json!({"text": one.text, "score": one.score})).collect();
        Ok(json!({
            "id": snippet.id,
            "words": words(&body),
            "sentences": sentences.len(),
            "keywords": ranked,
            "hints": hints,
        }))
    }

    fn stats(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "optimized": count(&self.optimized),
            "analyzed": count(&self.analyzed),
            "written": count(&self.written),
            "fell_back": count(&self.fell_back),
            "server": self.models.json(),
        })
    }
}

fn keyword_count(settings: &Value) -> usize {
    let count = settings.get("count").and_then(Value::as_u64).unwrap_or(DEFAULT_COUNT);
    usize::try_from(count.clamp(1, 50)).unwrap_or(8)
}

fn language(settings: &Value) -> &str {
    let language = settings.get("language").and_then(Value::as_str).unwrap_or("en");
    if LANGUAGES.contains(&language) { language } else { "en" }
}

fn words(plain: &str) -> usize {
    plain.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}

fn missing_in_title<'a>(title: &str, found: &'a [Keyword]) -> Option<&'a str> {
    let title = title.to_lowercase();
    let best = found.first()?;
    let contained = best.text.split(' ').any(|word| title.contains(word));
    (!title.is_empty() && !contained).then_some(best.text.as_str())
}

fn main() -> ExitCode {
    let all = Arc::new(AiCore::default());
    let (optimize, apply, analyze, stats) = (all.clone(), all.clone(), all.clone(), all.clone());
    let (metrics, on_sleep) = (all.clone(), all);
    Plugin::builder("ai-core", "1.0.0")
        .action("optimize", 0x01, move |ctx, input| {
            let write = ctx.settings().get("write_back").and_then(Value::as_bool).unwrap_or(false);
            optimize.optimize(ctx, &input.snippet()?, write)
        })
        .action("apply", 0x04, move |ctx, input| apply.optimize(ctx, &input.snippet()?, true))
        .action("analyze", 0x02, move |ctx, input| analyze.analyze(ctx, &input.snippet()?))
        .action("stats", 0x03, move |_, _| Ok(stats.stats()))
        .metrics(move || metrics.stats())
        .on_sleep(move |_| {
            on_sleep.models.clear_cache();
            Ok(())
        })
        .run()
}

#[cfg(test)]
mod pages {
    //! Prints keywords of real pages: `REED_PAGES=pages.jsonl cargo test --release pages -- --nocapture`

    use crate::keywords::{Text, keywords};
    use crate::plain::{plain, sentences};
    use crate::suggest;
    use reed_plugin::{Value, strict_json};

    #[test]
    fn real_pages_have_keywords() {
        let Ok(path) = std::env::var("REED_PAGES") else {
            return eprintln!("skipped: REED_PAGES is not set");
        };
        let pages = std::fs::read_to_string(path).unwrap();
        let (mut pages_read, mut pages_with_keywords) = (0, 0);
        let started = std::time::Instant::now();
        for (number, line) in pages.lines().enumerate() {
            let page = strict_json::parse(line.as_bytes()).unwrap();
            let text = |key: &str| page.get(key).and_then(Value::as_str).unwrap_or_default();
            let body = plain(text("body"));
            let parts = Text { title: text("title"), description: text("description"), body: &body };
            let found = keywords(parts, "en", 8);
            pages_read += 1;
            pages_with_keywords += usize::from(found.len() >= 3);
            if number % 47 == 7 {
                let words: Vec<_> = found.iter().map(|one| one.text.as_str()).collect();
                println!("{} => {}", text("title"), words.join(", "));
                println!("    {}", suggest::title(text("title"), &found));
                println!("    {}", suggest::description(text("description"), &sentences(&body)));
            }
        }
        println!(
            "{pages_with_keywords} of {pages_read} pages have three keywords or more; {:?}",
            started.elapsed()
        );
        assert!(pages_with_keywords * 10 >= pages_read * 8);
    }
}
