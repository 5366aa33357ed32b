//! The ledger's contract: one behaviour suite over both stores, the faults that the Redis store must survive, and
//! random operations that compare the two.

mod books;
mod budget;
mod faults;
mod harness;
mod lease;
mod machine;
mod rate;
mod resolve;
mod whole;
