//! Who may read: without a token, those who address the relay by a loopback name; with one, those who present it.
//!
//! Without a token the listener is bound to a loopback address (checked by the configuration). A browser on the same
//! machine could still be made to read it by a foreign page whose host name resolves to 127.0.0.1; so the request must
//! name a loopback host.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// The rule.
pub(super) struct Access {
    token: Option<Secret>,
}

impl Access {
    /// Without a token, only loopback names are answered.
    pub(super) fn new(token: Option<Secret>) -> Self {
        Self { token }
    }

    fn permits(&self, headers: &HeaderMap) -> bool {
        match &self.token {
            Some(token) => presented(headers)
                .is_some_and(|found| found.as_bytes().ct_eq(token.expose().as_bytes()).into()),
            None => text(headers, HOST.as_str()).is_none_or(is_loopback),
        }
    }

    fn refusal(&self) -> Response {
        match self.token {
            // Browsers ask for a user name, which does not matter, and the token as the password.
            Some(_) => {
                let challenge = [(
                    WWW_AUTHENTICATE,
                    "Basic realm=\"binrelay\", charset=\"UTF-8\"",
                )];
                let message =
                    "expected the token ([admin] http_token) as a bearer token, or as a password\n";
                (StatusCode::UNAUTHORIZED, challenge, message).into_response()
            }
            None => {
                let message = "expected a loopback address as the host; other names need [admin] http_token\n";
                (StatusCode::FORBIDDEN, message).into_response()
            }
        }
    }
}

/// Answers a request, or refuses it.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.permits(request.headers()) {
        true => next.run(request).await,
        false => access.refusal(),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The token, as `Bearer TOKEN` (RFC 6750) or as the password of `Basic` (RFC 7617).
fn presented(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = text(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(value.trim()).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// Whether a `Host` header names this machine's loopback interface.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn without_token_only_loopback_names_are_answered() {
        let access = Access::new(None);
        for host in [
            "localhost:9105",
            "127.0.0.1:9105",
            "127.9.9.9",
            "[::1]:9105",
            "LOCALHOST",
        ] {
            assert!(access.permits(&headers("host", host)), "{host}");
        }
        for host in [
            "evil.example:9105",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!access.permits(&headers("host", host)), "{host}");
        }
        assert!(
            access.permits(&HeaderMap::new()),
            "HTTP/1.0, which no browser sends"
        );
    }

    #[test]
    fn token_is_accepted_in_both_forms_and_nothing_else_is() {
        let access = Access::new(Some(Secret::new("s3:cret")));
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for value in ["Bearer s3:cret", "bearer s3:cret", &basic("me:s3:cret")] {
            assert!(access.permits(&headers("authorization", value)), "{value}");
        }
        let wrong = [
            "Bearer s3:cre",
            "Bearer s3:crets",
            "Bearer",
            "Basic s3:cret",
            &basic("s3:cret"),
            &basic("me:"),
            "Digest s3:cret",
        ];
        for value in wrong {
            assert!(!access.permits(&headers("authorization", value)), "{value}");
        }
        assert!(!access.permits(&headers("host", "localhost")));
    }
}
