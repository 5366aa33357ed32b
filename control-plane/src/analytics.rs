//! Analytics on ClickHouse: what is stored of every request, and how its tables come to be.
//!
//! SQL on ClickHouse is spelled here and in `migrations/clickhouse` only. Whoever reads rows of a workspace names it in
//! the WHERE.

pub mod consume;
pub mod dedup;
pub mod endpoint;
pub mod late;
pub mod migrate;
pub mod query;
pub mod reconcile;
pub mod row;
pub mod source;
pub mod spend;
pub mod worker;

pub use endpoint::{Endpoint, EndpointError};
pub use query::Reader;
pub use row::{ApiEvent, Receipt, TABLE};
