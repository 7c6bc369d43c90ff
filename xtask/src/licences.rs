//! Holds the licence of every outside crate against the allow list in `deny.toml`.

use std::collections::BTreeSet;

use serde::Deserialize;
use snafu::ResultExt;

use crate::{Result, metadata, paths};

#[derive(Deserialize)]
struct DenyFile {
    licenses: Licences,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
}

/// Checks every crate of the dependency tree, for all platforms; how many outside crates there are.
///
/// # Errors
/// Names the crates that state no licence, one that is not allowed, or that come from outside a registry.
pub fn check() -> Result<usize> {
    let path = paths::root().join("deny.toml");
    let text = std::fs::read_to_string(&path).whatever_context("could not read deny.toml")?;
    let file: DenyFile = toml::from_str(&text).whatever_context("could not understand deny.toml")?;
    let metadata = metadata::read()?;
    let mut outside = 0;
    let mut refused = Vec::new();
    for package in &metadata.packages {
        let Some(source) = &package.source else { continue };
        outside += 1;
        let expression = package.license.as_deref().unwrap_or_default();
        if !source.starts_with("registry+") {
            refused.push(format!("{} {}: not from a registry", package.name, package.version));
        } else if !satisfied(expression, &file.licenses.allow) {
            refused.push(format!("{} {}: {expression:?}", package.name, package.version));
        }
    }
    if !refused.is_empty() {
        snafu::whatever!("deny.toml does not allow\n  {}", refused.join("\n  "));
    }
    Ok(outside)
}

/// Whether the allowed licences satisfy an SPDX expression: `OR` needs one side, `AND` both. The `/` of
/// older manifests means `OR`. What does not parse satisfies nothing.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    any_of(&mut tokens, allowed).unwrap_or(false) && tokens.is_empty()
}

/// `A OR B OR ...`; tokens are taken from the end of the list.
fn any_of(tokens: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Option<bool> {
    let mut value = all_of(tokens, allowed)?;
    while tokens.pop_if(|token| *token == "OR").is_some() {
        value |= all_of(tokens, allowed)?;
    }
    Some(value)
}

/// `A AND B AND ...`, which binds closer than `OR`.
fn all_of(tokens: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Option<bool> {
    let mut value = one(tokens, allowed)?;
    while tokens.pop_if(|token| *token == "AND").is_some() {
        value &= one(tokens, allowed)?;
    }
    Some(value)
}

/// A licence, `LICENCE WITH EXCEPTION`, or an expression in parentheses.
fn one(tokens: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Option<bool> {
    match tokens.pop()? {
        "(" => {
            let value = any_of(tokens, allowed)?;
            tokens.pop_if(|token| *token == ")").map(|_| value)
        }
        ")" | "OR" | "AND" | "WITH" => None,
        licence if tokens.pop_if(|token| *token == "WITH").is_some() => {
            let exception = tokens.pop()?;
            Some(allowed.contains(&format!("{licence} WITH {exception}")))
        }
        licence => Some(allowed.contains(licence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed: BTreeSet<String> =
            ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(String::from).into_iter().collect();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT AND Zlib", true),
            ("(MIT OR GPL-3.0) AND Zlib", true),
            ("(MIT AND GPL-3.0) OR GPL-2.0", false),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT WITH LLVM-exception", false),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT MIT", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
        }
    }
}
