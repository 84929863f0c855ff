//! Whether this process may write: with `--leader-elect`, while it holds the Lease; else always. Sends what
//! kubernetes/lease.rs decides, and shows it what the watch of the Lease has seen. Owned by the controller.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kubernetes::lease::{Answer, Candidate, Hold, Step, Term};
use crate::kubernetes::refusal::describe;
use crate::kubernetes::request;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::watch::Event;
use crate::model::instance::ANNOTATION as INSTANCE;
use crate::model::labels::MANAGED_BY as FIELD_MANAGER;
use crate::model::view::InferenceServiceView;
use crate::model::view::lease::{self, LeaseView};
use crate::reconcile::apply;
use crate::reconcile::instances::Instances;
use crate::time::{Timestamp, Utc};

/// The name of the Lease, in the operator's own namespace.
pub const LEASE: &str = "inference-operator";

/// Time limit for one request: several fit into the time for which a renewal is valid.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this process may write.
#[derive(Clone, Debug)]
pub enum Right {
    /// Another one may have the right.
    None,
    /// There is no election.
    Always,
    While(Term),
}

impl Right {
    pub fn is_given(&self) -> bool {
        !matches!(self, Right::None)
    }

    /// Does this work while the right is given. None: it was dropped at the end of that.
    pub async fn during<T>(&self, now: fn() -> Timestamp, work: impl Future<Output = T>) -> Option<T> {
        match self {
            Right::None => None,
            Right::Always => Some(work.await),
            Right::While(term) => term.during(now, work).await,
        }
    }
}

pub struct Election {
    client: kube::Client,
    namespace: String,
    now: fn() -> Timestamp,
    instances: Arc<Instances>,
    candidate: Candidate,
    /// The list of the watch that is being read has the Lease.
    is_listed: bool,
    job: Option<BoxFuture<'static, Sent>>,
    /// The last request failed, and that was logged.
    fails: bool,
}

/// A request that has ended, and when it was sent.
struct Sent {
    /// The error says what is wrong.
    answer: Result<Answer, String>,
    at: Instant,
    time: Timestamp,
}

impl Election {
    /// `identity`: of no other process.
    pub fn new(
        client: kube::Client,
        namespace: &str,
        identity: String,
        now: fn() -> Timestamp,
        instances: Arc<Instances>,
    ) -> Election {
        let (namespace, candidate) = (namespace.to_owned(), Candidate::new(identity, Instant::now()));
        Election { client, namespace, now, instances, candidate, is_listed: false, job: None, fails: false }
    }

    fn hold(&self) -> Option<Hold> {
        self.candidate.term().hold(Instant::now(), (self.now)())
    }

    pub fn right(&self) -> Right {
        self.hold().map_or(Right::None, |_| Right::While(self.candidate.term().clone()))
    }

    /// See `Candidate::lose`.
    pub fn lose(&mut self) {
        self.candidate.lose();
    }

    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// Returns when something has changed: who holds the Lease, or that a hold is over. Cancel-safe.
    pub async fn next(&mut self) {
        let until = self.hold().map(Hold::until);
        let due = self.candidate.next();
        if self.job.is_none()
            && let Some((at, step)) = due
            && at <= Instant::now()
        {
            self.job = Some(self.send(step));
        }
        let due = due.filter(|_| self.job.is_none()).map(|(at, _)| at);
        let sleeps = [until, due].into_iter().flatten().min();
        tokio::select! {
            biased;
            sent = maybe(self.job.as_mut()) => {
                self.job = None;
                self.answered(sent);
            }
            () = tokio::time::sleep_until(sleeps.unwrap_or_else(Instant::now)), if sleeps.is_some() => {}
        }
    }

    fn answered(&mut self, sent: Sent) {
        let (is_first, now) = (!self.fails, Instant::now());
        self.fails = sent.answer.is_err();
        match sent.answer {
            Ok(answer) => self.candidate.answered(answer, sent.at, sent.time, now),
            Err(problem) => {
                self.candidate.failed(now);
                if is_first {
                    tracing::warn!("cannot take or renew the Lease {LEASE}: {problem}; retrying");
                }
            }
        }
    }

