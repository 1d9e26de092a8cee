//! From the named groups of a regular expression to an identity.

use regex::{Captures, Regex};

use super::PlateIdentity;

/// The names that a user's pattern may give.
pub(super) const FIELDS: [&str; 9] = ["plate", "run", "cycle", "well", "site", "channel", "z", "t", "mag"];

/// What the named groups of `regex` say of `path`, or nothing where it does not match.
///
/// Beside [`FIELDS`] the built-in patterns use `row` and `column`, the numbers of a well from 1.
pub(super) fn fields_of(regex: &Regex, path: &str) -> Option<PlateIdentity> {
    let captures = regex.captures(path)?;
    let text = |name| text(&captures, name);
    let well_of_numbers = || well_name(text("row")?.parse().ok()?, text("column")?.parse().ok()?);
    Some(PlateIdentity {
        plate: text("plate").map(str::to_owned),
        run: text("run").map(str::to_owned),
        cycle: text("cycle").map(str::to_owned),
        well: text("well").map(normalised_well).or_else(well_of_numbers),
        site: text("site").map(str::to_owned),
        channels: text("channel").map(channel_names).unwrap_or_default(),
        z: text("z").and_then(|digits| digits.parse().ok()),
        t: text("t").and_then(|digits| digits.parse().ok()),
        magnification: text("mag")
            .and_then(|number| number.trim_end_matches(['x', 'X']).parse().ok())
            .filter(|number: &f64| number.is_finite() && *number > 0.0),
    })
}

/// The text of a group without spaces around it, unless there is none.
fn text<'a>(captures: &Captures<'a>, name: &str) -> Option<&'a str> {
    captures.name(name).map(|found| found.as_str().trim()).filter(|text| !text.is_empty())
}

/// The names between the commas, in order.
fn channel_names(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).collect()
}

/// `B02` for `B2`, `b02`, `B-2`, `B_02` and `r02c03`-like names; everything else as named.
fn normalised_well(name: &str) -> String {
    parse_well(name).unwrap_or_else(|| name.to_owned())
}

fn parse_well(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if let Some((row, column)) = upper.strip_prefix('R').and_then(|rest| rest.split_once('C')) {
        return well_name(whole_number(row)?, whole_number(column)?);
    }
    let n_letters = upper.bytes().take_while(u8::is_ascii_uppercase).count();
    let (letters, digits) = upper.split_at(n_letters);
    let row = match letters.as_bytes() {
        [letter] => u32::from(letter - b'A') + 1,
        [b'A', letter] => u32::from(letter - b'A') + 27,
        _ => return None,
    };
    well_name(row, whole_number(digits.strip_prefix(['-', '_', ' ']).unwrap_or(digits))?)
}

/// The name of a well on a plate of up to 1536 wells (32 rows, 48 columns), or nothing outside of it.
fn well_name(row: u32, column: u32) -> Option<String> {
    let letters = match row {
        1..=26 => char::from(b'A' + (row - 1) as u8).to_string(),
        27..=32 => format!("A{}", char::from(b'A' + (row - 27) as u8)),
        _ => return None,
    };
    (1..=48).contains(&column).then(|| format!("{letters}{column:02}"))
}

/// Digits only: a sign is no part of a well's name.
fn whole_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wells_have_one_name_each() {
        for (name, expected) in [
            ("B02", "B02"),
            ("B2", "B02"),
            ("b2", "B02"),
            ("B-2", "B02"),
            ("P24", "P24"),
            ("AF48", "AF48"),
            ("r02c03", "B03"),
            ("R2C3", "B03"),
            ("Well1", "Well1"),
            ("1", "1"),
            ("B00", "B00"),
            ("B49", "B49"),
            ("AG1", "AG1"),
            ("B", "B"),
            ("B+2", "B+2"),
            ("control", "control"),
        ] {
            assert_eq!(normalised_well(name), expected, "{name}");
        }
    }
}
