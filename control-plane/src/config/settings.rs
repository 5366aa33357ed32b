//! Where variables come from: the environment, and below it a file of `NAME=value` lines as in `.env.example`.

use super::{ConfigError, Problem};
use std::collections::BTreeMap;
use std::path::Path;

/// The variable that names the file; `--config` does too.
pub const FILE_VARIABLE: &str = "RATEGUARD_CONFIG_FILE";

/// All variables that the program may read. The environment wins over the file.
#[derive(Debug, Default)]
pub struct Settings {
    file: BTreeMap<String, String>,
}

impl Settings {
    /// Reads the file, if there is one. An error names its line.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let wrong = |message: String| {
            ConfigError(vec![Problem {
                variable: FILE_VARIABLE,
                message,
            }])
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("{} cannot be read: {error}", path.display())))?;
        let file = parse(&text).map_err(|(line, what)| {
            wrong(format!(
                "line {line} of {} {what}; write NAME=value, and # before a comment",
                path.display()
            ))
        })?;
        Ok(Self { file })
    }

    /// A variable's value; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<String> {
        process_env(name)
            .or_else(|| self.file.get(name).cloned())
            .filter(|value| !value.is_empty())
    }
}

/// The program's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's one reading of its environment"
)]
fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `NAME=value`, also with `export` before it and with the value in quotes; `#` at the start of a line begins a
/// comment. A value is taken as it stands: nothing is expanded, so that a secret may hold any character.
fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, &'static str)> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| (index + 1, what);
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(wrong("has no ="))?;
        let name = name.trim();
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
        if !is_name {
            return Err(wrong("does not begin with the name of a variable"));
        }
        let value = unquote(value.trim()).ok_or(wrong("has an opening quote without a closing one"))?;
        if values.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(wrong("sets a variable a second time"));
        }
    }
    Ok(values)
}

fn unquote(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote);
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_stand() {
        let text = "# a comment\n\nexport A=1\nB = \"two words\"\nC='$HOME#x'\nD=a=b # not a comment\nRATEGUARD_E=\n";
        let values = parse(text).unwrap();
        let get = |name: &str| values[name].as_str();
        assert_eq!(
            ["A", "B", "C", "D", "RATEGUARD_E"].map(get),
            ["1", "two words", "$HOME#x", "a=b # not a comment", ""]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [
            ("A=1\nB", 2),
            ("=1", 1),
            ("A B=1", 1),
            ("\nA='1", 2),
            ("A=1\nA=2", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Settings::load(Some(Path::new("/nowhere/rateguard.env"))).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(FILE_VARIABLE) && said.contains("/nowhere/rateguard.env"),
            "{said}"
        );
    }

    #[test]
    fn the_example_file_can_be_read() {
        let values = parse(include_str!("../../../.env.example")).unwrap();
        assert!(values.contains_key("DATABASE_URL"));
    }
}
