//! Prices by model: what the workspace sets itself, and the catalogue that it goes before.

use super::destroy::Destroy;
use super::head::PageHead;
use super::price_editor::{PRICES, PriceEditor, Values};
use crate::api::{Call, Loaded, use_load, use_pages};
use crate::app::Here;
use crate::show::money::price_per_million;
use crate::state::permission::Need;
use crate::state::table::SortKey;
use crate::ui::{Button, Column, Empty, Failed, Glyph, Icon, Kind, Menu, Pager, Row, Skeletons, Table, Tabs};
use rateguard_api::api::TokenPrices;
use rateguard_api::price::{Catalogue, CatalogueEntry, Price};
use std::rc::Rc;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub here: Rc<Here>,
}

#[derive(Clone, PartialEq)]
enum Asked {
    /// Of one of its own by the id, or a new one.
    Edit(Option<String>, Values),
    Delete(Price),
}

#[component]
pub fn Prices(props: &Props) -> Html {
    let here = &props.here;
    let chosen = use_state_eq(|| 0_usize);
    let asked = use_state_eq(|| None::<Asked>);
    let own = use_pages::<Price>(Some(Call::get(here.path("/prices"))));
    let catalogue = use_load::<Catalogue>(Some(Call::get(here.path("/prices/catalogue"))));
    let writes = here.can(Need::Administer);
    let ask = |wanted: Asked| {
        let asked = asked.clone();
        Callback::from(move |_: MouseEvent| asked.set(Some(wanted.clone())))
    };
    let onclose = {
        let asked = asked.clone();
        Callback::from(move |()| asked.set(None))
    };
    let new = ask(Asked::Edit(None, Values::default()));
    let new =
        html! { <Button kind={Kind::Primary} icon={Icon::Plus} onclick={new}>{ "Set a price" }</Button> };
    let body = match (*chosen, &own.load.state, &catalogue.state) {
        (0, Loaded::Waiting, _) | (1.., _, Loaded::Waiting) => html! { <Skeletons shape="tall" count={1} /> },
        (0, Loaded::Failed(failure), _) => {
            html! { <Failed failure={failure.clone()} retry={own.load.reload.clone()} /> }
        }
        (_, _, Loaded::Failed(failure)) => {
            html! { <Failed failure={failure.clone()} retry={catalogue.reload.clone()} /> }
        }
        (0, Loaded::Ready(list), _) if list.data.is_empty() && own.cursors.page() == 1 => html! {
            <Empty icon={Icon::Money} title="The catalogue's prices hold" text="Set a price where you pay another one, or where the catalogue has none.">
                if writes { { new.clone() } }
            </Empty>
        },
        (0, Loaded::Ready(list), _) => {
            let rows = list.data.iter().map(|price| {
                let (edit, delete) = (Asked::Edit(Some(price.id.clone()), Values::of(price)), Asked::Delete(price.clone()));
                let acts = html! {
                    if writes {
                        <Menu label={["Actions for ", &price.model].concat()}>
                            <button type="button" onclick={ask(edit)}><Glyph icon={Icon::Edit} size={16} />{ "Edit" }</button>
                            <hr />
                            <button type="button" class="bad" onclick={ask(delete)}><Glyph icon={Icon::Trash} size={16} />{ "Delete…" }</button>
                        </Menu>
                    }
                };
                let since = (here.zone.show_date(&price.updated_at).into(), SortKey::Text(price.updated_at.clone()));
                row(&price.id, &price.model, None, &price.prices, since, acts)
            });
            html! {
                <>
                    <Table label="Own prices" columns={columns("Changed")} rows={rows.collect::<Vec<_>>()} search="Search prices" />
                    <Pager cursors={own.cursors.clone()} next={list.next_cursor.clone()} />
                </>
            }
        }
        (_, _, Loaded::Ready(catalogue)) => {
            let rows = catalogue.entries.iter().map(|entry| {
                let acts = html! {
                    if writes {
                        <Button small=true onclick={ask(Asked::Edit(None, Values::new(&entry.model, &entry.prices, None)))}>{ "Set another" }</Button>
                    }
                };
                entry_row(entry, acts)
            });
            html! {
                <div class="stack">
                    <p class="soft small">{ "Version " }<code>{ &catalogue.version }</code>{ ". The first pattern that matches wins; it comes with this version of RateGuard." }</p>
                    <Table label="Catalogue" columns={columns("As of")} rows={rows.collect::<Vec<_>>()} search="Search the catalogue" />
                </div>
            }
        }
    };
    html! {
        <div class="page">
            <PageHead title="Prices" text={html! { "In dollars per million tokens. They hold for APIs whose prices come from the catalogue; your own go first." }}>
                if writes { { new } }
            </PageHead>
            <Tabs label="Prices" names={vec!["Your prices".into(), "Catalogue".into()]} chosen={*chosen}
                onchoose={let chosen = chosen.clone(); move |at| chosen.set(at)}>{ body }</Tabs>
            { match (*asked).clone() {
                None => html! {},
                Some(Asked::Edit(id, values)) => html! {
                    <PriceEditor here={here.clone()} {id} {values} {onclose} ondone={own.load.reload.clone()} />
                },
                Some(Asked::Delete(price)) => html! {
                    <Destroy title="Delete this price?" name={price.model} action="Delete price" path={here.path(&["/prices/", &price.id].concat())}
                        {onclose} ondone={own.load.reload.clone()}>
                        <p>{ "The catalogue's price holds again for requests from now on; where it has none, the model is unpriced. What was spent stays as it is." }</p>
                    </Destroy>
                },
            } }
        </div>
    }
}

fn columns(last: &'static str) -> Vec<Column> {
    let mut columns = vec![Column::left("Model")];
    columns.extend(
        PRICES
            .iter()
            .take(SHOWN)
            .map(|(_, label, _)| Column::right(label)),
    );
    columns.push(Column::left(last));
    columns
}

/// Prices in the table; the editor has them all.
const SHOWN: usize = 4;

fn row(
    key: &str,
    model: &str,
    provider: Option<&str>,
    prices: &TokenPrices,
    last: (Html, SortKey),
    acts: Html,
) -> Row {
    let name = html! { <div class="name break"><code>{ model.to_owned() }</code>if let Some(provider) = provider { <div class="sub">{ provider.to_owned() }</div> }</div> };
    let mut cells = vec![(name, SortKey::Text(model.to_owned()))];
    cells.extend(PRICES.iter().take(SHOWN).map(|(_, _, read)| match read(prices) {
        None => (Html::from("–"), SortKey::Missing),
        Some(price) => (
            Html::from(price_per_million(price).unwrap_or_default()),
            SortKey::Number(price.0.0 as f64),
        ),
    }));
    cells.push(last);
    Row {
        key: key.to_owned(),
        search: [model, " ", provider.unwrap_or_default()].concat(),
        cells,
        acts,
    }
}

fn entry_row(entry: &CatalogueEntry, acts: Html) -> Row {
    let source = html! { <span title={entry.source.clone()}>{ &entry.as_of }</span> };
    let key = [entry.provider.as_str(), " ", &entry.model].concat();
    let since = (source, SortKey::Text(entry.as_of.clone()));
    row(
        &key,
        &entry.model,
        Some(&entry.provider),
        &entry.prices,
        since,
        acts,
    )
}
