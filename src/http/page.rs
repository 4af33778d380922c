//! The page at `/`: one self-contained HTML file, which reads `/status.json` and `/history.json`.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const HTML: &str = include_str!("page.html");

/// The page, with the policy that lets a browser run nothing but its own script.
pub(super) struct Page {
    policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let (script, style) = (hash_of("script"), hash_of("style"));
        Self {
            policy: format!(
                "default-src 'none'; connect-src 'self'; img-src data:; script-src {script}; style-src {style}; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
        }
    }

    pub(super) fn response(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, self.policy.as_str()),
        ];
        (headers, HTML).into_response()
    }
}

/// The hash of the one element with this tag, as a source of a content security policy.
fn hash_of(tag: &str) -> String {
    let text = HTML.split_once(&format!("<{tag}>")).map(|(_, after)| after);
    let text = text.and_then(|after| after.split_once(&format!("</{tag}>")));
    let text = text.map_or("", |(text, _)| text);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_needs_nothing_from_elsewhere() {
        for tag in ["script", "style"] {
            assert_eq!(HTML.matches(&format!("<{tag}>")).count(), 1, "{tag}");
            assert_eq!(HTML.matches(&format!("<{tag}")).count(), 1, "{tag}");
        }
        for foreign in ["src=", "@import", "url(", " style=\"", "innerHTML"] {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
        let links = HTML.matches("http").count();
        let namespaces = HTML.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(links, namespaces, "only the name of the SVG namespace");
    }
}
