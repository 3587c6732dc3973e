//! Keywords, title and description of a text by a model on an OpenAI-compatible server.
//!
//! ```text
//! request ── cache ─┬─ hit               the cached answer
//!                   └─ POST /chat/completions ─┬─ 200 with JSON in its message   cached
//!                                              ├─ 429, 5xx, timeout              retried with exponential backoff
//!                                              └─ anything else                  an error
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use reed_plugin::{Error, Value, json, strict_json};

const MAX_CACHED: usize = 256;
const MAX_TEXT: usize = 12_000; // characters
const MAX_ANSWER: u64 = 256 * 1024; // bytes

const TASK: &str = "You write metadata for web content. Answer with one JSON object and nothing else: \
    {\"keywords\": [most important first, lower case], \"title\": at most 60 characters, \
    \"description\": 50 to 160 characters}. Use the language of the content.";

/// The setting `server`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Such as `http://127.0.0.1:11434/v1`.
    pub url: String,
    /// The model's name.
    pub model: String,
    /// The bearer token; empty for none.
    pub key: String,
    /// Of each attempt.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// The delay before the first retry; it doubles with each retry.
    pub retry_delay: Duration,
}

impl Server {
    /// None if no server is configured.
    pub fn from_settings(settings: &Value) -> Result<Option<Server>, Error> {
        let Some(server) = settings.get("server").filter(|server| !server.is_null()) else { return Ok(None) };
        let text = |key: &str| server.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let url = text("url");
        if url.is_empty() {
            return Ok(None);
        }
        let known = if cfg!(feature = "tls") { &["http://", "https://"][..] } else { &["http://"][..] };
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            let hint = "https needs `cargo build --release --features tls`";
            return Err(Error::fail(
                500,
                format!("setting server.url: expected {}…, found {url:?}; {hint}", known.join("… or ")),
            ));
        }
        let seconds = |key: &str, default: f64| {
            let seconds = server.get(key).and_then(Value::as_f64).unwrap_or(default);
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(10))
        };
        let retries = server.get("retries").and_then(Value::as_u64).unwrap_or(2).min(10);
        Ok(Some(Server {
            url: url.trim_end_matches('/').to_owned(),
            model: text("model"),
            key: text("key"),
            timeout: seconds("timeout", 10.0),
            retries: u32::try_from(retries).unwrap_or(2),
            retry_delay: seconds("pause", 0.2),
        }))
    }

    fn prompt(&self, title: &str, description: &str, body: &str, count: usize) -> Value {
        let body: String = body.chars().take(MAX_TEXT).collect();
        let content =
            format!("At most {count} keywords.\n\nTitle: {title}\nDescription: {description}\n\n{body}");
        json!({
            "model": self.model,
            "temperature": 0,
            "messages": [{"role": "system", "content": TASK}, {"role": "user", "content": content}],
        })
    }
}

/// The answer of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// The most important first.
    pub keywords: Vec<String>,
    /// May be empty.
    pub title: String,
    /// May be empty.
    pub description: String,
}

/// Requests to servers, with a cache of their answers.
#[derive(Default)]
pub struct Models {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    answers: HashMap<u64, Suggestion>,
    order: VecDeque<u64>,
    misses: u64,
    hits: u64,
    retries: u64,
    failures: u64,
}

enum Outcome {
    Done(Suggestion),
    Retry(String),
    Failed(String),
}

