//! Owns the tokens of the admin API: their files and who each stands for. Secrets are kept as digests alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// The file in the state directory that is made at the first start.
pub const OWN_FILE: &str = "admin.token";
/// Who somebody with the token of [`OWN_FILE`] is called.
const OWN_NAME: &str = "admin.token";
/// Shorter secrets could be guessed, however slowly.
const SECRET_BYTES_MIN: usize = 24;
/// The most bytes of a name; it stands in every entry of the history.
const NAME_BYTES_MAX: usize = 64;
/// The most tokens of a file; each is compared at each request.
const TOKENS_MAX: usize = 256;
/// The largest file in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Between two looks at the files: a token is taken back within so much time.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Random bytes of a secret that the router makes.
const SECRET_BYTES: usize = 32;

/// What somebody may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) enum Role {
    /// Look.
    Read,
    /// Change what is in force.
    Operate,
}

/// Somebody who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct Caller {
    pub(in crate::control) name: Arc<str>,
    pub(in crate::control) role: Role,
}

type Digest = [u8; 32];

#[derive(Debug, Clone, PartialEq)]
struct Token {
    caller: Caller,
    digest: Digest,
}

/// The tokens that count now.
#[derive(Debug)]
pub(in crate::control) struct Tokens(Mutex<Vec<Source>>);

/// A file of tokens.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    form: Form,
    /// Of the content that was read last.
    seen: Option<Digest>,
    /// Of the last content that was right.
    tokens: Vec<Token>,
    /// The last trouble, so that it is logged once.
    trouble: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// One secret, whose holder may do all.
    Single,
    /// Lines of role, name and secret.
    Lines,
}

impl Tokens {
    /// Reads the tokens; makes the one of the state directory where there is none.
    ///
    /// # Errors
    /// When the listed file cannot be read or has a mistake.
    pub(in crate::control) fn open(state_dir: Option<&Path>, listed: Option<PathBuf>) -> io::Result<Self> {
        let mut sources = Vec::new();
        if let Some(dir) = state_dir {
            if let Err(error) = make_own(dir) {
                // A full disk must not keep the router from serving; the unix socket needs no token.
                tracing::error!(%error, "{OWN_FILE} cannot be made in the state directory: no token stands in it");
            }
            let mut own = Source::new(dir.join(OWN_FILE), Form::Single);
            own.note(own.read());
            sources.push(own);
        }
        if let Some(path) = listed {
            let mut source = Source::new(path, Form::Lines);
            let named = |why: String| io::Error::other(format!("{}: {why}", source.path.display()));
            (source.seen, source.tokens) = source.read().map(|(seen, tokens)| (Some(seen), tokens)).map_err(named)?;
            sources.push(source);
        }
        Ok(Self(Mutex::new(sources)))
    }

    /// Finds whom a secret stands for; takes the same time whichever token is almost right.
    pub(super) fn find(&self, secret: &[u8]) -> Option<Caller> {
        let given = sha256(secret);
        let sources = self.lock();
        let mut found = None;
        for token in sources.iter().flat_map(|source| &source.tokens) {
            if verify_slices_are_equal(&given, &token.digest).is_ok() {
                found = Some(&token.caller);
            }
        }
        found.cloned()
    }

    /// Looks at the files for ever; what changed counts within [`LOOK_INTERVAL`].
    pub(in crate::control) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let tokens = Arc::clone(&self);
            // A panic in there is logged by its hook; the tokens stay as they are.
            let _ = tokio::task::spawn_blocking(move || tokens.look()).await;
        }
    }

    fn look(&self) {
        let files: Vec<_> = self.lock().iter().map(|source| Source::new(source.path.clone(), source.form)).collect();
        // Read without the lock: a disk that hangs must not keep anybody out.
        let read: Vec<_> = files.iter().map(Source::read).collect();
        for (source, read) in self.lock().iter_mut().zip(read) {
            source.note(read);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn new(path: PathBuf, form: Form) -> Self {
        Self { path, form, seen: None, tokens: Vec::new(), trouble: None }
    }

    fn read(&self) -> Result<(Digest, Vec<Token>), String> {
        let mut text = String::new();
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("more than {FILE_BYTES_MAX} bytes are no file of tokens"));
        }
        let tokens = match self.form {
            Form::Single => vec![Token {
                caller: Caller { name: OWN_NAME.into(), role: Role::Operate },
                digest: secret(text.trim())?,
            }],
            Form::Lines => lines(&text)?,
        };
        Ok((sha256(text.as_bytes()), tokens))
    }

    /// Takes over what was read; what is wrong changes nothing and is logged once.
    fn note(&mut self, read: Result<(Digest, Vec<Token>), String>) {
        let path = self.path.display();
        match read {
            Ok((seen, tokens)) => {
                if self.seen.is_some_and(|known| known != seen) || self.trouble.is_some() {
                    tracing::info!(%path, tokens = tokens.len(), "the tokens of the admin API were read again");
                }
                (self.seen, self.tokens, self.trouble) = (Some(seen), tokens, None);
            }
            Err(error) => {
                if self.trouble.as_ref() != Some(&error) {
                    tracing::error!(%path, error, "tokens of the admin API cannot be read; those before stay");
                }
                self.trouble = Some(error);
            }
        }
    }
}

