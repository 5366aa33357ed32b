//! The public start page.

use super::shell::Public;
use crate::app::SessionHandle;
use crate::route::Route;
use crate::state::session::Session;
use crate::ui::{Glyph, Go, Icon};
use yew::prelude::*;

#[component]
pub fn Start() -> Html {
    let session = use_context::<SessionHandle>();
    let signed_in = matches!(session.as_deref(), Some(Session::SignedIn(_)));
    let actions = if signed_in {
        html! { <Go to={Route::Overview} class="btn">{ "Open the console" }</Go> }
    } else {
        html! { <Go to={Route::Login} class="btn quiet">{ "Sign in" }</Go> }
    };
    html! {
        <Public {actions}>
            <section class="hero">
                <div>
                    <h1>{ "Know what every API call costs. Stop it before it costs too much." }</h1>
                    <p class="lead">{ "RateGuard stands in your Envoy between your applications and the APIs that they call. It checks keys, holds limits and budgets to the cent, and writes the price of each call into its answer." }</p>
                    <div class="row">
                        if signed_in {
                            <Go to={Route::Overview} class="btn primary">{ "Open the console" }</Go>
                        } else {
                            <Go to={Route::Register} class="btn primary">{ "Create an account" }</Go>
                            <Go to={Route::Login} class="btn">{ "Sign in" }</Go>
                        }
                    </div>
                </div>
                <figure class="slip" aria-label="Headers of an answer, with the cost of the call and what is left of limit and budget">
                    <header>{ "What comes back with a call" }</header>
                    <pre>
                        <span class="g">{ "HTTP/2 200" }</span>{ "\n" }
                        <span class="k">{ "x-ratelimit-remaining: " }</span><span class="v">{ "418" }</span>{ "\n" }
                        <span class="k">{ "x-rateguard-tokens-input: " }</span><span class="v">{ "1204" }</span>{ "\n" }
                        <span class="k">{ "x-rateguard-tokens-output: " }</span><span class="v">{ "356" }</span>{ "\n" }
                        <span class="k">{ "x-rateguard-cost-cents: " }</span><span class="a">{ "0.657" }</span>{ "\n" }
                        <span class="k">{ "x-rateguard-budget-remaining: " }</span><span class="a">{ "41250.343" }</span>
                    </pre>
                </figure>
            </section>
            <section class="points">
                <div><Glyph icon={Icon::Gauge} size={26} /><h2>{ "Limits that hold" }</h2>
                    <p>{ "Requests, tokens or money; per key, address or workspace. A burst of a thousand on a budget for a hundred admits a hundred." }</p></div>
                <div><Glyph icon={Icon::Money} size={26} /><h2>{ "Exact costs" }</h2>
                    <p>{ "Usage is read from the answer itself, streamed or not, and priced in billionths of a dollar. Nothing is rounded up." }</p></div>
                <div><Glyph icon={Icon::Bolt} size={26} /><h2>{ "One line to change" }</h2>
                    <p>{ "The official SDKs work as they are: change the base URL and the key. Or load the filter into the Envoy that you already run." }</p></div>
            </section>
        </Public>
    }
}
