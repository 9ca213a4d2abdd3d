//! The network of one world: connections with a plan of their own each, and a listener that comes and goes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::Address;
use rpc::transport::{Dial, Listen, Transport};
use rpc_tests::fault::{Cut, Plan, Wire, wire};
use rpc_tests::rng::Rng;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Connections of one world.
pub(crate) struct Net {
    rng: Mutex<Rng>,
    wires: Mutex<Vec<Wire>>,
    listener: Mutex<Option<mpsc::UnboundedSender<Transport>>>,
    calm: AtomicBool,
}

impl Net {
    pub(crate) fn new(rng: Rng) -> Arc<Self> {
        Arc::new(Self { rng: Mutex::new(rng), wires: Mutex::default(), listener: Mutex::default(), calm: AtomicBool::new(false) })
    }

    /// The next listener; the one before hears nothing more.
    pub(crate) fn listen(&self) -> Door {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.listener.lock().unwrap() = Some(sender);
        Door(receiver)
    }

    /// Nobody listens.
    pub(crate) fn shut(&self) {
        *self.listener.lock().unwrap() = None;
    }

    pub(crate) fn faults(&self) -> u64 {
        self.wires.lock().unwrap().iter().map(Wire::faults).sum()
    }

    /// No faults from here on, and nothing slow; what is broken stays broken.
    pub(crate) fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.wires.lock().unwrap().iter().for_each(Wire::calm);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    fn plan(&self, rng: &mut Rng) -> Plan {
        if self.is_calm() {
            return Plan::default();
        }
        // Every other connection lives long enough for streams to get somewhere.
        let mild = rng.once_in(2);
        let piece =
            if mild { [500, 5_000, usize::MAX][rng.below(3) as usize] } else { [1, 7, 100, 5_000, 100_000, usize::MAX][rng.below(6) as usize] };
        // Large messages byte by byte would take all the time there is.
        let tiny = piece < 500;
        let cut = (tiny || !rng.once_in(4)).then(|| {
            let reach = if mild { [20_000, 100_000, 500_000] } else { [300, 2_500, if tiny { 6_000 } else { 250_000 }] };
            let reach = reach[rng.below(3) as usize];
            (rng.below(reach), Cut::ALL[rng.below(Cut::ALL.len() as u64) as usize])
        });
        let delay = Duration::from_micros([0, 10, 500, 30_000][rng.below(4) as usize]);
        // Many small pieces, each delayed, would outlast every deadline.
        let delay = if piece < 5_000 { delay.min(Duration::from_micros(500)) } else { delay };
        Plan { cut, piece, ragged: rng.once_in(2), delay, capacity: [100, 4_000, 64 << 10][rng.below(3) as usize], ..Plan::default() }
    }
}

pub(crate) struct Dialer(pub(crate) Arc<Net>);

#[rpc::async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> io::Result<Transport> {
        let (slow, near, far) = {
            let mut rng = self.0.rng.lock().unwrap();
            let (up, down) = (self.0.plan(&mut rng), self.0.plan(&mut rng));
            let (near, far, wire) = wire(up, down, rng.draw());
            self.0.wires.lock().unwrap().push(wire);
            (Duration::from_micros(rng.below(5_000)), near, far)
        };
        sleep(slow).await;
        let listener = self.0.listener.lock().unwrap().clone();
        listener.and_then(|listener| listener.send(far).ok()).ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

pub(crate) struct Door(mpsc::UnboundedReceiver<Transport>);

#[rpc::async_trait]
impl Listen for Door {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.recv().await {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("simulated")
    }
}
