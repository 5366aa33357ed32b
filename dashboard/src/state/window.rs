//! Which rows of a long list are drawn: those that are seen and a few around them.

use std::ops::Range;

/// Height of a row, as `.log .line` in the style sheet says. Pixels.
pub const ROW_PX: i32 = 36;
/// Drawn above and below what is seen, so that scrolling by a little draws nothing new.
const MARGIN: usize = 6;

/// The rows to draw, by the scroll position and the height that rows are seen in, in pixels.
pub fn drawn(scroll_px: i32, height_px: i32, count: usize) -> Range<usize> {
    let rows = |px: i32| usize::try_from(px / ROW_PX).unwrap_or(0);
    let first = rows(scroll_px).saturating_sub(MARGIN).min(count);
    let last = rows(scroll_px) + rows(height_px) + 2 + MARGIN;
    first..last.clamp(first, count)
}

/// The scroll position at which a row is seen whole, the nearest to the present one.
pub fn scroll_to(row: usize, scroll_px: i32, height_px: i32) -> i32 {
    let top = i32::try_from(row).unwrap_or(i32::MAX / ROW_PX) * ROW_PX;
    let lowest = (top + ROW_PX - height_px).max(0);
    scroll_px.clamp(lowest.min(top), top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_drawn_of_many() {
        assert_eq!(drawn(0, 480, 10_000), 0..21);
        let middle = drawn(5_000 * ROW_PX, 480, 10_000);
        assert!(middle.contains(&5_000) && middle.contains(&5_014) && middle.len() < 30);
        assert_eq!(drawn(9_990 * ROW_PX, 480, 10_000).end, 10_000);
        assert_eq!(drawn(0, 480, 3), 0..3);
        assert_eq!(drawn(9_000, 480, 0), 0..0, "the list became shorter");
    }

    #[test]
    fn the_view_follows_a_row_no_further_than_needed() {
        let height = 10 * ROW_PX;
        assert_eq!(scroll_to(3, 0, height), 0, "it is seen");
        assert_eq!(scroll_to(10, 0, height), ROW_PX, "one below");
        assert_eq!(scroll_to(2, 5 * ROW_PX, height), 2 * ROW_PX, "above");
        assert_eq!(scroll_to(5, 0, 10), 5 * ROW_PX, "a window lower than a row");
    }
}
