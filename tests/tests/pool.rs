//! A client of several connections (`ClientOptions::connections`): when it makes them, which of them a call takes, and what is
//! left when one is gone. Each connection has a server with a lab of its own, so a test sees what went where.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use rpc::transport::{self, Dial, Transport};
use rpc::{Client, ClientOptions, Context, ErrorKind, Executed, Limits, Server};
use rpc_tests::{FlowsClient, Kind, LabClient, Plan, Rig, TestLab, rig, settle, virtual_time};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a new connection's server is made of.
type Serve = Box<dyn Fn(&Arc<TestLab>) -> Server + Send + Sync>;

/// Serves every dial, each by a server of its own.
struct Site {
    kind: Kind,
    serve: Serve,
    dials: watch::Sender<usize>,
    /// Dials that were answered.
    served: Mutex<Vec<Served>>,
    /// So many dials are refused.
    refuses: AtomicUsize,
    /// Dials wait until this is false.
    holds: watch::Sender<bool>,
}

struct Served {
    lab: Arc<TestLab>,
    task: JoinHandle<()>,
}

struct Dialer(Arc<Site>);

#[rpc::async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> io::Result<Transport> {
        let site = &self.0;
        site.dials.send_modify(|dials| *dials += 1);
        site.holds.subscribe().wait_for(|holds| !holds).await.unwrap();
        if site.refuses.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = connection(site.kind).await?;
        let lab = TestLab::new();
        let server = (site.serve)(&lab).serve_connection(far);
        let task = tokio::spawn(async move { server.await.unwrap() });
        site.served.lock().unwrap().push(Served { lab, task });
        Ok(near)
    }
}

