//! Decisions under overrides: what lies over what, and that the buckets stay.

use std::sync::Arc;

use banyan::compile::{Options, compile};
use banyan::config::{FileSet, Format};
use banyan::decision::{FlagOutcome, Head, decide};
use banyan::flag::{FlagOverride, OverrideKind, Pin, Reason, Share, Split, SplitError};
use banyan::snapshot::{Overrides, Snapshot};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

const FLAGS: &str = r#"
flags:
  cohorts:
    state: ENABLED
    variants: {legacy: legacy, modern: modern, third: third}
    defaultVariant: legacy
    targeting:
      if:
        - {"==": [{var: header.x-tenant}, acme]}
        - third
        - fractional: [[modern, 10], [third, 30], [legacy, 60]]
  plain:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
  open:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: null
    targeting: {if: [{"==": [{var: header.x-tenant}, acme]}, modern]}
  disabled:
    state: DISABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: modern
  twice:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    targeting:
      if:
        - {"==": [{var: header.x-tenant}, acme]}
        - fractional: [[modern, 10], [legacy, 90]]
        - fractional: [[modern, 20], [legacy, 80]]
  ramp:
    state: ENABLED
    variants: {legacy: legacy, modern: modern}
    defaultVariant: legacy
    targeting: {fractional: [[modern, {"%": [{var: $flagd.timestamp}, 100]}], [legacy, 100]]}
"#;

const ROUTES: &str = r#"
identity: {targeting_key: ["header:x-user"]}
force: {header: x-force, networks: [127.0.0.0/8]}
upstreams: {one: {endpoints: ["http://127.0.0.1:9001"]}}
routes:
  - {name: cohorts, match: {path: /cohorts}, flag: cohorts, variants: {legacy: one, modern: one, third: one}, fallback: one}
  - {name: plain, match: {path: /plain}, flag: plain, variants: {legacy: one, modern: one}, fallback: one}
  - {name: open, match: {path: /open}, flag: open, variants: {legacy: one, modern: one}, fallback: one}
  - {name: disabled, match: {path: /disabled}, flag: disabled, variants: {legacy: one, modern: one}, fallback: one}
  - {name: twice, match: {path: /twice}, flag: twice, variants: {legacy: one, modern: one}, fallback: one}
  - {name: ramp, match: {path: /ramp}, flag: ramp, variants: {legacy: one, modern: one}, fallback: one}
"#;

fn compiled(flags: &str) -> Snapshot {
    let flags = FileSet::from_texts("flags", [("f.yaml", flags)]);
    let routes = FileSet::from_texts("routes", [("r.yaml", ROUTES)]);
    let outcome = compile(&flags, &routes, &Options::default(), None);
    let shown = outcome.report.render(Format::Text { colour: false });
    outcome.draft.expect(&shown).into_snapshot(1)
}

/// Lays one override over one flag, or kills all where no flag is named.
fn under(flag: Option<&str>, make: impl FnOnce(&banyan::flag::Flag) -> FlagOverride) -> Snapshot {
    let mut snapshot = compiled(FLAGS);
    let overrides = match flag {
        None => Overrides::new(true, Vec::new()),
        Some(key) => {
            let id = snapshot.rules.flag_ids[key];
            Overrides::new(false, vec![(id, make(&snapshot.rules.flags[id.0 as usize]))])
        }
    };
    snapshot.overrides = Arc::new(overrides);
    snapshot
}

fn split(flag: &banyan::flag::Flag, shares: &[(&str, &str)]) -> Result<Split, SplitError> {
    let shares: Vec<(&str, Share)> = shares.iter().map(|(name, share)| (*name, share.parse().unwrap())).collect();
    Split::over(flag, &shares)
}

fn shares(key: &str, given: &[(&str, &str)]) -> Snapshot {
    under(Some(key), |flag| FlagOverride { split: Some(split(flag, given).unwrap()), ..FlagOverride::default() })
}

