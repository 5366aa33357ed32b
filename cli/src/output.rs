//! Answers on the terminal: a table, the server's own JSON, or ids alone.

use crate::error::Error;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    /// As the control plane wrote it
    Json,
}

/// A column: its heading, and the JSON pointer to its value.
pub(crate) type Column = (&'static str, &'static str);

pub(crate) struct Printer {
    format: Format,
    quiet: bool,
}

impl Printer {
    pub(crate) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    pub(crate) fn list(&self, entries: &[Box<RawValue>], columns: &[Column]) -> Result<(), Error> {
        if self.format == Format::Json && !self.quiet {
            let texts: Vec<&str> = entries.iter().map(|entry| entry.get()).collect();
            return print(&format!("{{\"data\":[{}]}}\n", texts.join(",")));
        }
        let values: Vec<Value> = entries
            .iter()
            .map(|entry| serde_json::from_str(entry.get()).unwrap_or(Value::Null))
            .collect();
        if self.quiet {
            return print(
                &values
                    .iter()
                    .flat_map(|value| [cell(value, "/id"), "\n".to_owned()])
                    .collect::<String>(),
            );
        }
        print(&rows(&values, columns))
    }

    /// One thing, a field a line. `secret` is what only this answer has: with `--quiet` it is all that is printed.
    pub(crate) fn one(&self, text: &str, secret: Option<&str>) -> Result<(), Error> {
        let value: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        if self.quiet {
            let shown = cell(&value, secret.unwrap_or("/id"));
            return print(&if shown.is_empty() {
                shown
            } else {
                format!("{shown}\n")
            });
        }
        if self.format == Format::Json {
            return print(&format!("{text}\n"));
        }
        let Some(fields) = value.as_object() else {
            return print(&format!("{text}\n"));
        };
        let lines: Vec<_> = fields
            .iter()
            .map(|(name, value)| vec![name.clone(), shown(value)])
            .collect();
        print(&table(&lines))
    }

    /// One thing of which `part` is a list: in a table, the list follows the other fields in columns of its own.
    pub(crate) fn one_with_list(&self, text: &str, part: &str, columns: &[Column]) -> Result<(), Error> {
        let fields: Option<serde_json::Map<String, Value>> = serde_json::from_str(text).ok();
        let Some(mut fields) = fields.filter(|_| self.format == Format::Table && !self.quiet) else {
            return self.one(text, None);
        };
        let entries = match fields.remove(part) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        self.one(&Value::Object(fields).to_string(), None)?;
        if entries.is_empty() {
            return Ok(());
        }
        print("\n")?;
        print(&rows(&entries, columns))
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One entry of a list that goes on.
    pub(crate) fn line(&self, value: &Value, columns: &[Column]) -> Result<(), Error> {
        if self.quiet {
            return print(&format!("{}\n", cell(value, "/id")));
        }
        let cells: Vec<String> = columns.iter().map(|(_, at)| cell(value, at)).collect();
        print(&format!("{}\n", cells.join("  ")))
    }

    /// A sentence for people.
    pub(crate) fn say(&self, text: &str) -> Result<(), Error> {
        if self.quiet || self.format == Format::Json {
            return Ok(());
        }
        print(&format!("{text}\n"))
    }

    /// An answer just as it is.
    pub(crate) fn raw(text: &str) -> Result<(), Error> {
        if text.is_empty() {
            Ok(())
        } else {
            print(&format!("{text}\n"))
        }
    }
}

/// A reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A heading, and a line for each value.
fn rows(values: &[Value], columns: &[Column]) -> String {
    let head: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let lines = values
        .iter()
        .map(|value| columns.iter().map(|(_, at)| cell(value, at)).collect());
    table(&std::iter::once(head).chain(lines).collect::<Vec<_>>())
}

fn cell(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).map(shown).unwrap_or_default()
}

/// Text from the server may hold anything: control characters must not reach the terminal.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| item.is_string() || item.is_number()) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            items.join(",")
        }
        other => other.to_string(),
    };
    text.chars().filter(|character| !character.is_control()).collect()
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    rows.iter()
        .flat_map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            [cells.join("  ").trim_end().to_owned(), "\n".to_owned()]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_and_control_characters_are_left_out() {
        let rows = vec![
            vec!["ID".to_owned(), "NAME".to_owned()],
            vec![shown(&json!("1")), shown(&json!("a\u{1b}[31m\nb"))],
            vec![shown(&json!("two")), shown(&Value::Null)],
        ];
        assert_eq!(table(&rows), "ID   NAME\n1    a[31mb\ntwo  -\n");
        assert_eq!(shown(&json!(["a", "b"])), "a,b");
        assert_eq!(shown(&json!({"a": 1})), r#"{"a":1}"#);
    }
}
