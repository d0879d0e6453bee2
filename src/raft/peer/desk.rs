//! What is done with what peers say.
//!
//! Before the node has a cluster it only tells what it is and gives promises. From then on an envelope is checked before
//! raft hears of anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{StreamExt, stream};
use openraft::EntryPayload;
use openraft::errors::Fatal;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult, VoteResponse};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tonic::{Code, Status, Streaming};

use super::convert;
use super::envelope::Refusal;
use super::exchange::{Forward, Forwarded, ReadAt, frames, together};
use super::network::said;
use super::roster::Roster;
use super::window::{Answers, Window};
use super::wire::{self, Answered, Ask, Asked, Envelope, Say};
use crate::model::{LogEntry, Slot, Timestamp, Touch, Version, codec};
use crate::raft::barrier::Barrier;
use crate::raft::formation::Lobby;
use crate::raft::machine::Machine;
use crate::raft::members::Members;
use crate::raft::payload;
use crate::raft::snapshots::Snapshots;
use crate::raft::standing;
use crate::raft::touches::Touches;
use crate::raft::types::TypeConfig;
use crate::wal::{Admission, Grant, Urgency, Wal, append_bytes};

/// Bytes of entries that were taken and are not on disk yet.
const UNFLUSHED_BYTES: u32 = 64 << 20;

/// Appends that one stream of openraft takes while their entries are not on disk: its PIPELINE_BUFFER_SIZE.
const APPENDS_A_STREAM: usize = 64;

/// Questions of one stream that are being answered; further ones wait.
const QUESTIONS: usize = 1_024;

/// Frames that travel together at most, if they are there at once.
const FRAMES: usize = 512;

/// How long an append waits before it asks again whether the log has room for it.
const ROOM_INTERVAL: Duration = Duration::from_millis(2);

/// An entry without transactions is no longer than this. Longer ones are not looked into.
const EMPTY_ENTRY_BYTES: usize = 16 << 10;

/// Where peers' messages go.
pub(crate) struct Desk {
    lobby: Arc<Lobby>,
    reception: OnceLock<Reception>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// What a member answers with.
pub(crate) struct Reception {
    pub(crate) roster: Roster,
    pub(crate) raft: Raft,
    pub(crate) barrier: Arc<Barrier>,
    pub(crate) members: Arc<Members>,
    pub(crate) touches: Arc<Touches>,
    pub(crate) snapshots: Snapshots,
    pub(crate) wal: Wal,
    /// The last entries were refused, because the disk is full.
    pub(crate) refuses_entries: Arc<AtomicBool>,
    /// Until then no vote is given: leases may rest on what this node promised before it was restarted.
    pub(crate) quiet_until: Option<Instant>,
    /// Set when the node stops.
    pub(crate) closing: Arc<AtomicBool>,
}

impl Desk {
    pub(crate) fn new(lobby: Arc<Lobby>) -> Desk {
        Desk { lobby, reception: OnceLock::new(), refused: Mutex::default() }
    }

    /// From now on this node is a member.
    pub(crate) fn open(&self, reception: Reception) {
        // There is one start of one node.
        let _ = self.reception.set(reception);
    }

    /// Counts a message that was not looked at.
    pub(crate) fn count(&self, refusal: Refusal) {
        tracing::debug!(reason = refusal.name(), "a message of a peer was refused");
        *self.refused.lock().entry(refusal.name()).or_default() += 1;
    }

    fn member(&self) -> Result<&Reception, Refusal> {
        let absent = if self.lobby.is_member() { Refusal::Starting } else { Refusal::Forming };
        self.reception.get().ok_or(absent)
    }

    /// The reception, if a message with this envelope may pass.
    fn admit(&self, envelope: &Envelope) -> Result<&Reception, Refusal> {
        let reception = self.member()?;
        reception.roster.guard().check(envelope, reception.roster.max_level().0)?;
        Ok(reception)
    }

