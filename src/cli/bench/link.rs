//! One connection: a request goes out, its answer comes in.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::answer::{Answer, MAX_HEAD_BYTES, Malformed, Parser};

/// Longest time for a connection to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest time for an answer. The server gives up before.
const ANSWER: Duration = Duration::from_secs(10);

/// Why a request has no answer. The connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection ended.
    #[error("connection-lost")]
    Lost(#[from] io::Error),
    /// No answer came in time.
    #[error("answer-timeout")]
    Timeout,
    /// The answer makes no sense.
    #[error("malformed-answer: {0}")]
    Malformed(#[from] Malformed),
}

/// A connection.
pub(super) struct Link {
    stream: TcpStream,
    parser: Parser,
    input: Box<[u8]>,
    /// Up to where `input` holds bytes that were not parsed yet.
    filled: usize,
    /// Ends some time after the answer is due. Moving it with each request would cost more than the request: it is
    /// looked at, and moved, only when it ends.
    alarm: Pin<Box<Sleep>>,
}

impl Link {
    /// Connects to `authority`, a host with a port.
    pub(super) async fn open(authority: &str) -> io::Result<Link> {
        let stream = timeout(CONNECT, TcpStream::connect(authority)).await.map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        Ok(Link {
            stream,
            parser: Parser::new(),
            input: vec![0; MAX_HEAD_BYTES].into_boxed_slice(),
            filled: 0,
            alarm: Box::pin(sleep(ANSWER)),
        })
    }

    /// Whether the server has closed the connection, as it may with idle ones. Costs no system call if it has not.
    pub(super) fn is_closed(&self) -> bool {
        match self.stream.try_read(&mut [0]) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }

    /// Sends a request and waits for its answer. Also says how many bytes came.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<(Answer, u64), Broken> {
        let due = Instant::now() + ANSWER;
        let Link { stream, parser, input, filled, alarm } = self;
        let exchange = async {
            stream.write_all(request).await?;
            receive(stream, parser, input, filled).await
        };
        let mut exchange = std::pin::pin!(exchange);
        loop {
            tokio::select! {
                biased;
                answer = &mut exchange => return answer,
                () = alarm.as_mut() => {
                    if Instant::now() >= due {
                        return Err(Broken::Timeout);
                    }
                    alarm.as_mut().reset(due);
                }
            }
        }
    }
}

async fn receive(
    stream: &mut TcpStream,
    parser: &mut Parser,
    input: &mut [u8],
    filled: &mut usize,
) -> Result<(Answer, u64), Broken> {
    let mut received = 0;
    loop {
        let room = input.get_mut(*filled..).unwrap_or_default();
        let read = stream.read(room).await?;
        if read == 0 {
            return Err(Broken::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        received += read as u64;
        *filled += read;
        let (used, answer) = parser.advance(input.get(..*filled).unwrap_or_default())?;
        input.copy_within(used..*filled, 0);
        *filled -= used;
        match answer {
            Some(_) if *filled > 0 => return Err(Malformed::Unasked.into()),
            Some(answer) => return Ok((answer, received)),
            None => {}
        }
    }
}
