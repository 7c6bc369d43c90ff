//! Other people's methods on the same cases: a command that reads annotated cases and writes a DICOM-SEG.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Instant;

use ndarray::Array3;

use super::cases::Case;
use super::truth::{self, Annotated};
use crate::cli::Failure;

/// A method by name, and the command that runs it: `NAME=PROGRAM ARGUMENT…`, split at spaces. It is called once a
/// target as `PROGRAM ARGUMENT… --out FILE --target CASE EXEMPLAR…` with folders of cases, and writes a DICOM-SEG of
/// the target's images whose labels are coded as the exemplars' are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideMethod {
    /// What the report calls it.
    pub name: String,
    command: Vec<String>,
}

impl FromStr for OutsideMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("is not NAME=COMMAND")?;
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || command.is_empty() {
            return Err("is not NAME=COMMAND".to_owned());
        }
        Ok(Self { name: name.to_owned(), command })
    }
}

/// What a method makes of a target.
pub struct Outcome {
    /// Masks in the order of the labels asked for.
    pub masks: Vec<Array3<bool>>,
    /// Wall time of the command.
    pub seconds: f64,
}

impl OutsideMethod {
    /// Runs the command. Answers the masks of `labels`.
    pub fn run(
        &self,
        target: (&Case, &Annotated),
        exemplars: &[Case],
        labels: &[String],
    ) -> Result<Outcome, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::of)?;
        let out = folder.path().join("result.dcm");
        let started = Instant::now();
        self.call(&out, &target.0.folder, exemplars)?;
        let seconds = started.elapsed().as_secs_f64();
        let found = truth::read_masks(&out, target.1.volume())?;
        let mask = |label: &String| match found.get(label) {
            Some((_, mask)) => mask.mapv(|value| value != 0),
            None => Array3::from_elem(target.1.volume().voxels.dim(), false),
        };
        Ok(Outcome { masks: labels.iter().map(mask).collect(), seconds })
    }

    fn call(&self, out: &Path, target: &Path, exemplars: &[Case]) -> Result<(), Failure> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(Failure::say(format!("{} has no command", self.name)));
        };
        let folders: Vec<&PathBuf> = exemplars.iter().map(|case| &case.folder).collect();
        let mut command = Command::new(program);
        command.args(arguments).arg("--out").arg(out).arg("--target").arg(target).args(folders);
        let output = command
            .output()
            .map_err(|error| Failure::say(format!("{}: could not run {program}: {error}", self.name)))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or_default();
        Err(Failure::say(format!("{}: {program} failed ({}): {last}", self.name, output.status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_a_name_and_a_command() {
        let method: OutsideMethod = "registration=python -m engram_registration".parse().unwrap();
        assert_eq!(method.name, "registration");
        assert_eq!(method.command, ["python", "-m", "engram_registration"]);
        assert!("registration".parse::<OutsideMethod>().is_err());
        assert!("=python".parse::<OutsideMethod>().is_err());
        assert!("registration= ".parse::<OutsideMethod>().is_err());
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let call = |command: &str| {
            let method: OutsideMethod = format!("x={command}").parse().unwrap();
            method.call(Path::new("out"), Path::new("target"), &[]).unwrap_err().to_string()
        };
        assert!(call("false").contains("failed"));
        assert!(call("no-such-program-here").contains("could not run"));
    }
}
