//! Text and tables within the width of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for text that has no room.
const CUT: char = '…';

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// The first line.
    pub(super) header: &'static str,
    /// One for each row.
    pub(super) cells: Vec<String>,
    rank: u8,
    is_number: bool,
}

impl Column {
    /// A column of text. Where there is no room for all columns, those of the highest rank are left out first, and
    /// those of rank 0 never.
    pub(super) fn text(header: &'static str, rank: u8, cells: Vec<String>) -> Self {
        Self {
            header,
            cells,
            rank,
            is_number: false,
        }
    }

    /// A column that is aligned to the right.
    pub(super) fn number(header: &'static str, rank: u8, cells: Vec<String>) -> Self {
        Self {
            is_number: true,
            ..Self::text(header, rank, cells)
        }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.width());
        cells.fold(self.header.width(), usize::max)
    }

    fn padded(&self, cell: &str) -> String {
        let padding = " ".repeat(self.width().saturating_sub(cell.width()));
        match self.is_number {
            true => format!("{padding}{cell}"),
            false => format!("{cell}{padding}"),
        }
    }
}

/// How the columns of a table are separated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spacing {
    /// Characters between two columns.
    pub(super) gap: usize,
    /// Characters of the frame at the left and at the right.
    pub(super) frame: usize,
}

/// The width of a table of these columns.
pub(super) fn table_width(columns: &[Column], spacing: Spacing) -> usize {
    let cells: usize = columns.iter().map(Column::width).sum();
    cells + spacing.gap * columns.len().saturating_sub(1) + spacing.frame
}

/// The columns that are shown within this width, and those that are left out, both in order.
pub(super) fn fit(
    columns: Vec<Column>,
    width: usize,
    spacing: Spacing,
) -> (Vec<Column>, Vec<Column>) {
    let mut highest = columns.iter().map(|column| column.rank).max().unwrap_or(0);
    loop {
        let (shown, hidden): (Vec<_>, Vec<_>) = columns
            .iter()
            .cloned()
            .partition(|column| column.rank <= highest);
        if highest == 0 || table_width(&shown, spacing) <= width {
            return (shown, hidden);
        }
        highest -= 1;
    }
}

/// The table without a frame: its header, then its rows.
pub(super) fn table_lines(columns: &[Column], spacing: Spacing) -> Vec<String> {
    let gap = " ".repeat(spacing.gap);
    let line = |cells: Vec<String>| cells.join(&gap).trim_end().to_owned();
    let header = columns.iter().map(|column| column.padded(column.header));
    let mut lines = vec![line(header.collect())];
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        let cell =
            |column: &Column| column.padded(column.cells.get(row).map_or("", String::as_str));
        lines.push(line(columns.iter().map(cell).collect()));
    }
    lines
}

/// The text on lines of at most this width, broken between words where that is possible. All but the first line begin
/// with `indent` blanks.
pub(super) fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let begin = " ".repeat(indent.min(width / 2));
    let width = width.max(1);
    let (mut lines, mut line, mut is_begun) = (Vec::new(), String::new(), false);
    for word in text.split(' ') {
        let needed = line.width() + usize::from(is_begun) + word.width();
        if needed <= width {
            if is_begun {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            if is_begun {
                lines.push(std::mem::replace(&mut line, begin.clone()));
            }
            for c in word.chars() {
                if line.width() + c.width().unwrap_or(0) > width && line.width() > begin.width() {
                    lines.push(std::mem::replace(&mut line, begin.clone()));
                }
                line.push(c);
            }
        }
        is_begun = true;
    }
    lines.push(line);
    lines
}

/// The beginning of the text, within this width.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut line = String::new();
    for c in text.chars() {
        if line.width() + c.width().unwrap_or(0) >= width {
            break;
        }
        line.push(c);
    }
    line.push(CUT);
    line
}

/// The first lines; the last one says how many are not shown.
pub(super) fn first(mut lines: Vec<String>, most: usize, what: &str) -> Vec<String> {
    if lines.len() > most {
        let shown = most.saturating_sub(1);
        let more = lines.len() - shown;
        lines.truncate(shown);
        lines.push(format!("{CUT} and {more} more {what}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Spacing = Spacing { gap: 2, frame: 0 };

    fn column(header: &'static str, rank: u8, cells: &[&str]) -> Column {
        let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
        Column::text(header, rank, cells)
    }

    #[test]
    fn columns_of_the_highest_rank_are_left_out_first() {
        let columns = || {
            vec![
                column("a", 0, &["1234"]),
                column("b", 2, &["12345678"]),
                column("c", 1, &["12"]),
            ]
        };
        let shown = |width| {
            let (shown, hidden) = fit(columns(), width, WIDE);
            let names = |columns: Vec<Column>| -> String {
                columns.iter().map(|column| column.header).collect()
            };
            (names(shown), names(hidden))
        };
        let expected = |shown: &str, hidden: &str| (shown.to_owned(), hidden.to_owned());
        assert_eq!(shown(18), expected("abc", ""));
        assert_eq!(shown(17), expected("ac", "b"));
        assert_eq!(shown(8), expected("ac", "b"));
        assert_eq!(shown(7), expected("a", "bc"));
        assert_eq!(shown(1), expected("a", "bc"));
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let cells = vec!["7".to_owned(), "1234".to_owned()];
        let columns = [
            column("name", 0, &["größer", "漢字"]),
            Column::number("n", 0, cells),
        ];
        assert_eq!(
            table_lines(&columns, WIDE),
            ["name       n", "größer     7", "漢字    1234"]
        );
        assert_eq!(table_width(&columns, WIDE), 12);
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 20, 2), ["one two three"]);
        assert_eq!(wrapped("one two three", 9, 2), ["one two", "  three"]);
        assert_eq!(wrapped("abcdefghij k", 6, 2), ["abcdef", "  ghij", "  k"]);
        assert_eq!(wrapped("", 6, 2), [""]);
        // However narrow it is, it ends.
        for width in 0..8 {
            let lines = wrapped("größer 漢字 word", width, 4);
            let text: String = lines.iter().map(|line| line.trim_start()).collect();
            assert_eq!(text.replace(' ', ""), "größer漢字word", "{width}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut("relay-bin", 9), "relay-bin");
        assert_eq!(cut("relay-bin", 8), "relay-b…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(cut("ab", 0), "…");
    }

    #[test]
    fn lines_that_are_left_out_are_counted() {
        let lines = |count: usize| vec!["line".to_owned(); count];
        assert_eq!(first(lines(3), 3, "lines"), lines(3));
        assert_eq!(
            first(lines(5), 3, "lines"),
            ["line", "line", "… and 3 more lines"]
        );
    }
}
