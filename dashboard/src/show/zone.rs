//! Time zones: the browser knows their rules, so that the console need not carry them.

use super::time::{Civil, parse};
use js_sys::{Array, Function, Intl, Object, Reflect};
use std::rc::Rc;
use wasm_bindgen::{JsCast as _, JsValue};

/// A time zone by its IANA name.
#[derive(Clone)]
pub struct Zone {
    pub name: Rc<str>,
    format: Option<Intl::DateTimeFormat>,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Zone {
    /// UTC where the browser does not know the name.
    pub fn new(name: &str) -> Self {
        let format = formatter(name);
        let name = if format.is_some() { name } else { "UTC" };
        Self {
            name: name.into(),
            format,
        }
    }

    /// The zone of this machine.
    pub fn of_browser() -> String {
        let format = Intl::DateTimeFormat::new(&Array::new(), &Object::new());
        Reflect::get(&format.resolved_options(), &JsValue::from_str("timeZone"))
            .ok()
            .and_then(|name| name.as_string())
            .unwrap_or_else(|| "UTC".to_owned())
    }

    /// Milliseconds east of UTC at that moment.
    pub fn offset_ms(&self, ms: i64) -> i64 {
        let whole = ms.div_euclid(1_000) * 1_000;
        let format = self.format.as_ref();
        format.map_or(0, |format| local_ms(format, whole) - whole)
    }

    pub fn civil(&self, ms: i64) -> Civil {
        Civil::of_local_ms(ms + self.offset_ms(ms))
    }

    /// When this day began.
    pub fn midnight(&self, ms: i64) -> i64 {
        let civil = self.civil(ms);
        let start = Civil {
            hour: 0,
            minute: 0,
            second: 0,
            ..civil
        };
        self.instant(start)
    }

    /// The moment that a clock of this zone shows; where it shows it twice or never, the one after.
    pub fn instant(&self, civil: Civil) -> i64 {
        let as_utc = civil.as_utc_ms();
        let guess = as_utc - self.offset_ms(as_utc);
        as_utc - self.offset_ms(guess)
    }

    /// `22 Nov 2026, 14:05`, or the text itself if it is no time.
    pub fn show(&self, rfc3339: &str) -> String {
        parse(rfc3339).map_or_else(|| rfc3339.to_owned(), |ms| self.civil(ms).date_clock())
    }

    /// `22 Nov 2026`.
    pub fn show_date(&self, rfc3339: &str) -> String {
        parse(rfc3339).map_or_else(|| rfc3339.to_owned(), |ms| self.civil(ms).date())
    }
}

fn formatter(name: &str) -> Option<Intl::DateTimeFormat> {
    let options = Object::new();
    for (key, value) in [
        ("timeZone", name),
        ("hourCycle", "h23"),
        ("year", "numeric"),
        ("month", "2-digit"),
        ("day", "2-digit"),
        ("hour", "2-digit"),
        ("minute", "2-digit"),
        ("second", "2-digit"),
    ] {
        Reflect::set(&options, &key.into(), &value.into()).ok()?;
    }
    // The constructor throws for an unknown zone, which the typed one turns into a panic: called through Reflect.
    let intl = Reflect::get(&js_sys::global(), &"Intl".into()).ok()?;
    let constructor: Function = Reflect::get(&intl, &"DateTimeFormat".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let arguments = Array::of2(&"en-US".into(), &options);
    Reflect::construct(&constructor, &arguments).ok()?.dyn_into().ok()
}

fn local_ms(format: &Intl::DateTimeFormat, ms: i64) -> i64 {
    let date = js_sys::Date::new(&JsValue::from_f64(ms as f64));
    let parts = format.format_to_parts(&date);
    let mut civil = Civil::of_local_ms(0);
    for part in parts.iter() {
        let text = |key: &str| {
            Reflect::get(&part, &key.into())
                .ok()
                .and_then(|value| value.as_string())
        };
        let (Some(kind), Some(value)) = (text("type"), text("value")) else {
            continue;
        };
        let Ok(number) = value.parse::<u32>() else {
            continue;
        };
        match kind.as_str() {
            "year" => civil.year = i64::from(number),
            "month" => civil.month = number,
            "day" => civil.day = number,
            "hour" => civil.hour = number,
            "minute" => civil.minute = number,
            "second" => civil.second = number,
            _ => {}
        }
    }
    civil.as_utc_ms()
}

/// Every zone that the browser knows, UTC first.
pub fn all() -> Vec<String> {
    let names = || -> Option<Vec<String>> {
        let intl = Reflect::get(&js_sys::global(), &"Intl".into()).ok()?;
        let ask: Function = Reflect::get(&intl, &"supportedValuesOf".into())
            .ok()?
            .dyn_into()
            .ok()?;
        let found: Array = ask.call1(&intl, &"timeZone".into()).ok()?.dyn_into().ok()?;
        Some(found.iter().filter_map(|name| name.as_string()).collect())
    };
    let mut all = vec!["UTC".to_owned()];
    all.extend(
        names()
            .unwrap_or_default()
            .into_iter()
            .filter(|name| name != "UTC"),
    );
    all
}
