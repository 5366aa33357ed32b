//! Where things are in a chart. No browser here.

use std::fmt::Write as _;

/// Maps values to pixels, linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub from: (f64, f64),
    pub to: (f64, f64),
}

impl Scale {
    pub fn px(self, value: f64) -> f64 {
        let (low, high) = self.from;
        let (start, end) = self.to;
        if (high - low).abs() < f64::EPSILON {
            return f64::midpoint(start, end);
        }
        start + (value - low) / (high - low) * (end - start)
    }

    pub fn value(self, px: f64) -> f64 {
        let (low, high) = self.from;
        let (start, end) = self.to;
        if (end - start).abs() < f64::EPSILON {
            return low;
        }
        low + (px - start) / (end - start) * (high - low)
    }
}

/// Round values from 0 to at least `max`, about `count` of them; the last is the top of the axis.
pub fn ticks(max: f64, count: usize) -> Vec<f64> {
    if !max.is_finite() || max <= 0.0 {
        return vec![0.0, 1.0];
    }
    let rough = max / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let steps = (max / step - 1e-9).ceil().max(1.0) as usize;
    (0..=steps).map(|n| n as f64 * step).collect()
}

/// Lengths of time that a clock's face likes, in milliseconds.
const TIME_STEPS: [i64; 13] = [
    60_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
];

/// Times to write below the axis: at most `count`, on round hours of a clock `offset_ms` east of UTC.
pub fn time_ticks(start_ms: i64, end_ms: i64, offset_ms: i64, count: usize) -> Vec<i64> {
    let span = (end_ms - start_ms).max(1);
    let wanted = span / count.max(1) as i64;
    let step = TIME_STEPS
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(604_800_000 * (wanted / 604_800_000 + 1));
    let first = (start_ms + offset_ms + step - 1).div_euclid(step) * step - offset_ms;
    let last = (end_ms - first).div_euclid(step);
    (0..=last).map(|n| first + n * step).collect()
}

/// The index of the value nearest to `at`; the values rise.
pub fn nearest(values: &[i64], at: f64) -> Option<usize> {
    let after = values.partition_point(|value| (*value as f64) < at);
    let distance = |index: usize| values.get(index).map(|value| (*value as f64 - at).abs());
    match (after.checked_sub(1), distance(after)) {
        (Some(before), Some(next)) => {
            let back = distance(before)?;
            Some(if back <= next { before } else { after })
        }
        (Some(before), None) => Some(before),
        (None, Some(_)) => Some(after),
        (None, None) => None,
    }
}

/// A path through the points; a value that is missing breaks it.
pub fn line(points: &[(f64, Option<f64>)]) -> String {
    let mut path = String::new();
    let mut pen_up = true;
    for (x, y) in points {
        match y {
            Some(y) => {
                path.push_str(if pen_up { "M" } else { "L" });
                // Writing to a String cannot fail.
                let _ = write!(path, "{x:.1} {y:.1}");
                pen_up = false;
            }
            None => pen_up = true,
        }
    }
    path
}

/// The area between the points and the base.
pub fn area(points: &[(f64, Option<f64>)], base: f64) -> String {
    points
        .split(|(_, y)| y.is_none())
        .filter_map(|run| {
            let (first, last) = (run.first()?.0, run.last()?.0);
            let top = line(run);
            let rest = top.strip_prefix('M')?;
            Some(format!("M{first:.1} {base:.1}L{rest}L{last:.1} {base:.1}Z"))
        })
        .collect()
}

/// Points without a neighbour, which no line shows.
pub fn lone(points: &[(f64, Option<f64>)]) -> Vec<(f64, f64)> {
    let known = |at: usize| points.get(at).is_some_and(|(_, y)| y.is_some());
    let all = points.iter().enumerate();
    all.filter(|(at, _)| !known(at.wrapping_sub(1)) && !known(at + 1))
        .filter_map(|(_, (x, y))| y.map(|y| (*x, y)))
        .collect()
}

/// How many decimals tell multiples of this step apart, at most 9.
pub fn decimals(step: f64) -> usize {
    let whole = |count: &usize| {
        let scaled = step * 10_f64.powi(*count as i32);
        (scaled - scaled.round()).abs() < 1e-6
    };
    (0..9).find(whole).unwrap_or(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_go_both_ways() {
        let scale = Scale {
            from: (10.0, 20.0),
            to: (0.0, 100.0),
        };
        assert!((scale.px(15.0) - 50.0).abs() < 1e-9);
        assert!((scale.value(50.0) - 15.0).abs() < 1e-9);
        let flat = Scale {
            from: (5.0, 5.0),
            to: (0.0, 100.0),
        };
        assert!((flat.px(5.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        for (max, expected) in [
            (0.0, vec![0.0, 1.0]),
            (f64::NAN, vec![0.0, 1.0]),
            (4.0, vec![0.0, 1.0, 2.0, 3.0, 4.0]),
            (97.0, vec![0.0, 25.0, 50.0, 75.0, 100.0]),
            (1_000.0, vec![0.0, 250.0, 500.0, 750.0, 1_000.0]),
        ] {
            assert_eq!(ticks(max, 4), expected, "{max}");
        }
        for max in [0.0003, 1.7, 23.0, 1e9] {
            let found = ticks(max, 4);
            assert!(
                found.last().copied().unwrap_or(0.0) >= max * 0.999_999,
                "{max}: {found:?}"
            );
            assert!(found.len() <= 6, "{max}: {found:?}");
        }
    }

    #[test]
    fn times_are_on_the_clock_of_the_zone() {
        let hour = 3_600_000;
        // Half past the hour in UTC is a full hour in India.
        let india = 5 * hour + hour / 2;
        let found = time_ticks(0, 4 * hour, india, 4);
        assert_eq!(
            found,
            [
                hour / 2,
                hour / 2 + hour,
                hour / 2 + 2 * hour,
                hour / 2 + 3 * hour
            ]
        );
        assert!(time_ticks(0, 30 * 24 * hour, 0, 6).len() <= 7);
        assert!(time_ticks(5, 5, 0, 6).len() <= 1);
    }

    #[test]
    fn the_nearest_point_is_found() {
        let values = [10, 20, 30];
        assert_eq!(nearest(&values, 0.0), Some(0));
        assert_eq!(nearest(&values, 14.0), Some(0));
        assert_eq!(nearest(&values, 16.0), Some(1));
        assert_eq!(nearest(&values, 99.0), Some(2));
        assert_eq!(nearest(&[], 1.0), None);
    }

    #[test]
    fn points_alone_are_found() {
        let points = [(0.0, Some(1.0)), (1.0, None), (2.0, Some(2.0)), (3.0, Some(3.0))];
        assert_eq!(lone(&points), [(0.0, 1.0)]);
        assert_eq!(lone(&points[2..3]), [(2.0, 2.0)]);
        assert!(lone(&[]).is_empty());
    }

    #[test]
    fn gaps_break_the_line() {
        let points = [(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(4.0))];
        assert_eq!(line(&points), "M0.0 1.0L1.0 2.0M3.0 4.0");
        assert_eq!(area(&points[..2], 9.0), "M0.0 9.0L0.0 1.0L1.0 2.0L1.0 9.0Z");
        assert_eq!(line(&[]), "");
    }

    #[test]
    fn a_step_says_how_many_decimals_it_needs() {
        assert_eq!([50.0, 2.5, 0.05, 0.0025].map(decimals), [0, 1, 2, 4]);
        assert_eq!(decimals(0.0), 0);
    }
}
