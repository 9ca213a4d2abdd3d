//! The server: what it serves, whom it refuses, how it stops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::transport::{Transport, memory};
use rpc::{CallInfo, Client, Context, Error, ErrorKind, Executed, Hook, Limits, Named, Server};
use rpc_tests::{Kind, LabClient, LabServer, Rig, TestLab, rig, settle, virtual_time, wire};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

#[rpc::service]
trait Greeter {
    async fn greet(&self, name: &str) -> String;
}

#[rpc::service(name = "greeter.v2")]
trait Greeter2 {
    async fn greet(&self, name: &str) -> String;
}

struct Greets;
impl Greeter for Greets {
    async fn greet(&self, name: &str) -> String {
        format!("hello {name}")
    }
}
impl Greeter2 for Greets {
    async fn greet(&self, name: &str) -> String {
        format!("good day {name}")
    }
}

async fn client_of(server: Server) -> Client {
    let (listener, dialer) = memory::pair();
    tokio::spawn(server.listen(listener).unwrap().serve());
    Client::options().dial(dialer).await.unwrap()
}

#[test]
fn several_services_share_a_port_and_a_connection() {
    virtual_time(async {
        let lab = TestLab::new();
        let client = client_of(rig::server(&lab).add(GreeterServer::new(Greets)).add(Greeter2Server::new(Greets))).await;
        let (lab, greeter, second) = (LabClient::from(client.clone()), GreeterClient::from(client.clone()), Greeter2Client::from(client.clone()));
        for _ in 0..3 {
            let (sum, hello, day) = tokio::join!(lab.add(1, 2), greeter.greet("you"), second.greet("you"));
            assert_eq!((sum.unwrap(), &*hello.unwrap(), &*day.unwrap()), (3, "hello you", "good day you"));
        }
        assert_eq!(client.call::<String>("greeter.v2.greet", ("x",)).await.unwrap(), "good day x");
    });
}

#[tokio::test]
async fn two_of_one_name_are_refused_when_the_server_is_bound() {
    let twice = || Server::new().add(GreeterServer::new(Greets)).add(GreeterServer::new(Greets));
    let error = twice().bind("127.0.0.1:0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Greeter"), "{error}");
    assert_eq!(twice().listen(memory::pair().0).unwrap_err().kind(), ErrorKind::InvalidInput);
    let same_name = Server::new().add(GreeterServer::new(Greets)).method("Greeter.greet", || async { 1 });
    assert_eq!(same_name.listen(memory::pair().0).unwrap_err().kind(), ErrorKind::InvalidInput);
    let same_method = Server::new().method("ping", || async { 1 }).method("ping", |n: u32| async move { n });
    assert_eq!(same_method.listen(memory::pair().0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Server::new().method("", || async { 1 }).listen(memory::pair().0).unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// One method whose calls end at once, wait, fail or panic.
#[rpc::service]
trait Moody {
    async fn turn(&self, how: u32, n: u32) -> Result<u32, String>;
}

struct Moods;
impl Moody for Moods {
    async fn turn(&self, how: u32, n: u32) -> Result<u32, String> {
        match how {
            0 => {}
            1 => tokio::task::yield_now().await,
            2 => return Err(format!("not {n}")),
            _ => panic!("in a bad mood"),
        }
        Ok(n)
    }
}

/// A handler that has ended waits where it was for the next call; one that waits goes, and one that has panicked is no more.
#[test]
fn calls_of_a_method_end_each_in_its_own_way_whatever_the_others_do() {
    virtual_time(async {
        let client = MoodyClient::from(client_of(Server::new().add(MoodyServer::new(Moods))).await);
        let call = async |how: u32, n: u32| match (how, client.turn(how, n).await) {
            (0 | 1, Ok(answer)) => assert_eq!(answer, n),
            (2, Err(error)) => assert_eq!(error.service().map(String::as_str), Some(&*format!("not {n}"))),
            (3, Err(error)) => assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes)),
            (how, answer) => panic!("{how}: {answer:?}"),
        };
        // One after another, in every order of three; then all of them in one packet.
        for turn in 0..64 {
            for how in [turn % 4, turn / 4 % 4, turn / 16] {
                call(how, turn).await;
            }
        }
        futures_util::future::join_all((0..200).map(|turn| call(turn * 7 / 3 % 4, turn))).await;
    });
}

