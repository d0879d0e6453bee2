//! A client of the socket in a data directory. Each question has a connection of its own.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Response, Status};

use super::client::Answer;
use super::exit::{Exit, Failure};
use crate::disk::connect_at;
use crate::raft::ADMIN_SOCKET;

/// Longest answer that is taken.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Most headers of an answer.
const MAX_HEADERS: usize = 32;

/// Asks the node that runs in `directory` to do something. It may be silent for `patience`.
pub(super) fn post(directory: &Path, path: &str, patience: Duration) -> Result<Answer, Failure> {
    let asked = ask(directory, path, patience);
    let bytes = asked.map_err(|error| {
        let socket = directory.join(ADMIN_SOCKET);
        Failure::new(Exit::Unreachable, format!("no node answers at {}: {error}", socket.display()))
    })?;
    answer(&bytes)
        .ok_or_else(|| Failure::new(Exit::Refused, "the answer is not whole: is this a Kvorum server?"))
}

fn ask(directory: &Path, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = connect_at(directory, ADMIN_SOCKET)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\nUser-Agent: kvorum/{}\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An answer that ended with its connection; `None` if it is none, or not all of one.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut head = Response::new(&mut headers);
    let Ok(Status::Complete(length)) = head.parse(bytes) else { return None };
    let body = bytes.get(length..)?;
    let announced = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let announced: usize = str::from_utf8(announced.value).ok()?.parse().ok()?;
    (body.len() == announced).then(|| Answer { status: head.code.unwrap_or(0), body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an answer is taken whole or not at all.
    #[test]
    fn answers_are_whole() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let taken = answer(whole).expect("whole");
        assert_eq!((taken.status, taken.body.as_slice()), (200, b"{}".as_slice()));
        for length in 0..whole.len() {
            assert!(answer(&whole[..length]).is_none(), "{length} bytes");
        }
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n{}").is_none(), "it does not say how long it is");
    }
}
