//! `/api/v1/rules`: what is done about studies that arrive.

use actix_web::{HttpResponse, Responder, web};
use engram_routing::Rule;
use engram_workflow::DryRunQuery;

use super::State;
use super::problem::{Problem, blocking};

/// `GET /rules`: the rules in force, in the order in which they count.
pub async fn list(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().json(state.workflow.rules())
}

/// `GET /rules/{rule}`
pub async fn get(state: web::Data<State>, name: web::Path<String>) -> Result<impl Responder, Problem> {
    let name = name.into_inner();
    let found = state.workflow.rules().into_iter().find(|view| view.rule.name == name);
    let missing = || engram_workflow::Error::NoSuchRule { name };
    Ok(HttpResponse::Ok().json(found.ok_or_else(missing)?))
}

/// `PUT /rules/{rule}`: takes it into force, in the place of one of its name.
pub async fn put(
    state: web::Data<State>,
    name: web::Path<String>,
    rule: web::Json<Rule>,
) -> Result<impl Responder, Problem> {
    let rule = rule.into_inner();
    if rule.name != *name {
        return Err(Problem::bad_request(format!(
            "the rule is called {:?}, the path says {name:?}",
            rule.name
        )));
    }
    blocking(move || state.workflow.put_rule(rule)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `DELETE /rules/{rule}`
pub async fn remove(state: web::Data<State>, name: web::Path<String>) -> Result<impl Responder, Problem> {
    blocking(move || state.workflow.remove_rule(&name)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /rules/dry-run`: what rules would do to the studies that arrived lately.
pub async fn dry_run(
    state: web::Data<State>,
    query: web::Json<DryRunQuery>,
) -> Result<impl Responder, Problem> {
    let run = blocking(move || state.workflow.dry_run(&query)).await?;
    Ok(HttpResponse::Ok().json(run))
}
