//! The integration tests: one binary, real sockets and files.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod access_log;
mod admin;
mod check_report;
mod check_routes;
mod check_stale;
mod check_verb;
mod config_files;
mod config_schema;
mod config_settings;
mod container;
mod copies;
mod copies_delivery;
mod dashboard;
mod decisions;
mod decisions_partial;
mod demo;
mod deploy;
mod drain;
mod edit_files;
mod edit_layouts;
mod edit_properties;
mod edit_verbs;
mod exit_codes;
mod explain_verb;
mod exposition;
mod flag_rest;
mod flagd_differential;
mod flagd_findings;
mod flagd_properties;
mod flagd_rules;
mod flagd_support;
mod flagd_testbed;
mod flagd_vectors;
mod forwarding;
mod fuzz;
#[path = "../fuzz/targets/mod.rs"]
mod fuzz_targets;
mod health;
mod hostile;
mod http2;
mod interim;
mod journal;
mod judges;
mod metrics;
mod metrics_admin;
mod no_loss;
mod ofrep;
mod override_break_glass;
mod override_commands;
mod override_crash;
mod override_decisions;
mod override_handover;
mod process;
mod promises;
mod reload;
mod reload_process;
mod reload_verb;
mod routing;
mod routing_models;
mod routing_oracle;
mod routing_readings;
mod runbook;
mod simulate;
mod slow;
mod status_report;
mod status_verb;
mod storm;
mod support;
mod tls;
mod tutorial;
mod upstreams;
mod websocket;

/// Compares with a file of `tests/snapshots`; `INSTA_UPDATE=always cargo test` writes it anew.
macro_rules! snapshot {
    ($name:literal, $shown:expr) => {
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!($name, $shown);
        });
    };
}
use snapshot;