async fn connection(kind: Kind) -> io::Result<(Transport, Transport)> {
    if kind == Kind::Memory {
        return Ok(transport::memory::connection());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    let (near, (far, peer)) = (near?, far?);
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((Transport::over(near, "server"), Transport::over(far, peer.to_string())))
}

impl Site {
    fn new(kind: Kind) -> Arc<Self> {
        Self::of(kind, Box::new(rig::server))
    }

    fn of(kind: Kind, serve: Serve) -> Arc<Self> {
        let (dials, holds) = (watch::Sender::new(0), watch::Sender::new(false));
        Arc::new(Self { kind, serve, dials, served: Mutex::default(), refuses: AtomicUsize::new(0), holds })
    }

    async fn client(self: &Arc<Self>, options: ClientOptions) -> Client {
        options.dial(Dialer(self.clone())).await.unwrap()
    }

    fn dials(&self) -> usize {
        *self.dials.borrow()
    }

    fn labs(&self) -> Vec<Arc<TestLab>> {
        self.served.lock().unwrap().iter().map(|served| served.lab.clone()).collect()
    }

    fn live(&self) -> Vec<usize> {
        self.labs().iter().map(|lab| lab.live()).collect()
    }

    fn begun(&self) -> u64 {
        self.labs().iter().map(|lab| lab.begun()).sum()
    }

    /// Waits until so many handlers run, wherever.
    async fn until_live(&self, count: usize) {
        while self.live().iter().sum::<usize>() != count {
            tokio::task::yield_now().await;
        }
    }

    /// As a crash of this connection's server would.
    async fn crash(&self, number: usize) {
        let lab = {
            let served = &self.served.lock().unwrap()[number];
            served.task.abort();
            served.lab.clone()
        };
        lab.until_live(0).await;
    }

    async fn until_ended(&self) {
        let tasks: Vec<_> = self.served.lock().unwrap().drain(..).map(|served| served.task).collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    fn open(&self, key: u64) {
        for lab in self.labs() {
            lab.open(key);
        }
    }
}

type Waits = Vec<JoinHandle<Result<u64, rpc::Error>>>;

fn waits(client: &LabClient, count: usize, key: u64) -> Waits {
    (0..count).map(|_| tokio::spawn(client.wait(key).timeout(Duration::from_secs(600)).owned())).collect()
}

/// Calls that wait for this key, until there are so many connections and one of the calls on each.
async fn spread_out(site: &Site, client: &LabClient, connections: usize, key: u64) -> Waits {
    let mut all = Waits::new();
    while site.live().iter().filter(|live| **live > 0).count() < connections {
        let busy: usize = site.live().iter().sum();
        all.extend(waits(client, 1, key));
        site.until_live(busy + 1).await;
        // Another connection takes a while; a call that waits for nothing goes by those there are.
        for _ in 0..20 {
            client.nothing().await.unwrap();
        }
    }
    all
}

async fn all_end(calls: Waits) {
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

fn several(connections: usize) -> ClientOptions {
    Client::options().connections(connections)
}

macro_rules! over_sockets_and_memory {
    ($($case:ident)*) => {
        rpc_tests::over!(tcp Tcp "current_thread" $($case)*);
        rpc_tests::over!(tcp_on_two_threads Tcp "multi_thread" $($case)*);
        rpc_tests::over!(memory Memory "current_thread" $($case)*);
        rpc_tests::over!(memory_on_two_threads Memory "multi_thread" $($case)*);
    };
}

over_sockets_and_memory! {
    one_connection_is_made_unless_told_otherwise
    calls_in_turn_make_one_connection
    connections_are_made_as_calls_need_them
    no_call_waits_for_another_connection
    calls_are_spread
    a_connection_with_slow_calls_is_avoided
    streams_stay_and_count
    one_of_several_is_lost
    all_are_lost
    a_draining_server_is_left
    a_closing_client_ends_on_all
    the_last_clone_closes_all
    handlers_call_back_by_their_own_connection
    calls_by_name_are_bound_on_each
}

// ---- when they are made

async fn one_connection_is_made_unless_told_otherwise(kind: Kind) {
    for options in [Client::options(), several(1), several(0)] {
        let site = Site::new(kind);
        let client: LabClient = site.client(options).await.into();
        let calls = waits(&client, 200, 1);
        site.until_live(200).await;
        settle().await;
        assert_eq!((site.dials(), site.live()), (1, vec![200]));
        site.open(1);
        all_end(calls).await;
    }
}

async fn calls_in_turn_make_one_connection(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(4)).await.into();
    for n in 0..200 {
        assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
    }
    settle().await;
    assert_eq!(site.dials(), 1);
}

async fn connections_are_made_as_calls_need_them(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(3)).await.into();
    let mut calls = Waits::new();
    for busy in 1..=3 {
        calls.extend(spread_out(&site, &client, busy, 1).await);
        // All there are have a call in flight: the next one asks for another, and then there is one that is free.
        let wanted = 3.min(busy + 1);
        while site.dials() < wanted {
            client.nothing().await.unwrap();
        }
        for _ in 0..100 {
            client.nothing().await.unwrap();
        }
        assert_eq!(site.dials(), wanted);
    }
    // However many calls there are.
    calls.extend(waits(&client, 200, 1));
    site.until_live(calls.len()).await;
    settle().await;
    assert_eq!(site.dials(), 3);
    site.open(1);
    all_end(calls).await;
}

async fn no_call_waits_for_another_connection(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(2)).await.into();
    site.holds.send_replace(true);
    let mut calls = waits(&client, 1, 1);
    site.until_live(1).await;
    for n in 0..200 {
        assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
    }
    site.dials.subscribe().wait_for(|dials| *dials == 2).await.unwrap();
    calls.extend(waits(&client, 10, 1));
    site.until_live(11).await;
    assert_eq!((site.dials(), site.live()), (2, vec![11]), "one attempt at a time");
    site.holds.send_replace(false);
    calls.extend(spread_out(&site, &client, 2, 1).await);
    site.open(1);
    all_end(calls).await;
}

// ---- which a call takes

async fn calls_are_spread(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(4)).await.into();
    let mut calls = spread_out(&site, &client, 4, 1).await;
    let before = calls.len();
    calls.extend(waits(&client, 400, 1));
    site.until_live(before + 400).await;
    let live = site.live();
    // Even but for a quarter, and for what threads do not see of each other at once.
    assert!(live.iter().all(|live| (50..=200).contains(live)), "{live:?}");
    site.open(1);
    all_end(calls).await;
    // Nor do calls that are over weigh on any.
    for n in 0..100 {
        assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
    }
}

async fn a_connection_with_slow_calls_is_avoided(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(2)).await.into();
    let mut calls = spread_out(&site, &client, 2, 1).await;
    for slow in [0, 1] {
        let labs = site.labs();
        let key = slow as u64 + 1;
        calls.extend(waits(&client, 40, key));
        while labs.iter().map(|lab| lab.live()).sum::<usize>() < 40 {
            tokio::task::yield_now().await;
        }
        // Those on the other end.
        labs[1 - slow].open(key);
        labs[1 - slow].until_live(0).await;
        assert!(labs[slow].live() > 0);
        // Its calls have ended, but their callers may not have heard of it.
        while calls.iter().filter(|call| !call.is_finished()).count() > labs[slow].live() {
            tokio::task::yield_now().await;
        }
        let begun = labs[slow].begun();
        for id in 0..100 {
            client.run(id, Plan::Return, &[]).await.unwrap();
        }
        assert_eq!(labs[slow].begun(), begun, "not one of them");
        site.open(key);
        all_end(std::mem::take(&mut calls)).await;
    }
}

