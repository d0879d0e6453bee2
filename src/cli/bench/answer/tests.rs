//! The parser against fragments, nonsense and bounds.

use super::*;

/// Feeds `pieces` as a connection would: what was not taken comes again, with more behind it.
fn fed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<Answer>, usize), Malformed> {
    let (mut parser, mut waiting, mut answers) = (Parser::new(), Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let (used, answer) = parser.advance(&waiting)?;
            waiting.drain(..used);
            match answer {
                Some(answer) => answers.push(answer),
                None => break,
            }
        }
    }
    Ok((answers, waiting.len()))
}

fn answer(status: u16, body_bytes: u64) -> Answer {
    Answer { status, body_bytes, ..Answer::default() }
}

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"7\"\r\n\r\nhello\
HTTP/1.1 100 Continue\r\n\r\n\
HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n\
HTTP/1.1 204 No Content\r\n\r\n\
HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrail: er\r\n\r\n\
HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 20\r\n\r\n{\"code\":\"no-leader\"}";

fn expected() -> Vec<Answer> {
    let problem = b"{\"code\":\"no-leader\"}".to_vec();
    vec![
        answer(200, 5),
        answer(201, 0),
        answer(204, 0),
        answer(200, 13),
        Answer { status: 503, body_bytes: 20, closes: true, problem },
    ]
}

/// Goal: the same answers come out however the bytes are cut: in two at each place, and one by one.
#[test]
fn fragments() {
    assert_eq!(fed([STREAM]), Ok((expected(), 0)));
    for at in 0..=STREAM.len() {
        assert_eq!(fed([&STREAM[..at], &STREAM[at..]]), Ok((expected(), 0)), "cut at {at}");
    }
    assert_eq!(fed(STREAM.chunks(1)), Ok((expected(), 0)));
    for at in 0..STREAM.len() {
        let (answers, _) = fed([&STREAM[..at]]).expect("the start of answers is no error");
        assert!(answers.len() < 5, "the last answer is not whole after {at} bytes");
    }
}

/// Goal: what is no answer, or has no known end, is refused and not guessed.
#[test]
fn refusals() {
    for (text, reason) in [
        ("SSH-2.0-OpenSSH\r\n", Malformed::Syntax),
        ("-ERR unknown command\r\n", Malformed::Syntax),
        ("HTTP/1.1 200 OK\r\n\r\n", Malformed::NoLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Malformed::NoLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Malformed::NoLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Malformed::NoLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Malformed::NoLength),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Malformed::Unasked),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", Malformed::Syntax),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Malformed::Syntax),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", Malformed::Syntax),
    ] {
        assert_eq!(fed([text.as_bytes()]), Err(reason.clone()), "{text:?}");
        assert_eq!(fed(text.as_bytes().chunks(1)), Err(reason), "{text:?} byte by byte");
    }
}

/// Goal: an endless head, chunk line or trailer ends at the bound; a long body takes no memory, nor does a long error.
#[test]
fn bounds() {
    let endless = vec![b'a'; MAX_HEAD_BYTES];
    for start in [
        "HTTP/1.1 200 OK\r\nX: ",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ] {
        assert_eq!(fed([start.as_bytes(), &endless]), Err(Malformed::TooLong), "{start:?}");
    }
    let mut error = b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    error.resize(error.len() + 1_000_000, b'x');
    let (answers, rest) = fed(error.chunks(1_000)).expect("an answer");
    assert_eq!((answers[0].body_bytes, answers[0].problem.len(), rest), (1_000_000, MAX_PROBLEM_BYTES, 0));
}

/// Goal: HTTP/1.0 closes, and a close among other words is seen.
#[test]
fn closing() {
    let closes = |text: &str| fed([text.as_bytes()]).expect("an answer").0[0].closes;
    assert!(closes("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(closes("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n"));
    assert!(!closes("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"));
}
