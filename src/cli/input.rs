//! What commands read: standard input and files, as a whole and within bounds.

use std::io::{self, BufRead, IsTerminal, Read, Write};
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

/// The content of a file.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Io, format!("cannot read {}: {error}", path.display()));
    let file = Real.open_read(path).map_err(failed)?;
    let length = file.len().map_err(failed)?;
    if length > MAX_BYTES {
        return Err(too_long(&path.display().to_string()));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(0, &mut bytes).map_err(failed)?;
    Ok(bytes)
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
