//! Holds what stands behind the program: minimum versions, refused packages, and a reason for each dependency.

use super::source::{none, read, report};

/// The oldest versions without a known hole. The advisory database needs the network; this list does not.
const MINIMUM: &[(&str, [u64; 3], &str)] = &[
    ("bytes", [1, 11, 1], "RUSTSEC-2026-0007"),
    ("h2", [0, 4, 20], "RUSTSEC-2026-0258 and different duplicate content-lengths"),
    ("hyper", [1, 12, 0], "request framing"),
    ("rustls", [0, 23, 46], "RUSTSEC-2024-0399 and later"),
    ("rustls-webpki", [0, 103, 13], "RUSTSEC-2026-0049, -0098, -0099, -0104"),
    ("tokio", [1, 44, 2], "RUSTSEC-2025-0023"),
];

/// What may not come in, not even through another package.
const REFUSED: &[(&str, &str)] = &[
    ("native-tls", "rustls is the one TLS library"),
    ("openssl", "rustls is the one TLS library"),
    ("rustls-pemfile", "unmaintained"),
    ("serde_yaml", "archived; takes duplicate keys"),
    ("serde_yml", "unsound"),
];

/// The packages of Cargo.lock with their versions.
fn locked() -> Vec<(String, [u64; 3])> {
    let lock = read("Cargo.lock");
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.expect("a package has a name and a version").trim_matches('"').to_owned()
        };
        (field("name"), version(&field("version")))
    });
    packages.collect()
}

fn version(text: &str) -> [u64; 3] {
    let mut numbers = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// The names under the sections of Cargo.toml that end with `dependencies]`.
fn declared(manifest: &str) -> Vec<String> {
    let (mut inside, mut names) = (false, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ' '])) {
            // A renamed package goes by its own name.
            let package = value.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            names.push(package.unwrap_or(name.trim()).to_owned());
        }
    }
    names
}

#[test]
fn locked_versions_have_no_known_hole() {
    let locked = locked();
    assert!(locked.len() > 50, "Cargo.lock was not read");
    let mut found = Vec::new();
    for (name, minimum, why) in MINIMUM {
        let old = locked.iter().filter(|(package, version)| package == name && version < minimum);
        found.extend(old.map(|(_, version)| format!("{name} {version:?} is below {minimum:?}: {why}")));
    }
    for (name, why) in REFUSED {
        let present = locked.iter().filter(|(package, _)| package == name);
        found.extend(present.map(|_| format!("{name} is refused: {why}")));
    }
    report(&format!("{} locked packages, {} minimum versions held", locked.len(), MINIMUM.len()));
    none("Cargo.lock", &found);
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let page = read("docs/dependencies.md");
    let names = declared(&read("Cargo.toml"));
    assert!(names.len() > 10, "Cargo.toml was not read");
    let silent = |name: &String| !page.lines().any(|line| line.contains(&format!("`{name}`")));
    let found: Vec<_> = names.into_iter().filter(silent).collect();
    none("dependencies without a line in docs/dependencies.md", &found);
}

#[test]
fn versions_and_manifests_are_read() {
    assert!(
        version("0.4.9") < version("0.4.20") && version("1.12.0-rc.1") == [1, 12, 0] && version("2.1") == [2, 1, 0]
    );
    let names = declared(
        "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\n# b = 1\nc = { package = \"d\" }\n[lints]\ne = 1",
    );
    assert_eq!(names, ["a", "d"]);
}
