//! The seed of a test: a random one, or `SEED=7` to repeat a run. Timing on a real cluster varies, so a seed does not
//! determine everything.

pub fn drawn() -> u64 {
    let chosen = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED=NUMBER"));
    let seed = chosen.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    seed
}
