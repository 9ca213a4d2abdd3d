//! A wire with a tap and a knife: a TCP proxy that records what a client says, and loses what the server answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

pub struct Wire {
    pub address: String,
    shared: Arc<Shared>,
    heard: Mutex<mpsc::Receiver<()>>,
}

struct Shared {
    server: String,
    /// All that the client has said, on the last connection.
    said: Mutex<Vec<u8>>,
    /// Once this stands in what the server answers, that answer and the connection are lost.
    fatal: Mutex<Option<Vec<u8>>>,
    lost: AtomicBool,
    tell: Mutex<mpsc::Sender<()>>,
}

impl Wire {
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, heard) = mpsc::channel();
        let shared = Shared {
            server: server.to_owned(),
            said: Mutex::default(),
            fatal: Mutex::default(),
            lost: AtomicBool::new(false),
            tell: Mutex::new(tell),
        };
        let shared = Arc::new(shared);
        let carrier = shared.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, shared) = (near.unwrap(), carrier.clone());
                std::thread::spawn(move || shared.carry(near));
            }
        });
        Self { address, shared, heard: Mutex::new(heard) }
    }

    /// Loses the answer that has this in it, once.
    pub fn lose(&self, answer: &str) {
        *self.shared.fatal.lock().unwrap() = Some(answer.as_bytes().to_vec());
    }

    /// Whether an answer was lost.
    pub fn lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    pub fn said(&self) -> Vec<u8> {
        self.shared.said.lock().unwrap().clone()
    }

    /// Waits until the client has said this.
    pub fn hears(&self, text: &str) {
        let heard = self.heard.lock().unwrap();
        while !contains(&self.said(), text.as_bytes()) {
            heard.recv_timeout(std::time::Duration::from_secs(30)).expect("the client says it");
        }
    }
}

impl Shared {
    fn carry(self: Arc<Self>, near: TcpStream) {
        let far = TcpStream::connect(&self.server).unwrap();
        self.said.lock().unwrap().clear();
        let (mut up, mut far_up) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let shared = self.clone();
        let upward = std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(n @ 1..) = up.read(&mut buffer) {
                if far_up.write_all(&buffer[..n]).is_err() {
                    break;
                }
                shared.said.lock().unwrap().extend_from_slice(&buffer[..n]);
                shared.tell.lock().unwrap().send(()).ok();
            }
            far_up.shutdown(Shutdown::Write).ok();
        });
        let (mut near, mut far) = (near, far);
        let mut buffer = [0; 16 << 10];
        while let Ok(n @ 1..) = far.read(&mut buffer) {
            let mut fatal = self.fatal.lock().unwrap();
            if fatal.as_ref().is_some_and(|fatal| contains(&buffer[..n], fatal)) {
                *fatal = None;
                self.lost.store(true, Ordering::Release);
                break;
            }
            drop(fatal);
            if near.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        near.shutdown(Shutdown::Both).ok();
        far.shutdown(Shutdown::Both).ok();
        upward.join().unwrap();
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}
