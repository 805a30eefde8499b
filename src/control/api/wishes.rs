//! Owns what the bodies of writes say, and their way to a command. Unknown members are refused: they may be a slip.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Problem;
use super::body::parse;
use super::routes::Write;
use crate::control::{Command, parse_lasts};
use crate::flag::Share;

/// What a write asks for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) command: Command,
    pub(super) why: String,
    pub(super) lasts: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasoned {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lasting {
    reason: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    shares: Map<String, Value>,
    reason: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    attribute: String,
    value: String,
    variant: String,
    reason: String,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unpin {
    #[serde(default)]
    attribute: Option<String>,
    #[serde(default)]
    value: Option<String>,
    reason: String,
}

/// The greatest number that every reader of JSON knows exactly (RFC 8259, section 6).
const GENERATION_MAX: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    generation: u64,
    reason: String,
}

impl Wish {
    /// Reads a body; `flag` is the key in the path, where there is one.
    ///
    /// # Errors
    /// When it is no JSON, has other members than it may, or values that cannot be.
    pub(super) fn read(write: Write, flag: String, body: &[u8]) -> Result<Self, Problem> {
        let wish = match write {
            Write::Kill => Self::lasting(Command::Kill { flag }, parse(body)?)?,
            Write::KillAll => Self::lasting(Command::KillAll, parse(body)?)?,
            Write::Revive => Self::reasoned(Command::Revive { flag }, parse(body)?),
            Write::ReviveAll => Self::reasoned(Command::ReviveAll, parse(body)?),
            Write::Unset => Self::reasoned(Command::Unset { flag }, parse(body)?),
            Write::Release => Self::reasoned(Command::Release, parse(body)?),
            Write::Set => {
                let Set { shares, reason, lasts } = parse(body)?;
                let command = Command::Set { flag, shares: read_shares(&shares)? };
                Self::lasting(command, Lasting { reason, lasts })?
            }
            Write::Pin => {
                let Pin { attribute, value, variant, reason, lasts } = parse(body)?;
                Self::lasting(Command::Pin { flag, attribute, value, variant }, Lasting { reason, lasts })?
            }
            Write::Unpin => {
                let Unpin { attribute, value, reason } = parse(body)?;
                let pin = match (attribute, value) {
                    (Some(attribute), Some(value)) => Some((attribute, value)),
                    (None, None) => None,
                    _ => {
                        return Err(Problem::malformed("give attribute and value, or neither for all pins".to_owned()));
                    }
                };
                Self::reasoned(Command::Unpin { flag, pin }, Reasoned { reason })
            }
            Write::Restore => {
                let Restore { generation, reason } = parse(body)?;
                if generation > GENERATION_MAX {
                    return Err(Problem::malformed(format!("generation is at most {GENERATION_MAX}")));
                }
                Self::reasoned(Command::Restore { generation }, Reasoned { reason })
            }
        };
        // Judged before what depends on the moment, so that it is refused in every generation.
        if wish.why.chars().all(|letter| letter.is_whitespace() || letter.is_control()) {
            return Err(Problem::no_reason());
        }
        Ok(wish)
    }

    fn reasoned(command: Command, given: Reasoned) -> Self {
        Self { command, why: given.reason, lasts: None }
    }

    fn lasting(command: Command, given: Lasting) -> Result<Self, Problem> {
        let lasts = given.lasts.map(|text| parse_lasts(&text).map_err(Problem::unfit)).transpose()?;
        Ok(Self { command, why: given.reason, lasts })
    }
}

fn read_shares(shares: &Map<String, Value>) -> Result<Vec<(String, Share)>, Problem> {
    if shares.is_empty() {
        return Err(Problem::unfit("give at least one variant its share".to_owned()));
    }
    let read = |(variant, share): (&String, &Value)| {
        let text = share.as_str().filter(|text| text.ends_with('%'));
        let text = text.ok_or_else(|| format!("write the share of `{variant}` with its sign, such as \"10%\""))?;
        Ok((variant.clone(), text.parse().map_err(|error| format!("{error}"))?))
    };
    shares.iter().map(read).collect::<Result<_, String>>().map_err(Problem::unfit)
}
