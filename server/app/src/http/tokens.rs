//! `/api/v1/tokens`: who may come in. For admin.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, blocking};
use crate::guard::{Role, Token, TokenError, Tokens};

/// The token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
pub struct New {
    name: String,
    roles: Vec<Role>,
    /// Days until it expires; none: it lives until it is revoked.
    expires_in_days: Option<u32>,
}

/// A token that was just made.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = MadeToken)]
pub struct Made {
    /// What may be told of it later, too.
    #[serde(flatten)]
    pub token: Token,
    /// What its bearer needs. It is shown here and never again.
    #[serde(rename = "token")]
    pub text: String,
}

/// `GET /tokens`: all that are not revoked, without their texts.
pub async fn list(tokens: web::Data<Tokens>) -> impl Responder {
    HttpResponse::Ok().json(tokens.list())
}

/// `POST /tokens {name, roles, expires_in_days}`: 201 and the token.
pub async fn add(tokens: web::Data<Tokens>, body: web::Json<New>) -> Result<HttpResponse, Problem> {
    let New { name, roles, expires_in_days } = body.into_inner();
    let tokens = Arc::clone(&tokens);
    let (token, text) =
        blocking(move || tokens.add(&name, roles.into_iter().collect(), expires_in_days)).await?;
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(Made { token, text }))
}

/// `DELETE /tokens/{name}`: it opens nothing any more.
pub async fn revoke(tokens: web::Data<Tokens>, name: web::Path<String>) -> Result<impl Responder, Problem> {
    let tokens = Arc::clone(&tokens);
    blocking(move || tokens.revoke(&name)).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        match error {
            TokenError::NameTaken { .. } => Self::new(
                StatusCode::CONFLICT,
                "name_taken",
                message,
                "Choose another name, or revoke the token of that name first.",
            ),
            TokenError::NoSuchToken { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "no_such_token",
                message,
                "List the tokens with GET /api/v1/tokens; revoked ones are not among them.",
            ),
            TokenError::TooMany => Self::new(
                StatusCode::CONFLICT,
                "too_many_tokens",
                message,
                "Revoke tokens that are no longer used.",
            ),
            TokenError::BadName { .. } | TokenError::NoRole { .. } | TokenError::BadLife { .. } => {
                Self::bad_request(message)
            }
            TokenError::Random { .. } | TokenError::Journal { .. } => {
                Self::internal(engram_workflow::report(&error))
            }
        }
    }
}
