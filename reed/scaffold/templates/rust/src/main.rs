//! @name@: what it does, in one line.
//!
//! | action | input | output |
//! |---|---|---|
//! | greet | `{"name"}` | `{"greeting"}` |
//! | count | a snippet | `{"words", "minutes"}` |

use std::process::ExitCode;

use reed_plugin::{Error, Plugin, Snippet, Value, json};

fn main() -> ExitCode {
    Plugin::builder("@name@", reed_plugin::manifest_version!())
        .action("greet", 1, |ctx, input| greet(&ctx.settings(), &input.json()?))
        .action("count", 2, |ctx, input| count(&ctx.settings(), &input.snippet()?))
        .run()
}

fn greet(settings: &Value, input: &Value) -> Result<Value, Error> {
    let Some(name) = input.get("name").and_then(Value::as_str) else {
        return Err(Error::fail(422, "expected {\"name\": …}"));
    };
    let greeting = settings.get("greeting").and_then(Value::as_str).unwrap_or("Hello");
    Ok(json!({"greeting": format!("{greeting}, {name}!")}))
}

fn count(settings: &Value, page: &Snippet) -> Result<Value, Error> {
    let Some(body) = page.content.get("body").and_then(Value::as_str) else {
        return Err(Error::fail(422, format!("{} has no body", page.name)));
    };
    let words = body.split_whitespace().count() as u64;
    let speed = settings.get("words_per_minute").and_then(Value::as_u64).unwrap_or(200).max(1);
    Ok(json!({"words": words, "minutes": words.div_ceil(speed)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(content: Value) -> Snippet {
        Snippet::new("page", "about", content)
    }

    #[test]
    fn greets_by_name() {
        let answer = greet(&json!({"greeting": "Good morning"}), &json!({"name": "Ada"})).unwrap();
        assert_eq!(answer, json!({"greeting": "Good morning, Ada!"}));
        assert_eq!(greet(&json!({}), &json!({"name": "Ada"})).unwrap(), json!({"greeting": "Hello, Ada!"}));
    }

    #[test]
    fn rejects_input_without_a_name() {
        assert_eq!(greet(&json!({}), &json!({})).unwrap_err().status(), 422);
    }

    #[test]
    fn counts_words_and_rounds_minutes_up() {
        let few = count(&json!({}), &page(json!({"body": "A few words."}))).unwrap();
        assert_eq!(few, json!({"words": 3, "minutes": 1}));
        let many = count(&json!({}), &page(json!({"body": "word ".repeat(401)}))).unwrap();
        assert_eq!(many, json!({"words": 401, "minutes": 3}));
    }

    #[test]
    fn rejects_a_page_without_a_body() {
        assert_eq!(count(&json!({}), &page(json!({"title": "About"}))).unwrap_err().status(), 422);
    }
}
