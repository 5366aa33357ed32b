//! The desk at which a worker's requests wait for their reservations, and who of them asks together.
//!
//! Requests that meet exactly the same quotas form one queue. While a call of theirs is under way, who comes waits; when
//! it is answered, all who wait go together: one by itself with its own id, several with one *joint reservation* for the
//! sum of what they want, from which each draws its own part. Where a joint one was refused, or would be, each asks by
//! itself: at a limit every decision is exact.

use super::book::{hash, is_leasable, is_sound, release, seen_effects};
use super::joint::{Joint, Waiting, sums};
use super::queue::Queue;
use super::{Block, LeaseBook};
use crate::effect::{Effect, ReserveCall};
use crate::event::{Now, Reserved};
use rateguard_model::id::RequestId;
use std::collections::BTreeMap;

/// Queues at most. Beyond, who meets other quotas asks by themselves.
const QUEUES_MAX: usize = 1_024;

/// A queue in which nobody waited for so long is forgotten.
const IDLE_MS: i64 = 1_000;

#[derive(Debug)]
pub struct Desk {
    joins: bool,
    /// How long a request waits for its reservation, in all.
    timeout_ms: i64,
    /// By hash.
    queues: BTreeMap<u64, Queue>,
    /// Queues in which somebody may have to ask.
    due: Vec<u64>,
    /// Those who ask by themselves, with the queue that may learn from it.
    alone: Vec<(Option<u64>, Waiting)>,
    /// By reservation.
    calls: BTreeMap<RequestId, Call>,
    counts: JointCounts,
}

/// Since they were last taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JointCounts {
    /// Requests admitted by joint reservations.
    pub drawn: u64,
    /// Joint reservations that the ledger granted.
    pub granted: u64,
    /// Those that it refused, or did not answer for.
    pub refused: u64,
}

/// A call to make.
#[derive(Debug, PartialEq)]
pub struct Ask {
    pub call: ReserveCall,
    /// What is left of the time of whoever waits longest. At least 1.
    pub timeout_ms: u32,
}

/// What a request at the desk is told.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// The limit service's answer to its own reservation.
    Own(Reserved),
    /// It was admitted by a joint reservation, and this is what the limit service would have said.
    Joint(Reserved),
    /// No answer came in time.
    Failed,
}

/// What an answer makes of those who waited for it.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Of the reservation itself; before the verdicts.
    pub effects: Vec<Effect>,
    pub verdicts: Vec<(RequestId, Verdict)>,
}

#[derive(Debug)]
struct Call {
    queue: Option<u64>,
    /// Who still waits for it.
    members: Vec<Waiting>,
    /// `None`: a request's own reservation.
    joint: Option<Joint>,
}

impl Desk {
    /// `joins`: whether requests are reserved together at all.
    pub fn new(joins: bool, timeout_ms: u32) -> Self {
        Self {
            joins,
            timeout_ms: i64::from(timeout_ms),
            queues: BTreeMap::new(),
            due: Vec::new(),
            alone: Vec::new(),
            calls: BTreeMap::new(),
            counts: JointCounts::default(),
        }
    }

    /// A request waits for its reservation from now on. `false`: for a call that is under way, so there is nothing to ask
    /// yet.
    pub fn enter(&mut self, call: ReserveCall, now: Now) -> bool {
        let since_ms = now.unix_ms();
        let queue = self.queue_of(&call, since_ms);
        let waiting = Waiting { call, since_ms };
        match queue.and_then(|hash| Some((hash, self.queues.get_mut(&hash)?))) {
            Some((hash, queue)) => {
                queue.noted_ms = since_ms;
                queue.waiting.push(waiting);
                if queue.must_wait(since_ms) {
                    return false;
                }
                self.due.push(hash);
            }
            None => self.alone.push((None, waiting)),
        }
        true
    }

