//! Owns which `Host` the admin listener answers to, against pages that reach it by a rebound name (rule A2).

use std::net::IpAddr;

use http::uri::Authority;

/// The hosts that may be asked for.
#[derive(Debug)]
pub(super) struct AllowedHosts {
    own: IpAddr,
    names: Vec<String>,
}

impl AllowedHosts {
    /// `own` is where the listener is bound; names are further hosts, such as that of a cluster's service.
    pub(super) fn new(own: IpAddr, names: Vec<String>) -> Self {
        Self { own, names: names.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether a host may be asked for on a connection that was accepted at `local`.
    ///
    /// The host is parsed, never compared by its beginning: `127.0.0.1.evil.example` is a name.
    pub(super) fn allow(&self, host: &str, local: IpAddr) -> bool {
        // User information is no part of a host, and the parser would take it for one (rule H3).
        let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else {
            return false;
        };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        match name.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                let is_own = !self.own.is_unspecified() && address == self.own.to_canonical();
                address.is_loopback() || is_own || address == local.to_canonical()
            }
            Err(_) => {
                let name = name.to_ascii_lowercase();
                let name = name.strip_suffix('.').unwrap_or(&name);
                name == "localhost" || self.names.iter().any(|allowed| allowed == name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AllowedHosts;

    fn allows(own: &str, host: &str) -> bool {
        let hosts = AllowedHosts::new(own.parse().unwrap(), vec!["Banyan.prod.svc".into()]);
        hosts.allow(host, "10.1.2.3".parse().unwrap())
    }

    #[test]
    fn loopback_the_own_address_and_listed_names_are_allowed() {
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:9901",
            "127.9.9.9",
            "[::1]:9901",
            "[::ffff:127.0.0.1]",
            "10.1.2.3:80",
            "192.0.2.1:9901",
            "banyan.PROD.svc:9901",
        ] {
            assert!(allows("192.0.2.1", host), "{host}");
        }
    }

    #[test]
    fn whatever_only_looks_like_one_is_not() {
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "127.evil.com",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "evil@127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0.0.0.0",
            "[::]",
            "[::1",
            "127.0.0.1 evil",
            "127.0.0.1/evil",
            "192.0.2.2",
            "xbanyan.prod.svc",
        ] {
            assert!(!allows("192.0.2.1", host), "{host}");
        }
        assert!(!allows("0.0.0.0", "0.0.0.0"), "everywhere is no address");
    }
}
