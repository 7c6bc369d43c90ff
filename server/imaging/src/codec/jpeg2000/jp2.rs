//! Pictures as JP2 files (ITU-T T.800 annex I): boxes around a codestream. OpenJPEG writes such files, too, but only to where
//! it can go back.

use super::encode;
use crate::codec::{PlainImage, Result};

/// The bits of a sample, less one, as the header says them.
const DEPTH: u8 = 7;

/// Encodes samples of 8 bits by pixel, without loss: grey, or red, green and blue. `size`: columns and rows. `profile`: what the colours
/// mean, as an ICC profile (I.5.3.3, method 2); sRGB without.
pub(crate) fn encode_picture(
    samples: &[u8],
    size: [usize; 2],
    components: usize,
    profile: Option<&[u8]>,
) -> Result<Vec<u8>> {
    let [columns, rows] = size;
    let samples: Vec<i32> = samples.iter().copied().map(i32::from).collect();
    let image =
        PlainImage { rows, columns, components, precision: DEPTH + 1, signed: false, samples: &samples };
    let codestream = encode(&image, true)?;
    let mut file = Vec::with_capacity(codestream.len() + 128);
    push(&mut file, b"jP  ", b"\r\n\x87\n");
    push(&mut file, b"ftyp", b"jp2 \0\0\0\0jp2 ");
    push(&mut file, b"jp2h", &header(&image, profile));
    push(&mut file, b"jp2c", &codestream);
    Ok(file)
}

/// The image header and the colour specification (I.5.3.1, I.5.3.3).
fn header(image: &PlainImage, profile: Option<&[u8]>) -> Vec<u8> {
    let mut fields = Vec::new();
    fields.extend((image.rows as u32).to_be_bytes());
    fields.extend((image.columns as u32).to_be_bytes());
    fields.extend((image.components as u16).to_be_bytes());
    // The wavelet coding; the colour is known; no intellectual property box.
    fields.extend([DEPTH, 7, 0, 0]);
    let known: u32 = if image.components == 3 { 16 } else { 17 };
    let colours = match profile {
        Some(profile) => [&[2, 0, 0], profile].concat(),
        None => [&[1, 0, 0], known.to_be_bytes().as_slice()].concat(),
    };
    let mut boxes = Vec::new();
    push(&mut boxes, b"ihdr", &fields);
    push(&mut boxes, b"colr", &colours);
    boxes
}

/// A box (I.4). Its length is left open where it does not fit, which the last may have.
fn push(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    file.extend(u32::try_from(content.len() + 8).unwrap_or(0).to_be_bytes());
    file.extend(kind);
    file.extend(content);
}
