//! What is counted, in bounded memory.

use std::collections::{BTreeMap, HashMap, VecDeque};

use reed_plugin::{Error, Value, json};

use crate::content::Content;
use crate::latency::Latency;

const MOST_EVENTS: usize = 1000;
const MOST_KEPT: usize = 10_000;
const LONGEST_NAME: usize = 64;

/// One kind of event.
#[derive(Default)]
struct Event {
    count: u64,
    latency: Option<Box<Latency>>,
}

/// Everything since the start.
#[derive(Default)]
pub struct Figures {
    events: BTreeMap<String, Event>,
    about: Counts,
    keywords: Counts,
    analyzed: Latest,
}

impl Figures {
    /// Counts an event; gives how often it happened.
    pub fn record(&mut self, input: &Value) -> Result<Value, Error> {
        let wrong = |why: String| Err(Error::fail(422, why));
        let Some(name) = input.get("event").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return wrong("\"event\" is missing: the name of what happened".to_owned());
        };
        if name.len() > LONGEST_NAME {
            return wrong(format!("the event's name has {} bytes; at most {LONGEST_NAME}", name.len()));
        }
        let times = match input.get("count") {
            None => 1,
            Some(count) => match count.as_u64() {
                Some(count) => count,
                None => return wrong(format!("\"count\" is {count}; expected a whole number")),
            },
        };
        let took = match input.get("latency_ms") {
            None => None,
            Some(took) => match took.as_f64().filter(|took| *took >= 0.0) {
                Some(took) => Some(took),
                None => return wrong(format!("\"latency_ms\" is {took}; expected milliseconds")),
            },
        };
        if !self.events.contains_key(name) && self.events.len() >= MOST_EVENTS {
            return Err(Error::fail(
                429,
                format!("{MOST_EVENTS} kinds of events are counted; that is the most"),
            ));
        }
        let event = self.events.entry(name.to_owned()).or_default();
        event.count += times;
        if let Some(took) = took {
            event.latency.get_or_insert_default().add(took);
        }
        let count = event.count;
        if let Some(snippet) = input.get("snippet").and_then(Value::as_str) {
            self.about.add(snippet, times);
        }
        Ok(json!({"event": name, "count": count}))
    }

    /// Keeps the statistics of a snippet.
    pub fn analyzed(&mut self, id: &str, content: Content) {
        self.analyzed.keep(id, content);
    }

    /// Counts the keywords that were found for a snippet.
    pub fn keywords<'a>(&mut self, keywords: impl Iterator<Item = &'a str>) {
        for keyword in keywords {
            self.keywords.add(keyword, 1);
        }
    }

    /// All of it, with so many of the most frequent snippets and keywords.
    pub fn json(&self, top: usize) -> Value {
        let events: BTreeMap<String, Value> =
            self.events.iter().map(|(name, event)| (name.clone(), event_json(event))).collect();
        json!({
            "events": events,
            "snippets": self.about.top(top),
            "keywords": self.keywords.top(top),
            "content": self.analyzed.json(),
        })
    }

    /// Events by how often they happened: name, count.
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
            "max": rounded(latency.longest()),
        },
    })
}

/// How often each of many words came up. When there are too many, those that came up once make room.
#[derive(Default)]
struct Counts(HashMap<String, u64>);

impl Counts {
    fn add(&mut self, word: &str, times: u64) {
        if self.0.len() >= MOST_KEPT && !self.0.contains_key(word) {
            self.0.retain(|_, count| *count > 1);
            if self.0.len() >= MOST_KEPT {
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

/// The newest statistics of each snippet; the oldest make room.
#[derive(Default)]
struct Latest {
    by_id: HashMap<String, Content>,
    order: VecDeque<String>,
}

impl Latest {
    fn keep(&mut self, id: &str, content: Content) {
        if self.by_id.insert(id.to_owned(), content).is_none() {
            self.order.push_back(id.to_owned());
        }
        if self.order.len() > MOST_KEPT {
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
    use super::{Figures, MOST_EVENTS, MOST_KEPT};
    use crate::content::Content;
    use reed_plugin::json;

    #[test]
    fn events_are_counted_and_measured() {
        let mut figures = Figures::default();
        let view = json!({"event": "view", "snippet": "intro", "latency_ms": 4});
        assert_eq!(figures.record(&view).unwrap()["count"], 1);
        assert_eq!(figures.record(&json!({"event": "view", "count": 9})).unwrap()["count"], 10);
        let all = figures.json(5);
        assert_eq!(all["events"]["view"]["latency_ms"]["p50"], 4.0);
        assert_eq!(all["snippets"], json!([["intro", 1]]));
        assert_eq!(figures.top_events(5), [("view", 10)]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let mut figures = Figures::default();
        for bad in [
            json!(null),
            json!({"event": ""}),
            json!({"event": "x".repeat(65)}),
            json!({"event": "x", "count": -1}),
            json!({"event": "x", "latency_ms": "slow"}),
        ] {
            assert_eq!(figures.record(&bad).unwrap_err().status(), 422, "{bad}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut figures = Figures::default();
        for number in 0..MOST_EVENTS {
            figures.record(&json!({"event": format!("e{number}")})).unwrap();
        }
        assert_eq!(figures.record(&json!({"event": "one more"})).unwrap_err().status(), 429);
        for number in 0..MOST_KEPT + 5 {
            figures.analyzed(&number.to_string(), Content { words: 1, ..Content::default() });
            figures.keywords([number.to_string().as_str(), "often"].into_iter());
        }
        let all = figures.json(1);
        assert_eq!(all["content"]["snippets"], MOST_KEPT);
        assert_eq!(all["keywords"], json!([["often", MOST_KEPT + 5]]));
    }
}