async fn streams_stay_and_count(kind: Kind) {
    let site = Site::new(kind);
    let client = site.client(several(2)).await;
    let (client, flows) = (LabClient::from(client.clone()), FlowsClient::from(client));
    let calls = spread_out(&site, &client, 2, 1).await;
    site.open(1);
    all_end(calls).await;

    // Both ways, item by item, whatever else goes by.
    let (say, numbers) = rpc::Streaming::channel();
    let mut doubles = flows.doubles(numbers).await.unwrap();
    let at = async || {
        let begun: Vec<_> = site.labs().iter().map(|lab| lab.begun()).collect();
        for id in 0..50 {
            client.run(id, Plan::Return, &[]).await.unwrap();
        }
        let more: Vec<_> = site.labs().iter().zip(begun).map(|(lab, before)| lab.begun() - before).collect();
        more.iter().position(|more| *more == 50).unwrap_or_else(|| panic!("calls in turn go by the one without the stream: {more:?}"))
    };
    let free = at().await;
    for number in 0..50 {
        say.send(number).await.unwrap();
        assert_eq!(doubles.next().await.unwrap().unwrap(), 2 * number);
        client.nothing().await.unwrap();
    }
    assert_eq!(at().await, free, "it is where it was");
    // The other connection is nothing to it.
    let other = waits(&client, 1, 9).remove(0);
    site.until_live(1).await;
    site.crash(free).await;
    assert_eq!(other.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    say.send(7).await.unwrap();
    assert_eq!(doubles.next().await.unwrap().unwrap(), 14);
    let sum = flows.sum(stream::iter(0..1000u64)).await.unwrap();
    assert_eq!(sum, 499_500);
    // Its own is.
    site.crash(1 - free).await;
    let error = doubles.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
}

// ---- the end of one, and of all

async fn one_of_several_is_lost(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(3)).await.into();
    let mut calls = spread_out(&site, &client, 3, 1).await;
    calls.extend(waits(&client, 30, 1));
    site.until_live(calls.len()).await;
    let lost = site.live()[1];
    site.crash(1).await;
    // One call after the other: none of them fails.
    for n in 0..100 {
        assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
    }
    while calls.iter().filter(|call| call.is_finished()).count() < lost {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.iter().filter(|call| call.is_finished()).count(), lost, "others go on");
    // All that are left are busy: another takes its place.
    while site.live().get(3).is_none_or(|live| *live == 0) {
        let before = site.live().iter().sum::<usize>();
        calls.extend(waits(&client, 1, 1));
        site.until_live(before + 1).await;
        client.nothing().await.unwrap();
    }
    assert_eq!(site.dials(), 4);
    site.open(1);
    let mut failed = 0;
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe));
            failed += 1;
        }
    }
    assert_eq!(failed, lost);
}

async fn all_are_lost(kind: Kind) {
    let site = Site::new(kind);
    // More than a call would try one by one.
    let client: LabClient = site.client(several(8)).await.into();
    let calls = spread_out(&site, &client, 8, 1).await;
    for number in 0..8 {
        site.crash(number).await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().executed(), Executed::Maybe);
    }
    let calls = (0..50).map(|n| client.add(n, 1));
    for (n, sum) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(sum.unwrap(), n as u32 + 1);
    }
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    assert!(site.dials() > 8);
}

async fn a_draining_server_is_left(kind: Kind) {
    let mut rig = Rig::with(kind, |server| server, several(3)).await;
    let mut calls = Waits::new();
    for _ in 0..60 {
        calls.extend(waits(&rig.client, 1, 1));
        rig.lab.until_live(calls.len()).await;
        rig.client.nothing().await.unwrap();
    }
    if kind == Kind::Tcp {
        let peers = join_all((0..60).map(|_| rig.client.peer())).await;
        let peers: std::collections::BTreeSet<_> = peers.into_iter().map(Result::unwrap).collect();
        assert_eq!(peers.len(), 3, "some on each");
    }
    rig.stop();
    // It has told all when it takes calls on none.
    let error = loop {
        match rig.client.run(1, Plan::Return, &[]).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break rpc::CallError::into_service(error).unwrap_err(),
        }
    };
    assert_eq!(error.executed(), Executed::No, "{error:?}");
    assert!(matches!(error.kind(), ErrorKind::Draining | ErrorKind::Unavailable), "{error:?}");
    rig.lab.open(1);
    all_end(calls).await;
    rig.ended().await;
}