/// Reads `ROLE NAME SECRET` or `ROLE NAME sha256:HEX` a line, and comments.
fn lines(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    for (at, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let token = token(line).map_err(|why| format!("line {at}: {why}"))?;
        if tokens.iter().any(|known| known.caller.name == token.caller.name) {
            return Err(format!(
                "line {at}: `{}` is there already; give each token a name of its own",
                token.caller.name
            ));
        }
        tokens.push(token);
    }
    if tokens.len() > TOKENS_MAX {
        return Err(format!("there are more than {TOKENS_MAX} tokens"));
    }
    Ok(tokens)
}

fn token(line: &str) -> Result<Token, String> {
    let [role, name, given] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err("write a role, a name and a secret, as in `read grafana sha256:9f86…`".to_owned());
    };
    let role = match role {
        "read" => Role::Read,
        "operate" => Role::Operate,
        _ => return Err(format!("`{role}` is no role; use read or operate")),
    };
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("a name is at most {NAME_BYTES_MAX} visible ASCII characters"));
    }
    let digest = match given.strip_prefix("sha256:") {
        Some(hex) => from_hex(hex).ok_or("after sha256: come 64 hexadecimal digits, as `sha256sum` prints them")?,
        None => secret(given)?,
    };
    Ok(Token { caller: Caller { name: name.into(), role }, digest })
}

fn secret(text: &str) -> Result<Digest, String> {
    if text.len() < SECRET_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "a secret is at least {SECRET_BYTES_MIN} visible ASCII characters; `openssl rand -hex 32` makes one"
        ));
    }
    Ok(sha256(text.as_bytes()))
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut own = [0; 32];
    own.copy_from_slice(digest(&SHA256, bytes).as_ref());
    own
}

/// Makes the file of the state directory, whole or not at all.
fn make_own(dir: &Path) -> io::Result<()> {
    let path = dir.join(OWN_FILE);
    if path.try_exists()? {
        return Ok(());
    }
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let text = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")) + "\n";
    let next = dir.join("admin.token.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef01234567";

    #[test]
    fn lines_are_roles_names_and_secrets_or_digests() {
        let hex = sha256(SECRET.as_bytes()).iter().fold(String::new(), |text, byte| format!("{text}{byte:02X}"));
        let text = format!("# comment\n\nread grafana {SECRET}\noperate  ci sha256:{hex}\n");
        let read = lines(&text).unwrap();
        assert_eq!(read[0].caller, Caller { name: "grafana".into(), role: Role::Read });
        assert_eq!((read[1].caller.role, read[1].digest), (Role::Operate, read[0].digest));
    }

    #[test]
    fn mistakes_name_the_line_and_the_fix() {
        for (text, said) in [
            ("read x", "line 1: write a role"),
            ("\nadmin x 0123456789abcdef01234567", "line 2: `admin` is no role"),
            ("read x short", "openssl rand"),
            ("read x sha256:12", "64 hexadecimal digits"),
            ("read x sha256:+f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a0", "64 hexadecimal"),
            ("read x 0123456789abcdef01234567\noperate x 0123456789abcdef01234568", "line 2: `x` is there already"),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_own_token_is_made_once_and_only_for_us() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(Some(dir.path()), None).unwrap();
        let path = dir.path().join(OWN_FILE);
        let secret = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(tokens.find(secret.trim().as_bytes()).unwrap().role, Role::Operate);
        assert_eq!(tokens.find(b""), None);
        Tokens::open(Some(dir.path()), None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), secret);
    }

    #[test]
    fn a_file_that_goes_wrong_takes_no_token_back_and_one_that_changes_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, format!("read x {SECRET}")).unwrap();
        let tokens = Tokens::open(None, Some(path.clone())).unwrap();
        for wrong in ["read x", "\u{fffd}"] {
            fs::write(&path, wrong).unwrap();
            tokens.look();
            assert!(tokens.find(SECRET.as_bytes()).is_some());
        }
        fs::write(&path, "read x abcdefabcdefabcdefabcdefabcdef").unwrap();
        tokens.look();
        assert!(tokens.find(SECRET.as_bytes()).is_none() && tokens.find(b"abcdefabcdefabcdefabcdefabcdef").is_some());
        fs::write(&path, "").unwrap();
        tokens.look();
        assert!(tokens.find(b"abcdefabcdefabcdefabcdefabcdef").is_none());
        assert!(Tokens::open(None, Some(dir.path().join("absent"))).is_err());
    }
}