    /// Applies an event of the watch of the Lease.
    pub fn observe(&mut self, event: &Event<InferenceServiceView>) {
        let now = Instant::now();
        let lease = |object: &InferenceServiceView| (object.meta.resource_version, lease::spec(object));
        match event {
            Event::Init => self.is_listed = false,
            Event::InitApply(object) => {
                self.is_listed = true;
                let (version, spec) = lease(object);
                self.candidate.read(version, spec, now);
            }
            Event::Apply(object) => {
                let (version, spec) = lease(object);
                self.candidate.observe(version, spec, now);
            }
            Event::InitDone if self.is_listed => {}
            Event::InitDone | Event::Delete(_) => self.candidate.observe_none(now),
            Event::Absent | Event::Forbidden => {}
        }
    }

    fn send(&self, step: Step) -> BoxFuture<'static, Sent> {
        let (at, time) = (Instant::now(), (self.now)());
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let mut body = self.candidate.body(step, Utc::from(time));
        if !matches!(step, Step::Renew(_)) {
            // Those that stand by are newer than this one, should they lead later.
            body["metadata"]["annotations"] = json!({INSTANCE: self.instances.own().to_string()});
        }
        if step == Step::Create {
            (body["apiVersion"], body["kind"]) = ("coordination.k8s.io/v1".into(), "Lease".into());
            body["metadata"]["name"] = LEASE.into();
        }
        async move {
            let answer = match step {
                Step::Create => create(&client, &namespace, &body).await,
                Step::Take(_) | Step::Renew(_) => patch(&client, &namespace, &body).await,
            };
            let answer = match answer {
                Ok(lease) => Ok(Answer::Written(lease.0.meta.resource_version, lease::spec(&lease.0))),
                Err(kube::Error::Api(status)) if status.code == 404 && step != Step::Create => Ok(Answer::Absent),
                Err(kube::Error::Api(status)) if status.code == 409 => look(&client, &namespace).await,
                Err(error) => Err(describe(&error)),
            };
            Sent { answer, at, time }
        }
        .boxed()
    }

    /// Lets another process hold the Lease at once. For the end of this one, when nothing is in flight any more.
    pub async fn release(&mut self) {
        // A renewal on its way would come after it.
        if let Some(sent) = self.job.take() {
            let sent = sent.await;
            self.answered(sent);
        }
        let Some(body) = self.candidate.release(Instant::now(), (self.now)()) else { return };
        match patch(&self.client, &self.namespace, &body).await {
            Ok(_) => tracing::info!("released the Lease"),
            Err(error) => tracing::warn!("cannot release the Lease {LEASE}: {}", describe(&error)),
        }
    }
}

/// Waits for the job; for ever, if there is none.
async fn maybe(job: Option<&mut BoxFuture<'static, Sent>>) -> Sent {
    match job {
        Some(job) => job.await,
        None => pending().await,
    }
}

async fn create(client: &kube::Client, namespace: &str, body: &Value) -> Result<LeaseView, kube::Error> {
    let path = format!("{}?fieldManager={FIELD_MANAGER}", LeaseView::path(Some(namespace)));
    write(client, Request::post(path), "application/json", body).await
}

async fn patch(client: &kube::Client, namespace: &str, body: &Value) -> Result<LeaseView, kube::Error> {
    let path = format!("{}/{LEASE}?fieldManager={FIELD_MANAGER}", LeaseView::path(Some(namespace)));
    write(client, Request::patch(path), "application/merge-patch+json", body).await
}

async fn write(
    client: &kube::Client,
    builder: http::request::Builder,
    content_type: &'static str,
    body: &Value,
) -> Result<LeaseView, kube::Error> {
    let builder = builder.header(header::CONTENT_TYPE, content_type);
    let request = builder.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError)?;
    patiently(request::object(client, request)).await
}

/// The Lease as it is in the datastore.
async fn look(client: &kube::Client, namespace: &str) -> Result<Answer, String> {
    match patiently(apply::get_of::<LeaseView>(client, namespace, LEASE)).await {
        Ok(Some(lease)) => Ok(Answer::Read(lease.0.meta.resource_version, lease::spec(&lease.0))),
        Ok(None) => Ok(Answer::Absent),
        Err(error) => Err(describe(&error)),
    }
}

async fn patiently<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let answered = tokio::time::timeout(PATIENCE, request).await;
    answered.unwrap_or_else(|_| Err(kube::Error::Service("timed out".into())))
}

#[cfg(test)]
mod tests;
