//! `GET /workitems`, the Search transaction. Keys match as in QIDO-RS; no match is `[]`, in XML 204, as there.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#sect_11.9>

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use engram_archive::{Include, MatchKey, MatchRules};
use engram_worklist::{Attributes, WorkitemQuery};
use snafu::ResultExt;

use super::warning;
use crate::error::{Result, WorklistSnafu, WriteJsonSnafu, WriteXmlSnafu};
use crate::multipart::MultipartWriter;
use crate::native_model;
use crate::qido::service::include;
use crate::query::{self, attribute, flag};
use crate::state::{DicomWeb, attribute_offers, blocking, negotiate};

/// Sends the workitems that match.
pub async fn search(request: HttpRequest, state: Data<DicomWeb>) -> Result<HttpResponse> {
    let offer = negotiate(&request, &attribute_offers())?;
    let pairs = query::pairs(request.query_string())?;
    let query = query_of(&pairs, state.options.max_search_results)?;
    let offset = query.offset;
    let found = blocking(move || state.worklist.search(&query).context(WorklistSnafu)).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(("X-Total-Count", found.total));
    if found.has_more(offset) {
        let text = "There are additional results that can be requested";
        response.insert_header((header::WARNING, warning(text)));
    }
    if !offer.multipart {
        let json = serde_json::to_vec(&found.items).context(WriteJsonSnafu)?;
        return Ok(response.content_type(offer.media_type).body(json));
    }
    if found.items.is_empty() {
        // RFC 2046 has no multipart body without a part.
        return Ok(HttpResponse::NoContent().insert_header(("X-Total-Count", found.total)).finish());
    }
    let writer = MultipartWriter::new();
    let documents = found.items.iter().map(document).collect::<Result<Vec<_>>>()?;
    response.content_type(writer.content_type(offer.media_type));
    Ok(response.body(writer.body(documents.into_iter().map(|document| (offer.media_type, document)))))
}

fn document(attributes: &Attributes) -> Result<Bytes> {
    let json = serde_json::to_vec(attributes).context(WriteJsonSnafu)?;
    native_model::write(&json).map(Bytes::from).context(WriteXmlSnafu)
}

/// Reads the parameters of PS3.18 8.3.4.
fn query_of(pairs: &[(String, String)], most: usize) -> Result<WorkitemQuery> {
    let mut query = WorkitemQuery {
        matches: vec![],
        rules: MatchRules::default(),
        include: Include::Attributes(vec![]),
        limit: most,
        offset: 0,
    };
    for (name, value) in pairs {
        match name.as_str() {
            "limit" => query.limit = query::count(name, value)?.min(most),
            "offset" => query.offset = query::count(name, value)?,
            "fuzzymatching" => query.rules.fuzzy = flag(name, value)?,
            "emptyvaluematching" => query.rules.empty = flag(name, value)?,
            "multiplevaluematching" => query.rules.multiple = flag(name, value)?,
            "includefield" => include(&mut query.include, value)?,
            "accept" | "charset" => {}
            _ => query.matches.push(MatchKey { path: attribute(name)?, value: value.clone() }),
        }
    }
    Ok(query)
}
