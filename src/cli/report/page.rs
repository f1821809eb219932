//! A report as a page in one file: the live page's style, no script, nothing from elsewhere.

use std::time::Duration;

/// The live page's, so that a report looks like it.
const STYLE: &str = include_str!("../../endpoint/page/page.css");
/// What a report has in addition: charts that grow with the page.
const OWN_STYLE: &str = include_str!("page.css");
/// Nothing may be loaded, and nothing may run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// A page; its texts are escaped here, `body` is HTML already.
pub(in super::super) struct Page<'a> {
    pub(in super::super) title: &'a str,
    /// What was done, in a line below.
    pub(in super::super) about: &'a str,
    /// The subcommand that made it.
    pub(in super::super) by: &'a str,
    pub(in super::super) body: String,
}

impl Page<'_> {
    pub(in super::super) fn html(&self) -> String {
        let [title, about, by] = [self.title, self.about, self.by].map(escape);
        let body = &self.body;
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\"/>\n\
             <style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n\
             <header><h1>{title}</h1><span class=\"quiet end\">welcomed {by} {}</span></header>\n\
             <main>\n<p class=\"quiet\">{about}</p>\n{body}</main>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
        )
    }
}

/// Big numbers in a row: name, value, and a note on it.
pub(in super::super) fn tiles<const N: usize>(tiles: [(&str, String, String); N]) -> String {
    let tile = |(name, value, note)| {
        format!("<div><dt>{name}</dt><dd>{value}</dd><dd>{note}</dd></div>\n")
    };
    let tiles: String = tiles.map(tile).concat();
    format!("<section><dl class=\"tiles\">\n{tiles}</dl></section>\n")
}

/// What everybody has to see, if there is any.
pub(in super::super) fn notice(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("<p class=\"notice\">{}</p>\n", escape(text))
    }
}

/// A power of ten of seconds.
pub(in super::super) fn show_time(seconds: f64) -> String {
    format!("{:?}", Duration::from_nanos((seconds * 1e9).round() as u64))
}

/// Text from elsewhere, as text.
pub(in super::super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
