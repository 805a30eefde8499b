//! Owns how a matcher is shown to people, on one line; it is never read back.

use std::fmt;

use http::Method;

use super::{HostPattern, Matcher, ValuePattern};

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            let methods: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            write!(out, "{} ", methods.join(","))?;
        }
        match &self.host {
            HostPattern::Any => {}
            HostPattern::Below(name) => write!(out, "*.{name}")?,
            HostPattern::Exact(name) => out.write_str(name)?,
        }
        write!(out, "{}", self.path)?;
        for (at, (name, pattern)) in self.query.iter().enumerate() {
            write!(out, "{}{name}{}", if at == 0 { '?' } else { '&' }, Value(pattern, "="))?;
        }
        for (name, pattern) in &self.headers {
            write!(out, " {name}{}", Value(pattern, ": "))?;
        }
        Ok(())
    }
}

/// A condition's value behind what separates it from the name.
struct Value<'p>(&'p ValuePattern, &'static str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValuePattern::Present => Ok(()),
            ValuePattern::Exact(value) => write!(out, "{}{value}", self.1),
        }
    }
}
