//! Parsing of the command line and the environment: defaults, precedence, and errors for invalid values.

use super::*;

fn parsed(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, String> {
    parse(arguments.iter().map(Into::into), |name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

fn settings(arguments: &[&str], variables: &[(&str, &str)]) -> Settings {
    match parsed(arguments, variables) {
        Ok(Invocation::Run(settings)) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_flags_the_defaults_hold() {
    assert_eq!(settings(&[], &[]), Settings::default());
}

#[test]
fn a_flag_wins_over_its_variable() {
    let variables = [("INFERENCE_OPERATOR_CONCURRENCY", "3"), ("INFERENCE_OPERATOR_NAMESPACE", "edge")];
    let settings = settings(&["--concurrency=5"], &variables);
    assert_eq!((settings.concurrency, settings.namespace.as_deref()), (5, Some("edge")));
}

#[test]
fn a_switch_needs_no_value() {
    for (arguments, variables, expected) in [
        (&["--leader-elect"][..], &[][..], true),
        (&["--leader-elect", "--concurrency=5"], &[], true),
        (&["--leader-elect=false"], &[("INFERENCE_OPERATOR_LEADER_ELECT", "true")], false),
        (&[], &[("INFERENCE_OPERATOR_LEADER_ELECT", "true")], true),
        (&[], &[("INFERENCE_OPERATOR_LEADER_ELECT", "false")], false),
    ] {
        assert_eq!(settings(arguments, variables).leader_elect, expected, "{arguments:?} {variables:?}");
    }
    let refused = parsed(&["--leader-elect=yes"], &[]).expect_err("refused");
    assert_eq!(refused, "invalid --leader-elect=\"yes\": expected true or false");
    assert!(help().contains("\n  --leader-elect\n"), "{}", help());
}

#[test]
fn a_gpu_type_is_added_to_the_catalogue() {
    let settings = settings(
        &["--gpu-type", "T4=Tesla-T4,NVIDIA-T4"],
        &[("INFERENCE_OPERATOR_GPU_TYPE", "L4=NVIDIA-L4;A10=NVIDIA-A10")],
    );
    assert_eq!(settings.catalog.gpu_type_names(), "A100, H100, L40S, L4, A10, T4");
}

#[test]
fn a_wrong_value_says_what_was_wrong_where_and_what_is_expected() {
    for (arguments, expected) in [
        (&["--concurrency=0"][..], "invalid --concurrency=\"0\": expected a whole number from 1 to 64"),
        (&["--server-port=99999"], "invalid --server-port=\"99999\": expected a whole number from 1 to 65535"),
        (
            &["--telemetry-address=8080"],
            "invalid --telemetry-address=\"8080\": expected IP:PORT, such as 127.0.0.1:8080, or off",
        ),
        (
            &["--gpu-type=T4"],
            "invalid --gpu-type=\"T4\": expected TYPE=PRODUCT[,PRODUCT...], such as T4=Tesla-T4,NVIDIA-T4",
        ),
        (
            &["--server-arguments=--model"],
            "invalid --server-arguments=\"--model\": expected a JSON array of strings, such as [\"--model={model}\"]",
        ),
        (&["--pod-policy=none"], "invalid --pod-policy=\"none\": expected baseline, closed or privileged"),
        (
            &["--allow-host-path=/a/../b"],
            "invalid --allow-host-path=\"/a/../b\": expected an absolute path without '..', such as /var/lib/models",
        ),
        (&["--log-format=yaml"], "invalid --log-format=\"yaml\": expected text or json"),
        (&["--colour"], "unknown flag --colour (--help lists the flags)"),
        (&["--col\nour\u{1b}[31m"], "unknown flag --col?our?[31m (--help lists the flags)"),
        (&["-\n"], "invalid option '-?' (--help lists the flags)"),
    ] {
        assert_eq!(parsed(arguments, &[]), Err(expected.to_owned()));
    }
    let variables = [("INFERENCE_OPERATOR_LOG_LEVEL", "loud")];
    let expected = "invalid INFERENCE_OPERATOR_LOG_LEVEL=\"loud\": \"loud\" is not a level: expected error, warn, \
                    info, debug, trace or off, and TARGET=LEVEL for one module, such as \
                    info,inference_operator::kubernetes=debug";
    assert_eq!(parsed(&[], &variables), Err(expected.to_owned()));
    assert!(parsed(&["stray"], &[]).is_err());
    assert!(parsed(&["--concurrency"], &[]).is_err());
}

#[test]
fn every_default_in_the_help_is_the_default() {
    let help = help().split_whitespace().collect::<Vec<_>>().join(" ");
    let Settings {
        catalog,
        pods,
        cluster_domain,
        resync,
        concurrency,
        telemetry_address,
        log_levels,
        service_account,
        ..
    } = Settings::default();
    let engine = catalog.engine(None).expect("an engine");
    let json = |list: &[String]| serde_json::to_string(list).expect("strings").replace("\",\"", "\", \"");
    for default in [
        engine.image.clone(),
        engine.port.to_string(),
        json(&engine.command),
        json(&engine.arguments),
        pods.load_time.as_secs().to_string(),
        pods.policy.as_str().to_owned(),
        cluster_domain,
        resync.as_secs().to_string(),
        concurrency.to_string(),
        telemetry_address.map(|address| address.to_string()).unwrap_or_default(),
        log_levels.to_string(),
        service_account.display().to_string(),
    ] {
        assert!(help.contains(&format!("(default: {default})")), "{default}");
    }
}
