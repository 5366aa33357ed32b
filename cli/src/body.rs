//! Bodies from the command line: `name=text`, `name:=json`, and `--data`.

use crate::arguments::Body;
use crate::error::Error;
use serde_json::{Map, Value};
use std::io::Read as _;

impl Body {
    /// The body that they make together.
    pub(crate) fn build(&self) -> Result<Value, Error> {
        let mut body = match &self.data {
            Some(data) => serde_json::from_str(&read(data)?)
                .map_err(|error| Error::Usage(format!("--data is not JSON: {error}")))?,
            None => Value::Object(Map::new()),
        };
        for field in &self.fields {
            let (path, value) = split(field)?;
            set(&mut body, path, value)
                .ok_or_else(|| Error::Usage(format!("`{path}` reaches into something that is no object")))?;
        }
        Ok(body)
    }
}

/// The text of `--data`.
pub(crate) fn read(data: &str) -> Result<String, Error> {
    if data == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    match data.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Error::Usage(format!("{path} cannot be read: {error}"))),
        None => Ok(data.to_owned()),
    }
}

fn split(field: &str) -> Result<(&str, Value), Error> {
    let (name, text) = field
        .split_once('=')
        .ok_or_else(|| Error::Usage(format!("`{field}` is neither NAME=TEXT nor NAME:=JSON")))?;
    let Some(name) = name.strip_suffix(':') else {
        return Ok((name, Value::String(text.to_owned())));
    };
    let value = serde_json::from_str(text).map_err(|_| {
        Error::Usage(format!(
            "`{text}` of {name} is not JSON; for text write {name}={text}"
        ))
    })?;
    Ok((name, value))
}

/// `None` where something on the way is no object.
fn set(body: &mut Value, path: &str, value: Value) -> Option<()> {
    let mut at = body;
    let (way, last) = path
        .rsplit_once('.')
        .map_or((None, path), |(way, last)| (Some(way), last));
    for name in way.into_iter().flat_map(|way| way.split('.')) {
        at = at
            .as_object_mut()?
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    at.as_object_mut()?.insert(last.to_owned(), value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn build(fields: &[&str], data: Option<&str>) -> Result<Value, Error> {
        Body {
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            data: data.map(str::to_owned),
        }
        .build()
    }

    #[test]
    fn text_json_and_nesting() {
        let body = build(
            &["name=60=many", "limit:=60", "tags.team=search", "expiresAt:=null"],
            None,
        )
        .unwrap();
        assert_eq!(
            body,
            json!({"name": "60=many", "limit": 60, "tags": {"team": "search"}, "expiresAt": null})
        );
        let body = build(&["b.c:=2"], Some(r#"{"a":1,"b":{"d":3}}"#)).unwrap();
        assert_eq!(body, json!({"a": 1, "b": {"c": 2, "d": 3}}));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (field, said) in [
            ("name", "NAME=TEXT"),
            ("limit:=many", "is not JSON"),
            ("a.b=1", "no object"),
        ] {
            let error = build(&[field], Some(r#"{"a":1}"#)).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
