//! A plain call is served by a short way when nothing stands in it; a hook that lets all pass makes every call take the long one.
//! What a peer is told is the same, byte for byte. Time is virtual.

use std::time::Duration;

use rpc::{CallInfo, Limits, Server};
use rpc_tests::wire::{self, Frame, Random, Raw, flag, kind};

use crate::service::{self, ADD, ECHO, FAIL, NEVER, NOTE, TREE, UNITS, WIDE};

/// How many calls may be open, and run in tasks of their own.
const IDS: usize = 200;
const HANDLERS: usize = 20;

fn server() -> Server {
    let mut limits = Limits::default();
    limits.max_handlers = HANDLERS;
    service::server().limits(limits)
}

/// What comes until nothing does. The peer of this end is not silent: it answers pings.
async fn told<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(raw: &mut Raw<T>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(1), raw.frame()).await {
        if frame.kind == kind::PING {
            raw.send(wire::frame(kind::PONG, 0, &[&frame.body])).await;
        }
        frames.push(frame);
    }
    frames
}

fn shown(frames: &[Frame]) -> Vec<(u8, Vec<u8>)> {
    frames.iter().map(|frame| (frame.kind, frame.body.clone())).collect()
}

fn payload(random: &mut Random, method: u64) -> Vec<u8> {
    let mut payload = match method {
        ADD => [wire::varint(random.below(1 << 20) as u64), wire::varint(random.below(300) as u64)].concat(),
        ECHO | FAIL | NOTE => {
            let (length, letters) = (random.below(300), if random.below(50) == 0 { 100 } else { 20 });
            [wire::varint(length as u64), (0..length).map(|_| b'a' + random.below(letters) as u8).collect()].concat()
        }
        TREE => [vec![1; random.below(200)], vec![0]].concat(),
        UNITS => wire::varint(random.below(1 << 30) as u64),
        WIDE => vec![random.below(3) as u8, 0, 0],
        _ => Vec::new(),
    };
    match random.below(12) {
        0 => payload.push(random.below(256) as u8),
        1 => drop(payload.pop()),
        2 if !payload.is_empty() => {
            let at = random.below(payload.len());
            payload[at] = random.below(256) as u8;
        }
        _ => {}
    }
    payload
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_is_answered_alike_by_the_short_way_and_by_the_long_one() {
    let mut random = Random::new(0x5eed);
    let (mut answered, mut kinds) = (0, [0; 32]);
    for _ in 0..60 {
        let mut short = wire::opened(server()).await;
        let mut long = wire::opened(server().hook(|_: &CallInfo| Ok(()))).await;
        let mut busy = [false; IDS];
        let mut binds = 0;
        for _ in 0..60 {
            let mut packet = Vec::new();
            for _ in 0..1 + random.below(40) {
                if binds == 0 || (binds < 12 && random.below(40) == 0) {
                    // The same service again, by other numbers.
                    let bind = service::bind();
                    let header = 4;
                    packet.extend(wire::frame(kind::BIND, 0, &[&wire::varint(8 * binds), &bind[header + 1..]]));
                    binds += 1;
                }
                let method = [ADD, ECHO, FAIL, NEVER, NOTE, TREE, UNITS, WIDE][random.below(8)];
                let number = 8 * random.below(binds as usize) as u64 + method;
                let arguments = payload(&mut random, method);
                let Some(id) = busy.iter().position(|busy| !busy) else { continue };
                match random.below(20) {
                    0 => packet.extend(wire::frame(kind::NOTIFY, 0, &[&wire::varint(number), &arguments])),
                    1 => packet.extend(wire::cancel(random.below(IDS) as u64)),
                    2 => {
                        let deadline = wire::varint(1 + random.below(20_000_000) as u64);
                        packet.extend(wire::frame(
                            kind::CALL,
                            flag::OPTIONS,
                            &[&wire::varint(id as u64), &wire::varint(number), &[1], &deadline, &arguments],
                        ));
                        busy[id] = true;
                    }
                    _ => {
                        packet.extend(wire::call(id as u64, number, &arguments));
                        busy[id] = true;
                    }
                }
            }
            for raw in [&mut short, &mut long] {
                raw.send(&packet).await;
            }
            let (one, other) = (told(&mut short).await, told(&mut long).await);
            assert_eq!(shown(&one), shown(&other));
            for frame in &one {
                kinds[usize::from(frame.kind)] += 1;
                assert_ne!(frame.kind, kind::GO_AWAY, "{frame:?}");
                if matches!(frame.kind, kind::REPLY | kind::FAIL | kind::ERROR) {
                    let (id, _) = frame.number();
                    assert!(std::mem::replace(&mut busy[id as usize], false), "answered twice");
                    answered += 1;
                }
            }
            if random.below(4) == 0 {
                tokio::time::sleep(Duration::from_millis(random.below(12_000) as u64)).await;
            }
        }
    }
    for kind in [kind::REPLY, kind::FAIL, kind::ERROR, kind::BOUND] {
        assert!(kinds[usize::from(kind)] > 100, "{kinds:?}");
    }
    assert!(answered > 10_000, "{answered}");
}
