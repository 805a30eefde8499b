//! Owns what a route's variants lead to: plain, split and migration routes become legs.

use super::routes::Names;
use crate::config::{Diagnostic, Place, Report, RouteDoc, Severity, TargetDoc, Text, VariantDoc, did_you_mean};
use crate::flag::Flag;
use crate::snapshot::{Choice, Leg, LegId, LegLabels, Overflow};
use crate::upstream::UpstreamId;

/// What the leg of a fallback is called in metrics and logs.
const FALLBACK: &str = "fallback";

/// A stage of a migration (design section 4).
struct Stage {
    name: &'static str,
    modern: bool,
    copies: bool,
    compares: bool,
}

/// The stages in the order of a migration.
const STAGES: [Stage; 6] = [
    Stage { name: "off", modern: false, copies: false, compares: false },
    Stage { name: "dualwrite", modern: false, copies: true, compares: false },
    Stage { name: "shadow", modern: false, copies: true, compares: true },
    Stage { name: "live", modern: true, copies: true, compares: true },
    Stage { name: "rampdown", modern: true, copies: true, compares: false },
    Stage { name: "complete", modern: true, copies: false, compares: false },
];

fn stage(name: &str) -> Option<&'static Stage> {
    STAGES.iter().find(|stage| stage.name == name)
}

/// Whether a variant of this name is a stage of a migration.
pub fn is_stage(name: &str) -> bool {
    stage(name).is_some()
}

/// Numbers the legs of all routes.
pub(super) struct LegBook<'a> {
    names: &'a Names<'a>,
    labels: Vec<LegLabels>,
}

impl<'a> LegBook<'a> {
    pub(super) fn new(names: &'a Names<'a>) -> Self {
        Self { names, labels: Vec::new() }
    }

    pub(super) fn into_labels(self) -> Vec<LegLabels> {
        self.labels
    }

    fn leg(
        &mut self,
        route: &RouteDoc,
        variant: Option<&str>,
        upstream: UpstreamId,
        copy_to: Option<UpstreamId>,
    ) -> Leg {
        let id = LegId(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        self.labels.push(LegLabels {
            route: route.name.text.clone(),
            flag: route.flag.as_ref().map(|flag| flag.text.clone()),
            variant: variant.map(Into::into),
            upstream: self.names.upstream_name(upstream).into(),
        });
        Leg { id, upstream, copy_to }
    }
}

/// Compiles how a route chooses; `None` after a report.
pub(super) fn compile(doc: &RouteDoc, book: &mut LegBook<'_>, report: &mut Report) -> Option<Choice> {
    match doc.target.as_ref()? {
        TargetDoc::Upstream(name) => plain(doc, name, book, report),
        TargetDoc::Variants(place, variants) => split(doc, place, variants, book, report),
        TargetDoc::Migration { place, legacy, modern } => migration(doc, place, [legacy, modern], book, report),
    }
}

fn plain(doc: &RouteDoc, name: &Text, book: &mut LegBook<'_>, report: &mut Report) -> Option<Choice> {
    if let Some(extra) = doc.flag.as_ref().or(doc.fallback.as_ref()) {
        let message = format!("the route `{}` has one upstream, so it chooses by no flag", doc.name.text);
        let found = Diagnostic::error("flag-without-choice", &extra.place, message);
        report.push(found.also(&name.place, "its upstream").help("use `variants` or `migration` to choose by a flag"));
        return None;
    }
    if let Some(extra) = &doc.overflow {
        let message = format!("the route `{}` has one upstream, so there is none to overflow to", doc.name.text);
        let found = Diagnostic::error("bad-overflow", &extra.place, message);
        report.push(found.also(&name.place, "its upstream").help("remove `overflow`"));
        return None;
    }
    let upstream = book.names.upstream(name, report)?;
    Some(Choice::Always(book.leg(doc, None, upstream, None)))
}

/// The flag that a choosing route must have.
fn flag_of<'a>(
    doc: &RouteDoc,
    place: &Place,
    names: &'a Names<'_>,
    report: &mut Report,
) -> Option<(crate::flag::FlagId, &'a Flag)> {
    let Some(name) = &doc.flag else {
        let found = Diagnostic::error("missing-key", place, format!("the route `{}` names no flag", doc.name.text));
        report.push(found.help("add `flag: NAME`; the flag's variant decides who serves"));
        return None;
    };
    names.flag(name, report)
}

