//! Short messages about what has just happened.

use std::rc::Rc;
use yew::{AttrValue, Reducible};

#[derive(Debug, Clone, PartialEq)]
pub struct Toast {
    pub id: u32,
    pub bad: bool,
    pub text: AttrValue,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Toasts {
    pub shown: Vec<Toast>,
    next: u32,
}

pub enum Say {
    Good(String),
    Bad(String),
    Dismiss(u32),
}

/// More would cover the page.
const SHOWN_MAX: usize = 4;

impl Reducible for Toasts {
    type Action = Say;

    fn reduce(self: Rc<Self>, say: Say) -> Rc<Self> {
        let mut toasts = (*self).clone();
        let (bad, text) = match say {
            Say::Good(text) => (false, text),
            Say::Bad(text) => (true, text),
            Say::Dismiss(id) => {
                toasts.shown.retain(|toast| toast.id != id);
                return Rc::new(toasts);
            }
        };
        toasts.shown.push(Toast {
            id: toasts.next,
            bad,
            text: text.into(),
        });
        toasts.next = toasts.next.wrapping_add(1);
        if toasts.shown.len() > SHOWN_MAX {
            toasts.shown.remove(0);
        }
        Rc::new(toasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut toasts = Rc::new(Toasts::default());
        for n in 0..6 {
            toasts = toasts.reduce(Say::Good(n.to_string()));
        }
        let ids: Vec<_> = toasts.shown.iter().map(|toast| toast.id).collect();
        assert_eq!(ids, [2, 3, 4, 5]);
        assert_eq!(toasts.reduce(Say::Dismiss(4)).shown.len(), 3);
    }
}
