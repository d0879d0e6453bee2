//! An entry's payload as the WAL and the peers carry it.
//!
//! ```text
//! first byte 0x01..0x7F   a log entry of that format, as `model::codec` encodes it, nothing around it
//!            0x80         blank: what a new leader appends first
//!            0x81         membership: MessagePack [configs, members]
//!                         configs  [[voter, ...], ...]    two of them while the change is joint
//!                         members  [[id, incarnation (16 bytes, big endian), advertise], ...]
//!                                  a fourth part, true, where a member is never to vote
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use openraft::entry::RaftPayload;
use openraft::{EntryPayload, Membership};
use rmp::{decode, encode};

use super::proposal::Proposal;
use super::types::{Entry, LogId, Member, StoredMembership, TypeConfig, from_wal, to_wal};
use crate::wal;

const BLANK: u8 = 0x80;
const MEMBERSHIP: u8 = 0x81;

type Payload = EntryPayload<Proposal, u64, Member>;

/// The WAL's form of an entry. A proposal's bytes are shared, not copied.
pub(super) fn to_record(entry: &Entry) -> wal::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(proposal) => proposal.bytes().clone(),
        EntryPayload::Membership(membership) => {
            let mut bytes = vec![MEMBERSHIP];
            write_membership(&mut bytes, membership);
            Bytes::from(bytes)
        }
    };
    wal::Entry { id: to_wal(&entry.log_id), payload }
}

/// Whether this is the payload of an entry that raft itself needs: blank, or a membership.
pub(super) fn is_of_raft(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(&BLANK | &MEMBERSHIP))
}

/// Openraft's form of a record.
pub(super) fn from_record(record: wal::Entry) -> io::Result<Entry> {
    let payload = match record.payload.first() {
        Some(&BLANK) if record.payload.len() == 1 => Payload::blank(),
        Some(&MEMBERSHIP) => EntryPayload::Membership(read_membership(&mut &record.payload[1..])?),
        Some(0x01..=0x7F) => EntryPayload::Normal(Proposal::replicated(record.payload)),
        _ => return Err(malformed(&format!("payload of log entry {}", record.id.index))),
    };
    Ok(Entry { log_id: from_wal(record.id), payload })
}

/// Encodes what a snapshot keeps of the membership.
pub(super) fn encode_membership(membership: &Membership<u64, Member>) -> Bytes {
    let mut bytes = Vec::new();
    write_membership(&mut bytes, membership);
    Bytes::from(bytes)
}

/// Decodes what [`encode_membership`] made.
pub(super) fn decode_membership(log_id: Option<LogId>, bytes: &[u8]) -> io::Result<StoredMembership> {
    let membership = if bytes.is_empty() { Membership::default() } else { read_membership(&mut &bytes[..])? };
    Ok(StoredMembership::new(log_id, membership))
}

/// Writing to memory has no error to give.
const INFALLIBLE: &str = "a Vec takes all that is written to it";

fn write_membership(out: &mut Vec<u8>, membership: &Membership<u64, Member>) {
    let length = |n: usize| u32::try_from(n).expect("a cluster is far below 2^32 members");
    encode::write_array_len(out, 2).expect(INFALLIBLE);
    let configs = membership.get_joint_config();
    encode::write_array_len(out, length(configs.len())).expect(INFALLIBLE);
    for config in configs {
        encode::write_array_len(out, length(config.len())).expect(INFALLIBLE);
        for id in config {
            encode::write_uint(out, *id).expect(INFALLIBLE);
        }
    }
    encode::write_array_len(out, length(membership.nodes().count())).expect(INFALLIBLE);
    for (id, member) in membership.nodes() {
        encode::write_array_len(out, if member.learner { 4 } else { 3 }).expect(INFALLIBLE);
        encode::write_uint(out, *id).expect(INFALLIBLE);
        encode::write_bin(out, &member.incarnation.to_be_bytes()).expect(INFALLIBLE);
        encode::write_str(out, &member.advertise).expect(INFALLIBLE);
        if member.learner {
            encode::write_bool(out, true).expect(INFALLIBLE);
        }
    }
}

fn read_membership(input: &mut &[u8]) -> io::Result<Membership<u64, Member>> {
    read_parts(input)
        .and_then(
            |(configs, members)| {
                if input.is_empty() { Membership::new(configs, members).ok() } else { None }
            },
        )
        .ok_or_else(|| malformed("membership"))
}

type Parts = (Vec<BTreeSet<u64>>, BTreeMap<u64, Member>);

fn read_parts(input: &mut &[u8]) -> Option<Parts> {
    if decode::read_array_len(input).ok()? != 2 {
        return None;
    }
    let count = decode::read_array_len(input).ok()?;
    let configs = (0..count).map(|_| read_config(input)).collect::<Option<Vec<_>>>()?;
    let count = decode::read_array_len(input).ok()?;
    let members = (0..count).map(|_| read_member(input)).collect::<Option<BTreeMap<_, _>>>()?;
    Some((configs, members))
}

fn read_config(input: &mut &[u8]) -> Option<BTreeSet<u64>> {
    let count = decode::read_array_len(input).ok()?;
    (0..count).map(|_| decode::read_int(input).ok()).collect()
}

fn read_member(input: &mut &[u8]) -> Option<(u64, Member)> {
    let parts = decode::read_array_len(input).ok()?;
    if parts != 3 && parts != 4 {
        return None;
    }
    let id = decode::read_int(input).ok()?;
    if decode::read_bin_len(input).ok()? != 16 {
        return None;
    }
    let (incarnation, rest) = input.split_first_chunk::<16>()?;
    *input = rest;
    let (advertise, rest) = decode::read_str_from_slice(*input).ok()?;
    *input = rest;
    let learner = parts == 4;
    if learner && !decode::read_bool(input).ok()? {
        return None;
    }
    let incarnation = u128::from_be_bytes(*incarnation);
    Some((id, Member { incarnation, advertise: advertise.to_owned(), learner }))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

const _: fn() = || {
    fn is_the_payload<C: openraft::RaftTypeConfig<Payload = Payload>>() {}
    is_the_payload::<TypeConfig>();
};

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: Payload) -> Entry {
        Entry { log_id: from_wal(wal::LogId { term: 3, leader: 0, index: 9 }), payload }
    }

    #[test]
    fn every_kind_of_payload_survives() {
        let members = BTreeMap::from([
            (1, Member { incarnation: 7, advertise: "a:7000".into(), learner: false }),
            (2, Member { incarnation: u128::MAX, advertise: String::new(), learner: true }),
        ]);
        let membership = Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], members);
        let payloads = [
            Payload::blank(),
            EntryPayload::Normal(Proposal::replicated(Bytes::from_static(&[1, 0x94]))),
            EntryPayload::Membership(membership.expect("members of both configs are known")),
        ];
        for payload in payloads {
            let before = entry(payload);
            let after = from_record(to_record(&before)).expect("own encoding");
            assert_eq!(after, before);
        }
    }

    #[test]
    fn damaged_payloads_are_errors() {
        for bytes in [&[][..], &[BLANK, 0], &[MEMBERSHIP], &[MEMBERSHIP, 0x92, 0x90], &[0x82], &[0]] {
            let record = wal::Entry {
                id: wal::LogId { term: 1, leader: 0, index: 1 },
                payload: Bytes::copy_from_slice(bytes),
            };
            assert!(from_record(record).is_err(), "{bytes:?}");
        }
    }
}
