//! Owns what the verbs that edit flag files share: read, edit, cross-check, show who moves, write.

mod glass;
mod outcome;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::options::{HASHINGS, one_of};
use super::{SettingOptions, now_unix_s, settle};
use crate::compile::{self, Outcome};
use crate::config::{
    self, Diagnostic, EditLock, Edited, FileSet, FlagEditor, Node, Replacement, Report, did_you_mean, unknown_flag,
};
use crate::flag::{Flag, Hashing, Sample};
use crate::settings::Settings;
use crate::snapshot::{Rules, Snapshot};

use outcome::FlagMoves;

pub(in crate::cli) use outcome::Shown;

/// The generation that stands for the files as they are.
const PRESENT: u64 = 1;
/// How many targeting keys are asked about one flag.
const KEYS_MAX: u32 = 100_000;
/// How many are asked at least, and how many in all, when a verb changes many flags.
const KEYS_MIN: u32 = 100;
const KEYS_ALL_MAX: u32 = 2_000_000;

/// The arguments that all editing verbs have.
#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// Why: for the history of a router, or printed for the commit message. A file keeps its own comments.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Show the difference and who would move, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The directory of flag files [default: flags].
    #[arg(long, env = "BANYAN_FLAGS", value_name = "DIR")]
    flags: Option<PathBuf>,
    /// The directory of route files, which must fit the flags [default: routes].
    #[arg(long, env = "BANYAN_ROUTES", value_name = "DIR")]
    routes: Option<PathBuf>,
    /// How `fractional` hashes; as the router that serves these files [default: v3].
    #[arg(long, env = "BANYAN_HASHING", value_name = "GENERATION", value_parser = one_of(HASHINGS))]
    hashing: Option<Hashing>,
    /// A settings file, for any of these.
    #[arg(long, env = "BANYAN_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// The files before the edit.
pub(super) struct Files {
    /// The documents of the flag files.
    pub(super) documents: Vec<Node>,
    /// What they compile to.
    pub(super) snapshot: Snapshot,
    flags: FileSet,
    pub(super) routes: FileSet,
    known: Report,
    options: compile::Options,
}

/// What a verb wants.
#[derive(Default)]
pub(super) struct Plan {
    /// The files that change.
    pub(super) edits: Vec<Edited>,
    /// What all of the sampled users have.
    pub(super) attributes: Vec<(String, String)>,
}

/// Says what is wrong with a verb's wish.
pub(super) type Refused = Box<Diagnostic>;

/// Runs an editing verb without printing: `plan` turns the files into edits, everything else is the same for all.
///
/// `state` is the router's state directory, where it is given.
pub(super) fn attempt(
    args: &EditArgs,
    state: Option<&Path>,
    verb: &'static str,
    plan: impl FnOnce(&Files) -> Result<Plan, Refused>,
) -> Shown {
    let mut shown = Shown::new(verb, args.reason.clone(), args.dry_run);
    shown.state = state.map(Path::to_owned);
    shown.report = match edit(args, plan, &mut shown) {
        Ok(()) => std::mem::take(&mut shown.report),
        Err(report) => report,
    };
    shown
}

fn edit(args: &EditArgs, plan: impl FnOnce(&Files) -> Result<Plan, Refused>, shown: &mut Shown) -> Result<(), Report> {
    let settings = args.settings(shown.state.clone())?;
    shown.state = Some(settings.state.clone());
    // From the first look at the files to the last exchange, so that two edits follow each other.
    let _lock = if args.dry_run { None } else { Some(EditLock::take(&settings.flags)?) };
    let files = Files::read(&settings)?;
    let Plan { edits, attributes } = plan(&files)?;
    let after = files.check(&edits, shown)?;
    shown.moves = files.moves(&after, &attributes);
    for flag in files.still_disabled(&after, &shown.moves) {
        let message = format!("the flag `{flag}` is disabled, so nobody gets its variants");
        let found = Diagnostic::new(config::Severity::Note, "disabled", None, message);
        shown.report.push(found.help(format!("`banyan revive {flag}` enables it")));
    }
    shown.attributes = attributes;
    for edited in &edits {
        shown.files.push((edited.before.path.clone(), edited.diff()));
    }
    if args.dry_run {
        return Ok(());
    }
    write(&edits, shown)
}

impl EditArgs {
    /// The settings as given; `state` is the router's state directory, where it is given.
    pub(super) fn settings(&self, state: Option<PathBuf>) -> Result<Settings, Report> {
        let options = SettingOptions {
            flags: self.flags.clone(),
            routes: self.routes.clone(),
            settings: self.settings.clone(),
            hashing: self.hashing,
            state,
            ..SettingOptions::default()
        };
        settle(&options, std::iter::empty())
    }
}

/// Writes all new files before the first one takes effect.
fn write(edits: &[Edited], shown: &mut Shown) -> Result<(), Report> {
    let replacements: Result<Vec<_>, _> = edits.iter().map(Replacement::write).collect();
    for (replacement, edited) in replacements?.into_iter().zip(edits) {
        let durable = replacement.commit()?;
        shown.written.push(edited.before.path.clone());
        if let Err(why) = durable {
            let message =
                format!("`{}` is written, but may not survive a power loss: {why}", edited.before.path.display());
            shown.report.push(Diagnostic::new(config::Severity::Warning, "not-durable", None, message));
        }
    }
    Ok(())
}