/// Protocol 5.8: a reply is one JSON value.
#[test]
fn a_oneway_method_that_is_called_by_name_answers_null() {
    virtual_time(async {
        let lab = TestLab::new();
        let client = client_of(rig::server(&lab)).await;
        client.call::<()>("Lab.note", ("by name",)).await.unwrap();
        lab.until_noted("by name").await;
    });
}

/// Conformance 9: run-time methods of every arity, with errors of their own
#[test]
fn closures_are_methods() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        sku: String,
        count: u32,
    }
    virtual_time(async {
        let total = Arc::new(AtomicUsize::new(0));
        let counter = total.clone();
        let server = Server::new()
            .method("none", || async { "nothing" })
            .method("one", |n: u64| async move { n + 1 })
            .method("six", |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8| async move { [a, b, c, d, e, f] })
            .method("order", |order: Order| async move { Order { count: order.count + 1, ..order } })
            .method("half", |n: i64| async move { if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) } })
            .method("count", move || {
                let counter = counter.clone();
                async move { counter.fetch_add(1, Ordering::Relaxed) }
            })
            .method("wait", || async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                "done"
            });
        let client = client_of(server).await;
        assert_eq!(client.call::<String>("none", ()).await.unwrap(), "nothing");
        assert_eq!(client.call::<u64>("one", (1,)).await.unwrap(), 2);
        assert_eq!(client.call::<Vec<u8>>("six", (1, 2, 3, 4, 5, 6)).await.unwrap(), [1, 2, 3, 4, 5, 6]);
        let order = Order { sku: "a".into(), count: 1 };
        assert_eq!(client.call::<Order>("order", (&order,)).await.unwrap(), Order { sku: "a".into(), count: 2 });
        assert_eq!(client.call::<i64>("half", (4,)).await.unwrap(), 2);
        let error = client.call::<i64>("half", (3,)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed(), error.service()), (ErrorKind::Service, Executed::Yes, Some("3 is odd".to_owned())));
        for n in 0..5 {
            assert_eq!(client.call::<u64>("count", ()).await.unwrap(), n);
        }
        let (slow, fast) = tokio::join!(client.call::<String>("wait", ()), client.call::<u64>("one", (1,)));
        assert_eq!((slow.unwrap(), fast.unwrap()), ("done".into(), 2));
        // Arguments of a closure have no names.
        let error = client.call::<u64>("one", Named(std::collections::BTreeMap::from([("n", 1)]))).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No));
    });
}

#[test]
fn json_can_be_turned_off() {
    virtual_time(async {
        let client = client_of(Server::new().json(false).add(GreeterServer::new(Greets))).await;
        let error = client.call::<String>("Greeter.greet", ("x",)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
        assert_eq!(GreeterClient::from(client).greet("you").await.unwrap(), "hello you");
    });
}

/// Conformance 60 (in part): a call without a token is refused before its arguments are decoded
#[test]
fn a_hook_refuses_before_arguments_are_decoded() {
    virtual_time(async {
        let lab = TestLab::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seen_here = seen.clone();
        let server = rig::server(&lab).hook(move |call: &CallInfo| {
            let peer = call.peer.address().to_owned();
            seen_here.lock().unwrap().push((call.method.clone(), peer, call.deadline.is_some()));
            assert!(call.metadata.get("token") != Some("panic"), "{}", rpc_tests::ON_PURPOSE);
            match call.metadata.get("token") {
                Some("secret") => Ok(()),
                Some("known") => Err(Error::new(ErrorKind::PermissionDenied, "not yours")),
                Some("much") => Err(Error::overloaded("come back", Duration::from_millis(1500))),
                _ => Err(Error::new(ErrorKind::Unauthenticated, "who are you?")),
            }
        });
        let client: LabClient = client_of(server).await.into();
        assert_eq!(client.add(1, 2).metadata("token", "secret").await.unwrap(), 3);
        let error = client.wait(1).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));
        assert!(error.to_string().contains("who are you?"), "{error}");
        let error = client.wait(1).metadata("token", "known").await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::No));
        let error = client.wait(1).metadata("token", "much").await.unwrap_err();
        assert_eq!((error.kind(), error.executed(), error.retry_after()), (ErrorKind::Overloaded, Executed::No, Some(Duration::from_millis(1500))));
        let error = client.wait(1).metadata("token", "panic").await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::No));
        // Arguments that make no sense: who may not call hears nothing of them.
        for _ in 0..2 {
            let error = client.call::<u32>("Lab.add", ("no", "numbers", 3)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        }
        let error = client.call::<u32>("Lab.add", ("no", "numbers", 3)).metadata("token", "secret").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        // A notification is refused too, silently.
        client.note("unheard".into()).await.unwrap();
        client.note("heard".into()).metadata("token", "secret").await.unwrap();
        lab.until_noted("heard").await;
        assert_eq!((lab.begun(), lab.notes()), (0, vec!["heard".to_owned()]));
        assert_eq!(seen.lock().unwrap()[0], ("Lab.add".to_owned(), "memory".to_owned(), true));
    });
}