async fn a_closing_client_ends_on_all(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(3)).await.into();
    let calls = spread_out(&site, &client, 3, 1).await;
    let closing = client.clone();
    let close = tokio::spawn(async move { closing.close().await });
    let error = loop {
        match client.add(1, 2).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
    settle().await;
    assert!(!close.is_finished(), "calls are in flight on each");
    let labs = site.labs();
    for lab in &labs[1..] {
        lab.open(1);
        lab.until_live(0).await;
    }
    settle().await;
    assert!(!close.is_finished(), "one is left");
    labs[0].open(1);
    all_end(calls).await;
    close.await.unwrap();
    site.until_ended().await;
    assert_eq!(site.dials(), 3);
}

async fn the_last_clone_closes_all(kind: Kind) {
    let site = Site::new(kind);
    let client: LabClient = site.client(several(3)).await.into();
    let calls = spread_out(&site, &client, 3, 1).await;
    site.open(1);
    all_end(calls).await;
    let clone = client.clone();
    drop(client);
    assert_eq!(clone.add(1, 2).await.unwrap(), 3);
    drop(clone);
    site.until_ended().await;
}

// ---- calls the other way, and by name

#[rpc::service]
trait Desk {
    async fn ask(&self, cx: &Context, n: u32) -> u32;
    async fn stay(&self, cx: &Context);
}

#[rpc::service]
trait Home {
    async fn double(&self, n: u32) -> u32;
}

/// Of one connection.
struct Clerk {
    lab: Arc<TestLab>,
    stays: Arc<Mutex<Vec<HomeClient>>>,
}

impl Desk for Clerk {
    async fn ask(&self, cx: &Context, n: u32) -> u32 {
        let home = HomeClient::from(cx.caller());
        // Counted while it waits, so that calls are spread.
        let waited = rpc_tests::Lab::wait(&*self.lab, 1).await;
        home.double(n).await.unwrap() + waited as u32
    }
    async fn stay(&self, cx: &Context) {
        self.stays.lock().unwrap().push(HomeClient::from(cx.caller()));
    }
}

#[derive(Default)]
struct House(AtomicUsize);

impl Home for House {
    async fn double(&self, n: u32) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed);
        2 * n
    }
}

