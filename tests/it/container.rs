//! The image: built with buildah from the ready binary where that works, else read line by line. Says which it was.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const BANYAN: &str = env!("CARGO_BIN_EXE_banyan");

/// The image's user: a number, so that Kubernetes can see that it is not root.
const USER: &str = "65532:65532";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Writes past the test runner's capture: which of both checks ran is to be seen when all is well, too.
fn report(line: &str) {
    writeln!(std::io::stdout().lock(), "container: {line}").expect("stdout takes a line");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// buildah with storage of its own, which goes with the folder.
struct Buildah {
    folder: TempDir,
}

impl Buildah {
    /// `None`, with the reason, where this machine cannot build an image at all.
    fn on_this_machine() -> Result<Buildah, String> {
        let buildah = Buildah { folder: tempfile::tempdir().expect("a temporary folder") };
        let empty = buildah.folder.path().join("empty");
        std::fs::create_dir(&empty).expect("a folder");
        std::fs::write(empty.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").expect("a file");
        let tried = buildah.command("bud").args(["--isolation", "chroot"]).arg(&empty).output();
        match tried {
            Ok(output) if output.status.success() => Ok(buildah),
            Ok(output) => Err(text(&output).lines().last().unwrap_or("buildah failed").to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.folder.path().join("root"));
        command.arg("--runroot").arg(self.folder.path().join("run")).arg(verb);
        command
    }

    /// The output of a command that must succeed.
    fn run(&self, verb: &str, arguments: &[&str]) -> String {
        let output = self.command(verb).args(arguments).output().expect("buildah runs");
        assert!(output.status.success(), "buildah {verb} {arguments:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Lays the ready binary out as the build context of `runtime-local`.
fn context() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rootfs = folder.path().join("rootfs");
    let output = Command::new(root().join("docs/deploy/rootfs")).arg(BANYAN).arg(&rootfs).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    (folder, rootfs)
}

#[test]
fn the_image_builds_from_a_ready_binary_and_runs() {
    let (context, _) = context();
    let buildah = match Buildah::on_this_machine() {
        Ok(buildah) => buildah,
        Err(why) => return report(&format!("read line by line, not built: {why}")),
    };
    let dockerfile = root().join("Dockerfile");
    let (dockerfile, context) = (dockerfile.to_string_lossy(), context.path().to_string_lossy());
    let options = ["--isolation", "chroot", "--format", "docker", "--target", "runtime-local", "-t", "banyan"];
    buildah.run("bud", &[&options[..], &["-f", &dockerfile, &context]].concat());

    let config = buildah.run("inspect", &["--type", "image", "--format", "{{.Config}}", "banyan"]);
    let config: serde_json::Value = serde_json::from_str(&config).expect("the image's configuration is JSON");
    let config = &config["config"];
    assert_eq!(config["User"], USER);
    assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", "/usr/bin/banyan", "health"]));
    for volume in ["/etc/banyan/flags", "/etc/banyan/routes", "/var/lib/banyan"] {
        assert!(config["Volumes"].get(volume).is_some(), "{config}");
    }

    let container = buildah.run("from", &["banyan"]);
    let version = buildah.run("run", &["--isolation", "chroot", &container, "--", "/usr/bin/banyan", "--version"]);
    assert_eq!(version, format!("banyan {}", env!("CARGO_PKG_VERSION")));
    check_mounted_files(&buildah, &container);
    report("built with buildah from the ready binary, and run in it");
}

/// What is mounted can be read by the image's user, and its defaults look where its volumes are.
fn check_mounted_files(buildah: &Buildah, container: &str) {
    let volume = |name: &str| format!("{}:/mnt/{name}:ro", root().join(name).display());
    let (flags, routes) = (volume("flags"), volume("routes"));
    // Not at the volumes' places: buildah, unlike docker, puts its own empty ones over what is mounted there.
    let mounted = ["--isolation", "chroot", "-v", &flags, "-v", &routes, container, "--", "/usr/bin/banyan"];
    buildah.run("run", &[&mounted[..], &["check", "--flags", "/mnt/flags", "--routes", "/mnt/routes"]].concat());
    let empty = ["--isolation", "chroot", container, "--", "/usr/bin/banyan", "check"];
    let empty = buildah.command("run").args(empty).output().expect("buildah runs");
    assert!(!empty.status.success() && text(&empty).contains("/etc/banyan/flags"), "{}", text(&empty));
    // The container shares the machine's network here: port 1 is surely nobody's.
    let options = ["--isolation", "chroot", "--env", "BANYAN_ADMIN=127.0.0.1:1", container];
    let unwell = buildah.command("run").args(options).args(["--", "/usr/bin/banyan", "health"]).output();
    let unwell = unwell.expect("buildah runs");
    assert!(!unwell.status.success(), "health is well without a router");
    assert!(text(&unwell).contains("no answer from 127.0.0.1:1"), "{}", text(&unwell));
}

#[test]
fn the_layout_holds_the_binary_and_all_it_loads() {
    let (_context, rootfs) = context();
    assert!(rootfs.join("usr/bin/banyan").is_file() && rootfs.join("var/lib/banyan").is_dir());
    let loads = Command::new("ldd").arg(BANYAN).output().expect("ldd runs");
    let loads = String::from_utf8_lossy(&loads.stdout).into_owned();
    let libraries = loads.split_whitespace().filter(|word| word.starts_with('/'));
    for library in libraries {
        assert!(rootfs.join(&library[1..]).is_file(), "{library} is missing");
    }
    for forbidden in ["bin/sh", "usr/bin/sh"] {
        assert!(!rootfs.join(forbidden).exists(), "there is no shell in the image");
    }
}

/// The instructions of one stage and of the stages it is made from, continued lines joined.
fn stage(dockerfile: &str, name: &str) -> Vec<String> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut found, mut base, mut inside) = (Vec::new(), None, false);
    for line in lines {
        if let Some(from) = line.strip_prefix("FROM ") {
            let (image, alias) = from.split_once(" AS ").expect("every stage has a name");
            inside = alias == name;
            base = if inside { Some(image.to_owned()) } else { base };
        } else if inside {
            found.push(line.to_owned());
        }
    }
    let base = base.unwrap_or_else(|| panic!("there is no stage {name}"));
    let inherited = if base == "scratch" { Vec::new() } else { stage(dockerfile, &base) };
    inherited.into_iter().chain(found).collect()
}

#[test]
fn both_runtime_stages_are_minimal_and_not_root() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).expect("a Dockerfile");
    for name in ["runtime", "runtime-local"] {
        // `stage` follows the bases down to `scratch`: a registry's image would have no stage here.
        let lines = stage(&dockerfile, name);
        let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
        assert!(has(&format!("USER {USER}")) && has("HEALTHCHECK") && has("EXPOSE 8080"), "{name}: {lines:?}");
        assert!(
            has("ENTRYPOINT [\"/usr/bin/banyan\"]") && has("VOLUME [\"/etc/banyan/flags\", \"/etc/banyan/routes\"")
        );
        assert!(!has("RUN"), "{name} runs something in an image without a shell");
        let health = lines.iter().find(|line| line.starts_with("HEALTHCHECK")).expect("seen above");
        assert!(health.contains("CMD [\"/usr/bin/banyan\", \"health\"]"), "{health}");
    }
    let local = stage(&dockerfile, "runtime-local").join("\n");
    assert!(!local.contains("--from=build"), "the ready binary comes from the context");
}

/// The paths that the build stage copies from the tree.
fn copied(dockerfile: &str) -> Vec<String> {
    let sources = |line: &String| {
        let words: Vec<_> = line.strip_prefix("COPY ")?.split_whitespace().map(String::from).collect();
        Some(words[..words.len() - 1].to_vec())
    };
    build_stage(dockerfile).iter().filter_map(sources).flatten().collect()
}

fn build_stage(dockerfile: &str) -> Vec<String> {
    let from = dockerfile.split("\nFROM ").find(|stage| stage.starts_with("rust:")).expect("a build stage");
    from.replace("\\\n", " ").lines().map(|line| line.trim().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(from, to).expect("a file");
    }
}

#[test]
fn the_build_stage_gets_all_it_needs() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).expect("a Dockerfile");
    let ignored = std::fs::read_to_string(root().join(".dockerignore")).expect("a .dockerignore");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for path in copied(&dockerfile) {
        assert!(ignored.lines().any(|line| line == format!("!{path}")), ".dockerignore keeps {path} out");
        copy(&root().join(&path), &folder.path().join(&path));
    }
    // A manifest that names a missing target, such as a bench, is refused here.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder.path())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", text(&output));
    for file in embedded(&root().join("src")) {
        let path = file.strip_prefix(root()).expect("a file of the tree");
        assert!(folder.path().join(path).is_file(), "{} is embedded and not copied", path.display());
    }
}

/// The files that the sources embed.
fn embedded(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(embedded(&path));
        } else if !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            let names = text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            let file = |name: &str| path.parent().expect("a folder").join(name).canonicalize().expect("it is there");
            found.extend(names.map(file));
        }
    }
    found
}
