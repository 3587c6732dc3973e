//! A better title and description: more informative, and short enough for a search engine to show in full.

use crate::keywords::Keyword;

/// The length of a good title in characters.
const TITLE: std::ops::RangeInclusive<usize> = 15..=60;
/// The length of a good description in characters.
const DESCRIPTION: std::ops::RangeInclusive<usize> = 50..=160;

/// Keeps a good title, adds the best keyword to a short one, and truncates a long one.
pub fn title(title: &str, keywords: &[Keyword]) -> String {
    let title = title.trim();
    let length = title.chars().count();
    if length > *TITLE.end() {
        return truncate(title, *TITLE.end());
    }
    if TITLE.contains(&length) {
        return title.to_owned();
    }
    let lower = title.to_lowercase();
    let addition = keywords.iter().take(3).find(|keyword| {
        !lower.contains(&keyword.text) && !keyword.text.contains(&lower) && keyword.text.contains(' ')
    });
    match addition {
        Some(keyword) if title.is_empty() => capitalized(&keyword.text),
        Some(keyword) => truncate(&format!("{title}: {}", keyword.text), *TITLE.end()),
        None => keywords
            .first()
            .filter(|_| title.is_empty())
            .map_or(title.to_owned(), |first| capitalized(&first.text)),
    }
}

/// Keeps a good description, adds the first sentences to a short one, and truncates a long one.
pub fn description(description: &str, sentences: &[String]) -> String {
    let description = description.trim();
    let length = description.chars().count();
    if DESCRIPTION.contains(&length) {
        return description.to_owned();
    }
    if length > *DESCRIPTION.end() {
        return truncate(description, *DESCRIPTION.end());
    }
    let mut longer = description.to_owned();
    for sentence in sentences {
        if longer.chars().count() >= *DESCRIPTION.start() {
            break;
        }
        let plain = sentence.trim_end_matches(':');
        if longer.contains(plain.trim_end_matches('.')) || sentence.ends_with(':') {
            continue;
        }
        if !longer.is_empty() {
            longer.push_str(if longer.ends_with(['.', '!', '?']) { " " } else { ". " });
        }
        longer.push_str(plain);
    }
    truncate(&longer, *DESCRIPTION.end())
}

/// Truncates a text to `max` characters, at a word if possible, and adds an ellipsis.
fn truncate(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let size = word.chars().count() + usize::from(!kept.is_empty());
        if length + size > max - 1 {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
        length += size;
    }
    if kept.is_empty() {
        kept = text.chars().take(max - 1).collect();
    }
    kept.truncate(kept.trim_end_matches([',', ';', ':', '.', '-']).len());
    kept.push('…');
    kept
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{description, title, truncate};
    use crate::keywords::Keyword;

    fn words(all: &[&str]) -> Vec<Keyword> {
        all.iter().map(|text| Keyword { text: (*text).to_owned(), score: 1.0 }).collect()
    }

    #[test]
    fn titles_are_kept_extended_or_truncated() {
        assert_eq!(title("How to deploy a site", &words(&["deploy"])), "How to deploy a site");
        assert_eq!(title("RelRef", &words(&["relref", "relative url"])), "RelRef: relative url");
        assert_eq!(title("", &words(&["relative url"])), "Relative url");
        assert_eq!(title("", &[]), "");
        assert_eq!(title(&"word ".repeat(30), &[]).chars().count(), 60);
    }

    #[test]
    fn descriptions_are_kept_extended_or_truncated() {
        let good = "Use page bundles to keep a page and its resources in one folder.";
        assert_eq!(description(good, &[]), good);
        let sentences = ["A folder with a page and all that belongs to it.".to_owned(), "More.".to_owned()];
        let longer = description("Page bundles", &sentences);
        assert_eq!(longer, "Page bundles. A folder with a page and all that belongs to it.");
        assert!(description(&"long ".repeat(60), &[]).chars().count() <= 160);
    }

    #[test]
    fn texts_are_truncated_at_a_word() {
        assert_eq!(truncate("one two three", 9), "one two…");
        assert_eq!(truncate("ünbreakable", 5), "ünbr…");
        assert_eq!(truncate("short", 5), "short");
    }
}
