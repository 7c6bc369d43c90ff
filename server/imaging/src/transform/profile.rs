//! What the colours of an image mean: its ICC profile (PS3.3 C.11.15), and well-known spaces that pictures can be in.

use std::fmt;
use std::sync::Arc;

use crate::attributes::{first_item, of_frame, text};
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use image::RgbImage;
use moxcms::{
    ColorProfile, DataColorSpace, Layout, RenderingIntent, ToneReprCurve, Transform8BitExecutor,
    TransformOptions,
};

/// Largest profile that is looked at, bytes. One of a scanner's, with tables, has half a megabyte.
const MAX_PROFILE_BYTES: usize = 4 << 20;
/// Most tags of a profile that is read; ICC.1 knows fewer.
const MAX_TAGS: usize = 100;
/// ICC.1 7.2 and 7.3: the header, and an entry of the tag table.
const HEADER_BYTES: usize = 128;
const TAG_BYTES: usize = 12;
/// The tags that make colours of numbers.
const OF_COLOURS: [&[u8; 4]; 12] = [
    b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"A2B0", b"A2B1", b"A2B2", b"chad", b"wtpt",
    b"cicp",
];
/// What is tried where a profile has no tables for the intent that it names.
const INTENTS: [RenderingIntent; 3] =
    [RenderingIntent::Perceptual, RenderingIntent::RelativeColorimetric, RenderingIntent::Saturation];
/// When profiles of well-known spaces say that they were made: 2026-01-01.
const MADE: [u8; 12] = [7, 234, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];

/// What colours a picture is to have, and whether it says so (PS3.18 8.3.5.1, `iccprofile`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colours {
    /// Those of sRGB, which is what is taken for granted where nothing is said; no profile says it.
    #[default]
    Plain,
    /// As they are stored, with the image's profile; with that of sRGB, where the image has none.
    Own,
    /// Those of a space, with its profile.
    In(ColourSpace),
}

/// A well-known space of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourSpace {
    /// IEC 61966-2-1.
    Srgb,
    /// Adobe RGB (1998).
    AdobeRgb,
    /// ISO 22028-2.
    RommRgb,
    /// SMPTE EG 432-1 primaries with the curve of sRGB.
    DisplayP3,
}

impl ColourSpace {
    /// By the defined terms of ColorSpace (0028,2002), PS3.3 C.11.15.1.2.
    fn named(name: &str) -> Option<Self> {
        match name {
            "SRGB" => Some(Self::Srgb),
            "ADOBERGB" => Some(Self::AdobeRgb),
            "ROMMRGB" => Some(Self::RommRgb),
            _ => None,
        }
    }

    /// Its profile.
    pub(super) fn profile(self) -> Option<Profile> {
        let known = match self {
            Self::Srgb => ColorProfile::new_srgb(),
            Self::AdobeRgb => ColorProfile::new_adobe_rgb(),
            Self::RommRgb => ColorProfile::new_pro_photo_rgb(),
            Self::DisplayP3 => ColorProfile::new_display_p3(),
        };
        // The same picture is the same bytes: the header's date and time (ICC.1 7.2.8) would be those of now.
        let mut bytes = known.encode().ok()?;
        bytes.get_mut(24..36)?.copy_from_slice(&MADE);
        Profile::read(&bytes)
    }
}

/// A profile of colours in RGB, of which there is a way to sRGB.
#[derive(Clone)]
pub(super) struct Profile {
    bytes: Arc<[u8]>,
    read: Arc<ColorProfile>,
    /// The profile's own, or one that it has tables for.
    intent: RenderingIntent,
    /// `None` where there is nothing to convert.
    to_srgb: Option<Arc<Transform8BitExecutor>>,
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile of {} bytes, {:?}", self.bytes.len(), self.intent)
    }
}

impl Profile {
    /// Of a frame, counted from 1: the image's, or that of its optical path (PS3.3 C.8.12.5). One that does not read, or is not of
    /// RGB, is taken for none.
    pub(super) fn of_frame(object: &DefaultDicomObject, frame: usize) -> Option<Self> {
        Self::of(object).or_else(|| Self::of(optical_path(object, frame)?))
    }