fn outcome<'s>(snapshot: &'s Snapshot, path: &str, fields: &[(&str, &str)]) -> FlagOutcome<'s> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    let head = Head {
        method: &Method::GET,
        host: "a.example",
        path,
        query: None,
        headers: &headers,
        client: [127, 0, 0, 1].into(),
        secure: false,
        certificate: None,
        now_unix_s: 0,
        fresh_key: || "fresh".to_owned(),
    };
    decide(snapshot, &head).unwrap().flag.unwrap()
}

#[test]
fn kill_all_and_kill_beat_every_other_source() {
    let all = under(None, |_| FlagOverride::default());
    let modern = all.rules.flags[all.rules.flag_ids["plain"].0 as usize].variant("modern").unwrap();
    let one = under(Some("plain"), |_| FlagOverride {
        killed: true,
        pins: vec![Pin::new("header.x-user", "ada", modern)],
        split: None,
    });
    for (snapshot, kind) in [(&all, OverrideKind::KillAll), (&one, OverrideKind::Kill)] {
        let killed = outcome(snapshot, "/plain", &[("x-user", "ada"), ("x-force", "plain=modern")]);
        assert_eq!((killed.variant, killed.reason), (None, Reason::Disabled));
        assert_eq!((killed.overridden, killed.forced, killed.error), (Some(kind), false, None));
    }
    let other = outcome(&one, "/cohorts", &[("x-tenant", "acme")]);
    assert_eq!((other.variant, other.overridden), (Some("third"), None), "other flags do not notice");
}

#[test]
fn a_pin_is_asked_before_all_else_in_the_rule() {
    let snapshot = under(Some("cohorts"), |flag| FlagOverride {
        pins: vec![Pin::new("header.x-tenant", "acme", flag.variant("modern").unwrap())],
        ..FlagOverride::default()
    });
    let pinned = outcome(&snapshot, "/cohorts", &[("x-tenant", "acme")]);
    assert_eq!((pinned.variant, pinned.reason), (Some("modern"), Reason::TargetingMatch));
    assert_eq!(pinned.overridden, Some(OverrideKind::Pin));
    let before = compiled(FLAGS);
    for user in 0..200 {
        let user = format!("user-{user}");
        let ask = |snapshot| outcome(snapshot, "/cohorts", &[("x-user", &user)]).variant.map(str::to_owned);
        assert_eq!(ask(&snapshot), ask(&before), "{user}: nobody else moves");
    }
}

#[test]
fn a_disabled_flag_stays_disabled_under_pins_and_shares() {
    let snapshot = under(Some("disabled"), |flag| FlagOverride {
        killed: false,
        pins: vec![Pin::new("header.x-user", "ada", flag.variant("modern").unwrap())],
        split: Some(split(flag, &[("legacy", "100%")]).unwrap()),
    });
    let disabled = outcome(&snapshot, "/disabled", &[("x-user", "ada")]);
    assert_eq!((disabled.variant, disabled.reason, disabled.overridden), (None, Reason::Disabled, None));
}

#[test]
fn shares_where_there_is_no_split_stand_where_the_default_would() {
    let snapshot = shares("plain", &[("modern", "25%")]);
    let mut modern = 0;
    for user in 0..2000 {
        let found = outcome(&snapshot, "/plain", &[("x-user", &format!("user-{user}"))]);
        assert_eq!((found.reason, found.overridden), (Reason::TargetingMatch, Some(OverrideKind::Split)));
        modern += usize::from(found.variant == Some("modern"));
    }
    assert!((400..600).contains(&modern), "{modern} of 2000 are not a quarter");
    let nobody = outcome(&snapshot, "/plain", &[]);
    assert_eq!((nobody.variant, nobody.overridden), (Some("legacy"), None), "without a key there is no share");

    let open = shares("open", &[("legacy", "0%")]);
    let cohort = outcome(&open, "/open", &[("x-tenant", "acme"), ("x-user", "ada")]);
    assert_eq!((cohort.variant, cohort.overridden), (Some("modern"), None), "targeting stays");
    let rest = outcome(&open, "/open", &[("x-user", "ada")]);
    assert_eq!((rest.variant, rest.reason), (None, Reason::Default), "what is left goes to the code default");
}

