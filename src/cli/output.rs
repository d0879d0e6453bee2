//! Standard output. A reader that has gone away (`| head`) is no error.

use std::io::{self, IsTerminal, Write};

use super::exit::{Exit, Failure};

/// Writes text.
pub(super) fn print(text: &str) -> Result<Exit, Failure> {
    bytes(text.as_bytes())
}

/// Writes a line.
pub(super) fn line(text: &str) -> Result<Exit, Failure> {
    print(&format!("{text}\n"))
}

/// Writes a value byte for byte; on a terminal, where nobody reads it byte for byte, with a line end.
pub(super) fn value(value: &[u8]) -> Result<Exit, Failure> {
    bytes(value)?;
    if io::stdout().is_terminal() && !value.ends_with(b"\n") { bytes(b"\n") } else { Ok(Exit::Done) }
}

/// Writes rows of name and value in two columns.
pub(super) fn table(rows: &[(String, String)]) -> Result<Exit, Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: String = rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    print(&lines)
}

fn bytes(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::Io, format!("cannot write to standard output: {error}"))),
    }
}
