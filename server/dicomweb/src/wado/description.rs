//! What the OpenAPI document says of retrieving.

use actix_web::http::StatusCode;
use engram_imaging::TargetSyntax;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter};
use utoipa::openapi::schema::ArrayBuilder;

use super::document::{self, encapsulated};
use super::frames::OCTETS;
use super::instances::service::{DICOM, ZIP};
use super::rendered::PICTURES;
use super::video;
use crate::data_set::DataSet;
use crate::description::{
    Describe, bodiless, header, operation, path_parameter, query_parameter, schema_ref, sent, text, whole,
};
use crate::media::Offer;
use crate::state::attribute_offers;

const TAG: &str = "WADO-RS";

/// Media types of frames that go out as they are stored, and in which none is encoded.
const STORED_ONLY: [&str; 3] = ["image/jpx", "image/jxl", "application/x-deflate"];

/// The parameters of retrieving: parts of paths, and PS3.18 8.3.5.
pub fn parameters() -> [Parameter; 7] {
    [
        path_parameter(
            "frames",
            "Frame numbers, from 1, separated by commas.",
            text().pattern(Some("^[1-9][0-9]*(,[1-9][0-9]*)*$")),
        ),
        path_parameter(
            "path",
            "The element's tag; of one inside a sequence `tag/item/tag`, items counted from 0, with these slashes.",
            text().pattern(Some("^[0-9A-F]{8}$")),
        ),
        query_parameter(
            "annotation",
            "Words to burn in: none is supported, and `Warning` says so.",
            text().pattern(Some("^[A-Za-z0-9_-]{1,32}(,[A-Za-z0-9_-]{1,32}){0,15}$")),
        ),
        query_parameter(
            "window",
            "`center,width` and perhaps `,linear`, `,linear-exact` or `,sigmoid`.",
            text().pattern(Some(r"^-?[0-9]+(\.[0-9]+)?,[0-9]+(\.[0-9]+)?(,(linear|linear-exact|sigmoid))?$")),
        ),
        query_parameter(
            "viewport",
            "`width,height` in pixels that the picture is to fit into, and perhaps the region of the image to show: \
             `,left,top,width,height`; a negative width or height mirrors it.",
            text().pattern(Some(
                r"^[0-9]+(\.[0-9]+)?,[0-9]+(\.[0-9]+)?(,([0-9]+(\.[0-9]+)?)?(,([0-9]+(\.[0-9]+)?)?(,(-?[0-9]+(\.[0-9]+)?)?){0,2})?)?$",
            )),
        ),
        query_parameter("quality", "Quality of a JPEG.", whole(1, 100)),
        query_parameter(
            "iccprofile",
            "Colours of sRGB without a profile (`no`, as without the parameter), the image's own with its profile (`yes`), or those of a \
             space with its profile.",
            text().enum_values(Some(["no", "yes", "srgb", "adobergb", "rommrgb", "displayp3"])),
        ),
    ]
}

/// Instances (PS3.18 10.4.1.1.1).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.1>
pub fn instances(id: String, summary: &str) -> Operation {
    let offers = [Offer::multipart(DICOM), Offer::single(DICOM), Offer::single(ZIP)];
    let syntaxes: Vec<&str> = TargetSyntax::OF_OBJECTS.iter().map(|syntax| syntax.uid()).collect();
    let description = format!(
        "As stored, or in a `transfer-syntax` named in `Accept`: {}. A single part is for an instance alone.",
        syntaxes.join(", ")
    );
    in_stretches(retrieve(id, summary).description(Some(description)), "The instances.", &offers).build()
}

/// Metadata (PS3.18 10.4.1.1.2).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.2>
pub fn metadata(id: String, summary: &str) -> Operation {
    let data_sets = ArrayBuilder::new().items(schema_ref::<DataSet>());
    let metadata =
        sent("Every attribute; bulk data as BulkDataURI.", &attribute_offers(), Some(data_sets.into()))
            .header("ETag", header("What `If-None-Match` may name; large answers have none.", text()));
    retrieve(id, summary)
        .response("200", metadata)
        .response("304", bodiless("Nothing changed since the answer that `If-None-Match` names."))
        .build()
}