struct SlowHook(Duration);

#[rpc::async_trait]
impl Hook for SlowHook {
    async fn before(&self, call: &CallInfo) -> Result<(), Error> {
        tokio::time::sleep(self.0).await;
        match call.metadata.get("token") {
            Some("secret") => Ok(()),
            _ => Err(Error::new(ErrorKind::Unauthenticated, "who are you?")),
        }
    }
}

#[test]
fn a_hook_may_wait_and_holds_up_nobody_else() {
    virtual_time(async {
        let lab = TestLab::new();
        let client: LabClient = client_of(rig::server(&lab).hook(SlowHook(Duration::from_millis(100)))).await.into();
        let begun = Instant::now();
        let calls: Vec<_> = (0..50u32)
            .map(|n| {
                let call = client.add(n, 1);
                let call = if n % 2 == 0 { call.metadata("token", "secret") } else { call };
                tokio::spawn(call.owned())
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            match call.await.unwrap() {
                Ok(sum) => assert!(n % 2 == 0 && sum == n as u32 + 1),
                Err(error) => assert_eq!((n % 2, error.kind(), error.executed()), (1, ErrorKind::Unauthenticated, Executed::No)),
            }
        }
        assert!(begun.elapsed() <= Duration::from_millis(150), "{:?}", begun.elapsed());
        // Who gives up while the hook thinks has not been served.
        assert!(client.wait(1).metadata("token", "secret").timeout(Duration::from_millis(50)).await.unwrap_err().is_timeout());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(lab.begun(), 0);
    });
}

/// Asks another server, and hands on what that says.
struct Forwards(Client, &'static str);
#[rpc::async_trait]
impl Hook for Forwards {
    async fn before(&self, _call: &CallInfo) -> Result<(), Error> {
        self.0.call::<()>(self.1, ()).await
    }
}

#[test]
fn a_hook_that_forwards_the_error_of_a_nested_call_says_that_this_one_did_not_run() {
    rpc_tests::quiet();
    virtual_time(async {
        let failing = Server::new()
            .method("panics", || async {
                assert_eq!(1, 2, "{}", rpc_tests::ON_PURPOSE);
            })
            .method("fails", || async { Err::<(), _>("no".to_owned()) });
        let auth = client_of(failing).await;
        let lab = TestLab::new();
        for method in ["panics", "fails", "unknown"] {
            let client: LabClient = client_of(rig::server(&lab).hook(Forwards(auth.clone(), method))).await.into();
            let error = client.run(1, rpc_tests::Plan::Return, &[]).await.unwrap_err();
            assert_eq!(error.executed(), Executed::No, "{method}: {error}");
            let error = client.call::<u64>("Lab.add", (1, 2)).await.unwrap_err();
            assert_eq!(error.executed(), Executed::No, "{method}: {error}");
        }
        assert_eq!(lab.begun(), 0);
    });
}

#[test]
fn a_hook_that_waits_sees_the_call_before_its_json_is_parsed() {
    use rpc_tests::wire;
    virtual_time(async {
        for pause in [Duration::ZERO, Duration::from_millis(100)] {
            let mut raw = wire::opened(rig::server(&TestLab::new()).hook(SlowHook(pause))).await;
            raw.send([wire::bind_name(0, "Lab.add"), wire::json_call(0, 0, "[1,"), wire::json_call(1, 0, "nonsense")].concat()).await;
            assert_eq!(raw.frame().await.unwrap().kind, wire::kind::BOUND);
            for _ in 0..2 {
                let (code, executed, _, message) = raw.frame().await.unwrap().error();
                assert_eq!((code, executed), (8, 0), "unauthenticated, not executed: {message}");
            }
        }
    });
}

#[test]
fn a_server_out_of_handlers_says_when_to_come_back() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_handlers = 10;
        let rig = Rig::limited(limits).await;
        let calls: Vec<_> = (0..10).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(10).await;
        for _ in 0..20 {
            let error = rig.client.wait(1).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
            assert!(error.retry_after().is_some());
            assert!(error.to_string().contains("Limits::max_handlers"), "{error}");
        }
        // Refused calls never ran: not even until their first wait.
        assert_eq!(rig.lab.begun(), 10);
        rig.lab.open(1);
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(rig.client.wait(1).await.unwrap(), 1);
    });
}

