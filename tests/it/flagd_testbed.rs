//! flagd's own test bed as the judge: its features and flag files, read where cargo put the crate that carries them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banyan::compile::FlagSet;
use banyan::flag::{ErrorCode, Evaluation, Flag, Hashing, Reason};
use gherkin::{Examples, Feature, GherkinEnv, Step};
use serde_json::{Value as Json, json};

use crate::flagd_support::{JsonContext, compile, messages};

/// The tags of a generation's own cases, and of what flagd itself no longer asks for.
const OTHERS_OF_V2: [&str; 3] = ["fractional-v1", "fractional-v3", "deprecated"];
const OTHERS_OF_V3: [&str; 3] = ["fractional-v1", "fractional-v2", "deprecated"];

#[test]
fn evaluator_kit_passes_in_generation_2() {
    let ran = run_kit(Hashing::V2, &OTHERS_OF_V2);
    assert!(ran >= KIT_CASES_MIN_V2, "only {ran} cases ran");
}

#[test]
fn evaluator_kit_passes_in_generation_3() {
    let ran = run_kit(Hashing::V3, &OTHERS_OF_V3);
    assert!(ran >= KIT_CASES_MIN_V3, "only {ran} cases ran");
}

#[test]
fn provider_features_pass_in_generation_2() {
    let ran = run_provider(Hashing::V2, &OTHERS_OF_V2);
    assert!(ran >= PROVIDER_CASES_MIN_V2, "only {ran} cases ran");
}

#[test]
fn provider_features_pass_in_generation_3() {
    let ran = run_provider(Hashing::V3, &OTHERS_OF_V3);
    assert!(ran >= PROVIDER_CASES_MIN_V3, "only {ran} cases ran");
}

/// How many cases test bed 3.0.1 has for us; fewer would mean that the runner skips some.
const KIT_CASES_MIN_V2: usize = 125;
const KIT_CASES_MIN_V3: usize = 104;
const PROVIDER_CASES_MIN_V2: usize = 132;
const PROVIDER_CASES_MIN_V3: usize = 243;

fn run_kit(hashing: Hashing, left_out: &[&str]) -> usize {
    let root = testbed().join("evaluator");
    let flags = root.join("flags/testkit-flags.json");
    let files = Files { all: vec![flags.clone()], by_name: BTreeMap::new() };
    let features = json_files(&root.join("gherkin"), "feature");
    run_features("evaluator kit", &features, &files, hashing, left_out)
}

fn run_provider(hashing: Hashing, left_out: &[&str]) -> usize {
    let root = testbed();
    let by_name: BTreeMap<String, PathBuf> =
        json_files(&root.join("flags"), "json").into_iter().map(|path| (file_name(&path), path)).collect();
    // What flagd's launcher does: one set of all files but the selector's.
    let all = by_name.values().filter(|path| !file_name(path).starts_with("selector-")).cloned().collect();
    let features: Vec<_> = ["targeting", "evaluation", "disabled", "metadata"]
        .iter()
        .map(|name| root.join("gherkin").join(format!("{name}.feature")))
        .collect();
    run_features("provider", &features, &Files { all, by_name }, hashing, left_out)
}

/// The root of the test bed.
pub(crate) fn testbed() -> PathBuf {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo metadata");
    let package =
        metadata.packages.iter().find(|package| package.name == "open-feature-flagd").expect("the dependency");
    package.manifest_path.parent().expect("a folder").join("flagd-testbed").into()
}

fn json_files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the test bed's folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// The flag files that a provider may be given.
struct Files {
    all: Vec<PathBuf>,
    by_name: BTreeMap<String, PathBuf>,
}

impl Files {
    fn load(&self, selector: Option<&str>) -> FlagSet {
        let paths = match selector {
            None | Some("flags/allFlags.json") => self.all.clone(),
            Some(other) => {
                let name = other.strip_prefix("rawflags/").expect("a selector of the test bed");
                vec![self.by_name[name].clone()]
            }
        };
        let texts: Vec<_> =
            paths.iter().map(|path| (file_name(path), std::fs::read_to_string(path).expect("a flag file"))).collect();
        let files: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (set, report) = compile(&files);
        // The test bed holds rules that we refuse at load on purpose; but no file may fail to be read or be read twice.
        let fatal = ["syntax", "duplicate-flag", "duplicate-evaluator", "wrong-type", "unknown-key", "bad-state"];
        assert!(!report.diagnostics.iter().any(|found| fatal.contains(&found.code)), "{:?}", messages(&report));
        set
    }
}

/// Runs all cases, prints how many, and fails with all that failed.
fn run_features(suite: &str, features: &[PathBuf], files: &Files, hashing: Hashing, left_out: &[&str]) -> usize {
    let mut failures = Vec::new();
    let mut ran_total = 0;
    for path in features {
        let (mut ran, mut skipped) = (0, 0);
        for case in cases(&read_feature(path)) {
            if case.tags.iter().any(|tag| left_out.contains(&tag.as_str())) {
                skipped += 1;
                continue;
            }
            ran += 1;
            if let Err(failure) = World::new(files, hashing).run(&case.steps) {
                failures.push(format!("{}: {}: {failure}", file_name(path), case.name));
            }
        }
        println!("{suite}, {hashing:?}: {}: {ran} cases ran, {skipped} left out", file_name(path));
        assert!(ran > 0, "no case of {} ran", path.display());
        ran_total += ran;
    }
    assert!(failures.is_empty(), "{} of {ran_total} failed:\n{}", failures.len(), failures.join("\n"));
    ran_total
}

