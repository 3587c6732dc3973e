//! Keywords without a model: YAKE ranks the phrases of a text by their frequency and positions; then they are filtered
//! and merged.
//!
//! ```text
//! title, description, body ── plain text ── YAKE: ranked phrases
//!     ── without stop words and generic words       ── one of each family: "menu entry", not also "menu"
//!     ── words of the title first, rare ones last   ── merged: "static site" and "site generator"
//! ```

use yake_rust::{Config, StopWords, get_n_best};

const CANDIDATES: usize = 60; // phrases of YAKE
const MAX_TEXT: usize = 24_000; // bytes

/// Words that occur once are used only if there are fewer keywords than this.
const ENOUGH: usize = 4;

/// Words that fit any text.
const GENERIC: &str = "additional allow allowing allows also applicable appropriate argument arguments assuming attempt \
    attempts available avoid avoids back based begin behavior below bool boolean call called calls case \
    cases cause causes change check checks classifies classify common complete configure configured \
    configures consider considered considers contain contains convert converts corresponding create \
    created current cut cutting default defaults define defined describe described desired details \
    determine different display displays easily empty enable enabled encode encodes entire everything \
    exact example examples execute executed executes existing exists false final first flexible \
    following found full function functions generate generated generates get give given handle handles \
    heavy https identical identifies identify include includes information input insert inserts instance \
    instead int intelligently item items key keys known layout learn leaving list make manage manages \
    matches method methods multiple name names nearest need new normal note number numbers object occur \
    occurs operate operates option optional optionally options order original overview parameter \
    parameters particular pass passed path perform place possible previous prioritize produce produced \
    produces proper properties property provide provides purpose receive receives recommended refer \
    refers regarding relevant renders replace reports require required resolve resolves respective \
    result results retrieve retrieves return returned returns run second section see separate set \
    setting settings several similar simply single special specific specified specify src standard start \
    string strings subsequent suitable support supported supports term terms things time true type types \
    typically unordered unset usage use used useful uses using usually valid value values various \
    version via want way ways whether whole within without work works write writes yields";

fn is_generic(word: &str) -> bool {
    GENERIC.split(' ').any(|generic| generic == word)
}

/// A phrase and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyword {
    /// In lower case.
    pub text: String,
    /// 0 to 1; the best has 1.
    pub score: f64,
}

/// The input.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// May be empty.
    pub title: &'a str,
    /// May be empty.
    pub description: &'a str,
    /// Plain text.
    pub body: &'a str,
}

/// The languages with a list of stop words.
pub const LANGUAGES: &[&str] = &["en", "de"];

