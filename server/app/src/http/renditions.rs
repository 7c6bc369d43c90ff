//! `/api/v1/segmentations/{segmentation}/binary`, `/report` and `/secondary-capture`: a stored SEG in the forms that a PACS
//! without SEG, or without LABELMAP, can take.

use actix_web::http::Method;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use engram_dicomweb::multipart::MultipartWriter;
use engram_workflow::{Renditions, Wanted};
use futures_util::{Stream, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::State;
use super::problem::{Problem, blocking};

const DICOM: &str = "application/dicom";

/// `GET /segmentations/{segmentation}/binary`
pub async fn binary(state: web::Data<State>, uid: web::Path<String>) -> Result<HttpResponse, Problem> {
    let part10 = blocking(move || state.workflow.binary(&uid)).await?;
    Ok(HttpResponse::Ok().content_type(DICOM).body(part10))
}

/// `?binary=true`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportQuery {
    /// Whether the report refers to the SEG that `…/binary` gives.
    #[serde(default)]
    binary: bool,
}

/// `GET /segmentations/{segmentation}/report`
pub async fn report(
    state: web::Data<State>,
    query: web::Query<ReportQuery>,
    uid: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let wanted = Wanted { report: true, binary: query.binary, ..Wanted::default() };
    // The SEG that it refers to comes before it.
    let made = blocking(move || state.workflow.renditions(&uid, wanted)?.last().transpose()).await?;
    let report = made.ok_or_else(|| Problem::internal("no report was made"))?;
    Ok(HttpResponse::Ok().content_type(DICOM).body(report.part10))
}

/// `GET /segmentations/{segmentation}/secondary-capture`: a part for each slice, each made when the one before it was sent.
pub async fn secondary_capture(
    request: HttpRequest,
    state: web::Data<State>,
    uid: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let wanted = Wanted { secondary_capture: true, ..Wanted::default() };
    let renditions = blocking(move || state.workflow.renditions(&uid, wanted)).await?;
    let writer = MultipartWriter::new();
    let mut response = HttpResponse::Ok();
    response.content_type(writer.content_type(DICOM));
    // Its body would be made, and thrown away.
    if *request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    // Made before the answer begins, so that what cannot be shown has a status.
    let first = part(writer.clone(), renditions).await?;
    Ok(response.streaming(parts(writer, first)))
}

/// A part of the answer, and what makes the next; after the last part the end of the body, and nothing.
type Part = (Bytes, Option<Renditions>);

async fn part(writer: MultipartWriter, mut renditions: Renditions) -> Result<Part, Problem> {
    blocking(move || match renditions.next().transpose() {
        Ok(Some(rendition)) => {
            let mut part = Vec::from(writer.part_start(DICOM, None));
            part.extend_from_slice(&rendition.part10);
            Ok((Bytes::from(part), Some(renditions)))
        }
        Ok(None) => Ok((writer.end(), None)),
        Err(error) => Err(error),
    })
    .await
}

/// The body. An error breaks the connection off, so that the client notices.
fn parts(writer: MultipartWriter, first: Part) -> impl Stream<Item = Result<Bytes, Problem>> {
    stream::unfold(Some(Ok(first)), move |ready: Option<Result<Part, Problem>>| {
        let writer = writer.clone();
        async move {
            match ready? {
                Ok((bytes, Some(renditions))) => Some((Ok(bytes), Some(part(writer, renditions).await))),
                Ok((bytes, None)) => Some((Ok(bytes), None)),
                Err(problem) => Some((Err(problem), None)),
            }
        }
    })
}
