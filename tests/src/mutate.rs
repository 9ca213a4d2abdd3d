//! Damage to a session's bytes, the same in every run. It knows nothing of the protocol but where a frame ends, so it
//! serves any session; what may come of the damage is for the tests to say.

use crate::wire::Random;

/// The session cut into preface and frames.
fn pieces(session: &[u8]) -> Vec<Vec<u8>> {
    let (preface, mut rest) = session.split_at(8);
    let mut pieces = vec![preface.to_vec()];
    while !rest.is_empty() {
        let length = 4 + u32::from_le_bytes([rest[1], rest[2], rest[3], 0]) as usize;
        let (frame, after) = rest.split_at(length);
        pieces.push(frame.to_vec());
        rest = after;
    }
    pieces
}

/// Every cut, every flipped bit, every window of 0xFF; then duplicates, swaps, splices and random bytes, without end.
pub fn mutations(session: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
    let all = session.to_vec();
    let cuts = (0..all.len()).map({
        let all = all.clone();
        move |at| all[..at].to_vec()
    });
    let flips = (0..8 * all.len()).map({
        let all = all.clone();
        move |bit| {
            let mut bytes = all.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }
    });
    let windows = (0..4 * all.len()).map({
        let all = all.clone();
        move |window| {
            let (at, length) = (window / 4, 1 << (window % 4));
            let mut bytes = all.clone();
            let end = bytes.len().min(at + length);
            bytes[at..end].fill(0xff);
            bytes
        }
    });
    let (pieces, mut random) = (pieces(session), Random::new(40));
    let others = std::iter::from_fn(move || {
        let mut mutated = pieces.clone();
        for _ in 0..1 + random.below(3) {
            let (one, other) = (random.below(mutated.len()), random.below(mutated.len()));
            match random.below(5) {
                0 => mutated.insert(one, mutated[other].clone()),
                1 => mutated.swap(one, other),
                2 => drop(mutated.remove(one)),
                3 => {
                    let (at, from) = (random.below(mutated[one].len()), random.below(mutated[other].len()));
                    let tail = mutated[other][from..].to_vec();
                    mutated[one].splice(at.., tail);
                }
                _ => {
                    let at = random.below(mutated[one].len());
                    if let Some(byte) = mutated[one].get_mut(at) {
                        *byte = random.below(256) as u8;
                    }
                }
            }
            mutated.retain(|piece| !piece.is_empty());
            if mutated.is_empty() {
                mutated.push(vec![0]);
            }
        }
        Some(mutated.concat())
    });
    cuts.chain(flips).chain(windows).chain(others)
}
