//! Answers in HTTP/1.1 (RFC 9112), parsed as the bytes come, without I/O.
//!
//! Bodies are counted and passed over, except the start of an error's, which holds its code. What is kept is bounded:
//! a head must fit the caller's buffer ([`MAX_HEAD_BYTES`] at least), an error's body up to [`MAX_PROBLEM_BYTES`].
//! An answer must say how long it is: one that ends with its connection is refused.

use std::mem::{MaybeUninit, take};

use httparse::{Header, ParserConfig, Status};

/// Longest head, line of a chunk or trailer.
pub(super) const MAX_HEAD_BYTES: usize = 16 << 10;

/// Most header fields.
const MAX_FIELDS: usize = 64;

/// How much of an error's body is kept.
const MAX_PROBLEM_BYTES: usize = 4 << 10;

/// An answer, without its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// How long its body was.
    pub(super) body_bytes: u64,
    /// Whether the server closes the connection.
    pub(super) closes: bool,
    /// The start of the body, if the status is an error's.
    pub(super) problem: Vec<u8>,
}

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// They are not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    Syntax,
    /// The head, a chunk's line or a trailer is too long.
    #[error("a line or head of the answer is longer than {MAX_HEAD_BYTES} bytes")]
    TooLong,
    /// It does not say how long it is, or says it in a way that is not known here.
    #[error("the answer does not say how long it is")]
    NoLength,
    /// Something came that was not asked for.
    #[error("the server sent more than the answer")]
    Unasked,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Body { left: u64 },
    ChunkLine,
    Chunk { left: u64 },
    ChunkEnd,
    Trailer,
    Done,
}

/// Parses one answer after another.
#[derive(Debug)]
pub(super) struct Parser {
    phase: Phase,
    answer: Answer,
}

impl Parser {
    /// Expects an answer.
    pub(super) fn new() -> Parser {
        Parser { phase: Phase::Head, answer: Answer::default() }
    }

    /// Takes from the start of `input` what it can use, and says how many bytes that were; with them comes the answer
    /// if it is whole. What was not taken must be given again, with more behind it.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<(usize, Option<Answer>), Malformed> {
        let mut used = 0;
        while self.phase != Phase::Done {
            let rest = input.get(used..).unwrap_or_default();
            match self.step(rest)? {
                Some(step) => used += step,
                None if rest.len() >= MAX_HEAD_BYTES => return Err(Malformed::TooLong),
                None => return Ok((used, None)),
            }
        }
        self.phase = Phase::Head;
        Ok((used, Some(take(&mut self.answer))))
    }

    /// One step forward; none if there are too few bytes for it.
    fn step(&mut self, input: &[u8]) -> Result<Option<usize>, Malformed> {
        match self.phase {
            Phase::Head => self.head(input),
            Phase::Body { left: 0 } => Ok(self.then(Phase::Done, 0)),
            Phase::Chunk { left: 0 } => Ok(self.then(Phase::ChunkEnd, 0)),
            Phase::Body { .. } | Phase::Chunk { .. } if input.is_empty() => Ok(None),
            Phase::Body { left } => {
                let taken = self.body(input, left);
                Ok(self.then(Phase::Body { left: left - taken }, taken as usize))
            }
            Phase::Chunk { left } => {
                let taken = self.body(input, left);
                Ok(self.then(Phase::Chunk { left: left - taken }, taken as usize))
            }
            Phase::ChunkEnd => match line(input)? {
                Some(0) => Ok(self.then(Phase::ChunkLine, 2)),
                Some(_) => Err(Malformed::Syntax),
                None => Ok(None),
            },
            Phase::ChunkLine => self.chunk_line(input),
            Phase::Trailer => match line(input)? {
                Some(0) => Ok(self.then(Phase::Done, 2)),
                Some(length) => Ok(self.then(Phase::Trailer, length + 2)),
                None => Ok(None),
            },
            Phase::Done => Ok(None),
        }
    }

    fn then(&mut self, phase: Phase, used: usize) -> Option<usize> {
        self.phase = phase;
        Some(used)
    }

    fn head(&mut self, input: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed =
            ParserConfig::default().parse_response_with_uninit_headers(&mut head, input, &mut fields);
        let used = match parsed {
            Ok(Status::Complete(used)) => used,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed::Syntax),
        };
        let status = head.code.ok_or(Malformed::Syntax)?;
        if (100..200).contains(&status) {
            // An interim answer; the real one follows. Nobody asked to switch protocols.
            return if status == 101 { Err(Malformed::Unasked) } else { Ok(Some(used)) };
        }
        let mut framing = Framing { closes: head.version != Some(1), ..Framing::default() };
        for field in head.headers.iter() {
            framing.take(field)?;
        }
        self.answer = Answer { status, closes: framing.closes, ..Answer::default() };
        let phase = match framing {
            _ if matches!(status, 204 | 304) => Phase::Done,
            Framing { chunked: true, length: None, .. } => Phase::ChunkLine,
            Framing { chunked: false, length: Some(left), .. } => Phase::Body { left },
            _ => return Err(Malformed::NoLength),
        };
        Ok(self.then(phase, used))
    }

    fn chunk_line(&mut self, input: &[u8]) -> Result<Option<usize>, Malformed> {
        match (input.first(), httparse::parse_chunk_size(input)) {
            (Some(first), _) if !first.is_ascii_hexdigit() => Err(Malformed::Syntax),
            (_, Err(_)) => Err(Malformed::Syntax),
            (_, Ok(Status::Partial)) => Ok(None),
            (_, Ok(Status::Complete((used, 0)))) => Ok(self.then(Phase::Trailer, used)),
            (_, Ok(Status::Complete((used, left)))) => Ok(self.then(Phase::Chunk { left }, used)),
        }
    }

    /// Passes over at most `left` bytes of the body and says how many.
    fn body(&mut self, input: &[u8], left: u64) -> u64 {
        let taken = (input.len() as u64).min(left);
        self.answer.body_bytes += taken;
        if self.answer.status >= 400 {
            let room = MAX_PROBLEM_BYTES - self.answer.problem.len();
            self.answer.problem.extend(input.iter().take(room.min(taken as usize)));
        }
        taken
    }
}

/// What the header fields say about the end of the answer.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    closes: bool,
}

impl Framing {
    fn take(&mut self, field: &Header<'_>) -> Result<(), Malformed> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let length = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
            let length = length.ok_or(Malformed::NoLength)?;
            if self.length.is_some_and(|before| before != length) {
                return Err(Malformed::NoLength);
            }
            self.length = Some(length);
        } else if is("transfer-encoding") {
            if !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::NoLength);
            }
            self.chunked = true;
        } else if is("connection") {
            let mut words = field.value.split(|byte| *byte == b',');
            self.closes |= words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }
}

/// The length of the line at the start of `input`, without its end; none if the end is not there yet.
fn line(input: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return match input {
            [] | [b'\r'] => Ok(None),
            _ if input.len() < MAX_HEAD_BYTES => Ok(None),
            _ => Err(Malformed::TooLong),
        };
    };
    match end.checked_sub(1).and_then(|before| input.get(before)) {
        Some(b'\r') => Ok(Some(end - 1)),
        _ => Err(Malformed::Syntax),
    }
}

#[cfg(test)]
mod tests;