/// Frames (PS3.18 10.4.1.1.6).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.6>
pub fn frames(id: &str, summary: &str) -> Operation {
    in_stretches(retrieve(id, summary), "The frames.", &frame_offers()).build()
}

/// Bulk data (PS3.18 10.4.1.1.5).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.5>
pub fn bulk_data(id: &str, summary: &str) -> Operation {
    let mut offers = pixel_offers();
    offers.extend(both_forms(encapsulated::MEDIA_TYPES));
    let sent = "The value; of compressed pixel data the frames; a video or a document as what it is.";
    in_stretches(retrieve(id, summary), sent, &offers).build()
}

/// All bulk data (PS3.18 10.4.1.1.5).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.5>
pub fn every_value(id: String) -> Operation {
    let sent = sent("The values.", &[Offer::multipart(OCTETS)], None);
    retrieve(id, "Every value that metadata names by a BulkDataURI.").response("200", sent).build()
}

/// Pixel data (PS3.18 10.4.1.1.7).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.7>
pub fn pixel_data(id: String, summary: &str) -> Operation {
    in_stretches(retrieve(id, summary), "The pixel data.", &pixel_offers()).build()
}

/// Rendered (PS3.18 10.4.1.1.3).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.3>
/// Videos and documents are of one instance, and of all of it.
pub fn rendered(id: String, of_one: bool) -> Operation {
    if !of_one {
        return picture(id, "Frames as pictures.", &both_forms(PICTURES)).build();
    }
    let whole: Vec<&str> = video::MEDIA_TYPES.into_iter().chain(document::every_media_type()).collect();
    let offers = both_forms(PICTURES.into_iter().chain(whole.iter().copied()));
    let whole: Vec<Offer> = whole.into_iter().map(Offer::single).collect();
    picture(id, "Frames as pictures; a video or a document as what it is.", &offers)
        .response("206", stretch(&whole))
        .failures(&[StatusCode::RANGE_NOT_SATISFIABLE])
        .build()
}

/// Thumbnail (PS3.18 10.4.1.1.4).
///
/// <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_10.4.1.1.4>
pub fn thumbnail(id: String, summary: &str) -> Operation {
    picture(id, summary, &PICTURES.map(Offer::single)).build()
}

fn picture(id: String, summary: &str, offers: &[Offer]) -> OperationBuilder {
    retrieve(id, summary)
        .query(&["annotation", "window", "viewport", "quality", "iccprofile"])
        .response("200", pictures(offers))
}

/// An answer that is pictures.
pub fn pictures(offers: &[Offer]) -> ResponseBuilder {
    sent("The pictures.", offers, None)
        .header("Warning", header("299: what was asked for and is not done.", text()))
}

fn retrieve(id: impl Into<String>, summary: &str) -> OperationBuilder {
    operation(TAG, id, summary).query(&["accept"]).failures(&[
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::NOT_ACCEPTABLE,
    ])
}

/// It answers in these forms; those of one part also the stretch of it that `Range` names.
pub fn in_stretches(operation: OperationBuilder, description: &str, offers: &[Offer]) -> OperationBuilder {
    let single: Vec<Offer> = offers.iter().filter(|offer| !offer.multipart).cloned().collect();
    operation
        .response("200", sent(description, offers, None))
        .response("206", stretch(&single))
        .failures(&[StatusCode::RANGE_NOT_SATISFIABLE])
}

fn stretch(offers: &[Offer]) -> ResponseBuilder {
    sent("The stretch that `Range` asks for.", offers, None)
        .header("Content-Range", header("Which bytes these are, and of how many.", text()))
}

fn frame_offers() -> Vec<Offer> {
    let mut types = vec![OCTETS];
    types.extend(TargetSyntax::OF_FRAMES.iter().map(|syntax| syntax.media_type()));
    types.extend(STORED_ONLY);
    both_forms(types)
}

/// Frames, or the stream that they are coded as.
fn pixel_offers() -> Vec<Offer> {
    let mut offers = frame_offers();
    offers.extend(both_forms(video::MEDIA_TYPES));
    offers
}

fn both_forms(types: impl IntoIterator<Item = &'static str>) -> Vec<Offer> {
    let forms = |media_type| [Offer::multipart(media_type), Offer::single(media_type)];
    types.into_iter().flat_map(forms).collect()
}
