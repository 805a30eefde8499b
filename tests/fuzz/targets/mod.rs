//! The fuzz targets: each takes any bytes and asserts what must hold of them, not merely that nothing panics.
//!
//! `tests/it/fuzz.rs` runs them on the committed corpus and on random mutations of it; the crate in this folder runs
//! them under libFuzzer, guided by coverage (docs/security.md, Judges).

mod announcement;
mod files;
mod heads;
mod paths;
mod wire;

/// A target: a name, which is also the folder of its corpus, and what is run.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    ("request_head", heads::request),
    ("response_head", heads::response),
    ("route_matcher", paths::matcher),
    ("upstream_response", wire::response),
    ("upstream_chunks", wire::chunked),
    ("proxy_protocol", announcement::header),
    ("flag_files", files::flags),
    ("route_files", files::routes),
];

/// Runs one target.
///
/// # Panics
/// When something does not hold of the bytes, or there is no such target.
pub(crate) fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    target(data);
}
