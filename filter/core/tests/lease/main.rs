//! Requests that are admitted by what a worker holds already: leases, and joint reservations.

mod book;
mod desk;
mod play;
mod support;
