//! Charts: our own, as inline SVG that follows the theme. Geometry is pure; the components only draw it.

pub mod bars;
pub mod geometry;
pub mod line;

pub use bars::{Bar, Bars};
pub use line::{Lines, Series, Show};
