//! Owns the names of metrics and of the access log's fields, which dashboards and scripts rely on.

/// What a metric family is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric family: its name, its kind, and what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $help:literal;)+) => {
        $(pub(super) const $constant: Family = Family { name: $name, kind: Kind::$kind, help: $help };)+
    };
}

families! {
    BUILD_INFO Gauge "banyan_build_info" "Always 1; the version that runs.";
    GENERATION Gauge "banyan_config_generation" "The generation in force.";
    RELOADS Counter "banyan_config_reloads_total" "Attempts to reload the files, by how they ended.";
    LAST_RELOAD Gauge "banyan_config_last_reload_timestamp_seconds" "When files were last put in force.";
    RELOAD_DURATION Gauge "banyan_config_last_reload_duration_seconds" "From the first read of a file to its being in force, last time.";
    STALE Gauge "banyan_config_stale_seconds" "How long the files on disk have differed from those in force; 0 when they agree.";
    WARNINGS Gauge "banyan_config_warnings" "Warnings about the files in force.";
    SNAPSHOTS_HELD Gauge "banyan_config_snapshots_held" "Replaced generations that a worker still holds.";
    FLAGS Gauge "banyan_config_flags" "Flags in force.";
    STALE_FLAGS Gauge "banyan_flags_stale" "Flags that may be stale, by why; a flag may count under several reasons.";
    ROUTES Gauge "banyan_config_routes" "Routes in force.";
    UPSTREAMS Gauge "banyan_config_upstreams" "Upstreams in force.";
    HASHING Gauge "banyan_config_hashing_info" "Always 1; the hash generation of fractional.";
    OVERRIDES Gauge "banyan_overrides_in_force" "Overrides in force, by kind.";
    OVERRIDES_MISFIT Gauge "banyan_overrides_not_applicable" "Overrides that do not apply to the files in force; they are kept.";
    OVERRIDES_UNDURABLE Gauge "banyan_overrides_not_durable" "1 while overrides are in force that are not on disk.";
    RESTORED Gauge "banyan_restore_generation" "The generation whose rules a restore holds; 0 without one.";
    HISTORY_LOST Counter "banyan_history_lost_entries_total" "Entries of the history that could not be written.";
    READY Gauge "banyan_ready" "1 while the router takes traffic.";
    ADDRESS_UPDATES Counter "banyan_dns_address_updates_total" "Generations published because addresses changed.";
    DNS_FAILURES Counter "banyan_dns_failures_total" "Attempts to resolve a name that failed; the last good addresses stay.";
    DNS_NAMES Gauge "banyan_dns_names" "Names of endpoints that are resolved in the background.";
    CONNECTIONS_ACCEPTED Counter "banyan_downstream_connections_total" "Client connections accepted.";
    CONNECTIONS_OPEN Gauge "banyan_downstream_connections" "Client connections now open.";
    HTTP2_CONNECTIONS Counter "banyan_downstream_http2_connections_total" "Client connections that speak HTTP/2.";
    HTTP2_STREAMS Counter "banyan_downstream_http2_streams_total" "HTTP/2 streams opened by clients.";
    HTTP2_RESETS Counter "banyan_downstream_http2_resets_total" "HTTP/2 streams that ended by a reset before they were answered.";
    IN_FLIGHT Gauge "banyan_requests_in_flight" "Requests between their head and the end of their answer.";
    RECEIVED Counter "banyan_downstream_received_bytes_total" "Bytes read from clients.";
    SENT Counter "banyan_downstream_sent_bytes_total" "Bytes written to clients.";
    DECISIONS Counter "banyan_decisions_total" "Decisions made by a flag.";
    DECISION_ERRORS Counter "banyan_decision_errors_total" "Decisions that fell back because the flag failed (reason ERROR).";
    PANICS Counter "banyan_panics_total" "Panics caught; each cost one request.";
    WORKERS Gauge "banyan_workers" "Threads that serve.";
    FAULTS Counter "banyan_faults_total" "Exchanges that failed, by fault and by the side to blame.";
    LIMIT_HITS Counter "banyan_limit_hits_total" "Times a limit was reached.";
    TLS_EXPIRY Gauge "banyan_tls_certificate_expiry_timestamp_seconds" "When each certificate in force ends.";
    TLS_RELOADS Counter "banyan_tls_certificate_reloads_total" "Times that new certificates came into force.";
    TLS_REFUSED Gauge "banyan_tls_certificates_refused" "Certificate files that are not used, or whose time is not now; 0 is well.";
    TLS_HANDSHAKES Counter "banyan_tls_handshakes_total" "Handshakes with clients that succeeded, new sessions and resumed ones.";
    TLS_FAULTS Counter "banyan_tls_handshake_faults_total" "Handshakes with clients that failed, by why; those too slow are a limit.";
    PROXY_REFUSED Counter "banyan_proxy_protocol_refused_total" "Connections closed because their PROXY protocol header was missing or bad.";
    COPIES_PENDING Gauge "banyan_copies_pending" "Copies of writes that have not come to their end.";
    COPIES_OLDEST Gauge "banyan_copies_oldest_seconds" "How long the oldest copy has been waiting; 0 without one.";
    COPIES_BYTES Gauge "banyan_copies_pending_bytes" "Bytes of the waiting copies that the courier has read.";
    COPIES_PARKED Gauge "banyan_copies_parked" "Copies that are set aside for a person.";
    COPIES_GAPS Counter "banyan_copies_gaps_total" "Writes that were served and not copied, over all runs.";
    COPIES_GAPS_WAITING Gauge "banyan_copies_gaps_waiting" "Gap records that wait in memory for room on the disk.";
    COPIES_PAUSED Gauge "banyan_copies_paused" "1 while the destination lets nobody in (401, 403).";
    COPIES_FAILING Gauge "banyan_copies_failing" "1 while the destination fails and is asked by one copy at a time.";
    COPIES_FAILURES Counter "banyan_copies_failed_attempts_total" "Attempts to deliver a copy that failed.";
    COPIES_ENDED Counter "banyan_copies_ended_total" "Copies that have come to their end, by how.";
    COPIES_NOTED Counter "banyan_copies_writes_total" "What workers noted of writes on routes that copy them.";
    JOURNAL_BYTES Gauge "banyan_journal_bytes" "Bytes that the journal takes.";
    JOURNAL_BYTES_MAX Gauge "banyan_journal_bytes_max" "Bytes that the journal may take.";
    JOURNAL_RECORDS Counter "banyan_journal_records_total" "Records written to the journal.";
    JOURNAL_REFUSED Counter "banyan_journal_refused_records_total" "Records that the journal refused or could not write.";
    JOURNAL_DISK_ERRORS Counter "banyan_journal_disk_errors_total" "File operations of the journal that failed.";
    JOURNAL_FAILING Gauge "banyan_journal_failing" "1 while the journal's disk fails.";
    JOURNAL_FSYNC Histogram "banyan_journal_fsync_seconds" "How long each fsync of the journal took.";
    UPSTREAM_OPENED Counter "banyan_upstream_connections_opened_total" "Connections opened to the upstream.";
    UPSTREAM_CLOSED Counter "banyan_upstream_connections_closed_total" "Connections to the upstream that ended.";
    UPSTREAM_REUSED Counter "banyan_upstream_connections_reused_total" "Requests sent over a pooled connection.";
    UPSTREAM_IDLE Gauge "banyan_upstream_pool_idle" "Connections now idle in the pools.";
    UPSTREAM_RETRIES Counter "banyan_upstream_stale_retries_total" "Requests sent again after a stale pooled connection took nothing of them.";
    UPSTREAM_EJECTIONS Counter "banyan_upstream_ejections_total" "Ejections of endpoints after consecutive failures.";
    UPSTREAM_OVERFLOWS Counter "banyan_upstream_overflows_total" "Requests that the route's fallback served because the upstream took no more.";
    UPSTREAM_EJECTED Gauge "banyan_upstream_ejected" "Endpoints now ejected.";
    UPSTREAM_ALL_OUT Gauge "banyan_upstream_all_unhealthy" "1 while no endpoint is in service: all serve, or requests are refused.";
    UPSTREAM_DRAINING Gauge "banyan_upstream_endpoints_draining" "Endpoints that are no longer configured and still serve what is under way.";
    UPSTREAM_REQUESTS Gauge "banyan_upstream_requests" "Requests under way that count against requests_max.";
    ENDPOINT_SHARE Gauge "banyan_upstream_endpoint_share" "The share of its usual picks that an endpoint gets: 0 out of service, 1 fully in it.";
    ENDPOINT_CHECKS Counter "banyan_upstream_endpoint_checks_total" "Health checks, by how they ended.";
    UPSTREAM_SLO Gauge "banyan_upstream_slo_p99_seconds" "The objective for the 99th percentile of latency; never enforced.";
    REQUESTS Counter "banyan_requests_total" "Exchanges finished, by leg and class of the status the client got.";
    DURATION Histogram "banyan_request_duration_seconds" "From the request head to the end of the answer.";
    LEG_FAULTS Counter "banyan_request_faults_total" "Exchanges of a leg that failed.";
    ACCESS_DROPPED Counter "banyan_access_log_dropped_lines_total" "Access-log lines lost to a slow or broken sink.";
    LOG_DROPPED Counter "banyan_log_dropped_lines_total" "Log lines lost to a slow or broken sink.";
}

