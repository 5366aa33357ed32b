//! The head of a page: its name, what it is for, what can be done.

use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub title: AttrValue,
    #[prop_or_default]
    pub text: Html,
    /// Buttons.
    #[prop_or_default]
    pub children: Html,
}

#[component]
pub fn PageHead(props: &Props) -> Html {
    html! {
        <header class="page-head">
            <div>
                <h1 id="page-title" tabindex="-1" class="break">{ &props.title }</h1>
                if props.text != Html::default() { <p>{ props.text.clone() }</p> }
            </div>
            if props.children != Html::default() { <div class="row">{ props.children.clone() }</div> }
        </header>
    }
}
