//! Lossless encoding, by OpenJPEG's C interface: its wrapper in Rust writes to files only, and only what it has read
//! itself.

use crate::codec::{EncodeJpeg2000Snafu, MalformedSnafu, PlainImage, Result};
use openjpeg_sys as opj;
use snafu::ensure;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

/// Most wavelet decompositions: five are what encoders use, and small images allow fewer.
const MOST_DECOMPOSITIONS: u32 = 5;

/// Bits of a sample from which the wavelet is used.
const FEWEST_BITS: u8 = 4;

/// Bytes that OpenJPEG gathers before it writes.
const BUFFER: usize = 1 << 16;

/// Encodes to a codestream, reversibly. With `colour_transform`, three components are coded as YBR_RCT.
pub(crate) fn encode(image: &PlainImage, colour_transform: bool) -> Result<Vec<u8>> {
    let expected = image.rows * image.columns * image.components;
    ensure!(
        image.samples.len() == expected && expected > 0,
        MalformedSnafu { what: "a frame has not as many samples as its size asks for" }
    );
    let mut out = Vec::new();
    let picture = Picture::new(image)?;
    let codec = Codec::new()?;
    let stream = Stream::new(&mut out)?;
    let mut parameters = parameters(image, colour_transform);
    // SAFETY: the three pointers are live objects of OpenJPEG, and `parameters` was set up by it. The stream's
    // user data is `out`, which outlives the stream.
    let written = unsafe {
        opj::opj_setup_encoder(codec.0.as_ptr(), &mut parameters, picture.0.as_ptr()) != 0
            && opj::opj_start_compress(codec.0.as_ptr(), picture.0.as_ptr(), stream.0.as_ptr()) != 0
            && opj::opj_encode(codec.0.as_ptr(), stream.0.as_ptr()) != 0
            && opj::opj_end_compress(codec.0.as_ptr(), stream.0.as_ptr()) != 0
    };
    drop(stream);
    ensure!(written, EncodeJpeg2000Snafu { what: "OpenJPEG refused" });
    Ok(out)
}

fn parameters(image: &PlainImage, colour_transform: bool) -> opj::opj_cparameters_t {
    let mut parameters = MaybeUninit::<opj::opj_cparameters_t>::zeroed();
    // SAFETY: the struct consists of numbers, and of pointers that may be null; the call fills in the rest.
    let mut parameters = unsafe {
        opj::opj_set_default_encoder_parameters(parameters.as_mut_ptr());
        parameters.assume_init()
    };
    parameters.numresolution = decompositions(image) as i32 + 1;
    // One layer, of rate 0: without loss.
    parameters.tcp_numlayers = 1;
    parameters.cp_disto_alloc = 1;
    parameters.tcp_mct = (colour_transform && image.components == 3).into();
    parameters
}

/// None for the fewest bits: there the wavelet gains nothing, and makes more of noise than OpenJPEG has room for, which is
/// 1.4 times what the samples take.
fn decompositions(image: &PlainImage) -> u32 {
    let shorter = image.rows.min(image.columns).max(1);
    match image.precision {
        ..FEWEST_BITS => 0,
        _ => shorter.ilog2().min(MOST_DECOMPOSITIONS),
    }
}

/// An image of OpenJPEG's.
struct Picture(NonNull<opj::opj_image_t>);

impl Picture {
    fn new(image: &PlainImage) -> Result<Self> {
        let (width, height) = (image.columns as u32, image.rows as u32);
        let precision = u32::from(image.precision);
        let component = opj::opj_image_cmptparm_t {
            dx: 1,
            dy: 1,
            w: width,
            h: height,
            x0: 0,
            y0: 0,
            prec: precision,
            bpp: precision,
            sgnd: image.signed.into(),
        };
        let mut components = vec![component; image.components];
        let space = match image.components {
            3 => opj::OPJ_COLOR_SPACE::OPJ_CLRSPC_SRGB,
            _ => opj::OPJ_COLOR_SPACE::OPJ_CLRSPC_GRAY,
        };
        // SAFETY: as many component parameters as are announced.
        let created =
            unsafe { opj::opj_image_create(image.components as u32, components.as_mut_ptr(), space) };
        let Some(created) = NonNull::new(created) else {
            return EncodeJpeg2000Snafu { what: "no memory for the image" }.fail();
        };
        let picture = Self(created);
        // SAFETY: OpenJPEG made `components` components, each with `width * height` samples, or no data.
        unsafe {
            let picture = created.as_ptr();
            (*picture).x1 = width;
            (*picture).y1 = height;
            let planes = slice::from_raw_parts_mut((*picture).comps, image.components);
            for (index, plane) in planes.iter_mut().enumerate() {
                ensure!(!plane.data.is_null(), EncodeJpeg2000Snafu { what: "no memory for the image" });
                let plane = slice::from_raw_parts_mut(plane.data, image.rows * image.columns);
                let samples = image.samples.iter().skip(index).step_by(image.components);
                plane.iter_mut().zip(samples).for_each(|(place, sample)| *place = *sample);
            }
        }
        Ok(picture)
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: made by OpenJPEG, and nowhere else destroyed.
        unsafe { opj::opj_image_destroy(self.0.as_ptr()) }
    }
}

/// An encoder of OpenJPEG's, which says nothing: no handler for its messages is set.
struct Codec(NonNull<opj::opj_codec_t>);

impl Codec {
    fn new() -> Result<Self> {
        // SAFETY: no precondition.
        let created = unsafe { opj::opj_create_compress(opj::CODEC_FORMAT::OPJ_CODEC_J2K) };
        match NonNull::new(created) {
            Some(created) => Ok(Self(created)),
            None => EncodeJpeg2000Snafu { what: "no memory for the encoder" }.fail(),
        }
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        // SAFETY: made by OpenJPEG, and nowhere else destroyed.
        unsafe { opj::opj_destroy_codec(self.0.as_ptr()) }
    }
}

/// A stream of OpenJPEG's that writes into a vector.
struct Stream<'a>(NonNull<opj::opj_stream_t>, std::marker::PhantomData<&'a mut Vec<u8>>);

impl<'a> Stream<'a> {
    fn new(out: &'a mut Vec<u8>) -> Result<Self> {
        // SAFETY: no precondition; 0 makes an output stream.
        let created = unsafe { opj::opj_stream_create(BUFFER, 0) };
        let Some(created) = NonNull::new(created) else {
            return EncodeJpeg2000Snafu { what: "no memory for the stream" }.fail();
        };
        // SAFETY: the stream is live, and its user data lives at least as long, by the lifetime. OpenJPEG does
        // not free them, since it is given no function for that.
        unsafe {
            opj::opj_stream_set_write_function(created.as_ptr(), Some(write));
            opj::opj_stream_set_user_data(created.as_ptr(), std::ptr::from_mut(out).cast(), None);
        }
        Ok(Self(created, std::marker::PhantomData))
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // SAFETY: made by OpenJPEG, and nowhere else destroyed.
        unsafe { opj::opj_stream_destroy(self.0.as_ptr()) }
    }
}

/// Takes what OpenJPEG writes.
unsafe extern "C" fn write(buffer: *mut c_void, length: usize, out: *mut c_void) -> usize {
    // SAFETY: OpenJPEG passes the user data of the stream, and `length` readable bytes.
    let (out, bytes) =
        unsafe { (&mut *out.cast::<Vec<u8>>(), slice::from_raw_parts(buffer.cast::<u8>(), length)) };
    out.extend_from_slice(bytes);
    length
}
