# Sourced by ./dev: where things are built and kept. Sets variables only; asks nobody and installs nothing.
# shellcheck shell=bash

readonly ENVOY_VERSION=1.40.0
readonly OPENAI_SDK_VERSION=3.54.0
readonly ANTHROPIC_SDK_VERSION=2.12.0
readonly SCHEMATHESIS_VERSION=4.32.5
readonly AXE_VERSION=0.1.8
readonly CHDB_VERSION=26.9.0
readonly KAFKA_VERSION=4.1.0

say() { printf '%s\n' "── $*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# The user's cache folder, or nothing where there is none that can be written.
cache_folder() {
  local folder=${XDG_CACHE_HOME:-${HOME:-}/.cache}/rateguard
  mkdir -p "$folder" 2>/dev/null && [[ -w $folder ]] && printf '%s\n' "$folder"
}

CACHE=$(cache_folder) || CACHE=$PWD/.dev/cache
export PATH="${HOME:-}/.cargo/bin:$PATH"
export CARGO_TERM_PROGRESS_WHEN=${CARGO_TERM_PROGRESS_WHEN:-never}

# Envoy and the Python SDKs, each in a virtual environment that is named by what is inside.
readonly ENVOY_HOME=$CACHE/envoy-$ENVOY_VERSION
readonly SDK_HOME=$CACHE/sdk-openai-$OPENAI_SDK_VERSION-anthropic-$ANTHROPIC_SDK_VERSION
export ENVOY_BIN=${ENVOY_BIN:-$ENVOY_HOME/bin/envoy}
export RATEGUARD_SDK_PYTHON=${RATEGUARD_SDK_PYTHON:-$SDK_HOME/bin/python}
# Drives every operation of the REST API's document.
readonly SCHEMATHESIS_HOME=$CACHE/schemathesis-$SCHEMATHESIS_VERSION
export RATEGUARD_SCHEMATHESIS=${RATEGUARD_SCHEMATHESIS:-$SCHEMATHESIS_HOME/bin/schemathesis}

# axe-core, which finds what people with disabilities cannot use on the console's pages: from a Python package, so that
# nothing but Python is needed.
readonly AXE_HOME=$CACHE/axe-playwright-python-$AXE_VERSION
export RATEGUARD_AXE=${RATEGUARD_AXE:-$AXE_HOME/axe.min.js}

# ClickHouse's engine and Apache Kafka, by version (deploy/local/engines.sh).
readonly CHDB_HOME=$CACHE/chdb-$CHDB_VERSION
readonly KAFKA_HOME=$CACHE/kafka-$KAFKA_VERSION
export RATEGUARD_CHDB_PYTHON=${RATEGUARD_CHDB_PYTHON:-$CHDB_HOME/bin/python}
export RATEGUARD_KAFKA_JARS=${RATEGUARD_KAFKA_JARS:-$KAFKA_HOME/jars}

# One target folder per compiler, so that a fresh clone finds every registry crate compiled.
choose_target_folder() {
  have rustc || return 0
  local compiler host hash
  compiler=$(rustc -vV)
  host=$(sed -n 's/^host: //p' <<<"$compiler")
  hash=$(cksum <<<"$compiler" | cut -d ' ' -f 1)
  if [[ -z ${CARGO_TARGET_DIR:-} ]]; then
    if [[ $CACHE == "$PWD"/* ]]; then CARGO_TARGET_DIR=$PWD/target; else CARGO_TARGET_DIR=$CACHE/target-$hash; fi
  fi
  case $CARGO_TARGET_DIR in /*) ;; *) CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;; esac
  export CARGO_TARGET_DIR
  # For the native target only: mold does not link WASM. The same flags at every run, or cargo would rebuild.
  if have mold && [[ -z ${RATEGUARD_NO_MOLD:-} && -z ${RUSTFLAGS:-} ]]; then
    local name=${host^^}
    export "CARGO_TARGET_${name//-/_}_RUSTFLAGS=-C link-arg=-fuse-ld=mold"
  fi
}
choose_target_folder
