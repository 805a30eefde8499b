//! Owns what a thread on which many wait shares between them: it wakes the committer once a turn of its loop, and is woken once for
//! all that a batch answers; there each of those who wait is woken without a system call.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::sync::Notify;

use super::error::AppendError;
use super::record::Lsn;
use super::shared::Shared;
use super::ticket;

type Result = std::result::Result<Lsn, AppendError>;

/// Where one thread's appends are answered.
#[derive(Debug, Clone)]
pub struct Answers(Rc<Waiting>);

#[derive(Debug)]
struct Waiting {
    journal: Arc<Shared>,
    desk: Arc<Desk>,
    slots: RefCell<Slab<Slot>>,
    /// Something was appended in this turn.
    rings: Cell<bool>,
}

/// What the committer and the thread share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// With the slot that each is for.
    arrived: Mutex<Vec<(usize, Result)>>,
    news: Notify,
}

#[derive(Debug)]
enum Slot {
    /// Nothing has come.
    Open(Option<Waker>),
    Came(Result),
    /// Nobody waits any more; free once the answer has come.
    Left,
}

impl Answers {
    pub(super) fn new(journal: &Arc<Shared>) -> Self {
        let (journal, desk) = (Arc::clone(journal), Arc::default());
        Self(Rc::new(Waiting { journal, desk, slots: RefCell::default(), rings: Cell::new(false) }))
    }

    /// Wakes the committer for what was appended, and those whose answers have come, for ever; the thread must run it as a task of
    /// its own.
    pub async fn deliver(self) {
        loop {
            self.0.desk.news.notified().await;
            if self.0.rings.take() {
                self.0.journal.bell.ring(true);
            }
            let arrived = std::mem::take(&mut *self.0.desk.lock());
            for (slot, result) in arrived {
                if let Some(waker) = self.0.take_in(slot, result) {
                    waker.wake();
                }
            }
        }
    }

    /// Has the committer woken once those who are to run in this turn have run.
    pub(super) fn ring_later(&self) {
        if !self.0.rings.replace(true) {
            self.0.desk.news.notify_one();
        }
    }

    /// A place for an answer, and the committer's end of it.
    pub(super) fn expect(&self) -> (Reply, Answer) {
        let slot = self.0.slots.borrow_mut().insert(Slot::Open(None));
        let reply = DeskReply { desk: Arc::clone(&self.0.desk), slot, result: None };
        (Reply::Desk(reply), Answer { waiting: Rc::clone(&self.0), slot })
    }
}

impl Desk {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Result)>> {
        // Whoever panicked had pushed or had not.
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take_in(&self, slot: usize, result: Result) -> Option<Waker> {
        let mut slots = self.slots.borrow_mut();
        match std::mem::replace(slots.get_mut(slot)?, Slot::Came(result)) {
            Slot::Open(waker) => waker,
            Slot::Left => {
                slots.remove(slot);
                None
            }
            Slot::Came(_) => None,
        }
    }
}

/// Resolves when the record is as durable as asked; dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "without waiting nobody knows whether the record was written"]
pub struct Answer {
    waiting: Rc<Waiting>,
    slot: usize,
}

impl Future for Answer {
    type Output = Result;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.waiting.slots.borrow_mut().get_mut(self.slot) {
            Some(Slot::Came(result)) => return Poll::Ready(result.clone()),
            Some(Slot::Open(waker)) => match waker {
                Some(known) => known.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            },
            Some(Slot::Left) | None => {}
        }
        Poll::Pending
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut slots = self.waiting.slots.borrow_mut();
        match slots.get_mut(self.slot) {
            Some(Slot::Came(_)) => drop(slots.remove(self.slot)),
            Some(open) => *open = Slot::Left,
            None => {}
        }
    }
}

/// The committer's end of a ticket or an answer.
#[derive(Debug)]
pub(super) enum Reply {
    Ticket(ticket::Reply<Lsn>),
    Desk(DeskReply),
}

/// The committer's end of an answer; dropped without a word, it says that the journal is closed.
#[derive(Debug)]
pub(super) struct DeskReply {
    desk: Arc<Desk>,
    slot: usize,
    result: Option<Result>,
}

impl Drop for DeskReply {
    fn drop(&mut self) {
        let result = self.result.take();
        let is_told = result.is_some();
        self.desk.lock().push((self.slot, result.unwrap_or(Err(AppendError::Closed))));
        if !is_told {
            self.desk.news.notify_one();
        }
    }
}

/// The threads that have answers to take; wakes each of them once, when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Rounds(Vec<Arc<Desk>>);

impl Rounds {
    /// Answers one who waits.
    pub(super) fn tell(&mut self, reply: Reply, result: Result) {
        match reply {
            // Nobody may be waiting any more.
            Reply::Ticket(reply) => drop(reply.send(result)),
            Reply::Desk(mut reply) => {
                reply.result = Some(result);
                if !self.0.iter().any(|known| Arc::ptr_eq(known, &reply.desk)) {
                    self.0.push(Arc::clone(&reply.desk));
                }
            }
        }
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        for desk in &self.0 {
            desk.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn journal() -> (tempfile::TempDir, crate::journal::Journal) {
        let dir = tempfile::tempdir().unwrap();
        let journal = crate::journal::Journal::open(crate::journal::Options::new(dir.path())).unwrap();
        (dir, journal)
    }

    /// Polls once; says what came and how often it was woken so far.
    fn poll<F: Future>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
    }

    #[test]
    fn a_batch_wakes_the_thread_once_and_each_who_waits() {
        let (_dir, journal) = journal();
        let answers = journal.answers();
        let (deliverer, waiter) = (Arc::<Count>::default(), Arc::<Count>::default());
        let mut delivering = std::pin::pin!(answers.clone().deliver());
        assert!(poll(delivering.as_mut(), &deliverer).is_pending());
        let (replies, mut waiting): (Vec<_>, Vec<_>) = (0..3).map(|_| answers.expect()).unzip();
        for answer in &mut waiting {
            assert!(poll(Pin::new(answer), &waiter).is_pending());
        }
        // One has left before its answer came.
        drop(waiting.remove(1));
        let mut rounds = Rounds::default();
        for (number, reply) in (1..).zip(replies) {
            rounds.tell(reply, Ok(Lsn(number)));
        }
        assert_eq!(deliverer.0.load(std::sync::atomic::Ordering::SeqCst), 0);
        drop(rounds);
        assert_eq!(deliverer.0.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert!(poll(delivering.as_mut(), &deliverer).is_pending());
        assert_eq!(waiter.0.load(std::sync::atomic::Ordering::SeqCst), 2);
        for (answer, number) in waiting.iter_mut().zip([1, 3]) {
            assert!(matches!(poll(Pin::new(answer), &waiter), Poll::Ready(Ok(lsn)) if lsn == Lsn(number)));
        }
        drop(waiting);
        assert!(answers.0.slots.borrow().is_empty());
    }

    #[test]
    fn a_reply_that_is_dropped_says_closed() {
        let (_dir, journal) = journal();
        let answers = journal.answers();
        let count = Arc::<Count>::default();
        let (reply, mut answer) = answers.expect();
        drop(reply);
        assert!(poll(std::pin::pin!(answers.clone().deliver()), &count).is_pending());
        assert!(matches!(poll(Pin::new(&mut answer), &count), Poll::Ready(Err(AppendError::Closed))));
    }
}
