# Sourced by ./dev: the suites of `./dev test`, timed, and a summary that hides nothing.
# shellcheck shell=bash

readonly SUITES=(fmt web sqlx clippy wasm build test deny)

declare -a TIMES=() DETAILS=() FAILED=() NOT_RUN=() ADVISORY=()

run_suites() {
  local wanted=("$@") started=$SECONDS
  if ((${#wanted[@]} == 0)); then wanted=("${SUITES[@]}"); fi
  timed tools prepare
  local suite
  for suite in "${wanted[@]}"; do
    case $suite in
      fmt) timed fmt cargo fmt --all --check ;;
      # Before what compiles: the control plane embeds it.
      web) timed web build_console ;;
      # Before clippy: it shares what it checks with clippy.
      sqlx) timed sqlx cargo run --quiet --locked -p xtask -- sqlx --check ;;
      clippy) timed clippy cargo clippy --workspace --all-targets --locked --quiet -- -D warnings ;;
      wasm)
        timed "wasm" wasm_variant RATEGUARD_FILTER_WASM
        timed "wasm, fault injection" wasm_variant RATEGUARD_FILTER_WASM_FAULTS --features fault-injection
        ;;
      build) timed build build_all ;;
      test) timed test cargo_tests --ignored rest=schemathesis ;;
      schemathesis) timed schemathesis cargo test --package rateguard-control-plane --locked --quiet --test rest -- --ignored schemathesis ;;
      deny) deny ;;
      console)
        timed web build_console
        timed console cargo_tests --test console
        ;;
      *)
        has_test_file "$suite" || die "no suite or test file $suite (suites: ${SUITES[*]})"
        timed "$suite" cargo_tests --test "$suite"
        ;;
    esac
  done
  summary "$((SECONDS - started))"
}

has_test_file() { [[ -n $(find . -path './*/tests/*' \( -name "$1.rs" -o -path "*/$1/main.rs" \) -not -path './target/*' -print -quit) ]]; }

prepare() {
  ensure_tools
  ensure_sdks
  ensure_schemathesis
  ensure_clickhouse
  ensure_kafka
  ensure_browser
  trim_target_folder
}

# Runs a step, remembers how long it took and whether it failed; the steps after it run all the same.
timed() {
  local name=$1 started=$SECONDS outcome=ok
  shift
  DETAILS=()
  say "$name"
  # Not in a subshell: steps hand variables on. `set -e` is off inside a condition, so steps return their own status.
  if ! "$@"; then
    outcome=FAILED
    FAILED+=("$name")
  fi
  TIMES+=("$(printf '%-28s %5d s  %s' "$name" "$((SECONDS - started))" "$outcome")" "${DETAILS[@]}")
}

wasm_variant() {
  local variable=$1 path
  shift
  path=$(build_wasm "$@") && [[ -f $path ]] || return 1
  export "$variable=$path"
}

# Everything at once: one set of features for programs and tests, so that nothing is compiled twice.
build_all() {
  cargo build --workspace --all-targets --locked && export RATEGUARD_BUILT=1
}

# Runs tests and takes down the time of each test program and what was ignored.
cargo_tests() {
  local log status=0
  log=$(mktemp)
  cargo run --quiet --locked -p xtask -- test "$@" 2>&1 | tee "$log" || status=1
  local line
  while IFS= read -r line; do DETAILS+=("$line"); done < <(slowest_programs "$log")
  # Schemathesis is ignored once and run once.
  while IFS= read -r line; do NOT_RUN+=("ignored: $line"); done < <(sed -nE '/schemathesis/!s/^test (.*) \.\.\. ignored.*/\1/p' "$log")
  while IFS= read -r line; do FAILED+=("test $line"); done < <(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log")
  rm -f "$log"
  return "$status"
}

# The ten slowest test programs of a log, slowest first.
slowest_programs() {
  awk '
    /^ +Running / { name = $2 == "unittests" ? $2 " " $3 : $2; crate = $NF; sub(/.*\//, "", crate); sub(/-[0-9a-f]+\)$/, "", crate) }
    /^ +Doc-tests / { name = "doc tests"; crate = $2 }
    /^test result: .* finished in / { seconds = $NF; sub(/s$/, "", seconds); printf "%s\t%s (%s)\n", seconds, name, crate }
  ' "$1" | sort -rn | head -n 10 | awk -F '\t' '$1 >= 1 { printf "    %-40s %7.1f s\n", $2, $1 }'
}

# Advisory: the tool comes from source only, and building it takes longer than all tests.
deny() {
  if have cargo-deny; then
    timed deny cargo deny --log-level error check bans licenses sources
    # The list of advisories comes over the network.
    if cargo deny --log-level error fetch db > /dev/null 2>&1; then
      timed advisories cargo deny --log-level error check advisories
    else
      ADVISORY+=("advisories: the list could not be fetched")
    fi
  else
    ADVISORY+=("deny: cargo-deny is not installed (cargo install --locked cargo-deny)")
  fi
}

# CI clones into a new folder each time, and every one leaves its own crates behind in the shared target folder.
trim_target_folder() {
  [[ -n ${CI:-} && $CARGO_TARGET_DIR == "$CACHE"/* && -d $CARGO_TARGET_DIR ]] || return 0
  local size_gb
  size_gb=$(du -s --block-size=1G "$CARGO_TARGET_DIR" 2>/dev/null | cut -f 1)
  ((${size_gb:-0} < 30)) && return
  say "the target folder has grown to $size_gb GB: beginning anew"
  rm -rf "$CARGO_TARGET_DIR"
}

summary() {
  printf '\n──── where the time went (%d s) ────\n' "$1"
  printf '%s\n' "${TIMES[@]}"
  local line
  for line in "${ADVISORY[@]}"; do printf 'not run (advisory)  %s\n' "$line"; done
  for line in "${NOT_RUN[@]}"; do printf 'NOT RUN  %s\n' "$line"; done
  for line in "${FAILED[@]}"; do printf 'FAILED   %s\n' "$line"; done
  if ((${#FAILED[@]} + ${#NOT_RUN[@]} > 0)); then
    printf 'failed\n'
    return 1
  fi
  printf 'passed\n'
}
