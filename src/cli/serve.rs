//! Owns `banyan serve`: it wires the planes together and waits for the end.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::compile;
use crate::config::{self, Report};
use crate::control;
use crate::head;
use crate::lifecycle::{Lifecycle, Phase};
use crate::listen::{self, Sockets};
use crate::observe::{self, AccessLog, Metrics};
use crate::proxy;
use crate::settings::Settings;
use crate::snapshot::{Snapshot, Store};

/// How long the last lines of the logs may take to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