#[test]
fn one_connection_too_many_is_told_so() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_connections = 2;
        let lab = TestLab::new();
        let (listener, dialer) = memory::pair();
        tokio::spawn(rig::server(&lab).limits(limits).listen(listener).unwrap().serve());
        let mut clients = Vec::new();
        for _ in 0..2 {
            let client: LabClient = Client::options().dial(dialer.clone()).await.unwrap().into();
            assert_eq!(client.add(1, 2).await.unwrap(), 3);
            clients.push(client);
        }
        let third: LabClient = Client::options().dial(dialer).await.unwrap().into();
        let error = third.wait(1).await.unwrap_err();
        assert!(error.executed() != Executed::Yes && matches!(error.kind(), ErrorKind::Overloaded | ErrorKind::Unavailable), "{error:?}");
        assert_eq!(lab.begun(), 0);
        drop(clients.pop());
        settle().await;
        assert_eq!(third.add(1, 2).await.unwrap(), 3);
    });
}

#[test]
fn methods_run_where_they_are_told_to() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        assert_eq!(rig.client.spawned(1).await.unwrap(), 2);
        assert_eq!(rig.client.blocking("ab").await.unwrap(), "abab");
        let error = rig.client.blocking_panics().await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
        let (a, b, c) = tokio::join!(rig.client.spawned(1), rig.client.blocking("x"), rig.client.add(1, 2));
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (2, "xx".into(), 3));
    });
}

#[test]
fn a_handler_sees_its_peer() {
    virtual_time(async {
        let lab = TestLab::new();
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(rig::server(&lab).serve_connection(Transport::over(far, "the name of the other end")));
        let client: LabClient = Client::options().over(Transport::over(near, "")).into();
        assert_eq!(client.peer().await.unwrap(), "the name of the other end");
    });
}

#[tokio::test]
async fn a_handler_sees_its_peers_address() {
    let rig = Rig::new(Kind::Tcp).await;
    let peer: std::net::SocketAddr = rig.client.peer().await.unwrap().parse().unwrap();
    assert!(peer.ip().is_loopback() && peer.port() != 0);
}

/// A handler that calls its own server, over the connection of another client.
#[test]
fn a_server_may_call_itself() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        rig.lab.next.set(rig.client.clone()).unwrap();
        let calls: Vec<_> = (0..200).map(|n| tokio::spawn(rig.client.relay_add(n, 1).owned())).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap(), n as u32 + 1);
        }
    });
}

// ---- draining

#[test]
fn a_draining_server_ends_what_it_has_and_takes_nothing_new() {
    virtual_time(async {
        let mut rig = Rig::new(Kind::Memory).await;
        let calls: Vec<_> = (0..20).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(20).await;
        rig.stop();
        settle().await;
        let begun = rig.lab.begun();
        let error = rig.client.wait(1).await.unwrap_err();
        assert_eq!(error.executed(), Executed::No, "{error:?}");
        assert!(matches!(error.kind(), ErrorKind::Draining | ErrorKind::Unavailable), "{error:?}");
        assert_eq!(rig.lab.begun(), begun);
        rig.lab.open(1);
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 1);
        }
        rig.ended().await;
    });
}

