//! Which planes of a container show nuclei: by the channel that was asked for, or else by the names of their stains.

use std::sync::LazyLock;

use regex::Regex;

use crate::analysis::identity::PlateIdentity;
use crate::formats::Metadata;
use crate::stages::figures;
use crate::units::PlaneIndex;

/// Which channel holds the nuclei.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ChannelChoice {
    /// By the names of nuclear stains; the only channel where there is one without a name.
    #[default]
    Automatic,
    /// The channel of this name, whatever its case.
    Name(String),
    /// The channel of this number, from 0.
    Number(u32),
}

/// Stains and fluorophores of nuclei, as they stand in channel names.
static NUCLEAR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)dapi|hoechst|\bbfp\b|ebfp|bfp2|nucle(ar|i|us)|draq|h2b|sytox|syto\d|\b405\b|\b385\b|\b395\b",
    )
    .expect("the pattern is constant and tested")
});

impl ChannelChoice {
    /// Reads a setting: empty for automatic, digits for a number, a name otherwise.
    pub fn parse(text: &str) -> Self {
        match (text.trim(), text.trim().parse()) {
            ("", _) => Self::Automatic,
            (_, Ok(number)) => Self::Number(number),
            (name, Err(_)) => Self::Name(name.to_owned()),
        }
    }
}

/// Whether a channel of this name shows nuclei. A mere number is no stain: the first channel is taken for nuclei then,
/// as plate readers image them first.
fn is_nuclear(name: &str) -> bool {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let is_number =
        !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = name[..name.len() - digits.len()].trim().to_ascii_lowercase();
    if is_number && ["", "w", "c", "ch", "channel"].contains(&prefix.as_str()) {
        return matches!(digits.parse(), Ok(0 | 1));
    }
    NUCLEAR.is_match(name)
}

/// Why the plane at `index` is not segmented; `None` when it is to be.
pub fn refusal(
    choice: &ChannelChoice,
    (identity, metadata): (&PlateIdentity, &Metadata),
    index: PlaneIndex,
    n_samples: usize,
) -> Option<String> {
    if n_samples != 1 {
        return Some("not segmented: colour image".to_owned());
    }
    let name = |channel| figures::channel_name(identity, metadata, channel);
    let n_channels = metadata.dims.c.max(1);
    let wanted = match choice {
        ChannelChoice::Number(number) => Some(*number),
        ChannelChoice::Name(wanted) => (0..n_channels)
            .find(|channel| name(*channel).is_some_and(|name| name.eq_ignore_ascii_case(wanted))),
        ChannelChoice::Automatic => {
            let named: Vec<_> = (0..n_channels).map(name).collect();
            let nuclear = named.iter().position(|name| name.as_deref().is_some_and(is_nuclear));
            match nuclear {
                Some(channel) => Some(channel as u32),
                // nothing says what it shows: a lone channel is taken for nuclei, of several the first
                None if named.iter().all(Option::is_none) => Some(0),
                None => return Some("not segmented: no nuclear channel".to_owned()),
            }
        }
    };
    match wanted {
        Some(channel) if channel == index.c => None,
        Some(channel) if channel < n_channels => {
            Some(format!("not segmented: channel {channel} holds the nuclei"))
        }
        _ => Some("not segmented: the channel asked for is not in this file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stains_are_recognised_and_other_channels_are_not() {
        let nuclear =
            ["DAPI", "SD DAPI- EM", "Hoechst 33342", "w1-BFP", "mTagBFP2", "405 nm", "H2B-mCherry", "Nuclei"];
        for name in nuclear {
            assert!(is_nuclear(name), "{name}");
        }
        for name in
            ["FITC BP", "TRITC", "DIC", "Mono", "GFP", "Cy5", "SD GFP - EM", "4050", "brightfield", ""]
        {
            assert!(!is_nuclear(name), "{name}");
        }
    }

    #[test]
    fn of_numbered_channels_the_first_is_nuclear() {
        for name in ["1", "w1", "ch1", "000", "Channel 1"] {
            assert!(is_nuclear(name), "{name}");
        }
        for name in ["2", "w2", "ch3", "Channel 2"] {
            assert!(!is_nuclear(name), "{name}");
        }
    }

    #[test]
    fn a_setting_is_automatic_a_number_or_a_name() {
        assert_eq!(ChannelChoice::parse(" "), ChannelChoice::Automatic);
        assert_eq!(ChannelChoice::parse("2"), ChannelChoice::Number(2));
        assert_eq!(ChannelChoice::parse("SD DAPI- EM"), ChannelChoice::Name("SD DAPI- EM".into()));
    }
}
