//! Fields that are lists (RFC 9110 §5.6.1).

use http::header::{HeaderMap, HeaderName};

/// The members of a comma-separated list over all its lines: trimmed, never empty. Commas inside quoted strings
/// divide too, so this is for lists of tokens.
pub(crate) fn members<'h>(
    headers: &'h HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(field)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::members;

    #[test]
    fn lines_are_one_list_without_empty_members() {
        let mut headers = HeaderMap::new();
        for line in [" a ,,b\t", "", ", c"] {
            headers.append(ACCEPT, line.parse().unwrap());
        }
        let found: Vec<&[u8]> = members(&headers, &ACCEPT).collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
    }
}
