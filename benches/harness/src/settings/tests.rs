//! The command line: defaults, and what a wrong option says.

use super::*;

fn plan(arguments: &[&str]) -> Result<Plan> {
    match parse(arguments.iter().map(Into::into))? {
        Invocation::Measure(settings) => Ok(settings.plan),
        other => bail!("{other:?}"),
    }
}

#[test]
fn without_options_it_is_the_full_run() {
    let plan = plan(&[]).expect("a plan");
    assert_eq!((plan.crs, plan.rounds, plan.changes, plan.noise), (5_000, 3, 500, 5_000));
    assert_eq!((plan.settled_seconds, plan.operators.len(), plan.target), (60, 4, Target::Local));
}

#[test]
fn quick_is_smaller_and_an_option_wins_over_it() {
    let plan = plan(&["--quick", "--rounds", "2", "--operators=ours"]).expect("a plan");
    assert_eq!((plan.crs, plan.rounds, plan.changes, plan.noise), (500, 2, 100, 500));
    assert_eq!(plan.operators, ["ours"]);
}

#[test]
fn a_wrong_option_says_what_is_expected() {
    for (arguments, expected) in [
        (&["--crs=many"][..], "--crs expects a whole number of at least 1; got \"many\""),
        (
            &["--operators=mine"],
            "no such operator: \"mine\" (expected: ours, controller-runtime, controller-runtime-tuned, kube-rs)",
        ),
        (&["--replicas-zero=2"], "--replicas-zero expects a number from 0 to 1; got \"2\""),
        (
            &["--scale", "--kind"],
            "--scale, --soak and --check run on the local control plane only: leave out --kind, --node and --context",
        ),
        (&["--scale-points=5,1"], "--scale-points expects rising whole numbers, such as 0,1000,5000; got \"5,1\""),
        (&["--colour"], "invalid option '--colour' (see --help)"),
    ] {
        assert_eq!(plan(arguments).expect_err("refused").to_string(), expected);
    }
}

#[test]
fn what_the_script_adds_is_not_told_as_typed() {
    let arguments = ["--quick", "--repository", "/a", "--binary", "ours=/b"].map(Into::into);
    assert_eq!(command_line(&arguments), "scripts/bench.sh --quick");
}