    /// A request ended while it waited. Its part of a joint reservation stays undrawn, and goes back.
    pub fn leave(&mut self, id: &RequestId) {
        let drop_it = |waiting: &mut Vec<Waiting>| waiting.retain(|waiting| waiting.call.id != *id);
        // Its own reservation; the call goes on, and whoever waits for it too.
        if let Some(call) = self.calls.get_mut(id) {
            return call.members.clear();
        }
        self.alone.retain(|(_, waiting)| waiting.call.id != *id);
        for queue in self.queues.values_mut() {
            drop_it(&mut queue.waiting);
        }
        for call in self.calls.values_mut() {
            drop_it(&mut call.members);
        }
    }

    /// The calls to make now. `id` makes a fresh one.
    pub fn asks(&mut self, now: Now, mut id: impl FnMut() -> Option<RequestId>) -> Vec<Ask> {
        let now_ms = now.unix_ms();
        let mut asks = Vec::new();
        for hash in std::mem::take(&mut self.due) {
            let Some(queue) = self.queues.get_mut(&hash) else {
                continue;
            };
            let waiting = queue.next(now_ms);
            match waiting.as_slice() {
                [] => continue,
                [lone] => queue.in_flight = Some((lone.call.id, now_ms)),
                together => {
                    let sums = sums(together);
                    if queue.allows(&sums, now_ms)
                        && let Some(joint) = id().and_then(|id| Joint::of(id, hash, together, sums, now_ms))
                    {
                        queue.in_flight = Some((joint.call.id, now_ms));
                        asks.push(self.ask(joint.call.clone(), Some(hash), waiting, Some(joint), now_ms));
                        continue;
                    }
                }
            }
            // All of them: nobody is left waiting for nothing.
            let all = waiting.into_iter().chain(queue.waiting.drain(..));
            self.alone.extend(all.map(|waiting| (Some(hash), waiting)));
        }
        for (queue, waiting) in std::mem::take(&mut self.alone) {
            asks.push(self.ask(waiting.call.clone(), queue, vec![waiting], None, now_ms));
        }
        asks
    }

    /// Whether there may be calls to make.
    pub fn has_asks(&self) -> bool {
        !self.due.is_empty() || !self.alone.is_empty()
    }

    /// The limit service answered a call, or did not.
    pub fn answered(
        &mut self,
        id: RequestId,
        reserved: Option<Reserved>,
        now: Now,
        book: &mut LeaseBook,
    ) -> Outcome {
        let Some(call) = self.calls.remove(&id) else {
            return Outcome::default();
        };
        let now_ms = now.unix_ms();
        if let Some(hash) = call.queue
            && let Some(queue) = self.queues.get_mut(&hash)
        {
            queue.forget(&id);
            queue.learn(reserved.as_ref(), call.joint.as_ref(), now_ms);
            if !queue.waiting.is_empty() {
                self.due.push(hash);
            }
        }
        let Some(joint) = call.joint else {
            let member = call.members.into_iter().next();
            return member.map_or_else(Outcome::default, |member| {
                book.answered(&member.call, reserved.as_ref(), now);
                let verdict = reserved.map_or(Verdict::Failed, Verdict::Own);
                Outcome {
                    effects: Vec::new(),
                    verdicts: vec![(member.call.id, verdict)],
                }
            });
        };
        book.answered(&joint.call, reserved.as_ref(), now);
        match reserved {
            Some(reserved) if is_sound(&joint.block, &reserved) => {
                self.granted(joint, call.queue, call.members, &reserved, book)
            }
            Some(reserved) => {
                self.counts.refused += 1;
                let again = call.members.into_iter().map(|member| (call.queue, member));
                self.alone.extend(again);
                Outcome {
                    effects: given_back(id, &joint.block, !reserved.admitted),
                    verdicts: Vec::new(),
                }
            }
            None => {
                self.counts.refused += 1;
                let failed = |member: Waiting| (member.call.id, Verdict::Failed);
                Outcome {
                    effects: given_back(id, &joint.block, false),
                    verdicts: call.members.into_iter().map(failed).collect(),
                }
            }
        }
    }