    /// Answers a call.
    pub(crate) async fn answer(&self, envelope: &Envelope, ask: Ask) -> Result<Say, Refusal> {
        match ask {
            Ask::Meet(_) => Ok(Say::Met(self.lobby.meet())),
            Ask::Promise(asked) => {
                let lobby = Arc::clone(&self.lobby);
                let promised = tokio::task::spawn_blocking(move || lobby.promise(&asked)).await;
                promised.map(Say::Promised).map_err(|_| Refusal::Forming)
            }
            Ask::Join(join) => Ok(Say::Joined(self.member()?.members.join(join).await)),
            Ask::Invite(invite) => {
                self.lobby.invited(invite.member);
                Ok(Say::Heard(wire::Heard {}))
            }
            // Who is a member no more must hear it, though nothing else of it is heard.
            Ask::Standing(asked) => Ok(Say::Stands(standing::answer(&self.member()?.barrier, asked).await)),
            ask => self.admit(envelope)?.answer(envelope.from.node, ask).await,
        }
    }

    /// Takes entries. The answers come in order, each when its entries are on disk.
    pub(crate) fn append(
        &self,
        envelope: &Envelope,
        appends: Streaming<wire::Append>,
    ) -> Result<BoxStream<'static, Result<wire::Appended, Status>>, Refusal> {
        let reception = self.admit(envelope)?;
        Ok(reception.append(appends))
    }

    /// Takes a snapshot. The inner error is for the log of the sender.
    pub(crate) async fn install(
        &self,
        envelope: &Envelope,
        pieces: Streaming<wire::Piece>,
    ) -> Result<Result<wire::Installed, String>, Refusal> {
        let reception = self.admit(envelope)?;
        Ok(reception.install(pieces).await)
    }

    /// Takes questions, and answers each as soon as it can.
    pub(crate) fn converse(
        self: &Arc<Self>,
        envelope: Envelope,
        asked: Streaming<Asked>,
    ) -> BoxStream<'static, Result<Answered, Status>> {
        let desk = Arc::clone(self);
        let asked = asked.take_while(|asked| std::future::ready(asked.is_ok()));
        let asked = asked.filter_map(|asked| std::future::ready(asked.ok()));
        asked.flat_map_unordered(QUESTIONS, move |asked| desk.answers(envelope, asked)).map(Ok).boxed()
    }

    /// The answer to a question, in parts.
    fn answers(self: &Arc<Self>, envelope: Envelope, asked: Asked) -> BoxStream<'static, Answered> {
        let Asked { number, request, forward } = asked;
        let part = move || Answered { number, ..Answered::default() };
        let refused = move |refusal: Refusal, desk: &Desk| {
            desk.count(refusal);
            Answered { refused: refusal.name().to_owned(), last: true, ..part() }
        };
        if let Some(forward) = forward {
            let frames = self.admit(&envelope).and_then(|reception| reception.forward(forward));
            return match frames {
                Ok(frames) => {
                    let frames = frames.map(Some).chain(stream::iter([None]));
                    let parts = frames.ready_chunks(FRAMES).flat_map(move |frames| {
                        let last = frames.last().is_some_and(Option::is_none);
                        stream::iter(together(frames.into_iter().flatten(), last))
                    });
                    parts.map(move |(forwarded, last)| Answered { forwarded, last, ..part() }).boxed()
                }
                Err(refusal) => stream::iter([refused(refusal, self)]).boxed(),
            };
        }
        let desk = Arc::clone(self);
        let answer = async move {
            let said = match request.and_then(|request| request.ask) {
                Some(ask) => desk.answer(&envelope, ask).await,
                None => Err(Refusal::Malformed),
            };
            match said {
                Ok(say) => {
                    let response = Some(wire::Response { say: Some(say) });
                    Answered { response, last: true, ..part() }
                }
                Err(refusal) => refused(refusal, &desk),
            }
        };
        stream::once(answer).boxed()
    }
}