impl Files {
    /// Reads the files, which must be ones that a router publishes: an edit of others would have no effect.
    fn read(settings: &Settings) -> Result<Self, Report> {
        let options = compile::Options {
            hashing: settings.hashing,
            listeners: Vec::new(),
            now_unix_s: now_unix_s(),
            ..compile::Options::default()
        };
        let sets = (FileSet::read(&settings.flags), FileSet::read(&settings.routes));
        Self::compiled(sets.0, sets.1, options).map_err(|mut report| {
            let message = "the files are refused as they are, so no router would take up an edit of them";
            let found = Diagnostic::new(config::Severity::Error, "refused-before", None, message);
            report.push(found.help("mend them first; a router that runs keeps its last good generation until then"));
            report
        })
    }

    /// Compiles a set.
    pub(super) fn compiled(flags: FileSet, routes: FileSet, options: compile::Options) -> Result<Self, Report> {
        let Outcome { report, draft, .. } = compile::compile(&flags, &routes, &options, None);
        let Some(draft) = draft else { return Err(report) };
        let documents = flags.files.iter().filter_map(|file| config::parse(file, &mut Report::default())).collect();
        Ok(Self { documents, snapshot: draft.into_snapshot(PRESENT), flags, routes, known: report, options })
    }

    /// The set with edits, which are not written.
    pub(super) fn with(self, edits: &[Edited]) -> Result<Self, Report> {
        let changed: Vec<_> = edits.iter().map(|edited| Arc::clone(&edited.after)).collect();
        Self::compiled(self.flags.with(&changed), self.routes, self.options)
    }

    /// Finds a flag and the document that it stands in.
    pub(super) fn flag(&self, key: &str) -> Result<(&Flag, &Node), Refused> {
        let rules = &self.snapshot.rules;
        let flag = rules.flag_ids.get(key).and_then(|id| rules.flags.get(id.0 as usize));
        let holds = |document: &&Node| document.key("flags").is_some_and(|flags| flags.key(key).is_some());
        let document = self.documents.iter().find(holds);
        let unknown = || unknown_flag(key, rules.flags.iter().map(|flag| &*flag.key));
        flag.zip(document).ok_or_else(unknown)
    }

    /// Compiles the set as it would be; what was not found before is shown.
    fn check(&self, edits: &[Edited], shown: &mut Shown) -> Result<Snapshot, Report> {
        let changed: Vec<_> = edits.iter().map(|edited| Arc::clone(&edited.after)).collect();
        let flags = self.flags.with(&changed);
        let Outcome { mut report, draft, .. } =
            compile::compile(&flags, &self.routes, &self.options, Some(&self.snapshot));
        let known: HashSet<_> = self.known.diagnostics.iter().map(|found| (found.code, &found.message)).collect();
        report.diagnostics.retain(|found| !known.contains(&(found.code, &found.message)));
        let Some(draft) = draft else { return Err(report) };
        shown.report = report;
        Ok(draft.into_snapshot(PRESENT + 1))
    }

    /// The flags that changed and yet give nobody a variant, because they are disabled and were before.
    fn still_disabled<'m>(&self, after: &Snapshot, changed: &'m [FlagMoves]) -> Vec<&'m str> {
        let disabled = |rules: &Rules, key: &str| {
            let flag = rules.flag_ids.get(key).and_then(|id| rules.flags.get(id.0 as usize));
            flag.is_some_and(|flag| !flag.enabled)
        };
        let keys = changed.iter().map(|changed| &*changed.flag);
        keys.filter(|key| disabled(&self.snapshot.rules, key) && disabled(&after.rules, key)).collect()
    }

    /// Who moves, for every flag that changes.
    fn moves(&self, after: &Snapshot, attributes: &[(String, String)]) -> Vec<FlagMoves> {
        // By what is compiled, not by what was asked for: what an edit reached is what counts.
        let pairs = self.snapshot.rules.flags.iter().filter_map(|before| {
            let id = after.rules.flag_ids.get(&before.key)?;
            let after = after.rules.flags.get(id.0 as usize)?;
            let same = before.enabled == after.enabled && before.rule_json() == after.rule_json();
            (!same).then_some((before, after))
        });
        let pairs: Vec<_> = pairs.collect();
        let attributes: Vec<_> = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let one = attributes.iter().any(|(name, _)| *name == "targetingKey");
        let each = KEYS_ALL_MAX / u32::try_from(pairs.len()).unwrap_or(u32::MAX).max(1);
        let sample = Sample {
            keys: if one { 1 } else { each.clamp(KEYS_MIN, KEYS_MAX) },
            attributes: &attributes,
            hashing: self.options.hashing,
            now_unix_s: self.options.now_unix_s,
        };
        pairs
            .into_iter()
            .map(|(before, after)| FlagMoves {
                flag: before.key.clone(),
                sampled: sample.keys,
                moves: sample.moves(before, after),
            })
            .collect()
    }
}

/// Edits one document; gives its file if something changed.
pub(super) fn edit_document(
    document: &Node,
    change: impl FnOnce(&mut FlagEditor<'_>) -> Result<(), Refused>,
) -> Result<Vec<Edited>, Refused> {
    let mut editor = FlagEditor::new(document);
    change(&mut editor)?;
    Ok(editor.finish()?.into_iter().collect())
}

/// Finds a variant of a flag.
pub(super) fn known_variant(flag: &Flag, name: &str) -> Result<(), Refused> {
    if flag.variant(name).is_some() {
        return Ok(());
    }
    let mut found = error("unknown-variant", format!("the flag `{}` has no variant `{name}`", flag.key));
    found.help = did_you_mean(name, flag.variants.iter().map(|variant| &*variant.name));
    Err(found)
}

/// An error without a place.
pub(super) fn error(code: &'static str, message: impl Into<String>) -> Refused {
    Box::new(Diagnostic::new(config::Severity::Error, code, None, message))
}
