//! Configuration: any file, and any setting in the environment, is refused with words or taken.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use kvorum::config::{Sources, load};
use kvorum::disk::Faulty;

/// A file, and behind a line of three dashes variables, one a line.
pub fn check(bytes: &[u8]) -> bool {
    let end = bytes.windows(5).position(|window| window == b"\n---\n");
    let (file, variables) = match end {
        Some(at) => (&bytes[..at + 1], &bytes[at + 5..]),
        None => (bytes, &b""[..]),
    };
    let (disk, path) = (Faulty::new(), Path::new("/etc/kvorum.toml"));
    disk.put(path, file);
    let variables = variables.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        let (name, value) =
            (OsString::from_vec(line[..at].to_vec()), OsString::from_vec(line[at + 1..].to_vec()));
        Some((name, value))
    });
    let sources =
        Sources { file: Some(path.to_owned()), environment: variables.collect(), ..Sources::default() };
    match load(&sources, &disk) {
        Ok(loaded) => {
            let again = load(&sources, &disk).expect("what was taken once is taken again");
            assert_eq!(format!("{:?}", loaded.config), format!("{:?}", again.config));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says why");
            false
        }
    }
}
