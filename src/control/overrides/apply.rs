//! Owns what a command does to the book, judged by the rules in force; it neither publishes nor writes.

use super::book::{Book, FlagEntry, Note, PinEntry, SplitEntry};
use super::command::{Command, Order, Refusal};
use crate::config::{closest, did_you_mean};
use crate::flag::{Flag, Share, Split};
use crate::snapshot::Rules;

/// The longest that an override may last, in seconds: 30 days.
const LASTS_MAX_S: u64 = 30 * 86_400;
/// The most bytes of a name of a person or program.
const WHO_BYTES_MAX: usize = 256;
/// The most bytes of a reason.
const WHY_BYTES_MAX: usize = 1024;
/// The most flags that something may lie over; a publication's cost grows with them.
const FLAGS_MAX: usize = 10_000;
/// The most pins of a flag; each evaluation of it asks them one by one.
const PINS_MAX: usize = 100;
/// The most bytes of a pin's value, as of a targeting key.
const VALUE_BYTES_MAX: usize = 512;
/// What rules may ask of every request, besides what stands behind `header.` and the like.
const EVERYWHERE: [&str; 6] = ["targetingKey", "method", "path", "host", "route", "client.ip"];

/// Changes the book as an order says.
///
/// # Errors
/// When the order does not fit the rules in force; the book may be half changed then and must be thrown away.
pub(in crate::control) fn apply(order: &Order, book: &mut Book, rules: &Rules) -> Result<(), Refusal> {
    check(order)?;
    let note = || Note::now(&order.who, &order.why, order.source, order.lasts);
    match &order.command {
        Command::KillAll => book.kill_all = Some(note()),
        Command::ReviveAll => book.kill_all = None,
        Command::Kill { flag } => {
            find(rules, flag)?;
            entry(book, flag)?.kill = Some(note());
        }
        Command::Revive { flag } => known(book, rules, flag)?.kill = None,
        Command::Set { flag, shares } => {
            split(find(rules, flag)?, shares)?;
            let shares = shares.iter().map(|(variant, share)| (variant.clone(), share.to_string())).collect();
            entry(book, flag)?.split = Some(SplitEntry { shares, note: note() });
        }
        Command::Unset { flag } => known(book, rules, flag)?.split = None,
        Command::Pin { flag, attribute, value, variant } => {
            let found = find(rules, flag)?;
            find_variant(found, variant)?;
            find_attribute(rules, attribute)?;
            let pin =
                PinEntry { attribute: attribute.clone(), value: value.clone(), variant: variant.clone(), note: note() };
            add_pin(entry(book, flag)?, pin)?;
        }
        Command::Unpin { flag, pin } => {
            let pins = &mut known(book, rules, flag)?.pins;
            match pin {
                None => pins.clear(),
                Some((attribute, value)) => pins.retain(|pin| (&pin.attribute, &pin.value) != (attribute, value)),
            }
        }
        // The publications carry these out; the book has no part in them.
        Command::Restore { .. } | Command::Release => {}
    }
    book.tidy();
    Ok(())
}

fn check(order: &Order) -> Result<(), Refusal> {
    if order.why.trim().is_empty() || order.who.trim().is_empty() {
        return Err(Refusal::Reason("say who wants it and why; the history keeps both"));
    }
    if order.why.len() > WHY_BYTES_MAX || order.who.len() > WHO_BYTES_MAX {
        return Err(Refusal::Reason("the reason is longer than 1024 bytes, or the name longer than 256"));
    }
    let may_last =
        matches!(order.command, Command::Kill { .. } | Command::KillAll | Command::Set { .. } | Command::Pin { .. });
    match order.lasts {
        Some(_) if !may_last => Err(Refusal::Lasting("only kills, shares and pins end by themselves")),
        Some(lasts) if lasts.is_zero() => Err(Refusal::Lasting("a time of 0 would end before it begins")),
        Some(lasts) if lasts.as_secs() > LASTS_MAX_S => {
            Err(Refusal::Lasting("an override lasts 30 days at most; what is to stay belongs into the file"))
        }
        _ => Ok(()),
    }
}

fn find<'r>(rules: &'r Rules, key: &str) -> Result<&'r Flag, Refusal> {
    let found = rules.flag_ids.get(key).and_then(|id| rules.flags.get(id.0 as usize));
    found.ok_or_else(|| unknown(rules, key))
}

fn unknown(rules: &Rules, key: &str) -> Refusal {
    Refusal::UnknownFlag { flag: key.to_owned(), help: did_you_mean(key, rules.flag_ids.keys().map(|key| &**key)) }
}

fn find_variant(flag: &Flag, name: &str) -> Result<(), Refusal> {
    if flag.variant(name).is_some() {
        return Ok(());
    }
    let help = did_you_mean(name, flag.variants.iter().map(|variant| &*variant.name));
    Err(Refusal::UnknownVariant { flag: flag.key.to_string(), variant: name.to_owned(), help })
}

/// An attribute that no request has would be a pin that quietly never matches.
fn find_attribute(rules: &Rules, name: &str) -> Result<(), Refusal> {
    if rules.may_ask(name) {
        return Ok(());
    }
    let near = closest(name, rules.mapped.keys().map(|known| &**known).chain(EVERYWHERE));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write header.NAME, cookie.NAME, query.NAME, a name of `context:`, or targetingKey".to_owned(),
    };
    Err(Refusal::UnknownAttribute { attribute: name.to_owned(), help: Some(help) })
}

/// Judges shares against a flag.
pub(super) fn split(flag: &Flag, shares: &[(String, Share)]) -> Result<Split, Refusal> {
    let named: Vec<(&str, Share)> = shares.iter().map(|(name, share)| (name.as_str(), *share)).collect();
    for (name, _) in &named {
        find_variant(flag, name)?;
    }
    Split::over(flag, &named).map_err(|error| Refusal::Shares { flag: flag.key.to_string(), error })
}

/// What lies over a flag, made when nothing does.
fn entry<'b>(book: &'b mut Book, flag: &str) -> Result<&'b mut FlagEntry, Refusal> {
    if book.flags.len() >= FLAGS_MAX && !book.flags.contains_key(flag) {
        return Err(Refusal::TooMany("10,000 flags have overrides; release some, edit the files, or kill all"));
    }
    Ok(book.flags.entry(flag.to_owned()).or_default())
}

/// The same for taking something back, where the flag may be gone from the files.
fn known<'b>(book: &'b mut Book, rules: &Rules, flag: &str) -> Result<&'b mut FlagEntry, Refusal> {
    if !book.flags.contains_key(flag) && !rules.flag_ids.contains_key(flag) {
        return Err(unknown(rules, flag));
    }
    Ok(book.flags.entry(flag.to_owned()).or_default())
}

fn add_pin(entry: &mut FlagEntry, pin: PinEntry) -> Result<(), Refusal> {
    if pin.value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooMany("the value of a pin is longer than 512 bytes"));
    }
    let same = |known: &PinEntry| (&known.attribute, &known.value) == (&pin.attribute, &pin.value);
    match entry.pins.iter().position(same) {
        Some(at) => entry.pins[at] = pin,
        None if entry.pins.len() >= PINS_MAX => {
            return Err(Refusal::TooMany("the flag has 100 pins; a cohort belongs into the flag's rule"));
        }
        None => entry.pins.push(pin),
    }
    Ok(())
}
