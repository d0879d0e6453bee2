//! `generate secret`.

use std::path::Path;

use super::arguments::{Generate, GenerateAction, SecretFile};
use super::exit::{Exit, Failure};
use super::output;
use crate::disk::{self, Disk, Real, is_full};

/// Random bytes of a secret; it is written as twice as many digits.
const SECRET_BYTES: usize = 32;

/// Makes what a cluster needs.
pub(super) fn generate(generate: &Generate) -> Result<Exit, Failure> {
    let GenerateAction::Secret(SecretFile { file }) = &generate.action;
    secret(file)
}

/// Writes a secret of its own into `path`. One that is there stays, because nodes may use it.
fn secret(path: &Path) -> Result<Exit, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let exit = if is_full(&error) { Exit::NoSpace } else { Exit::Io };
        Failure::new(exit, format!("{shown}: {error}"))
    };
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Failure::new(Exit::Usage, format!("{shown} is not the name of a file")));
    };
    if Real.exists(path).map_err(failed)? {
        return output::line(&format!("{shown} is there already and stays as it is"));
    }
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk::replace(&Real, parent, name, format!("{digits}\n").as_bytes()).map_err(failed)?;
    output::line(&format!("{shown}: a new secret"))
}
