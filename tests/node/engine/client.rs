//! A client of one model, outside of any pod: each request has a connection of its own, to the address of the Service.
//! So kube-proxy chooses a pod for each.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::Fixture;

#[derive(Clone)]
pub struct Model {
    name: String,
    address: String,
}

impl Model {
    /// Once its Service is there.
    pub async fn of(fixture: &Fixture, name: &str) -> Model {
        let service = fixture.services.get(name).await.expect("a Service");
        let address = service.spec.and_then(|spec| spec.cluster_ip).expect("an address");
        Model { name: name.to_owned(), address: format!("{address}:80") }
    }

    /// Asks for a completion of two tokens. The error says what came instead.
    pub async fn ask(&self, patience: Duration) -> Result<(), String> {
        match tokio::time::timeout(patience, self.completion()).await {
            Ok(Ok(answer)) if answer["choices"][0]["message"].is_object() => Ok(()),
            Ok(Ok(answer)) => Err(answer.to_string()),
            Ok(Err(error)) => Err(format!("{error:?}")),
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        }
    }

    async fn completion(&self) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let body = json!({
            "model": self.name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2
        });
        let request = hyper::Request::post("/v1/chat/completions")
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let stream = TokioIo::new(TcpStream::connect(&self.address).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        // It ends when `sender` is dropped.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&answer)?)
    }
}
