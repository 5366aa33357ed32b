//! Globs over names (model names): `*` stands for any run of characters. Linear time, no recursion.

/// Whether `text` matches `pattern` as a whole. Bytes, case-sensitive.
pub fn matches(_pattern: &str, _text: &str) -> bool {
    todo!()
}
