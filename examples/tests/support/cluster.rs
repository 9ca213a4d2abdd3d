//! A PostgreSQL of one's own: a private cluster in a temporary folder, reached by a Unix socket, gone when the test ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Cluster {
    server: Child,
    folder: PathBuf,
}

impl Cluster {
    /// `None`, and words that say so, when no PostgreSQL is installed.
    pub fn start(test: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("RPC_NEEDS_POSTGRES").is_none(), "RPC_NEEDS_POSTGRES is set, and no PostgreSQL is installed");
            // Past the capture of a test's output: a suite that was not run must not look like one that passed.
            let words = "NOT RUN, because no PostgreSQL is installed here (initdb was looked for in PATH and /usr/lib/postgresql)";
            writeln!(std::io::stderr(), "{test}: {words}").ok();
            return None;
        };
        // A socket's path has little room.
        let folder = PathBuf::from(format!("/tmp/checkout-pg-{}-{test}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir(&folder).unwrap();
        let user = unprivileged();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let run = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.current_dir(&folder).env_remove("PGDATA").env("LC_ALL", "C").stdin(Stdio::null());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let data = folder.join("data");
        let made = run("initdb")
            .args(["--username=checkout", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // It syncs every commit, as it does by default.
        let mut server = run("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-c", "listen_addresses=", "-c", "max_connections=50"]);
        let mut server = server.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.by_ref().any(|line| line.contains("ready to accept connections"));
        assert!(ready, "the database did not start");
        // Read on, so that it is never stopped by a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { server, folder })
    }

    /// For `--store`.
    pub fn url(&self) -> String {
        let socket = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://checkout@{socket}/postgres")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGQUIT: at once. Nobody needs this database any more.
        Command::new("kill").args(["-QUIT", &self.server.id().to_string()]).status().ok();
        self.server.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// The folder of `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian keeps one folder a version, and none of them in PATH.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map_while(Result::ok);
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// Root may not run a database: somebody else, then.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?.collect();
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let user = find("postgres").or_else(|| find("nobody"));
    assert!(user.is_some(), "root needs a user postgres or nobody to run a database as");
    user
}