    fn granted(
        &mut self,
        joint: Joint,
        queue: Option<u64>,
        members: Vec<Waiting>,
        reserved: &Reserved,
        book: &mut LeaseBook,
    ) -> Outcome {
        let id = joint.call.id;
        let mut effects = vec![Effect::Opened {
            id,
            workspace_id: joint.block.workspace_id,
        }];
        effects.extend(seen_effects(&joint.block, reserved));
        let (lease, answers, rest) = joint.shared(members, reserved);
        self.alone.extend(rest.into_iter().map(|member| (queue, member)));
        self.counts.granted += 1;
        self.counts.drawn += answers.len() as u64;
        book.adopt(id, lease, answers.iter().map(|(member, _)| *member));
        let verdicts = answers
            .into_iter()
            .map(|(member, answer)| (member, Verdict::Joint(answer)));
        Outcome {
            effects,
            verdicts: verdicts.collect(),
        }
    }

    /// Answers who is out of time: calls have deadlines of their own, so there is nobody unless the host is late. Queues
    /// that wait for a slow call go on, and idle ones are forgotten.
    pub fn tick(&mut self, now: Now) -> Vec<RequestId> {
        let now_ms = now.unix_ms();
        let timeout_ms = self.timeout_ms;
        let mut late = Vec::new();
        let mut take_late = |waiting: &mut Vec<Waiting>| {
            let is_late = |waiting: &mut Waiting| now_ms.saturating_sub(waiting.since_ms) > timeout_ms;
            late.extend(waiting.extract_if(.., is_late).map(|waiting| waiting.call.id));
        };
        for call in self.calls.values_mut() {
            take_late(&mut call.members);
        }
        for (hash, queue) in &mut self.queues {
            take_late(&mut queue.waiting);
            if !queue.waiting.is_empty() {
                self.due.push(*hash);
            }
        }
        let is_full = self.queues.len() >= QUEUES_MAX;
        self.queues.retain(|_, queue| {
            let idle = is_full || now_ms.saturating_sub(queue.noted_ms) > IDLE_MS;
            !(idle && queue.waiting.is_empty() && queue.in_flight.is_none())
        });
        late
    }

    /// Whether no answer is awaited.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    pub fn take_counts(&mut self) -> JointCounts {
        std::mem::take(&mut self.counts)
    }

    /// `None`: it asks by itself.
    fn queue_of(&mut self, call: &ReserveCall, now_ms: i64) -> Option<u64> {
        if !self.joins || !is_leasable(&call.quotas) {
            return None;
        }
        let hash = hash(call);
        if let Some(queue) = self.queues.get(&hash) {
            return queue.is_of(call).then_some(hash);
        }
        if self.queues.len() >= QUEUES_MAX {
            return None;
        }
        self.queues.insert(hash, Queue::new(call, now_ms));
        Some(hash)
    }

    fn ask(
        &mut self,
        call: ReserveCall,
        queue: Option<u64>,
        members: Vec<Waiting>,
        joint: Option<Joint>,
        now_ms: i64,
    ) -> Ask {
        let since_ms = members.iter().map(|member| member.since_ms).min();
        let waited_ms = now_ms.saturating_sub(since_ms.unwrap_or(now_ms)).max(0);
        let left_ms = self.timeout_ms.saturating_sub(waited_ms).max(1);
        let under_way = Call {
            queue,
            members,
            joint,
        };
        self.calls.insert(call.id, under_way);
        Ask {
            call,
            timeout_ms: u32::try_from(left_ms).unwrap_or(u32::MAX),
        }
    }
}

/// A reservation that nobody draws on. Without an answer it may have been made all the same.
fn given_back(id: RequestId, block: &Block, refused: bool) -> Vec<Effect> {
    if refused {
        Vec::new()
    } else {
        vec![Effect::Release(Box::new(release(id, block)))]
    }
}
