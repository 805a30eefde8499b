//! Banyan: a feature-flag migration router.
//!
//! The modules stand in the order of the data's way: files become documents (`config`), documents become an
//! immutable snapshot (`compile`, `snapshot`), a request becomes a decision (`decision`) and the decision reaches
//! an upstream (`forward`), all of it driven by the data plane (`proxy`) and steered by the control plane (`control`).

pub mod attribute;
pub mod clock;
pub mod fault;
pub mod flag;
pub mod head;
pub mod journal;
pub mod lifecycle;
pub mod limits;
pub mod network;
pub mod proxy_protocol;
pub mod route;
pub mod settings;
pub mod tls;
pub mod upstream;

pub mod observe;

pub mod health;

pub mod config;
pub mod snapshot;

pub mod compile;
pub mod decision;
pub mod explain;

pub mod listen;

pub mod forward;
pub mod mirror;
pub mod proxy;

pub mod control;

pub mod cli;
pub mod demo;