impl Models {
    /// Returns at most `count` keywords, a title and a description.
    pub fn request(
        &self,
        server: &Server,
        title: &str,
        description: &str,
        body: &str,
        count: usize,
    ) -> Result<Suggestion, Error> {
        let request = server.prompt(title, description, body, count).to_string();
        let mut hasher = DefaultHasher::new();
        (&server.url, &request).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(answer) = self.with_cache(|cache| cache.get(key)) {
            return Ok(answer);
        }
        let mut delay = server.retry_delay;
        let mut why = String::new();
        for attempt in 0..=server.retries {
            if attempt > 0 {
                self.with_cache(|cache| cache.retries += 1);
                thread::sleep(delay);
                delay *= 2;
            }
            match post(server, &request, count) {
                Outcome::Done(answer) => {
                    self.with_cache(|cache| cache.insert(key, answer.clone()));
                    return Ok(answer);
                }
                Outcome::Retry(reason) => why = format!("{reason}, {} times", attempt + 1),
                Outcome::Failed(reason) => {
                    why = reason;
                    break;
                }
            }
        }
        self.with_cache(|cache| cache.failures += 1);
        Err(Error::fail(502, format!("{}: {why}", server.url)))
    }

    /// Counters, for `stats`.
    pub fn json(&self) -> Value {
        self.with_cache(|cache| {
            json!({
                "asked": cache.misses,
                "from_cache": cache.hits,
                "retried": cache.retries,
                "failed": cache.failures,
                "kept": cache.answers.len(),
            })
        })
    }

    /// Frees the cache before the plugin sleeps.
    pub fn clear_cache(&self) {
        self.with_cache(|cache| {
            cache.answers = HashMap::new();
            cache.order = VecDeque::new();
        });
    }

