//! Fields of a form. Each shows its own fault, as the API or the page found it.

use super::icon::{Glyph, Icon};
use crate::state::form::{Edit, Form};
use web_sys::{HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement};
use yew::prelude::*;

pub type Handle = UseReducerHandle<Form>;

/// Ids of elements: names of fields have brackets and dots, which are fine in an id but not in a selector.
pub fn id_of(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("f-{plain}")
}

#[derive(Properties, PartialEq)]
struct FrameProps {
    id: String,
    label: AttrValue,
    optional: bool,
    hint: Option<AttrValue>,
    fault: Option<AttrValue>,
    children: Html,
}

#[component]
fn Frame(props: &FrameProps) -> Html {
    let id = &props.id;
    html! {
        <div class={classes!("field", props.fault.is_some().then_some("bad"))}>
            <label for={id.clone()}>
                { &props.label }
                if props.optional { <span class="optional">{ "optional" }</span> }
            </label>
            { props.children.clone() }
            if let Some(fault) = &props.fault {
                <p class="fault" id={format!("{id}-fault")} role="alert"><Glyph icon={Icon::Warning} size={15} />{ fault }</p>
            }
            if let Some(hint) = &props.hint {
                <p class="hint" id={format!("{id}-hint")}>{ hint }</p>
            }
        </div>
    }
}

fn described(id: &str, fault: bool, hint: bool) -> Option<String> {
    match (fault, hint) {
        (false, false) => None,
        (true, false) => Some(format!("{id}-fault")),
        (false, true) => Some(format!("{id}-hint")),
        (true, true) => Some(format!("{id}-fault {id}-hint")),
    }
}

fn setter(form: &Handle, name: &AttrValue) -> Callback<String> {
    let (dispatcher, name) = (form.dispatcher(), name.to_string());
    Callback::from(move |value| dispatcher.dispatch(Edit::Set(name.clone(), value)))
}

#[derive(Properties, PartialEq)]
pub struct TextProps {
    pub form: Handle,
    pub name: AttrValue,
    pub label: AttrValue,
    #[prop_or_default]
    pub hint: Option<AttrValue>,
    #[prop_or("text".into())]
    pub kind: AttrValue,
    #[prop_or_default]
    pub placeholder: AttrValue,
    #[prop_or_default]
    pub optional: bool,
    #[prop_or_default]
    pub disabled: bool,
    #[prop_or("off".into())]
    pub autocomplete: AttrValue,
    /// `decimal`, `numeric`, `url`, …
    #[prop_or_default]
    pub inputmode: Option<AttrValue>,
    /// Stands before what is typed: `$`.
    #[prop_or_default]
    pub before: Option<AttrValue>,
    /// Stands after it: a unit.
    #[prop_or_default]
    pub after: Option<AttrValue>,
    #[prop_or_default]
    pub focus: bool,
    /// Choices that the browser suggests.
    #[prop_or_default]
    pub suggestions: Vec<AttrValue>,
}

#[component]
pub fn TextField(props: &TextProps) -> Html {
    let id = id_of(&props.name);
    let fault = props
        .form
        .fault_of(&props.name)
        .map(|fault| AttrValue::from(fault.to_owned()));
    let node = use_node_ref();
    {
        let (node, focus) = (node.clone(), props.focus);
        use_effect_with((), move |()| {
            if let Some(input) = node.cast::<HtmlInputElement>().filter(|_| focus) {
                // Without the focus the field can still be clicked.
                let _ = input.focus();
            }
        });
    }
    let oninput = setter(&props.form, &props.name)
        .reform(|event: InputEvent| event.target_unchecked_into::<HtmlInputElement>().value());
    let list = (!props.suggestions.is_empty()).then(|| format!("{id}-list"));
    let input = html! {
        <input ref={node} id={id.clone()} class="control" type={props.kind.clone()} name={props.name.clone()}
            value={props.form.get(&props.name).to_owned()} placeholder={props.placeholder.clone()} {oninput}
            disabled={props.disabled} autocomplete={props.autocomplete.clone()} inputmode={props.inputmode.clone()}
            spellcheck="false" list={list.clone()} aria-invalid={fault.is_some().then_some("true")}
            aria-required={(!props.optional).then_some("true")}
            aria-describedby={described(&id, fault.is_some(), props.hint.is_some())} />
    };
    html! {
        <Frame id={id.clone()} label={props.label.clone()} optional={props.optional} hint={props.hint.clone()} {fault}>
            if props.before.is_some() || props.after.is_some() {
                <div class="affix">
                    if let Some(before) = &props.before { <span>{ before }</span> }
                    { input }
                    if let Some(after) = &props.after { <span>{ after }</span> }
                </div>
            } else {
                { input }
            }
            if let Some(list) = list {
                <datalist id={list}>{ for props.suggestions.iter().map(|s| html! { <option value={s.clone()} /> }) }</datalist>
            }
        </Frame>
    }
}

#[derive(Properties, PartialEq)]
pub struct AreaProps {
    pub form: Handle,
    pub name: AttrValue,
    pub label: AttrValue,
    #[prop_or_default]
    pub hint: Option<AttrValue>,
    #[prop_or_default]
    pub placeholder: AttrValue,
    #[prop_or_default]
    pub optional: bool,
}

#[component]
pub fn TextArea(props: &AreaProps) -> Html {
    let id = id_of(&props.name);
    let fault = props
        .form
        .fault_of(&props.name)
        .map(|fault| AttrValue::from(fault.to_owned()));
    let oninput = setter(&props.form, &props.name)
        .reform(|event: InputEvent| event.target_unchecked_into::<HtmlTextAreaElement>().value());
    html! {
        <Frame id={id.clone()} label={props.label.clone()} optional={props.optional} hint={props.hint.clone()} fault={fault.clone()}>
            <textarea id={id.clone()} class="control mono" name={props.name.clone()} placeholder={props.placeholder.clone()}
                value={props.form.get(&props.name).to_owned()} {oninput} spellcheck="false"
                aria-invalid={fault.is_some().then_some("true")}
                aria-describedby={described(&id, fault.is_some(), props.hint.is_some())} />
        </Frame>
    }
}

