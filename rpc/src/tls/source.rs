//! Where a config comes from: the user's own, or files that are read again when they have changed. What the files mean is the
//! business of `server.rs` and `client.rs`.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::pem::Pem;
use crate::Error;

/// A file that was changed more recently than this may change again within one tick of its file system's clock.
const SETTLED: Duration = Duration::from_secs(1);

/// A config, and how to get the next one.
pub(super) struct Source<C> {
    current: Mutex<Arc<C>>,
    files: Option<Files<C>>,
}

struct Files<C> {
    paths: Vec<PathBuf>,
    build: Build<C>,
    hasher: RandomState,
    /// Locked while files are read: never by whoever only needs the config.
    seen: Mutex<Seen>,
    /// What the log said last.
    complaint: Mutex<String>,
}

/// Makes a config of the files, in the order of their paths.
type Build<C> = fn(&[Pem]) -> Result<C, Error>;

struct Seen {
    /// Of the files that were read last, if they can be relied on.
    stamps: Option<Vec<Stamp>>,
    /// Hash of the text that the present config was made of.
    text: u64,
}

/// What changes when a file does.
#[derive(PartialEq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    #[cfg(unix)]
    file: (u64, u64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self {
            modified: file.modified()?,
            length: file.len(),
            #[cfg(unix)]
            file: (std::os::unix::fs::MetadataExt::dev(&file), std::os::unix::fs::MetadataExt::ino(&file)),
        })
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        now.duration_since(self.modified).is_ok_and(|age| age > SETTLED)
    }
}

impl<C> Source<C> {
    pub(super) fn own(config: Arc<C>) -> Self {
        Self { current: Mutex::new(config), files: None }
    }

    /// # Errors
    /// A file cannot be read, or `build` refuses what it says.
    pub(super) fn files(paths: Vec<PathBuf>, build: Build<C>) -> Result<Self, Error> {
        let hasher = RandomState::new();
        let stamps = stamps(&paths);
        let pems = read(&paths)?;
        let config = build(&pems)?;
        let seen = Mutex::new(Seen { stamps, text: hash(&hasher, &pems) });
        Ok(Self { current: Mutex::new(Arc::new(config)), files: Some(Files { paths, build, hasher, seen, complaint: Mutex::default() }) })
    }

    /// None for a config of the user's own.
    pub(super) fn paths(&self) -> Option<&[PathBuf]> {
        self.files.as_ref().map(|files| &*files.paths)
    }

    pub(super) fn current(&self) -> Arc<C> {
        lock(&self.current).clone()
    }

    /// Reads the files, if any has changed since. Whether there is a new config.
    ///
    /// # Errors
    /// The new files cannot be used; the config stays.
    pub(super) fn reload(&self) -> Result<bool, Error> {
        let Some(files) = &self.files else { return Ok(false) };
        let mut seen = lock(&files.seen);
        // Before the files are read: what changes in between is found next time.
        let stamps = stamps(&files.paths);
        if stamps.is_some() && stamps == seen.stamps {
            return Ok(false);
        }
        let pems = read(&files.paths)?;
        let text = hash(&files.hasher, &pems);
        let is_new = text != seen.text;
        if is_new {
            *lock(&self.current) = Arc::new((files.build)(&pems)?);
            seen.text = text;
        }
        seen.stamps = stamps;
        Ok(is_new)
    }
}

impl<C: Send + Sync + 'static> Source<C> {
    /// As [`reload`](Self::reload), away from the runtime's threads, with the outcome in the log: a lasting fault once.
    pub(super) async fn follow(self: &Arc<Self>) {
        let Some(files) = &self.files else { return };
        let source = self.clone();
        let reloaded = match tokio::task::spawn_blocking(move || source.reload()).await {
            Ok(reloaded) => reloaded,
            // The runtime shuts down, or a parser has panicked, which the panic hook has told.
            Err(_) => return,
        };
        let mut complaint = lock(&files.complaint);
        match reloaded {
            Ok(is_new) => {
                complaint.clear();
                if is_new {
                    tracing::info!("new TLS files are in use: {}", list(&files.paths));
                }
            }
            Err(error) => {
                let text = error.to_string();
                if *complaint != text {
                    tracing::warn!("the former TLS files stay in use: {text}");
                    *complaint = text;
                }
            }
        }
    }
}

/// None if they say nothing about whether a file will have changed.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    let now = SystemTime::now();
    let stamps: Vec<_> = paths.iter().map(|path| Stamp::of(path)).collect::<Result<_, _>>().ok()?;
    stamps.iter().all(|stamp| stamp.is_settled(now)).then_some(stamps)
}

fn read(paths: &[PathBuf]) -> Result<Vec<Pem>, Error> {
    paths.iter().map(|path| Pem::read(path)).collect()
}

fn hash(hasher: &RandomState, pems: &[Pem]) -> u64 {
    hasher.hash_one(pems.iter().map(|pem| &pem.text).collect::<Vec<_>>())
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// No code here leaves a half-made state behind, and a parser's panic must not stop what holds the config.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
