//! A table whose rows can be searched and sorted; on narrow screens each row becomes a card.

use super::icon::{Glyph, Icon};
use crate::state::table::{Direction, SortKey, compare, matches};
use web_sys::HtmlInputElement;
use yew::prelude::*;
use yew::virtual_dom::Key;

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub label: &'static str,
    /// Numbers stand on the right.
    pub right: bool,
}

impl Column {
    pub const fn left(label: &'static str) -> Self {
        Self { label, right: false }
    }

    pub const fn right(label: &'static str) -> Self {
        Self { label, right: true }
    }
}

/// One row: what is seen, what it is found by, what it is sorted by.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub key: String,
    pub search: String,
    /// One for each column, the first is the row's name.
    pub cells: Vec<(Html, SortKey)>,
    /// Buttons and menus at the end.
    pub acts: Html,
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub label: AttrValue,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// Shown in the search field; without it there is none.
    #[prop_or_default]
    pub search: Option<AttrValue>,
    /// Beside the search.
    #[prop_or_default]
    pub tools: Html,
}

#[component]
pub fn Table(props: &Props) -> Html {
    let search = use_state_eq(String::new);
    let sort = use_state_eq(|| None::<(usize, Direction)>);
    let mut rows: Vec<&Row> = props
        .rows
        .iter()
        .filter(|row| matches(&row.search, &search))
        .collect();
    if let Some((column, direction)) = *sort {
        rows.sort_by(|a, b| match (a.cells.get(column), b.cells.get(column)) {
            (Some((_, a)), Some((_, b))) => compare(a, b, direction),
            _ => std::cmp::Ordering::Equal,
        });
    }
    let oninput = {
        let search = search.clone();
        Callback::from(move |event: InputEvent| {
            search.set(event.target_unchecked_into::<HtmlInputElement>().value());
        })
    };
    let has_acts = props.rows.iter().any(|row| row.acts != Html::default());
    html! {
        <div>
            <div class="tools">
                if let Some(placeholder) = &props.search {
                    <div class="search">
                        <Glyph icon={Icon::Search} size={16} />
                        <input class="control" type="search" {placeholder} aria-label={placeholder.clone()}
                            value={(*search).clone()} {oninput} />
                    </div>
                }
                { props.tools.clone() }
            </div>
            <div class="table-wrap">
                <table class="table cards" aria-label={props.label.clone()}>
                    <thead><tr>
                        { for props.columns.iter().enumerate().map(|(at, column)| head(at, column, &sort)) }
                        if has_acts { <th><span class="unseen">{ "Actions" }</span></th> }
                    </tr></thead>
                    <tbody>{ for rows.iter().map(|row| line(row, &props.columns, has_acts)) }</tbody>
                </table>
                if rows.is_empty() {
                    <div class="empty small"><p role="status">{ "Nothing here matches." }</p></div>
                }
            </div>
        </div>
    }
}

fn head(at: usize, column: &Column, sort: &UseStateHandle<Option<(usize, Direction)>>) -> Html {
    let mine = sort
        .filter(|(column, _)| *column == at)
        .map(|(_, direction)| direction);
    let aria = match mine {
        Some(Direction::Ascending) => "ascending",
        Some(Direction::Descending) => "descending",
        None => "none",
    };
    let onclick = {
        let sort = sort.clone();
        Callback::from(move |_: MouseEvent| {
            sort.set(Some((at, mine.map_or(Direction::Ascending, Direction::other))));
        })
    };
    html! {
        <th scope="col" class={column.right.then_some("right")} aria-sort={aria}>
            <button type="button" {onclick}>{ column.label }</button>
        </th>
    }
}

fn line(row: &Row, columns: &[Column], has_acts: bool) -> Html {
    html! {
        <tr key={Key::from(row.key.clone())}>
            { for row.cells.iter().zip(columns).enumerate().map(|(at, ((cell, _), column))| {
                let class = classes!((at == 0).then_some("lead"), column.right.then_some("right num"));
                html! { <td {class} data-label={column.label}>{ cell.clone() }</td> }
            }) }
            if has_acts { <td class="acts">{ row.acts.clone() }</td> }
        </tr>
    }
}
