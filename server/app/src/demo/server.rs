//! A server of our own: this executable once more, as `engram serve`, on a free loopback port.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::{Failure, ServerToken};
use crate::client::Client;

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Lines of its log that are shown when it does not start.
const LOG_LINES: usize = 15;

/// The running server; it ends with this value.
pub struct Server {
    process: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Starts a server whose store and log lie in `folder`, and waits until it answers.
    pub fn start(folder: &Path, config: Option<&Path>) -> Result<Self, Failure> {
        let broken = |error: std::io::Error| Failure::say(format!("could not start a server: {error}"));
        let log = folder.join("server.log");
        // Free a moment ago; should another program take it in between, the server says so.
        let address =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).map_err(broken)?;
        let mut command = Command::new(std::env::current_exe().map_err(broken)?);
        command.arg("serve").arg("--bind").arg(address.to_string()).arg("--data").arg(folder.join("data"));
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).map_err(broken)?);
        let process = command.spawn().map_err(broken)?;
        let mut server = Self { process, url: format!("http://{address}"), log };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Its root: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client of it.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.url, &ServerToken::default())
    }

    /// Waits until it ends by itself, or by Ctrl-C.
    pub fn wait(&mut self) -> Result<(), Failure> {
        self.process
            .wait()
            .map(drop)
            .map_err(|error| Failure::say(format!("could not wait for the server: {error}")))
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let client = self.client()?;
        while !client.is_ready() {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(Failure::say(format!(
                    "the server did not start ({status}):\n{}",
                    self.end_of_log()
                )));
            }
            if began.elapsed() > READY_WITHIN {
                return Err(Failure::say(format!("the server does not answer:\n{}", self.end_of_log())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; the store is made to survive being stopped at any moment.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
