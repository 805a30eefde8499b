//! Owns carrying out what operators ask for: in force first, then on disk, and only then acknowledged (promise 5).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use serde_json::{Value, json};

use super::history::{Action, Event};
use super::mailbox::Mailbox;
use super::overrides::{Book, Command, Note, Order, Receipt, Refusal, Source, Uncopied, apply, merge};
use super::publications::{Publications, State};
use super::resolver::Resolver;
use super::scribe::{Scribe, Written};
use super::uncopied::uncopied;

/// Carries out orders; any number of threads may hold one.
#[derive(Debug, Clone)]
pub struct Operator(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) publications: Arc<Publications>,
    scribe: Arc<Scribe>,
    pub(super) mailbox: Arc<Mailbox>,
    resolver: Resolver,
    /// The latest generation for which the requests of earlier ones were waited for.
    pub(super) outwaited: AtomicU64,
}

/// What an order has changed, as far as it is known before the disk answers.
struct Changed {
    generation: u64,
    changed: bool,
    before: Value,
    after: Value,
    remark: Option<String>,
    uncopied: Vec<Uncopied>,
    /// Freed once nobody waits any more.
    _evicted: Vec<super::archive::Kept>,
}

impl Operator {
    pub(super) fn new(
        publications: Arc<Publications>,
        scribe: Arc<Scribe>,
        mailbox: Arc<Mailbox>,
        resolver: Resolver,
    ) -> Self {
        Self(Arc::new(Shared { publications, scribe, mailbox, resolver, outwaited: AtomicU64::new(0) }))
    }

    /// Carries out an order.
    ///
    /// When it returns, every worker serves its next request by it. It waits until the change is on disk, at most 5 s;
    /// the receipt says whether it is. Blocks: on a runtime call it from a thread that may.
    ///
    /// # Errors
    /// When the order does not fit what is in force; nothing has changed then.
    pub fn execute(&self, order: &Order) -> Result<Receipt, Refusal> {
        self.execute_at(order, None)
    }

    /// Carries out an order that was given for a generation: another one in force is a refusal.
    ///
    /// # Errors
    /// As [`Operator::execute`].
    pub fn execute_at(&self, order: &Order, expected: Option<u64>) -> Result<Receipt, Refusal> {
        let shared = &*self.0;
        let (changed, written) = self.carry_out(order, expected)?;
        let Changed { generation, changed, before, after, remark, uncopied, _evicted } = changed;
        shared.mailbox.tidy();
        let written = shared.scribe.wait(&written);
        let Written { durable, entry } = written;
        Ok(Receipt { generation, changed, before, after, remark, uncopied, durable, entry })
    }

    /// Compares with what is in force; nobody may publish meanwhile.
    pub(super) fn check_generation(&self, expected: Option<u64>) -> Result<(), Refusal> {
        let generation = self.0.publications.current().generation;
        let moved = expected.filter(|expected| *expected != generation);
        moved.map_or(Ok(()), |expected| Err(Refusal::Moved { expected, generation }))
    }

    /// The snapshot in force.
    pub fn in_force(&self) -> Arc<crate::snapshot::Snapshot> {
        self.0.publications.current()
    }

    /// Everything that lies over the files, for people and programs.
    pub fn overrides(&self) -> Value {
        let state = self.0.publications.lock();
        let mut shown = serde_json::to_value(&state.book).unwrap_or_default();
        shown["break_glass"] =
            state.glass.as_ref().map_or(Value::Null, |note| json!({"who": note.who, "why": note.why}));
        shown["restored"] = state.held.as_ref().map_or(Value::Null, |held| held.generation.into());
        shown["not_applicable"] = state.misfits_shown();
        shown
    }

    /// The first generation of each set of rules that can be restored, the oldest first.
    pub fn restorable(&self) -> Vec<u64> {
        self.0.publications.lock().archive.generations()
    }

    /// Kills every flag at once, without waiting for the disk: for a signal.
    pub(super) fn kill_all_by_signal(&self) {
        let order = Order {
            command: Command::KillAll,
            who: "SIGUSR1".to_owned(),
            why: "the signal SIGUSR1 was sent to the router".to_owned(),
            lasts: None,
            source: Source::Signal,
        };
        match self.carry_out(&order, None) {
            Ok(_) => self.0.mailbox.tidy(),
            Err(error) => tracing::error!(%error, "SIGUSR1 could not kill every flag"),
        }
    }

