//! The study, series or instance that a path names.

use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use crate::error::{BadUidSnafu, Error, Result};

/// What a UID looks like, as a regular expression: as [`check`] has it.
pub const UID: &str = "^[0-9.]{1,64}$";

/// A study, or with `series` one of its series, or with both an instance. UIDs are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// StudyInstanceUID.
    pub study: String,
    /// SeriesInstanceUID.
    pub series: Option<String>,
    /// SOPInstanceUID.
    pub instance: Option<String>,
}

impl Place {
    /// What the path parameters `study`, `series` and `instance` name; `None` where there is no `study`.
    pub fn within(request: &HttpRequest) -> Result<Option<Self>> {
        let parameter = |name: &'static str| match request.match_info().get(name) {
            Some(text) => check(name, text).map(Some),
            None => Ok(None),
        };
        let Some(study) = parameter("study")? else { return Ok(None) };
        Ok(Some(Self { study, series: parameter("series")?, instance: parameter("instance")? }))
    }

    /// The UID of what is named.
    pub fn last(&self) -> &str {
        self.instance.as_ref().or(self.series.as_ref()).unwrap_or(&self.study)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(instance) = &self.instance {
            write!(f, "instance {instance} of ")?;
        }
        if let Some(series) = &self.series {
            write!(f, "series {series} of ")?;
        }
        write!(f, "study {}", self.study)
    }
}

impl FromRequest for Place {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let nowhere = || Error::BadUid { name: "study", text: String::new() };
        ready(Self::within(request).and_then(|place| place.ok_or_else(nowhere)))
    }
}

/// Checks that `text` can be a UID (PS3.5 9.1): 1 to 64 digits and dots. Leading zeros in components, which the
/// standard forbids and real objects have, pass.
pub fn check(name: &'static str, text: &str) -> Result<String> {
    let fits = (1..=64).contains(&text.len());
    match fits && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        true => Ok(text.to_owned()),
        false => BadUidSnafu { name, text: text.chars().take(80).collect::<String>() }.fail(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_and_dots_are_a_uid() {
        assert!(check("study", "1.2.840.10008").is_ok());
        let long = "1".repeat(65);
        for text in ["", "..%2f", "1.2/3", "abc", "1.2 ", long.as_str()] {
            assert!(check("study", text).is_err(), "{text}");
        }
    }
}
