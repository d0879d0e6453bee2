//! Names of snapshots: `<index>-<term>-<leader>.snap`, 16 hex digits each, so that their order is that of the log.

use crate::wal::LogId;

/// What a name ends with.
const SUFFIX: &str = ".snap";

/// The name of the snapshot that ends with this entry.
pub(super) fn name(last_log: LogId) -> String {
    let LogId { term, leader, index } = last_log;
    format!("{index:016x}-{term:016x}-{leader:016x}{SUFFIX}")
}

/// The entry that the snapshot of this name ends with; `None` if it is not the name of a snapshot.
pub(super) fn parse(name: &str) -> Option<LogId> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    let (index, term, leader) = (parts.next()??, parts.next()??, parts.next()??);
    let last_log = LogId { term, leader, index };
    (self::name(last_log) == name).then_some(last_log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_like_the_log() {
        let ids = [(1, 0xFF, 2), (1, 0x100, 1), (2, 0x101, 1), (u64::MAX, u64::MAX, u64::MAX)];
        let ids = ids.map(|(term, index, leader)| LogId { term, leader, index });
        let names = ids.map(name);
        assert_eq!(names[0], "00000000000000ff-0000000000000001-0000000000000002.snap");
        assert!(names.is_sorted());
        assert_eq!(names.map(|name| parse(&name)), ids.map(Some));
    }

    #[test]
    fn other_names_are_not_snapshots() {
        let good = name(LogId { term: 10, leader: 1, index: 11 });
        for bad in [good.to_uppercase(), format!("{good}.tmp"), format!("0{good}"), good.replace(".snap", "")]
        {
            assert_eq!(parse(&bad), None, "{bad}");
        }
        assert_eq!(parse("1-2-3.snap"), None, "only the full form is written, so only that is read");
        assert_eq!(parse(&good.replacen('0', "+", 1)), None);
        assert_eq!(parse("").or(parse(".snap")), None);
    }
}
