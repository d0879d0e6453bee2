//! Standard output. A reader that has gone away (`| head`) is no error.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::arguments::Colour;
use super::exit::{Exit, Failure};
use crate::clock::Stopwatch;

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
    let lines = rows.iter().map(|(name, value)| format!("{}  {value}\n", dim(&format!("{name:width$}"))));
    print(&lines.collect::<String>())
}

/// A table with a head, whose rows may come in portions. On a terminal its columns are aligned; elsewhere they are
/// separated by tabs and there is no head, so that programs can cut them apart.
pub(super) struct Table<const COLUMNS: usize> {
    head: Option<[&'static str; COLUMNS]>,
    /// Never less than in an earlier portion.
    widths: [usize; COLUMNS],
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(head: [&'static str; COLUMNS]) -> Table<COLUMNS> {
        Table { head: Some(head), widths: head.map(str::len) }
    }

    pub(super) fn rows(&mut self, rows: &[[String; COLUMNS]]) -> Result<Exit, Failure> {
        if rows.is_empty() {
            return Ok(Exit::Done);
        }
        if !io::stdout().is_terminal() {
            return print(&rows.iter().map(|row| row.join("\t") + "\n").collect::<String>());
        }
        for row in rows {
            let longer = self.widths.iter_mut().zip(row);
            longer.for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
        }
        let mut text = String::new();
        if let Some(head) = self.head.take() {
            text += &bold(&self.aligned(&head.map(str::to_owned)));
            text.push('\n');
        }
        for row in rows {
            text += &self.aligned(row);
            text.push('\n');
        }
        print(&text)
    }

    fn aligned(&self, row: &[String; COLUMNS]) -> String {
        let cells = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

/// Whether there are colours.
static COLOURS: OnceLock<bool> = OnceLock::new();

/// Decides on colours (see <https://no-color.org>).
pub(super) fn choose_colours(colour: Colour) {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let colours = match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            io::stdout().is_terminal()
                && set("NO_COLOR").is_none()
                && set("TERM").is_none_or(|term| term != "dumb")
        }
    };
    let _ = COLOURS.set(colours);
}

fn bold(text: &str) -> String {
    styled("1", text)
}

fn dim(text: &str) -> String {
    styled("2", text)
}

fn styled(code: &str, text: &str) -> String {
    if COLOURS.get() == Some(&true) { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Says on a terminal's standard error how many there were so far, while standard output goes elsewhere and it takes
/// longer than a second.
pub(super) struct Count {
    bar: Option<ProgressBar>,
    begun: Stopwatch,
    what: &'static str,
    count: u64,
}

impl Count {
    pub(super) fn new(what: &'static str) -> Count {
        Count { bar: None, begun: Stopwatch::start(), what, count: 0 }
    }

    pub(super) fn add(&mut self, more: u64) {
        self.count += more;
        if self.bar.is_none() && !io::stdout().is_terminal() && self.begun.elapsed() >= Duration::from_secs(1)
        {
            self.bar = Some(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        }
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} {}", self.count, self.what));
            bar.tick();
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes bytes.
pub(super) fn bytes(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::Io, format!("cannot write to standard output: {error}"))),
    }
}
