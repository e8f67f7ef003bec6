//! Words for people: lists, and the nearest right word to a wrong one.

/// The word of `known` that `wrong` most likely stands for; `None` when nothing is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let length = wrong.chars().count();
    // A distance quadratic in the length is computed for each candidate; nobody mistypes a word this long.
    if length == 0 || length > 200 {
        return None;
    }
    let allowed = (length / 3).max(1);
    let scored = known.into_iter().filter_map(|word| {
        let lower = word.to_lowercase();
        if lower == wrong {
            return Some((0, word));
        }
        let distance = strsim::damerau_levenshtein(&wrong, &lower);
        // One-letter names are all at distance one from each other: no evidence of a slip.
        let near = distance <= allowed && length.min(lower.chars().count()) > 1;
        let part =
            length >= 3 && (lower.starts_with(&wrong) || (lower.len() >= 3 && wrong.starts_with(&lower)));
        (near || part).then_some((distance, word))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// ``did you mean `clients`?``, or `fallback` when nothing is near.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, fallback: &str) -> String {
    match nearest(wrong, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => fallback.to_owned(),
    }
}

/// `a`, `a or b`, `a, b or c`.
pub fn list<S: AsRef<str>>(words: &[S], last: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["clients", "rate", "duration"];
        assert_eq!(nearest("duratoin", known), Some("duration"));
        assert_eq!(nearest("Rate", known), Some("rate"));
        assert_eq!(nearest("client", known), Some("clients"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("D", ["A", "B"]), None);
        assert_eq!(nearest("b", ["A", "B"]), Some("B"));
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(&["a", "b", "c"], "or"), "a, b or c");
        assert_eq!(list(&["a"], "or"), "a");
    }
}
