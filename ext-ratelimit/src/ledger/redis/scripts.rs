//! The Lua scripts, put together from lua/: every `-- include: FILE` line becomes that file.

/// A script and the name that EVALSHA knows it by.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) source: String,
    pub(super) sha: String,
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) reserve: Script,
    pub(super) settle: Script,
    pub(super) renew: Script,
    pub(super) due: Script,
    pub(super) expire: Script,
    pub(super) raise: Script,
}

impl Scripts {
    /// With the server's clock.
    pub(super) fn new() -> Self {
        Self::with_clock(include_str!("../../../lua/clock.lua"))
    }

    /// With `clock` in place of lua/clock.lua: the source of `now_ms()`.
    pub(super) fn with_clock(clock: &str) -> Self {
        let script = |body: &str| {
            let source = body
                .replace("-- include: clock.lua", clock)
                .replace("-- include: meters.lua", include_str!("../../../lua/meters.lua"))
                .replace(
                    "-- include: window_log.lua",
                    include_str!("../../../lua/window_log.lua"),
                );
            let sha = redis::Script::new(&source).get_hash().to_owned();
            Script { source, sha }
        };
        Self {
            reserve: script(include_str!("../../../lua/reserve.lua")),
            settle: script(include_str!("../../../lua/settle.lua")),
            renew: script(include_str!("../../../lua/renew.lua")),
            due: script(include_str!("../../../lua/due.lua")),
            expire: script(include_str!("../../../lua/expire.lua")),
            raise: script(include_str!("../../../lua/raise.lua")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_is_whole_and_declares_its_engine() {
        let scripts = Scripts::new();
        for script in [
            &scripts.reserve,
            &scripts.settle,
            &scripts.renew,
            &scripts.due,
            &scripts.expire,
            &scripts.raise,
        ] {
            assert!(script.source.starts_with("#!lua"), "{}", script.source);
            assert!(!script.source.contains("-- include:"), "{}", script.source);
            assert_eq!(script.source.matches("local function now_ms()").count(), 1);
            assert_eq!(script.sha.len(), 40);
        }
    }
}
