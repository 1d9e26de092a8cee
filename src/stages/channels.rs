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
    /// By the names of nuclear stains, or blue emission where a channel has no name; the first channel where nothing
    /// says what any of them shows.
    #[default]
    Automatic,
    /// The channel of this name, whatever its case, or else of this number from 0.
    Asked(String),
}

const NO_NUCLEAR_CHANNEL: &str = "not segmented: no nuclear channel";

/// Stains and fluorophores of nuclei, as they stand in channel names.
static NUCLEAR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)dapi|hoechst|\bbfp\b|ebfp|bfp2|nucle(ar|i|us)|draq|h2b|sytox|syto\d|\b405\b|\b385\b|\b395\b",
    )
    .expect("the pattern is constant and tested")
});

impl ChannelChoice {
    /// Reads a setting: empty for automatic, a name or a number otherwise.
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "" => Self::Automatic,
            asked => Self::Asked(asked.to_owned()),
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

/// Whether an emission colour is that of nuclear stains: blue at least twice as strong as red and green. Cyan is not,
/// nor is grey, which says nothing of a stain.
fn is_blue([red, green, blue]: [u8; 3]) -> bool {
    blue >= 96 && u16::from(blue) >= 2 * u16::from(red.max(green))
}

/// Why the plane at `index` is not segmented; `None` when it is to be.
pub fn refusal(
    choice: &ChannelChoice,
    (identity, metadata): (&PlateIdentity, &Metadata),
    index: PlaneIndex,
    n_samples: usize,
) -> Option<String> {
    if n_samples != 1 {
        return Some(format!("{NO_NUCLEAR_CHANNEL} (colour image)"));
    }
    let n_channels = metadata.dims.c.max(1);
    let wanted = match choice {
        ChannelChoice::Asked(asked) => asked_for(asked, identity, metadata),
        ChannelChoice::Automatic => match automatic(identity, metadata) {
            None => return Some(NO_NUCLEAR_CHANNEL.to_owned()),
            found => found,
        },
    };
    match wanted {
        Some(channel) if channel == index.c => None,
        Some(channel) if channel < n_channels => {
            Some(format!("not segmented: channel {channel} holds the nuclei"))
        }
        _ => Some("not segmented: the channel asked for is not in this file".to_owned()),
    }
}

/// The channel of this name, or else of this number. A number is a name only where the container says so: in the
/// names of files it counts.
fn asked_for(asked: &str, identity: &PlateIdentity, metadata: &Metadata) -> Option<u32> {
    let is_asked = |name: &str| name.eq_ignore_ascii_case(asked);
    let stored = metadata.channels.iter().position(|channel| is_asked(channel.name.trim()));
    match (stored, asked.parse()) {
        (Some(channel), _) => u32::try_from(channel).ok(),
        (None, Ok(number)) => Some(number),
        (None, Err(_)) => (0..metadata.dims.c.max(1)).find(|channel| {
            figures::channel_name(identity, metadata, *channel).is_some_and(|name| is_asked(&name))
        }),
    }
}

/// The nuclear channel by names, or else by the colours of channels without a name, or else the first where neither
/// names nor colours say anything; `None` when they name others only.
fn automatic(identity: &PlateIdentity, metadata: &Metadata) -> Option<u32> {
    let name = |channel: u32| figures::channel_name(identity, metadata, channel);
    let color = |channel: u32| {
        let color = metadata.channels.get(channel as usize)?.color_rgb;
        color.filter(|[red, green, blue]| red != green || green != blue)
    };
    let mut channels = 0..metadata.dims.c.max(1);
    let all = channels.clone();
    let by_name = all.clone().find(|channel| name(*channel).is_some_and(|name| is_nuclear(&name)));
    let is_blue = |channel: &u32| name(*channel).is_none() && color(*channel).is_some_and(is_blue);
    let says_nothing = channels.all(|channel| name(channel).is_none() && color(channel).is_none());
    by_name.or_else(|| all.clone().find(is_blue)).or(says_nothing.then_some(0))
}

#[cfg(test)]
mod tests {
    use crate::formats::{Channel, Dims, Format};
    use crate::units::SampleType;

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

    /// One plane per channel, of these names and colours; the numbers of those that are segmented.
    fn segmented(choice: &str, channels: &[(&str, Option<[u8; 3]>)], file_names: &[&str]) -> Vec<u32> {
        let metadata = Metadata {
            channels: channels
                .iter()
                .map(|(name, color_rgb)| Channel {
                    name: (*name).into(),
                    color_rgb: *color_rgb,
                    emission_nm: None,
                })
                .collect(),
            ..metadata(channels.len() as u32)
        };
        let identity = PlateIdentity {
            channels: file_names.iter().map(|name| (*name).to_owned()).collect(),
            ..PlateIdentity::default()
        };
        let choice = ChannelChoice::parse(choice);
        let is_segmented = |c: &u32| {
            refusal(&choice, (&identity, &metadata), PlaneIndex { t: 0, p: 0, z: 0, c: *c }, 1).is_none()
        };
        (0..channels.len() as u32).filter(is_segmented).collect()
    }

    const BLUE: Option<[u8; 3]> = Some([0, 60, 255]);
    const GREEN: Option<[u8; 3]> = Some([0, 255, 0]);
    const GREY: Option<[u8; 3]> = Some([255, 255, 255]);

    #[test]
    fn unnamed_channels_are_known_by_their_colours() {
        assert_eq!(segmented("", &[("", GREEN), ("", BLUE)], &[]), [1]);
        assert!(segmented("", &[("", GREEN), ("", Some([0, 255, 255]))], &[]).is_empty());
        // a name weighs more than a colour
        assert_eq!(segmented("", &[("", BLUE), ("DAPI", GREEN)], &[]), [1]);
        assert!(segmented("", &[("Mono", BLUE)], &[]).is_empty());
        // grey says nothing
        assert_eq!(segmented("", &[("", GREY), ("", None)], &[]), [0]);
    }

    #[test]
    fn the_channel_asked_for_is_a_name_first_and_a_number_second() {
        let channels = [("488", None), ("405", None), ("dapi", None)];
        assert_eq!(segmented("405", &channels, &[]), [1]);
        assert_eq!(segmented("2", &channels, &[]), [2]);
        assert_eq!(segmented("DAPI", &channels, &[]), [2]);
        assert!(segmented("640", &channels, &[]).is_empty());
        // in file names a number counts
        assert_eq!(segmented("0", &[("", None)], &["1"]), [0]);
        assert!(segmented("1", &[("", None)], &["1"]).is_empty());
        assert_eq!(segmented("w1-BFP", &[("", None)], &["w1-BFP"]), [0]);
    }

    #[test]
    fn colour_images_have_no_nuclear_channel() {
        let index = PlaneIndex { t: 0, p: 0, z: 0, c: 0 };
        let reason = refusal(&ChannelChoice::Automatic, (&PlateIdentity::default(), &metadata(1)), index, 3);
        assert!(reason.unwrap().starts_with("not segmented: no nuclear channel"));
    }

    fn metadata(n_channels: u32) -> Metadata {
        let dims = Dims { t: 1, p: 1, z: 1, c: n_channels, y: 4, x: 4, s: 1 };
        Metadata {
            format: Format::Nd2,
            dims,
            sample_type: SampleType::Uint16,
            significant_bits: 16,
            is_lossy: false,
            pixel_size_um: None,
            z_step_um: None,
            nominal_magnification: None,
            objective: None,
            numerical_aperture: None,
            channels: Vec::new(),
            positions: Vec::new(),
            acquired_at: None,
            other_files: Vec::new(),
        }
    }
}
