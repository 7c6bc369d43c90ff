//! The query parameters of WADO-URI (PS3.18 9.4 and 8.3.5).

use engram_imaging::{Colours, Region, VoiFunction, Window};

use crate::error::Result;
use crate::place::check;
use crate::query::value_of;
use crate::wado::rendered::parameters::{
    ICC_PROFILE, MAX_VIEWPORT, annotation, colours, finite, percent, refused,
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    pub study: Option<String>,
    pub series: Option<String>,
    pub object: String,
    /// The presentation state that the picture is to show the object by.
    pub presentation: Option<String>,
    pub presentation_series: Option<String>,
    /// As sent: media types in order of preference.
    pub content_type: Option<String>,
    pub transfer_syntax: Option<String>,
    /// Counted from 1.
    pub frame: Option<usize>,
    /// Width and height that the picture is to fit into.
    pub viewport: Option<(u32, u32)>,
    pub region: Option<Region>,
    pub window: Option<Window>,
    pub quality: Option<u8>,
    pub annotation: Option<String>,
    pub colours: Colours,
}

/// Reads and checks the parameters. StudyUID and seriesUID may be left out, as some clients do; what cannot be done is
/// refused rather than passed over. Parameters that are not the standard's pass.
pub fn parameters(pairs: &[(String, String)]) -> Result<Parameters> {
    if value(pairs, "requestType") != Some("WADO") {
        return Err(refused("`requestType` must be WADO"));
    }
    if value(pairs, "anonymize").is_some_and(|value| value != "no") {
        return Err(refused("`anonymize` is not supported: objects are sent as they are stored"));
    }
    let uid = |name: &str, of: &'static str| value(pairs, name).map(|text| check(of, text)).transpose();
    let object = uid("objectUID", "instance")?.ok_or_else(|| refused("`objectUID` is missing"))?;
    let presentation = uid("presentationUID", "instance")?;
    let presentation_series = uid("presentationSeriesUID", "series")?;
    if presentation.is_none() && presentation_series.is_some() {
        return Err(refused("`presentationSeriesUID` needs `presentationUID`"));
    }
    let rows = read(pairs, "rows", ROWS, side)?;
    let columns = read(pairs, "columns", COLUMNS, side)?;
    let viewport = (columns.unwrap_or(MAX_VIEWPORT), rows.unwrap_or(MAX_VIEWPORT));
    Ok(Parameters {
        study: uid("studyUID", "study")?,
        series: uid("seriesUID", "series")?,
        object,
        presentation,
        presentation_series,
        content_type: value(pairs, "contentType").map(str::to_owned),
        transfer_syntax: value(pairs, "transferSyntax").map(str::to_owned),
        frame: read(pairs, "frameNumber", FRAME, frame)?,
        viewport: (rows.is_some() || columns.is_some()).then_some(viewport),
        region: read(pairs, "region", REGION, region)?,
        window: window(value(pairs, "windowCenter"), value(pairs, "windowWidth"))?,
        quality: read(pairs, "imageQuality", QUALITY, percent)?,
        annotation: value(pairs, "annotation").map(annotation).transpose()?,
        colours: read(pairs, "iccprofile", ICC_PROFILE, colours)?.unwrap_or_default(),
    })
}

const ROWS: &str = "`rows` must be a whole number from 1 to 16384";
const COLUMNS: &str = "`columns` must be a whole number from 1 to 16384";
const FRAME: &str = "`frameNumber` must be a whole number from 1";
const REGION: &str = "`region` must be left,top,right,bottom, each from 0.0 to 1.0, and not empty";
const WINDOW: &str = "`windowCenter` and `windowWidth` must both be numbers, the width at least 1";
const QUALITY: &str = "`imageQuality` must be a whole number from 1 to 100";

/// A parameter's value; an empty one is as if it were not there.
fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    value_of(pairs, name).filter(|value| !value.is_empty())
}

fn read<T>(
    pairs: &[(String, String)],
    name: &str,
    message: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    value(pairs, name).map(|text| parse(text).ok_or_else(|| refused(message))).transpose()
}