impl Reception {
    async fn answer(&self, from: u64, ask: Ask) -> Result<Say, Refusal> {
        Ok(match ask {
            Ask::Vote(ballot) => Say::Verdict(self.vote(from, ballot, false).await?),
            Ask::PreVote(ballot) => Say::Verdict(self.vote(from, ballot, true).await?),
            Ask::Append(append) => Say::Appended(self.heartbeat(append).await?),
            Ask::Confirm(confirm) => {
                let vote = convert::from_vote(confirm.vote);
                let confirmed = self.barrier.ledger.stands_by(&vote) && !self.closing.load(Ordering::Relaxed);
                Say::Confirmed(wire::Confirmed { confirmed, clocks: said(self.barrier.time.clocks()) })
            }
            Ask::Transfer(transfer) => {
                let answer = self.raft.handle_transfer_leader(convert::transfer_request(transfer)).await;
                Say::Transferred(convert::transferred(&answer.map_err(|_| Refusal::Forming)?))
            }
            Ask::ReadIndex(read) => Say::ReadableFrom(self.read_index(from, read).await),
            Ask::Notes(notes) => {
                self.take_notes(&notes);
                Say::Heard(wire::Heard {})
            }
            Ask::Administer(asked) => Say::Administered(self.members.administer_here(asked).await),
            Ask::Survey(_) => Say::Surveyed(self.members.survey().await),
            Ask::Diverged(told) => {
                self.members.has_diverged(&told);
                Say::Heard(wire::Heard {})
            }
            Ask::Meet(_) | Ask::Promise(_) | Ask::Join(_) | Ask::Invite(_) | Ask::Standing(_) => {
                return Err(Refusal::Malformed);
            }
        })
    }

    async fn vote(&self, from: u64, ballot: wire::Ballot, is_trial: bool) -> Result<wire::Verdict, Refusal> {
        let clocks = said(self.barrier.time.clocks());
        let out_of_disk = self.barrier.leader.batcher.is_out_of_disk();
        let is_quiet = self.quiet_until.is_some_and(|until| Instant::now() < until);
        if is_quiet
            && !ballot.transfer
            && let Some(promised) = self.barrier.ledger.promised()
        {
            tracing::info!(candidate = from, "no vote is given so soon after a restart");
            return Ok(convert::verdict(&VoteResponse::new(promised, None, false), clocks, out_of_disk));
        }
        let request = convert::vote_request(ballot);
        let response =
            if is_trial { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        // A dead core answers nobody: the process is about to end.
        let response = response.map_err(|_| Refusal::Forming)?;
        Ok(convert::verdict(&response, clocks, out_of_disk))
    }

    async fn heartbeat(&self, append: wire::Append) -> Result<wire::Appended, Refusal> {
        note(&self.barrier, &append);
        let request = convert::append_request(append).map_err(|_| Refusal::Malformed)?;
        let response = self.raft.append_entries(request).await.map_err(|_| Refusal::Forming)?;
        let clocks = Some(said(self.barrier.time.clocks()));
        use openraft::raft::AppendEntriesResponse as Response;
        let report = Some(self.members.report());
        let blank = wire::Appended { clocks, report, ..wire::Appended::default() };
        Ok(match response {
            Response::Success => blank,
            Response::PartialSuccess(matching) => {
                wire::Appended { matching: matching.as_ref().map(convert::log_id), partial: true, ..blank }
            }
            // Which entry is known to who asked.
            Response::Conflict => wire::Appended { conflict: Some(wire::LogId::default()), ..blank },
            Response::HigherVote(vote) => wire::Appended { higher: Some(convert::vote(&vote)), ..blank },
        })
    }

    fn append(&self, appends: Streaming<wire::Append>) -> BoxStream<'static, Result<wire::Appended, Status>> {
        let window = Window::new(UNFLUSHED_BYTES);
        let (taken, barrier) = (window.clone(), Arc::clone(&self.barrier));
        let (wal, was_refused) = (self.wal.clone(), Arc::clone(&self.refuses_entries));
        let requests = appends
            // A broken connection ends the stream; so does an entry that cannot be read, and a full disk.
            .then(move |append| {
                let (taken, barrier, wal) = (taken.clone(), Arc::clone(&barrier), wal.clone());
                let was_refused = Arc::clone(&was_refused);
                async move {
                    let append = append.ok()?;
                    note(&barrier, &append);
                    let grant = room(&wal, &append).await;
                    let is_refused = grant.is_none();
                    if is_refused && !was_refused.swap(true, Ordering::Relaxed) {
                        tracing::warn!("entries of the leader are refused: the disk is full");
                    }
                    let grant = grant?;
                    if grant.is_some() {
                        was_refused.store(false, Ordering::Relaxed);
                    }
                    let bytes = prost::Message::encoded_len(&append);
                    let request = convert::append_request(append).ok()?;
                    let first = request.entries.iter().find_map(|entry| match &entry.payload {
                        EntryPayload::Normal(proposal) => Some(proposal),
                        _ => None,
                    });
                    // Entries of raft itself are small, and the reserve is there for them.
                    if let (Some(first), Some(grant)) = (first, grant) {
                        first.hold(grant);
                    }
                    taken.send(bytes).await.then_some(request)
                }
            })
            .take_while(|request| std::future::ready(request.is_some()))
            .filter_map(std::future::ready);
        // Bounded by the window: there is one part for so many appends.
        let (parts, mut part) = mpsc::unbounded_channel();
        hand_over(self.raft.clone(), requests.boxed(), parts);
        let results = stream::poll_fn(move |context| part.poll_recv(context)).flatten();
        let answers = stream::unfold(Some((results, Answers(window))), |under_way| async move {
            let (mut results, window) = under_way?;
            let result = results.next().await?;
            window.0.answered();
            // The first error is the end: what comes behind it does not follow on what is there.
            let goes_on = matches!(result, Ok(Ok(_)));
            let answer = match result {
                Ok(result) => Ok(convert::appended(&result, None)),
                Err(fatal) => Err(Status::new(Code::Unavailable, fatal.to_string())),
            };
            Some((answer, goes_on.then_some((results, window))))
        });
        answers.boxed()
    }

