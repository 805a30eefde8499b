//! Owns the unix socket of the admin listener: its file, and who may connect. It serves nothing.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};

use super::api::{Caller, Role};

/// The socket's name in the state directory.
pub const NAME: &str = "admin.sock";
/// Where the names of users stand.
const USERS: &str = "/etc/passwd";

/// The socket, with the names of the two users who may connect.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: UnixListener,
    /// Our own user and root, by uid.
    peers: Vec<(u32, Caller)>,
}

impl AdminSocket {
    /// Opens the socket in place of an earlier process's; to be called on a runtime.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let (path, next) = (state_dir.join(NAME), state_dir.join("admin.sock.new"));
        // Left by a process that ended between the next steps.
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&next)?;
        fs::set_permissions(&next, Permissions::from_mode(0o600))?;
        // In one step, so that whoever connects meets the earlier process or this one.
        fs::rename(&next, path)?;
        let users = fs::read_to_string(USERS).unwrap_or_default();
        let own = rustix::process::geteuid().as_raw();
        let caller = |uid| (uid, Caller { name: user_name(&users, uid), role: Role::Operate });
        Ok(Self { listener, peers: vec![caller(own), caller(0)] })
    }

    /// Waits for the next connection; one of another user is closed.
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, Caller)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // The file's mode keeps others out; a directory that was opened up must not let them in (rule A1).
            let uid = stream.peer_cred()?.uid();
            match self.peers.iter().find(|(known, _)| *known == uid) {
                Some((_, caller)) => return Ok((stream, caller.clone())),
                None => tracing::warn!(uid, "another user came to {NAME} and was turned away"),
            }
        }
    }
}

/// The user's name, or `uid:N` where there is none.
fn user_name(users: &str, uid: u32) -> Arc<str> {
    let number = uid.to_string();
    let mut rows = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = rows.find(|fields| fields.get(2) == Some(&&*number)).and_then(|fields| fields.first().copied());
    let usable =
        found.filter(|name| !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic()));
    usable.map_or_else(|| format!("uid:{uid}").into(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::user_name;

    #[test]
    fn users_have_names_or_numbers() {
        let users = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\n:x:7::::\n";
        for (uid, name) in [(0, "root"), (1000, "ada"), (7, "uid:7"), (100, "uid:100")] {
            assert_eq!(&*user_name(users, uid), name);
        }
    }
}
