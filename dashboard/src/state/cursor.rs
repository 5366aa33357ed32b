//! Where a reader is in a list that is given by pages.

use std::rc::Rc;
use yew::Reducible;

/// The cursors of the pages gone through; the first page has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors(Vec<String>);

pub enum Turn {
    Next(String),
    Back,
    First,
}

impl Cursors {
    pub fn current(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }

    /// Counted from 1.
    pub fn page(&self) -> usize {
        self.0.len() + 1
    }
}

impl Reducible for Cursors {
    type Action = Turn;

    fn reduce(self: Rc<Self>, turn: Turn) -> Rc<Self> {
        let mut cursors = self.0.clone();
        match turn {
            Turn::Next(cursor) => cursors.push(cursor),
            Turn::Back => drop(cursors.pop()),
            Turn::First => cursors.clear(),
        }
        Rc::new(Self(cursors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_forth_and_back() {
        let first = Rc::new(Cursors::default());
        assert_eq!((first.current(), first.page()), (None, 1));
        let third = first
            .reduce(Turn::Next("a".into()))
            .reduce(Turn::Next("b".into()));
        assert_eq!((third.current(), third.page()), (Some("b"), 3));
        let second = third.reduce(Turn::Back);
        assert_eq!(second.current(), Some("a"));
        assert_eq!(second.reduce(Turn::Back).reduce(Turn::Back).page(), 1);
    }
}