    async fn install(&self, mut pieces: Streaming<wire::Piece>) -> Result<wire::Installed, String> {
        let first = pieces.next().await.ok_or("nothing came")?.map_err(|status| status.to_string())?;
        let vote = convert::from_vote(first.vote.ok_or("the first piece has no vote")?);
        if let Some(promised) = self.barrier.ledger.promised().filter(|promised| *promised > vote) {
            return Ok(wire::Installed { vote: convert::vote(&promised) });
        }
        let (snapshots, length) = (self.snapshots.clone(), first.length);
        tracing::info!(bytes = length, "receiving a snapshot");
        let mut receiving = blocking(move || snapshots.receive(length)).await?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|status| status.to_string())?;
            receiving = blocking(move || receiving.write(&piece.bytes).map(|()| receiving)).await?;
        }
        let snapshots = self.snapshots.clone();
        let snapshot = blocking(move || snapshots.accept(receiving)).await?;
        let response = self.raft.install_full_snapshot(vote, snapshot).await;
        let response = response.map_err(|error| error.to_string())?;
        tracing::info!(bytes = length, "a snapshot was installed");
        Ok(wire::Installed { vote: convert::vote(&response.vote) })
    }

    async fn read_index(&self, from: u64, read: wire::ReadIndex) -> wire::ReadableFrom {
        let deadline = Instant::now() + Duration::from_millis(read.left_ms);
        let promised = read.promised.map(convert::from_vote);
        let pass = match self.barrier.pass_of(from, promised) {
            None if self.barrier.leader.batcher.term().is_some() => {
                self.barrier.shared(read.lease, deadline).await.ok()
            }
            pass => pass,
        };
        self.roster.tell_commit(from);
        pass.map_or_else(wire::ReadableFrom::default, |pass| wire::ReadableFrom {
            index: pass.index,
            stamp_ms: pass.stamp.unwrap_or_else(|| self.barrier.time.now()).0,
        })
    }

    fn take_notes(&self, notes: &wire::Notes) {
        let touches = notes.touches.chunks_exact(2).filter_map(|pair| match pair {
            [slot, version] => {
                Some(Touch { slot: Slot(u32::try_from(*slot).ok()?), version: Version(*version) })
            }
            _ => None,
        });
        self.touches.add(touches);
        if notes.tick {
            self.barrier.leader.batcher.tick();
        }
    }

    /// Takes transactions as the leader.
    fn forward(&self, forward: Forward) -> Result<BoxStream<'static, Forwarded>, Refusal> {
        let Ok(LogEntry { transactions, .. }) = codec::decode(&forward.entry) else {
            return Err(Refusal::Malformed);
        };
        let mut reads = vec![Vec::new(); transactions.len()];
        for ReadAt { transaction, before, query } in &forward.reads {
            let place = reads.get_mut(*transaction as usize).ok_or(Refusal::Malformed)?;
            place.push((*before as usize, query.query().ok_or(Refusal::Malformed)?));
        }
        let now = Instant::now();
        let writes = transactions.into_iter().zip(reads).enumerate().map(|(n, (transaction, reads))| {
            let left_ms = forward.left_ms.get(n).copied().unwrap_or(0);
            let deadline = now + Duration::from_millis(left_ms);
            let batcher = Arc::clone(&self.barrier.leader.batcher);
            async move {
                let reply = batcher.write(transaction, reads, deadline).await;
                stream::iter(frames(n as u32, reply))
            }
        });
        Ok(writes.collect::<FuturesUnordered<_>>().flatten().boxed())
    }
}

