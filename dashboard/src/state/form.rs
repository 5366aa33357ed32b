//! A form: its values, what is wrong with them, and whether leaving it would lose something.

use crate::api::Failure;
use crate::api::sentence;
use std::collections::BTreeMap;
use std::rc::Rc;
use yew::Reducible;

/// Values are text, as they were typed; `true` or nothing for switches. What is sent is made from them by the page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Form {
    saved: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    faults: BTreeMap<String, String>,
    /// What is wrong with the whole, or with fields that the form does not show.
    pub fault: Option<String>,
    /// The failure that `fault` came from.
    pub conflict: bool,
}

pub enum Edit {
    Set(String, String),
    /// Takes out a field: a row of a list was removed.
    Remove(String),
    /// The values that are stored: nothing is unsaved.
    Load(Vec<(String, String)>),
    /// What is here has been stored.
    Saved,
    /// The server refused; the fields are those that the form shows.
    Refused(Failure, Vec<String>),
    /// Found wrong here, before anything is sent.
    Faults(Vec<(String, String)>),
}

impl Form {
    pub fn new<N: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (N, V)>) -> Self {
        let values: BTreeMap<String, String> = values
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            saved: values.clone(),
            values,
            ..Self::default()
        }
    }

    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Without the space around it.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).trim()
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == "true"
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub fn fault_of(&self, name: &str) -> Option<&str> {
        self.faults.get(name).map(String::as_str)
    }

    pub fn is_dirty(&self) -> bool {
        self.values != self.saved
    }

    /// Whether this value is not the stored one.
    pub fn changed(&self, name: &str) -> bool {
        self.values.get(name) != self.saved.get(name)
    }

    /// Lines or commas between values.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.get(name)
            .split([',', '\n'])
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// The shown field that the API's name of a field belongs to: itself, or the longest that it lies within
/// (`hosts[2]` is shown at `hosts`).
fn shown<'a>(field: &str, known: &'a [String]) -> Option<&'a String> {
    known
        .iter()
        .filter(|name| {
            field == name.as_str()
                || field
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with(['.', '[']))
        })
        .max_by_key(|name| name.len())
}

impl Reducible for Form {
    type Action = Edit;

    fn reduce(self: Rc<Self>, edit: Edit) -> Rc<Self> {
        let mut form = (*self).clone();
        match edit {
            Edit::Set(name, value) => {
                form.faults.remove(&name);
                form.values.insert(name, value);
            }
            Edit::Remove(name) => {
                form.faults.remove(&name);
                form.values.remove(&name);
            }
            Edit::Load(values) => form = Self::new(values),
            Edit::Saved => {
                form.saved = form.values.clone();
                form.faults.clear();
                form.fault = None;
                form.conflict = false;
            }
            Edit::Refused(failure, known) => {
                form.faults.clear();
                form.conflict = failure.is_conflict_of_versions();
                let mut elsewhere = Vec::new();
                for one in failure.fields() {
                    match shown(&one.field, &known) {
                        Some(name) => {
                            form.faults.insert(name.clone(), sentence(&one.message));
                        }
                        None => elsewhere.push(format!("{}: {}", one.field, one.message)),
                    }
                }
                form.fault = if elsewhere.is_empty() {
                    form.faults.is_empty().then(|| failure.text())
                } else {
                    Some(sentence(&elsewhere.join("; ")))
                };
            }
            Edit::Faults(faults) => {
                form.fault = None;
                form.faults = faults.into_iter().collect();
            }
        }
        Rc::new(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(fields: &str) -> Failure {
        Failure::of(
            422,
            &format!(
                r#"{{"type":"u","title":"t","status":422,"detail":"the body is invalid","code":"invalid","errors":[{fields}]}}"#
            ),
        )
    }

    #[test]
    fn a_form_is_dirty_until_it_is_what_was_saved() {
        let form = Rc::new(Form::new([("name", "a")]));
        let edited = form.reduce(Edit::Set("name".into(), "b".into()));
        assert!(edited.is_dirty() && edited.changed("name"));
        assert!(
            !edited
                .clone()
                .reduce(Edit::Set("name".into(), "a".into()))
                .is_dirty()
        );
        assert!(!edited.reduce(Edit::Saved).is_dirty());
    }

    #[test]
    fn faults_are_shown_at_their_field_and_go_when_it_is_edited() {
        let form = Rc::new(Form::new([("hosts", ""), ("name", "")]));
        let failure = refused(r#"{"field":"hosts[1]","message":"must be a host name"}"#);
        let form = form.reduce(Edit::Refused(failure, vec!["hosts".into(), "name".into()]));
        assert_eq!(form.fault_of("hosts"), Some("Must be a host name."));
        assert_eq!(form.fault, None);
        assert_eq!(
            form.reduce(Edit::Set("hosts".into(), "x".into()))
                .fault_of("hosts"),
            None
        );
    }

    #[test]
    fn faults_of_hidden_fields_are_shown_above() {
        let failure = refused(r#"{"field":"settings.x","message":"is bad"}"#);
        let form = Rc::new(Form::new([("name", "")])).reduce(Edit::Refused(failure, vec!["name".into()]));
        assert_eq!(form.fault.as_deref(), Some("Settings.x: is bad."));
        let failure = refused("");
        let form = Rc::new(Form::new([("name", "")])).reduce(Edit::Refused(failure, vec!["name".into()]));
        assert_eq!(form.fault.as_deref(), Some("The body is invalid."));
    }

    #[test]
    fn the_longest_name_wins() {
        let known = ["models".to_owned(), "models[0].model".to_owned()];
        assert_eq!(shown("models[0].model", &known), Some(&known[1]));
        assert_eq!(shown("models[1].model", &known), Some(&known[0]));
        assert_eq!(shown("modelsX", &known), None);
    }

    #[test]
    fn lists_take_commas_and_lines() {
        assert_eq!(
            Form::new([("hosts", "a, b\n\nc,")]).list("hosts"),
            ["a", "b", "c"]
        );
    }
}
