use super::*;
use crate::settings::Settings;
use crate::testing::fake_api_server::{self, Reply};
use crate::testing::fixtures::UID;

const NOW: Timestamp = Timestamp(1000);

/// What is said at NOW of a catalogue that is in force, and of this progress.
fn said(before: &InferenceCatalogStatus, progress: Progress) -> InferenceCatalogStatus {
    let (client, _) = fake_api_server::client_of(|_| Reply::object(&json!({})));
    let context = Context::new(client, Settings::default(), || NOW, NOW.into());
    let metadata = json!({"name": "default", "namespace": "ns", "uid": UID, "generation": 3, "resourceVersion": "7"});
    let catalog = serde_json::from_value(json!({"metadata": metadata})).expect("a catalogue");
    let news = News { refusal: None, accepted: None, progress };
    compose(&context, &catalog, &news, None, Some(before))
}

/// Status and time of both conditions.
fn told(status: &InferenceCatalogStatus) -> Vec<(&str, &str, Timestamp)> {
    let conditions = status.conditions.iter();
    conditions.map(|said| (&*said.type_, &*said.status, said.last_transition_time)).collect()
}

fn before(rollout: &str) -> InferenceCatalogStatus {
    let condition = |type_: &str, status: &str, time: u32| Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: String::new(),
        message: String::new(),
        observed_generation: Some(3),
        last_transition_time: Timestamp(time),
    };
    let conditions = vec![condition(ACCEPTED, "True", 10), condition(ROLLOUT, rollout, 20)];
    InferenceCatalogStatus { conditions, ..InferenceCatalogStatus::default() }
}

#[tokio::test]
async fn a_condition_has_the_time_since_which_its_own_status_is_what_it_is() {
    let same = said(&before("True"), Progress::Complete);
    assert_eq!(told(&same), [(ACCEPTED, "True", Timestamp(10)), (ROLLOUT, "True", Timestamp(20))]);
    let changed = said(&before("True"), Progress::InProgress);
    assert_eq!(told(&changed), [(ACCEPTED, "True", Timestamp(10)), (ROLLOUT, "False", NOW)]);
    let still = said(&before("False"), Progress::InProgress);
    assert_eq!(told(&still), [(ACCEPTED, "True", Timestamp(10)), (ROLLOUT, "False", Timestamp(20))]);
}