fn split(
    doc: &RouteDoc,
    place: &Place,
    variants: &[(Text, VariantDoc)],
    book: &mut LegBook<'_>,
    report: &mut Report,
) -> Option<Choice> {
    let names = book.names;
    let before = report.diagnostics.len();
    let flag = flag_of(doc, place, names, report);
    let served: Vec<_> = variants.iter().map(|(name, to)| (name, names.upstream(&to.serve, report))).collect();
    let copied: Vec<_> = variants.iter().map(|(_, to)| copy_target(to, names, report)).collect();
    for other in variants.iter().filter_map(|(_, to)| to.compare_reads.as_ref()) {
        names.upstream(other, report);
    }
    let fallback = split_fallback(doc, place, variants, names, report);
    let overflow = overflow(doc, Overflow::All, report);
    if let Some((_, flag)) = flag {
        unknown_variants(doc, variants.iter().map(|(name, _)| name), flag, names, report);
        unmapped_variants(doc, place, variants, flag, names, report);
    }
    let compares = variants.iter().filter(|(_, to)| to.compare_reads.is_some()).map(|(name, _)| &*name.text);
    not_in_force(doc, place, compares.collect(), report);
    let refused = report.diagnostics[before..].iter().any(|found| found.severity == Severity::Error);
    let ((id, flag), fallback) = (flag?, fallback?);
    if refused {
        return None;
    }
    useless_overflow(doc, served.iter().filter_map(|(_, upstream)| *upstream), fallback, names, report);
    let legs = flag.variants.iter().map(|variant| {
        let at = served.iter().position(|(name, _)| *name.text == *variant.name)?;
        Some(book.leg(doc, Some(&variant.name), served[at].1?, copied[at]))
    });
    let legs = legs.collect();
    Some(Choice::ByFlag { flag: id, legs, fallback: book.leg(doc, Some(FALLBACK), fallback, None), overflow })
}

/// Who gets copies of the writes of a variant; sending them to the same upstream again would be a mistake.
fn copy_target(to: &VariantDoc, names: &Names<'_>, report: &mut Report) -> Option<UpstreamId> {
    let name = to.copy_writes.as_ref()?;
    if name.text == to.serve.text {
        let found = Diagnostic::error("same-sides", &name.place, "writes are copied to the upstream that serves them");
        report.push(found.also(&to.serve.place, "it serves").help("name the other system, or leave it out"));
        return None;
    }
    names.upstream(name, report)
}

fn split_fallback(
    doc: &RouteDoc,
    place: &Place,
    variants: &[(Text, VariantDoc)],
    names: &Names<'_>,
    report: &mut Report,
) -> Option<UpstreamId> {
    let Some(fallback) = &doc.fallback else {
        let found = Diagnostic::error("no-fallback", place, format!("the route `{}` has no fallback", doc.name.text));
        report.push(found.help("add `fallback: UPSTREAM`; it serves when the flag is disabled, killed or in error"));
        return None;
    };
    if !names.is_upstream(&fallback.text)
        && let Some((_, to)) = variants.iter().find(|(name, _)| name.text == fallback.text)
    {
        let message = format!("the fallback `{}` is a variant, not an upstream", fallback.text);
        let found = Diagnostic::error("unknown-upstream", &fallback.place, message);
        report.push(found.help(format!("write `fallback: {}`", to.serve.text)));
        return None;
    }
    names.upstream(fallback, report)
}

/// What overflows where the route wants it; `kind` is what may on a route of this form.
fn overflow(doc: &RouteDoc, kind: Overflow, report: &mut Report) -> Overflow {
    match doc.overflow.as_ref().map(|text| (&*text.text, text)) {
        None => Overflow::Never,
        Some((FALLBACK, _)) => kind,
        Some((other, text)) => {
            let message = format!("`overflow` cannot be `{other}`");
            let help = "write `overflow: fallback`: what serves when the flag fails also serves what is too much";
            report.push(Diagnostic::error("bad-overflow", &text.place, message).help(help));
            Overflow::Never
        }
    }
}

/// Warns of an overflow that can never happen.
fn useless_overflow(
    doc: &RouteDoc,
    mut served: impl Iterator<Item = UpstreamId>,
    fallback: UpstreamId,
    names: &Names<'_>,
    report: &mut Report,
) {
    let Some(text) = &doc.overflow else { return };
    if !served.any(|upstream| upstream != fallback && names.may_be_full(upstream)) {
        let message = format!("no upstream of the route `{}` ever takes no more, so nothing overflows", doc.name.text);
        let found = Diagnostic::warning("useless-overflow", &text.place, message);
        report.push(found.help("give the upstream `requests_max`, or `all_unhealthy: refuse` with `health`"));
    }
}

fn unknown_variants<'t>(
    doc: &RouteDoc,
    written: impl Iterator<Item = &'t Text>,
    flag: &Flag,
    names: &Names<'_>,
    report: &mut Report,
) {
    for name in written.filter(|name| flag.variants.iter().all(|variant| variant.name != name.text)) {
        let message = format!("the flag `{}` of route `{}` has no variant `{}`", flag.key, doc.name.text, name.text);
        let mut found = Diagnostic::error("unknown-variant", &name.place, message);
        if let Some(place) = names.flag_place(&flag.key) {
            found = found.also(place, "the flag is defined here");
        }
        found.help = did_you_mean(&name.text, flag.variants.iter().map(|variant| &*variant.name));
        report.push(found);
    }
}