    /// Notes that the file `KILL` is there, with what it says, or that it is gone.
    pub(super) fn break_glass(&self, glass: Option<Note>) {
        let Shared { publications, scribe, mailbox, .. } = &*self.0;
        let mut state = publications.lock();
        if state.glass.is_some() == glass.is_some() {
            return;
        }
        let action = if glass.is_some() { Action::KillAll } else { Action::ReviveAll };
        let why = glass.as_ref().map_or("the file KILL is gone".to_owned(), |note| note.why.clone());
        state.glass = glass;
        let generation = publications.lay_over(&mut state);
        let event = Event { why: Some(why.clone()), ..Event::new(action, Source::BreakGlass, generation) };
        drop(scribe.note(event, false));
        drop(state);
        mailbox.tidy();
        match action {
            Action::KillAll => tracing::error!(generation, why, "break glass: every flag gives its fallback"),
            _ => tracing::warn!(generation, "break glass is over: the file KILL is gone"),
        }
    }

    /// Notes in the history what was done about copies; blocks until it is on disk, at most 5 s.
    pub(super) fn note_copies(&self, action: Action, who: &str, why: &str, after: Value) -> Written {
        let Shared { publications, scribe, .. } = &*self.0;
        let state = publications.lock();
        let (who, why) = (Some(who.to_owned()), Some(why.to_owned()));
        let generation = publications.current().generation;
        let written = scribe.note(Event { who, why, after, ..Event::new(action, Source::Command, generation) }, false);
        drop(state);
        scribe.wait(&written)
    }

    /// Takes over what another process on the same state directory has changed since `base`.
    ///
    /// During a hand-over two processes take orders, and what either has acknowledged must not be lost.
    pub(super) fn adopt(&self, base: &Book, theirs: &Book) {
        let Shared { publications, mailbox, .. } = &*self.0;
        let mut state = publications.lock();
        let merged = merge(base, &state.book, theirs);
        if merged != state.book {
            state.book = merged;
            let generation = publications.lay_over(&mut state);
            tracing::warn!(generation, "another process has changed the overrides; they are taken over");
            mailbox.tidy();
        }
    }

    /// The book as it is now.
    pub(super) fn book(&self) -> Book {
        self.0.publications.lock().book.clone()
    }

    /// Takes out what has ended by itself.
    pub(super) fn end_overdue(&self) {
        let Shared { publications, scribe, mailbox, .. } = &*self.0;
        let mut state = publications.lock();
        let Some((generation, ended)) = publications.end_overdue(&mut state, Instant::now()) else { return };
        for flag in ended {
            tracing::warn!(generation, flag, "an override has ended by itself");
            let event = Event {
                why: Some("its time is over".to_owned()),
                after: state.book.shown(flag.as_deref()),
                flag,
                ..Event::new(Action::Expire, Source::Router, generation)
            };
            drop(scribe.note(event, true));
        }
        drop(state);
        mailbox.tidy();
    }

    /// Puts the order in force and hands it to the scribe, in one step, so that the history has the right order.
    fn carry_out(
        &self,
        order: &Order,
        expected: Option<u64>,
    ) -> Result<(Changed, std::sync::mpsc::Receiver<super::scribe::Written>), Refusal> {
        let Shared { publications, scribe, .. } = &*self.0;
        let mut state = publications.lock();
        self.check_generation(expected)?;
        let changed = match order.command {
            Command::Restore { .. } | Command::Release => self.turn_back(&mut state, order)?,
            _ => self.change_book(&mut state, order)?,
        };
        let event = Event {
            flag: order.command.flag().map(str::to_owned),
            who: Some(order.who.clone()),
            why: Some(order.why.clone()),
            before: changed.before.clone(),
            after: changed.after.clone(),
            ..Event::new(order.command.action(), order.source, changed.generation)
        };
        let written = scribe.note(event, true);
        drop(state);
        log(order, &changed);
        Ok((changed, written))
    }

