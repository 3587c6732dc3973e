//! The statistics of a snippet's texts. Its strings, however nested, are read as Markdown.

use reed_plugin::{Value, json};

const WORDS_A_MINUTE: u64 = 220;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Outside of code.
    pub words: u64,
    /// Ends of sentences: full stops, question and exclamation marks.
    pub sentences: u64,
    /// Lines that start with #.
    pub headings: u64,
    /// `[text](target)` and `[text][target]`
    pub links: u64,
    /// `![text](target)`
    pub images: u64,
    /// Between fences.
    pub code_blocks: u64,
}

impl Content {
    /// Of everything in a snippet's content.
    pub fn of(content: &Value) -> Content {
        let mut counted = Content::default();
        counted.add_value(content);
        counted
    }

    fn add_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add_text(text),
            Value::Array(values) => values.iter().for_each(|value| self.add_value(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.add_value(value)),
            _ => {}
        }
    }

    fn add_text(&mut self, text: &str) {
        let mut in_code = false;
        for line in text.lines() {
            let line = line.trim_start();
            if line.starts_with("```") || line.starts_with("~~~") {
                self.code_blocks += u64::from(!in_code);
                in_code = !in_code;
            } else if !in_code {
                self.add_line(line);
            }
        }
    }

    fn add_line(&mut self, line: &str) {
        let after_hashes = line.trim_start_matches('#');
        self.headings += u64::from(after_hashes.len() < line.len() && after_hashes.starts_with(' '));
        let images = line.matches("![").count() as u64;
        let targets = line.matches("](").count() + line.matches("][").count();
        self.images += images;
        self.links += (targets as u64).saturating_sub(images);
        for word in line.split_whitespace() {
            self.words += u64::from(word.chars().any(char::is_alphanumeric));
            let end = word.trim_end_matches(['"', '\'', ')', '*', '_']);
            self.sentences += u64::from(end.ends_with(['.', '!', '?']));
        }
    }

    /// Minutes that a reader needs, at least one where there is a word.
    pub fn reading_minutes(&self) -> u64 {
        self.words.div_ceil(WORDS_A_MINUTE)
    }

    /// As an answer has it.
    pub fn json(&self) -> Value {
        json!({
            "words": self.words,
            "sentences": self.sentences,
            "headings": self.headings,
            "links": self.links,
            "images": self.images,
            "code_blocks": self.code_blocks,
            "reading_minutes": self.reading_minutes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Content;
    use reed_plugin::json;

    #[test]
    fn a_page_is_counted() {
        let body = "# Title\n\nTwo words. See [this](x) and ![that](y)!\n\n```go\nfunc main() {}\n```\n#hashtag - end?";
        let counted = Content::of(&json!({"title": "One", "more": [{"body": body}], "n": 3}));
        let expected = Content { words: 10, sentences: 3, headings: 1, links: 1, images: 1, code_blocks: 1 };
        assert_eq!(counted, expected);
        assert_eq!(counted.reading_minutes(), 1);
        assert_eq!(Content::of(&json!({})).reading_minutes(), 0);
    }
}
