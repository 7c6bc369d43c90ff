//! Which role a request needs: one table for everything that is mounted.

use actix_web::http::Method;

use super::role::Role;

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: whoever reaches the port may know.
    Open,
    /// A token with one of these roles. Admin is never named, since it holds every role.
    AnyOf(&'static [Role]),
}

const READ: Access = Access::AnyOf(&[Role::Read]);
const WRITE: Access = Access::AnyOf(&[Role::Write]);
const SEGMENT: Access = Access::AnyOf(&[Role::Segment]);
/// What a client that segments looks at, and no other patient's identifier is in.
const READ_OR_SEGMENT: Access = Access::AnyOf(&[Role::Read, Role::Segment]);
/// Whoever has a token: the same of every server of this version, and of no patient.
const ANY: Access = Access::AnyOf(&[Role::Read, Role::Write, Role::Segment]);
/// Admin alone.
const ADMIN: Access = Access::AnyOf(&[]);

/// Methods, separated by spaces, or `*` for all; path; need. In a path `*` is one segment, and `**` at the end is any
/// number of them. The first row that fits counts. What no row fits needs admin, so that a route that is forgotten
/// here is closed.
///
/// `/exemplars` and `/jobs/*/provenance` name other patients' studies, so they need read, as searching for those
/// patients does.
const TABLE: [(&str, &str, Access); 28] = [
    ("GET HEAD OPTIONS", "/api/v1/health", Access::Open),
    ("GET HEAD OPTIONS", "/api/v1/openapi.json", ANY),
    ("GET HEAD OPTIONS", "/metrics", READ),
    ("GET HEAD OPTIONS", "/dicomweb/**", READ),
    ("*", "/dicomweb/**", WRITE),
    ("GET HEAD OPTIONS", "/wado", READ),
    ("GET HEAD", "/", READ),
    ("GET HEAD", "/page/*", READ),
    ("GET HEAD", "/viewer/**", READ),
    ("GET HEAD OPTIONS", "/api/v1/labels", READ_OR_SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/exemplars", READ),
    ("GET HEAD OPTIONS", "/api/v1/exemplars/suggestions", READ),
    ("POST DELETE", "/api/v1/exemplars", WRITE),
    ("GET HEAD OPTIONS", "/api/v1/models", READ_OR_SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/rules", READ),
    ("GET HEAD OPTIONS", "/api/v1/segmentations", READ_OR_SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/segmentations/*", READ_OR_SEGMENT),
    ("POST", "/api/v1/segmentations", SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/segmentations/*/binary", READ),
    ("GET HEAD OPTIONS", "/api/v1/segmentations/*/report", READ),
    ("GET HEAD OPTIONS", "/api/v1/segmentations/*/secondary-capture", READ),
    ("GET HEAD OPTIONS", "/api/v1/jobs", READ_OR_SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/jobs/*", READ_OR_SEGMENT),
    ("DELETE", "/api/v1/jobs/*", SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/jobs/*/events", READ_OR_SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/jobs/*/result", READ_OR_SEGMENT),
    ("GET HEAD OPTIONS", "/api/v1/jobs/*/provenance", READ),
    ("*", "/api/v1/models/**", ADMIN),
];

/// What a request needs. `path` is the path that routes are matched against, percent-decoded as they are.
pub fn needed(method: &Method, path: &str) -> Access {
    let row = TABLE.iter().find(|(methods, pattern, _)| takes(methods, method) && fits(pattern, path));
    row.map_or(ADMIN, |(_, _, access)| *access)
}

fn takes(methods: &str, method: &Method) -> bool {
    methods == "*" || methods.split(' ').any(|one| one == method.as_str())
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        if expected == "**" {
            return true;
        }
        match segments.next() {
            Some(segment) if expected == segment || (expected == "*" && !segment.is_empty()) => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

/// What follows a segment of the path, such as the study's UID after `studies`.
pub fn uid_after<'a>(level: &str, path: &'a str) -> Option<&'a str> {
    let mut segments = path.split('/').skip_while(|segment| *segment != level).skip(1);
    segments.next().filter(|uid| !uid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_needs_what_it_should() {
        use Role::{Read, Segment, Write};
        let any_of = |roles: &'static [Role]| Access::AnyOf(roles);
        for (request, access) in [
            ("GET /api/v1/health", Access::Open),
            ("POST /api/v1/health", ADMIN),
            ("GET /api/v1/health/", ADMIN),
            ("GET /metrics", any_of(&[Read])),
            ("GET /api/v1/openapi.json", any_of(&[Read, Write, Segment])),
            ("GET /dicomweb", any_of(&[Read])),
            ("OPTIONS /dicomweb/", any_of(&[Read])),
            ("POST /dicomweb/", any_of(&[Write])),
            ("OPTIONS /api/v1/labels", any_of(&[Read, Segment])),
            ("GET /dicomweb/studies", any_of(&[Read])),
            ("HEAD /dicomweb/studies/1/series/2/instances/3/frames/1", any_of(&[Read])),
            ("OPTIONS /dicomweb/studies", any_of(&[Read])),
            ("POST /dicomweb/studies/1", any_of(&[Write])),
            ("DELETE /dicomweb/studies/1", any_of(&[Write])),
            ("PUT /dicomweb/workitems/1", any_of(&[Write])),
            ("GET /wado", any_of(&[Read])),
            ("POST /wado", ADMIN),
            ("GET /viewer", any_of(&[Read])),
            ("GET /viewer/assets/a.png", any_of(&[Read])),
            ("POST /viewer/", ADMIN),
            ("GET /dicomwebs", ADMIN),
            ("GET /api/v1/labels", any_of(&[Read, Segment])),
            ("POST /api/v1/segmentations", any_of(&[Segment])),
            ("GET /api/v1/segmentations/1.2", any_of(&[Read, Segment])),
            ("GET /api/v1/segmentations/1.2/report", any_of(&[Read])),
            ("GET /api/v1/segmentations/1.2/secondary-capture", any_of(&[Read])),
            ("GET /api/v1/segmentations/1.2/else", ADMIN),
            ("GET /api/v1/jobs/7", any_of(&[Read, Segment])),
            ("GET /api/v1/jobs/7/provenance", any_of(&[Read])),
            ("GET /api/v1/jobs//provenance", ADMIN),
            ("DELETE /api/v1/jobs/7", any_of(&[Segment])),
            ("DELETE /api/v1/exemplars", any_of(&[Write])),
            ("POST /api/v1/models/use", ADMIN),
            ("GET /api/v1/tokens", ADMIN),
            ("DELETE /api/v1/tokens/me", ADMIN),
            ("GET /api/v1/what/comes/next", ADMIN),
            ("GET /", any_of(&[Read])),
            ("GET /page/style.css", any_of(&[Read])),
            ("GET /page/", ADMIN),
            ("POST /", ADMIN),
            ("GET ", ADMIN),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(needed(&method.parse().unwrap(), path), access, "{request}");
        }
    }
}
