//! The nearest spelling of a word that is not known.

/// The candidate that was probably meant, if one is near enough to be worth naming.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // A third of the letters may be wrong; in a very short word, one.
    let tolerance = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= tolerance && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint for a word that is not known: the nearest spelling, then all that would be.
pub(crate) fn hint<'a>(
    word: &str,
    introduction: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut candidates: Vec<&str> = candidates.into_iter().collect();
    candidates.sort_unstable();
    let all = if candidates.is_empty() {
        "nothing".to_owned()
    } else {
        candidates.join(", ")
    };
    match nearest(word, candidates) {
        Some(candidate) => format!("did you mean `{candidate}`? {introduction}: {all}"),
        None => format!("{introduction}: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_near_word_is_suggested() {
        let table = [
            ("stip_prefix", Some("strip_prefix")),
            ("Host", Some("host")),
            ("hots", Some("host")),
            ("bananas", None),
            ("x", None),
        ];
        for (word, expected) in table {
            assert_eq!(
                nearest(word, ["host", "path", "strip_prefix"]),
                expected,
                "{word}"
            );
        }
    }

    #[test]
    fn a_hint_names_the_nearest_and_all() {
        assert_eq!(
            hint("hots", "allowed here", ["path", "host"]),
            "did you mean `host`? allowed here: host, path"
        );
        assert_eq!(hint("zzz", "there are", []), "there are: nothing");
    }
}
