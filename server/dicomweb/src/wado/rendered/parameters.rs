//! The rendering parameters.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_8.3.5>

use engram_imaging::{PictureFormat, RenderOptions, VoiFunction, Window};

use crate::error::{Error, Result};

/// Quality of a JPEG that no `quality` is given for.
const DEFAULT_QUALITY: u8 = 90;
/// Largest viewport, in pixels a side.
const MAX_VIEWPORT: f64 = 16_384.0;

/// Reads `window`, `viewport` and `quality`; the media type decides between PNG and JPEG. Parameters of other
/// purposes pass.
pub fn render_options(pairs: &[(String, String)], media_type: &str) -> Result<RenderOptions> {
    let mut options = RenderOptions::default();
    let mut quality = DEFAULT_QUALITY;
    for (name, value) in pairs {
        match name.as_str() {
            "window" => options.window = Some(window(value).ok_or_else(|| refused(WINDOW))?),
            "viewport" => {
                (options.viewport, options.region) = viewport(value).ok_or_else(|| refused(VIEWPORT))?;
            }
            "quality" => {
                let number = value.parse().ok().filter(|quality| (1..=100).contains(quality));
                quality = number.ok_or_else(|| refused(QUALITY))?;
            }
            _ => {}
        }
    }
    options.format = match media_type {
        "image/jpeg" => PictureFormat::Jpeg { quality },
        _ => PictureFormat::Png,
    };
    Ok(options)
}

const WINDOW: &str = "`window` must be center,width[,linear|linear-exact|sigmoid] with a positive width";
const VIEWPORT: &str = "`viewport` must be width,height[,left,top,width,height] within 16384 pixels a side";
const QUALITY: &str = "`quality` must be a whole number from 1 to 100";

fn refused(message: &str) -> Error {
    Error::BadQuery { message: message.to_owned() }
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
    let fits = match function {
        VoiFunction::Linear => width >= 1.0,
        _ => width > 0.0,
    };
    (fits && fields.next().is_none()).then_some(Window { center, width, function })
}

type Viewport = (Option<(u32, u32)>, Option<(u32, u32, u32, u32)>);

/// PS3.18 8.3.5.1.3: size of the viewport, and the region of the image shown in it.
fn viewport(text: &str) -> Option<Viewport> {
    let numbers: Option<Vec<u32>> = text.split(',').map(pixels).collect();
    match numbers?.as_slice() {
        [width, height] if *width > 0 && *height > 0 => Some((Some((*width, *height)), None)),
        [width, height, region @ ..] if *width > 0 && *height > 0 => match region {
            [left, top, across, down] if *across > 0 && *down > 0 => {
                Some((Some((*width, *height)), Some((*left, *top, *across, *down))))
            }
            _ => None,
        },
        _ => None,
    }
}

fn pixels(text: &str) -> Option<u32> {
    let number = finite(text)?;
    (0.0..=MAX_VIEWPORT).contains(&number).then(|| number.round() as u32)
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pairs;
    use proptest::prelude::*;

    fn read(text: &str, media_type: &str) -> Result<RenderOptions> {
        render_options(&pairs(text).unwrap(), media_type)
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
        assert_eq!(options.region, Some((1, 2, 30, 40)));
        assert_eq!(options.format, PictureFormat::Jpeg { quality: 7 });
        assert_eq!(read("accept=image/png", "image/png").unwrap(), RenderOptions::default());
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
            "viewport=1,2,3",
            "viewport=99999,1",
            "viewport=1,1,0,0,0,1",
            "quality=0",
            "quality=101",
            "quality=x",
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
