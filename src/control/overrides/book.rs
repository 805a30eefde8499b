//! Owns the written form of overrides: who laid what over which flag, why and until when. It knows no compiled flag.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Everything that operators have laid over the files; small, and written whole at each change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Book {
    /// Every flag is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::control) kill_all: Option<Note>,
    /// By flag key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::control) flags: BTreeMap<String, FlagEntry>,
}

/// What lies over one flag.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct FlagEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::control) kill: Option<Note>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::control) pins: Vec<PinEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::control) split: Option<SplitEntry>,
}

/// A variant for whoever has a value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct PinEntry {
    pub(in crate::control) attribute: String,
    pub(in crate::control) value: String,
    pub(in crate::control) variant: String,
    pub(in crate::control) note: Note,
}

/// Shares by variant, such as `10%`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct SplitEntry {
    /// In the order in which they were given.
    pub(in crate::control) shares: Vec<(String, String)>,
    pub(in crate::control) note: Note,
}

/// Where an override or a publication came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The flag and route files.
    File,
    /// A person's or a program's command to the running router.
    Command,
    /// The file `KILL` in the state directory.
    BreakGlass,
    /// SIGUSR1.
    Signal,
    /// The router itself: an end of time, a start.
    Router,
}

impl Source {
    /// Names the source as the history does.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Command => "command",
            Self::BreakGlass => "break-glass",
            Self::Signal => "signal",
            Self::Router => "router",
        }
    }
}

/// Who laid an override, why, since when and until when.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::control) struct Note {
    pub(in crate::control) who: String,
    pub(in crate::control) why: String,
    pub(in crate::control) source: Source,
    pub(in crate::control) since_unix_ms: u64,
    /// When it ends by itself, by the wall clock: for people, and for the time over a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::control) until_unix_ms: Option<u64>,
    /// The same by the monotonic clock, which decides while the process runs (rule J6).
    #[serde(skip)]
    pub(in crate::control) ends_at: Option<Instant>,
}

/// The same if the same is written: the monotonic clock differs between processes.
impl PartialEq for Note {
    fn eq(&self, other: &Self) -> bool {
        (&self.who, &self.why, self.source, self.since_unix_ms, self.until_unix_ms)
            == (&other.who, &other.why, other.source, other.since_unix_ms, other.until_unix_ms)
    }
}

impl Note {
    /// Notes something that happens now and lasts for a time, or until it is released.
    pub(in crate::control) fn now(who: &str, why: &str, source: Source, lasts: Option<Duration>) -> Self {
        let since_unix_ms = unix_ms();
        Self {
            who: who.to_owned(),
            why: why.to_owned(),
            source,
            since_unix_ms,
            until_unix_ms: lasts.map(|lasts| since_unix_ms.saturating_add(millis(lasts))),
            ends_at: lasts.and_then(|lasts| Instant::now().checked_add(lasts)),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|ends_at| ends_at <= now)
    }

    fn start_clock(&mut self, now: Instant, now_unix_ms: u64) {
        let left = self.until_unix_ms.map(|until| Duration::from_millis(until.saturating_sub(now_unix_ms)));
        self.ends_at = left.and_then(|left| now.checked_add(left));
    }

    fn shown(&self) -> Value {
        json!({"who": self.who, "why": self.why, "until_unix_ms": self.until_unix_ms})
    }
}

impl FlagEntry {
    fn is_empty(&self) -> bool {
        self.kill.is_none() && self.pins.is_empty() && self.split.is_none()
    }

    fn notes(&mut self) -> impl Iterator<Item = &mut Note> {
        let pins = self.pins.iter_mut().map(|pin| &mut pin.note);
        self.kill.iter_mut().chain(pins).chain(self.split.iter_mut().map(|split| &mut split.note))
    }

    fn end(&mut self, now: Instant) -> bool {
        let before = self.notes().count();
        self.kill.take_if(|note| note.is_over(now));
        self.pins.retain(|pin| !pin.note.is_over(now));
        self.split.take_if(|split| split.note.is_over(now));
        self.notes().count() < before
    }

    fn shown(&self) -> Value {
        let mut shown = Map::new();
        if let Some(note) = &self.kill {
            shown.insert("kill".into(), note.shown());
        }
        if !self.pins.is_empty() {
            let pin =
                |pin: &PinEntry| json!({"pin": format!("{}={}", pin.attribute, pin.value), "variant": pin.variant});
            shown.insert("pins".into(), self.pins.iter().map(pin).collect());
        }
        if let Some(split) = &self.split {
            let shares = split.shares.iter().map(|(variant, share)| (variant.clone(), Value::from(share.as_str())));
            shown.insert("shares".into(), Value::Object(shares.collect()));
        }
        shown.into()
    }
}

impl Book {
    /// Starts the monotonic clocks of what was read from a file.
    pub(super) fn start_clocks(&mut self) {
        let (now, now_unix_ms) = (Instant::now(), unix_ms());
        let notes = self.flags.values_mut().flat_map(FlagEntry::notes);
        self.kill_all.iter_mut().chain(notes).for_each(|note| note.start_clock(now, now_unix_ms));
    }

    /// Takes out what has ended by `now`: the flags concerned, `None` standing for all of them.
    pub(in crate::control) fn end(&mut self, now: Instant) -> Vec<Option<String>> {
        let all = self.kill_all.take_if(|note| note.is_over(now)).is_some();
        let mut ended: Vec<Option<String>> = all.then_some(None).into_iter().collect();
        ended.extend(self.flags.iter_mut().filter_map(|(key, entry)| entry.end(now).then(|| Some(key.clone()))));
        self.tidy();
        ended
    }

    /// Forgets flags that nothing lies over any more.
    pub(super) fn tidy(&mut self) {
        self.flags.retain(|_, entry| !entry.is_empty());
    }

    /// What lies over one flag, or over all, for people; null when nothing does.
    pub(in crate::control) fn shown(&self, flag: Option<&str>) -> Value {
        match flag {
            None => self.kill_all.as_ref().map_or(Value::Null, |note| json!({"kill_all": note.shown()})),
            Some(key) => self.flags.get(key).map_or(Value::Null, FlagEntry::shown),
        }
    }
}

/// The wall clock in milliseconds since the epoch.
pub(in crate::control) fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
