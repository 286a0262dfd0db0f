//! The certifier on the network: CMP over HTTP (RFC 6712), OCSP over HTTP (RFC 6960 appendix A), the CRLs and the
//! certifier's certificate.

mod faulty;

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::Encode;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep, timeout};

use crate::authority::Authority;
use crate::cmp;
use crate::error::AuthorityError;
use crate::fault::Fault;
use crate::profile::Profile;

const CMP_TYPE: ContentType = ContentType { request: "application/pkixcmp", answer: "application/pkixcmp" };
const OCSP_TYPE: ContentType =
    ContentType { request: "application/ocsp-request", answer: "application/ocsp-response" };
const BODY_LIMIT: usize = 1024 * 1024;
const CONNECTION_LIMIT: usize = 64;
const HEADER_WAIT: Duration = Duration::from_secs(10);
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Nobody keeps one of the few connections for longer.
const CONNECTION_WAIT: Duration = Duration::from_secs(60);
const HOUSEKEEPING: Duration = Duration::from_secs(60);

type Answer = Response<Full<Bytes>>;

/// Serves `authority` on `listener` until `shutdown` is done.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    authority: Arc<Authority>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_with(listener, authority, None, shutdown).await
}

/// As [`serve`], but misbehaves, for tests of clients.
///
/// # Errors
/// When the listener has no address.
pub async fn serve_faulty(
    listener: TcpListener,
    authority: Arc<Authority>,
    fault: Fault,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    serve_with(listener, authority, Some(Arc::new(fault)), shutdown).await
}

async fn serve_with(
    listener: TcpListener,
    authority: Arc<Authority>,
    fault: Option<Arc<Fault>>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    authority.set_base_url(&format!("http://{}", listener.local_addr()?));
    // The last CRL does not know yet where the delta CRL will be found.
    blocking(&authority, Authority::publish_now).await;
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let mut housekeeping = interval(HOUSEKEEPING);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            _ = housekeeping.tick() => blocking(&authority, Authority::publish_if_due).await,
            place = Arc::clone(&places).acquire_owned(), if places.available_permits() == 0 => drop(place),
            accepted = listener.accept(), if places.available_permits() > 0 => match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let (authority, fault) = (Arc::clone(&authority), fault.clone());
                    tokio::spawn(async move {
                        talk(stream, authority, fault).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: waiting helps, spinning does not.
                    tracing::warn!(%error, "no connection accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn blocking(authority: &Arc<Authority>, publish: fn(&Authority) -> Result<(), AuthorityError>) {
    let authority = Arc::clone(authority);
    match tokio::task::spawn_blocking(move || publish(&authority)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the CRL could not be renewed"),
        Err(error) => tracing::error!(%error, "the CRL could not be renewed"),
    }
}

async fn talk(stream: TcpStream, authority: Arc<Authority>, fault: Option<Arc<Fault>>) {
    let service = service_fn(move |request| {
        let (authority, fault) = (Arc::clone(&authority), fault.clone());
        async move {
            match fault {
                Some(fault) => faulty::respond(authority, fault, request).await,
                None => Ok::<_, io::Error>(respond(authority, None, request).await),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_WAIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
        Err(_) => tracing::debug!("connection took too long"),
    }
}

async fn respond(authority: Arc<Authority>, fault: Option<Arc<Fault>>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/healthz" => get(&request, || Some(("text/plain", b"ok\n".to_vec()))),
        "/ca.der" => get(&request, || {
            let certificate = authority.ca_certificate().to_der();
            certificate.ok().map(|der| ("application/pkix-cert", der))
        }),
        "/crl.der" => get(&request, || list(authority.crl())),
        "/delta.der" => get(&request, || list(authority.delta_crl())),
        "/ocsp" => post(OCSP_TYPE, request, move |body| authority.ocsp(body).map(Ok::<_, Infallible>)).await,
        path if path.starts_with("/ocsp/") => match in_address(path) {
            Some(body) => answered(OCSP_TYPE, move || authority.ocsp(&body).map(Ok::<_, Infallible>)).await,
            None => text(StatusCode::BAD_REQUEST, "this is no OCSP request in Base64"),
        },
        path => {
            let profile = path.strip_prefix("/pkix/").and_then(|name| name.parse::<Profile>().ok());
            match profile.and_then(|profile| authority.rules(&profile)) {
                Some(rules) => {
                    let speak = move |body: &[u8]| cmp::answer(&authority, &rules, body, fault.as_deref());
                    post(CMP_TYPE, request, speak).await
                }
                None => text(StatusCode::NOT_FOUND, "nothing is here"),
            }
        }
    }
}

fn get(request: &Request<Incoming>, contents: impl FnOnce() -> Option<(&'static str, Vec<u8>)>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed("GET, HEAD");
    }
    match contents() {
        Some((kind, contents)) => answer(StatusCode::OK, kind, contents),
        None => text(StatusCode::INTERNAL_SERVER_ERROR, "the certifier failed"),
    }
}

fn list(list: Result<Vec<u8>, AuthorityError>) -> Option<(&'static str, Vec<u8>)> {
    list.inspect_err(|error| tracing::error!(%error, "the CRL cannot be read"))
        .ok()
        .map(|list| ("application/pkix-crl", list))
}

/// The request in the address of a GET (RFC 6960 §A.1): Base64, with the characters escaped that addresses want escaped.
fn in_address(path: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = percent_decode_str(path.strip_prefix("/ocsp/")?).collect();
    STANDARD.decode(text).ok()
}

/// What a protocol answers to a body: a message, or a sentence where no message can be made.
type Spoken<E> = Result<Result<Vec<u8>, E>, AuthorityError>;

/// The content types of a protocol's requests and answers.
#[derive(Clone, Copy)]
struct ContentType {
    request: &'static str,
    answer: &'static str,
}

async fn post<E: Display + Send + 'static>(
    kind: ContentType,
    request: Request<Incoming>,
    speak: impl FnOnce(&[u8]) -> Spoken<E> + Send + 'static,
) -> Answer {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let given = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind.request) {
        let sentence = format!("the content type must be {}", kind.request);
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &sentence);
    }
    let body = match timeout(BODY_WAIT, Limited::new(request.into_body(), BODY_LIMIT).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "a message of more than a mebibyte is not read");
        }
        Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "the body could not be read"),
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
    };
    answered(kind, move || speak(&body)).await
}

async fn answered<E: Display + Send + 'static>(
    kind: ContentType,
    speak: impl FnOnce() -> Spoken<E> + Send + 'static,
) -> Answer {
    // Signing and flushing to the disk block.
    match tokio::task::spawn_blocking(speak).await {
        Ok(Ok(Ok(reply))) => answer(StatusCode::OK, kind.answer, reply),
        Ok(Ok(Err(unreadable))) => text(StatusCode::BAD_REQUEST, &unreadable.to_string()),
        Ok(Err(error)) => {
            tracing::error!(%error, "the certifier failed");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the certifier failed")
        }
        Err(error) => {
            tracing::error!(%error, "the certifier failed");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the certifier failed")
        }
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "this method has no meaning here");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn text(status: StatusCode, words: &str) -> Answer {
    answer(status, "text/plain", format!("{words}\n").into_bytes())
}

fn answer(status: StatusCode, kind: &'static str, contents: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(contents)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