    fn with_cache<T>(&self, work: impl FnOnce(&mut Cache) -> T) -> T {
        work(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Cache {
    fn get(&mut self, key: u64) -> Option<Suggestion> {
        let answer = self.answers.get(&key).cloned();
        let counter = if answer.is_some() { &mut self.hits } else { &mut self.misses };
        *counter += 1;
        answer
    }

    fn insert(&mut self, key: u64, answer: Suggestion) {
        if self.answers.insert(key, answer).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_CACHED {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }
}

fn post(server: &Server, request: &str, count: usize) -> Outcome {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(server.timeout)).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut post =
        agent.post(format!("{}/chat/completions", server.url)).header("Content-Type", "application/json");
    if !server.key.is_empty() {
        post = post.header("Authorization", format!("Bearer {}", server.key));
    }
    let mut response = match post.send(request) {
        Ok(response) => response,
        Err(error) => return Outcome::Retry(error.to_string()),
    };
    let status = response.status().as_u16();
    match status {
        200 => {}
        429 | 500..=599 => return Outcome::Retry(format!("status {status}")),
        _ => {
            return Outcome::Failed(format!("status {status}; check the setting server (url, model, key)"));
        }
    }
    let text = match response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec() {
        Ok(text) => text,
        Err(error) => return Outcome::Retry(format!("read the answer: {error}")),
    };
    decode(&text, count).map_or_else(Outcome::Failed, Outcome::Done)
}

/// Decodes the server's answer, and in it that of the model, which may be in a fenced block.
fn decode(text: &[u8], count: usize) -> Result<Suggestion, String> {
    let answer = strict_json::parse(text).map_err(|error| format!("invalid answer: {error}"))?;
    let content = answer.pointer("/choices/0/message/content").and_then(Value::as_str);
    let content = content.ok_or("the answer has no choices[0].message.content")?;
    let object = match (content.find('{'), content.rfind('}')) {
        (Some(start), Some(end)) => content.get(start..=end).unwrap_or_default(),
        _ => return Err("the model's answer has no JSON object".to_owned()),
    };
    let answer =
        strict_json::parse(object.as_bytes()).map_err(|error| format!("the model's answer: {error}"))?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let mut keywords: Vec<String> = Vec::new();
    for keyword in answer.get("keywords").and_then(Value::as_array).into_iter().flatten() {
        let keyword = keyword.as_str().unwrap_or_default().trim().to_lowercase();
        if !keyword.is_empty() && keyword.chars().count() <= 60 && !keywords.contains(&keyword) {
            keywords.push(keyword);
        }
    }
    if keywords.is_empty() {
        return Err("the model's answer has no keywords".to_owned());
    }
    keywords.truncate(count);
    Ok(Suggestion { keywords, title: text("title"), description: text("description") })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::{Models, Server};
    use reed_plugin::{Value, json};

    /// A server that returns these answers in turn (status, body) and passes on the requests. Status 0 is no answer.
    fn server(answers: Vec<(u16, String)>) -> (Server, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut chunk = [0; 4096];
                let is_whole = |bytes: &[u8]| {
                    let text = String::from_utf8_lossy(bytes).to_lowercase();
                    let Some(end) = text.find("\r\n\r\n") else { return false };
                    let length =
                        text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
                    bytes.len() >= end + 4 + length.unwrap().parse::<usize>().unwrap()
                };
                while !is_whole(&request) {
                    let size = stream.read(&mut chunk).unwrap();
                    request.extend_from_slice(&chunk[..size]);
                }
                sender.send(String::from_utf8(request).unwrap()).unwrap();
                if status == 0 {
                    silent.push(stream);
                    continue;
                }
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        let server = Server {
            url,
            model: "small".to_owned(),
            key: "secret".to_owned(),
            timeout: Duration::from_millis(500),
            retries: 2,
            retry_delay: Duration::from_millis(1),
        };
        (server, requests)
    }

    fn message(content: &str) -> (u16, String) {
        (200, json!({"choices": [{"message": {"content": content}}]}).to_string())
    }

    const GOOD: &str = "```json\n{\"keywords\": [\"Reed\", \"reed\", \"plugin\"], \"title\": \"T\", \"description\": \"D\"}\n```";

    #[test]
    fn answers_are_cached() {
        let (server, requests) = server(vec![message(GOOD)]);
        let models = Models::default();
        for _ in 0..3 {
            let answer = models.request(&server, "Title", "", "Body", 5).unwrap();
            assert_eq!(
                (answer.keywords, answer.title),
                (vec!["reed".to_owned(), "plugin".to_owned()], "T".to_owned())
            );
        }
        let request = requests.recv().unwrap();
        assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("authorization: bearer secret"), "{request}");
        assert!(request.contains("Title: Title"), "{request}");
        assert!(requests.recv().is_err(), "requested again");
        assert_eq!(models.json()["from_cache"], 2);
    }

    #[test]
    fn errors_and_timeouts_are_retried() {
        let (server, _requests) = server(vec![(500, String::new()), (0, String::new()), message(GOOD)]);
        let models = Models::default();
        assert!(models.request(&server, "a", "b", "c", 1).is_ok());
        assert_eq!(models.json()["retried"], 2);
    }

    #[test]
    fn failures_have_a_reason() {
        let busy = || (429, String::new());
        for (answers, reason) in [
            (vec![busy(), busy(), busy()], "status 429, 3 times"),
            (vec![(401, String::new())], "status 401; check the setting server"),
            (vec![message("no JSON here")], "has no JSON object"),
            (vec![message("{\"keywords\": []}")], "no keywords"),
            (vec![(200, "{}".to_owned())], "no choices[0]"),
            (vec![(200, "<html>".to_owned())], "invalid answer: JSON"),
        ] {
            let (server, _requests) = server(answers);
            let error = Models::default().request(&server, "", "", "", 5).unwrap_err();
            assert_eq!(error.status(), 502);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_server_is_optional() {
        assert_eq!(Server::from_settings(&json!({})).unwrap(), None);
        assert_eq!(Server::from_settings(&json!({"server": {"url": ""}})).unwrap(), None);
        let server =
            Server::from_settings(&json!({"server": {"url": "http://x/v1/", "model": "m", "timeout": 2}}))
                .unwrap()
                .unwrap();
        assert_eq!((server.url.as_str(), server.timeout), ("http://x/v1", Duration::from_secs(2)));
        let bad: Value = json!({"server": {"url": "ftp://x"}});
        assert!(Server::from_settings(&bad).unwrap_err().to_string().contains("expected http://"));
    }
}
