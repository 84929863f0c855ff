//! Does the simulated API server behave like the real one? Sends both the same requests, drawn from a seed, and
//! compares the responses. scripts/test.sh runs this on control planes whose controller-manager is stopped, with
//! streaming lists and without.

#![allow(clippy::expect_used)]

mod action;
mod action_result;
mod api_server;
mod objects;
mod reading;
mod real;
mod refusals;
mod rollouts;
mod simulated;

use simulation::chance::Chance;

use action::Action;
use action_result::Told;
use api_server::ApiServer;
use real::Real;
use simulated::Simulated;

const SEEDS: u64 = 40;
const ACTIONS: usize = 50;

#[tokio::test]
async fn the_simulated_api_server_answers_as_the_real_one_does() {
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..SEEDS, |seed| seed..seed + 1);
    let streams_lists =
        std::env::var("STREAMS_LISTS").expect("STREAMS_LISTS is not set: run scripts/test.sh") == "true";
    let (mut compared, mut refused, mut many) = (0, 0, 0);
    for seed in seeds {
        let mut chance = Chance::new(seed);
        let namespace = format!("differential-{}-{seed}", std::process::id());
        let mut real = Real::new(&namespace).await;
        let mut simulated = Simulated::new(&namespace, streams_lists);
        let mut story = Vec::new();
        for _ in 0..ACTIONS {
            let action = Action::draw(&mut chance);
            let answers = (real.act(&action).await, simulated.act(&action).await);
            story.push(format!("{action:?}: {:?}", answers.0));
            let differs = action_result::difference(&answers.0, &answers.1, &objects::built(&action));
            assert!(
                differs.is_none(),
                "SEED={seed}: {}\n{}\nsimulated: {:?}",
                differs.unwrap_or_default(),
                story.join("\n"),
                answers.1
            );
            compared += 1;
            refused += usize::from(answers.0.is_err());
            many += usize::from(matches!(answers.0, Ok(Told::Read(_))));
        }
        real.clean_up().await;
    }
    let with = if streams_lists { "with" } else { "without" };
    println!(
        "{compared} answers compared {with} streaming lists, of which {refused} were refusals and {many} lists and watches"
    );
}
