//! The nearest name, for a name that was mistyped.

/// The known name that differs least from `word`, if it is near enough to be meant; else nothing.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let ranked = known.map(|name| (distance(word, name), name));
    let best = ranked.min().filter(|(far, name)| *far * 2 < name.chars().count());
    best.map(|(_, name)| name.to_owned()).unwrap_or_default()
}

/// How many characters to insert, delete or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut left = index + 1; // this row's value before the current one
        let mut above_left = index;
        for (b, cell) in to.chars().zip(row.iter_mut().skip(1)) {
            let replaced = above_left + usize::from(a != b);
            above_left = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    if to.is_empty() { from.chars().count() } else { row.last().copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn what_is_near_is_meant() {
        let known = ["analytics", "backup", "simple-seo"];
        assert_eq!(nearest("analitics", known.into_iter()), "analytics");
        assert_eq!(nearest("zzz", known.into_iter()), "");
    }
}
