//! The console's files, compiled in. `console/README.md` says what puts them there.

/// One file and its compressed forms.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Below the root, without a slash in front: `app-1a2b3c4d.js`.
    pub path: &'static str,
    pub plain: &'static [u8],
    pub br: Option<&'static [u8]>,
    pub gzip: Option<&'static [u8]>,
}

/// All files of a console; empty where none was built.
#[derive(Debug, Clone, Copy)]
pub struct Console(pub &'static [File]);

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

const INDEX: &str = "index.html";
/// Hexadecimal digits that make a fingerprint.
const FINGERPRINT_MIN: usize = 8;

impl Console {
    /// What this program was built with.
    pub fn embedded() -> Self {
        Self(FILES)
    }

    /// The page of every route of the console.
    pub fn index(self) -> Option<&'static File> {
        self.file(INDEX)
    }

    /// The file at a path without a slash in front.
    pub fn file(self, path: &str) -> Option<&'static File> {
        self.0.iter().find(|file| file.path == path)
    }
}

impl File {
    /// Whether the name changes with the content: `name-1a2b3c4d.ext`, also with more after the digits
    /// (`app-1a2b3c4d_bg.wasm`).
    pub fn is_fingerprinted(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let after_hyphens = name.split('-').skip(1);
        after_hyphens
            .map(|part| part.bytes().take_while(u8::is_ascii_hexdigit).count())
            .any(|digits| digits >= FINGERPRINT_MIN)
    }

    /// The media type that its name stands for.
    pub fn media_type(&self) -> &'static str {
        match self.path.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "js" | "mjs" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            // Compiled while it streams in, which browsers do for this type only.
            "wasm" => "application/wasm",
            "json" | "map" => "application/json",
            "webmanifest" => "application/manifest+json",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "ico" => "image/x-icon",
            "woff2" => "font/woff2",
            "txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_eight_digits_after_a_hyphen() {
        let is = |path| {
            File {
                path,
                plain: b"",
                br: None,
                gzip: None,
            }
            .is_fingerprinted()
        };
        for path in [
            "app-1a2b3c4d.js",
            "img/logo-0123456789abcdef.svg",
            "app-1a2b3c4d5e_bg.wasm",
        ] {
            assert!(is(path), "{path}");
        }
        for path in [
            "index.html",
            "app.js",
            "app-1a2b3c4.js",
            "dead-beef.js",
            "deadbeef00.js",
        ] {
            assert!(!is(path), "{path}");
        }
    }
}
