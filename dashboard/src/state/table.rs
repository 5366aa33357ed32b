//! Sorting and filtering of the rows at hand.

use std::cmp::Ordering;

/// What a row is sorted by in one column.
#[derive(Debug, Clone, PartialEq)]
pub enum SortKey {
    Text(String),
    Number(f64),
    /// Always last, in both directions.
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    #[default]
    Ascending,
    Descending,
}

impl Direction {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

pub fn compare(a: &SortKey, b: &SortKey, direction: Direction) -> Ordering {
    let order = match (a, b) {
        (SortKey::Missing, SortKey::Missing) => return Ordering::Equal,
        (SortKey::Missing, _) => return Ordering::Greater,
        (_, SortKey::Missing) => return Ordering::Less,
        (SortKey::Number(a), SortKey::Number(b)) => a.total_cmp(b),
        (SortKey::Text(a), SortKey::Text(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
        (SortKey::Number(_), SortKey::Text(_)) => Ordering::Less,
        (SortKey::Text(_), SortKey::Number(_)) => Ordering::Greater,
    };
    match direction {
        Direction::Ascending => order,
        Direction::Descending => order.reverse(),
    }
}

/// Whether every word of the search is somewhere in the text.
pub fn matches(text: &str, search: &str) -> bool {
    let text = text.to_lowercase();
    search
        .to_lowercase()
        .split_whitespace()
        .all(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_are_last_in_both_directions() {
        let keys = || vec![SortKey::Missing, SortKey::Number(2.0), SortKey::Number(1.0)];
        let mut up = keys();
        up.sort_by(|a, b| compare(a, b, Direction::Ascending));
        assert_eq!(up, [SortKey::Number(1.0), SortKey::Number(2.0), SortKey::Missing]);
        let mut down = keys();
        down.sort_by(|a, b| compare(a, b, Direction::Descending));
        assert_eq!(
            down,
            [SortKey::Number(2.0), SortKey::Number(1.0), SortKey::Missing]
        );
    }

    #[test]
    fn a_search_wants_all_its_words() {
        assert!(matches("Billing service rg_live_K7dF", "live BILL"));
        assert!(!matches("Billing service", "billing x"));
        assert!(matches("anything", "  "));
    }
}
