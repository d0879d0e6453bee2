//! What commands read: standard input and files, as a whole and within bounds.

use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;

use super::exit::{Exit, Failure};
use crate::disk::{Disk, Real};

/// The most that is read: more than any server takes.
const MAX_BYTES: u64 = 64 << 20;

/// Everything that stands in standard input.
pub(super) fn standard() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(Exit::Io, format!("cannot read standard input: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES { Err(too_long("standard input")) } else { Ok(bytes) }
}

/// The content of a file: whatever can be read, to its end, or nothing. A pipe does not know its length, and a file may grow.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    Real.read_to_end(path, MAX_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => too_long(&path.display().to_string()),
        _ => Failure::new(Exit::Io, format!("cannot read {}: {error}", path.display())),
    })
}

/// Refuses what cannot be read at every position: a pipe that holds a good backup is no damaged file. What else is wrong with
/// `path` is left to its reader.
pub(super) fn expect_regular(path: &Path) -> Result<(), Failure> {
    match Real.open_read(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let what = format!("{}: {error}; write it to a file first", path.display());
            Err(Failure::new(Exit::Usage, what))
        }
        _ => Ok(()),
    }
}

fn too_long(what: &str) -> Failure {
    Failure::new(Exit::Refused, format!("{what} has more than {MAX_BYTES} bytes"))
}

/// Asks on a terminal. Elsewhere nobody can answer, and `otherwise` says what to do.
#[expect(clippy::print_stderr, reason = "a question is no result")]
pub(super) fn confirmed(question: &str, otherwise: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, otherwise));
    }
    eprint!("{question} Type yes: ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::new(Exit::Io, format!("cannot read standard input: {error}")))?;
    Ok(answer.trim() == "yes")
}
