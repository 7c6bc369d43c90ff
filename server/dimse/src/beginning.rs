//! What a connection begins with. `dicom-ul` 0.10.1 takes a connection's end for a pause while it tells TLS from what is
//! none, and would turn round for ever; so it gets no connection that has not said enough for that.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use snafu::ResultExt;

use crate::{ClosedSnafu, Error, PeerSnafu, SilentSnafu, UnexpectedSnafu, is_of_time};

/// The type of an A-ASSOCIATE-RQ PDU (PS3.8 9.3.2).
const ASSOCIATE_RQ: u8 = 0x01;
/// Bytes of a PDU's header.
const PDU_HEADER_BYTES: usize = 6;
/// The type of a TLS record with a handshake (RFC 8446 5.1).
const HANDSHAKE: u8 = 0x16;
/// Bytes of a TLS record's header.
const RECORD_HEADER_BYTES: usize = 5;
/// Bytes of a handshake message's header (RFC 8446 4).
const MESSAGE_HEADER_BYTES: usize = 4;
/// Bytes of the longest TLS record.
const MAX_RECORD_BYTES: usize = RECORD_HEADER_BYTES + (1 << 14);
/// How long until is looked again for more.
const PAUSE: Duration = Duration::from_millis(5);

/// What the first bytes of a connection come to.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Enough,
    TooLittle,
    Nonsense(&'static str),
}

/// Waits for the header of a request for an association, or over TLS for the client's hello, and leaves them to be read.
pub fn wait_for(stream: &TcpStream, is_tls: bool, patience: Duration) -> Result<(), Error> {
    stream.set_read_timeout(Some(patience)).context(PeerSnafu)?;
    let deadline = Instant::now() + patience;
    let mut bytes = vec![0; MAX_RECORD_BYTES];
    while Instant::now() < deadline {
        let count = match stream.peek(&mut bytes) {
            Ok(0) => return ClosedSnafu.fail(),
            Err(error) if is_of_time(&error) => return SilentSnafu.fail(),
            peeked => peeked.context(PeerSnafu)?,
        };
        let said = if is_tls { hello(&bytes[..count]) } else { request(&bytes[..count]) };
        match said {
            Said::Enough => return Ok(()),
            Said::TooLittle => std::thread::sleep(PAUSE),
            Said::Nonsense(what) => return UnexpectedSnafu { what }.fail(),
        }
    }
    SilentSnafu.fail()
}

fn request(bytes: &[u8]) -> Said {
    match bytes {
        [HANDSHAKE, ..] => Said::Nonsense("TLS to a port without it"),
        [ASSOCIATE_RQ, ..] if bytes.len() >= PDU_HEADER_BYTES => Said::Enough,
        [] | [ASSOCIATE_RQ, ..] => Said::TooLittle,
        _ => Said::Nonsense("something else than a request for an association"),
    }
}

/// A hello comes whole in one record: what splits it is no client of DICOM's.
fn hello(bytes: &[u8]) -> Said {
    match bytes {
        [HANDSHAKE, _, _, high, low, _, first, second, third, ..] => {
            let record = usize::from(u16::from_be_bytes([*high, *low]));
            let message = u32::from_be_bytes([0, *first, *second, *third]) as usize;
            let end = RECORD_HEADER_BYTES + record;
            match message + MESSAGE_HEADER_BYTES > record || end > MAX_RECORD_BYTES {
                true => Said::Nonsense("a client's hello that is none"),
                false if bytes.len() < end => Said::TooLittle,
                false => Said::Enough,
            }
        }
        [] | [HANDSHAKE, ..] => Said::TooLittle,
        _ => Said::Nonsense("something else than TLS to a port with it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_whole_is_enough() {
        let whole = [&[0x16, 3, 1, 0, 9, 1, 0, 0, 5][..], &[0; 5]].concat();
        assert_eq!(hello(&whole), Said::Enough);
        for count in 0..whole.len() {
            assert_eq!(hello(&whole[..count]), Said::TooLittle, "{count}");
        }
        let split = [0x16, 3, 1, 0, 9, 1, 0, 0, 6];
        let endless = [0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 6];
        for bytes in [&split[..], &endless, &[1, 0, 0, 0]] {
            assert!(matches!(hello(bytes), Said::Nonsense(_)), "{bytes:?}");
        }
        assert_eq!(request(&[1, 0, 0, 0, 0, 9]), Said::Enough);
        assert_eq!((request(&[]), request(&[1, 0, 0])), (Said::TooLittle, Said::TooLittle));
        assert!(matches!(request(&whole), Said::Nonsense(_)) && matches!(request(&[4]), Said::Nonsense(_)));
    }

    #[test]
    fn a_connection_that_ends_first_is_none() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (stream, _) = listener.accept().unwrap();
        let patience = Duration::from_secs(5);
        assert!(matches!(wait_for(&stream, false, patience), Err(Error::Closed)));
        assert!(matches!(wait_for(&stream, true, patience), Err(Error::Closed)));
    }
}