#[test]
fn a_call_that_crosses_the_go_away_did_not_run() {
    virtual_time(async {
        // What the server says takes a second to arrive.
        let slow = rpc_tests::fault::Plan { delay: Duration::from_secs(1), ..Default::default() };
        for seed in 0..20 {
            let lab = TestLab::new();
            let (near, far, _wire) = rpc_tests::fault::wire(Default::default(), slow.clone(), seed);
            let (listener, transports) = (Queue::default(), Queue::default());
            drop(transports);
            listener.0.lock().unwrap().push(far);
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let server = tokio::spawn(rig::server(&lab).listen(listener).unwrap().serve_until(async { drop(stopped.await) }));
            let client: LabClient = Client::options().over(near).into();
            let held = tokio::spawn(client.wait(1).owned());
            lab.until_live(1).await;
            stop.send(()).unwrap();
            settle().await;
            // The client has not heard of it yet.
            let error = client.run(7, rpc_tests::Plan::Return, &[]).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Draining, Executed::No), "{error:?}");
            assert_eq!(lab.runs(7), 0);
            lab.open(1);
            assert_eq!(held.await.unwrap().unwrap(), 1);
            server.await.unwrap().unwrap();
        }
    });
}

/// Accepts what is put in.
#[derive(Default)]
struct Queue(Mutex<Vec<Transport>>);

#[rpc::async_trait]
impl rpc::transport::Listen for Queue {
    async fn accept(&mut self) -> std::io::Result<Transport> {
        let next = self.0.lock().unwrap().pop();
        match next {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }
    fn address(&self) -> rpc::Address {
        rpc::Address::named("queue")
    }
}

#[test]
fn an_idle_client_is_told_and_delays_nobody() {
    virtual_time(async {
        let mut rig = Rig::new(Kind::Memory).await;
        rig.client.nothing().await.unwrap();
        let begun = Instant::now();
        rig.stop();
        rig.ended().await;
        assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
        let error = rig.client.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
    });
}

#[test]
fn the_grace_ends_and_what_still_runs_is_cancelled() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.drain_grace = Duration::from_secs(3);
        let mut rig = Rig::with(Kind::Memory, |server| server.limits(limits), Client::options().timeout(None)).await;
        let call = tokio::spawn(rig.client.wait(1).owned());
        rig.lab.until_live(1).await;
        let begun = Instant::now();
        rig.stop();
        rig.ended().await;
        assert!(begun.elapsed() >= limits.drain_grace && begun.elapsed() <= Duration::from_millis(3200), "{:?}", begun.elapsed());
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.executed(), Executed::Maybe, "{error:?}");
        rig.lab.until_live(0).await;
        assert!(begun.elapsed() <= Duration::from_millis(3200), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_detached_handler_runs_to_its_end_while_the_server_drains() {
    virtual_time(async {
        let mut rig = Rig::new(Kind::Memory).await;
        let call = tokio::spawn(rig.client.outlive(1).owned());
        rig.lab.until_live(1).await;
        call.abort();
        settle().await;
        assert_eq!(rig.lab.live(), 1);
        rig.stop();
        settle().await;
        rig.lab.open(1);
        rig.ended().await;
        assert_eq!(rig.lab.notes(), ["outlived 1, cancelled: true"]);
    });
}

#[test]
fn a_detached_handler_outlives_its_deadline_and_its_connection() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        assert!(rig.client.outlive(1).timeout(Duration::from_millis(10)).await.unwrap_err().is_timeout());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.lab.live(), 1);
        rig.client.close().await;
        settle().await;
        assert_eq!(rig.lab.live(), 1);
        rig.lab.open(1);
        rig.lab.until_noted("outlived 1, cancelled: true").await;
        rig.lab.until_live(0).await;
    });
}

/// Defined where only this test sees it: a method that is detached and always in a task of its own.
#[rpc::service]
trait Careful {
    #[rpc(detached, spawn)]
    async fn pay(&self, cx: &Context, amount: u64) -> u64;
}

struct Counts(Arc<AtomicUsize>);
impl Careful for Counts {
    async fn pay(&self, cx: &Context, amount: u64) -> u64 {
        let _ = cx;
        self.0.fetch_add(1, Ordering::Relaxed);
        amount
    }
}

