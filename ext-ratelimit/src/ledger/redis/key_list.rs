//! KEYS of a script: each key once, and where it is.

use std::collections::HashMap;

/// Keys without repetition, and where each is in KEYS.
pub(super) struct KeyList {
    before: usize,
    pub(super) keys: Vec<String>,
    indexes: HashMap<String, usize>,
}

impl KeyList {
    /// A list that follows `before` other keys.
    pub(super) fn after(before: usize) -> Self {
        Self {
            before,
            keys: Vec::new(),
            indexes: HashMap::new(),
        }
    }

    /// The key's index in KEYS, from 1.
    pub(super) fn index(&mut self, key: String) -> usize {
        if let Some(index) = self.indexes.get(&key) {
            return *index;
        }
        self.keys.push(key.clone());
        let index = self.before + self.keys.len();
        self.indexes.insert(key, index);
        index
    }
}
