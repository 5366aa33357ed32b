//! The log of requests as far as it has been read: more at its end, what has come in since at its head.

use rateguard_api::analytics::Event;
use rateguard_api::list::List;
use std::rc::Rc;
use yew::Reducible;

/// Newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    pub rows: Vec<Rc<Event>>,
    /// Leads to older rows.
    pub next: Option<String>,
    /// Whether anything has been read.
    pub begun: bool,
}

/// Which part of the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    First,
    Older,
    /// The first page again: what is not known of it goes where it belongs.
    Newer,
}

pub enum Change {
    Forget,
    Read(Part, List<Event>),
}

impl Log {
    /// Puts a row at its place; false if it is there already. Late ones belong further down.
    fn insert(&mut self, row: Event) -> bool {
        let at = self.rows.partition_point(|known| known.timestamp > row.timestamp);
        let same = self.rows.iter().skip(at);
        let known = same
            .take_while(|known| known.timestamp == row.timestamp)
            .any(|known| known.id == row.id && known.revision == row.revision);
        if !known {
            self.rows.insert(at, Rc::new(row));
        }
        !known
    }
}

impl Reducible for Log {
    type Action = Change;

    fn reduce(self: Rc<Self>, change: Change) -> Rc<Self> {
        let (part, page) = match change {
            Change::Forget => return Rc::default(),
            Change::Read(part, page) => (part, page),
        };
        let mut log = (*self).clone();
        match part {
            Part::Older => {
                log.rows.extend(page.data.into_iter().map(Rc::new));
                log.next = page.next_cursor;
            }
            Part::Newer if !log.rows.is_empty() => {
                let count = page.data.len();
                // From the oldest on, so that those of one moment keep their order.
                let new = page.data.into_iter().rev().map(|row| log.insert(row));
                let new = new.filter(|new| *new).count();
                if new == count && page.next_cursor.is_some() {
                    // Nothing of it was known: between it and the rest is a gap.
                    log.rows.truncate(count);
                    log.next = page.next_cursor;
                } else if new == 0 {
                    return self;
                }
            }
            Part::First | Part::Newer => {
                log.rows = page.data.into_iter().map(Rc::new).collect();
                log.next = page.next_cursor;
            }
        }
        log.begun = true;
        Rc::new(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: u32, id: &str) -> Event {
        serde_json::from_value(serde_json::json!({
            "id": id, "revision": 0, "timestamp": format!("2026-11-22T10:00:{second:02}.000Z"), "receivedAt": "",
            "apiId": null, "apiName": null, "keyId": null, "keyName": null, "keyOwnerId": null, "endpoint": "/",
            "method": "GET", "model": null, "statusCode": 200, "errorType": null, "latencyMs": 1,
            "upstreamLatencyMs": 1, "ttftMs": null, "requestBytes": 0, "responseBytes": 0, "costCents": 0.5,
            "tokens": {"input": 1, "cached": 0, "cacheWrite": 0, "output": 0, "reasoning": 0, "audio": 0}, "units": 0,
            "usageSource": "none", "priceVersion": null, "cacheHit": false, "rateLimited": false,
            "budgetExceeded": false, "shadow": false, "degraded": false, "stream": false, "clientIp": null,
            "ruleId": null, "budgetId": null, "tags": {},
        }))
        .unwrap()
    }

    fn page(rows: &[(u32, &str)], next: Option<&str>) -> List<Event> {
        List {
            data: rows.iter().map(|(second, id)| event(*second, id)).collect(),
            next_cursor: next.map(str::to_owned),
        }
    }

    fn read(log: Rc<Log>, part: Part, rows: &[(u32, &str)], next: Option<&str>) -> Rc<Log> {
        log.reduce(Change::Read(part, page(rows, next)))
    }

    fn ids(log: &Log) -> Vec<&str> {
        log.rows.iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn older_pages_go_to_the_end() {
        let log = read(Rc::default(), Part::First, &[(5, "e"), (4, "d")], Some("n"));
        let log = read(log, Part::Older, &[(3, "c")], None);
        assert_eq!((ids(&log), log.next.as_deref()), (vec!["e", "d", "c"], None));
    }

    #[test]
    fn new_requests_go_to_the_head_once_and_late_ones_to_their_place() {
        let log = read(
            Rc::default(),
            Part::First,
            &[(5, "e"), (5, "e2"), (2, "b")],
            Some("n"),
        );
        let log = read(
            log,
            Part::Newer,
            &[(7, "g2"), (7, "g"), (5, "e"), (5, "e2"), (4, "late")],
            Some("other"),
        );
        assert_eq!(ids(&log), ["g2", "g", "e", "e2", "late", "b"]);
        assert_eq!(log.next.as_deref(), Some("n"), "the end is where it was");
        let same = read(log.clone(), Part::Newer, &[(7, "g2"), (7, "g")], Some("x"));
        assert!(Rc::ptr_eq(&log, &same), "nothing new changes nothing");
    }

    #[test]
    fn what_cannot_be_joined_begins_anew() {
        let log = read(Rc::default(), Part::First, &[(2, "b"), (1, "a")], None);
        let log = read(log, Part::Newer, &[(9, "i"), (8, "h")], Some("n"));
        assert_eq!((ids(&log), log.next.as_deref()), (vec!["i", "h"], Some("n")));
        assert!(!log.reduce(Change::Forget).begun);
    }

    #[test]
    fn an_empty_log_takes_its_first_rows() {
        let log = read(Rc::default(), Part::First, &[], None);
        assert!(log.begun);
        assert_eq!(ids(&read(log, Part::Newer, &[(1, "a")], None)), ["a"]);
    }
}
