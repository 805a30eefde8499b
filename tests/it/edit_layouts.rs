//! Edits in place, one layout at a time: what changes, what stays, and what is refused.

use std::sync::Arc;

use banyan::config::{Diagnostic, FileSet, FlagEditor, Node, Pin, Report, parse};

/// Why an edit was refused, or its new text.
pub(crate) type Made = Result<String, Box<Diagnostic>>;

/// Edits a text; unchanged when nothing had to be done.
pub(crate) fn edited(
    name: &str,
    text: &str,
    change: impl FnOnce(&mut FlagEditor<'_>, &Node) -> Result<(), Box<Diagnostic>>,
) -> Made {
    let set = FileSet::from_texts("flags", [(name, text)]);
    let mut report = Report::default();
    let document = parse(&set.files[0], &mut report).unwrap_or_else(|| panic!("{text}\n{:?}", report.diagnostics));
    assert!(!report.has_errors(), "{text}\n{:?}", report.diagnostics);
    let mut editor = FlagEditor::new(&document);
    change(&mut editor, &document)?;
    let Some(edited) = editor.finish()? else { return Ok(text.to_owned()) };
    assert!(Arc::ptr_eq(&edited.before, &document.place.file));
    patched(text, &edited.after.text, &edited.diff());
    Ok(edited.after.text.clone())
}

pub(crate) fn kill(name: &str, text: &str, flag: &str) -> Made {
    edited(name, text, |editor, _| editor.set_state(flag, false))
}

pub(crate) fn set(name: &str, text: &str, flag: &str, weights: &[u32]) -> Made {
    edited(name, text, |editor, document| {
        let split = editor.split(flag, std::slice::from_ref(document))?.expect("a split");
        assert_eq!(split.variants.len(), weights.len());
        editor.set_weights(&split, weights);
        Ok(())
    })
}

pub(crate) fn add(name: &str, text: &str, flag: &str) -> Made {
    edited(name, text, |editor, document| {
        assert!(editor.split(flag, std::slice::from_ref(document))?.is_none());
        editor.add_split(flag, &[("modern", 10), ("off", 90)])
    })
}

pub(crate) fn pin(name: &str, text: &str, flag: &str) -> Made {
    edited(name, text, |editor, _| {
        editor.pin(flag, Pin { attribute: "header.x-tenant", value: "17", variant: "modern" })
    })
}

/// Applies a unified diff to the text that it was made from, by line, without looking for a place: it must fit exactly.
fn patched(before: &str, after: &str, diff: &str) {
    let plain = |text: &str| text.replace('\r', "").replace('\u{feff}', "\\u{feff}");
    let (old, new) = (plain(before), plain(after));
    let (old, mut made, mut at): (Vec<&str>, _, _) = (old.lines().collect(), Vec::<String>::new(), 0);
    for line in diff.lines().skip(2).filter(|line| !line.starts_with('\\')) {
        let rest = line.get(1..).unwrap_or_default();
        match line.as_bytes().first() {
            Some(b'@') => {
                let (first, count) = line[4..].split(' ').next().unwrap().split_once(',').unwrap_or((&line[4..], "1"));
                let first: usize = first.split(' ').next().unwrap().parse().unwrap();
                let begin = if count == "0" { first } else { first - 1 };
                made.extend(old[at..begin].iter().map(|line| (*line).to_owned()));
                at = begin;
            }
            Some(b'-') => {
                assert_eq!(old[at], rest, "{diff}");
                at += 1;
            }
            Some(b'+') => made.push(rest.to_owned()),
            _ => {
                assert_eq!(old[at], rest, "{diff}");
                made.push(rest.to_owned());
                at += 1;
            }
        }
    }
    made.extend(old[at..].iter().map(|line| (*line).to_owned()));
    assert_eq!(made, new.lines().collect::<Vec<_>>(), "{diff}");
}

#[track_caller]
fn same(made: Made, wanted: &str) {
    match made {
        Ok(text) => assert_eq!(text, wanted, "\n{text}"),
        Err(found) => panic!("refused: {}", found.message),
    }
}

#[track_caller]
fn refused(made: Made, code: &str) -> String {
    match made {
        Ok(text) => panic!("not refused:\n{text}"),
        Err(found) => {
            assert_eq!(found.code, code, "{}", found.message);
            found.message
        }
    }
}

#[test]
fn a_state_keeps_its_quotes_its_comment_and_its_line_end() {
    for written in [
        "ENABLED",
        "'ENABLED'",
        "\"ENABLED\"",
        "&state ENABLED",
        "!!str ENABLED",
        "|-\n      ENABLED",
        ">-\n      ENABLED",
    ] {
        // Blanks at the end of a block scalar are part of it.
        let behind = if written.contains('\n') { "" } else { "   " };
        for end in ["\n", "\r\n"] {
            let text = format!("\u{feff}# ENABLED\nflags:\n  a:  # ENABLED\n    state:   {written}{behind}\n    # ENABLED\n    b: {{c: d}}\n").replace('\n', end);
            let at = text.find("state:").unwrap();
            let (head, tail) = text.split_at(at);
            let wanted = format!("{head}{}", tail.replacen("ENABLED", "DISABLED", 1));
            same(kill("a.yaml", &text, "a"), &wanted);
        }
    }
    same(kill("a.yaml", "{flags: {a: {state: ENABLED}}}", "a"), "{flags: {a: {state: DISABLED}}}");
    same(
        kill("a.yaml", "\"flags\":\n  ? 'a'\n  : \"state\" : ENABLED", "a"),
        "\"flags\":\n  ? 'a'\n  : \"state\" : DISABLED",
    );
    same(
        kill("a.yaml", "flags: {a: {state: \"\\x45NABLED\"}}", "a"),
        "flags: {a: {state: DISABLED}}".replace("DISABLED", "\"DISABLED\"").as_str(),
    );
    same(
        kill("a.json", "{\"flags\": {\"a\": {\"state\":\"ENABLED\"}}}", "a"),
        "{\"flags\": {\"a\": {\"state\":\"DISABLED\"}}}",
    );
}

#[test]
fn a_value_that_an_anchor_shares_is_not_edited() {
    let state = "flags:\n  a: {state: &s ENABLED}\n  b: {state: *s}\n";
    assert!(refused(kill("a.yaml", state, "a"), "shared-value").contains("`flags.b.state`"));
    assert!(refused(kill("a.yaml", state, "b"), "shared-value").contains("`flags.a.state`"));
    let flag = "flags:\n  a: &a\n    state: ENABLED\n    defaultVariant: x\n  b: *a\n";
    assert!(refused(kill("a.yaml", flag, "b"), "shared-value").contains("`flags.a.state`"));
    assert!(refused(kill("a.yaml", flag, "a"), "shared-value").contains("`flags.b.state`"));
    refused(add("a.yaml", flag, "a"), "shared-value");
    refused(pin("a.yaml", flag, "b"), "shared-value");
    let weight = "flags: {a: {targeting: {fractional: [[x, &w 50], [y, *w]]}}}";
    refused(set("a.yaml", weight, "a", &[10, 90]), "shared-value");
    // An anchor that nobody else uses is no obstacle.
    same(set("a.yaml", &weight.replace("*w", "50"), "a", &[10, 90]), &weight.replace("50", "10").replace("*w", "90"));
    let rule = "flags:\n  a:\n    targeting: &t {fractional: [[x, 1], [y, 1]]}\n  b:\n    targeting: *t\n";
    refused(pin("a.yaml", rule, "a"), "shared-value");
    refused(set("a.yaml", rule, "b", &[10, 90]), "shared-value");
}

#[test]
fn weights_change_where_they_stand() {
    let text = "flags:\n  a:\n    targeting:\n      fractional:\n        - {var: seed}\n        - # more\n          - modern # 10\n          - 10\n        - [legacy,   90 ] # the rest\n";
    same(set("a.yaml", text, "a", &[25, 75]), &text.replace("- 10\n", "- 25\n").replace("90 ]", "75 ]"));
    same(set("a.yaml", text, "a", &[10, 90]), text);
    let bare = "flags: {a: {targeting: {fractional: [[modern], [legacy]]}}}";
    same(set("a.yaml", bare, "a", &[1, 99]), "flags: {a: {targeting: {fractional: [[modern], [legacy, 99]]}}}");
    let block =
        "flags:\r\n  a:\r\n    targeting:\r\n      fractional:\r\n        -   - modern   # x\r\n        - - legacy";
    let wanted = "flags:\r\n  a:\r\n    targeting:\r\n      fractional:\r\n        -   - modern   # x\r\n            - 3\r\n        - - legacy\r\n          - 97";
    same(set("a.yaml", block, "a", &[3, 97]), wanted);
    let odd = "flags: {a: {targeting: {fractional: [[modern, 1e1], [legacy, 90.0]]}}}";
    same(set("a.yaml", odd, "a", &[10, 90]), odd);
}

#[test]
fn only_a_single_split_of_its_own_is_set() {
    let rule = |rule: &str| {
        format!(
            "$evaluators:\n  half: {{fractional: [[x, 1], [y, 1]]}}\n  yes: {{var: z}}\nflags:\n  a:\n    targeting:\n      {rule}\n"
        )
    };
    let two = rule("if:\n      - {var: z}\n      - fractional: [[x, 1], [y, 1]]\n      - fractional: [[x, 1], [y, 1]]");
    assert!(refused(set("a.yaml", &two, "a", &[]), "several-splits").contains("2 splits, in lines 9 and 10"));
    refused(set("a.yaml", &rule("$ref: half"), "a", &[]), "shared-split");
    refused(set("a.yaml", &rule("$ref: \"yes\""), "a", &[]), "no-split");
    refused(set("a.yaml", &rule("fractional: [[x, {var: z}], [y, 1]]"), "a", &[]), "computed-weight");
    refused(set("a.yaml", &rule("fractional: [[x, 1, 2], [y, 1]]"), "a", &[]), "bad-pair");
    let guarded = rule("if: [{$ref: \"yes\"}, x, {fractional: [[x, 1], [y, 1]]}]");
    same(set("a.yaml", &guarded, "a", &[1, 3]), &guarded.replace("[y, 1]]}]", "[y, 3]]}]"));
}

#[test]
fn a_flag_without_a_rule_gets_a_split_behind_its_default_variant() {
    let text = "flags:\n  a:\n    state: ENABLED\n    defaultVariant: legacy # for now\n    # who\n    metadata: {owner: me}\n";
    let line = "    targeting:\n      fractional: [[modern, 10], [\"off\", 90]]\n";
    same(add("a.yaml", text, "a"), &text.replace("for now\n", &format!("for now\n{line}")));
    let windows = text.replace('\n', "\r\n");
    same(add("a.yaml", &windows, "a"), &text.replace("for now\n", &format!("for now\n{line}")).replace('\n', "\r\n"));
    let last = "flags:\n    a:\n        variants:\n            x: y\n        defaultVariant: &d \"legacy\"";
    let wanted = format!("{last}\n        targeting:\n            fractional: [[modern, 10], [\"off\", 90]]");
    same(add("a.yaml", last, "a"), &wanted);
    let no_default = "flags:\n  a:\n    variants:\n      x: >\n        # text\n\n  # of b\n  b: {}\n";
    same(add("a.yaml", no_default, "a"), &no_default.replace("# text\n", &format!("# text\n{line}")));
    let alias = "flags:\n  b: {defaultVariant: &d x}\n  a:\n    defaultVariant: *d\n    state: ENABLED\n";
    same(add("a.yaml", alias, "a"), &alias.replace("*d\n", &format!("*d\n{line}")));
    let empty = "flags:\n  a:\n    targeting: {} # none\n";
    same(add("a.yaml", empty, "a"), &empty.replace("{}", "{fractional: [[modern, 10], [\"off\", 90]]}"));
    let nothing = "flags:\n  a:\n    defaultVariant:\n    state: ENABLED\n";
    same(add("a.yaml", nothing, "a"), &nothing.replace("Variant:\n", &format!("Variant:\n{line}")));
}

#[test]
fn a_flow_map_gets_its_split_in_flow_style() {
    let one = "flags: {a: {state: ENABLED, defaultVariant: x, metadata: {}}}";
    same(add("a.yaml", one, "a"), &one.replace("x,", "x, targeting: {fractional: [[modern, 10], [\"off\", 90]]},"));
    let json = "{\n  \"flags\": {\n    \"a\": {\n      \"defaultVariant\": \"x\"\n    }\n  }\n}\n";
    let wanted =
        json.replace("\"x\"", "\"x\",\n      \"targeting\": {\"fractional\": [[\"modern\", 10], [\"off\", 90]]}");
    same(add("a.json", json, "a"), &wanted);
    same(add("a.yaml", json, "a"), &wanted);
    let comma = "flags: {a: {\n  defaultVariant: x, # why\n}}\n";
    same(
        add("a.yaml", comma, "a"),
        &comma.replace("x,", "x,\n  targeting: {fractional: [[modern, 10], [\"off\", 90]]},"),
    );
}

const CONDITION: &str = "{\"==\": [{var: header.x-tenant}, \"17\"]}";

#[test]
fn a_pin_is_the_first_condition_of_an_if() {
    let block = "flags:\n  a:\n    targeting:\n      if:  # who\n        # Whole tenants first.\n        - {var: z}\n        - live\n";
    let wanted = block.replace("# who\n", &format!("# who\n        - {CONDITION}\n        - modern\n"));
    same(pin("a.yaml", block, "a"), &wanted);
    same(pin("a.yaml", &wanted, "a"), &wanted);
    same(pin("a.yaml", &wanted.replace("- modern", "- legacy"), "a"), &wanted);
    same(pin("a.yaml", &block.replace('\n', "\r\n"), "a"), &wanted.replace('\n', "\r\n"));
    let undented = "flags:\n  a:\n    targeting:\n      if:\n      - {var: z}\n      - live\n";
    same(
        pin("a.yaml", undented, "a"),
        &undented.replace("if:\n", &format!("if:\n      - {CONDITION}\n      - modern\n")),
    );
    let flow = "flags: {a: {targeting: {if: [in: [x, y], live]}}}";
    same(pin("a.yaml", flow, "a"), &flow.replace("if: [", &format!("if: [{CONDITION}, modern, ")));
    let lines = "flags:\n  a:\n    targeting: {if: [ # who\n      {var: z}, live,\n    ]}\n";
    same(pin("a.yaml", lines, "a"), &lines.replace("who\n", &format!("who\n      {CONDITION},\n      modern,\n")));
}

#[test]
fn a_pin_stands_around_any_other_rule() {
    let flow = "flags: {a: {targeting: {fractional: [[x, 1], [y, 1]]}}}";
    let wanted =
        format!("flags: {{a: {{targeting: {{if: [{CONDITION}, modern, {{fractional: [[x, 1], [y, 1]]}}]}}}}}}");
    same(pin("a.yaml", flow, "a"), &wanted);
    let json = "{\"flags\": {\"a\": {\"targeting\":{\"$ref\": \"x\"}}}}";
    let wanted = "{\"flags\": {\"a\": {\"targeting\":{\"if\": [{\"==\": [{\"var\": \"header.x-tenant\"}, \"17\"]}, \"modern\", {\"$ref\": \"x\"}]}}}}";
    same(pin("a.json", json, "a"), wanted);
    let block = "flags:\n  a:\n    targeting:   # rule\n      # shares\n      fractional:\n        - - modern\n          - 10 # more\n\n        - - cat: |\n              #  x\n               y\n            \n          - 90\n    # end\n    metadata: {}\n";
    let wanted = format!(
        "flags:\n  a:\n    targeting:   # rule\n      if:\n        - {CONDITION}\n        - modern\n        # shares\n        - fractional:\n            - - modern\n              - 10 # more\n\n            - - cat: |\n                  #  x\n                   y\n                \n              - 90\n    # end\n    metadata: {{}}\n"
    );
    same(pin("a.yaml", block, "a"), &wanted);
    same(pin("a.yaml", &block.replace('\n', "\r\n"), "a"), &wanted.replace('\n', "\r\n"));
    let last = "flags:\n  a:\n    targeting:\n      $ref: x";
    same(
        pin("a.yaml", last, "a"),
        &format!("flags:\n  a:\n    targeting:\n      if:\n        - {CONDITION}\n        - modern\n        - $ref: x"),
    );
}

#[test]
fn a_pin_can_be_the_whole_rule() {
    let text = "flags:\n  a:\n    state: ENABLED\n";
    same(
        pin("a.yaml", text, "a"),
        &format!("{text}    targeting:\n      if:\n        - {CONDITION}\n        - modern\n"),
    );
    let empty = "flags: {a: {targeting: { }}}";
    same(pin("a.yaml", empty, "a"), &empty.replace("{ }", &format!("{{if: [{CONDITION}, modern]}}")));
}

#[test]
fn a_layout_that_does_not_fit_is_refused_and_not_broken() {
    // A key of its own line, and a rule that begins beside its key.
    for text in [
        "flags:\n  a:\n    ? targeting\n    : fractional:\n      - [x, 1]\n      - [y, 1]\n",
        "flags:\n  a: {targeting: {if: {var: z}}}\n",
    ] {
        if let Err(found) = pin("a.yaml", text, "a") {
            assert_eq!(found.code, "layout");
        }
    }
    assert_eq!(refused(kill("a.yaml", "flags: {ab: {}}", "ba"), "unknown-flag"), "there is no flag `ba`");
    refused(kill("a.yaml", "flags: {a: {}}", "a"), "missing-state");
}
