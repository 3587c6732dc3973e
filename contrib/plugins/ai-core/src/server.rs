//! A model on an OpenAI-compatible server: asked for keywords, title and description of a text.
//!
//! ```text
//! ask ── cache ─┬─ known            the same answer
//!               └─ POST /chat/completions ─┬─ 200, JSON in its message     kept, given
//!                                          ├─ 429, 5xx, no answer in time  again after a growing pause
//!                                          └─ anything else                an error
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use reed_plugin::{Error, Value, json, strict_json};

const CACHED: usize = 256;
const LONGEST_TEXT: usize = 12_000; // characters
const LONGEST_ANSWER: u64 = 256 * 1024;

const TASK: &str = "You write metadata for web content. Answer with one JSON object and nothing else: \
    {\"keywords\": [most important first, lower case], \"title\": at most 60 characters, \
    \"description\": 50 to 160 characters}. Use the language of the content.";

/// What a server is asked with: the plugin's setting `server`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Such as `http://127.0.0.1:11434/v1`.
    pub url: String,
    /// The name of the model.
    pub model: String,
    /// Sent as a bearer token; empty for none.
    pub key: String,
    /// For each try.
    pub timeout: Duration,
    /// Tries after the first one.
    pub retries: u32,
    /// Before the second try; each next pause is twice as long.
    pub pause: Duration,
}

impl Server {
    /// The server that the settings name, if they do.
    pub fn of(settings: &Value) -> Result<Option<Server>, Error> {
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
                format!("setting server.url is {url:?}; expected {}…; {hint}", known.join("… or ")),
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
            pause: seconds("pause", 0.2),
        }))
    }

    fn request(&self, title: &str, description: &str, body: &str, count: usize) -> Value {
        let body: String = body.chars().take(LONGEST_TEXT).collect();
        let content =
            format!("At most {count} keywords.\n\nTitle: {title}\nDescription: {description}\n\n{body}");
        json!({
            "model": self.model,
            "temperature": 0,
            "messages": [{"role": "system", "content": TASK}, {"role": "user", "content": content}],
        })
    }
}

/// What a model said.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The most important first.
    pub keywords: Vec<String>,
    /// Empty when it gave none.
    pub title: String,
    /// Empty when it gave none.
    pub description: String,
}

/// Asks servers, and keeps their answers.
#[derive(Default)]
pub struct Models {
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    known: HashMap<u64, Said>,
    order: VecDeque<u64>,
    pub asked: u64,
    pub found: u64,
    pub retried: u64,
    pub failed: u64,
}

enum Outcome {
    Said(Said),
    Again(String),
    Failed(String),
}

impl Models {
    /// The model's keywords (at most `count`), title and description.
    pub fn ask(
        &self,
        server: &Server,
        title: &str,
        description: &str,
        body: &str,
        count: usize,
    ) -> Result<Said, Error> {
        let request = server.request(title, description, body, count).to_string();
        let mut hasher = DefaultHasher::new();
        (&server.url, &request).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(said) = self.with_cache(|cache| cache.find(key)) {
            return Ok(said);
        }
        let mut pause = server.pause;
        let mut why = String::new();
        for attempt in 0..=server.retries {
            if attempt > 0 {
                self.with_cache(|cache| cache.retried += 1);
                thread::sleep(pause);
                pause *= 2;
            }
            match post(server, &request, count) {
                Outcome::Said(said) => {
                    self.with_cache(|cache| cache.keep(key, said.clone()));
                    return Ok(said);
                }
                Outcome::Again(reason) => why = format!("{reason}, {} times", attempt + 1),
                Outcome::Failed(reason) => {
                    why = reason;
                    break;
                }
            }
        }
        self.with_cache(|cache| cache.failed += 1);
        Err(Error::fail(502, format!("{}: {why}", server.url)))
    }

    /// Counters, for `stats`.
    pub fn json(&self) -> Value {
        self.with_cache(|cache| {
            json!({
                "asked": cache.asked,
                "from_cache": cache.found,
                "retried": cache.retried,
                "failed": cache.failed,
                "kept": cache.known.len(),
            })
        })
    }

    /// Before a sleep: what can be asked again is given back.
    pub fn forget(&self) {
        self.with_cache(|cache| {
            cache.known = HashMap::new();
            cache.order = VecDeque::new();
        });
    }

