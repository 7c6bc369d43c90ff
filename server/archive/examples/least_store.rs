//! The least that a server does to store: it receives a request over HTTP/1.1, writes the body to a file as it came, syncs the
//! file and answers. Nothing is read, checked, named or found again. For `tests/bench/beside_least.py`, which tells by it how
//! much of the time of storing is the client's, the kernel's and the disk's.
//!
//!     cargo run --release -p engram-archive --example least_store -- 127.0.0.1:8176 DIR

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: 2\r\n\r\n{}";

static NEXT: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(folder)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        eprintln!("least_store ADDRESS:PORT DIR");
        process::exit(2);
    };
    fs::create_dir_all(&folder)?;
    for connection in TcpListener::bind(address)?.incoming() {
        let (connection, folder) = (connection?, folder.clone());
        thread::spawn(move || {
            if let Err(error) = serve(&connection, &folder) {
                eprintln!("a connection ended: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut connection: &TcpStream, folder: &Path) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(1 << 20, connection);
    let mut body = Vec::new();
    while let Some(length) = body_length(&mut input)? {
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        let mut file = File::create(folder.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string()))?;
        file.write_all(&body)?;
        file.sync_data()?;
        connection.write_all(ANSWER)?;
    }
    Ok(())
}

/// Reads a request's head; `Content-Length`, or `None` where the client has closed the connection.
fn body_length(input: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut length = 0;
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            return Ok(Some(length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        line.clear();
    }
    Ok(None)
}
