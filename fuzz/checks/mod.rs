//! What must hold for whatever bytes come from outside. Called with made-up bytes by the fuzzer and with
//! the corpus by tests/corpus.rs; panics where something does not hold.

pub mod answer;
pub mod credentials;
pub mod list;
pub mod pieces;
pub mod settings;
pub mod telemetry;
pub mod watch;

/// Cuts the input where the chunks end. No JSON and no HTTP has this byte in it.
const CUT: u8 = 0x1e;

/// Stand for so many letters: nobody makes up 32 kB by chance.
const LONG: [(u8, usize); 2] = [(0x1d, 4000), (0x1c, 255)];

/// More is nothing new, only slow.
const MOST: usize = 128 << 10;

/// The input as it arrives: cut as it says, as a whole, and byte by byte.
pub fn ways(data: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let chunks: Vec<Vec<u8>> = data.split(|&byte| byte == CUT).map(written_out).collect();
    let whole = chunks.concat();
    let bytes = whole.iter().map(|&byte| vec![byte]).collect();
    vec![vec![whole], chunks, bytes]
}

fn written_out(chunk: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(chunk.len());
    for byte in chunk {
        match LONG.iter().find(|(stand_in, _)| stand_in == byte) {
            Some((_, length)) if text.len() < MOST => text.resize(text.len() + length, b'x'),
            Some(_) => {}
            None => text.push(*byte),
        }
    }
    text
}
