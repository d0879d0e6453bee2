//! Writing a small file so that a reader finds the old content or the new, never a mixture.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::contract::{Disk, File};
use super::real::Real;

/// What the temporary name of a file being replaced ends with. Such a file is a leftover of a crash and may
/// be removed.
pub const TEMPORARY: &str = ".tmp";

/// Gives `dir/name` the content `bytes`: written under a temporary name, synced, renamed, the directory
/// synced.
///
/// When it returns, the new content survives a power cut; when it fails or the machine stops before, the old
/// one (or the absence of the file) may still stand. Meant for small files such as `node.json`; not for two
/// writers at once.
///
/// # Errors
/// The first operation that failed. The file under its own name is whole in every case.
pub fn replace(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    put(disk, dir, name, bytes, &|path| disk.create(path))
}

/// As [`replace`], with a file that others may read; the directory is created if it is missing. For documents.
///
/// # Errors
/// As those of [`replace`].
pub fn publish(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    put(&Real, dir, name, bytes, &|path| Real.create_public(path))
}

type Create<'a> = dyn Fn(&Path) -> io::Result<Arc<dyn File>> + 'a;

fn put(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8], create: &Create<'_>) -> io::Result<()> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    if disk.exists(&temporary)? {
        disk.remove(&temporary)?;
    }
    let file = create(&temporary)?;
    file.write_at(0, bytes)?;
    file.sync_all()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Faulty;

    /// Goal: whatever the step at which the power goes, the name holds one of the two contents, and the new
    /// one once `replace` returned.
    #[test]
    fn a_replaced_file_is_old_or_new_at_every_crash_point() {
        let dir = Path::new("/data");
        for point in 0.. {
            let disk = Faulty::new();
            disk.create_dir_all(dir).unwrap();
            replace(&disk, dir, "node.json", &[b'a'; 700]).unwrap();
            disk.cut_off_at(disk.operations() + point);
            let done = replace(&disk, dir, "node.json", &[b'b'; 900]).is_ok();
            for seed in 0..20 {
                let image = disk.after_power_cut(seed);
                let found = image.content(&dir.join("node.json")).unwrap();
                assert!(found == [b'b'; 900] || (!done && found == [b'a'; 700]), "point {point} seed {seed}");
            }
            if done {
                return;
            }
        }
    }
}
