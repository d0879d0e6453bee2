//! The secret that members share.
//!
//! A file holds one secret a line: the first is sent, all are accepted, so that a secret can be exchanged without a
//! stop: add the new one as second line everywhere, then make it the first, then take the old one away. The file is read
//! again when it has changed, also when it is a symbolic link that was swapped.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::disk::Disk;

/// Longest file that is read.
const MAX_BYTES: u64 = 64 << 10;

/// Shortest secret that is accepted, in bytes.
const SHORTEST: usize = 16;

/// What every call of a peer must bring along. Without a file nothing is asked for.
pub(crate) struct Secret {
    file: Option<(Arc<dyn Disk>, PathBuf)>,
    lines: RwLock<Vec<Vec<u8>>>,
}

impl Secret {
    /// Reads the secret of `path`; with no path none is sent or asked for.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn load(disk: &Arc<dyn Disk>, path: Option<PathBuf>) -> Result<Secret, String> {
        let file = path.map(|path| (Arc::clone(disk), path));
        let secret = Secret { file, lines: RwLock::default() };
        secret.reload()?;
        Ok(secret)
    }

    /// Reads the file again, on a thread that may wait for a disk. What is wrong with it leaves the former secrets in force.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let Some((disk, path)) = &self.file else { return Ok(()) };
        let bytes =
            disk.read_to_end(path, MAX_BYTES).map_err(|error| format!("{}: {error}", path.display()))?;
        let lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(|line| line.trim_ascii().to_vec())
            .filter(|line| !line.is_empty())
            .collect();
        if lines.is_empty() {
            return Err(format!("{} holds no secret", path.display()));
        }
        if lines.iter().any(|line| line.len() < SHORTEST) {
            return Err(format!("{}: a secret is shorter than {SHORTEST} bytes", path.display()));
        }
        let mut current = self.lines.write();
        if *current != lines {
            *current = lines;
        }
        Ok(())
    }

    /// What is sent, if anything.
    pub(crate) fn sent(&self) -> Option<Vec<u8>> {
        self.lines.read().first().cloned()
    }

    /// Whether `given` is one of the secrets. Takes the same time wherever they differ.
    pub(crate) fn accepts(&self, given: Option<&[u8]>) -> bool {
        if self.file.is_none() {
            return true;
        }
        let given = given.unwrap_or_default();
        let lines = self.lines.read();
        lines.iter().fold(false, |accepted, line| accepted | is_equal(line, given))
    }
}

fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Real;

    #[test]
    fn the_first_line_is_sent_and_every_line_is_accepted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        let disk: Arc<dyn Disk> = Arc::new(Real);
        let write = |text: &str| {
            crate::disk::replace(disk.as_ref(), directory.path(), "secret", text.as_bytes())
                .expect("written");
        };
        write("the-new-secret-of-us\nthe-old-secret-of-us\n\n");
        let secret = Secret::load(&disk, Some(path.clone())).expect("two secrets");
        assert_eq!(secret.sent().as_deref(), Some(&b"the-new-secret-of-us"[..]));
        assert!(secret.accepts(Some(b"the-old-secret-of-us")));
        assert!(!secret.accepts(Some(b"the-old-secret-of-u")), "a prefix");
        assert!(!secret.accepts(Some(b"")));
        assert!(!secret.accepts(None));
        write("short\n");
        assert!(secret.reload().is_err());
        assert!(secret.accepts(Some(b"the-old-secret-of-us")), "the former stay in force");
        write("the-new-secret-of-us\n");
        secret.reload().expect("one secret");
        assert!(!secret.accepts(Some(b"the-old-secret-of-us")));
    }

    #[test]
    fn without_a_file_nothing_is_asked_for() {
        let disk: Arc<dyn Disk> = Arc::new(Real);
        let secret = Secret::load(&disk, None).expect("none");
        assert!(secret.accepts(None) && secret.sent().is_none());
    }
}