    /// Of an item's ICC Profile Module: its profile, or the space that it names.
    pub(super) fn of(item: &InMemDicomObject) -> Option<Self> {
        let named = text(item, tags::COLOR_SPACE).and_then(|name| ColourSpace::named(&name));
        let profile = item.get(tags::ICC_PROFILE).and_then(|element| Self::read(&element.to_bytes().ok()?));
        match (profile, named) {
            (Some(profile), Some(ColourSpace::Srgb)) => Some(profile.of_srgb()),
            (Some(profile), _) => Some(profile),
            (None, named) => named?.profile(),
        }
    }

    /// The same, for colours that are those of sRGB already.
    fn of_srgb(self) -> Self {
        Self {
            read: Arc::new(ColorProfile::new_srgb()),
            intent: RenderingIntent::Perceptual,
            to_srgb: None,
            ..self
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        // Its first field is its size; the attribute may be padded.
        let size = bytes.first_chunk().map(|size| u32::from_be_bytes(*size) as usize)?;
        let bytes = bytes.get(..size).filter(|bytes| bytes.len() <= MAX_PROFILE_BYTES)?;
        let mut read = ColorProfile::new_from_slice(&with_colours_alone(bytes)?).ok()?;
        if read.color_space != DataColorSpace::Rgb {
            return None;
        }
        tell_curves_apart(&mut read);
        let srgb = ColorProfile::new_srgb();
        let (intent, to_srgb) = [read.rendering_intent]
            .into_iter()
            .chain(INTENTS)
            .find_map(|intent| Some((intent, way(&read, &srgb, intent)?)))?;
        let profile = Self { bytes: bytes.into(), read: Arc::new(read), intent, to_srgb: Some(to_srgb) };
        // The tables of sRGB's own profile (v4 preference) say how sRGB looks on paper: through them saturated colours would fade.
        Some(if is_called_srgb(bytes) { profile.of_srgb() } else { profile })
    }

    /// As it stands in files.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same colours in the numbers of sRGB. `None` where they cannot be converted.
    pub(super) fn in_srgb(&self, image: &RgbImage) -> Option<RgbImage> {
        match &self.to_srgb {
            Some(way) => converted(image, way.as_ref()),
            None => Some(image.clone()),
        }
    }

    /// The same colours in another profile's numbers. `None` where they cannot be converted.
    pub(super) fn convert(&self, image: &RgbImage, to: &Self) -> Option<RgbImage> {
        converted(image, way(&self.read, &to.read, self.intent)?.as_ref())
    }
}

fn way(
    from: &ColorProfile,
    to: &ColorProfile,
    intent: RenderingIntent,
) -> Option<Arc<Transform8BitExecutor>> {
    let options = TransformOptions { rendering_intent: intent, ..Default::default() };
    from.create_transform_8bit(Layout::Rgb, to, Layout::Rgb, options).ok()
}

fn converted(image: &RgbImage, way: &Transform8BitExecutor) -> Option<RgbImage> {
    let mut converted = RgbImage::new(image.width(), image.height());
    way.transform(image, &mut converted).ok()?;
    Some(converted)
}

/// The profile without the tags that colours do not need: a few bytes of others, or the same again and again, could take gigabytes to
/// read. `None` where there are more than a profile has.
fn with_colours_alone(bytes: &[u8]) -> Option<Vec<u8>> {
    let count = u32::from_be_bytes(*bytes.get(HEADER_BYTES..)?.first_chunk()?) as usize;
    if count > MAX_TAGS {
        return None;
    }
    let mut bare = bytes.to_vec();
    let begin = HEADER_BYTES + 4;
    let mut seen = Vec::new();
    for entry in bare.get_mut(begin..begin + count * TAG_BYTES)?.chunks_exact_mut(TAG_BYTES) {
        let signature = entry.first_chunk_mut::<4>()?;
        match OF_COLOURS.contains(&&*signature) && !seen.contains(signature) {
            true => seen.push(*signature),
            // What no reader knows, it passes over.
            false => *signature = [0; 4],
        }
    }
    Some(bare)
}

/// Whether a profile's description (ICC.1 9.2.41) begins with the name of sRGB.
fn is_called_srgb(profile: &[u8]) -> bool {
    let ascii = || description(profile)?.get(12..16);
    let unicode = || {
        let described = description(profile)?;
        let at = u32::from_be_bytes(*described.get(24..)?.first_chunk()?) as usize;
        described.get(at..)?.get(..8)
    };
    match description(profile).and_then(|described| described.first_chunk()) {
        Some(b"desc") => ascii() == Some(b"sRGB"),
        Some(b"mluc") => unicode() == Some(b"\0s\0R\0G\0B"),
        _ => false,
    }
}

/// The tag of a profile's description, and what comes after it.
fn description(profile: &[u8]) -> Option<&[u8]> {
    let count = u32::from_be_bytes(*profile.get(HEADER_BYTES..)?.first_chunk()?) as usize;
    let table = profile.get(HEADER_BYTES + 4..)?;
    let entry = table.chunks_exact(TAG_BYTES).take(count).find(|entry| entry.starts_with(b"desc"))?;
    profile.get(u32::from_be_bytes(*entry.get(4..)?.first_chunk()?) as usize..)
}

/// moxcms 0.8 takes three curves for one where two that stand side by side are equal. Where the third differs, one of the two is made to differ
/// from the other by what no eight bits show.
fn tell_curves_apart(profile: &mut ColorProfile) {
    let (red, green, blue) = (&profile.red_trc, &profile.green_trc, &profile.blue_trc);
    if (red == green) != (green == blue) {
        match &mut profile.green_trc {
            Some(ToneReprCurve::Lut(entries)) => {
                let middle = entries.len() / 2;
                entries.iter_mut().skip(middle).take(1).for_each(|entry| *entry ^= 1);
            }
            Some(ToneReprCurve::Parametric(parameters)) => {
                parameters.iter_mut().take(1).for_each(|gamma| *gamma *= 1.0 + 1e-5);
            }
            None => {}
        }
    }
}

/// The optical path that a frame was taken through.
fn optical_path(object: &DefaultDicomObject, frame: usize) -> Option<&InMemDicomObject> {
    let paths = object.get(tags::OPTICAL_PATH_SEQUENCE)?.items()?;
    let identifier = of_frame(object, frame, tags::OPTICAL_PATH_IDENTIFICATION_SEQUENCE, |item| {
        text(item, tags::OPTICAL_PATH_IDENTIFIER)
    });
    let is_named = |path: &&InMemDicomObject| text(path, tags::OPTICAL_PATH_IDENTIFIER) == identifier;
    paths.iter().find(is_named).or_else(|| first_item(object, tags::OPTICAL_PATH_SEQUENCE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn profile(space: ColourSpace) -> Profile {
        space.profile().unwrap()
    }

    fn one(colour: [u8; 3]) -> RgbImage {
        RgbImage::from_pixel(1, 1, image::Rgb(colour))
    }

    #[test]
    fn a_colour_has_other_numbers_in_a_wider_space() {
        // Green of sRGB in the others, to the nearest whole number: IEC 61966-2-1, Adobe RGB (1998) 4.3, ISO 22028-2, SMPTE EG 432-1.
        for (space, numbers) in [
            (ColourSpace::Srgb, [0, 255, 0]),
            (ColourSpace::AdobeRgb, [144, 255, 60]),
            (ColourSpace::RommRgb, [138, 237, 78]),
            (ColourSpace::DisplayP3, [117, 251, 76]),
        ] {
            let there = profile(ColourSpace::Srgb).convert(&one([0, 255, 0]), &profile(space)).unwrap();
            let near = there.as_raw().iter().zip(numbers).all(|(is, should)| is.abs_diff(should) <= 2);
            assert!(near, "{space:?}: {there:?}");
            let back = profile(space).convert(&there, &profile(ColourSpace::Srgb)).unwrap();
            let near =
                back.as_raw().iter().zip([0, 255, 0]).all(|(is, should): (&u8, u8)| is.abs_diff(should) <= 3);
            assert!(near, "{space:?}: {back:?}");
        }
    }

    /// A profile's bytes with an entry of its tag table repeated, of which the tag is `signature`, `times` over.
    fn with_tags(signature: &[u8; 4], times: usize) -> Vec<u8> {
        let known = profile(ColourSpace::Srgb);
        let (head, rest) = known.bytes().split_at(HEADER_BYTES);
        let count = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (table, data) = rest[4..].split_at(count * TAG_BYTES);
        let shift = (times * TAG_BYTES) as u32;
        let mut bytes = [head, &((count + times) as u32).to_be_bytes()].concat();
        let mut last = [0; TAG_BYTES];
        for entry in table.chunks_exact(TAG_BYTES) {
            last.copy_from_slice(entry);
            let at = u32::from_be_bytes(entry[4..8].try_into().unwrap()) + shift;
            last[4..8].copy_from_slice(&at.to_be_bytes());
            bytes.extend(last);
        }
        last[..4].copy_from_slice(signature);
        bytes.extend(std::iter::repeat_n(last, times).flatten());
        bytes.extend(data);
        let size = (bytes.len() as u32).to_be_bytes();
        bytes[..4].copy_from_slice(&size);
        bytes
    }

    #[test]
    fn tags_that_colours_do_not_need_are_not_read() {
        let green = |bytes: &[u8]| Profile::read(bytes)?.in_srgb(&one([0, 255, 0]));
        assert!(green(&with_tags(b"desc", 20)).is_some(), "what is only said is passed over");
        assert!(green(&with_tags(b"A2B0", 1)).is_none(), "a text is no table");
        let known = profile(ColourSpace::Srgb);
        let first = known.bytes()[132..136].try_into().unwrap();
        assert!(green(&with_tags(first, 20)).is_some(), "the first of a kind counts");
        assert!(green(&with_tags(b"desc", MAX_TAGS)).is_none());
    }

    #[test]
    fn each_primary_has_its_own_curve() {
        let curves = [1.0, 1.0, 2.0].map(|gamma| Some(ToneReprCurve::Parametric(vec![gamma])));
        for places in [[0, 1, 2], [2, 0, 1], [0, 2, 1]] {
            let mut known = ColorProfile::new_srgb();
            // What is called sRGB is not converted.
            (known.cicp, known.description) = (None, None);
            let [red, green, blue] = places.map(|place| curves[place].clone());
            (known.red_trc, known.green_trc, known.blue_trc) = (red, green, blue);
            let shown = Profile::read(&known.encode().unwrap()).unwrap().in_srgb(&one([128; 3])).unwrap();
            // Half of the light of a primary with gamma 1, a quarter with gamma 2.
            let expected = places.map(|place| if place == 2 { 137 } else { 188 });
            let near =
                shown.as_raw().iter().zip(expected).all(|(is, should): (&u8, u8)| is.abs_diff(should) <= 2);
            assert!(near, "{places:?}: {shown:?}");
        }
    }

    #[test]
    fn padding_is_no_part_of_a_profile() {
        let known = profile(ColourSpace::Srgb);
        let padded = [known.bytes(), &[0]].concat();
        assert_eq!(Profile::read(&padded), Some(known));
        for wrong in [&b""[..], b"\0\0", &padded[..200], &[0; 400]] {
            assert_eq!(Profile::read(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn a_profile_with_wrong_bytes_is_read_and_used_or_not(
            wrong in proptest::collection::vec((128usize..700, any::<u8>()), 1..8),
            space in prop_oneof![Just(ColourSpace::Srgb), Just(ColourSpace::AdobeRgb), Just(ColourSpace::RommRgb)],
        ) {
            let mut bytes = profile(space).bytes().to_vec();
            for (at, byte) in wrong {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some(read) = Profile::read(&bytes) {
                let _ = read.convert(&one([10, 200, 30]), &profile(ColourSpace::Srgb));
            }
        }
    }
}
