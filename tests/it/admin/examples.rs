//! What stands in `docs/admin.md` works as it stands there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::router::Setup;

fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_commands_of_the_page_work() {
    let router = Setup::routes(shipped("routes/shop.yaml"))
        .flags(shipped("flags/orders.yaml") + shipped("flags/search.yaml").split_once("flags:\n").unwrap().1)
        .start();
    let page = shipped("docs/admin.md");
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let script = block.replace("127.0.0.1:9901", &router.admin.to_string());
        let output = Command::new("sh").args(["-euc", &script]).current_dir(router.directory()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{said}");
    }
    let entries = banyan::control::read_history(&router.directory().join("state")).unwrap().entries;
    let kill = entries.iter().find(|entry| entry.action == banyan::control::Action::Kill).unwrap();
    assert!(kill.who.as_ref().is_some_and(|who| who.starts_with("ada via ")), "{kill:?}");
}
