//! Counters in bounded memory.

use std::collections::{BTreeMap, HashMap, VecDeque};

use reed_plugin::{Error, Value, json};

use crate::content::Content;
use crate::latency::Latency;

const MAX_EVENTS: usize = 1000;
const MAX_ENTRIES: usize = 10_000;
const MAX_NAME: usize = 64; // bytes

/// The events of one name.
#[derive(Default)]
struct Event {
    count: u64,
    latency: Option<Box<Latency>>,
}

/// All counters since the start of the process.
#[derive(Default)]
pub struct Metrics {
    events: BTreeMap<String, Event>,
    snippets: Counts,
    keywords: Counts,
    analyzed: Latest,
}

impl Metrics {
    /// Counts an event; returns its count.
    pub fn record(&mut self, input: &Value) -> Result<Value, Error> {
        let invalid = |why: String| Err(Error::fail(422, why));
        let Some(name) = input.get("event").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return invalid("expected {\"event\": NAME}".to_owned());
        };
        if name.len() > MAX_NAME {
            return invalid(format!(
                "the name of the event has {} bytes; the maximum is {MAX_NAME}",
                name.len()
            ));
        }
        let times = match input.get("count") {
            None => 1,
            Some(count) => match count.as_u64() {
                Some(count) => count,
                None => return invalid(format!("\"count\" is {count}; expected a whole number")),
            },
        };
        let took = match input.get("latency_ms") {
            None => None,
            Some(took) => match took.as_f64().filter(|took| *took >= 0.0) {
                Some(took) => Some(took),
                None => return invalid(format!("\"latency_ms\" is {took}; expected milliseconds")),
            },
        };
        if !self.events.contains_key(name) && self.events.len() >= MAX_EVENTS {
            return Err(Error::fail(429, format!("{MAX_EVENTS} names of events are in use, the maximum")));
        }
        let event = self.events.entry(name.to_owned()).or_default();
        event.count += times;
        if let Some(took) = took {
            event.latency.get_or_insert_default().add(took);
        }
        let count = event.count;
        if let Some(snippet) = input.get("snippet").and_then(Value::as_str) {
            self.snippets.add(snippet, times);
        }
        Ok(json!({"event": name, "count": count}))
    }

    /// Stores the statistics of a snippet.
    pub fn analyzed(&mut self, id: &str, content: Content) {
        self.analyzed.insert(id, content);
    }

    /// Counts the keywords of a snippet.
    pub fn keywords<'a>(&mut self, keywords: impl Iterator<Item = &'a str>) {
        for keyword in keywords {
            self.keywords.add(keyword, 1);
        }
    }

    /// All counters, with the `top` most frequent snippets and keywords.
    pub fn json(&self, top: usize) -> Value {
        let events: BTreeMap<String, Value> =
            self.events.iter().map(|(name, event)| (name.clone(), event_json(event))).collect();
        json!({
            "events": events,
            "snippets": self.snippets.top(top),
            "keywords": self.keywords.top(top),
            "content": self.analyzed.json(),
        })
    }

    /// The most frequent events: name, count.
    pub fn top_events(&self, top: usize) -> Vec<(&str, u64)> {
        let mut events: Vec<_> =
            self.events.iter().map(|(name, event)| (name.as_str(), event.count)).collect();
        events.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        events.truncate(top);
        events
    }
}

fn event_json(event: &Event) -> Value {
    let Some(latency) = &event.latency else { return json!({"count": event.count}) };
    let rounded = |milliseconds: f64| (milliseconds * 1000.0).round() / 1000.0;
    json!({
        "count": event.count,
        "latency_ms": {
            "count": latency.count(),
            "p50": rounded(latency.percentile(0.5)),
            "p90": rounded(latency.percentile(0.9)),
            "p99": rounded(latency.percentile(0.99)),
            "max": rounded(latency.max()),
        },
    })
}

/// How often each word occurred. When it is full, words that occurred once are dropped.
#[derive(Default)]
struct Counts(HashMap<String, u64>);

impl Counts {
    fn add(&mut self, word: &str, times: u64) {
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(word) {
            self.0.retain(|_, count| *count > 1);
            if self.0.len() >= MAX_ENTRIES {
                return;
            }
        }
        *self.0.entry(word.to_owned()).or_default() += times;
    }

    fn top(&self, top: usize) -> Vec<Value> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
        all.into_iter().take(top).map(|(word, count)| json!([word, count])).collect()
    }
}

/// The latest statistics of each snippet. When it is full, the oldest snippet is dropped.
#[derive(Default)]
struct Latest {
    by_id: HashMap<String, Content>,
    order: VecDeque<String>,
}

impl Latest {
    fn insert(&mut self, id: &str, content: Content) {
        if self.by_id.insert(id.to_owned(), content).is_none() {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > MAX_ENTRIES {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    fn json(&self) -> Value {
        let sum = |of: fn(&Content) -> u64| self.by_id.values().map(of).sum::<u64>();
        let words = sum(|content| content.words);
        json!({
            "snippets": self.by_id.len(),
            "words": words,
            "words_each": words.checked_div(self.by_id.len() as u64).unwrap_or_default(),
            "headings": sum(|content| content.headings),
            "links": sum(|content| content.links),
            "images": sum(|content| content.images),
            "code_blocks": sum(|content| content.code_blocks),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ENTRIES, MAX_EVENTS, Metrics};
    use crate::content::Content;
    use reed_plugin::json;

    #[test]
    fn events_and_latencies_are_recorded() {
        let mut metrics = Metrics::default();
        let view = json!({"event": "view", "snippet": "intro", "latency_ms": 4});
        assert_eq!(metrics.record(&view).unwrap()["count"], 1);
        assert_eq!(metrics.record(&json!({"event": "view", "count": 9})).unwrap()["count"], 10);
        let all = metrics.json(5);
        assert_eq!(all["events"]["view"]["latency_ms"]["p50"], 4.0);
        assert_eq!(all["snippets"], json!([["intro", 1]]));
        assert_eq!(metrics.top_events(5), [("view", 10)]);
    }

    #[test]
    fn invalid_events_are_rejected() {
        let mut metrics = Metrics::default();
        for bad in [
            json!(null),
            json!({"event": ""}),
            json!({"event": "x".repeat(65)}),
            json!({"event": "x", "count": -1}),
            json!({"event": "x", "latency_ms": "slow"}),
        ] {
            assert_eq!(metrics.record(&bad).unwrap_err().status(), 422, "{bad}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut metrics = Metrics::default();
        for number in 0..MAX_EVENTS {
            metrics.record(&json!({"event": format!("e{number}")})).unwrap();
        }
        assert_eq!(metrics.record(&json!({"event": "one more"})).unwrap_err().status(), 429);
        for number in 0..MAX_ENTRIES + 5 {
            metrics.analyzed(&number.to_string(), Content { words: 1, ..Content::default() });
            metrics.keywords([number.to_string().as_str(), "often"].into_iter());
        }
        let all = metrics.json(1);
        assert_eq!(all["content"]["snippets"], MAX_ENTRIES);
        assert_eq!(all["keywords"], json!([["often", MAX_ENTRIES + 5]]));
    }
}
