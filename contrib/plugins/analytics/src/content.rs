//! Statistics of a snippet's texts. All strings in its content, at any depth, are Markdown.

use reed_plugin::{Value, json};

const WORDS_PER_MINUTE: u64 = 220;

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Outside code blocks.
    pub words: u64,
    /// Counted by their ends: full stops, question and exclamation marks.
    pub sentences: u64,
    /// Lines that start with `#`.
    pub headings: u64,
    /// `[text](target)` and `[text][target]`
    pub links: u64,
    /// `![text](target)`
    pub images: u64,
    /// Fenced.
    pub code_blocks: u64,
}

impl Content {
    /// Counts everything in a snippet's content.
    pub fn of(content: &Value) -> Content {
        let mut counts = Content::default();
        counts.add_value(content);
        counts
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

    /// Rounded up.
    pub fn reading_minutes(&self) -> u64 {
        self.words.div_ceil(WORDS_PER_MINUTE)
    }

    /// The answer of the action `analyze`.
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