fn side(text: &str) -> Option<u32> {
    text.parse().ok().filter(|side| (1..=MAX_VIEWPORT).contains(side))
}

fn frame(text: &str) -> Option<usize> {
    text.parse::<u32>().ok().filter(|frame| *frame > 0).map(|frame| frame as usize)
}

fn region(text: &str) -> Option<Region> {
    let shares: Option<Vec<f64>> = text.split(',').map(finite).collect();
    let [left, top, right, bottom] = shares?.try_into().ok()?;
    let is_share = |number: &f64| (0.0..=1.0).contains(number);
    let fits = [left, top, right, bottom].iter().all(is_share) && left < right && top < bottom;
    fits.then_some(Region::Shares([left, top, right, bottom]))
}

fn window(center: Option<&str>, width: Option<&str>) -> Result<Option<Window>> {
    let both = || Window::new(finite(center?)?, finite(width?)?, VoiFunction::Linear);
    match (center, width) {
        (None, None) => Ok(None),
        _ => both().map(Some).ok_or_else(|| refused(WINDOW)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pairs;
    use proptest::prelude::*;

    const OBJECT: &str = "requestType=WADO&objectUID=1.3";

    #[test]
    fn all_parameters_are_read() {
        let text = "requestType=WADO&studyUID=1.1&seriesUID=1.2&objectUID=1.3&contentType=image/png&frameNumber=2\
            &rows=64&columns=32&region=0.1,0.2,0.5,1&windowCenter=40&windowWidth=400&imageQuality=7\
            &transferSyntax=1.2.840.10008.1.2.1&annotation=patient&iccprofile=yes&anonymize=no&charset=utf-8&presentationUID=1.4\
            &presentationSeriesUID=1.5";
        let read = parameters(&pairs(text).unwrap()).unwrap();
        assert_eq!(
            read,
            Parameters {
                study: Some("1.1".to_owned()),
                series: Some("1.2".to_owned()),
                object: "1.3".to_owned(),
                presentation: Some("1.4".to_owned()),
                presentation_series: Some("1.5".to_owned()),
                content_type: Some("image/png".to_owned()),
                transfer_syntax: Some("1.2.840.10008.1.2.1".to_owned()),
                frame: Some(2),
                viewport: Some((32, 64)),
                region: Some(Region::Shares([0.1, 0.2, 0.5, 1.0])),
                window: Window::new(40.0, 400.0, VoiFunction::Linear),
                quality: Some(7),
                annotation: Some("patient".to_owned()),
                colours: Colours::Own,
            }
        );
        let bare = parameters(&pairs(&format!("{OBJECT}&rows=64&frameNumber=")).unwrap()).unwrap();
        assert_eq!((bare.viewport, bare.frame, bare.study), (Some((MAX_VIEWPORT, 64)), None, None));
    }

    #[test]
    fn what_cannot_be_met_is_refused() {
        for text in [
            "objectUID=1.3",
            "requestType=wado&objectUID=1.3",
            "requestType=WADO",
            "requestType=WADO&objectUID=x",
        ] {
            assert!(parameters(&pairs(text).unwrap()).is_err(), "{text}");
        }
        for text in [
            "studyUID=x",
            "anonymize=yes",
            "presentationUID=x",
            "presentationSeriesUID=1.2",
            "rows=0",
            "columns=99999",
            "frameNumber=0",
            "frameNumber=x",
            "region=0,0,1",
            "region=0,0,0,1",
            "region=0,0,1,1.5",
            "region=0,nan,1,1",
            "windowCenter=40",
            "windowCenter=40&windowWidth=0",
            "imageQuality=101",
            "annotation=%0d",
        ] {
            assert!(parameters(&pairs(&format!("{OBJECT}&{text}")).unwrap()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "[0-9,.eE+a-z-]{0,40}") {
            let _ = region(&text);
            let _ = (side(&text), frame(&text));
            let _ = window(Some(&text), Some(&text));
        }
    }
}
