//! What a test draws everything from: another one each time, or `SEED=7` to see one again. The real thing has its own
//! mind about time, so a seed does not decide all of it.

pub fn drawn() -> u64 {
    let chosen = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED=NUMBER"));
    let seed = chosen.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    seed
}
