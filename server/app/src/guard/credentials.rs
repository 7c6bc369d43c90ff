//! The token that a request carries.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What came in `Authorization`.
#[derive(Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A token, or what claims to be one.
    Token(String),
    /// A scheme that is not understood, or a header that does not read.
    Unreadable,
}

impl Credentials {
    /// Those of a request: `Bearer` (RFC 6750), or `Basic` (RFC 7617) with the token as the password and any user
    /// name, for clients that know no better.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(AUTHORIZATION) {
            None => Self::None,
            Some(value) => value.to_str().ok().and_then(token).map_or(Self::Unreadable, Self::Token),
        }
    }
}

fn token(value: &str) -> Option<String> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return (!rest.is_empty()).then(|| rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bearer_and_basic_carry_a_token() {
        let basic = format!("Basic {}", BASE64_STANDARD.encode("anyone:a:b"));
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            (basic.as_str(), Some("a:b")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic !!!", None),
            ("Digest abc", None),
            ("", None),
        ] {
            assert_eq!(token(value).as_deref(), expected, "{value}");
        }
        assert_eq!(token(&format!("Basic {}", BASE64_STANDARD.encode("no colon"))), None);
        assert_eq!(Credentials::of(&HeaderMap::new()), Credentials::None);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "(Basic |Bearer )?\\PC{0,60}") {
            let _ = token(&value);
        }
    }
}
