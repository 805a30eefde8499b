//! The files of `docs/deploy/`: they parse, name what exists, and hold what the docs say about them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use banyan::config::{ConfigFile, Report, parse};
use serde_json::Value;

const BANYAN: &str = env!("CARGO_BIN_EXE_banyan");

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a manifest.
fn manifests(name: &str) -> Vec<Value> {
    let document = |text: &str| {
        let mut report = Report::default();
        let file = Arc::new(ConfigFile { path: name.into(), text: text.to_owned() });
        let node = parse(&file, &mut report);
        assert!(!report.has_errors(), "{name}: {:?}", report.diagnostics);
        node.expect("a document").to_json()
    };
    read(name).split("\n---\n").map(document).collect()
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|item| item.as_str().expect("a string")).collect()
}

/// Checks that the program takes the arguments, by asking for help about them.
fn takes(arguments: &[&str]) {
    let output = Command::new(BANYAN).args(arguments).arg("--help").output().expect("the program runs");
    assert!(output.status.success(), "banyan {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let help = String::from_utf8_lossy(&output.stdout);
    let options = arguments.iter().filter(|argument| argument.starts_with("--"));
    for option in options {
        assert!(help.contains(option), "banyan {} has no {option}", arguments[0]);
    }
}

/// The settings of a unit's section, in file order.
fn unit(text: &str, section: &str) -> Vec<(String, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name == section;
        } else if inside {
            let (key, value) = line.split_once('=').expect("a setting is key=value");
            found.push((key.to_owned(), value.to_owned()));
        }
    }
    found
}

#[test]
fn the_units_run_what_exists_and_give_admin_last() {
    let service = unit(&read("systemd/banyan.service"), "Service");
    let commands: Vec<_> = service.iter().filter(|(key, _)| key.starts_with("Exec")).map(|(_, value)| value).collect();
    let mut ours = 0;
    for command in commands.iter().filter_map(|command| command.strip_prefix("/usr/bin/banyan ")) {
        takes(&command.split_whitespace().collect::<Vec<_>>());
        ours += 1;
    }
    assert_eq!(ours, 2, "{commands:?}");
    assert!(commands.iter().any(|command| *command == "/bin/kill -HUP $MAINPID"));
    let seconds = service.iter().find(|(key, _)| key == "TimeoutStopSec").expect("a deadline").1.parse::<u64>();
    assert!(seconds.expect("seconds") * 1000 > u64::from(drain_timeout_ms()), "systemd kills before the drain ends");

    let sockets = unit(&read("systemd/banyan.socket"), "Socket");
    let addresses: Vec<_> = sockets.iter().filter(|(key, _)| key == "ListenStream").map(|(_, value)| value).collect();
    assert!(addresses.len() > 1 && addresses.last().expect("seen").starts_with("127.0.0.1:"), "{addresses:?}");
}

fn drain_timeout_ms() -> u32 {
    banyan::limits::Limits::default().drain_timeout_ms
}

/// Debian's own judge, where there is one; the unit's program is replaced by ours, which is there.
#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = read("systemd/banyan.service").replace("/usr/bin/banyan", BANYAN);
    let files = [("banyan.service", service), ("banyan.socket", read("systemd/banyan.socket"))];
    let paths = files.map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    });
    let mut out = std::io::stdout().lock();
    let mut report =
        |line: &str| std::io::Write::write_fmt(&mut out, format_args!("deploy: {line}\n")).expect("stdout");
    match Command::new("systemd-analyze").arg("verify").args(&paths).output() {
        Err(error) => report(&format!("units read line by line, systemd-analyze: {error}")),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let about_ours: Vec<_> = said.lines().filter(|line| line.contains("banyan")).collect();
            assert!(about_ours.is_empty(), "{said}");
            report("units verified by systemd-analyze");
        }
    }
}

#[test]
fn the_deployment_is_whole() {
    let manifests = manifests("kubernetes/banyan.yaml");
    let pod = &of_kind(&manifests, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    takes(&strings(&container["args"]));
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = strings(&container[probe]["exec"]["command"]);
        assert_eq!(command[0], "/usr/bin/banyan", "there is no shell in the image");
        takes(&command[1..]);
    }
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let volumes: Vec<_> = pod["volumes"].as_array().expect("volumes").iter().map(name).collect();
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        assert!(volumes.contains(&name(mount)), "{mount} has no volume");
        assert!(mount["subPath"].is_null(), "a file mounted alone is not renewed");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let wait_s = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a pause");
    let grace_s = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
    assert!((grace_s - wait_s) * 1000 > u64::from(drain_timeout_ms()), "the pod is killed before the drain ends");
}

#[test]
fn the_service_and_the_budget_find_the_pods() {
    let manifests = manifests("kubernetes/banyan.yaml");
    let template = &of_kind(&manifests, "Deployment")["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    assert_eq!(&of_kind(&manifests, "Service")["spec"]["selector"], labels);
    assert_eq!(&of_kind(&manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&of_kind(&manifests, "Deployment")["spec"]["selector"]["matchLabels"], labels);
    let port = &template["spec"]["containers"][0]["ports"][0];
    assert_eq!(of_kind(&manifests, "Service")["spec"]["ports"][0]["targetPort"], port["name"]);
}

#[test]
fn the_config_maps_hold_a_set_that_loads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let deployment = manifests("kubernetes/banyan.yaml");
    let volumes = of_kind(&deployment, "Deployment")["spec"]["template"]["spec"]["volumes"].to_string();
    for map in manifests("kubernetes/config.yaml") {
        let name = map["metadata"]["name"].as_str().expect("a name");
        assert!(volumes.contains(&format!("\"{name}\"")), "nobody mounts {name}");
        let directory = folder.path().join(name.trim_start_matches("banyan-"));
        fs::create_dir(&directory).expect("a folder");
        for (file, text) in map["data"].as_object().expect("files") {
            fs::write(directory.join(file), text.as_str().expect("text")).expect("a file");
        }
    }
    let output = Command::new(BANYAN).arg("check").current_dir(folder.path()).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
