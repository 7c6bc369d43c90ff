//! The OHIF viewer: its published build, taken from npm, pinned by npm's integrity hash, made to be served at
//! `/viewer/`, and kept in the cache folder where the `engram` binary finds it again.
//!
//! What is published is built to be served at `/`. Webpack writes that path into the start of every script with a
//! runtime, into the page and into the style sheet; there it is replaced.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha512};
use snafu::{OptionExt, ResultExt};

use crate::{Result, paths, process};

/// Its name on npm.
const PACKAGE: &str = "@ohif/app";
/// The version that is pinned.
const VERSION: &str = "3.13.2";
/// Of the package as npm publishes it: SHA-512 in base64.
const INTEGRITY: &str =
    "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==";
/// Its folder in the cache: the version, and a number that grows with what is made of it here. The `engram` binary looks
/// for the same one.
pub const FOLDER: &str = "3.13.2-1";

/// Where in the package the built viewer lies.
const BUILT: &str = "package/dist";
/// Left out: an ONNX Runtime of its own, which only its experimental tools load; the configurations and the service
/// worker of its makers' site.
const LEFT_OUT: [&str; 4] = ["ort", "app-config.js", "google.js", "sw.js"];

/// How the path that it is served at is written, and what is to stand there, by the files it is written in.
const PATHS: [(&str, &str, &str); 3] = [
    (".js", "__webpack_require__.p = \"/\"", "__webpack_require__.p = \"/viewer/\""),
    ("index.html", "=\"/", "=\"/viewer/"),
    (".css", "url(/", "url(/viewer/"),
];

/// The viewer's folder in the cache; it is fetched where it is not there.
///
/// # Errors
/// When npm is not there or cannot fetch it, or what came is not what is pinned.
pub fn folder() -> Result<PathBuf> {
    let viewers = paths::cache()?.join("ohif");
    let folder = viewers.join(FOLDER);
    // It is moved here when it is complete.
    if folder.is_dir() {
        return Ok(folder);
    }
    eprintln!("fetching {PACKAGE} {VERSION}");
    let scratch = viewers.join(format!("incoming-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_whatever_context(|_| format!("could not make {}", scratch.display()))?;
    let outcome = fetch(&scratch, &folder);
    // What is left of a failed try is only scratch: failing to tidy up must not hide the outcome.
    let _ = std::fs::remove_dir_all(&scratch);
    outcome.map(|()| folder)
}

fn fetch(scratch: &Path, folder: &Path) -> Result<()> {
    let package = download(scratch)?;
    let prepared = scratch.join("prepared");
    unpack(&package, &prepared)?;
    std::fs::rename(&prepared, folder)
        .with_whatever_context(|_| format!("could not put {} in place", folder.display()))
}

/// The package, downloaded into `scratch` and held against its hash.
fn download(scratch: &Path) -> Result<Vec<u8>> {
    process::run(
        Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts"])
            .arg(format!("{PACKAGE}@{VERSION}"))
            .arg("--pack-destination")
            .arg(scratch)
            .stdout(std::process::Stdio::null()),
    )
    .whatever_context(
        "could not fetch the viewer with npm, which comes with Node (Debian: apt-get install npm)",
    )?;
    let path = scratch.join(format!("ohif-app-{VERSION}.tgz"));
    let package =
        std::fs::read(&path).with_whatever_context(|_| format!("could not read {}", path.display()))?;
    let found = BASE64_STANDARD.encode(Sha512::digest(&package));
    if found != INTEGRITY {
        snafu::whatever!("{PACKAGE} {VERSION} has SHA-512 {found}, not the pinned {INTEGRITY}");
    }
    Ok(package)
}

/// Writes what is wanted of a package, ready to be served, to `folder`.
fn unpack(package: &[u8], folder: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(package));
    let mut replaced = [0; PATHS.len()];
    for entry in archive.entries().whatever_context("could not read the package")? {
        let mut entry = entry.whatever_context("could not read the package")?;
        let path = entry.path().whatever_context("could not read a name in the package")?.into_owned();
        let Some(name) = wanted(&path) else { continue };
        let mut content = Vec::new();
        entry.read_to_end(&mut content).with_whatever_context(|_| format!("could not unpack {name}"))?;
        let content = prepared(name, content, &mut replaced);
        write(&folder.join(name), &content)?;
    }
    let missed = PATHS.iter().zip(replaced).find(|(_, times)| *times == 0).map(|(path, _)| path);
    if let Some((file, from, _)) = missed {
        snafu::whatever!("could not find {from} in any {file} of {PACKAGE} {VERSION}");
    }
    Ok(())
}

/// The name, below the viewer's folder, of a file of the package that is wanted.
fn wanted(path: &Path) -> Option<&str> {
    let name = path.strip_prefix(BUILT).ok()?;
    let is_plain = name.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let first = name.components().next()?.as_os_str();
    let is_map = name.extension().is_some_and(|extension| extension == "map");
    (is_plain && !is_map && !LEFT_OUT.iter().any(|left| first == *left)).then(|| name.to_str()).flatten()
}

/// A file's content with the path it is served at put in, where it names it; how often it did is added up by rule.
fn prepared(name: &str, content: Vec<u8>, replaced: &mut [usize; PATHS.len()]) -> Vec<u8> {
    let rule = PATHS.iter().position(|(file, _, _)| name.ends_with(file));
    let Some((rule, text)) = rule.zip(std::str::from_utf8(&content).ok()) else { return content };
    let Some((_, from, to)) = PATHS.get(rule) else { return content };
    if let Some(times) = replaced.get_mut(rule) {
        *times += text.matches(from).count();
    }
    text.replace(from, to).into_bytes()
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().whatever_context("could not find where a file belongs")?;
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, content))
        .with_whatever_context(|_| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package of these files, as npm packs it.
    fn package(files: &[(&str, &str)]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gz);
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    const PAGE: (&str, &str) = ("package/dist/index.html", "<script src=\"/a.js\"></script>");
    const SCRIPT: (&str, &str) = ("package/dist/a.js", "__webpack_require__.p = \"/\";");
    const STYLE: (&str, &str) = ("package/dist/assets/a.css", "a{src:url(/f.woff2)}");

    #[test]
    fn what_is_wanted_is_unpacked_for_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let unwanted = [
            ("package/package.json", "{}"),
            ("package/dist/ort/ort.js", "__webpack_require__.p = \"/\";"),
            ("package/dist/a.js.map", "{}"),
            ("package/dist/app-config.js", "window.config = {}"),
        ];
        unpack(&package(&[&[PAGE, SCRIPT, STYLE][..], &unwanted].concat()), folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("index.html"), "<script src=\"/viewer/a.js\"></script>");
        assert_eq!(read("a.js"), "__webpack_require__.p = \"/viewer/\";");
        assert_eq!(read("assets/a.css"), "a{src:url(/viewer/f.woff2)}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_build_of_another_shape_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = unpack(&package(&[PAGE, STYLE]), folder.path()).unwrap_err();
        assert!(error.to_string().contains("__webpack_require__"), "{error}");
        assert!(unpack(b"no package", folder.path()).is_err());
    }

    #[test]
    fn the_server_looks_where_it_is_put() {
        let server =
            std::fs::read_to_string(paths::root().join("server/app/src/http/viewer/mod.rs")).unwrap();
        assert!(server.contains(&format!("const FOLDER: &str = \"{FOLDER}\";")));
    }
}
