//! A certificate authority that is replaced while the operator runs, in an administrator's order.

use std::fs;

use inference_operator::api::Phase;

use crate::certificates::Authority;
use crate::proxy::Proxy;
use crate::support::{Fixture, Operator, eventually, kubectl};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_replaced_is_followed_without_a_restart_and_the_old_one_trusted_no_more() {
    let fixture = Fixture::new("ca").await;
    let proxy = Proxy::start(0, 0).await;
    let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
    let (old, new) = (&proxy.authority, Authority::new());
    let operator = Operator::spawn_at("ca", &token, &proxy.listener.port, &old.pem, &[]);
    operator.ready().await;
    let trust = |pem: &str| fs::write(operator.folder.join("ca.crt"), pem).expect("written");
    let serves = async |name: &str| {
        proxy.listener.cut();
        fixture.create(name, 0).await;
        fixture.until(name, Phase::Ready).await;
    };

    // Both while servers get their new certificates, and then the new one alone.
    trust(&format!("{}{}", old.pem, new.pem));
    serves("with-both").await;
    proxy.listener.present(new.server());
    serves("with-a-new-certificate").await;
    trust(&new.pem);
    serves("with-the-new-one-alone").await;

    proxy.listener.present(old.server());
    proxy.listener.cut();
    eventually("the old CA is refused", || async {
        if operator.log().contains("invalid peer certificate") { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    // The bundle was not updated before the servers were changed.
    trust(&old.pem);
    serves("with-the-old-one-again").await;
    fixture.clean_up().await;
}
