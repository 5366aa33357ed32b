//! How long each program took the last time: the longest begin first, so that none is left over at the end.

use super::plan::Job;
use crate::wasm;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Seconds, by name.
#[derive(Default)]
pub(super) struct Times(BTreeMap<String, u64>);

fn file() -> PathBuf {
    wasm::native_target_dir().join("test-times.json")
}

impl Times {
    /// What cannot be read is not known.
    pub(super) fn load() -> Self {
        let known = fs::read(file()).ok();
        Self(
            known
                .and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default(),
        )
    }

    /// Seconds; of what never ran here, as long as possible where it may start servers.
    pub(super) fn of(&self, job: &Job) -> u64 {
        let unknown = if job.is_integration { u64::MAX } else { 0 };
        self.0.get(&job.name).copied().unwrap_or(unknown)
    }

    pub(super) fn note(&mut self, job: &Job, took: Duration) {
        self.0.insert(job.name.clone(), took.as_secs());
    }

    /// A hint only: where it cannot be kept, the next run is in another order.
    pub(super) fn store(&self) {
        if let Ok(text) = serde_json::to_vec_pretty(&self.0) {
            let _ = fs::write(file(), text);
        }
    }
}