#[test]
fn a_spawned_call_that_is_cancelled_before_it_begins_does_not_run() {
    virtual_time(async {
        let paid = Arc::new(AtomicUsize::new(0));
        // Call and cancel arrive together, before the handler's task has its turn.
        let mut raw = wire::opened(Server::new().add(CarefulServer::new(Counts(paid.clone())))).await;
        raw.send(wire::bind_name(0, "Careful.pay")).await;
        assert_eq!(raw.frame().await.unwrap().kind, wire::kind::BOUND);
        for id in 0..50 {
            raw.send([wire::json_call(id, 0, "[1]"), wire::cancel(id)].concat()).await;
            let frame = raw.frame().await.unwrap();
            let (code, executed, ..) = frame.error();
            assert_eq!((frame.number().0, code, executed), (id, 1, 0), "cancelled, executed: no");
        }
        assert_eq!(paid.load(Ordering::Relaxed), 0, "none of them ran");
        raw.send(wire::json_call(50, 0, "[5]")).await;
        assert_eq!(raw.frame().await.unwrap().kind, wire::kind::REPLY);
        assert_eq!(paid.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_lab_served_twice_is_one_lab() {
    virtual_time(async {
        let lab = TestLab::new();
        let (one, two) = (client_of(Server::new().add(LabServer::shared(lab.clone()))).await, Client::local(LabServer::shared(lab.clone())));
        let (one, two) = (LabClient::from(one), LabClient::from(two));
        one.note("one".into()).await.unwrap();
        two.note("two".into()).await.unwrap();
        lab.until_noted("one").await;
        lab.until_noted("two").await;
    });
}

/// A handler that computes holds up the others of its connection once; then it has a task of its own, until it is quick again.
#[tokio::test]
async fn a_method_that_computes_for_long_moves_to_tasks_of_its_own() {
    /// Where it runs: in the connection's own task, or in another.
    async fn compute(millis: u64) -> String {
        std::thread::sleep(Duration::from_millis(millis));
        tokio::task::id().to_string()
    }
    let server = Server::new().method("slow", compute).method("quick", || compute(0));
    let (listener, dialer) = memory::pair();
    tokio::spawn(server.listen(listener).unwrap().serve());
    let client = Client::options().dial(dialer).await.unwrap();
    let quick = async || client.call::<String>("quick", ()).await.unwrap();
    let slow = async |millis: u64| client.call::<String>("slow", (millis,)).await.unwrap();
    let here = quick().await;
    // The machine may be slow itself now and then, and take another method's batch for one that computes.
    let mut moved = 0;
    for _ in 0..20 {
        moved += u32::from(slow(3).await != here);
    }
    assert!(moved >= 15, "{moved} of 20 ran in tasks of their own");
    while quick().await != here {}
    while slow(0).await != here {}
}

/// Seven cannot be read.
#[derive(Serialize)]
struct NotSeven(u32);

impl<'de> Deserialize<'de> for NotSeven {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        assert_ne!(number, 7, "seven");
        Ok(Self(number))
    }
}

#[rpc::service]
trait Reads {
    async fn here(&self, number: NotSeven) -> u32;
    #[rpc(spawn)]
    async fn in_a_task(&self, number: NotSeven) -> u32;
    #[rpc(blocking)]
    fn on_a_thread(&self, number: NotSeven) -> u32;
}

struct PanicsAtEight;

impl PanicsAtEight {
    fn read(&self, NotSeven(number): NotSeven) -> u32 {
        assert_ne!(number, 8, "eight");
        number
    }
}

impl Reads for PanicsAtEight {
    async fn here(&self, number: NotSeven) -> u32 {
        self.read(number)
    }
    async fn in_a_task(&self, number: NotSeven) -> u32 {
        self.read(number)
    }
    fn on_a_thread(&self, number: NotSeven) -> u32 {
        self.read(number)
    }
}

#[tokio::test]
async fn a_panic_while_arguments_are_read_has_run_nothing_wherever_that_is() {
    let reads = ReadsClient::from(client_of(Server::new().add(ReadsServer::new(PanicsAtEight))).await);
    for _ in 0..3 {
        for (number, executed) in [(7, Executed::No), (8, Executed::Yes)] {
            let number = || NotSeven(number);
            let (here, task, thread) = tokio::join!(reads.here(number()), reads.in_a_task(number()), reads.on_a_thread(number()));
            for error in [here, task, thread].map(Result::unwrap_err) {
                assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, executed), "{error}");
            }
        }
        let (here, task, thread) = tokio::join!(reads.here(NotSeven(1)), reads.in_a_task(NotSeven(2)), reads.on_a_thread(NotSeven(3)));
        assert_eq!([here, task, thread].map(Result::unwrap), [1, 2, 3]);
    }
}
