//! An upload with progress: the file goes up in pieces while the server answers with how much of it has come, and at last
//! with its checksum. An upload that is given up is an error on the server, never the end of a shorter file.
//! `cargo run --example upload`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::stream;
use rpc::{Server, Stream, Streaming};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Bytes that go up at a time.
const PIECE: usize = 256 << 10;

#[derive(Debug, Serialize, Deserialize)]
enum Progress {
    /// So many bytes have come.
    Received(usize),
    /// All have come, and are kept.
    Stored { bytes: usize, checksum: u32 },
}

#[rpc::service]
trait Depot {
    /// Detached, so that it comes to know how the pieces ended: a handler that is not goes with its caller, without a word.
    #[rpc(detached)]
    fn upload(&self, name: String, pieces: Streaming<Vec<u8>>) -> impl Stream<Item = Progress>;
    async fn files(&self) -> Vec<String>;
}

struct Shelves {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What the server has to say of uploads that came to nothing.
    log: mpsc::UnboundedSender<String>,
}

impl Depot for Shelves {
    fn upload(&self, name: String, pieces: Streaming<Vec<u8>>) -> impl Stream<Item = Progress> {
        // The state of an upload is what has come so far; once it is stored, or lost, nothing is left to do.
        stream::unfold(Some((name, pieces, Vec::new())), move |state| async move {
            let (name, mut pieces, mut file) = state?;
            match pieces.next().await {
                Some(Ok(piece)) => {
                    file.extend(piece);
                    Some((Progress::Received(file.len()), Some((name, pieces, file))))
                }
                // Only a sender that has finished brings us here.
                None => {
                    let stored = Progress::Stored { bytes: file.len(), checksum: crc32(&file) };
                    self.files.lock().ok()?.insert(name, file);
                    Some((stored, None))
                }
                Some(Err(error)) => {
                    self.log.send(format!("{name}: {:?} after {} bytes, nothing is kept", error.kind(), file.len())).ok();
                    None
                }
            }
        })
    }

    async fn files(&self) -> Vec<String> {
        self.files.lock().map(|files| files.keys().cloned().collect()).unwrap_or_default()
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (log, mut logged) = mpsc::unbounded_channel();
    let shelves = Arc::new(Shelves { files: Mutex::default(), log });
    let server = Server::new().add(DepotServer::shared(shelves)).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let depot = DepotClient::connect(address).await?;

    // Made here, a mebibyte; a real one would be read piece by piece, no faster than the server takes it.
    let file: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let pieces: Vec<_> = file.chunks(PIECE).map(<[u8]>::to_vec).collect();

    let mut progress = depot.upload("whole.bin".to_owned(), stream::iter(pieces.clone())).await?;
    while let Some(step) = progress.next().await {
        match step? {
            Progress::Received(bytes) => println!("whole.bin: {} %", 100 * bytes / file.len()),
            Progress::Stored { bytes, checksum } => {
                println!("whole.bin: {bytes} bytes stored, the checksum {}", if checksum == crc32(&file) { "matches" } else { "differs" })
            }
        }
    }

    // Half of it, and then the sender is dropped, as a broken disk or a panic would do it.
    let (sender, half) = Streaming::channel();
    let mut progress = depot.upload("half.bin".to_owned(), half).await?;
    for piece in &pieces[..2] {
        sender.send(piece.clone()).await?;
        if let Some(Progress::Received(bytes)) = progress.next().await.transpose()? {
            println!("half.bin: {} %", 100 * bytes / file.len());
        }
    }
    drop(sender);
    println!("half.bin: given up");
    if let Some(line) = logged.recv().await {
        println!("the server: {line}");
    }
    if let Some(Err(error)) = progress.next().await {
        println!("the client: {:?}, executed: {}", error.kind(), error.executed());
    }

    println!("files: {:?}", depot.files().await?);
    depot.close().await;
    Ok(())
}
