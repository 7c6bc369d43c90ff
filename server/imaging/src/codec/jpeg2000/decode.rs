//! Decoding.

use crate::codec::{
    CodecError, CodedColour, CodedImage, Jpeg2000Snafu, MalformedSnafu, Result, Samples, TruncatedSnafu,
    check_size,
};
use jpeg2k::{Image, ImageComponent};
use snafu::{OptionExt, ensure};

/// Decodes a codestream of `size` rows and columns.
pub(crate) fn decode(bytes: &[u8], size: (usize, usize)) -> Result<CodedImage> {
    let codestream = codestream(bytes)?;
    let header = Header::read(codestream)?;
    check_size((header.rows, header.columns), size)?;
    ensure!(matches!(header.components, 1 | 3), MalformedSnafu { what: "it has neither 1 nor 3 components" });
    let image =
        Image::from_bytes(codestream).map_err(|error| CodecError::Jpeg2000 { message: error.to_string() })?;
    let components = image.components();
    let (rows, columns) = size;
    ensure!(components.len() == header.components, MalformedSnafu { what: "a component is missing" });
    for component in components {
        ensure!(
            component.width() as usize == columns && component.height() as usize == rows,
            MalformedSnafu { what: "its components are not of one size" }
        );
        ensure!(is_decoded(component), Jpeg2000Snafu { message: "no tile could be decoded" });
    }
    let planes: Vec<&[i32]> = components.iter().map(ImageComponent::data).collect();
    let samples = match planes.as_slice() {
        [only] => only.to_vec(),
        planes => {
            let mut samples = vec![0; rows * columns * planes.len()];
            for (index, plane) in planes.iter().enumerate() {
                for (pixel, sample) in samples.chunks_exact_mut(planes.len()).zip(*plane) {
                    pixel[index] = *sample;
                }
            }
            samples
        }
    };
    let first = components.first().context(TruncatedSnafu)?;
    Ok(CodedImage {
        rows,
        columns,
        components: components.len(),
        precision: first.precision(),
        signed: first.is_signed(),
        colour: if header.components == 3 && header.colour_transform {
            CodedColour::Rgb
        } else {
            CodedColour::Unsaid
        },
        samples: Samples::I32(samples),
    })
}

/// Whether a component has samples. OpenJPEG succeeds on a codestream whose tiles are all empty and leaves
/// a null pointer, which the wrapper shows in its `Debug` text only and would make a slice of.
fn is_decoded(component: &ImageComponent) -> bool {
    !format!("{component:?}").contains("data: 0x0,")
}

/// The codestream itself: some writers wrap it in a JP2 file, whose colour boxes do not count in DICOM
/// (PS3.5 A.4.4).
fn codestream(bytes: &[u8]) -> Result<&[u8]> {
    const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
    let start = bytes.windows(4).position(|window| window == START);
    let start = start.context(MalformedSnafu { what: "it has no start" })?;
    bytes.get(start..).context(TruncatedSnafu)
}

/// What the main header says, read before OpenJPEG allocates by it.
struct Header {
    rows: usize,
    columns: usize,
    components: usize,
    /// Whether the components were transformed (RCT or ICT), which decoding undoes.
    colour_transform: bool,
}

impl Header {
    /// SIZ and COD (T.800 A.5.1, A.6.1).
    fn read(codestream: &[u8]) -> Result<Self> {
        let mut rest = codestream.get(2..).context(TruncatedSnafu)?;
        let (mut header, mut seen_coding) = (None, false);
        while header.is_none() || !seen_coding {
            let (marker, after) = rest.split_first_chunk::<2>().context(TruncatedSnafu)?;
            let (length, _) = after.split_first_chunk::<2>().context(TruncatedSnafu)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let body = after.get(2..length).context(MalformedSnafu { what: "a segment is too short" })?;
            match marker {
                [0xFF, 0x51] => header = Some(Self::size(body)?),
                [0xFF, 0x52] => {
                    let transform = *body.get(4).context(TruncatedSnafu)?;
                    if let Some(header) = &mut header {
                        header.colour_transform = transform & 1 == 1;
                    }
                    seen_coding = true;
                }
                [0xFF, 0x90] => {
                    return MalformedSnafu { what: "tiles stand before the coding style" }.fail();
                }
                _ => {}
            }
            rest = after.get(length..).context(TruncatedSnafu)?;
        }
        header.context(TruncatedSnafu)
    }

    fn size(body: &[u8]) -> Result<Self> {
        let word = |index: usize| -> Result<usize> {
            let start = 2 + 4 * index;
            let bytes = body.get(start..).and_then(|rest| rest.first_chunk::<4>()).context(TruncatedSnafu)?;
            Ok(u32::from_be_bytes(*bytes) as usize)
        };
        let (right, bottom, left, top) = (word(0)?, word(1)?, word(2)?, word(3)?);
        let (tile_columns, tile_rows) = (word(4)?, word(5)?);
        let size = bottom.checked_sub(top).zip(right.checked_sub(left));
        let (rows, columns) = size.context(MalformedSnafu { what: "its size is negative" })?;
        ensure!(tile_columns > 0 && tile_rows > 0, MalformedSnafu { what: "its tiles are empty" });
        // T.800 allows 65535 tiles; OpenJPEG allocates for each.
        let tiles = right.div_ceil(tile_columns).saturating_mul(bottom.div_ceil(tile_rows));
        ensure!(tiles <= 65535, MalformedSnafu { what: "it has too many tiles" });
        let components = body.get(34..).and_then(|rest| rest.first_chunk::<2>()).context(TruncatedSnafu)?;
        Ok(Self {
            rows,
            columns,
            components: usize::from(u16::from_be_bytes(*components)),
            colour_transform: false,
        })
    }
}
