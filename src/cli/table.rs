//! Tables for people: as wide as what they hold, or as the terminal is.

use std::fmt::Write;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its heading.
    pub(super) head: &'static str,
    /// On which side its texts begin.
    pub(super) side: Side,
    /// What is done where there is too little room.
    pub(super) room: Room,
}

/// Where a column's texts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// Whether a column's texts may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// They are never cut.
    Whole,
    /// They may be, to this many characters.
    AtLeast(usize),
}

/// Between two columns.
const GAP: &str = "  ";

/// Makes a table of `rows`, each with a text for each column, with lines of `width` characters at most where that is possible.
/// Control characters, which could steer the terminal, are replaced.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|text| plain(text)).collect())
        .collect();
    let widths = widths(columns, &rows, width);
    let mut out = String::new();
    let heads: Vec<String> = columns
        .iter()
        .map(|column| column.head.to_owned())
        .collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let mut line = String::new();
        for ((text, column), width) in row.iter().zip(columns).zip(&widths) {
            let text = cut(text, *width);
            let fill = width.saturating_sub(text.chars().count());
            // A string takes whatever is written.
            let _ = match column.side {
                Side::Left => write!(line, "{text}{:fill$}{GAP}", ""),
                Side::Right => write!(line, "{:fill$}{text}{GAP}", ""),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The widths of the columns: what they need, and where that is too much, the widest that may be cut gives first.
fn widths(columns: &[Column], rows: &[Vec<String>], limit: Option<usize>) -> Vec<usize> {
    let longest = |(place, column): (usize, &Column)| {
        let texts = rows.iter().filter_map(|row| row.get(place));
        let longest = texts.map(|text| text.chars().count()).max();
        longest.unwrap_or_default().max(column.head.len())
    };
    let mut widths: Vec<_> = columns.iter().enumerate().map(longest).collect();
    let Some(limit) = limit else {
        return widths;
    };
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        let can_give = |(place, column): (usize, &Column)| match column.room {
            Room::AtLeast(least) if widths[place] > least => Some((widths[place], place)),
            Room::AtLeast(_) | Room::Whole => None,
        };
        let widest = columns.iter().enumerate().filter_map(can_give).max();
        let Some((_, place)) = widest else { break };
        widths[place] -= 1;
    }
    widths
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn plain(text: &str) -> String {
    let replace = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column {
            head: "ID",
            side: Side::Left,
            room: Room::Whole,
        },
        Column {
            head: "ROUTE",
            side: Side::Left,
            room: Room::AtLeast(6),
        },
        Column {
            head: "AGE",
            side: Side::Right,
            room: Room::Whole,
        },
    ];

    fn rows() -> Vec<Vec<String>> {
        let rows = [
            ["0a1b2c3d", "/live/{room}/events", "5m"],
            ["1", "/ws", "12h"],
        ];
        rows.map(|row| row.map(str::to_owned).to_vec()).to_vec()
    }

    #[test]
    fn a_table_is_as_wide_as_what_it_holds() {
        let expected = "\
ID        ROUTE                AGE
0a1b2c3d  /live/{room}/events   5m
1         /ws                  12h
";
        assert_eq!(table(&COLUMNS, &rows(), None), expected);
        assert_eq!(table(&COLUMNS, &rows(), Some(80)), expected);
    }

    #[test]
    fn what_may_be_cut_gives_way_and_the_rest_does_not() {
        let expected = "\
ID        ROUTE       AGE
0a1b2c3d  /live/{ro…   5m
1         /ws         12h
";
        assert_eq!(table(&COLUMNS, &rows(), Some(25)), expected);
        let narrow = table(&COLUMNS, &rows(), Some(5));
        assert!(narrow.contains("0a1b2c3d  /live…   5m"), "{narrow}");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let rows = [vec![
            "\u{1b}[2J".to_owned(),
            "a\nb".to_owned(),
            String::new(),
        ]];
        let table = table(&COLUMNS, &rows, None);
        assert!(!table.contains('\u{1b}') && table.lines().count() == 2);
    }
}