    fn change_book(&self, state: &mut State, order: &Order) -> Result<Changed, Refusal> {
        let publications = &self.0.publications;
        let flag = order.command.flag();
        let mut book: Book = state.book.clone();
        apply(order, &mut book, &publications.current().rules)?;
        let (before, after) = (state.book.shown(flag), book.shown(flag));
        if order.command == Command::ReviveAll && state.glass.is_some() && state.book.kill_all.is_none() {
            return Err(Refusal::BreakGlass);
        }
        let is_changed = state.book != book;
        let (now, was) = (publications.current(), std::mem::replace(&mut state.book, book));
        let generation = if is_changed { publications.lay_over(state) } else { now.generation };
        let uncopied = uncopied(&now, &publications.current(), &was);
        let remark = remark(state, order, is_changed);
        Ok(Changed { generation, changed: is_changed, before, after, remark, uncopied, _evicted: Vec::new() })
    }

    fn turn_back(&self, state: &mut State, order: &Order) -> Result<Changed, Refusal> {
        let Shared { publications, resolver, .. } = &*self.0;
        // The order's who and why are judged there.
        apply(order, &mut Book::default(), &publications.current().rules)?;
        let shown =
            |state: &State| state.held.as_ref().map_or(Value::Null, |held| json!({"restored": held.generation}));
        let before = shown(state);
        let published = match order.command {
            Command::Restore { generation } => {
                Some(publications.restore(state, generation).ok_or_else(|| not_kept(state, generation))?)
            }
            _ => publications.release(state),
        };
        resolver.look_again();
        let changed = published.is_some();
        let (generation, evicted) = published.unwrap_or_else(|| (publications.current().generation, Vec::new()));
        let remark = match order.command {
            Command::Restore { .. } => Some(
                "files are judged but not published until it is released; it does not outlive the process".to_owned(),
            ),
            _ if !changed => Some("no restore was in force".to_owned()),
            _ => None,
        };
        let (after, uncopied) = (shown(state), Vec::new());
        Ok(Changed { generation, changed, before, after, remark, uncopied, _evicted: evicted })
    }
}

/// What an operator should know about an order that was carried out.
fn remark(state: &State, order: &Order, is_changed: bool) -> Option<String> {
    let killed = state.glass.is_some() || state.book.kill_all.is_some();
    let flag = order.command.flag().and_then(|key| state.book.flags.get(key));
    match &order.command {
        Command::ReviveAll if state.glass.is_some() => {
            Some("every flag stays killed by the file KILL in the state directory; remove that file".to_owned())
        }
        Command::KillAll | Command::ReviveAll | Command::Kill { .. } => None,
        _ if killed => Some("every flag is killed, which comes first".to_owned()),
        Command::Set { .. } | Command::Pin { .. } if flag.is_some_and(|entry| entry.kill.is_some()) => {
            Some("the flag is killed, which comes first".to_owned())
        }
        _ if !is_changed => Some("there was nothing to take back".to_owned()),
        _ => None,
    }
}

pub(super) fn not_kept(state: &State, generation: u64) -> Refusal {
    Refusal::NotKept { generation, kept: state.archive.generations() }
}

fn log(order: &Order, changed: &Changed) {
    let (action, flag) = (order.command.action().as_str(), order.command.flag());
    let Changed { generation, uncopied, .. } = changed;
    for one in uncopied {
        tracing::warn!(generation, route = one.route, "{}", one.text());
    }
    match order.command {
        Command::Kill { .. } | Command::KillAll => {
            tracing::error!(
                generation,
                flag,
                who = order.who,
                why = order.why,
                source = order.source.as_str(),
                "{action}"
            );
        }
        _ => tracing::warn!(
            generation,
            flag,
            who = order.who,
            why = order.why,
            source = order.source.as_str(),
            "{action}"
        ),
    }
}

impl Command {
    /// The flag that it is about, where it is about one.
    pub fn flag(&self) -> Option<&str> {
        match self {
            Self::Kill { flag }
            | Self::Revive { flag }
            | Self::Set { flag, .. }
            | Self::Unset { flag }
            | Self::Pin { flag, .. }
            | Self::Unpin { flag, .. } => Some(flag),
            Self::KillAll | Self::ReviveAll | Self::Restore { .. } | Self::Release => None,
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::Kill { .. } => Action::Kill,
            Self::KillAll => Action::KillAll,
            Self::Revive { .. } => Action::Revive,
            Self::ReviveAll => Action::ReviveAll,
            Self::Set { .. } => Action::Set,
            Self::Unset { .. } => Action::Unset,
            Self::Pin { .. } => Action::Pin,
            Self::Unpin { .. } => Action::Unpin,
            Self::Restore { .. } => Action::Restore,
            Self::Release => Action::Release,
        }
    }
}
