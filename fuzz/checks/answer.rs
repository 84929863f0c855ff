//! The answer to a request for one object, or the refusal of it, by the API server or by whoever stands
//! in between.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::Frame;
use inference_operator::kubernetes::request;
use inference_operator::model::view::DeploymentView;
use kube::client::Body;

use super::{telemetry, ways};

/// Chosen by the first byte.
const CODES: [u16; 8] = [200, 201, 302, 403, 404, 409, 422, 500];

pub fn check(data: &[u8]) {
    let Some((code, data)) = data.split_first() else { return };
    let code = CODES[usize::from(*code) % CODES.len()];
    let mut said = ways(data).into_iter().map(|chunks| ask(code, chunks));
    let first = said.next();
    for other in said {
        assert_eq!(Some(other), first, "in other chunks it says something else");
    }
}

/// The object, or what kind of error.
fn ask(code: u16, chunks: Vec<Vec<u8>>) -> String {
    let asked = telemetry::block_on(async {
        request::object::<DeploymentView>(&client(code, chunks), Request::new(Vec::new())).await
    });
    match asked {
        Ok(object) => format!("{object:?}"),
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, code, "the code is the answer's, whatever the body says");
            // What is shown of an answer that is no JSON depends on its first chunk.
            "refused".into()
        }
        Err(error) => inference_operator::kubernetes::refusal::describe(&error),
    }
}

/// A client whose server always gives this answer.
fn client(code: u16, chunks: Vec<Vec<u8>>) -> kube::Client {
    let service = tower::service_fn(move |_: Request<Body>| {
        let frames = chunks.clone().into_iter().map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))));
        let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
        async move { Ok::<_, Infallible>(response) }
    });
    kube::Client::new(service, "default")
}
