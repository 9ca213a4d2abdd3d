//! The exact bytes of every frame. Released versions must go on speaking them: a change here is a new protocol version.

use std::time::Duration;

use rpc::transport::Transport;
use rpc::{CallInfo, Client, Error, Server};
use rpc_tests::wire::{self, Raw, Recorder, Writes, assert_bytes, kind};
use tokio::io::AsyncReadExt;

#[rpc::service]
trait Till {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn fail(&self, why: String) -> Result<u8, String>;
    #[rpc(oneway)]
    async fn note(&self, text: String);
    async fn take(&self, bytes: Vec<u8>) -> u8;
}

struct My;

impl Till for My {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }
    async fn fail(&self, why: String) -> Result<u8, String> {
        Err(why)
    }
    async fn note(&self, _text: String) {}
    async fn take(&self, bytes: Vec<u8>) -> u8 {
        bytes[0]
    }
}

const OPENING: &str = "
    f5 'rpc' 0d 0a 01 00        # preface: magic, version 1
    01 13 00 00                 # hello, 19 bytes
    01 80 80 80 02              #   max_message: 4,194,304
    02 80 08                    #   in_flight: 1,024
    03 80 80 40                 #   call_bytes: 1,048,576
    04 80 80 c0 02              #   assembly: 5,242,880
    05 01                       #   schemas: exchanged
";

const BIND: &str = "
    03 6b 00 00                 # bind, 107 bytes
    00                          #   from number 0 on
    01                          #   a service
    04 'Till'                   #   its name
    HASH                        #   its hash
    04                          #   four methods
    03 'add' HASH.add
    04 'fail' HASH.fail
    04 'note' HASH.note
    04 'take' HASH.take
";

/// The bind with its hashes, made as protocol 4.6 says.
fn bind() -> String {
    let hex = |hash: u128| hash.to_le_bytes().map(|byte| format!("{byte:02x}")).join(" ");
    let (mut dump, mut whole) = (BIND.to_owned(), vec![b"Till".to_vec()]);
    for name in METHODS {
        let hash = hash_of(name);
        dump = dump.replace(&format!("HASH.{name}"), &hex(hash));
        whole.extend([name.as_bytes().to_vec(), hash.to_le_bytes().to_vec()]);
    }
    dump.replace("HASH", &hex(wire::hash(&whole.iter().map(Vec::as_slice).collect::<Vec<_>>())))
}

const METHODS: [&str; 4] = ["add", "fail", "note", "take"];

/// A client whose writes are noted, and the server's end of its connection.
fn client() -> (TillClient, Writes, Raw) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let writes = Writes::default();
    let client = Client::options().over(Transport::over(Recorder::new(near, writes.clone()), "test"));
    (client.into(), writes, Raw::over(far))
}

/// As [`client`], after one call: what is noted from here on is about the next.
async fn warm_client() -> (TillClient, Writes, Raw) {
    let (till, writes, mut raw) = client();
    raw.send(wire::opening(&[(1, 4 << 20), (4, 5 << 20)])).await;
    let answers = async {
        raw.opened().await;
        for _ in 0..2 {
            raw.frame().await.unwrap();
        }
        raw.send([wire::frame(kind::BOUND, 0, &[&[0]]), wire::frame(kind::REPLY, 0, &[&[0, 3]])].concat()).await;
    };
    let (sum, ()) = tokio::join!(till.add(1, 2), answers);
    assert_eq!(sum.unwrap(), 3);
    writes.clear();
    (till, writes, raw)
}

/// Lets the client's tasks run until they wait.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_call_leaves_with_preface_hello_and_bind_in_one_write() {
    let (till, writes, _raw) = client();
    let call = tokio::spawn(till.add(1, 300).owned());
    settle().await;
    let writes = writes.all();
    assert_eq!(writes.len(), 1, "one packet");
    let call_frame = "
        05 05 00 00             # call, 5 bytes
        00                      #   id 0
        00                      #   number 0: Till.add
        01 ac 02                #   postcard: 1, 300
    ";
    assert_bytes(&writes[0], &[OPENING, &bind(), call_frame].concat());
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn the_servers_first_packet_answers_everything_in_one_write() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let writes = Writes::default();
    let server = Server::new().add(TillServer::new(My));
    tokio::spawn(server.serve_connection(Transport::over(Recorder::new(far, writes.clone()), "test")));
    let mut dump = Vec::new();
    dump.extend(wire::opening(&[]));
    dump.extend(wire::bind_service(0, "Till", &METHODS.map(|name| (name, hash_of(name)))));
    dump.extend(wire::call(0, 0, &[1, 0xac, 2]));
    dump.extend(wire::call(1, 1, b"\x02no"));
    dump.extend(wire::bind_name(4, "Till.none"));
    dump.extend(wire::json_call(2, 4, "[]"));
    let mut raw = Raw::over(near);
    raw.send(dump).await;
    settle().await;
    let writes = writes.all();
    assert_eq!(writes.len(), 1, "one packet");
    let answers = "
        04 01 00 00             # bound, 1 byte
        00                      #   from number 0 on: all methods are equal
        07 03 00 00             # reply, 3 bytes
        00                      #   id 0
        ad 02                   #   postcard: 301
        08 04 00 00             # fail, 4 bytes
        01                      #   id 1
        02 'no'                 #   postcard: the error
        04 02 00 00             # bound, 2 bytes
        04                      #   number 4
        02                      #   there is no such method
        09 2e 00 00             # error, 46 bytes
        02                      #   id 2
        04                      #   unimplemented
        00                      #   executed: no
        00                      #   no retry-after
        29 'Till.none:' 20 'the' 20 'peer' 20 'serves' 20 'no' 20 'such' 20 'method'
    ";
    assert_bytes(&writes[0], &[OPENING, answers].concat());
}

