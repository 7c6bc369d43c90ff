//! What a person calls a bundle.

use engram_inference::Bundle;

use crate::error::{NoSuchBundleSnafu, Result};

/// The one that a person means: by id, by the name of its folder, as `name@version`, or by name; the first of these
/// that fits anything must fit one alone.
///
/// # Errors
/// [`Error::NoSuchBundle`](crate::Error::NoSuchBundle) says what there is to choose from.
pub fn choose<T>(asked: &str, all: Vec<T>, bundle: impl Fn(&T) -> &Bundle) -> Result<T> {
    let ids: Vec<String> = all.iter().map(|one| bundle(one).id().to_owned()).collect();
    let mut all: Vec<Option<T>> = all.into_iter().map(Some).collect();
    for fits in [is_id, is_folder, is_version, is_name] {
        let fitting: Vec<usize> =
            (0..all.len()).filter(|i| all[*i].as_ref().is_some_and(|one| fits(bundle(one), asked))).collect();
        if let [one] = fitting.as_slice()
            && let Some(found) = all.get_mut(*one).and_then(Option::take)
        {
            return Ok(found);
        }
        if !fitting.is_empty() {
            let reason = format!("several are called that: {}; give the id", listed(&ids, &fitting));
            return NoSuchBundleSnafu { bundle: asked, reason }.fail();
        }
    }
    let every: Vec<usize> = (0..ids.len()).collect();
    NoSuchBundleSnafu { bundle: asked, reason: format!("there is {}", listed(&ids, &every)) }.fail()
}

fn listed(ids: &[String], which: &[usize]) -> String {
    let ids: Vec<&str> = which.iter().filter_map(|i| ids.get(*i)).map(String::as_str).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

fn is_id(bundle: &Bundle, asked: &str) -> bool {
    bundle.id() == asked
}

fn is_folder(bundle: &Bundle, asked: &str) -> bool {
    bundle.folder().file_name().is_some_and(|name| name == asked)
}

fn is_version(bundle: &Bundle, asked: &str) -> bool {
    bundle.id().split_once('+').is_some_and(|(version, _)| version == asked)
}

fn is_name(bundle: &Bundle, asked: &str) -> bool {
    bundle.spec().name == asked
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The manifest of the bundle that ships, as another version in a folder of its own.
    fn bundle(root: &Path, folder: &str, version: &str) -> Bundle {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact/bundle.toml");
        let text = fs::read_to_string(shipped).unwrap();
        let line = text.lines().find(|line| line.starts_with("version")).unwrap();
        fs::create_dir(root.join(folder)).unwrap();
        let text = text.replace(line, &format!("version = \"{version}\""));
        fs::write(root.join(folder).join("bundle.toml"), text).unwrap();
        Bundle::read(root.join(folder)).unwrap()
    }

    #[test]
    fn a_bundle_is_found_by_what_it_is_called() {
        let root = tempfile::tempdir().unwrap();
        let all = || vec![bundle(root.path(), "here", "1.0.0"), bundle(root.path(), "next", "2.0.0")];
        let all = all();
        let ask =
            |asked: &str| choose(asked, all.clone(), |bundle| bundle).map(|bundle| bundle.id().to_owned());
        let (first, second) = (all[0].id().to_owned(), all[1].id().to_owned());
        assert_eq!(ask(&first).unwrap(), first);
        assert_eq!(ask("next").unwrap(), second);
        assert_eq!(ask("compact@1.0.0").unwrap(), first);
        let ambiguous = ask("compact").unwrap_err().to_string();
        assert!(ambiguous.contains(&first) && ambiguous.contains(&second), "{ambiguous}");
        let unknown = ask("other").unwrap_err().to_string();
        assert!(unknown.contains(&first), "{unknown}");
    }
}
