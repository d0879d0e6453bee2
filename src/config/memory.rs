//! How much memory this process may have: the limits of its control groups, version 1 and 2.

use std::path::{Path, PathBuf};

use crate::disk::Disk;

/// Where the groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Which groups this process is in.
const MEMBERSHIP: &str = "/proc/self/cgroup";

/// Longest of these files that is read.
const MAX_BYTES: u64 = 64 << 10;

/// Version 1 writes "no limit" as a number of about this size.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// The lowest memory limit that a control group sets to this process, in bytes; `None` if there is none.
pub fn limit_bytes(disk: &dyn Disk) -> Option<u64> {
    let membership = text(disk, Path::new(MEMBERSHIP))?;
    files(&membership).iter().filter_map(|file| parse(&text(disk, file)?)).min()
}

fn text(disk: &dyn Disk, path: &Path) -> Option<String> {
    String::from_utf8(disk.read_to_end(path, MAX_BYTES).ok()?).ok()
}

/// The files that may hold a limit: of the process's group and of every group above it. In a container the path is
/// often that of the host and not there; then the root is the container's own group.
fn files(membership: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => (PathBuf::from(ROOT), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (Path::new(ROOT).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| root.join(group).join(name)));
    }
    files
}

fn parse(limit: &str) -> Option<u64> {
    limit.trim().parse().ok().filter(|limit| *limit < UNLIMITED_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found_up_to_the_root() {
        let membership = "5:cpu,cpuacct:/a\n4:memory:/docker/x\n0::/user.slice\n";
        let files: Vec<_> = files(membership).into_iter().map(|file| file.display().to_string()).collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(parse("max\n"), None);
        assert_eq!(parse("9223372036854771712\n"), None);
        assert_eq!(parse("1073741824\n"), Some(1 << 30));
    }
}
