//! Owns the question that `explain` sends to a running router, and reading it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::explain::{self, Answer, Certificate, Question};
use crate::snapshot::Snapshot;

/// A request to be explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asking {
    /// The method; GET unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A URL, or a path alone.
    pub url: String,
    /// Header fields by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Values>,
    /// The client's address; 127.0.0.1 unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Who the client is by its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<AskedCertificate>,
}

/// The values of a header field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// Several lines of the same name.
    Several(Vec<String>),
}

/// What a client's certificate says; what is left out is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskedCertificate {
    /// The subject.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The first alternative name that is a host name or a URI.
    pub san: Option<String>,
    /// The SHA-256 in hexadecimal.
    pub fingerprint: String,
}

impl Asking {
    pub(super) fn ask(&self, snapshot: &Snapshot) -> Result<Answer, String> {
        let method =
            explain::method(self.method.as_deref().unwrap_or("GET")).map_err(|why| format!("`method` is {why}"))?;
        let url = explain::url(&self.url).map_err(|why| format!("`url`: {why}"))?;
        let headers = self.fields()?;
        let client = self.client.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let certificate = self.certificate.as_ref().map(|certificate| Certificate {
            subject: &certificate.subject,
            issuer: &certificate.issuer,
            san: certificate.san.as_deref(),
            fingerprint: &certificate.fingerprint,
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_unix_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        Ok(Question::new(&method, &url, &headers, client).ask(snapshot, certificate, now_unix_s))
    }

    fn fields(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let lines = self.headers.iter().flat_map(|(name, values)| {
            let values = match values {
                Values::One(value) => std::slice::from_ref(value),
                Values::Several(values) => values,
            };
            values.iter().map(move |value| explain::header(&format!("{name}: {value}")))
        });
        lines.collect::<Result<_, _>>().map_err(|why| format!("`headers`: {why}"))
    }
}