fn read_feature(path: &Path) -> Feature {
    let text = std::fs::read_to_string(path).expect("a feature");
    // In a cell `\u` and `\"` are no escapes of Gherkin's; this parser wants to be told.
    let text = text.replace("\\u", "\\\\u").replace("\\\"", "\\\\\"");
    Feature::parse(text, GherkinEnv::default()).expect("a valid feature")
}

/// A scenario with one row of its examples filled in.
struct Case {
    name: String,
    tags: Vec<String>,
    steps: Vec<Step>,
}

fn cases(feature: &Feature) -> Vec<Case> {
    assert!(feature.rules.is_empty(), "rules are not expected");
    let background: Vec<Step> = feature.background.iter().flat_map(|background| background.steps.clone()).collect();
    let mut cases = Vec::new();
    for scenario in &feature.scenarios {
        let steps: Vec<Step> = background.iter().chain(&scenario.steps).cloned().collect();
        let tags: Vec<String> = feature.tags.iter().chain(&scenario.tags).cloned().collect();
        if scenario.examples.is_empty() {
            cases.push(Case { name: scenario.name.clone(), tags: tags.clone(), steps: steps.clone() });
        }
        for examples in &scenario.examples {
            for row in rows(examples) {
                cases.push(Case {
                    name: format!("{} {row:?}", scenario.name),
                    tags: tags.iter().chain(&examples.tags).cloned().collect(),
                    steps: steps.iter().map(|step| fill(step, &row)).collect(),
                });
            }
        }
    }
    cases
}

fn rows(examples: &Examples) -> Vec<Vec<(String, String)>> {
    let (head, rows) = examples.table.as_ref().expect("a table").rows.split_first().expect("a head");
    rows.iter().map(|row| head.iter().cloned().zip(row.iter().cloned()).collect()).collect()
}

fn fill(step: &Step, row: &[(String, String)]) -> Step {
    let mut step = step.clone();
    for (name, value) in row {
        step.value = step.value.replace(&format!("<{name}>"), value);
    }
    step
}

/// What one case builds up and looks at.
struct World<'f> {
    files: &'f Files,
    hashing: Hashing,
    selector: Option<String>,
    set: Option<FlagSet>,
    asked: Option<Asked>,
    context: JsonContext,
    answer: Option<Answer>,
}

/// A question for a flag's value, as an OpenFeature client asks it.
#[derive(Clone)]
struct Asked {
    kind: String,
    key: String,
    default: Json,
}

/// What an OpenFeature client gets.
struct Answer {
    value: Json,
    reason: Reason,
    error: Option<ErrorCode>,
    metadata: serde_json::Map<String, Json>,
}

type Outcome = Result<(), String>;

impl<'f> World<'f> {
    fn new(files: &'f Files, hashing: Hashing) -> Self {
        let context = JsonContext(json!({}));
        Self { files, hashing, selector: None, set: None, asked: None, context, answer: None }
    }

    fn run(mut self, steps: &[Step]) -> Outcome {
        steps.iter().try_for_each(|step| self.step(step).map_err(|why| format!("{}: {why}", step.value)))
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let text = step.value.as_str();
        let quoted = quoted(text);
        match template(text, &quoted).as_str() {
            "an option # of type # with value #" => match quoted[0].as_str() {
                "cache" => Ok(()),
                "selector" => {
                    self.selector = Some(quoted[2].clone());
                    Ok(())
                }
                other => Err(format!("unknown option {other}")),
            },
            "a stable flagd provider" | "a metadata flagd provider" | "an evaluator" => {
                self.set = Some(self.files.load(self.selector.as_deref()));
                Ok(())
            }
            "a context containing a key #, with type # and with value #" => {
                let value = typed(&quoted[1], &quoted[2])?;
                self.add(&quoted[0], value)
            }
            "a context containing a nested property with outer key # and inner key #, with value #" => {
                self.add(&quoted[0], json!({quoted[1].clone(): quoted[2]}))
            }
            "a context containing a targeting key with value #" => self.add("targetingKey", json!(quoted[0])),
            "the flag was evaluated with details" => self.evaluate(),
            "the resolved details value should be #" => self.check_value(&quoted[0]),
            "the reason should be #" => same(self.answer()?.reason.as_str(), &quoted[0]),
            "the error-code should be #" => same(self.answer()?.error.map_or("", ErrorCode::as_str), &quoted[0]),
            "the resolved metadata should contain" => self.check_metadata(step),
            "the resolved metadata is empty" => match self.answer()?.metadata.len() {
                0 => Ok(()),
                some => Err(format!("{some} entries")),
            },
            other => match other.split_once("-flag with key # and a ") {
                Some((kind, "default value #" | "fallback value #")) => self.ask(kind, &quoted),
                _ => Err("unknown step".to_owned()),
            },
        }
    }

