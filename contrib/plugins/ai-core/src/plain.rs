//! Markdown to plain text, without code, markup and addresses.

/// The paragraphs of a Markdown text. A comma replaces inline code, so that the words around it are no phrase.
pub fn plain(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut fence: Option<&str> = None;
    for line in markdown.lines() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) if is_indented_code(line) || is_table_rule(trimmed) => {}
            (None, None) => add_line(&mut out, trimmed),
        }
    }
    out
}

fn is_indented_code(line: &str) -> bool {
    (line.starts_with("    ") || line.starts_with('\t')) && line.contains(['{', '=', ';', '<', '/'])
}

fn is_table_rule(line: &str) -> bool {
    line.len() > 2 && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '='))
}

/// Adds a line. Headings, list items and table rows become sentences.
fn add_line(out: &mut String, line: &str) {
    let text = line.trim_start_matches(['#', '>', '*', '-', '+', ':', '|', ' ']);
    let is_block = line.is_empty() || text.len() < line.len();
    if is_block && !out.is_empty() && !out.ends_with("\n\n") {
        let ended = out.trim_end().ends_with(['.', '!', '?', ':']);
        out.truncate(out.trim_end().len());
        out.push_str(if ended { "\n\n" } else { ".\n\n" });
    }
    let before = out.len();
    add_inline(out, text);
    if out.len() > before {
        out.push('\n');
    }
}

/// Adds the text of a line, its links and images; skips code, tags and templates.
fn add_inline(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '`' => skip(rest, "`", "`"),
            '<' => skip(rest, "<", ">"),
            '{' => skip(rest, "{{", "}}").or_else(|| skip(rest, "{", "}")),
            ']' => skip(rest, "](", ")").or_else(|| skip(rest, "][", "]")),
            _ => None,
        };
        if let Some(after) = skipped {
            if first == '`' || first == '{' {
                out.push_str(", ");
            }
            rest = after;
            continue;
        }
        match first {
            '[' | ']' | '*' | '!' if first != '!' || rest.starts_with("![") => {}
            '|' => out.push_str(", "),
            '_' if is_emphasis(out, rest) => {}
            other => out.push(other),
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
}

/// Whether an underscore is at the start or end of a word.
fn is_emphasis(before: &str, rest: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    !before.chars().next_back().is_some_and(joins) || !rest.chars().nth(1).is_some_and(joins)
}

/// The text after `open … close`, if it starts with that.
fn skip<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let inside = text.strip_prefix(open)?;
    inside.get(inside.find(close)? + close.len()..)
}

/// The complete sentences of a plain text that have at least 4 words.
pub fn sentences(plain: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in plain.split("\n\n") {
        let mut sentence = String::new();
        let without_gaps = paragraph.replace("(, )", ""); // code in parentheses
        for word in without_gaps.split_whitespace() {
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(word);
            if word.trim_end_matches(['"', '\'', ')']).ends_with(['.', '!', '?']) && !is_abbreviation(word) {
                found.push(std::mem::take(&mut sentence));
            }
        }
    }
    found.retain(|sentence| {
        sentence.split(' ').count() >= 4 && !sentence.contains(" ,") && !sentence.starts_with(',')
    });
    found
}

fn is_abbreviation(word: &str) -> bool {
    matches!(word, "e.g." | "i.e." | "etc." | "vs." | "z.B." | "bzw." | "ca.") || word.len() == 2
}

#[cfg(test)]
mod tests {
    use super::{plain, sentences};

    #[test]
    fn code_and_markup_are_removed() {
        let text = "# Page *bundles*\n\nA [page bundle](/x) holds `index.md` and ![a cat](c.png).\n\n```go\nfunc x()\n```\n\
                    - one <b>item</b>\n- {{< ref x >}} two\n\n| a | b |\n|---|---|\n| c | d |\n";
        let found = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
        for removed in ["index.md", "func", "/x", "c.png", "<b>", "ref x", "---", "["] {
            assert!(!found.contains(removed), "{removed}: {found}");
        }
        for kept in ["Page bundles.", "A page bundle holds", "a cat", "one item", "two", "c , d"] {
            assert!(found.contains(kept), "{kept}: {found}");
        }
    }

    #[test]
    fn incomplete_markup_is_text() {
        assert_eq!(plain("a ` b < c [d"), "a ` b < c d\n");
        assert_eq!(plain("```\nnever closed"), "");
        assert_eq!(plain(""), "");
        assert_eq!(plain("ü`ü`ü"), "ü, ü\n");
    }

    #[test]
    fn sentences_are_split_at_their_ends() {
        let found = sentences(
            "One two three four, e.g. five. \"Is this the second one?\" Short.\n\nNo end of this here",
        );
        assert_eq!(found, ["One two three four, e.g. five.", "\"Is this the second one?\""]);
        let setting = plain("(`string`) The folder for archetypes.");
        assert_eq!(sentences(&setting), ["The folder for archetypes."]);
    }
}