fn unmapped_variants(
    doc: &RouteDoc,
    place: &Place,
    variants: &[(Text, VariantDoc)],
    flag: &Flag,
    names: &Names<'_>,
    report: &mut Report,
) {
    let unmapped = |name: &str| variants.iter().all(|(written, _)| *written.text != *name);
    let missing: Vec<_> = flag.variants.iter().map(|variant| &*variant.name).filter(|name| unmapped(name)).collect();
    if missing.is_empty() {
        return;
    }
    let listed = missing.join("`, `");
    let message = format!("the route `{}` says no upstream for the variant `{listed}`", doc.name.text);
    let mut found = Diagnostic::error("unmapped-variant", place, message);
    if let Some(place) = names.flag_place(&flag.key) {
        found = found.also(place, "the flag is defined here");
    }
    report.push(found.help(format!("add `{}: UPSTREAM`, or remove the variant from the flag", missing[0])));
}

fn migration(
    doc: &RouteDoc,
    place: &Place,
    sides: [&Text; 2],
    book: &mut LegBook<'_>,
    report: &mut Report,
) -> Option<Choice> {
    let names = book.names;
    let flag = flag_of(doc, place, names, report);
    let [legacy, modern] = sides.map(|name| names.upstream(name, report));
    if sides[0].text == sides[1].text {
        let found = Diagnostic::error("same-sides", &sides[1].place, "legacy and modern are the same upstream");
        report.push(found.also(&sides[0].place, "legacy").help("name the two systems of the migration"));
    }
    let fallback = migration_fallback(doc, report)?;
    let overflow = overflow(doc, Overflow::Reads, report);
    let (id, flag) = flag?;
    if !only_stages(doc, flag, names, report) {
        return None;
    }
    let stages = flag.variants.iter().filter_map(|variant| stage(&variant.name));
    let comparing = stages.clone().filter(|stage| stage.compares).map(|stage| stage.name).collect();
    not_in_force(doc, place, comparing, report);
    let (legacy, modern) = (legacy?, modern?);
    useless_overflow(doc, [modern].into_iter(), legacy, names, report);
    let sides = |stage: &Stage| {
        let (serves, other) = if stage.modern { (modern, legacy) } else { (legacy, modern) };
        (serves, stage.copies.then_some(other))
    };
    let mut leg = |name, stage| {
        let (serves, copy_to) = sides(stage);
        book.leg(doc, Some(name), serves, copy_to)
    };
    let legs = stages.map(|stage| Some(leg(stage.name, stage))).collect();
    Some(Choice::ByFlag { flag: id, legs, fallback: leg(FALLBACK, fallback), overflow })
}

/// The stage that serves when the flag fails; legacy serves in both that are allowed.
fn migration_fallback(doc: &RouteDoc, report: &mut Report) -> Option<&'static Stage> {
    let Some(written) = &doc.fallback else {
        return Some(&STAGES[0]);
    };
    let found = stage(&written.text).filter(|stage| matches!(stage.name, "off" | "dualwrite"));
    if found.is_none() {
        let message = format!("the fallback of a migration route cannot be `{}`", written.text);
        let help = "write `fallback: dualwrite`, which keeps modern in step, or leave it out: `off` serves from legacy";
        report.push(Diagnostic::error("bad-fallback", &written.place, message).help(help));
    }
    found
}

fn only_stages(doc: &RouteDoc, flag: &Flag, names: &Names<'_>, report: &mut Report) -> bool {
    let others: Vec<_> = flag.variants.iter().map(|v| &*v.name).filter(|name| stage(name).is_none()).collect();
    if others.is_empty() {
        return true;
    }
    let listed = others.join("`, `");
    let message = format!(
        "the flag `{}` of migration route `{}` has variants that are no stages: `{listed}`",
        flag.key, doc.name.text
    );
    let place = doc.flag.as_ref().map_or(&doc.name.place, |flag| &flag.place);
    let mut found = Diagnostic::error("not-a-stage", place, message);
    if let Some(place) = names.flag_place(&flag.key) {
        found = found.also(place, "the flag is defined here");
    }
    let stages = STAGES.map(|stage| stage.name).join(", ");
    let near = did_you_mean(others[0], STAGES.iter().map(|stage| stage.name)).filter(|help| help.starts_with("did"));
    let near = near.map(|help| format!("{help} ")).unwrap_or_default();
    report.push(found.help(format!("{near}the stages are {stages}; `variants` routes may have any names")));
    false
}

/// Says once a route what of its behaviour this version does not do.
fn not_in_force(doc: &RouteDoc, place: &Place, comparing: Vec<&str>, report: &mut Report) {
    if comparing.is_empty() {
        return;
    }
    let listed = comparing.join("`, `");
    let message = format!("route `{}`: not in force in this version: comparing reads (`{listed}`)", doc.name.text);
    let help = "a variant decides who serves and where writes are copied; reads are not compared yet";
    report.push(Diagnostic::note("not-in-force", place, message).help(help));
}
