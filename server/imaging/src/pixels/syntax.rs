//! Transfer syntaxes and what they need.

use crate::codec::Codec;
use dicom_dictionary_std::uids;

/// How a transfer syntax codes pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Native,
    /// In fragments, by a codec of ours.
    Coded {
        codec: Codec,
        /// Media type of the bytes, PS3.18 table 8.7.3-5.
        media_type: &'static str,
    },
    /// By something without a decoder here.
    Unsupported {
        /// Media type of the bytes.
        media_type: &'static str,
    },
}

/// Retired, and still on disks.
pub(crate) const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Looks a transfer syntax up.
pub(super) fn encoding(transfer_syntax: &str) -> Encoding {
    let (codec, media_type) = match transfer_syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN
        | uids::EXPLICIT_VR_LITTLE_ENDIAN
        | EXPLICIT_VR_BIG_ENDIAN
        | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => return Encoding::Native,
        uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => {
            (Codec::Uncompressed, "application/octet-stream")
        }
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION => (Codec::Deflate, "application/x-deflate"),
        uids::RLE_LOSSLESS => (Codec::Rle, "image/dicom-rle"),
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => (Codec::Jpeg, "image/jpeg"),
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => (Codec::JpegLs, "image/jls"),
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => (Codec::Jpeg2000, "image/jp2"),
        uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => (Codec::Jpeg2000, "image/jpx"),
        uids::HTJ2K_LOSSLESS | uids::HTJ2K_LOSSLESS_RPCL | uids::HTJ2K => (Codec::Jpeg2000, "image/jphc"),
        uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION | uids::JPEGXL => {
            return Encoding::Unsupported { media_type: "image/jxl" };
        }
        _ => return Encoding::Unsupported { media_type: "application/octet-stream" },
    };
    Encoding::Coded { codec, media_type }
}

/// Whether frames in a transfer syntax can be decoded.
pub fn is_decodable(transfer_syntax: &str) -> bool {
    !matches!(encoding(transfer_syntax), Encoding::Unsupported { .. })
}
