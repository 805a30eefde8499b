//! Owns the names by which settings reach the fields of [`Limits`].

use crate::config::did_you_mean;
use crate::limits::Limits;

/// Makes the table of names; it does not compile when `Limits` has a field that is not in it.
macro_rules! limit_names {
    ($($name:ident),* $(,)?) => {
        /// The names of all limits.
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// The limits with their defaults, for the help of `serve`.
        pub(super) fn help() -> String {
            let default = Limits::default();
            [$(format!("  {}={}", stringify!($name), default.$name)),*].join("\n")
        }

        /// Sets a limit by its name.
        ///
        /// # Errors
        /// When there is no such limit, or the value does not fit it.
        pub(super) fn set(limits: &mut Limits, name: &str, value: u64) -> Result<(), String> {
            let Limits { $($name),* } = limits;
            match name {
                $(stringify!($name) => *$name = fit(name, value)?,)*
                _ => return Err(unknown(name)),
            }
            Ok(())
        }
    };
}

limit_names! {
    head_bytes_max,
    target_bytes_max,
    field_bytes_max,
    fields_max,
    head_timeout_ms,
    tls_handshake_timeout_ms,
    body_idle_timeout_ms,
    body_rate_min_bytes,
    write_stall_timeout_ms,
    keep_alive_timeout_ms,
    keep_alive_requests_max,
    connections_max,
    connections_per_address_max,
    discard_bytes_max,
    discard_timeout_ms,
    h2_streams_max,
    h2_stream_window_bytes,
    h2_connection_window_bytes,
    h2_send_buffer_bytes,
    h2_outbox_bytes_max,
    h2_resets_max,
    accept_pause_ms,
    drain_timeout_ms,
}

fn fit<T: TryFrom<u64>>(name: &str, value: u64) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value} is too large for the limit `{name}`"))
}

fn unknown(name: &str) -> String {
    let help = did_you_mean(name, NAMES.iter().copied()).map(|help| format!("; {help}")).unwrap_or_default();
    format!("unknown limit `{name}`{help}")
}

/// Reads `NAME=VALUE` of the command line.
///
/// # Errors
/// When it has another form, names no limit, or the value does not fit.
pub(super) fn parse(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as head_bytes_max=65536")?;
    let value: u64 = value.parse().map_err(|_| format!("`{value}` is not a whole number"))?;
    set(&mut Limits::default(), name, value)?;
    Ok((name.to_owned(), value))
}