    fn with_cache<T>(&self, work: impl FnOnce(&mut Cache) -> T) -> T {
        work(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Cache {
    fn find(&mut self, key: u64) -> Option<Said> {
        let said = self.known.get(&key).cloned();
        if said.is_some() {
            self.found += 1;
        } else {
            self.asked += 1;
        }
        said
    }

    fn keep(&mut self, key: u64, said: Said) {
        if self.known.insert(key, said).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CACHED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
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
        Err(error) => return Outcome::Again(error.to_string()),
    };
    let status = response.status().as_u16();
    match status {
        200 => {}
        429 | 500..=599 => return Outcome::Again(format!("it answered {status}")),
        _ => {
            return Outcome::Failed(format!(
                "it answered {status}; see the setting server (url, model, key)"
            ));
        }
    }
    let text = match response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec() {
        Ok(text) => text,
        Err(error) => return Outcome::Again(format!("reading its answer: {error}")),
    };
    read(&text, count).map_or_else(Outcome::Failed, Outcome::Said)
}

/// The answer of the server, and in it that of the model, which may stand between fences.
fn read(text: &[u8], count: usize) -> Result<Said, String> {
    let answer = strict_json::parse(text).map_err(|error| format!("its answer: {error}"))?;
    let content = answer.pointer("/choices/0/message/content").and_then(Value::as_str);
    let content = content.ok_or("its answer has no choices[0].message.content")?;
    let object = match (content.find('{'), content.rfind('}')) {
        (Some(start), Some(end)) => content.get(start..=end).unwrap_or_default(),
        _ => return Err("the model answered without a JSON object".to_owned()),
    };
    let said =
        strict_json::parse(object.as_bytes()).map_err(|error| format!("the model's answer: {error}"))?;
    let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let mut keywords: Vec<String> = Vec::new();
    for keyword in said.get("keywords").and_then(Value::as_array).into_iter().flatten() {
        let keyword = keyword.as_str().unwrap_or_default().trim().to_lowercase();
        if !keyword.is_empty() && keyword.chars().count() <= 60 && !keywords.contains(&keyword) {
            keywords.push(keyword);
        }
    }
    if keywords.is_empty() {
        return Err("the model's answer has no keywords".to_owned());
    }
    keywords.truncate(count);
    Ok(Said { keywords, title: text("title"), description: text("description") })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::{Models, Server};
    use reed_plugin::{Value, json};

    /// A server that gives these answers in turn (status, body), and tells what it was asked. Status 0: none at all.
    fn server(answers: Vec<(u16, String)>) -> (Server, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (told, asked) = channel();
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
                told.send(String::from_utf8(request).unwrap()).unwrap();
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
            pause: Duration::from_millis(1),
        };
        (server, asked)
    }

    fn message(content: &str) -> (u16, String) {
        (200, json!({"choices": [{"message": {"content": content}}]}).to_string())
    }

    const GOOD: &str = "```json\n{\"keywords\": [\"Reed\", \"reed\", \"plugin\"], \"title\": \"T\", \"description\": \"D\"}\n```";

    #[test]
    fn it_is_asked_once_and_remembered() {
        let (server, asked) = server(vec![message(GOOD)]);
        let models = Models::default();
        for _ in 0..3 {
            let said = models.ask(&server, "Title", "", "Body", 5).unwrap();
            assert_eq!(
                (said.keywords, said.title),
                (vec!["reed".to_owned(), "plugin".to_owned()], "T".to_owned())
            );
        }
        let request = asked.recv().unwrap();
        assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("authorization: bearer secret"), "{request}");
        assert!(request.contains("Title: Title"), "{request}");
        assert!(asked.recv().is_err(), "asked again");
        assert_eq!(models.json()["from_cache"], 2);
    }

    #[test]
    fn it_is_asked_again_after_errors_and_silence() {
        let (server, _asked) = server(vec![(500, String::new()), (0, String::new()), message(GOOD)]);
        let models = Models::default();
        assert!(models.ask(&server, "a", "b", "c", 1).is_ok());
        assert_eq!(models.json()["retried"], 2);
    }

    #[test]
    fn it_gives_up_with_the_reason() {
        let busy = || (429, String::new());
        for (answers, reason) in [
            (vec![busy(), busy(), busy()], "it answered 429, 3 times"),
            (vec![(401, String::new())], "it answered 401; see the setting server"),
            (vec![message("no JSON here")], "without a JSON object"),
            (vec![message("{\"keywords\": []}")], "no keywords"),
            (vec![(200, "{}".to_owned())], "no choices[0]"),
            (vec![(200, "<html>".to_owned())], "its answer: JSON"),
        ] {
            let (server, _asked) = server(answers);
            let error = Models::default().ask(&server, "", "", "", 5).unwrap_err();
            assert_eq!(error.status(), 502);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn settings_name_a_server_or_none() {
        assert_eq!(Server::of(&json!({})).unwrap(), None);
        assert_eq!(Server::of(&json!({"server": {"url": ""}})).unwrap(), None);
        let server = Server::of(&json!({"server": {"url": "http://x/v1/", "model": "m", "timeout": 2}}))
            .unwrap()
            .unwrap();
        assert_eq!((server.url.as_str(), server.timeout), ("http://x/v1", Duration::from_secs(2)));
        let bad: Value = json!({"server": {"url": "ftp://x"}});
        assert!(Server::of(&bad).unwrap_err().to_string().contains("expected http://"));
    }
}
