//! What a token lets its bearer do.

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Search, retrieve, and see what the bank holds and which cases a result was drawn from.
    Read,
    /// Store, delete, and say what counts as an exemplar.
    Write,
    /// Ask for segmentations, watch them, cancel them and fetch their results.
    Segment,
    /// Everything: also tokens, and the bundle in use.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Segment => "segment",
            Self::Admin => "admin",
        })
    }
}

/// The roles of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Whether they hold one of `any_of`; admin holds every role.
    pub fn allow(&self, any_of: &[Role]) -> bool {
        self.0.contains(&Role::Admin) || any_of.iter().any(|role| self.0.contains(role))
    }

    /// Whether there is none.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().collect())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(self.0.iter(), ", "))
    }
}

/// Roles in words.
pub fn words<'a>(roles: impl IntoIterator<Item = &'a Role>, between: &str) -> String {
    roles.into_iter().map(Role::to_string).collect::<Vec<_>>().join(between)
}