    fn ask(&mut self, kind: &str, quoted: &[String]) -> Outcome {
        let kind = kind.strip_prefix("a ").ok_or("unknown step")?;
        let default = typed(kind, &quoted[1])?;
        self.asked = Some(Asked { kind: kind.to_owned(), key: quoted[0].clone(), default });
        Ok(())
    }

    fn add(&mut self, key: &str, value: Json) -> Outcome {
        let fields = self.context.0.as_object_mut().ok_or("no map")?;
        fields.insert(key.to_owned(), value);
        Ok(())
    }

    fn answer(&self) -> Result<&Answer, String> {
        self.answer.as_ref().ok_or_else(|| "nothing was evaluated".to_owned())
    }

    fn evaluate(&mut self) -> Outcome {
        let set = self.set.as_ref().ok_or("no provider")?;
        let asked = self.asked.clone().ok_or("nothing asked")?;
        let answer = match set.flags.iter().find(|flag| *flag.key == *asked.key) {
            Some(flag) => resolve(flag, &flag.evaluate(&self.context, self.hashing), asked),
            None => Answer {
                value: asked.default,
                reason: Reason::Error,
                error: Some(ErrorCode::FlagNotFound),
                metadata: serde_json::Map::new(),
            },
        };
        self.answer = Some(answer);
        Ok(())
    }

    fn check_value(&self, expected: &str) -> Outcome {
        let kind = &self.asked.as_ref().ok_or("nothing asked")?.kind;
        let expected = typed(kind, expected)?;
        let found = &self.answer()?.value;
        let equal = match (found.as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) => found.to_bits() == expected.to_bits(),
            _ => *found == expected,
        };
        if equal { Ok(()) } else { Err(format!("it is {found}")) }
    }

    fn check_metadata(&self, step: &Step) -> Outcome {
        let rows = &step.table().ok_or("no table")?.rows;
        same(&rows[0].join(" "), "key metadata_type value")?;
        for row in &rows[1..] {
            let expected = typed(&row[1], &row[2])?;
            if self.answer()?.metadata.get(&row[0]) != Some(&expected) {
                return Err(format!("{} is {:?}", row[0], self.answer()?.metadata.get(&row[0])));
            }
        }
        Ok(())
    }
}

/// Gives the variant's value if it has the type that was asked for.
fn resolve(flag: &Flag, evaluation: &Evaluation, asked: Asked) -> Answer {
    let value = evaluation.variant.map(|variant| flag.variants[usize::from(variant.0)].value.clone());
    let fits = value.as_ref().is_none_or(|value| match asked.kind.as_str() {
        "Boolean" => value.is_boolean(),
        "String" => value.is_string(),
        "Integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "Float" => value.is_number(),
        _ => value.is_object(),
    });
    let (reason, error) =
        if fits { (evaluation.reason, evaluation.error) } else { (Reason::Error, Some(ErrorCode::TypeMismatch)) };
    let value = value.filter(|_| fits).unwrap_or(asked.default);
    Answer { value, reason, error, metadata: flag.metadata.clone() }
}

/// Reads a value of one of the test bed's types.
fn typed(kind: &str, text: &str) -> Result<Json, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{text} is no {kind}: {error}");
    match kind {
        "Boolean" => text.parse().map(Json::Bool).map_err(|error: std::str::ParseBoolError| wrong(&error)),
        "String" => Ok(json!(text)),
        "Integer" => text.parse::<i64>().map(Json::from).map_err(|error| wrong(&error)),
        "Float" => text.parse::<f64>().map(Json::from).map_err(|error| wrong(&error)),
        "Object" => serde_json::from_str(&text.replace("\\\"", "\"")).map_err(|error| wrong(&error)),
        other => Err(format!("unknown type {other}")),
    }
}

/// The quoted parts of a step; the last one may hold quotes itself.
fn quoted(text: &str) -> Vec<String> {
    let count = text.matches('"').count();
    if count == 0 {
        return Vec::new();
    }
    // The marks that a step of this test bed has: `key "` and the like, each closed before the next word.
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let inner = &rest[start + 1..];
        let end = match inner.find("\" ").into_iter().chain(inner.find("\", ")).min() {
            Some(end) if !inner.starts_with(['{', '[']) => end,
            _ => inner.rfind('"').expect("a closing quote"),
        };
        parts.push(inner[..end].to_owned());
        rest = &inner[end + 1..];
    }
    parts
}

/// The step with `#` for each quoted part.
fn template(text: &str, quoted: &[String]) -> String {
    let mut template = String::new();
    let mut rest = text;
    for part in quoted {
        let mark = format!("\"{part}\"");
        let (before, after) = rest.split_once(&mark).expect("the part that was found");
        template.push_str(before);
        template.push('#');
        rest = after;
    }
    template + rest
}

fn same(found: &str, expected: &str) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("it is {found:?}")) }
}