/// Names of the access log's fields, the same in JSON and in text.
pub mod field {
    /// When the request head was read, RFC 3339 in UTC with milliseconds.
    pub const TIME: &str = "time";
    /// The router's own name of the request, 32 hex digits.
    pub const REQUEST_ID: &str = "request_id";
    /// The trace of `traceparent`, 32 hex digits.
    pub const TRACE_ID: &str = "trace_id";
    /// The client's address.
    pub const CLIENT: &str = "client";
    /// The method.
    pub const METHOD: &str = "method";
    /// The host that was routed by.
    pub const HOST: &str = "host";
    /// The path as received, without its query, which may hold secrets.
    pub const PATH: &str = "path";
    /// The headers that the access log was asked for, by name; null where the request had none.
    pub const HEADERS: &str = "headers";
    /// The protocol version.
    pub const PROTOCOL: &str = "protocol";
    /// The status that the client got; 499 when it had gone.
    pub const STATUS: &str = "status";
    /// The route.
    pub const ROUTE: &str = "route";
    /// The flag.
    pub const FLAG: &str = "flag";
    /// The variant, or `fallback`; absent on a route without a flag.
    pub const VARIANT: &str = "variant";
    /// Why that variant.
    pub const REASON: &str = "reason";
    /// The slot of the targeting key and how many there are, such as `12/100`.
    pub const BUCKET: &str = "bucket";
    /// The kind of override that decided: `kill_all`, `kill`, `pin` or `split`.
    pub const OVERRIDE: &str = "override";
    /// The generation that decided.
    pub const GENERATION: &str = "generation";
    /// Present and `true` when the fallback served because the chosen upstream was full.
    pub const OVERFLOW: &str = "overflow";
    /// Present and `true` when a write stayed on its old side until older copies have arrived.
    pub const HELD: &str = "held";
    /// The upstream that gets a copy.
    pub const COPIED_TO: &str = "copied_to";
    /// The upstream.
    pub const UPSTREAM: &str = "upstream";
    /// The address that served.
    pub const ENDPOINT: &str = "endpoint";
    /// Whether the upstream connection came from the pool.
    pub const REUSED: &str = "reused";
    /// Bytes of the request body.
    pub const REQUEST_BYTES: &str = "request_bytes";
    /// Bytes of the response body.
    pub const RESPONSE_BYTES: &str = "response_bytes";
    /// From the request head to the end of the answer, in milliseconds.
    pub const DURATION_MS: &str = "duration_ms";
    /// How long the upstream took to accept the connection, in milliseconds.
    pub const CONNECT_MS: &str = "connect_ms";
    /// From the request head to the response head, in milliseconds.
    pub const FIRST_BYTE_MS: &str = "first_byte_ms";
    /// What broke the exchange.
    pub const FAULT: &str = "fault";
    /// Which side is to blame for it.
    pub const FAULT_SIDE: &str = "fault_side";
}
