//! Owns which headers of a write are kept for its copy, and in what form: what belongs to the connection is not, credentials are
//! dropped or encrypted (rule J4).

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};

use super::draft::HeaderFields;
use super::marker::hex;
use crate::head::names;
use crate::snapshot::{CopyRules, Credentials};

/// What says who a client is.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];
/// What is made anew for each attempt, or is about the client's connection.
const NOT_KEPT: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VIA,
    names::BANYAN_DECISION,
    names::BANYAN_MIRROR,
];
/// Begins an encrypted value; no credential begins so by itself.
const SEALED: &[u8] = b"\0sealed\0";

/// Encrypts credentials with AES-256-GCM.
#[derive(Debug)]
pub struct Vault(RandomizedNonceKey);

impl Vault {
    /// A vault with the bytes of a key.
    ///
    /// # Errors
    /// A message for people, when there are not exactly 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, String> {
        let wrong = |_| format!("a journal key has 32 bytes, this one {}", key.len());
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(wrong)
    }

    fn seal(&self, value: &[u8]) -> Option<Bytes> {
        let mut text = value.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut text).ok()?;
        Some([SEALED, nonce.as_ref(), &text].concat().into())
    }

    fn open(&self, sealed: &[u8]) -> Option<Bytes> {
        let (nonce, text) = sealed.split_at_checked(12)?;
        let nonce = aws_lc_rs::aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
        Some(Bytes::copy_from_slice(opened))
    }
}

/// Keeps the headers of a write that its copy will carry; `added` are those that the router adds.
pub fn keep<'h>(
    headers: &'h HeaderMap,
    added: impl Iterator<Item = (&'h HeaderName, &'h http::HeaderValue)>,
    rules: &CopyRules,
    vault: Option<&Vault>,
    kept: &mut HeaderFields<'_>,
) {
    for (name, value) in headers.iter().chain(added) {
        if NOT_KEPT.contains(name) || rules.drop_headers.contains(name) || *name == rules.idempotency_header {
            continue;
        }
        match (CREDENTIALS.contains(name), rules.credentials) {
            (false, _) => kept.add(name.as_str(), value.as_bytes()),
            (true, Credentials::Drop) => {}
            (true, Credentials::Encrypt) => {
                if let Some(sealed) = vault.and_then(|vault| vault.seal(value.as_bytes())) {
                    kept.add(name.as_str(), &sealed);
                }
            }
        }
    }
}

/// A kept value as it is sent; `None` where it was encrypted and cannot be read any more.
pub fn reveal(value: &Bytes, vault: Option<&Vault>) -> Option<Bytes> {
    match value.strip_prefix(SEALED) {
        None => Some(value.clone()),
        Some(sealed) => vault?.open(sealed),
    }
}

/// A kept value as people see it.
pub fn show(name: &str, value: &Bytes) -> String {
    if value.starts_with(SEALED) || CREDENTIALS.iter().any(|secret| *secret == name) {
        return format!("<{} bytes, encrypted>", value.len());
    }
    String::from_utf8(value.to_vec()).unwrap_or_else(|_| format!("0x{}", hex(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::draft::Heading;
    use crate::mirror::record::{CopyId, Intent};
    use crate::route::PathTemplate;

    fn headers() -> HeaderMap {
        let fields = [("authorization", "Bearer secret"), ("x-user-id", "ada"), ("te", "trailers"), ("x-secret", "1")];
        fields.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn rules(credentials: Credentials) -> CopyRules {
        let path = PathTemplate::parse("/{*rest}").unwrap();
        CopyRules { credentials, drop_headers: ["x-secret".parse().unwrap()].into(), ..CopyRules::new(path) }
    }

    /// The headers as they are read back.
    fn kept(rules: &CopyRules, vault: Option<&Vault>) -> Vec<(Box<str>, Bytes)> {
        let heading = Heading {
            destination: "modern",
            id: CopyId(1),
            primary: "legacy",
            route: "orders",
            epoch: 1,
            unix_ms: 1,
            entity: None,
            method: "POST",
            target: "/",
            key: "k",
            hops: "",
        };
        let draft = heading.draft(|fields| keep(&headers(), std::iter::empty(), rules, vault, fields));
        Intent::decode(&draft.with_body([], 0).concat().into()).unwrap().headers
    }

    #[test]
    fn credentials_are_dropped() {
        let kept = kept(&rules(Credentials::Drop), None);
        assert_eq!(kept, [("x-user-id".into(), Bytes::from_static(b"ada"))]);
    }

    #[test]
    fn credentials_are_encrypted_and_come_back_with_the_key_alone() {
        let (vault, other) = (Vault::new(&[1; 32]).unwrap(), Vault::new(&[2; 32]).unwrap());
        let kept = kept(&rules(Credentials::Encrypt), Some(&vault));
        let (_, sealed) = kept.iter().find(|(name, _)| **name == *"authorization").unwrap();
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(reveal(sealed, Some(&vault)).unwrap(), "Bearer secret");
        assert_eq!(reveal(sealed, Some(&other)), None);
        assert_eq!(reveal(sealed, None), None);
        assert!(show("authorization", sealed).contains("encrypted"));
        assert!(Vault::new(b"short").is_err());
    }
}