type Raft = openraft::Raft<TypeConfig, Machine>;
type Appends = BoxStream<'static, AppendEntriesRequest<TypeConfig>>;
type Results = BoxStream<'static, Result<StreamAppendResult<TypeConfig>, Fatal<TypeConfig>>>;

/// Hands appends to the core in their order, whether or not those before are on disk: what is committed comes with them, and
/// reads wait for that. A stream of openraft takes no more after some, so another one follows then. Each asks for an append
/// only once the core has the one before, and the next one begins when the last one asks in vain: that keeps the order.
fn hand_over(raft: Raft, appends: Appends, results: mpsc::UnboundedSender<Results>) {
    let (next, further) = (raft.clone(), results.clone());
    let some = stream::unfold((appends, APPENDS_A_STREAM), move |(mut appends, left)| {
        let (raft, results) = (next.clone(), further.clone());
        async move {
            if left == 0 {
                hand_over(raft, appends, results);
                return None;
            }
            appends.next().await.map(|append| (append, (appends, left - 1)))
        }
    });
    // Nobody takes results any more where the connection broke.
    let _ = results.send(raft.stream_append(some).boxed());
}

/// Room in the log for an append; `None`: there is none, and will be none soon. What has no entries needs none.
///
/// What is left of a full disk is for what the cluster needs to go on. Ordinary entries get what is above the reserve: raft
/// needs them in order, so a new leader's first entry may have to wait for them.
async fn room(wal: &Wal, append: &wire::Append) -> Option<Option<Grant>> {
    if append.entries.is_empty() {
        return Some(None);
    }
    let payload_bytes = append.entries.iter().map(|entry| entry.payload.len()).sum();
    let bytes = append_bytes(append.entries.len(), payload_bytes);
    let mut urgency = Urgency::Ordinary;
    loop {
        match wal.admit(bytes, urgency) {
            Admission::Granted(grant) => return Some(Some(grant)),
            Admission::Later => tokio::time::sleep(ROOM_INTERVAL).await,
            Admission::Refused if urgency == Urgency::Ordinary && is_needed(append) => {
                urgency = Urgency::Needed;
            }
            Admission::Refused => return None,
        }
    }
}

/// Whether all entries are of the kind that the reserve is for: none has a transaction.
fn is_needed(append: &wire::Append) -> bool {
    append.entries.iter().all(|entry| {
        payload::is_of_raft(&entry.payload)
            || entry.payload.len() <= EMPTY_ENTRY_BYTES
                && codec::decode(&entry.payload).is_ok_and(|entry| entry.transactions.is_empty())
    })
}

/// Notes a leader's stamp and what it says to be committed, if it is the leader as far as this node knows.
fn note(barrier: &Barrier, append: &wire::Append) {
    if !barrier.ledger.stands_by(&convert::from_vote(append.vote)) {
        return;
    }
    if let Some(stamp_ms) = append.stamp_ms {
        barrier.time.heard_leader(Timestamp(stamp_ms));
    }
    if append.entries.is_empty() {
        barrier.leader.roster.set_quorum_lost(append.quorum_lost);
    }
    if let Some(commit) = &append.commit {
        barrier.ledger.note_committed(commit.index);
    }
}

/// Does what waits for a disk away from the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::raft::snapshot::Error> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| panic.to_string())?.map_err(|error| error.to_string())
}