#[derive(Properties, PartialEq)]
pub struct SelectProps {
    pub form: Handle,
    pub name: AttrValue,
    pub label: AttrValue,
    #[prop_or_default]
    pub hint: Option<AttrValue>,
    #[prop_or_default]
    pub optional: bool,
    #[prop_or_default]
    pub disabled: bool,
    /// Values with what is shown for them.
    pub options: Vec<(AttrValue, AttrValue)>,
}

#[component]
pub fn SelectField(props: &SelectProps) -> Html {
    let id = id_of(&props.name);
    let fault = props
        .form
        .fault_of(&props.name)
        .map(|fault| AttrValue::from(fault.to_owned()));
    let chosen = props.form.get(&props.name);
    let onchange = setter(&props.form, &props.name)
        .reform(|event: Event| event.target_unchecked_into::<HtmlSelectElement>().value());
    html! {
        <Frame id={id.clone()} label={props.label.clone()} optional={props.optional} hint={props.hint.clone()} fault={fault.clone()}>
            <select id={id.clone()} class="control" name={props.name.clone()} {onchange} disabled={props.disabled}
                aria-invalid={fault.is_some().then_some("true")}
                aria-describedby={described(&id, fault.is_some(), props.hint.is_some())}>
                { for props.options.iter().map(|(value, text)| html! {
                    <option value={value.clone()} selected={value.as_str() == chosen}>{ text }</option>
                }) }
            </select>
        </Frame>
    }
}

#[derive(Properties, PartialEq)]
pub struct SwitchProps {
    pub form: Handle,
    pub name: AttrValue,
    pub label: AttrValue,
    #[prop_or_default]
    pub hint: Option<AttrValue>,
    #[prop_or_default]
    pub disabled: bool,
}

#[component]
pub fn SwitchField(props: &SwitchProps) -> Html {
    let on = props.form.is_on(&props.name);
    let onchange = setter(&props.form, &props.name).reform(move |_: Event| (!on).to_string());
    html! {
        <label class="switch">
            <input type="checkbox" role="switch" name={props.name.clone()} checked={on} {onchange} disabled={props.disabled} />
            <span class="track" aria-hidden="true"></span>
            <span>
                { &props.label }
                if let Some(hint) = &props.hint { <span class="hint"><br />{ hint }</span> }
            </span>
        </label>
    }
}

/// One of the choices of a [`PickField`].
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub value: AttrValue,
    pub title: AttrValue,
    pub text: AttrValue,
}

impl Choice {
    pub fn new(value: impl Into<AttrValue>, title: impl Into<AttrValue>, text: impl Into<AttrValue>) -> Self {
        Self {
            value: value.into(),
            title: title.into(),
            text: text.into(),
        }
    }
}

#[derive(Properties, PartialEq)]
pub struct PickProps {
    pub form: Handle,
    pub name: AttrValue,
    pub label: AttrValue,
    pub choices: Vec<Choice>,
}

/// Few choices that need a word of help: all are seen.
#[component]
pub fn PickField(props: &PickProps) -> Html {
    let chosen = props.form.get(&props.name);
    let fault = props.form.fault_of(&props.name);
    html! {
        <fieldset>
            <legend>{ &props.label }</legend>
            <div class="picks">
                { for props.choices.iter().map(|choice| {
                    let (set, value) = (setter(&props.form, &props.name), choice.value.to_string());
                    let onchange = set.reform(move |_: Event| value.clone());
                    html! {
                        <label class="pick">
                            <input type="radio" name={props.name.clone()} value={choice.value.clone()}
                                checked={choice.value.as_str() == chosen} {onchange} />
                            <strong>{ &choice.title }</strong>
                            <span>{ &choice.text }</span>
                        </label>
                    }
                }) }
            </div>
            if let Some(fault) = fault { <p class="fault" role="alert">{ fault.to_owned() }</p> }
        </fieldset>
    }
}

#[derive(Properties, PartialEq)]
pub struct CheckListProps {
    pub form: Handle,
    pub name: AttrValue,
    pub label: AttrValue,
    #[prop_or_default]
    pub hint: Option<AttrValue>,
    pub options: Vec<(AttrValue, AttrValue)>,
}

/// Several of a few: the value is their names with commas between.
#[component]
pub fn CheckList(props: &CheckListProps) -> Html {
    let chosen = props.form.list(&props.name);
    let fault = props.form.fault_of(&props.name);
    html! {
        <fieldset>
            <legend>{ &props.label }</legend>
            if let Some(hint) = &props.hint { <p class="hint">{ hint }</p> }
            <div class="checks">
            { for props.options.iter().map(|(value, text)| {
                let on = chosen.iter().any(|one| one == value.as_str());
                let (set, value, chosen) = (setter(&props.form, &props.name), value.to_string(), chosen.clone());
                let onchange = set.reform(move |_: Event| {
                    let mut next: Vec<String> = chosen.iter().filter(|one| **one != value).cloned().collect();
                    if !on {
                        next.push(value.clone());
                    }
                    next.join(",")
                });
                html! { <label class="check"><input type="checkbox" checked={on} {onchange} /><span>{ text }</span></label> }
            }) }
            </div>
            if let Some(fault) = fault { <p class="fault" role="alert">{ fault.to_owned() }</p> }
        </fieldset>
    }
}
