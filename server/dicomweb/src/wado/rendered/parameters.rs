//! The rendering parameters.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.3.5>

use engram_imaging::{ColourSpace, Colours, PictureFormat, Region, RenderOptions, VoiFunction, Window};

use crate::error::{Error, Result};

/// Quality of a JPEG that no quality is given for.
const DEFAULT_QUALITY: u8 = 90;
/// Largest viewport, in pixels a side.
pub const MAX_VIEWPORT: u32 = 16_384;
/// Most words of an `annotation`.
const MAX_ANNOTATIONS: usize = 16;

/// What is asked of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub options: RenderOptions,
    /// The values of `annotation`, which are not burned in: the client is warned of them.
    pub annotation: Option<String>,
}

impl Asked {
    /// The `Warning` header, where something that was asked for is not done.
    pub fn warning(&self) -> Option<String> {
        self.annotation.as_deref().map(warning)
    }
}

/// The `Warning` header for values of `annotation`, in the words of PS3.18 8.3.5.1.1.
pub fn warning(annotation: &str) -> String {
    format!("299 engram \"The following annotation values are not supported: {annotation}\"")
}

/// Reads `annotation`, `window`, `viewport`, `quality` and `iccprofile`; the media type decides the format.
/// Parameters of other purposes pass.
pub fn asked(pairs: &[(String, String)], media_type: &str) -> Result<Asked> {
    let mut options = RenderOptions::default();
    let mut quality = None;
    let mut unsupported = None;
    for (name, value) in pairs {
        match name.as_str() {
            "annotation" => unsupported = Some(annotation(value)?),
            "window" => options.window = Some(window(value).ok_or_else(|| refused(WINDOW))?),
            "viewport" => {
                let viewport = viewport(value).ok_or_else(|| refused(VIEWPORT))?;
                options.viewport = Some(viewport.size);
                options.region = viewport.region;
                options.mirrored = viewport.mirrored;
            }
            "quality" => quality = Some(percent(value).ok_or_else(|| refused(QUALITY))?),
            "iccprofile" => options.colours = colours(value).ok_or_else(|| refused(ICC_PROFILE))?,
            _ => {}
        }
    }
    options.format = format(media_type, quality);
    Ok(Asked { options, annotation: unsupported })
}

/// The encoding that a media type stands for.
pub fn format(media_type: &str, quality: Option<u8>) -> PictureFormat {
    match media_type {
        "image/png" => PictureFormat::Png,
        "image/jp2" => PictureFormat::Jpeg2000,
        "image/gif" => PictureFormat::Gif,
        _ => PictureFormat::Jpeg { quality: quality.unwrap_or(DEFAULT_QUALITY) },
    }
}

const ANNOTATION: &str =
    "`annotation` must be a list of words separated by commas, such as patient,technique";
const WINDOW: &str = "`window` must be center,width[,linear|linear-exact|sigmoid] with a positive width";
const VIEWPORT: &str =
    "`viewport` must be width,height[,left,top,[-]width,[-]height] within 16384 pixels a side";
const QUALITY: &str = "`quality` must be a whole number from 1 to 100";
/// What a wrong `iccprofile` is told.
pub const ICC_PROFILE: &str = "`iccprofile` must be no, yes, srgb, adobergb, rommrgb or displayp3";

/// A parameter that cannot be met.
pub fn refused(message: &str) -> Error {
    Error::BadQuery { message: message.to_owned() }
}

/// PS3.18 8.3.5.1.1: the words, as they may stand in a header. None is supported, which a server may say instead.
pub fn annotation(text: &str) -> Result<String> {
    let is_word = |word: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=32).contains(&word.len()) && word.bytes().all(allowed)
    };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    match words.len() <= MAX_ANNOTATIONS && words.iter().all(|word| is_word(word)) {
        true => Ok(words.join(",")),
        false => Err(refused(ANNOTATION)),
    }
}

/// PS3.18 8.3.5.1: which colours a picture is to have, and whether it says so.
pub fn colours(text: &str) -> Option<Colours> {
    Some(match text {
        "no" => Colours::Plain,
        "yes" => Colours::Own,
        "srgb" => Colours::In(ColourSpace::Srgb),
        "adobergb" => Colours::In(ColourSpace::AdobeRgb),
        "rommrgb" => Colours::In(ColourSpace::RommRgb),
        "displayp3" => Colours::In(ColourSpace::DisplayP3),
        _ => return None,
    })
}

/// A JPEG's quality.
pub fn percent(text: &str) -> Option<u8> {
    text.parse().ok().filter(|quality| (1..=100).contains(quality))
}

/// PS3.18 8.3.5.1.4.
fn window(text: &str) -> Option<Window> {
    let mut fields = text.split(',');
    let center = finite(fields.next()?)?;
    let width = finite(fields.next()?)?;
    let function = match fields.next().map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "linear") => VoiFunction::Linear,
        Some("linear-exact") => VoiFunction::LinearExact,
        Some("sigmoid") => VoiFunction::Sigmoid,
        Some(_) => return None,
    };
    Window::new(center, width, function).filter(|_| fields.next().is_none())
}

/// The viewport, and what of the image is shown in it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Viewport {
    /// Width and height.
    size: (u32, u32),
    region: Option<Region>,
    /// From left to right, and from top to bottom.
    mirrored: [bool; 2],
}