/// At most `count` keywords, the best first.
pub fn keywords(text: Text<'_>, language: &str, count: usize) -> Vec<Keyword> {
    let Some(stop_words) = StopWords::predefined(language).or_else(|| StopWords::predefined("en")) else {
        return Vec::new();
    };
    let whole = format!("{}.\n\n{}.\n\n{}", text.title, text.description, text.body);
    let config = Config { ngrams: 3, ..Config::default() };
    let ranked = get_n_best(CANDIDATES, clip(&whole), &stop_words, &config);
    let parts = Parts::of(&text);
    let mut candidates: Vec<Candidate> = ranked
        .iter()
        .filter_map(|item| Candidate::new(&item.keyword, item.score, &parts, &stop_words))
        .collect();
    candidates.sort_by(|a, b| a.score.total_cmp(&b.score));
    let chosen = merge_overlapping(one_of_each_family(candidates, count), &parts);
    let best = chosen.first().map_or(1.0, |first| first.score);
    chosen
        .into_iter()
        .map(|one| Keyword { score: (best / one.score * 100.0).round() / 100.0, text: one.text })
        .collect()
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// The parts of the text in lower case.
struct Parts {
    title: String,
    description: String,
    body: String,
}

impl Parts {
    fn of(text: &Text<'_>) -> Parts {
        let flat = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        Parts { title: flat(text.title), description: flat(text.description), body: flat(text.body) }
    }

    /// How often a phrase occurs.
    fn times(&self, text: &str) -> usize {
        [&self.title, &self.description, &self.body].iter().map(|part| part.matches(text).count()).sum()
    }

    /// The factor for a phrase's score, where less is better; None for a phrase that is no keyword.
    fn weight(&self, text: &str, words: usize, times: usize) -> Option<f64> {
        let in_title = self.title.contains(text);
        let in_description = self.description.contains(text);
        let is_adverb = |word: &str| word.len() > 5 && word.ends_with("ly");
        let is_gerund = |word: &str| word.len() > 5 && word.ends_with("ing");
        let is_rare = times < 2 && !in_title && !in_description;
        let no_noun = ["ing", "ed", "ly", "izes", "ates", "ines"].iter().any(|ending| text.ends_with(ending));
        let is_clause =
            words > 1 && text.split(' ').any(is_adverb) || text.split(' ').rev().skip(1).any(is_gerund);
        if is_rare && words > 2 || (no_noun || is_clause) && !in_title {
            return None;
        }
        let title_factor = if in_title { 0.3 } else { 1.0 };
        let description_factor = if in_description { 0.6 } else { 1.0 };
        let length_factor = if words == 2 { 0.7 } else { 1.0 };
        let rarity_factor = if is_rare { 10.0 / words as f64 } else { 1.0 };
        Some(title_factor * description_factor * length_factor * rarity_factor)
    }
}

/// A phrase that may become a keyword. A lower score is better.
#[derive(Debug)]
struct Candidate {
    text: String,
    stems: Vec<String>,
    score: f64,
    times: usize,
    max_keywords: usize, // it is used only if there are fewer
}

impl Candidate {
    /// None for a phrase that is no keyword.
    fn new(phrase: &str, score: f64, parts: &Parts, stop_words: &StopWords) -> Option<Candidate> {
        let text = phrase.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let words: Vec<&str> = text.split(' ').collect();
        let is_empty_word = |word: &&str| {
            word.chars().count() < 3 && words.len() == 1 || stop_words.contains(*word) || is_generic(word)
        };
        let is_sound = |word: &&str| {
            word.chars().any(char::is_alphabetic)
                && !word.ends_with('.')
                && word.chars().all(|c| c.is_alphanumeric() || "-.'".contains(c))
        };
        if words.is_empty() || !words.iter().all(is_sound) || words.iter().any(is_empty_word) {
            return None;
        }
        let times = parts.body.matches(&text).count();
        let weight = parts.weight(&text, words.len(), times)?;
        let stems = words.iter().map(|word| stem(word)).collect();
        let is_last_resort = words.len() == 1 && times < 2 && weight > 1.0;
        let max_keywords = if is_last_resort { ENOUGH } else { usize::MAX };
        Some(Candidate { score: (score + 1e-6) * weight, text, stems, times, max_keywords })
    }

    /// Whether the other phrase has all words of this one.
    fn is_within(&self, other: &Candidate) -> bool {
        self.stems.iter().all(|stem| other.stems.contains(stem))
    }
}

/// A word without a plural ending.
fn stem(word: &str) -> String {
    match word.strip_suffix("ies") {
        Some(start) if start.len() > 2 => format!("{start}y"),
        _ if word.len() > 3 && !word.ends_with("ss") => word.strip_suffix('s').unwrap_or(word).to_owned(),
        _ => word.to_owned(),
    }
}

/// Of phrases that contain one another, keeps the longer one if it occurs at least half as often.
fn one_of_each_family(candidates: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if chosen.iter().any(|other| candidate.is_within(other)) {
            continue;
        }
        let shorter = chosen.iter().position(|other| other.is_within(&candidate));
        match shorter.and_then(|at| chosen.get(at).map(|other| (at, other.score, other.times))) {
            Some((at, score, times)) if candidate.times * 2 >= times => {
                chosen.retain(|other| !other.is_within(&candidate));
                chosen.insert(at.min(chosen.len()), Candidate { score, ..candidate });
            }
            Some(_) => {}
            None if chosen.len() < count.min(candidate.max_keywords) => chosen.push(candidate),
            None => {}
        }
    }
    chosen
}

