//! The live page: three files in the program, and what a browser must know about them.
//!
//! Called by `routes`. The page has no outside part and knows no number: it asks `/status`.
//!
//! Style and script are paths of their own, not inline: the policy then allows what comes from
//! here and nothing else, without a hash that must follow each edit, and nothing that gets into
//! the page as text could ever run.

use super::http::Answer;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

static HTML: Part = Part::new("text/html; charset=utf-8", include_str!("page.html"));
static CSS: Part = Part::new("text/css; charset=utf-8", include_str!("page.css"));
static JS: Part = Part::new("text/javascript; charset=utf-8", include_str!("page.js"));

pub(super) fn html() -> Answer {
    HTML.answer(&HTML_TAG).with_header("Content-Security-Policy", POLICY)
}

pub(super) fn css() -> Answer {
    CSS.answer(&CSS_TAG)
}

pub(super) fn js() -> Answer {
    JS.answer(&JS_TAG)
}

static HTML_TAG: LazyLock<String> = LazyLock::new(|| HTML.tag());
static CSS_TAG: LazyLock<String> = LazyLock::new(|| CSS.tag());
static JS_TAG: LazyLock<String> = LazyLock::new(|| JS.tag());

struct Part {
    content_type: &'static str,
    text: &'static str,
}

impl Part {
    const fn new(content_type: &'static str, text: &'static str) -> Self {
        Self { content_type, text }
    }

    /// Changes with the text, so that a browser may keep the file and need only ask: after an
    /// upgrade it gets the new one at once.
    fn tag(&self) -> String {
        // Without random keys: the same in every process of one build.
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    fn answer(&self, tag: &'static LazyLock<String>) -> Answer {
        Answer::new(self.content_type, self.text)
            .with_header("Cache-Control", "no-cache")
            .with_header("ETag", tag)
    }
}