/// PS3.18 8.3.5.1.3. What is left out between the commas is 0 for left and top, and up to the image's edge for the region's
/// width and height; where one of these is negative, the region is mirrored.
fn viewport(text: &str) -> Option<Viewport> {
    let mut fields = text.split(',').map(|field| match field.trim() {
        "" => Some(None),
        field => signed_pixels(field).map(Some),
    });
    let mut next = || fields.next().unwrap_or(Some(None));
    let (width, height) = (next()??, next()??);
    let (left, top, across, down) = (next()?, next()?, next()?, next()?);
    let is_mirrored = |side: Option<(u32, bool)>| side.is_some_and(|(_, is_negative)| is_negative);
    let is_empty = |side: Option<(u32, bool)>| side.is_some_and(|(pixels, _)| pixels == 0);
    let sides = [Some(width), Some(height), across, down];
    if fields.next().is_some()
        || sides.into_iter().any(is_empty)
        || [Some(width), Some(height), left, top].into_iter().any(is_mirrored)
    {
        return None;
    }
    let whole = [left, top, across, down] == [None; 4];
    let pixels = |side: Option<(u32, bool)>, otherwise| side.map_or(otherwise, |(pixels, _)| pixels);
    let region =
        Region::Pixels(pixels(left, 0), pixels(top, 0), pixels(across, u32::MAX), pixels(down, u32::MAX));
    Some(Viewport {
        size: (width.0, height.0),
        region: (!whole).then_some(region),
        mirrored: [across, down].map(is_mirrored),
    })
}

/// A number of pixels, and whether a minus sign stands before it.
fn signed_pixels(text: &str) -> Option<(u32, bool)> {
    match text.strip_prefix('-') {
        Some(rest) => pixels(rest).map(|pixels| (pixels, true)),
        None => pixels(text).map(|pixels| (pixels, false)),
    }
}

fn pixels(text: &str) -> Option<u32> {
    let number = finite(text)?;
    (0.0..=f64::from(MAX_VIEWPORT)).contains(&number).then(|| number.round() as u32)
}

/// A number, neither infinite nor none.
pub fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pairs;
    use proptest::prelude::*;

    fn read(text: &str, media_type: &str) -> Result<RenderOptions> {
        asked(&pairs(text).unwrap(), media_type).map(|asked| asked.options)
    }

    #[test]
    fn parameters_become_options() {
        let options =
            read("window=40,400,SIGMOID&viewport=128,64,1,2,30,40&quality=7", "image/jpeg").unwrap();
        assert_eq!(
            options.window,
            Some(Window { center: 40.0, width: 400.0, function: VoiFunction::Sigmoid })
        );
        assert_eq!(options.viewport, Some((128, 64)));
        assert_eq!(options.region, Some(Region::Pixels(1, 2, 30, 40)));
        assert_eq!(options.format, PictureFormat::Jpeg { quality: 7 });
        assert_eq!(read("accept=image/png&iccprofile=no", "image/png").unwrap(), RenderOptions::default());
        assert_eq!(read("iccprofile=yes", "image/png").unwrap().colours, Colours::Own);
        let wide = read("iccprofile=rommrgb", "image/png").unwrap().colours;
        assert_eq!(wide, Colours::In(ColourSpace::RommRgb));
        assert_eq!(read("", "image/gif").unwrap().format, PictureFormat::Gif);
        assert_eq!(read("quality=7", "image/jp2").unwrap().format, PictureFormat::Jpeg2000);
    }

    #[test]
    fn parts_of_a_viewport_may_be_left_out() {
        for (text, region) in [
            ("8,8", None),
            ("8,8,,", None),
            ("8,8,,,5,6", Some(Region::Pixels(0, 0, 5, 6))),
            ("8,8,2", Some(Region::Pixels(2, 0, u32::MAX, u32::MAX))),
            ("8,8,2,3,,6", Some(Region::Pixels(2, 3, u32::MAX, 6))),
        ] {
            assert_eq!(
                viewport(text),
                Some(Viewport { size: (8, 8), region, mirrored: [false; 2] }),
                "{text}"
            );
        }
    }

    #[test]
    fn negative_sides_mirror() {
        for (text, mirrored) in
            [("8,8,1,1,-5,6", [true, false]), ("8,8,1,1,5,-6", [false, true]), ("8,8,1,1,-5,-6", [true; 2])]
        {
            let region = Some(Region::Pixels(1, 1, 5, 6));
            assert_eq!(viewport(text), Some(Viewport { size: (8, 8), region, mirrored }), "{text}");
        }
    }

    #[test]
    fn annotations_are_warned_of() {
        let warning = |text| asked(&pairs(text).unwrap(), "image/png").unwrap().warning();
        let text = warning("annotation=patient,technique").unwrap();
        assert_eq!(
            text,
            "299 engram \"The following annotation values are not supported: patient,technique\""
        );
        assert_eq!(warning("window=1,2"), None);
    }

    #[test]
    fn what_cannot_be_met_is_refused() {
        for text in [
            "window=40",
            "window=40,0",
            "window=a,b",
            "window=1,2,cubic",
            "window=1,2,linear,3",
            "window=nan,inf",
            "viewport=0,5",
            "viewport=1",
            "viewport=,2",
            "viewport=1,1,1,1,1,1,1",
            "viewport=1,1,-1",
            "viewport=-1,1",
            "viewport=1,1,0,0,--1,1",
            "viewport=1,1,0,0,-0,1",
            "viewport=99999,1",
            "viewport=1,1,0,0,0,1",
            "quality=0",
            "quality=101",
            "quality=x",
            "iccprofile=sRGB",
            "iccprofile=",
            "annotation=",
            "annotation=a%0d%0ab",
        ] {
            assert!(read(text, "image/png").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "[0-9,.eE+a-z-]{0,40}") {
            let _ = window(&text);
            let _ = viewport(&text);
        }
    }
}
