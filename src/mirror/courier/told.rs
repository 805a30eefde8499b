//! Owns what is told of a failed attempt: to the log, and to the person who is to decide about a parked copy.

use super::verdict::Came;

/// Of what a destination says, so much is kept, in bytes.
const SAID_BYTES_MAX: usize = 512;
/// Of its shape, in bytes.
const SHAPE_BYTES_MAX: usize = 160;

/// What came of an attempt, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    /// The status or fault; empty where nothing was sent.
    pub came: String,
    /// What the destination said, or why nothing was sent.
    pub said: String,
}

impl Told {
    /// By an answer.
    pub(super) fn by(came: Came, body: &[u8]) -> Self {
        Self { came: came.name(), said: shortened(&String::from_utf8_lossy(body), SAID_BYTES_MAX) }
    }

    /// By us.
    pub(super) fn ours(why: &str) -> Self {
        Self { came: String::new(), said: why.to_owned() }
    }

    /// What is said with everything left out that differs from copy to copy: numbers, names of things in hexadecimal.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::new();
        for word in self.said.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            let counts = bare.bytes().any(|byte| byte.is_ascii_digit());
            if counts {
                shape.push('#');
                shape.push_str(&word[bare.len()..]);
            } else {
                shape.push_str(word);
            }
        }
        shortened(&shape, SHAPE_BYTES_MAX)
    }
}

fn shortened(text: &str, bytes_max: usize) -> String {
    let visible: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=bytes_max.min(visible.len())).rev().find(|at| visible.is_char_boundary(*at)).unwrap_or(0);
    visible[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_copy_to_copy_has_one_shape() {
        let shape = |said: &str| Told::ours(said).shape();
        assert_eq!(shape("order 17 is closed"), shape("order 4711 is closed"));
        let uuid = r#"{"error":"no customer","id":"5f0c3c1e-6d2f-4a3b-8c9d-0e1f2a3b4c5d"}"#;
        assert_eq!(shape(uuid), r##"{"error":"no customer","id":"#"}"##);
        assert_ne!(shape("order 17 is closed"), shape("order 17 is open"));
    }

    #[test]
    fn what_is_said_is_shortened_between_characters() {
        let told = Told::by(Came::Status(422), "é\n".repeat(1_000).as_bytes());
        assert!(told.said.len() <= SAID_BYTES_MAX && !told.said.contains('\n'));
        assert_eq!(told.came, "422");
    }
}
