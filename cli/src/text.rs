//! Text for people: tables, spans of time, and names that an agent chose, made harmless.
//!
//! What an agent asks for is shown on the terminal of the person who decides about it. Nothing in it may
//! move the cursor, hide a part, or turn the order of letters around.

use std::borrow::Cow;

use comfy_table::{ContentArrangement, Table, presets};

/// Text in which every character shows: control characters and those that change how others are shown are
/// written as escapes.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_deceptive(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero width, marks of direction, separators of lines, embeddings and isolates.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Shortens a text in its middle: how a name begins and how it ends tell most.
pub(crate) fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= most {
        return Cow::Borrowed(text);
    }
    let tail = most / 2;
    let head: String = text.chars().take(most.saturating_sub(tail + 3)).collect();
    let tail: String = text.chars().skip(length - tail).collect();
    Cow::Owned(format!("{head}...{tail}"))
}

/// A table as kubectl prints one: no borders, three blanks between columns, nothing wrapped.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

/// A span of time as kubectl prints ages: `40s`, `3m5s`, `23h`, `2d4h`.
pub(crate) fn span(seconds: i64) -> String {
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => pair(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if days < 365 * 8 => pair(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// A number of bytes, as `512 B`, `1.2 KiB`, `20.0 MiB`.
pub(crate) fn bytes(count: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A number with its noun: `1 policy`, `2 policies`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{bytes, shorten, span, table, visible};

    #[test]
    fn nothing_is_hidden_from_the_reader() {
        let shown = [
            "projects/acme/b",
            "für/é/日本",
            "a\u{1b}[2Kb",
            "a\nb\rc\td\0",
            "safe\u{202e}gnp.exe",
            "zero\u{200b}width\u{feff}",
            "\u{9b}31m",
        ]
        .map(|text| visible(text).into_owned());
        assert_eq!(
            shown,
            [
                "projects/acme/b",
                "für/é/日本",
                "a\\u{1b}[2Kb",
                "a\\u{a}b\\u{d}c\\u{9}d\\u{0}",
                "safe\\u{202e}gnp.exe",
                "zero\\u{200b}width\\u{feff}",
                "\\u{9b}31m",
            ]
        );
    }

    #[test]
    fn spans_are_those_of_kubectl() {
        let shown = [
            -5,
            0,
            119,
            120,
            185,
            600,
            10_799,
            10_800,
            27_000,
            28_800,
            172_799,
            172_800,
            190_800,
            691_200,
            63_072_000,
            400_000_000,
        ]
        .map(span);
        assert_eq!(
            shown,
            [
                "0s", "0s", "119s", "2m", "3m5s", "10m", "179m", "3h", "7h30m", "8h", "47h", "2d", "2d5h",
                "8d", "2y", "12y",
            ]
        );
    }

    #[test]
    fn sizes_and_long_names() {
        assert_eq!(
            [0, 1023, 1229, 20 << 20, 3 << 40].map(bytes),
            ["0 B", "1023 B", "1.2 KiB", "20.0 MiB", "3.0 TiB"]
        );
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghijk", 10), "ab...ghijk");
        assert_eq!(shorten("ééééééééééé", 10), "éé...ééééé");
    }

    #[test]
    fn a_table_has_no_borders_and_no_blanks_at_the_end() {
        let rows = [["a", "long name"], ["longer", "b"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            table(&["NAME", "AGENT"], rows),
            "NAME     AGENT\na        long name\nlonger   b"
        );
    }
}
