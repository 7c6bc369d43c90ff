//! What the operating system was asked for: a trace of the system calls shows that an instance was synced
//! before it was acknowledged.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// A system call: the trace's lines where it began and where it returned.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
    began: usize,
    returned: usize,
}

/// Reads the output of `strace -f -y`, where a call that another thread interrupts is split over two lines.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, Call> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, rest)) = text.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<...") {
            if let Some(call) = unfinished.remove(thread) {
                calls.push(Call { returned: line, ..call });
            }
        } else if let Some((name, arguments)) = rest.split_once('(') {
            let call =
                Call { name: name.to_owned(), arguments: arguments.to_owned(), began: line, returned: line };
            if rest.ends_with("<unfinished ...>") {
                unfinished.insert(thread, call);
            } else {
                calls.push(call);
            }
        }
    }
    calls
}

#[test]
fn file_folder_and_catalogue_are_synced_before_the_acknowledgement() {
    // Small ones are written through the page cache, larger ones past it, the largest while they are received.
    for side in ["16", "200", "800"] {
        trace_of_slices(side);
    }
}

fn trace_of_slices(side: &str) {
    let traced = "fsync,fdatasync,rename,renameat,renameat2,write";
    let is_there =
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !is_there {
        println!("SKIPPED file_folder_and_catalogue_are_synced_before_the_acknowledgement: strace is absent");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/store_loop");
    let trace = root.join("trace");
    let run = Command::new("strace")
        .args(["-f", "-y", "-s", "256", "-e", &format!("trace={traced}"), "-o"])
        .arg(&trace)
        .arg(example)
        .arg(&root)
        .args(["1", "6", side])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    if !run.status.success() && String::from_utf8_lossy(&run.stderr).contains("ptrace") {
        println!(
            "SKIPPED file_folder_and_catalogue_are_synced_before_the_acknowledgement: tracing is not allowed"
        );
        return;
    }
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let calls = calls(&fs::read_to_string(&trace).unwrap());
    let catalogue = format!("<{}>", root.join("db/db").display());
    let synced = |what: &str, after: usize, before: usize| {
        calls.iter().any(|call| {
            (call.name == "fsync" || call.name == "fdatasync")
                && call.arguments.contains(what)
                && call.began > after
                && call.returned < before
        })
    };
    let mut acknowledged = 0;
    for answer in calls.iter().filter(|call| call.name == "write" && call.arguments.contains("\"stored ")) {
        let sop = answer.arguments.split("stored ").nth(1).unwrap().split('\\').next().unwrap();
        let place = calls
            .iter()
            .find(|call| call.name.starts_with("rename") && call.arguments.contains(&format!("/{sop}.dcm\"")))
            .unwrap();
        let names: Vec<&str> = place.arguments.split('"').filter(|part| part.starts_with('/')).collect();
        let (incoming, object) = (Path::new(names[0]), Path::new(names[1]));
        let folder = format!("<{}>", object.parent().unwrap().display());
        assert!(
            synced(&format!("<{}>", incoming.display()), 0, place.began),
            "{sop}: its bytes were not synced"
        );
        let folder_synced = calls
            .iter()
            .filter(|call| {
                call.name == "fsync" && call.arguments.contains(&folder) && call.began > place.returned
            })
            .map(|call| call.returned)
            .min()
            .unwrap();
        assert!(folder_synced < answer.began, "{sop}: its folder was not synced");
        assert!(synced(&catalogue, place.returned, answer.began), "{sop}: the catalogue was not synced");
        acknowledged += 1;
    }
    assert_eq!(acknowledged, 48);
    println!(
        "{acknowledged} acknowledgements of {side} x {side} pixels, each after the syncs of file, folder and catalogue"
    );
}