async fn handlers_call_back_by_their_own_connection(kind: Kind) {
    let stays = Arc::<Mutex<Vec<HomeClient>>>::default();
    let kept = stays.clone();
    let serve = move |lab: &Arc<TestLab>| rig::server(lab).add(DeskServer::new(Clerk { lab: lab.clone(), stays: kept.clone() }));
    let site = Site::of(kind, Box::new(serve));
    let house = Arc::<House>::default();
    let options = several(2).serve(Server::new().add(HomeServer::shared(house.clone()))).unwrap();
    let client = site.client(options).await;
    let (client, desk) = (LabClient::from(client.clone()), DeskClient::from(client));
    let calls = spread_out(&site, &client, 2, 1).await;
    let before = calls.len();
    let asks: Vec<_> = (0..40).map(|n| tokio::spawn(desk.ask(n).owned())).collect();
    site.until_live(before + 40).await;
    assert!(site.live().iter().all(|live| *live >= 10), "{:?}", site.live());
    site.open(1);
    for (n, ask) in asks.into_iter().enumerate() {
        assert_eq!(ask.await.unwrap().unwrap(), 2 * n as u32 + 1);
    }
    assert_eq!(house.0.load(Ordering::Relaxed), 40);
    all_end(calls).await;
    // Whom a handler keeps is at the end of one connection, and gone with that.
    let busy = spread_out(&site, &client, 2, 2).await;
    while stays.lock().unwrap().len() < 20 {
        join_all((0..4).map(|_| desk.stay())).await.into_iter().for_each(|stay| stay.unwrap());
    }
    let homes = std::mem::take(&mut *stays.lock().unwrap());
    for home in &homes {
        assert_eq!(home.double(4).await.unwrap(), 8);
    }
    site.crash(0).await;
    site.open(2);
    drop(busy);
    let answers = join_all(homes.iter().map(|home| home.double(4))).await;
    let left = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((1..homes.len()).contains(&left), "{left} of {}", homes.len());
    for error in answers.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

async fn calls_by_name_are_bound_on_each(kind: Kind) {
    let site = Site::new(kind);
    let client = site.client(several(2)).await;
    let lab = LabClient::from(client.clone());
    let calls = spread_out(&site, &lab, 2, 1).await;
    let before = calls.len();
    let named: Vec<_> = (0..40).map(|_| tokio::spawn(client.call::<u64>("Lab.wait", (1,)).owned())).collect();
    site.until_live(before + 40).await;
    assert!(site.live().iter().all(|live| *live >= 10), "{:?}", site.live());
    site.open(1);
    for call in named {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    all_end(calls).await;
    for answer in join_all((0..40u64).map(|n| client.call::<u64>("double", (n,)))).await.into_iter().zip((0..).step_by(2)) {
        assert_eq!(answer.0.unwrap(), answer.1);
    }
    let error = client.call::<u64>("nothing.like.it", ()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
}

// ---- when there is time to tell

#[test]
fn a_call_waits_no_longer_than_its_deadline_while_all_are_dialled_again() {
    virtual_time(async {
        let site = Site::new(Kind::Memory);
        let client: LabClient = site.client(several(2)).await.into();
        drop(spread_out(&site, &client, 2, 1).await);
        site.crash(0).await;
        site.crash(1).await;
        settle().await;
        site.holds.send_replace(true);
        let begun = Instant::now();
        let error = client.add(1, 2).timeout(Duration::from_secs(2)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::No));
        assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() <= Duration::from_millis(2020), "{:?}", begun.elapsed());
        assert_eq!(site.dials(), 3, "one attempt for all");
        site.holds.send_replace(false);
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
    });
}

#[test]
fn another_connection_that_cannot_be_made_costs_nobody_a_call_and_is_tried_again_later() {
    virtual_time(async {
        let site = Site::new(Kind::Memory);
        let client: LabClient = site.client(several(2)).await.into();
        site.refuses.store(2, Ordering::Relaxed);
        let mut calls = waits(&client, 1, 1);
        for attempts in 1..=2 {
            for n in 0..1000 {
                assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
            }
            assert_eq!(site.dials(), 1 + attempts, "1,000 calls, one attempt");
            tokio::time::sleep(Duration::from_millis(1010)).await;
        }
        calls.extend(spread_out(&site, &client, 2, 1).await);
        assert_eq!(site.dials(), 4);
        site.open(1);
        all_end(calls).await;
    });
}

#[test]
fn a_server_that_takes_no_second_connection_fails_no_call() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_connections = 1;
        let rig = Rig::with(Kind::Memory, |server| server.limits(limits), several(4)).await;
        let calls = waits(&rig.client, 10, 1);
        rig.lab.until_live(10).await;
        for n in 0..100 {
            for sum in join_all((0..4).map(|m| rig.client.add(n, m))).await {
                sum.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rig.lab.open(1);
        all_end(calls).await;
    });
}

/// A server that has not said hello may yet refuse: no call is given to it, and nobody waits for it.
#[test]
fn a_connection_that_nobody_greets_is_not_used_and_not_waited_for() {
    /// Serves the first, and only holds the others.
    struct Deaf(Arc<TestLab>, Mutex<Vec<Transport>>, AtomicUsize);
    #[rpc::async_trait]
    impl Dial for Deaf {
        async fn dial(&self) -> io::Result<Transport> {
            let (near, far) = transport::memory::connection();
            match self.2.fetch_add(1, Ordering::Relaxed) {
                0 => drop(tokio::spawn(rig::server(&self.0).serve_connection(far))),
                _ => self.1.lock().unwrap().push(far),
            }
            Ok(near)
        }
    }
    virtual_time(async {
        let lab = TestLab::new();
        let client: LabClient = several(2).dial(Deaf(lab.clone(), Mutex::default(), AtomicUsize::new(0))).await.unwrap().into();
        let calls = waits(&client, 10, 1);
        lab.until_live(10).await;
        for n in 0..100 {
            assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
        }
        assert_eq!(lab.live(), 10);
        lab.open(1);
        all_end(calls).await;
        let begun = Instant::now();
        client.close().await;
        assert!(begun.elapsed() <= Duration::from_millis(500), "{:?}", begun.elapsed());
    });
}

#[test]
fn closing_waits_no_longer_than_the_grace_for_all_together() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.drain_grace = Duration::from_secs(2);
        let site = Site::new(Kind::Memory);
        let client: LabClient = site.client(several(3).limits(limits)).await.into();
        let calls = spread_out(&site, &client, 3, 1).await;
        let begun = Instant::now();
        client.close().await;
        assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() <= Duration::from_millis(2200), "{:?}", begun.elapsed());
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap_err().executed(), Executed::Maybe);
        }
        site.until_live(0).await;
        assert!(site.begun() >= 3);
    });
}