#[test]
fn shares_that_do_not_fit_say_why() {
    let snapshot = compiled(FLAGS);
    let refused = |key: &str, given: &[(&str, &str)]| {
        split(&snapshot.rules.flags[snapshot.rules.flag_ids[key].0 as usize], given).unwrap_err()
    };
    assert_eq!(refused("cohorts", &[("nobody", "1%")]), SplitError::NotInSplit("nobody".into()));
    assert_eq!(refused("cohorts", &[("modern", "1%"), ("modern", "2%")]), SplitError::Repeated("modern".into()));
    assert_eq!(refused("cohorts", &[("modern", "60%"), ("third", "40.001%")]), SplitError::TooMuch);
    let all = [("modern", "10%"), ("third", "10%"), ("legacy", "10%")];
    assert_eq!(refused("cohorts", &all), SplitError::TooLittle);
    assert_eq!(refused("plain", &[("legacy", "10%")]), SplitError::TooLittle);
    assert_eq!(refused("cohorts", &[]), SplitError::Nothing);
    assert_eq!(refused("twice", &[("modern", "10%")]), SplitError::SeveralSplits(2));
    assert_eq!(refused("ramp", &[("modern", "10%")]), SplitError::Computed);
}

#[test]
fn cohorts_keep_their_variant_under_shares() {
    let snapshot = shares("cohorts", &[("modern", "100%")]);
    let cohort = outcome(&snapshot, "/cohorts", &[("x-tenant", "acme"), ("x-user", "ada")]);
    assert_eq!((cohort.variant, cohort.overridden), (Some("third"), None));
    let user = outcome(&snapshot, "/cohorts", &[("x-user", "ada")]);
    assert_eq!((user.variant, user.overridden), (Some("modern"), Some(OverrideKind::Split)));
}

proptest! {
    /// An override by shares decides as the file would with the same weights, and only ever adds users when it grows.
    #[test]
    fn shares_are_sticky_and_monotone(low in 0_u32..=100_000, more in 0_u32..=100_000, users in any::<u32>()) {
        let high = (low + more).min(100_000);
        let percent = |share: u32| format!("{}.{:03}", share / 1000, share % 1000);
        let before = compiled(FLAGS);
        let (lower, higher) = (shares("cohorts", &[("modern", &percent(low))]), shares("cohorts", &[("modern", &percent(high))]));
        for user in 0..50 {
            let user = format!("{users}-{user}");
            let modern = |snapshot| outcome(snapshot, "/cohorts", &[("x-user", &user)]).variant == Some("modern");
            prop_assert!(!modern(&lower) || modern(&higher), "{user} was taken back");
            if low >= 10_000 {
                prop_assert!(!modern(&before) || modern(&lower), "{user} was taken back from the file's share");
            }
        }
    }

    #[test]
    fn an_override_decides_as_an_edit_of_the_file_would(share in 0_u32..=100, users in any::<u32>()) {
        let edited = {
            let left = 100 - share;
            // 30 and 60 of what is left, the larger remainder first.
            let third = (left * 30).div_euclid(90) + u32::from((left * 30) % 90 > (left * 60) % 90);
            FLAGS.replace(
                "[[modern, 10], [third, 30], [legacy, 60]]",
                &format!("[[modern, {share}], [third, {third}], [legacy, {}]]", left - third),
            )
        };
        let (edited, live) = (compiled(&edited), shares("cohorts", &[("modern", &format!("{share}%"))]));
        for user in 0..50 {
            let user = format!("{users}-{user}");
            let ask = |snapshot| outcome(snapshot, "/cohorts", &[("x-user", &user)]).variant.map(str::to_owned);
            prop_assert_eq!(ask(&live), ask(&edited), "{}", user);
        }
    }
}