/// Merges two phrases into one of three words if one always continues the other in the text. Of a longer phrase only the
/// longer part is kept.
fn merge_overlapping(mut chosen: Vec<Candidate>, parts: &Parts) -> Vec<Candidate> {
    while let Some((first, second, joined)) = next_overlap(&chosen, parts) {
        let (kept, dropped) = (first.min(second), first.max(second));
        if joined.split(' ').count() > 3 {
            let shorter = |at: &usize| chosen.get(*at).map_or(0, |one| one.stems.len());
            let piece = if shorter(&first) <= shorter(&second) { first } else { second };
            chosen.remove(piece);
            continue;
        }
        chosen.remove(dropped);
        if let Some(one) = chosen.get_mut(kept) {
            one.stems = joined.split(' ').map(stem).collect();
            one.text = joined;
        }
    }
    chosen
}

/// Two phrases that overlap wherever one of them occurs, and the merged phrase.
fn next_overlap(chosen: &[Candidate], parts: &Parts) -> Option<(usize, usize, String)> {
    for (first, a) in chosen.iter().enumerate() {
        for (second, b) in chosen.iter().enumerate() {
            let Some((last, (head, rest))) = a.text.rsplit(' ').next().zip(b.text.split_once(' ')) else {
                continue;
            };
            let are_phrases = first != second && a.stems.len() > 1;
            if !are_phrases || last != head {
                continue;
            }
            let joined = format!("{} {rest}", a.text);
            let times = parts.times(&joined);
            if times > 0 && (times == parts.times(&a.text) || times == parts.times(&b.text)) {
                return Some((first, second, joined));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Text, keywords, stem};

    const BODY: &str = "A page bundle is a folder with its page resources. Page resources are images and documents \
        of the page bundle. A leaf bundle has no children. A branch bundle may have them. Each page bundle holds its \
        page resources beside its content.";

    fn found(count: usize) -> Vec<String> {
        let text = Text {
            title: "Page bundles",
            description: "Content organization using page bundles",
            body: BODY,
        };
        keywords(text, "en", count).into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn keywords_are_the_topics_of_the_text() {
        let found = found(5);
        assert!(found.iter().any(|one| one.starts_with("page bundle")), "{found:?}");
        assert!(found.contains(&"page resources".to_owned()), "{found:?}");
    }

    #[test]
    fn related_phrases_give_one_keyword() {
        let found = found(10);
        assert!(!found.contains(&"page".to_owned()), "{found:?}");
        assert_eq!(found.iter().filter(|one| one.starts_with("page bundle")).count(), 1, "{found:?}");
        assert!(found.len() <= 10);
    }

    #[test]
    fn overlapping_phrases_are_merged() {
        let text = Text {
            title: "About",
            description: "A fast static site generator",
            body: "The static site generator makes pages. Pages of the static site generator are files.",
        };
        let found: Vec<_> = keywords(text, "en", 8).into_iter().map(|one| one.text).collect();
        assert!(found.contains(&"static site generator".to_owned()), "{found:?}");
        assert!(!found.contains(&"static site".to_owned()), "{found:?}");
    }

    #[test]
    fn texts_without_words_have_no_keywords() {
        for body in ["", " ", "the of and", "1 2 3", "…"] {
            assert_eq!(keywords(Text { title: "", description: "", body }, "xx", 5), []);
        }
    }

    #[test]
    fn plurals_have_the_stem_of_the_singular() {
        assert_eq!(["bundles", "queries", "class", "bus"].map(stem), ["bundle", "query", "class", "bus"]);
    }
}
