//! A better title and description: what a search engine shows whole, and what says more than the one there is.

use crate::keywords::Keyword;

/// Characters that a title may have.
const TITLE: std::ops::RangeInclusive<usize> = 15..=60;
/// Characters that a description should have.
const DESCRIPTION: std::ops::RangeInclusive<usize> = 50..=160;

/// The title as it is, when it is good; longer by the best keyword when it says too little; cut when it is too long.
pub fn title(title: &str, keywords: &[Keyword]) -> String {
    let title = title.trim();
    let length = title.chars().count();
    if length > *TITLE.end() {
        return cut(title, *TITLE.end());
    }
    if TITLE.contains(&length) {
        return title.to_owned();
    }
    let lower = title.to_lowercase();
    let more = keywords.iter().take(3).find(|keyword| {
        !lower.contains(&keyword.text) && !keyword.text.contains(&lower) && keyword.text.contains(' ')
    });
    match more {
        Some(keyword) if title.is_empty() => capitalized(&keyword.text),
        Some(keyword) => cut(&format!("{title}: {}", keyword.text), *TITLE.end()),
        None => keywords
            .first()
            .filter(|_| title.is_empty())
            .map_or(title.to_owned(), |first| capitalized(&first.text)),
    }
}

/// The description as it is, when it is good; else as many of the first sentences as there is room for.
pub fn description(description: &str, sentences: &[String]) -> String {
    let description = description.trim();
    let length = description.chars().count();
    if DESCRIPTION.contains(&length) {
        return description.to_owned();
    }
    if length > *DESCRIPTION.end() {
        return cut(description, *DESCRIPTION.end());
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
    cut(&longer, *DESCRIPTION.end())
}

/// At most so many characters, whole words, with an ellipsis where something is missing.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let size = word.chars().count() + usize::from(!kept.is_empty());
        if length + size > most - 1 {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
        length += size;
    }
    if kept.is_empty() {
        kept = text.chars().take(most - 1).collect();
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
    use super::{cut, description, title};
    use crate::keywords::Keyword;

    fn words(all: &[&str]) -> Vec<Keyword> {
        all.iter().map(|text| Keyword { text: (*text).to_owned(), score: 1.0 }).collect()
    }

    #[test]
    fn titles() {
        assert_eq!(title("How to deploy a site", &words(&["deploy"])), "How to deploy a site");
        assert_eq!(title("RelRef", &words(&["relref", "relative url"])), "RelRef: relative url");
        assert_eq!(title("", &words(&["relative url"])), "Relative url");
        assert_eq!(title("", &[]), "");
        assert_eq!(title(&"word ".repeat(30), &[]).chars().count(), 60);
    }

    #[test]
    fn descriptions() {
        let good = "Use page bundles to keep a page and its resources in one folder.";
        assert_eq!(description(good, &[]), good);
        let sentences = ["A folder with a page and all that belongs to it.".to_owned(), "More.".to_owned()];
        let longer = description("Page bundles", &sentences);
        assert_eq!(longer, "Page bundles. A folder with a page and all that belongs to it.");
        assert!(description(&"long ".repeat(60), &[]).chars().count() <= 160);
    }

    #[test]
    fn what_is_cut_ends_at_a_word() {
        assert_eq!(cut("one two three", 9), "one two…");
        assert_eq!(cut("ünbreakable", 5), "ünbr…");
        assert_eq!(cut("short", 5), "short");
    }
}