fn hash_of(method: &str) -> u128 {
    let (arguments, results) = match method {
        "add" => ("1:a 0\n1:b 0\nu32\n", "7:returns 0\nu32\n"),
        "fail" => ("3:why 0\nstr\n", "7:returns 0\n5:error 1\nu8\nstr\n"),
        "note" => ("4:text 0\nstr\n", ""),
        _ => ("5:bytes 0\nseq 1\nu8\n", "7:returns 0\nu8\n"),
    };
    wire::method_hash(arguments, results)
}

/// Conformance 1: a small call costs 6 bytes beside its payload, its reply 5.
#[tokio::test(start_paused = true)]
async fn a_small_call_costs_six_bytes_and_its_reply_five() {
    let (till, writes, mut raw) = warm_client().await;
    let call = tokio::spawn(till.add(1, 2).owned());
    settle().await;
    let payload = 2;
    assert_eq!(writes.bytes().len() - payload, 6);

    let mut server = wire::opened(Server::new().add(TillServer::new(My))).await;
    server.send(wire::bind_service(0, "Till", &METHODS.map(|name| (name, hash_of(name))))).await;
    assert_eq!(server.frame().await.unwrap().kind, kind::BOUND);
    server.send(wire::call(0, 0, &[1, 2])).await;
    let reply = server.frame().await.unwrap();
    let payload = 1;
    assert_eq!(4 + reply.body.len() - payload, 5);

    raw.send(wire::frame(kind::REPLY, 0, &[&[0, 3]])).await;
    assert_eq!(call.await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn deadline_and_metadata_stand_before_the_payload() {
    let (till, writes, _raw) = warm_client().await;
    let call = tokio::spawn(till.add(1, 2).timeout(Duration::from_secs(2)).metadata("tenant", "a").owned());
    settle().await;
    assert_bytes(
        &writes.bytes(),
        "
        45 12 00 00             # call with options, 18 bytes
        00                      #   id 0, used again
        00                      #   number 0
        03                      #   options: deadline, metadata
        80 89 7a                #   2,000,000 microseconds left
        01                      #   one pair
        06 'tenant' 01 'a'
        01 02                   #   postcard: 1, 2
        ",
    );
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn no_deadline_is_a_deadline_of_zero() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let till = TillClient::from(Client::options().timeout(None).over(Transport::over(near, "test")));
    let call = tokio::spawn(till.add(1, 2).owned());
    let mut raw = Raw::over(far);
    raw.opened().await;
    raw.frame().await.unwrap();
    let call_frame = raw.frame().await.unwrap();
    assert_eq!(call_frame.flags, wire::flag::OPTIONS);
    assert_bytes(&call_frame.body, "00 00 01 00 01 02 # id, number, options: deadline, zero, payload");
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_sends_a_cancel() {
    let (till, writes, _raw) = warm_client().await;
    let call = tokio::spawn(till.add(1, 2).owned());
    settle().await;
    writes.clear();
    call.abort();
    settle().await;
    assert_bytes(&writes.bytes(), "0c 01 00 00  00 # cancel, 1 byte: id 0");
}

#[tokio::test(start_paused = true)]
async fn a_notification_has_no_id() {
    let (till, writes, _raw) = warm_client().await;
    till.note("hi".into()).await.unwrap();
    settle().await;
    assert_bytes(&writes.bytes(), "06 04 00 00  02  02 'hi' # notify, 4 bytes: number 2, postcard");
}

#[tokio::test(start_paused = true)]
async fn a_large_call_goes_in_chunks() {
    let (till, writes, _raw) = warm_client().await;
    let call = tokio::spawn(till.take(vec![7; 100_000]).owned());
    settle().await;
    let bytes = writes.bytes();
    let payload = [&[0xa0, 0x8d, 0x06][..], &[7; 100_000]].concat();
    assert_bytes(
        &bytes[..9],
        "
        25 f0 ff 00             # call, goes on in chunks, 65,520 bytes
        00                      #   id 0
        03                      #   number 3: Till.take
        a3 8d 06                #   100,003 bytes of payload
        ",
    );
    let first = 65_520 - 5;
    assert_eq!(bytes[9..][..first], payload[..first]);
    assert_bytes(
        &bytes[9 + first..][..17],
        "
        0d 08 00 00             # ping, 8 bytes: has it been read?
        01 00 00 00 00 00 00 00
        0a b9 86 00             # chunk of a call, 34,489 bytes
        00                      #   id 0
        ",
    );
    assert_eq!(bytes[9 + first + 17..], payload[first..]);
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn a_large_reply_goes_in_chunks() {
    let (mut raw, _task) = wire::serve(crate::service::server());
    raw.send(wire::opening(&[(1, 4 << 20), (4, 5 << 20)])).await;
    raw.opened().await;
    raw.send(
        [crate::service::bind(), wire::large_call(0, crate::service::ECHO, 80_003, &[&wire::varint(80_000)[..], &[7; 40_000]].concat())].concat(),
    )
    .await;
    raw.send(wire::frame(kind::CALL_CHUNK, 0, &[&[0], &[7; 40_000]])).await;
    assert_eq!(raw.frame().await.unwrap().body, [0], "bound, all equal");
    let (first, ping, second) = (raw.frame().await.unwrap(), raw.frame().await.unwrap(), raw.frame().await.unwrap());
    assert_eq!((ping.kind, ping.body), (kind::PING, vec![1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!((first.kind, first.flags, second.kind, second.flags), (kind::REPLY, wire::flag::MORE, kind::REPLY_CHUNK, 0));
    assert_bytes(&first.body[..4], "00  83 f1 04 # id, 80,003 bytes");
    assert_eq!(second.body[0], 0, "id");
    assert_eq!([&first.body[4..], &second.body[1..]].concat(), [&wire::varint(80_000)[..], &[7; 80_000]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_call_by_name_binds_one_number_and_carries_json() {
    let (till, writes, _raw) = warm_client().await;
    let call = {
        let client: Client = (*till).clone();
        tokio::spawn(async move { client.call::<u32>("Till.add", (1, 2)).await })
    };
    settle().await;
    assert_bytes(
        &writes.bytes(),
        "
        03 0b 00 00             # bind, 11 bytes
        04                      #   number 4
        00                      #   a method
        08 'Till.add'
        45 08 00 00             # call with options, 8 bytes
        00                      #   id 0
        04                      #   number 4
        04                      #   options: JSON
        '[1,2]'
        ",
    );
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn an_error_tells_when_to_come_back() {
    let busy = |_: &CallInfo| Err(Error::overloaded("busy", Duration::from_millis(250)));
    let mut raw = wire::opened(crate::service::server().hook(busy)).await;
    raw.send([crate::service::bind(), wire::call(0, 0, &[1, 2])].concat()).await;
    raw.frame().await.unwrap();
    let error = raw.frame().await.unwrap();
    assert_eq!(error.kind, kind::ERROR);
    assert_bytes(&error.body, "00  03  00  fb 01  04 'busy' # id, overloaded, not executed, 250 ms and one, message");
}

#[tokio::test(start_paused = true)]
async fn goodbye_is_a_go_away_with_the_number_of_calls_read() {
    let (till, writes, _raw) = warm_client().await;
    Client::close(&till).await;
    assert_bytes(&writes.bytes(), "0f 03 00 00  00  00  00 # go-away, 3 bytes: goodbye, no calls read, no message");
}

#[tokio::test(start_paused = true)]
async fn a_ping_comes_back_with_its_bytes() {
    let mut raw = wire::opened(crate::service::server()).await;
    raw.send(wire::frame(kind::PING, 0, &[b"12345678"])).await;
    let pong = raw.frame().await.unwrap();
    assert_eq!((pong.kind, &pong.body[..]), (kind::PONG, &b"12345678"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_makes_no_call_says_hello_after_five_milliseconds() {
    let (_till, writes, _raw) = client();
    tokio::time::sleep(Duration::from_millis(4)).await;
    assert!(writes.bytes().is_empty(), "it hopes to send it with a call");
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_bytes(&writes.bytes(), OPENING);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_silent_until_it_is_spoken_to() {
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(crate::service::server().serve_connection(Transport::over(far, "test")));
    let mut near = near;
    let read = tokio::time::timeout(Duration::from_secs(9), near.read_u8()).await;
    assert!(read.is_err(), "so that a port scanner learns nothing");
}
